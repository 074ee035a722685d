//! A PostgreSQL server for these tests, with a database for each of them. It ends with this process.

use crate::installed::{Once, is_here, new_folder, once, programs, start};
use crate::wait;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

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
    static SERVER: Once<Server> = OnceLock::new();
    let server = once(&SERVER, Server::start)?;
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

    /// `None` if PostgreSQL is not installed.
    fn start() -> Option<Server> {
        if !is_here() {
            return None;
        }
        let folder = new_folder();
        let server = Server {
            _shell: start(&folder, &["listen_addresses="]),
            programs: programs().unwrap(),
            folder,
        };
        server.wait();
        server.ask("latchkey", "postgres", "CREATE ROLE node LOGIN");
        Some(server)
    }

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
