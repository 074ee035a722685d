//! A server within this process, with a small service, for tests of connection behaviour.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::domain::time::Timestamp;
use crate::http1::reply::{Pledge, Reply};
use crate::http1::request::Head;
use crate::http1::{
    BodyRule, Engine, Execution, Fault, Hooks, Limits, Listener, Service, Stopper, Turn,
};

/// Ends a test that would hang. Nothing takes this long, not even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// A deadline, in seconds, that no test reaches.
pub const NEVER_S: u64 = 3600;

pub const BIG: usize = 32 * 1024 * 1024;
pub const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server within this process; dropping it stops it.
pub struct Running {
    pub address: SocketAddr,
    pub stopper: Stopper,
    pub thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    pub fn start(limits: Limits) -> Running {
        Running::start_as(limits, Listener::Tcp)
    }

    /// Starts a server with another kind of listener.
    pub fn start_as(limits: Limits, kind: impl FnOnce(TcpListener) -> Listener) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopper = Stopper::new();
        let theirs = stopper.clone();
        let listeners = vec![kind(listener)];
        let engine = Engine::start(1).unwrap();
        let serve = move || {
            engine.run(
                listeners,
                example_service(),
                limits,
                Hooks::default(),
                theirs,
            )
        };
        Running {
            address,
            stopper,
            thread: Some(std::thread::spawn(serve)),
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends `bytes` and returns everything the server sends until it closes the connection.
    pub fn ask(&self, bytes: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        rest(&mut stream)
    }

    pub fn join(&mut self) {
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

/// The answers that are to come later, of all servers of the process.
static PLEDGES: Mutex<Vec<Pledge>> = Mutex::new(Vec::new());

static SHARED: [u8; 64 * 1024] = [b'x'; 64 * 1024];

pub fn example_service() -> Service {
    let body_rule = |head: &Head| match head.path() {
        "/body" => BodyRule::UpTo(8),
        "/large" => BodyRule::UpTo(BIG),
        "/rule" => panic!("on purpose"),
        _ => BodyRule::Ignore,
    };
    Service {
        body_rule: Box::new(body_rule),
        turn: Box::new(|_| Turn::usual()),
        now: Box::new(|| Timestamp(784_111_777_000)),
        answer: Box::new(|request, execution| {
            if execution == Execution::Inline && request.query() == "blocking" {
                return None;
            }
            Some(match request.path() {
                "/panic" => panic!("on purpose"),
                "/100" => Reply::new(100),
                "/204" => Reply::new(204),
                "/304" => Reply::new(304),
                "/name" => {
                    let name = request.header("x-name").ok().flatten();
                    Reply::new(200).with("x-name", name.unwrap_or("none"))
                }
                "/text" => Reply::new(200).body("text/plain", b"x".to_vec()),
                "/big" => Reply::new(200).body("text/plain", vec![b'x'; BIG]),
                "/repeatable" => Reply::new(200)
                    .body("text/plain", vec![b'x'; BIG])
                    .repeatable(),
                "/later" => {
                    let (reply, pledge) = Reply::later();
                    PLEDGES.lock().unwrap().push(pledge);
                    reply
                }
                "/forgotten" => Reply::later().0,
                "/now" => {
                    for pledge in PLEDGES.lock().unwrap().drain(..) {
                        pledge.fulfil(Reply::new(200).body("text/plain", "late"));
                    }
                    Reply::new(204)
                }
                "/shared" => Reply::new(200).body("text/plain", SHARED.as_slice()),
                _ => Reply::new(200).body("text/plain", request.body.to_vec()),
            })
        }),
        fault: Box::new(|fault, _| match fault {
            Fault::BadFraming(_) => Reply::new(400),
            Fault::BodyTimeout => Reply::new(408),
            Fault::Busy | Fault::Unread => Reply::new(503),
            Fault::BusyCaller => Reply::new(429),
            Fault::ExpectationFailed => Reply::new(417),
            Fault::Panicked => Reply::new(500),
            Fault::Refused { status, why } => Reply::new(status).body("text/plain", why),
            Fault::TooLarge { .. } => Reply::new(413),
        }),
    }
}

/// No deadline but the one of idle connections is reached.
pub fn patient() -> Limits {
    Limits {
        body_s: NEVER_S,
        drain_s: NEVER_S,
        head_s: NEVER_S,
        write_s: NEVER_S,
        ..short()
    }
}

/// Deadlines of a second.
pub fn short() -> Limits {
    Limits {
        body_s: 1,
        connections_max: 16,
        drain_s: 5,
        head_s: 1,
        idle_s: 1,
        write_s: 1,
        ..Limits::default()
    }
}

/// Waits until a condition holds.
#[track_caller]
pub fn until(condition: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "still not true: {condition}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads one answer without a body.
pub fn one(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

#[track_caller]
pub fn check(answers: &str, statuses: &[u16]) {
    let seen: Vec<u16> = answers
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| answers[at + 9..at + 12].parse().unwrap())
        .collect();
    assert_eq!(seen, statuses, "{answers}");
}
