//! Programs that the tests start: how they are found, awaited and reliably stopped.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::wait;

/// Runs the program `$0`, and kills it with all its children when the test has ended: then the pipe on standard input
/// ends, however the test has ended.
const WATCHED: &str = r#""$0" "$@" & read _; kill -KILL 0"#;

/// A running program in a process group of its own. Its errors go to a log file.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` in `folder` and waits until it listens on `port`.
    pub fn start(program: &Path, args: &[&str], folder: &Path, port: u16) -> Process {
        Process::start_in(folder, program, args, folder, port)
    }

    /// As [`Process::start`], in another folder than that of its output.
    pub fn start_in(
        place: &Path,
        program: &Path,
        args: &[&str],
        folder: &Path,
        port: u16,
    ) -> Process {
        await_silence(port);
        let name = program.file_name().unwrap().to_string_lossy();
        let log = folder.join(format!("{name}.log"));
        let child = Command::new("sh")
            .args(["-c", WATCHED])
            .arg(program)
            .args(args)
            .current_dir(place)
            .env("HOME", folder)
            .env("XDG_CONFIG_HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let process = Process { child, log };
        let listening = wait::some_in_time(|| listens(port).then_some(()));
        assert!(
            listening.is_some(),
            "{name} does not listen on {port}:\n{}",
            fs::read_to_string(&process.log).unwrap_or_default()
        );
        process
    }

    /// The first line that the program printed.
    pub fn first_line(&mut self) -> String {
        let mut line = String::new();
        let mut reader = BufReader::new(self.child.stdout.take().unwrap());
        reader.read_line(&mut line).unwrap();
        // The program's further output must neither fill the pipe nor find it closed.
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        line
    }

    /// Sends `STOP`, `CONT` or `KILL` to the program and its children.
    pub fn signal(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let done = Command::new("sh")
            .args(["-c", r#"kill "-$0" "$1""#, name, &group])
            .status()
            .unwrap();
        assert!(done.success(), "kill -{name} {group}");
    }

    /// Stops all threads of the program until `signal("CONT")`. Signals take a moment, in which a thread could still
    /// answer.
    pub fn suspend(&self) {
        self.signal("STOP");
        wait::until("all threads have stopped", || {
            self.threads().all(|state| state == "T")
        });
    }

    /// The states of all threads of the process group (proc_pid_stat(5), fields 3 and 5).
    fn threads(&self) -> impl Iterator<Item = String> {
        let group = self.child.id().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let threads = processes.flat_map(|process| {
            fs::read_dir(process.path().join("task"))
                .into_iter()
                .flatten()
                .flatten()
        });
        threads.filter_map(move |thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let state = fields.next()?;
            (fields.nth(1)? == group).then(|| state.to_owned())
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("KILL");
        let _ = self.child.wait();
    }
}

/// The path of a program, if it is installed. Proxies are often in `sbin`, which is not in every user's `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Waits until no process listens on `port`: a process of an earlier test would answer instead of ours.
pub fn await_silence(port: u16) {
    wait::until(&format!("port {port} is free"), || !listens(port));
}

fn listens(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok()
}
