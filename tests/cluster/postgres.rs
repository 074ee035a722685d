//! A PostgreSQL server for these tests, with a database for each of them.
//!
//! It is run as the unit tests run theirs (`src/store/postgres/server.sh`), and ends with this process.

use crate::wait;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const SHELL: &str = include_str!("../../src/store/postgres/server.sh");
/// Where Debian has the programs of each version of PostgreSQL, and the oldest version that is used.
const VERSIONS: &str = "/usr/lib/postgresql";
const VERSION_MIN: u32 = 14;

struct Server {
    folder: PathBuf,
    programs: PathBuf,
    /// Its standard input is the pipe whose end ends the server.
    _shell: Child,
}

/// An empty database whose owner is a user without rights on the server.
pub struct Database {
    name: String,
    server: &'static Server,
}

/// A new database; `None` if PostgreSQL is not installed, which fails if everything has to be tested.
pub fn database() -> Option<Database> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(start).as_ref()?;
    let name = format!("cluster_{}", COUNT.fetch_add(1, Relaxed));
    let database = Database { name, server };
    server.ask(
        "latchkey",
        "postgres",
        &format!("CREATE DATABASE {} OWNER node", database.name),
    );
    Some(database)
}

impl Database {
    /// The address, as a setting names it.
    pub fn address(&self) -> String {
        self.address_of("node")
    }

    pub fn address_of(&self, user: &str) -> String {
        format!(
            "host={} user={user} dbname={}",
            self.server.folder.display(),
            self.name
        )
    }

    /// What a statement of the administrator answers.
    pub fn ask(&self, sql: &str) -> String {
        self.server.ask("latchkey", &self.name, sql)
    }
}

impl Server {
    fn ask(&self, user: &str, database: &str, sql: &str) -> String {
        let asked = Command::new(self.programs.join("psql"))
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
            ])
            .args(["--host".as_ref(), self.folder.as_os_str()])
            .args(["--username", user, "--dbname", database, "--command", sql])
            .output()
            .unwrap();
        assert!(
            asked.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&asked.stderr)
        );
        String::from_utf8(asked.stdout).unwrap().trim().to_owned()
    }
}

fn start() -> Option<Server> {
    let Some(programs) = programs() else {
        let why = format!("PostgreSQL {VERSION_MIN} or later is not installed here");
        println!("left out: {why}");
        assert!(std::env::var_os("LATCHKEY_TEST_ALL").is_none(), "{why}");
        return None;
    };
    let folder = std::env::temp_dir().join(format!("latchkey-cluster-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .unwrap();
    let mut command = Command::new("sh");
    if rustix::process::geteuid().is_root() {
        let (user, group) = ids_of("postgres");
        chown(&folder, Some(user), Some(group)).unwrap();
        command.uid(user).gid(group);
    }
    let shell = command
        .args(["-c", SHELL, "sh"])
        .args([&programs, &folder])
        .args(["-c", "listen_addresses="])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let server = Server {
        folder,
        programs,
        _shell: shell,
    };
    server.wait();
    server.ask("latchkey", "postgres", "CREATE ROLE node LOGIN");
    Some(server)
}

impl Server {
    fn wait(&self) {
        let is_ready = || {
            let asked = Command::new(self.programs.join("pg_isready"))
                .args([
                    "--quiet".as_ref(),
                    "--host".as_ref(),
                    self.folder.as_os_str(),
                ])
                .status();
            asked.unwrap().success()
        };
        wait::until("PostgreSQL answers", is_ready);
    }
}

/// The folder with the programs of the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let found = std::fs::read_dir(VERSIONS).ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        (version >= VERSION_MIN && programs.join("postgres").exists())
            .then_some((version, programs))
    });
    found.max().map(|(_, programs)| programs)
}

/// The ids of a user and of that user's group.
fn ids_of(user: &str) -> (u32, u32) {
    let users = std::fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let found = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let fields = found.into_iter().find(|fields| fields[0] == user);
    let fields = fields.unwrap_or_else(|| panic!("there is no user {user}"));
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}
