//! For tests: a relay between a node and its server, which can be blocked, and which cuts a connection at a commit or after a number
//! of bytes.

use crate::domain::locks::lock;
use crate::files::private;
use crate::store::postgres::Address;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// See the heading. It ends with its process.
pub struct Relay {
    state: Arc<State>,
    folder: PathBuf,
    address: Address,
}

/// Which way the bytes of a connection go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    ToServer,
    ToNode,
}

/// Where a commit is cut off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum At {
    /// The server carries it out, and its answer is lost.
    Answer,
    /// The server does not get it.
    Request,
}

#[derive(Default)]
struct State {
    at_commit: Mutex<Option<At>>,
    is_blocked: AtomicBool,
    /// The bytes that still pass before a connection is cut; below zero if none is to be cut.
    to_server: AtomicI64,
    to_node: AtomicI64,
    cuts: AtomicUsize,
    open: Mutex<Vec<UnixStream>>,
}

impl State {
    fn left(&self, way: Way) -> &AtomicI64 {
        match way {
            Way::ToServer => &self.to_server,
            Way::ToNode => &self.to_node,
        }
    }
}

impl Relay {
    /// A relay to the server of an address.
    pub fn start(address: &Address) -> Relay {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = private::tests::folder(&format!("relay-{}", COUNT.fetch_add(1, SeqCst)));
        let server = address.socket().unwrap();
        let own = folder.join(server.file_name().unwrap());
        let listener = UnixListener::bind(own).unwrap();
        let state = Arc::new(State {
            to_server: AtomicI64::new(-1),
            to_node: AtomicI64::new(-1),
            ..State::default()
        });
        let relaying = state.clone();
        std::thread::spawn(move || {
            for node in listener.incoming().flatten() {
                if relaying.is_blocked.load(SeqCst) {
                    continue;
                }
                let Ok(server) = UnixStream::connect(&server) else {
                    continue;
                };
                let mut open = lock(&relaying.open);
                open.push(node.try_clone().unwrap());
                open.push(server.try_clone().unwrap());
                drop(open);
                for (from, to, way) in [
                    (&node, &server, Way::ToServer),
                    (&server, &node, Way::ToNode),
                ] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = relaying.clone();
                    std::thread::spawn(move || pass(from, to, way, &state));
                }
            }
        });
        Relay {
            state,
            address: address.at(&folder),
            folder,
        }
    }

    /// The address of the database through the relay.
    pub fn address(&self) -> Address {
        self.address.clone()
    }

    /// Cuts all connections, and lets no other one through.
    pub fn block(&self) {
        self.state.is_blocked.store(true, SeqCst);
        for stream in lock(&self.state.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn unblock(&self) {
        self.state.is_blocked.store(false, SeqCst);
    }

    /// Cuts the connection over which so many bytes more have gone one way.
    pub fn cut_after(&self, way: Way, bytes: i64) {
        self.state.left(way).store(bytes, SeqCst);
    }

    /// Cuts the connection over which the next commit goes.
    pub fn cut_at_commit(&self, at: At) {
        *lock(&self.state.at_commit) = Some(at);
    }

    /// Cuts nothing more; returns how many connections were cut.
    pub fn cut_nothing(&self) -> usize {
        self.state.to_server.store(-1, SeqCst);
        self.state.to_node.store(-1, SeqCst);
        *lock(&self.state.at_commit) = None;
        self.state.cuts.load(SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.block();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Passes bytes on until one end is closed, or until the connection is to be cut.
fn pass(mut from: UnixStream, mut to: UnixStream, way: Way, state: &State) {
    let mut buffer = [0; 16_384];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            break;
        }
        // The end of a text, unlike that of READ COMMITTED.
        let end = b"COMMIT\0";
        let mut parts = buffer[..count].windows(end.len());
        let has_commit = way == Way::ToServer && parts.any(|part| part == end);
        if has_commit && let Some(at) = lock(&state.at_commit).take() {
            state.cuts.fetch_add(1, SeqCst);
            if at == At::Answer {
                let _ = to.write_all(&buffer[..count]);
            }
            break;
        }
        let size = i64::try_from(count).unwrap();
        let counted = state.left(way).fetch_update(SeqCst, SeqCst, |left| {
            (left >= 0).then(|| (left - size).max(-1))
        });
        let passing = match counted {
            Ok(left) if left < size => usize::try_from(left).unwrap(),
            _ => count,
        };
        if to.write_all(&buffer[..passing]).is_err() {
            break;
        }
        if passing < count {
            state.cuts.fetch_add(1, SeqCst);
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
