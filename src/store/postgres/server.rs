//! A PostgreSQL server for the tests of this process, and a database for each of them.
//!
//! The server runs as another user if the tests run as root, listens on a socket in a folder of its own, and never
//! syncs. A shell waits for the end of a pipe that only this process has open: when the process ends, even by a kill,
//! the shell ends the server and removes the folder.

use super::{Address, Postgres};
use crate::error::Result;
use crate::store::Read;
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

/// What the shell does: `$1` the programs, `$2` the folder.
const SHELL: &str = r#"
    "$1/initdb" --pgdata "$2/data" --username latchkey --auth trust --encoding UTF8 --locale C.UTF-8 --no-sync >"$2/log" 2>&1
    "$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off -c full_page_writes=off \
        -c max_connections=200 -c shared_buffers=32MB -c autovacuum=off </dev/null >>"$2/log" 2>&1 &
    server=$!
    read -r _
    kill -QUIT "$server" 2>/dev/null
    wait "$server"
    rm -rf "$2"
"#;

/// A running server. It ends when this is dropped.
pub struct Server {
    pub folder: PathBuf,
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
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if !is_here() {
            return None;
        }
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("latchkey-postgres-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let mut command = Command::new("sh");
        if rustix::process::geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            let id = ids_of(USER);
            std::os::unix::fs::chown(&folder, Some(id.0), Some(id.1)).unwrap();
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
            .arg(&folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let server = Server { folder, shell };
        server.prepare();
        Some(server)
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
        let folder = self.folder.display();
        Address::parse(
            &format!("host={folder} user=latchkey dbname={database}"),
            None,
        )
        .unwrap()
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
