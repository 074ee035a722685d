//! Tests with a real server: statements, the schema, transactions, and commits of unknown outcome.

use super::installed;
use super::server::{self, Server, open, wait_for};
use super::{Address, Postgres, schema};
use crate::error::{Error, Result};
use crate::store::connection::{FaultKind, ToValue};
use crate::store::statements::all;
use crate::store::{Read, sqlite};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

/// Types of parameters and of columns of results.
const PARAMETERS: &[&str] = &["bytea", "int8", "text"];
const COLUMNS: &[&str] = &["bool", "bytea", "int4", "int8", "text"];

fn names(postgres: &Postgres) -> Vec<String> {
    let mut found = Vec::new();
    let sql = "SELECT name FROM retired_names ORDER BY name";
    let take = &mut |row: &crate::store::Row<'_>| {
        found.push(row.get("name")?);
        Ok(())
    };
    postgres.each(sql, &[], take).unwrap();
    found
}

fn insert(postgres: &Postgres, name: &str) -> Result<usize> {
    postgres.execute(
        "INSERT INTO retired_names (kind, name) VALUES ('user', $1)",
        &[&name],
    )
}

fn number(postgres: &Postgres, sql: &'static str, params: &[&dyn ToValue]) -> i64 {
    let mut found = None;
    let take = &mut |row: &crate::store::Row<'_>| {
        found = Some(row.get("number")?);
        Ok(())
    };
    postgres.each(sql, params, take).unwrap();
    found.unwrap()
}

#[test]
fn every_statement_is_taken_by_both_engines_with_the_same_types() {
    let Some((postgres, _)) = open() else { return };
    let on_sqlite = sqlite::in_memory().unwrap();
    let mut wrong = Vec::new();
    for (file, sql) in all() {
        sqlite::plan(&on_sqlite, &sql);
        match postgres.describe(&sql) {
            Err(err) => wrong.push(format!("{file}: {err}: {sql}")),
            Ok((parameters, columns)) => {
                let odd = |types: &[String], known: &[&str]| {
                    types.iter().any(|name| !known.contains(&name.as_str()))
                };
                if odd(&parameters, PARAMETERS) || odd(&columns, COLUMNS) {
                    wrong.push(format!("{file}: {parameters:?} {columns:?}: {sql}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_schema_has_the_same_tables_columns_and_indexes() {
    let Some((postgres, _)) = open() else { return };
    let lines = |read: &Read, sql: &'static str| -> Vec<String> {
        let mut lines = read.query(sql, &[], |row| row.get("line")).unwrap();
        lines.sort();
        lines
    };
    let on_sqlite = sqlite::in_memory().unwrap();
    let on_postgres = Read::from(postgres);
    let (columns, same_columns) = (
        "SELECT m.name || '.' || c.name || ' ' || CASE c.type WHEN 'INTEGER' THEN 'bigint' WHEN 'BLOB' THEN 'bytea' ELSE lower(c.type) END
                || CASE WHEN c.\"notnull\" = 1 THEN ' not null' ELSE '' END AS line
         FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table'",
        "SELECT table_name || '.' || column_name || ' ' || data_type || CASE WHEN is_nullable = 'NO' THEN ' not null' ELSE '' END AS line
         FROM information_schema.columns WHERE table_schema = 'latchkey' AND table_name <> 'latchkey_schema'",
    );
    let found = lines(&on_sqlite, columns);
    assert!(found.len() > 300, "{}", found.len());
    assert_eq!(lines(&on_postgres, same_columns), found);
    let (indexes, same_indexes) = (
        "SELECT tbl_name || '.' || name AS line FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
        "SELECT tables.relname || '.' || indexes.relname AS line
         FROM pg_index JOIN pg_class AS indexes ON indexes.oid = indexrelid JOIN pg_class AS tables ON tables.oid = indrelid
         WHERE tables.relnamespace = 'latchkey'::regnamespace
               AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))",
    );
    assert_eq!(
        lines(&on_postgres, same_indexes),
        lines(&on_sqlite, indexes)
    );
    let (references, same_references) = (
        "SELECT m.name || ' to ' || f.\"table\" || ' ' || f.on_delete AS line
         FROM sqlite_schema AS m JOIN pragma_foreign_key_list(m.name) AS f WHERE m.type = 'table'",
        "SELECT c.relname || ' to ' || t.relname || ' ' || CASE confdeltype WHEN 'c' THEN 'CASCADE' ELSE 'NO ACTION' END AS line
         FROM pg_constraint JOIN pg_class AS c ON c.oid = conrelid JOIN pg_class AS t ON t.oid = confrelid WHERE contype = 'f'",
    );
    let found = lines(&on_sqlite, references);
    assert!(found.len() > 20, "{found:?}");
    assert_eq!(lines(&on_postgres, same_references), found);
}

#[test]
fn a_part_is_undone_alone_and_a_failed_transaction_is_never_committed() {
    let Some((postgres, address)) = open() else {
        return;
    };
    let other = Postgres::open(&address).unwrap();
    assert!(postgres.is_idle());
    assert!(postgres.begin(true).is_ok());
    insert(&postgres, "a").unwrap();
    postgres.begin_part().unwrap();
    insert(&postgres, "b").unwrap();
    // A failure ends the part: even what is right is refused, and the part cannot stay.
    assert!(matches!(insert(&postgres, "a"), Err(Error::Conflict(_))));
    assert!(matches!(insert(&postgres, "c"), Err(Error::Unavailable(_))));
    assert!(postgres.end_part(true).is_err());
    postgres.end_part(false).unwrap();
    postgres.begin_part().unwrap();
    insert(&postgres, "d").unwrap();
    postgres.end_part(true).unwrap();
    assert_eq!(names(&other), Vec::<String>::new());
    assert!(postgres.commit(None).is_ok());
    assert!(postgres.is_idle());
    assert_eq!(names(&other), ["a", "d"]);

    assert!(postgres.begin(false).is_ok());
    insert(&postgres, "e").unwrap();
    assert!(insert(&postgres, "e").is_err());
    let fault = postgres.commit(None).err().unwrap();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(postgres.is_idle() && postgres.end());
    assert_eq!(names(&other), ["a", "d"]);
    // The connection goes on.
    assert!(postgres.begin(true).is_ok());
    insert(&postgres, "f").unwrap();
    assert!(postgres.end());
    assert_eq!(names(&postgres), ["a", "d"]);
}

#[test]
fn a_reader_sees_one_state_and_cannot_write() {
    let Some((postgres, address)) = open() else {
        return;
    };
    let reader = Postgres::open(&address).unwrap();
    reader.begin_reading().unwrap();
    assert_eq!(names(&reader), Vec::<String>::new());
    insert(&postgres, "a").unwrap();
    assert_eq!(names(&reader), Vec::<String>::new());
    assert!(matches!(insert(&reader, "b"), Err(Error::Unavailable(_))));
    assert!(reader.end());
    assert_eq!(names(&reader), ["a"]);
    let reader = Postgres::open_reader(&address).unwrap();
    assert!(matches!(insert(&reader, "c"), Err(Error::Unavailable(_))));
    assert_eq!(names(&reader), ["a"]);
}

#[test]
fn failures_are_conflicts_or_the_fault_of_the_database_or_defects() {
    let Some((postgres, _)) = open() else { return };
    insert(&postgres, "a").unwrap();
    let text = |result: Result<usize>| format!("{:?}", result.unwrap_err());
    assert!(text(insert(&postgres, "a")).contains("constraint_exists"));
    let refers = postgres.execute(
        "INSERT INTO user_sign_ins (user_uid, at, source) VALUES ($1, 1, 'unix')",
        &[&"00000000-0000-0000-0000-000000000000"],
    );
    assert!(text(refers).contains("constraint_referred"));
    let checks = postgres.execute(
        "INSERT INTO retired_names (kind, name) VALUES ('cat', $1)",
        &[&"x"],
    );
    assert!(text(checks).contains("server.constraint\""));
    for (value, why) in [
        (&"a\0b" as &dyn ToValue, "U+0000"),
        (&1_i64, "another type"),
    ] {
        let result = postgres.execute(
            "INSERT INTO retired_names (kind, name) VALUES ('user', $1)",
            &[value],
        );
        let text = text(result);
        assert!(text.starts_with("Internal") && text.contains(why), "{text}");
    }
    assert_eq!(names(&postgres), ["a"]);
}

#[test]
fn long_results_come_in_parts_and_may_be_left_unread() {
    let Some((postgres, _)) = open() else { return };
    let sql = "SELECT CAST(n AS BIGINT) AS number FROM generate_series(1, CAST($1 AS BIGINT)) AS n";
    for expected in [0_i64, 1, 255, 256, 257, 1_000] {
        let mut seen = Vec::new();
        let take = &mut |row: &crate::store::Row<'_>| {
            seen.push(row.get::<i64>("number")?);
            Ok(())
        };
        postgres.each(sql, &[&expected], take).unwrap();
        assert_eq!(seen, (1..=expected).collect::<Vec<_>>());
    }
    let stops = &mut |_: &crate::store::Row<'_>| Err(Error::internal("enough"));
    // Nothing is left unread of these results, so nothing is unknown.
    for short in [1_i64, 255] {
        assert!(postgres.begin(true).is_ok());
        assert!(postgres.each(sql, &[&short], stops).is_err());
        assert!(postgres.commit(None).is_ok(), "{short}");
    }
    assert!(postgres.begin(true).is_ok());
    assert!(postgres.each(sql, &[&100_000_i64], stops).is_err());
    assert_eq!(
        postgres.commit(None).err().unwrap().kind,
        FaultKind::Refused
    );
    assert!(postgres.begin(true).is_ok());
    let panics = &mut |_: &crate::store::Row<'_>| panic!("on purpose");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        postgres.each(sql, &[&100_000_i64], panics)
    }));
    assert!(panicked.is_err());
    // An error among the unread rows would stay unknown.
    assert_eq!(
        postgres.commit(None).err().unwrap().kind,
        FaultKind::Refused
    );
    assert_eq!(number(&postgres, sql, &[&1_i64]), 1);
    let nested = &mut |_: &crate::store::Row<'_>| insert(&postgres, "a").map(drop);
    let text = format!("{:?}", postgres.each(sql, &[&1_i64], nested).unwrap_err());
    assert!(text.contains("a query inside another one"), "{text}");
    assert_eq!(insert(&postgres, "a").unwrap(), 1);
}

#[test]
fn a_connection_that_breaks_is_over() {
    let Some((postgres, address)) = open() else {
        return;
    };
    let other = Postgres::open(&address).unwrap();
    let pid = number(
        &postgres,
        "SELECT CAST(pg_backend_pid() AS BIGINT) AS number",
        &[],
    );
    assert!(postgres.begin(true).is_ok());
    insert(&postgres, "a").unwrap();
    kill(&other, "terminate", pid);
    assert!(matches!(insert(&postgres, "b"), Err(Error::Unavailable(_))));
    assert!(postgres.is_idle());
    assert!(!postgres.end());
    assert_eq!(postgres.begin(true).err().unwrap().kind, FaultKind::Refused);
    assert_eq!(names(&other), Vec::<String>::new());
}

/// Asks the server to stop what a connection waits for, or to end the connection.
fn kill(postgres: &Postgres, how: &str, pid: i64) {
    let sql = match how {
        "cancel" => {
            "SELECT CAST(1 AS BIGINT) AS number WHERE pg_cancel_backend(CAST(CAST($1 AS BIGINT) AS INTEGER))"
        }
        _ => {
            "SELECT CAST(1 AS BIGINT) AS number WHERE pg_terminate_backend(CAST(CAST($1 AS BIGINT) AS INTEGER))"
        }
    };
    assert_eq!(number(postgres, sql, &[&pid]), 1);
}

/// The server waits for a standby that does not exist. A wait that is stopped is answered like a success.
#[test]
fn a_commit_that_no_standby_has_is_never_called_saved() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.address(server::TEMPLATE);
    let admin = Postgres::open(&address).unwrap();
    admin
        .batch("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        .unwrap();
    admin.batch("SELECT pg_reload_conf()").unwrap();
    wait_for("the setting is not in force", || {
        let sql = "SELECT count(*) AS number FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting = 'nobody'";
        (number(&admin, sql, &[]) == 1).then_some(())
    });
    for (round, how) in ["cancel", "terminate", "late"].into_iter().enumerate() {
        let mut writer = Postgres::open(&address).unwrap();
        writer.address.commit_max = match how {
            "late" => Duration::from_millis(100),
            _ => Duration::from_secs(60),
        };
        let pid = number(
            &writer,
            "SELECT CAST(pg_backend_pid() AS BIGINT) AS number",
            &[],
        );
        let committing = std::thread::spawn(move || {
            assert!(writer.begin(true).is_ok());
            insert(&writer, how).unwrap();
            let fault = writer.commit(None).err().unwrap();
            (fault.kind, writer.end(), format!("{:?}", fault.error))
        });
        wait_for("the commit does not wait", || {
            let sql = "SELECT count(*) AS number FROM pg_stat_activity WHERE CAST(pid AS BIGINT) = $1 AND wait_event = 'SyncRep'";
            (number(&admin, sql, &[&pid]) == 1).then_some(())
        });
        if how != "late" {
            kill(&admin, how, pid);
        }
        let (kind, ended, error) = committing.join().unwrap();
        assert_eq!((kind, ended), (FaultKind::Unknown, false), "{how}: {error}");
        assert!(
            error.contains("it is not known whether the change was saved"),
            "{how}: {error}"
        );
        if how == "late" {
            // Nothing was cancelled: the server still waits, and only the end of its process shows the row.
            assert_eq!(names(&admin).len(), round);
            kill(&admin, "terminate", pid);
        }
        // This server has it, and would lose it with its disk.
        wait_for("the row is not there", || {
            (names(&admin).len() == round + 1).then_some(())
        });
    }
    // What may be lost does not wait.
    let writer = Postgres::open(&address).unwrap();
    assert!(writer.begin(false).is_ok());
    insert(&writer, "relaxed").unwrap();
    assert!(writer.commit(None).is_ok());
}

#[test]
fn only_a_database_of_this_schema_is_opened() {
    let Some((postgres, address)) = open() else {
        return;
    };
    let text = |result: Result<Postgres>| match result {
        Ok(_) => "opened".to_owned(),
        Err(err) => err.to_string(),
    };
    assert_eq!(text(Postgres::open(&address)), "opened");
    let node = "INSERT INTO nodes VALUES (repeat('0', 32), 'a', 1, 1)";
    postgres.batch(node).unwrap();
    assert!(
        Postgres::create(&address)
            .unwrap_err()
            .to_string()
            .contains("has a schema latchkey already")
    );
    let (known, oldest) = (sqlite::SCHEMA_VERSION, address.schemas.oldest);
    for (version, oldest_reader, expected) in [
        (known + 1, known, "opened"),
        (known + 1, known + 1, "written by a newer Latchkey"),
        (oldest, oldest, "opened"),
        (oldest - 1, oldest - 1, "this build needs"),
    ] {
        let sql = "UPDATE latchkey_schema SET version = $1, oldest_reader = $2";
        postgres.execute(sql, &[&version, &oldest_reader]).unwrap();
        let found = schema::versions(&postgres).unwrap();
        assert_eq!(
            (found.version, found.oldest_reader),
            (version, oldest_reader)
        );
        let text = text(Postgres::open(&address));
        assert!(text.contains(expected), "{version}: {text}");
    }
    postgres.batch("DELETE FROM latchkey_schema").unwrap();
    assert!(text(Postgres::open(&address)).contains("does not record the version"));
    postgres.batch("DROP SCHEMA latchkey CASCADE").unwrap();
    assert!(text(Postgres::open(&address)).contains("has no schema latchkey"));
    // Nothing is made if something is refused on the way.
    postgres.batch("CREATE SCHEMA other").unwrap();
    Postgres::create(&address).unwrap();
    assert_eq!(text(Postgres::open(&address)), "opened");
}

#[test]
fn an_encrypted_connection_is_to_the_named_server_alone() {
    let Some(server) = Server::start_encrypted() else {
        return;
    };
    let port = &server.port;
    let own = server.folder.join("server.crt");
    let open = |host: &str, password: Option<&str>, authorities: Option<&Path>| {
        let text = format!(
            "host={host} port={port} user=latchkey dbname={}",
            server::TEMPLATE
        );
        let password = password.map(str::as_bytes);
        let address = Address::parse(&text, password, authorities)?;
        Postgres::open(&address)
    };
    let connect = |host: &str, authorities: &Path| {
        open(host, Some(server.password.as_str()), Some(authorities))
    };
    let postgres = connect("localhost", &own).unwrap();
    let sql = "SELECT CAST(count(*) AS BIGINT) AS number FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()";
    assert_eq!(number(&postgres, sql, &[]), 1);
    // Neither is a defect of the program: no password, another one, no TLS.
    for (password, authorities) in [
        (None, Some(own.as_path())),
        (Some("hunter2"), Some(own.as_path())),
        (Some(server.password.as_str()), None),
    ] {
        let refused = open("localhost", password, authorities).err().unwrap();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    }
    // The certificate has another name, and then another authority.
    assert!(connect("127.0.0.1", &own).is_err());
    let other = server.folder.join("other.crt");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap());
    std::fs::write(&other, certificate.unwrap().pem()).unwrap();
    assert!(connect("localhost", &other).is_err());
    for (file, text, why) in [
        ("empty", "", "holds no certificate"),
        ("absent", "", "No such file"),
    ] {
        let path = server.folder.join(file);
        if file != "absent" {
            std::fs::write(&path, text).unwrap();
        }
        let text = connect("localhost", &path).err().unwrap().to_string();
        assert!(text.contains(why), "{text}");
    }
    let text = connect("/run", &own).err().unwrap().to_string();
    assert!(text.contains("over which there is no TLS"), "{text}");
}

/// As a machine that hangs, or a firewall that has lost its state.
#[test]
fn a_host_that_is_silent_does_not_hide_the_next_one() {
    let Some(server) = Server::start() else {
        return;
    };
    // The kernel accepts the connection; nothing ever reads from it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "host=127.0.0.1,{} port={},{} user=latchkey dbname={}",
        server.folder.display(),
        silent.local_addr().unwrap().port(),
        server.port,
        server::TEMPLATE
    );
    let postgres = Postgres::open(&Address::parse(&text, None, None).unwrap()).unwrap();
    insert(&postgres, "a").unwrap();
    assert_eq!(names(&postgres), ["a"]);
}

#[test]
fn a_session_has_its_own_settings_and_not_those_of_the_role() {
    let Some((postgres, address)) = open() else {
        return;
    };
    // The settings of a database count as those of a role do.
    let database = postgres.database.as_ref().unwrap().name();
    for setting in [
        "idle_session_timeout = 60000",
        "idle_in_transaction_session_timeout = 0",
        "client_connection_check_interval = 0",
        "client_min_messages = error",
        "synchronous_commit = off",
        "search_path = public",
        "default_transaction_isolation = serializable",
    ] {
        let sql = format!("ALTER DATABASE {database} SET {setting}");
        postgres.batch(&sql).unwrap();
    }
    let another = Postgres::open(&address).unwrap();
    // A pooler in between would carry settings of one session into another one.
    another.batch("SET client_min_messages = error").unwrap();
    assert!(another.begin(true).is_ok());
    let mut found = Vec::new();
    let sql = "SELECT name || '=' || setting AS line FROM pg_settings WHERE name IN ('idle_session_timeout',
               'idle_in_transaction_session_timeout', 'client_connection_check_interval', 'client_min_messages',
               'synchronous_commit', 'search_path', 'default_transaction_isolation') ORDER BY name";
    let take = &mut |row: &crate::store::Row<'_>| {
        found.push(row.get::<String>("line")?);
        Ok(())
    };
    another.each(sql, &[], take).unwrap();
    assert_eq!(
        found,
        [
            "client_connection_check_interval=2000",
            "client_min_messages=warning",
            "default_transaction_isolation=read committed",
            "idle_in_transaction_session_timeout=15000",
            "idle_session_timeout=0",
            "search_path=latchkey, pg_temp",
            "synchronous_commit=on",
        ]
    );
}

/// An attacker between both machines could answer so.
#[test]
fn a_server_without_tls_gets_neither_a_name_nor_a_password() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 8];
        stream.read_exact(&mut question).unwrap();
        stream.write_all(b"N").unwrap();
        let mut more = Vec::new();
        stream.read_to_end(&mut more).unwrap();
        (question, more)
    });
    let file = std::env::temp_dir().join(format!("latchkey-{}-authority", std::process::id()));
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap());
    std::fs::write(&file, certificate.unwrap().pem()).unwrap();
    let text = format!("host=127.0.0.1 port={port} user=latchkey dbname=latchkey");
    let address = Address::parse(&text, Some(b"hunter2"), Some(&file)).unwrap();
    let refused = Postgres::open(&address).err().unwrap();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    std::fs::remove_file(&file).unwrap();
    let (question, more) = served.join().unwrap();
    // The request for TLS (PostgreSQL's documentation, section 55.7).
    assert_eq!(question, [0, 0, 0, 8, 4, 210, 22, 47]);
    assert_eq!(more, b"");
}

/// A process that ends with its test, even if that fails.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Names the file in which the process of the next test writes where its server is.
const FOLDER_FILE: &str = "LATCHKEY_TEST_POSTGRES_FOLDER";

#[test]
fn the_server_of_the_tests_ends_with_their_process() {
    if let Some(file) = std::env::var_os(FOLDER_FILE) {
        let server = Server::start().unwrap();
        std::fs::write(file, server.folder.to_str().unwrap()).unwrap();
        // Until it is killed.
        loop {
            std::thread::park();
        }
    }
    if !installed::is_here() {
        return;
    }
    let file =
        std::env::temp_dir().join(format!("latchkey-postgres-{}-folder", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let mut process = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::postgres::tests::the_server_of_the_tests_ends_with_their_process",
        ])
        .env(FOLDER_FILE, &file)
        .stdout(std::process::Stdio::null())
        .spawn()
        .map(Killed)
        .unwrap();
    let folder = wait_for("no server was started", || {
        std::fs::read_to_string(&file)
            .ok()
            .filter(|text| !text.is_empty())
    });
    assert!(
        std::path::Path::new(&folder)
            .join("data/postmaster.pid")
            .exists()
    );
    process.0.kill().unwrap();
    process.0.wait().unwrap();
    std::fs::remove_file(&file).unwrap();
    wait_for("the server is still there", || {
        (!std::path::Path::new(&folder).exists()).then_some(())
    });
}
