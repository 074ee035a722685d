//! A PostgreSQL server for the tests of this process, and a database for each of them.
//!
//! `installed.rs` starts it.

use super::installed::{Once, command, give_away, is_here, new_folder, once, programs, start};
use super::{Address, Postgres};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Read;
use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

/// How long anything may take on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// A user who logs in with a certificate, `client.crt` in the folder of an encrypted server.
pub const CERTIFIED: &str = "certified";
/// The database with the schema, of which each test gets a copy.
pub const TEMPLATE: &str = "latchkey_template";

/// What the log has when the server has ended, or when its data could not be created.
const ENDED: &str = "database system is shut down";

/// A running server. It ends when this is dropped.
pub struct Server {
    pub folder: PathBuf,
    pub port: String,
    /// Empty if there is none.
    pub password: String,
    /// Its standard input is the pipe.
    shell: Child,
}

/// A database of one test. It is removed when its connection is closed.
pub struct Database {
    name: String,
}

/// A connection to a new database with the schema. `None` if PostgreSQL is not installed here, which fails if everything
/// has to be tested.
pub fn database() -> Option<Read> {
    open().map(|(postgres, _)| postgres.into())
}

/// The same, without what the store has around a connection, and where the database is.
pub fn open() -> Option<(Postgres, Address)> {
    let (database, address) = new_database()?;
    let mut postgres = Postgres::open(&address).unwrap();
    postgres.database = Some(database);
    Some((postgres, address))
}

/// A new database with the schema, for tests that open several connections.
pub fn new_database() -> Option<(Database, Address)> {
    new_copy_of(TEMPLATE)
}

/// A new database without any table.
pub fn empty_database() -> Option<(Database, Address)> {
    new_copy_of("template1")
}

/// A new database with what another one has, which must not be in use.
pub fn new_copy_of(template: &str) -> Option<(Database, Address)> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let server = server()?;
    let name = format!("test_{}", COUNT.fetch_add(1, Relaxed));
    let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
    administer(server, &create).unwrap();
    let address = server.address(&name);
    Some((Database { name }, address))
}

impl Database {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets this database and another one exchange their names. All connections to them are lost.
    pub fn exchange_with(&self, other: &Database) {
        let server = server().unwrap();
        let (own, other) = (&self.name, &other.name);
        for sql in [
            format!("ALTER DATABASE {own} ALLOW_CONNECTIONS false"),
            format!("ALTER DATABASE {other} ALLOW_CONNECTIONS false"),
            format!(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname IN ('{own}', '{other}')"
            ),
            format!("ALTER DATABASE {own} RENAME TO exchanged_{own}"),
            format!("ALTER DATABASE {other} RENAME TO {own}"),
            format!("ALTER DATABASE exchanged_{own} RENAME TO {other}"),
            format!("ALTER DATABASE {own} ALLOW_CONNECTIONS true"),
            format!("ALTER DATABASE {other} ALLOW_CONNECTIONS true"),
        ] {
            administer(server, &sql).unwrap();
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(server) = server() {
            // The server ends with the process in any case.
            let _ = administer(server, &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// Runs a statement over a connection of its own. One at a time: a database that is copied must not be in use.
fn administer(server: &Server, sql: &str) -> Result<()> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    Postgres::connect(&server.address("postgres"))?.batch(sql)
}

/// The date of the server of this process, which is that of this machine. A node whose clock differs from it changes nothing.
pub fn date() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since.unwrap().as_millis().try_into().unwrap())
}

/// The socket of the server of this process, for tests that put something between it and a node.
pub fn socket() -> Option<PathBuf> {
    let server = server()?;
    Some(server.folder.join(format!(".s.PGSQL.{}", server.port)))
}

fn server() -> Option<&'static Server> {
    static SERVER: Once<Server> = OnceLock::new();
    once(&SERVER, Server::start)
}

impl Server {
    /// Starts a server of its own; `None` if PostgreSQL is not installed.
    pub fn start() -> Option<Server> {
        let started = is_here().then(|| Server::start_in(&new_folder(), &["listen_addresses="]));
        started
            .map(|started| started.unwrap_or_else(|log| panic!("PostgreSQL did not start: {log}")))
    }

    /// Starts a server that listens on a port of `localhost` as well, where it takes connections only with TLS and the
    /// password [`Server::password`]. The file `server.crt` in its folder has its certificate.
    pub fn start_encrypted() -> Option<Server> {
        if !is_here() {
            return None;
        }
        // Another process may take the port before the server does.
        let mut started = Err(String::new());
        for _ in 0..5 {
            started = started.or_else(|_| Server::start_encrypted_on(free_port()));
        }
        let mut server = started.unwrap_or_else(|log| panic!("PostgreSQL did not start: {log}"));
        let mut random = [0; 16];
        let mut source = std::fs::File::open("/dev/urandom").unwrap();
        source.read_exact(&mut random).unwrap();
        let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let admin = Postgres::connect(&server.address("postgres")).unwrap();
        admin
            .batch(&format!(
                "ALTER ROLE latchkey PASSWORD '{password}'; CREATE ROLE {CERTIFIED} LOGIN SUPERUSER"
            ))
            .unwrap();
        server.password = password;
        Some(server)
    }

    fn start_encrypted_on(port: u16) -> std::result::Result<Server, String> {
        let folder = new_folder();
        let rules = format!(
            "local all all trust\nhostssl all {CERTIFIED} 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        );
        let mut client = rcgen::CertificateParams::default();
        client.distinguished_name = rcgen::DistinguishedName::new();
        client
            .distinguished_name
            .push(rcgen::DnType::CommonName, CERTIFIED);
        let client_key = rcgen::KeyPair::generate().unwrap();
        let client = client.self_signed(&client_key).unwrap();
        let name = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = name.self_signed(&key).unwrap();
        for (file, text) in [
            ("server.crt", certificate.pem()),
            ("server.key", key.serialize_pem()),
            ("client.crt", client.pem()),
            ("client.key", client_key.serialize_pem()),
            ("rules", rules),
        ] {
            let file = folder.join(file);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            give_away(&file);
        }
        let (port, authority, certificate, key, rules) = (
            format!("port={port}"),
            format!("ssl_ca_file={}/client.crt", folder.display()),
            format!("ssl_cert_file={}/server.crt", folder.display()),
            format!("ssl_key_file={}/server.key", folder.display()),
            format!("hba_file={}/rules", folder.display()),
        );
        let settings = [
            "listen_addresses=127.0.0.1",
            &port,
            "ssl=on",
            &authority,
            &certificate,
            &key,
            &rules,
        ];
        Server::start_in(&folder, &settings)
    }

    /// The error is the log of a server that ended.
    fn start_in(folder: &Path, settings: &[&str]) -> std::result::Result<Server, String> {
        let server = Server::launch(folder, settings);
        server.prepare()?;
        Ok(server)
    }

    /// Starts a standby of this server, which follows it and only reads until [`Server::promote`].
    pub fn start_standby(&self) -> Server {
        let folder = new_folder();
        let copied = command(&programs().unwrap().join("pg_basebackup"))
            .args(["--username", "latchkey", "--host"])
            .arg(&self.folder)
            .arg("--pgdata")
            .arg(folder.join("data"))
            .args(["--write-recovery-conf", "--checkpoint", "fast", "--no-sync"])
            .current_dir("/")
            .output()
            .unwrap();
        let why = String::from_utf8_lossy(&copied.stderr).into_owned();
        assert!(copied.status.success(), "{why}");
        let server = Server::launch(&folder, &["listen_addresses="]);
        wait_for("the standby does not start", || {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            log.contains("ready to accept read-only connections")
                .then_some(())
        });
        server
    }

    /// Makes a primary of a standby, as its supervisor does. The server that it followed goes on as one.
    pub fn promote(&self) {
        let promoted = command(&programs().unwrap().join("pg_ctl"))
            .args(["promote", "--wait", "--silent", "--pgdata"])
            .arg(self.folder.join("data"))
            .current_dir("/")
            .status();
        assert!(promoted.unwrap().success());
    }

    fn launch(folder: &Path, settings: &[&str]) -> Server {
        let shell = start(folder, settings);
        let port = settings.iter().find_map(|it| it.strip_prefix("port="));
        Server {
            folder: folder.to_owned(),
            port: port.unwrap_or("5432").to_owned(),
            password: String::new(),
            shell,
        }
    }

    /// Waits until the server answers, and creates the schema.
    fn prepare(&self) -> std::result::Result<(), String> {
        let address = self.address("postgres");
        let postgres = wait_for("PostgreSQL does not answer", || {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            match Postgres::connect(&address) {
                Ok(postgres) => Some(Ok(postgres)),
                Err(_) if log.contains(ENDED) => Some(Err(log)),
                Err(_) => None,
            }
        })?;
        postgres
            .batch(&format!("CREATE DATABASE {TEMPLATE}"))
            .unwrap();
        Postgres::create(&self.address(TEMPLATE)).unwrap();
        Ok(())
    }

    /// A new database without any table.
    pub fn empty_database(&self, name: &str) -> Address {
        administer(self, &format!("CREATE DATABASE {name}")).unwrap();
        self.address(name)
    }

    /// Kills one of its processes, after which the server ends all others and starts again. Returns when they have ended.
    pub fn crash(&self) {
        let witness = Postgres::connect(&self.address("postgres")).unwrap();
        let postgres = Postgres::connect(&self.address("postgres")).unwrap();
        let mut pid = None;
        let take = &mut |row: &crate::store::Row<'_>| {
            pid = Some(row.get::<i64>("pid")?);
            Ok(())
        };
        let sql = "SELECT CAST(pg_backend_pid() AS BIGINT) AS pid";
        postgres.each(sql, &[], take).unwrap();
        let pid = i32::try_from(pid.unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        wait_for("the server does not notice that", || {
            witness.batch("SELECT 1").is_err().then_some(())
        });
    }

    /// The address of one of its databases.
    pub fn address(&self, database: &str) -> Address {
        let text = format!(
            "host={} port={} user=latchkey dbname={database}",
            self.folder.display(),
            self.port
        );
        Address::parse(&text, None, None).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Waits until a question has an answer. A busy machine makes that longer, never wrong.
pub fn wait_for<T>(otherwise: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + WAIT_MAX;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{otherwise}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}
