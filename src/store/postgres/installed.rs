//! The PostgreSQL that is installed here, and a server of it for tests. The unit tests and tests/cluster compile this file.
//!
//! A server runs as another user if the tests run as root, has a folder of its own that no other user can enter, and never
//! syncs. A shell waits for the end of a pipe that only this process has open: when the process ends, even by a kill, the shell
//! ends the server and removes the folder.

use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Where Debian has the programs of each version of PostgreSQL, and the oldest version that is used.
const VERSIONS: &str = "/usr/lib/postgresql";
const VERSION_MIN: u32 = 14;
/// The user of Debian's package.
const USER: &str = "postgres";
/// What the shell does, with the folders of the programs and of the server, and with settings.
const SHELL: &str = include_str!("server.sh");

/// A server that is started at its first use. The error is that of a start that failed.
pub type Once<S> = OnceLock<Result<Option<S>, ()>>;

/// The server of this process; `None` if PostgreSQL is not installed. If it cannot be started, no test waits for that again.
pub fn once<S>(server: &'static Once<S>, start: fn() -> Option<S>) -> Option<&'static S> {
    let started = server.get_or_init(|| catch_unwind(start).map_err(drop));
    started.as_ref().map(Option::as_ref).expect(
        "the PostgreSQL of the tests could not be started; the first test that used it says why",
    )
}

/// Whether PostgreSQL is installed. Fails without it if everything has to be tested.
pub fn is_here() -> bool {
    let is_here = programs().is_some();
    if !is_here {
        let why = format!("PostgreSQL {VERSION_MIN} or later is not installed here");
        println!("left out: {why}");
        assert!(std::env::var_os("LATCHKEY_TEST_ALL").is_none(), "{why}");
    }
    is_here
}

/// The folder with the programs of the newest version that is installed.
pub fn programs() -> Option<PathBuf> {
    let found = std::fs::read_dir(VERSIONS).ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        (version >= VERSION_MIN && programs.join("postgres").exists())
            .then_some((version, programs))
    });
    found.max().map(|(_, programs)| programs)
}

/// A folder of its own, which belongs to the user of the server and which no other user can enter.
pub fn new_folder() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Relaxed);
    let name = format!("latchkey-postgres-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .unwrap();
    give_away(&folder);
    folder
}

/// Gives a file to the user of the server, if that is another one.
pub fn give_away(path: &Path) {
    if let Some((user, group)) = other_user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Starts the shell with a server in a folder of [`new_folder`]. Its standard input is the pipe.
pub fn start(folder: &Path, settings: &[&str]) -> Child {
    // A signal for the group of this process, such as that of Ctrl-C, must not end the server before its tests.
    command(Path::new("sh"))
        .args(["-c", SHELL, "sh"])
        .arg(programs().unwrap())
        .arg(folder)
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// A command that runs as the user of the server.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
}

/// The ids of the user of the server and of that user's group, if the tests run as root, as which PostgreSQL refuses to run.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let mut lines = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|fields| fields[0] == USER);
    let fields = found.unwrap_or_else(|| panic!("there is no user {USER}"));
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}
