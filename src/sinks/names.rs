//! The addresses of one host name. The resolver of the system has no limit of time, so it runs on a thread of its own: at most one
//! for each destination, however often the name is asked for. The caller waits until a deadline, and then continues with the
//! addresses that were found last.

use crate::domain::locks::lock;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what a look-up has found may wait for a caller.
const NEWS: Duration = Duration::from_secs(30);

/// How a name becomes addresses; a test has another way than the resolver of the system.
type LookUp = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// See the heading.
#[derive(Clone)]
pub struct Names {
    host: String,
    port: u16,
    look_up: Arc<LookUp>,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    is_looking: bool,
    /// What the last look-up has found, and when, if no caller has taken it yet.
    news: Option<(Instant, io::Result<Vec<SocketAddr>>)>,
    /// The addresses that were found last.
    known: Vec<SocketAddr>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Names({}:{})", self.host, self.port)
    }
}

impl Names {
    /// The addresses of a host, which is a name or an address.
    pub fn new(host: &str, port: u16) -> Names {
        let system = |host: &str, port: u16| Ok((host, port).to_socket_addrs()?.collect());
        Names::with(host, port, system)
    }

    fn with(
        host: &str,
        port: u16,
        look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Names {
        Names {
            host: host.to_owned(),
            port,
            look_up: Arc::new(look_up),
            state: Arc::default(),
        }
    }

    /// The addresses that the name stands for now. If no name server answers before `end`, or if it does not know the name, they are
    /// those that were found last.
    ///
    /// # Errors
    /// The look-up failed or took too long, and no addresses are known.
    pub fn resolve(&self, end: Instant) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let (state, found) = &*self.state;
        let mut waiting = lock(state);
        waiting.news.take_if(|(at, _)| at.elapsed() > NEWS);
        if !waiting.is_looking && waiting.news.is_none() {
            waiting.is_looking = true;
            if let Err(err) = self.begin() {
                (waiting.is_looking, waiting.news) = (false, Some((Instant::now(), Err(err))));
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        let lacks = |state: &mut State| state.news.is_none();
        let waited = found.wait_timeout_while(waiting, left, lacks);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no name server answers");
        let news = state.news.take().map(|(_, news)| news);
        match news.unwrap_or_else(|| Err(late())) {
            Ok(addresses) => {
                state.known.clone_from(&addresses);
                Ok(addresses)
            }
            Err(err) if state.known.is_empty() => Err(err),
            Err(_) => Ok(state.known.clone()),
        }
    }

    /// Starts a look-up.
    fn begin(&self) -> io::Result<()> {
        let names = self.clone();
        let thread = std::thread::Builder::new().name("names".to_owned());
        let look_up = move || {
            let news = (names.look_up)(&names.host, names.port);
            let (state, found) = &*names.state;
            let mut state = lock(state);
            (state.is_looking, state.news) = (false, Some((Instant::now(), news)));
            drop(state);
            found.notify_all();
        };
        thread.spawn(look_up).map(drop)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    /// A name server that answers what a test sends it, and nothing before.
    pub struct NameServer {
        pub names: Names,
        pub answers: Sender<io::Result<Vec<SocketAddr>>>,
        pub asked: Arc<AtomicUsize>,
    }

    impl NameServer {
        pub fn new(host: &str) -> NameServer {
            let (answers, receiver) = channel();
            let (receiver, asked) = (Mutex::new(receiver), Arc::new(AtomicUsize::new(0)));
            let counted = asked.clone();
            let names = Names::with(host, 443, move |_, _| {
                counted.fetch_add(1, SeqCst);
                let answer = lock(&receiver).recv();
                answer.unwrap_or_else(|_| Err(io::ErrorKind::NotFound.into()))
            });
            NameServer {
                names,
                answers,
                asked,
            }
        }

        #[track_caller]
        fn check(&self, left_ms: u64, expected: Result<Vec<SocketAddr>, io::ErrorKind>) {
            let end = Instant::now() + Duration::from_millis(left_ms);
            let found = self.names.resolve(end).map_err(|err| err.kind());
            assert_eq!(found, expected);
        }
    }

    /// Longer than any test takes.
    const LONG_MS: u64 = 600_000;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_server_that_does_not_answer_holds_nobody_up_and_takes_one_thread() {
        let server = NameServer::new("keys.example");
        for _ in 0..3 {
            server.check(20, Err(io::ErrorKind::TimedOut));
        }
        let first = addresses(&["192.0.2.1:443", "192.0.2.2:443"]);
        server.answers.send(Ok(first.clone())).unwrap();
        server.check(LONG_MS, Ok(first.clone()));
        assert_eq!(server.asked.load(SeqCst), 1);
        // Later silence and later errors do not take away what is known.
        server.check(20, Ok(first.clone()));
        let failed = || Err(io::ErrorKind::NotFound.into());
        server.answers.send(failed()).unwrap();
        server.check(LONG_MS, Ok(first));
        assert_eq!(server.asked.load(SeqCst), 2);
        let second = addresses(&["192.0.2.3:443"]);
        server.answers.send(Ok(second.clone())).unwrap();
        server.check(LONG_MS, Ok(second));
        assert_eq!(server.asked.load(SeqCst), 3);
    }

    #[test]
    fn a_name_that_is_unknown_from_the_start_is_an_error() {
        let server = NameServer::new("keys.example");
        server
            .answers
            .send(Err(io::ErrorKind::NotFound.into()))
            .unwrap();
        server.check(LONG_MS, Err(io::ErrorKind::NotFound));
    }

    #[test]
    fn an_address_needs_no_name_server() {
        let server = NameServer::new("2001:db8::1");
        server.check(0, Ok(addresses(&["[2001:db8::1]:443"])));
        assert_eq!(server.asked.load(SeqCst), 0);
    }
}
