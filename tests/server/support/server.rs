//! The real executable, started by `quickstart` in a fresh folder on a free port, and stopped on drop.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::{Value, json};

use super::client::{Address, Received, Response};
use super::user::User;
use super::wait;

/// One second is the aim; this leaves a margin for a slow machine that runs all tests at once.
const PROBE: Duration = Duration::from_secs(10);

/// A running server and the output of its `quickstart`.
pub struct Server {
    pub address: SocketAddr,
    /// Process id, for signals and `/proc`.
    pub pid: u32,
    pub socket: PathBuf,
    pub owner_user_name: String,
    pub owner_password: String,
    pub management_key: String,
    /// A working ordinary key and its secret.
    pub key: Value,
    pub secret: String,
    /// The server's data folder.
    pub data: PathBuf,
    folder: PathBuf,
    env: Vec<(String, String)>,
    args: Vec<String>,
    child: Child,
}

impl Server {
    pub fn start() -> Server {
        Server::start_with(&[], &[])
    }

    /// Starts a server with further arguments after `quickstart`, and environment variables.
    pub fn start_with(args: &[&str], env: &[(&str, &str)]) -> Server {
        Server::launch(None, &any_port(), args, env)
    }

    /// Starts a server on another address than loopback.
    pub fn start_on(listen: &str) -> Server {
        Server::launch(None, listen, &["--allow-plain-http"], &[])
    }

    /// Starts a server with this data folder, which the caller has to remove afterwards.
    pub fn start_at(data: &Path) -> Server {
        Server::launch_at(Some(data), None, &any_port(), &[], &[])
    }

    /// Starts a server with `RLIMIT_NOFILE` set to `descriptors`.
    pub fn start_limited(descriptors: u32) -> Server {
        Server::launch(Some(descriptors), &any_port(), &[], &[])
    }

    /// Like [`Server::start_limited`], with further arguments.
    pub fn start_limited_with(descriptors: u32, args: &[&str]) -> Server {
        Server::launch(Some(descriptors), &any_port(), args, &[])
    }

    /// Serves the data folder of a site, which the caller has to remove afterwards.
    pub fn serve_site(data: &Path, args: &[&str], env: &[(&str, &str)]) -> Server {
        let folder = fresh_folder();
        let own = |text: &&str| text.to_string();
        let args: Vec<String> = ["--site"].iter().chain(args).map(own).collect();
        let env: Vec<(String, String)> = env
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let mut command = executable(None);
        command
            .args(["serve", "--json", "--data"])
            .arg(data)
            .args(["--listen", &any_port()]);
        let (child, hello) = spawn(command, &args, &env, &folder);
        let socket = hello["socket"].as_str().expect("a socket");
        Server {
            address: address(&hello),
            pid: child.id(),
            socket: PathBuf::from(socket),
            owner_user_name: String::new(),
            owner_password: String::new(),
            management_key: String::new(),
            key: Value::Null,
            secret: String::new(),
            data: data.to_owned(),
            folder,
            env,
            args,
            child,
        }
    }

    fn launch(
        descriptors: Option<u32>,
        listen: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Server {
        Server::launch_at(None, descriptors, listen, args, env)
    }

    fn launch_at(
        data: Option<&Path>,
        descriptors: Option<u32>,
        listen: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Server {
        allow_many_connections();
        let folder = fresh_folder();
        let data = data.map_or_else(|| folder.join("data"), Path::to_owned);
        let env: Vec<(String, String)> = env
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();

        let mut command = executable(descriptors);
        command
            .env("LATCHKEY_TEST_ENDLESS_SAMPLE", "1")
            .args(["quickstart", "--json", "--data"])
            .arg(&data)
            .args(["--listen", listen]);
        let (child, hello) = spawn(command, &args, &env, &folder);
        // A first start prints its secrets before it serves; clients that connect earlier wait.
        let socket = hello["socket"].as_str().map(PathBuf::from);
        let socket = socket.unwrap_or_else(|| panic!("no socket in {hello}"));
        Address::Unix(socket).call("GET", "/healthz", &[], None);
        let text = |value: &Value| {
            value
                .as_str()
                .unwrap_or_else(|| panic!("missing in {hello}"))
                .to_owned()
        };
        let server = Server {
            address: address(&hello),
            pid: child.id(),
            socket: PathBuf::from(text(&hello["socket"])),
            owner_user_name: text(&hello["owner"]["user_name"]),
            owner_password: text(&hello["owner"]["password"]),
            management_key: text(&hello["management_key"]),
            key: hello["key"].clone(),
            secret: text(&hello["secret"]),
            data,
            folder,
            env,
            args,
            child,
        };
        // A first start prints this before the database has its final name.
        server.wait_until_ready();
        server
    }

    /// Starts a server whose folder was filled with so many keys, and returns their secrets.
    pub fn start_filled(keys: usize) -> (Server, Vec<String>) {
        let folder = fresh_folder();
        let (data, secrets) = (folder.join("data"), folder.join("secrets"));
        let made = executable(None)
            .env("LATCHKEY_TEST_ENDLESS_SAMPLE", "1")
            .args(["init", "--json", "--keys", &keys.to_string(), "--secrets"])
            .arg(&secrets)
            .arg("--data")
            .arg(&data)
            .output()
            .expect("the command can be started");
        let first: Value = serde_json::from_slice(&made.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&made.stderr)));
        let mut command = executable(None);
        command
            .args(["serve", "--json", "--data"])
            .arg(&data)
            .args(["--listen", &any_port()]);
        let (child, hello) = spawn(command, &[], &[], &folder);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let server = Server {
            address: address(&hello),
            pid: child.id(),
            socket: PathBuf::from(text(&hello["socket"])),
            owner_user_name: text(&first["owner"]["user_name"]),
            owner_password: text(&first["owner"]["password"]),
            management_key: text(&first["management_key"]),
            key: first["key"].clone(),
            secret: text(&first["secret"]),
            data,
            folder,
            env: Vec::new(),
            args: Vec::new(),
            child,
        };
        server.wait_until_ready();
        let secrets = fs::read_to_string(secrets).expect("the secrets are there");
        (server, secrets.lines().map(str::to_owned).collect())
    }

    /// Stops the process if it still runs, and starts the server again on the same folder and port.
    pub fn restart(&mut self) {
        self.stop();
        let mut command = executable(None);
        command
            .args(["serve", "--json", "--data"])
            .arg(&self.data)
            .args(["--listen", &self.address.to_string()]);
        let (child, hello) = spawn(command, &self.args, &self.env, &self.folder);
        self.address = address(&hello);
        self.pid = child.id();
        self.child = child;
    }

    /// The same server, with other arguments at its next start.
    pub fn with_args(mut self, args: &[&str]) -> Server {
        self.args = args.iter().map(|arg| arg.to_string()).collect();
        self
    }

    /// SIGKILL: the process cannot clean up.
    pub fn kill9(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid as i32).expect("a process id is positive");
        kill_process(pid, signal).expect("the server takes signals");
    }

    /// SIGTERM, followed by SIGKILL if that has no effect (then `None`).
    pub fn stop(&mut self) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        self.signal(Signal::TERM);
        let status = wait::some_in_time(|| self.ended());
        if status.is_none() {
            self.kill9();
        }
        status
    }

    /// Waits for the process to end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait::some("the server has ended", || self.ended())
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the server can be waited for")
    }

    pub fn tcp(&self) -> Address {
        Address::Tcp(self.address)
    }

    /// The administrator, with the management key of the first start.
    pub fn admin(&self) -> User {
        self.bearer(&self.management_key)
    }

    pub fn anonymous(&self) -> User {
        User::new(self.tcp())
    }

    pub fn bearer(&self, secret: &str) -> User {
        self.anonymous().bearer(secret)
    }

    /// The user who runs this test, through the Unix socket, without a credential.
    pub fn local(&self) -> User {
        User::new(Address::Unix(self.socket.clone()))
    }

    /// Sends one request over TCP and returns the answer with any status.
    #[track_caller]
    pub fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Response {
        self.tcp().call(method, path, headers, body)
    }

    /// Sends bytes unchanged; returns what arrives until the server closes the connection.
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> Received {
        self.tcp().raw(bytes.as_ref(), wait::PATIENCE)
    }

    /// Sends bytes unchanged and closes the write direction; returns what arrives until the server closes the
    /// connection, which it does when it has answered.
    pub fn raw_to_the_end(&self, bytes: impl AsRef<[u8]>) -> Received {
        let mut connection = self.tcp().connect();
        let _ = connection.write_all(bytes.as_ref());
        connection.end_writing();
        connection.receive(wait::PATIENCE)
    }

    /// The server is unharmed: a valid key verifies, an invalid one is refused, and both answers come
    /// quickly.
    #[track_caller]
    pub fn assert_alive(&self) {
        wait::quick_run(PROBE, || {
            let admin = self.admin();
            let good = admin.verify(json!({ "key": self.secret }));
            assert_eq!(good["valid"], true, "the good key is refused: {good}");
            let bad = admin.verify(json!({ "key": format!("{}x", self.secret) }));
            assert_eq!(bad["valid"], false, "a bad key is accepted: {bad}");
        });
    }

    /// Waits until `/readyz?write` reports that the server is ready.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        self.ready();
    }

    /// The answer of `/readyz?write` to the administrator of the machine as soon as the server is ready. A server answers requests
    /// before it has loaded all keys, so a test never asks only once.
    #[track_caller]
    pub fn ready(&self) -> Value {
        wait::some("the server is ready", || {
            let answer = self.local().get("/readyz?write");
            (answer.status == 200).then(|| answer.json())
        })
    }

    /// Resident memory of the process in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("/proc is there");
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .expect("the process lives");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("a number of KiB");
        kib * 1024
    }

    /// The processor time of the server when its threads have gone to sleep. A busy machine does not change it.
    #[track_caller]
    pub fn processor_time(&self) -> Duration {
        let read = || -> u64 {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).expect("it runs");
            let time = |task: fs::DirEntry| {
                let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                text.split(' ').next()?.parse::<u64>().ok()
            };
            let times = tasks.filter_map(|task| time(task.expect("a task")));
            times.sum()
        };
        let mut last = 0;
        wait::until("the server sleeps", || {
            let before = std::mem::replace(&mut last, read());
            before == last && last > 0
        });
        Duration::from_nanos(last)
    }

    /// How often tripwires have found something of a kind about a key, as far as it is recorded.
    pub fn alarm(&self, id: &str, kind: &str) -> Option<u64> {
        let connection = rusqlite::Connection::open(self.data.join("latchkey.db")).ok()?;
        let sql = "SELECT count FROM key_alarms WHERE key_id = ?1 AND kind = ?2";
        let count = connection.query_row(sql, [id, kind], |row| row.get::<_, i64>(0));
        count.ok().and_then(|count| u64::try_from(count).ok())
    }

    /// Waits until the log contains so many lines with these words.
    #[track_caller]
    pub fn wait_for_log(&self, words: &str, count: usize) {
        wait::until(&format!("the log contains {words:?}"), || {
            self.log().matches(words).count() >= count
        });
    }

    /// What the server has written to stderr since its first start.
    pub fn log(&self) -> String {
        self.log_reader()()
    }

    /// Reads the log while the server is started again.
    pub fn log_reader(&self) -> impl Fn() -> String + Send + use<> {
        let path = log_path(&self.folder);
        move || fs::read_to_string(&path).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            eprintln!(
                "--- kept {} with this log\n{}",
                self.folder.display(),
                self.log()
            );
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The executable under test; if `descriptors` is set, a shell sets the limit and then executes the server.
pub fn executable(descriptors: Option<u32>) -> Command {
    let path = env!("CARGO_BIN_EXE_latchkey");
    let Some(descriptors) = descriptors else {
        return Command::new(path);
    };
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\""),
        path,
    ]);
    command
}

/// Starts the server and waits for the line of JSON that it prints when it listens.
fn spawn(
    mut command: Command,
    args: &[String],
    env: &[(String, String)],
    folder: &Path,
) -> (Child, Value) {
    let log = File::options()
        .create(true)
        .append(true)
        .open(log_path(folder))
        .expect("the log can be opened");
    let mut child = command
        .args(args)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the server can be started");
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let (sender, receiver) = channel();
    // Continues to read after the line, so that the server never writes into a closed or full pipe.
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let line = receiver.recv_timeout(wait::PATIENCE).ok();
    let hello = line
        .as_deref()
        .and_then(|line| serde_json::from_str(line).ok());
    match hello {
        Some(hello) => (child, hello),
        None => {
            let _ = child.kill();
            let status = child.wait();
            let log = fs::read_to_string(log_path(folder)).unwrap_or_default();
            panic!("the server did not start: {status:?}\n--- stdout\n{line:?}\n--- stderr\n{log}");
        }
    }
}

fn address(hello: &Value) -> SocketAddr {
    let url = hello["url"].as_str().unwrap_or_default();
    let url = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let address = url.and_then(|url| url.trim_end_matches('/').parse().ok());
    address.unwrap_or_else(|| panic!("no URL with an address in {hello}"))
}

fn any_port() -> String {
    format!("{}:0", fresh_loopback())
}

/// A loopback address that no other server and no client connection uses: a server that stops listening there can
/// listen on the same port again.
pub fn fresh_loopback() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Relaxed);
    let part = |number: u32| (1 + number % 254) as u8;
    Ipv4Addr::new(
        127,
        part(std::process::id()),
        part(count / 254),
        part(count),
    )
}

/// A folder that no other test uses. Its name is short, because the path of a Unix socket must be short.
pub fn fresh_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("lk-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("stderr.log")
}

/// Some tests open hundreds of connections while other tests run.
fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}
