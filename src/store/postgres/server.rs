//! A PostgreSQL server for the tests of this process, and a database for each of them.
//!
//! The server runs as another user if the tests run as root, listens on a socket in a folder of its own, and never
//! syncs. A shell waits for the end of a pipe that only this process has open: when the process ends, even by a kill,
//! the shell ends the server and removes the folder.

use super::{Address, Postgres};
use crate::error::Result;
use crate::store::Read;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Where Debian has the programs of PostgreSQL 15.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// The user of Debian's package.
const USER: &str = "postgres";
/// How long anything may take on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// The database with the schema, of which each test gets a copy.
pub const TEMPLATE: &str = "latchkey_template";

/// What the shell does, with the folders of the programs and of the server, and with settings.
const SHELL: &str = r#"
    programs=$1 folder=$2; shift 2
    "$programs/initdb" --pgdata "$folder/data" --username latchkey --auth trust --encoding UTF8 --locale C.UTF-8 --no-sync >"$folder/log" 2>&1
    "$programs/postgres" -D "$folder/data" -k "$folder" -c fsync=off -c full_page_writes=off \
        -c max_connections=200 -c shared_buffers=32MB -c autovacuum=off "$@" </dev/null >>"$folder/log" 2>&1 &
    server=$!
    read -r _
    kill -QUIT "$server" 2>/dev/null
    wait "$server"
    rm -rf "$folder"
"#;

/// A running server. It ends when this is dropped.
pub struct Server {
    pub folder: PathBuf,
    port: String,
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
    let address = new_database()?;
    let mut postgres = Postgres::open(&address.1).unwrap();
    postgres.database = Some(address.0);
    Some(postgres.into())
}

/// A new database with the schema, for tests that open several connections.
pub fn new_database() -> Option<(Database, Address)> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let server = server()?;
    let name = format!("test_{}", COUNT.fetch_add(1, Relaxed));
    administer(
        server,
        &format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"),
    )
    .unwrap();
    let address = server.address(&name);
    Some((Database { name }, address))
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

fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(Server::start).as_ref()
}

/// Whether PostgreSQL is installed. Fails without it if everything has to be tested.
pub fn is_here() -> bool {
    let is_here = Path::new(PROGRAMS).join("postgres").exists();
    if !is_here {
        println!("left out: PostgreSQL 15 is not installed here");
        assert!(
            std::env::var_os("LATCHKEY_TEST_ALL").is_none(),
            "PostgreSQL 15 is not installed here"
        );
    }
    is_here
}

impl Server {
    /// Starts a server of its own; `None` if PostgreSQL is not installed.
    pub fn start() -> Option<Server> {
        is_here().then(|| Server::start_in(&new_folder(), &["listen_addresses="]))
    }

    /// Starts a server that takes connections with TLS alone, to this port of `localhost`. The file `server.crt` in its
    /// folder has its certificate.
    pub fn start_encrypted(port: u16) -> Option<Server> {
        if !is_here() {
            return None;
        }
        let folder = new_folder();
        let name = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = name.self_signed(&key).unwrap();
        for (file, text) in [
            ("server.crt", certificate.pem()),
            ("server.key", key.serialize_pem()),
        ] {
            let file = folder.join(file);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            give_away(&file);
        }
        let (port, certificate, key) = (
            format!("port={port}"),
            format!("ssl_cert_file={}/server.crt", folder.display()),
            format!("ssl_key_file={}/server.key", folder.display()),
        );
        let settings = [
            "listen_addresses=127.0.0.1",
            &port,
            "ssl=on",
            &certificate,
            &key,
        ];
        Some(Server::start_in(&folder, &settings))
    }

    fn start_in(folder: &Path, settings: &[&str]) -> Server {
        let mut command = Command::new("sh");
        if rustix::process::geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            command = Command::new("setpriv");
            command.args([
                "--reuid",
                USER,
                "--regid",
                USER,
                "--clear-groups",
                "--",
                "sh",
            ]);
        }
        // A signal for the group of this process, such as that of Ctrl-C, must not end the server before its tests.
        let shell = command
            .args(["-c", SHELL, "sh", PROGRAMS])
            .arg(folder)
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let port = settings.iter().find_map(|it| it.strip_prefix("port="));
        let server = Server {
            folder: folder.to_owned(),
            port: port.unwrap_or("5432").to_owned(),
            shell,
        };
        server.prepare();
        server
    }

    /// Waits until the server answers, and creates the schema.
    fn prepare(&self) {
        let log = self.folder.join("log");
        let postgres = wait_for(
            &format!("PostgreSQL did not start, see {}", log.display()),
            || Postgres::connect(&self.address("postgres")).ok(),
        );
        postgres
            .batch(&format!("CREATE DATABASE {TEMPLATE}"))
            .unwrap();
        Postgres::create(&self.address(TEMPLATE)).unwrap();
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

/// A folder of its own, which belongs to the user of the server.
fn new_folder() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Relaxed);
    let name = format!("latchkey-postgres-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    give_away(&folder);
    folder
}

/// Gives a file to the user of the server, if that is another one.
fn give_away(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let (user, group) = ids_of(USER);
        std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
    }
}

/// The ids of a user and of that user's group, from `/etc/passwd`.
fn ids_of(user: &str) -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let mut lines = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|fields| fields[0] == user);
    let fields = found.unwrap_or_else(|| panic!("there is no user {user}"));
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}
