//! `init`, a second node, backups, restores and `cluster check`.

use crate::postgres::database;
use crate::program::{Folder, finding, text};
use crate::wait::{pause, until};
use std::time::Duration;

#[test]
fn a_database_is_created_once_and_another_node_joins_it_with_the_same_key_files() {
    let Some(database) = database() else { return };
    let address = database.address();
    let first = Folder::new();
    first.good(&["init", "--database", &address]);
    let (_, secret) = first.issue("shared");
    assert_eq!(first.verify(&secret), "VALID");

    let second = Folder::new();
    second.refused(&["init", "--database", &address], "add --join");
    assert!(
        !second.has("pepper"),
        "key files that fit nothing would be in the way"
    );
    second.refused(&["init", "--join", "--database", &address], "no key files");
    // Key files of another installation are refused by name.
    let stranger = Folder::new();
    stranger.good(&["init"]);
    let wrong = Folder::with_keys_of(&stranger);
    wrong.refused(
        &["init", "--join", "--database", &address],
        "the pepper file is not the one",
    );
    assert!(!wrong.has("database.toml"));

    let second = Folder::with_keys_of(&first);
    second.good(&["init", "--join", "--database", &address]);
    assert_eq!(second.verify(&secret), "VALID");
    second.refused(
        &["init", "--join", "--database", &address],
        "is initialised already",
    );
    let nodes = database.ask("SELECT count(*) FROM latchkey.nodes");
    assert_eq!(nodes, "2");
    // The copy of a whole folder would be the same node twice.
    let copied = Folder::with_keys_of(&first);
    std::fs::copy(first.path.join("node-id"), copied.path.join("node-id")).unwrap();
    copied.refused(
        &["init", "--join", "--database", &address],
        "each node has its own",
    );
}

#[test]
fn an_interrupted_init_can_be_repeated() {
    let Some(database) = database() else { return };
    let first = Folder::new();
    first.good(&["init", "--database", &database.address()]);
    // Before its secrets are displayed, no node has opened the database.
    database.ask("DELETE FROM latchkey.usage_flush; DELETE FROM latchkey.nodes");
    let second = Folder::new();
    second.good(&["init", "--database", &database.address()]);
    assert!(second.finding("audit log").starts_with("ok"));
    first.refused(&["key", "list"], "the pepper file is not the one");
}

#[test]
fn a_schema_that_has_more_than_a_creation_leaves_is_kept() {
    let Some(database) = database() else { return };
    let first = Folder::new();
    first.good(&["init", "--database", &database.address()]);
    let (_, secret) = first.issue("in use");
    // As in a copy of some of the tables.
    database.ask("DELETE FROM latchkey.usage_flush; DELETE FROM latchkey.nodes");
    let second = Folder::new();
    second.refused(&["init", "--database", &database.address()], "add --join");
    assert_eq!(first.verify(&secret), "VALID");
}

#[test]
fn nothing_replaces_a_database_that_other_nodes_use() {
    let Some(database) = database() else { return };
    let node = Folder::new();
    node.good(&["init", "--database", &database.address()]);
    let (_, secret) = node.issue("in use");
    let file = node.file("backup.db");
    node.good(&["backup", text(&file)]);
    let other = Folder::with_keys_of(&node);
    let mut server = other.begin(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--database",
        &database.address(),
    ]);
    until("the server answers", || other.run(&["health"]).is_good);
    let into = Folder::new();
    for command in [
        ["restore", text(&file), "--yes"].as_slice(),
        &["move", "--yes", "--to", text(&into.path)],
    ] {
        node.refused(command, "is used by these nodes");
        node.refused(command, "until their leases are over");
    }
    assert!(!into.has("latchkey.db"));
    // A node that was killed keeps its lease for a time.
    let _ = server.kill();
    let _ = server.wait();
    node.refused(&["restore", text(&file), "--yes"], "is used by these nodes");
    database.ask("UPDATE latchkey.node_leases SET seen_at = seen_at - 60000");
    node.good(&["restore", text(&file), "--yes"]);
    assert_eq!(node.verify(&secret), "VALID");
}

#[test]
fn an_idle_node_asks_its_server_for_little() {
    const SECONDS: u64 = 10;
    let Some(database) = database() else { return };
    let node = Folder::new();
    node.good(&["init", "--database", &database.address()]);
    let mut server = node.begin(&["serve", "--listen", "127.0.0.1:0"]);
    until("the server answers", || node.run(&["health"]).is_good);
    let transactions = || -> u64 {
        let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
        database.ask(sql).parse().unwrap()
    };
    // At some time, what a start does is over, and counted. A slow machine makes it fewer.
    until("an idle node asks little", || {
        let before = transactions();
        pause(Duration::from_secs(SECONDS));
        transactions() - before <= 2 * SECONDS
    });
    let _ = server.kill();
    let _ = server.wait();
}

#[test]
fn a_file_in_the_folder_and_a_database_on_a_server_are_not_used_together() {
    let Some(database) = database() else { return };
    let folder = Folder::new();
    folder.good(&["init"]);
    let line = format!("database = \"{}\"\n", database.address());
    std::fs::write(folder.path.join("database.toml"), line).unwrap();
    folder.refused(&["key", "list"], "has a database of its own");
    folder.refused(
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--database",
            &database.address(),
        ],
        "has a database of its own",
    );
}

#[test]
fn a_backup_is_a_file_that_is_restored_here_and_there() {
    let Some(database) = database() else { return };
    let node = Folder::new();
    node.good(&["init", "--database", &database.address()]);
    let (_, stays) = node.issue("stays");
    let (ended, gone) = node.issue("gone");
    let file = node.file("backup.db");
    node.good(&["backup", text(&file)]);
    node.good(&["key", "delete", &ended, "--yes"]);

    let single = Folder::with_keys_of(&node);
    single.good(&["restore", text(&file), "--yes"]);
    assert_eq!(single.verify(&stays), "VALID");
    assert!(single.finding("schema").starts_with("ok"));

    let said = node.good(&["restore", text(&file), "--yes"]);
    assert!(said.contains("latchkey_before_"), "{said}");
    assert_eq!(node.verify(&stays), "VALID");
    assert_ne!(node.verify(&gone), "VALID");
    assert!(node.finding("audit log").starts_with("ok"));
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'latchkey%'";
    assert_eq!(database.ask(schemas), "2");
    // A copy that is not equal to its source is no backup.
    database.ask(
        "CREATE FUNCTION public.none() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER t BEFORE INSERT ON latchkey.keys FOR EACH ROW EXECUTE FUNCTION public.none()",
    );
    node.refused(
        &["backup", text(&node.file("other.db"))],
        "trigger t does not belong there",
    );
}

#[test]
fn a_folder_with_the_key_files_is_served_with_an_address_and_remembers_it() {
    let Some(database) = database() else { return };
    let first = Folder::new();
    first.good(&["init", "--database", &database.address()]);
    let (_, secret) = first.issue("shared");
    let second = Folder::with_keys_of(&first);
    let mut server = second.begin(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--database",
        &database.address(),
    ]);
    until("the server answers", || second.run(&["health"]).is_good);
    assert!(second.has("database.toml") && !second.has("latchkey.db"));
    assert_eq!(second.verify(&secret), "VALID");
    let file = second.file("running.db");
    second.good(&["backup", text(&file)]);
    assert!(file.exists());
    let _ = server.kill();
    let _ = server.wait();
    assert_eq!(second.verify(&secret), "VALID");
    // A start that waits for its server would never find out that its settings contradict each other.
    let nowhere = ["--database", "postgres://lk@127.0.0.1:1/x"];
    second.refused(
        &[&["serve", "--listen", "0.0.0.0:0"], nowhere.as_slice()].concat(),
        "--allow-plain-http",
    );
    // An address that cannot be opened is not remembered.
    let other = database.address().replace("dbname=", "dbname=no_such_");
    let before = std::fs::read(second.path.join("database.toml")).unwrap();
    second.refused(
        &["serve", "--listen", "127.0.0.1:0", "--database", &other],
        "create the database there",
    );
    let after = std::fs::read(second.path.join("database.toml")).unwrap();
    assert_eq!(after, before);
}

#[test]
fn cluster_check_names_each_weakness() {
    let Some(database) = database() else { return };
    let node = Folder::new();
    let check = |args: &[&str]| {
        let ended = node.run(&[&["cluster", "check", "--json"], args].concat());
        assert!(!ended.is_good, "{}", ended.text);
        ended.text
    };
    // Before there is anything, the address is checked.
    let before = check(&["--database", &database.address()]);
    assert!(finding(&before, "schema").starts_with("warning: there is no database"));
    assert!(finding(&before, "standbys").starts_with("failed: synchronous_standby_names is empty"));
    assert!(finding(&before, "durability").starts_with("failed: switched off: fsync"));
    assert!(finding(&before, "database user").starts_with("ok"));
    let admin = check(&["--database", &database.address_of("latchkey")]);
    assert!(finding(&admin, "database user").starts_with("warning: latchkey is a superuser"));

    // The owner of a database may create schemas in it, and another user may not by default.
    let stranger = database.address_of("stranger");
    database.ask("CREATE ROLE stranger LOGIN");
    let found = finding(&check(&["--database", &stranger]), "schema");
    assert!(
        found.starts_with("failed: ") && found.contains("stranger may not create its schema"),
        "{found}"
    );
    let nowhere = database.address().replace("dbname=", "dbname=no_such_");
    let found = finding(&check(&["--database", &nowhere]), "PostgreSQL");
    assert!(
        found.contains("does not exist") && found.contains("create the database there"),
        "{found}"
    );
    node.good(&["init", "--database", &database.address()]);
    assert!(finding(&check(&[]), "key files of the nodes").starts_with("ok"));
    database.ask(
        "CREATE FUNCTION public.none() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER spy BEFORE INSERT ON latchkey.keys FOR EACH ROW EXECUTE FUNCTION public.none();
         ALTER TABLE latchkey.users ENABLE ROW LEVEL SECURITY",
    );
    let found = finding(&check(&[]), "schema");
    assert!(
        found.contains("trigger spy does not belong there"),
        "{found}"
    );
    assert!(
        found.contains("row security of table users is on"),
        "{found}"
    );
    assert_eq!(node.finding("schema"), found);
    // The key files of another installation do not fit.
    std::fs::copy(node.path.join("seal-key"), node.path.join("pepper")).unwrap();
    let found = finding(&check(&[]), "key files of the nodes");
    assert!(
        found.starts_with("failed: the pepper file is not the one"),
        "{found}"
    );
}

#[test]
fn an_address_that_cannot_be_used_is_refused_by_name() {
    let Some(database) = database() else { return };
    let folder = Folder::new();
    for (args, why) in [
        (
            ["--database", "postgres://lk:secret@localhost/x"].as_slice(),
            "contains a password",
        ),
        (
            &["--database", "postgres://lk@db.example/x"],
            "--database-ca",
        ),
        (&["--database-ca", "ca.pem"], "of no use without --database"),
        (
            &["--database", "postgres://lk@127.0.0.1:1/x"],
            "PostgreSQL at 127.0.0.1:1 cannot be used: error connecting to server: Connection refused",
        ),
    ] {
        folder.refused(&[&["init"], args].concat(), why);
    }
    let other = database.address().replace("dbname=", "dbname=no_such_");
    folder.refused(&["init", "--database", &other], "create the database there");
    assert!(!folder.has("pepper"));
}
