//! Latchkey has ended, hangs or sends invalid answers: no fault lets a request pass.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::Behaviour;
use crate::harness::client::get;
use crate::harness::latchkey::{AGENT_PORT, PORT};
use crate::harness::proxy::HAPROXY_SPOE;
use crate::harness::stage::Stage;
use crate::{agent, identity, wait};

#[rustfmt::skip] // Columns are the point of this table.
pub const BEHAVIOURS: &[Behaviour] = &[
    ("while Latchkey hangs requests are denied, and soon",             hanging),
    ("while Latchkey is gone requests are denied, and soon",           gone),
    ("a broken or strange answer of Latchkey denies",                  strange_answers),
    ("an answer without identity headers still removes forged ones",   answer_without_identity),
    ("once Latchkey is back requests pass again",                      back_again),
];

/// The extra time that a busy machine may add to a proxy's timeout.
const MARGIN: Duration = Duration::from_secs(3);

/// Answers of another program on Latchkey's port, or of a broken Latchkey.
/// 94, 95.
const ANSWERS: &[&str] = &[
    "",
    "\r\n\r\n",
    "nonsense\r\n\r\n",
    "SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/1.1 ",
    "HTTP/1.1 200 OK\r\nRemote-User: half an ans",
    "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:9000/\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\n\r\n",
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n",
];

#[track_caller]
fn denies_soon(stage: &Stage) {
    wait::quick_run(2 * (stage.patience + MARGIN), || {
        stage.stops(&get("/").bearer(&stage.reader.secret));
        stage.stops(&get("/billing/invoices").bearer(&stage.reader.secret));
    });
}

fn hanging(stage: &mut Stage) {
    stage.passes(&get("/").bearer(&stage.reader.secret));
    stage.latchkey.suspend();
    denies_soon(stage);
    stage.latchkey.resume();
    stage.passes(&get("/").bearer(&stage.reader.secret));
    stage.passes(&get("/billing/invoices").bearer(&stage.reader.secret));
}

fn gone(stage: &mut Stage) {
    stage.latchkey.stop();
    denies_soon(stage);
}

fn strange_answers(stage: &mut Stage) {
    if stage.folder_name() == HAPROXY_SPOE.folder() {
        for (number, answer) in agent::STRANGE.iter().enumerate() {
            println!("  strange answer {number}");
            let give = |stream| agent::give(stream, answer);
            answering(AGENT_PORT, &give, || denies_soon(stage));
        }
        return;
    }
    for answer in ANSWERS {
        println!("  {answer:?}");
        answering(PORT, &|stream| give(stream, answer), || denies_soon(stage));
    }
}

/// GHSA-7r4p-vjf4-gxv4.
fn answer_without_identity(stage: &mut Stage) {
    let (port, give): (u16, &(dyn Fn(TcpStream) + Sync)) = match stage.folder_name() {
        name if name == HAPROXY_SPOE.folder() => {
            (AGENT_PORT, &|stream| agent::give(stream, &agent::NAMELESS))
        }
        _ => (PORT, &|stream| {
            give(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        }),
    };
    answering(port, give, || {
        let seen = stage.passes(&identity::forged(get("/").bearer("lk_any")));
        for name in identity::HEADERS {
            assert!(
                seen.values(name).concat().is_empty(),
                "{name}: {}",
                seen.text()
            );
        }
    });
}

fn back_again(stage: &mut Stage) {
    stage.latchkey.restart();
    stage.passes(&get("/").bearer(&stage.reader.secret));
    stage.passes(&get("/billing/invoices").bearer(&stage.reader.secret));
    stage.refuses(&get("/"), 401, None);
}

/// Another program on a port of Latchkey answers every client with `give` while `work` runs.
fn answering(port: u16, give: &(dyn Fn(TcpStream) + Sync), work: impl FnOnce()) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = TcpListener::bind(address).unwrap();
    let done = AtomicBool::new(false);
    let clients = Mutex::new(HashMap::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                if done.load(Ordering::SeqCst) {
                    return;
                }
                let open = stream.try_clone().unwrap();
                clients.lock().unwrap().insert(number, open);
                scope.spawn({
                    let clients = &clients;
                    move || {
                        give(stream);
                        // Some answers end with their connection.
                        clients.lock().unwrap().remove(&number);
                    }
                });
            }
        });
        // The threads above must end even if `work` panics.
        let _end = End {
            done: &done,
            clients: &clients,
            address,
        };
        work();
    });
}

fn give(mut stream: TcpStream, answer: &str) {
    let _ = stream.set_read_timeout(Some(wait::PATIENCE));
    let _ = stream.read(&mut [0; 16_384]);
    let _ = stream.write_all(answer.as_bytes());
}

struct End<'a> {
    done: &'a AtomicBool,
    clients: &'a Mutex<HashMap<usize, TcpStream>>,
    address: SocketAddr,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        for stream in self.clients.lock().unwrap().values() {
            // HAProxy keeps its connections to an agent open.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
