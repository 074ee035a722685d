//! A relay between a site and its server, which can do to the connections what a network or an attacker can.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::wait;

/// What happens to what passes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Mode {
    Pass,
    /// Connections are closed, and new ones, too.
    Cut,
    /// Nothing passes; it is kept, and passes later.
    Hold,
    /// One bit of each piece of an answer is another one.
    Flip,
    /// Each question is answered with what the server has answered to an earlier one, and does not reach it.
    Replay,
    /// Answers pass only half.
    Halve,
}

struct Shared {
    mode: AtomicU8,
    server: SocketAddr,
    open: Mutex<Vec<TcpStream>>,
    /// The last answers that have passed.
    answers: Mutex<Vec<Vec<u8>>>,
    questions: AtomicUsize,
}

/// See the heading. Its threads end with the test.
pub struct Relay {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    /// On the address of the server, which answers for no other host.
    pub fn before(server: SocketAddr) -> Relay {
        Relay::on(server.ip(), server)
    }

    pub fn on(ip: IpAddr, server: SocketAddr) -> Relay {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let shared = Arc::new(Shared {
            mode: AtomicU8::new(Mode::Pass as u8),
            server,
            open: Mutex::default(),
            answers: Mutex::default(),
            questions: AtomicUsize::new(0),
        });
        let address = listener.local_addr().unwrap();
        let of_thread = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                of_thread.accept(client);
            }
        });
        Relay { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, SeqCst);
        if mode == Mode::Cut {
            for stream in self.shared.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// The pieces of questions that have arrived, also those that were not passed on.
    pub fn questions(&self) -> usize {
        self.shared.questions.load(SeqCst)
    }

    /// Waits until an answer has passed, so that there is one to repeat.
    pub fn await_answers(&self) {
        wait::until("answers have passed", || {
            self.shared.answers.lock().unwrap().len() > 3
        });
    }
}

impl Shared {
    fn is(&self, mode: Mode) -> bool {
        self.mode.load(SeqCst) == mode as u8
    }

    fn accept(self: &Arc<Shared>, client: TcpStream) {
        if self.is(Mode::Cut) {
            return;
        }
        let Ok(server) = TcpStream::connect(self.server) else {
            return;
        };
        let copy = |stream: &TcpStream| stream.try_clone().unwrap();
        self.open
            .lock()
            .unwrap()
            .extend([copy(&client), copy(&server)]);
        let (shared, from, to) = (self.clone(), copy(&client), copy(&server));
        thread::spawn(move || shared.pass_questions(from, to));
        let shared = self.clone();
        thread::spawn(move || shared.pass_answers(server, client));
    }

    /// Waits while nothing is to pass.
    fn hold(&self) {
        while self.is(Mode::Hold) {
            wait::pause(Duration::from_millis(5));
        }
    }

    fn pass_questions(&self, mut client: TcpStream, mut server: TcpStream) {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = client.read(&mut piece) {
            self.questions.fetch_add(1, SeqCst);
            self.hold();
            let repeated = match self.is(Mode::Replay) {
                true => {
                    let answers = self.answers.lock().unwrap();
                    let which = self.questions.load(SeqCst) % answers.len().max(1);
                    answers.get(which).cloned()
                }
                false => None,
            };
            let sent = match repeated {
                Some(answer) => client.write_all(&answer),
                None => server.write_all(&piece[..length]),
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
    }

    fn pass_answers(&self, mut server: TcpStream, mut client: TcpStream) {
        let mut piece = vec![0; 64 * 1024];
        let mut count = 0;
        while let Ok(length @ 1..) = server.read(&mut piece) {
            self.hold();
            let mut answer = piece[..length].to_vec();
            if self.is(Mode::Pass) {
                let mut answers = self.answers.lock().unwrap();
                answers.push(answer.clone());
                let surplus = answers.len().saturating_sub(8);
                answers.drain(..surplus);
            }
            if self.is(Mode::Flip) {
                // Another place each time. Not in the head of HTTP, of which not everything matters.
                count += 1;
                let body = answer.windows(4).position(|four| four == b"\r\n\r\n");
                let start = body.map_or(0, |at| at + 4).min(length - 1);
                let at = start + count * 7919 % (length - start);
                answer[at] ^= 1 << (count % 8);
            }
            if self.is(Mode::Halve) {
                answer.truncate(length / 2);
            }
            if client.write_all(&answer).is_err() || self.is(Mode::Halve) {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
}
