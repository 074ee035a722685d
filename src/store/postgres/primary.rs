//! Which server the connections of a node go to.
//!
//! A server that another one has replaced may not know that yet: it still accepts changes, and answers queries from its old data. So
//! the first host that accepts changes is not good enough. All hosts of the address are asked at once. Those that lack an event which the
//! node knows are left out, and of the others the one with the newest timeline is taken: a standby that becomes the primary begins a
//! new one. Later connections go to the same server and compare it with the one that was taken. When the lease of the node cannot be written
//! there, the hosts are asked again, and so they are when the outcome of a commit is not known.
//!
//! Every connection knows in which round it was opened. A new round begins when the lease cannot be written, and when the
//! connections go to another server; then all connections of earlier rounds count as closed.

use super::faults;
use super::link::Failure;
use super::{Address, Postgres};
use crate::domain::locks::lock;
use crate::error::{Error, Result};
use crate::refusals::{self, verbatim};
use crate::store::Known;
use crate::store::connection::{Head, ToValue};
use std::sync::Mutex;
use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release,
};
use std::task::{Context, Waker};
use std::time::Duration;

/// How long each question to a server may take that is compared with others.
const QUESTION_MAX: Duration = Duration::from_secs(3);

/// What distinguishes a server from another one, and from itself before it was started again. A server that only reads has no timeline to
/// which it writes.
const IDENTITY: &str = "SELECT CAST(extract(epoch FROM pg_postmaster_start_time()) * 1000000 AS BIGINT) AS started_us,
            CAST(CAST('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS BIT(32)) AS BIGINT) AS timeline";

/// Whether the log has an event: by the newest one, or by the hash of the event before the next one. Without the next one the log
/// was cut there.
const HAS_EVENT: &str = "SELECT CASE WHEN seq = $1 THEN hash = $2
                 ELSE seq > $1 AND COALESCE((SELECT previous = $2 FROM audit_events WHERE seq = $1 + 1), true) END AS has
     FROM audit_head WHERE one = 1";

/// What the connections of a node have in common; see the heading.
#[derive(Default)]
pub struct Primary {
    /// `None` outside a node: in a command, or before the store is open.
    known: Option<Known>,
    round: AtomicU64,
    state: Mutex<State>,
    /// Held by the one that asks all hosts.
    asking: Mutex<()>,
    pub wake: Wake,
}

#[derive(Default)]
struct State {
    /// Where connections go; `None` until the hosts are asked.
    server: Option<Server>,
    /// Where they have gone last.
    last: Option<Server>,
    /// The host on which a lease could not be written.
    suspect: Option<usize>,
    /// How often all hosts were asked.
    asked: u64,
    /// Why none of them could be used when they were asked last.
    failure: Option<String>,
}

/// A server, as a connection finds it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Server {
    /// The position of its host in the address.
    host: usize,
    started_us: i64,
    /// 0 if the user may not ask for it.
    timeline: i64,
}

/// A connection that could be used.
struct Candidate {
    postgres: Postgres,
    server: Server,
    /// Whether the server lacks an event that the node knows.
    is_behind: bool,
}

/// A host that cannot be used.
pub struct Unusable {
    /// The host, the reason, and what an administrator can do.
    pub why: String,
    /// Whether that can pass without anyone's help.
    pub can_pass: bool,
    /// Whether the host has answered that, so that it certainly has no server that takes changes.
    has_answered: bool,
}

impl Unusable {
    pub fn of(address: &Address, host: usize, failure: &Failure) -> Unusable {
        let advice = faults::advice(failure);
        Unusable {
            why: format!(
                "PostgreSQL at {} cannot be used: {failure}; {advice}",
                address.host_name(host)
            ),
            can_pass: faults::can_pass(failure),
            has_answered: faults::is_answer(failure),
        }
    }
}

/// The reasons in one text.
pub fn joined(unusable: &[Unusable]) -> String {
    let reasons: Vec<&str> = unusable.iter().map(|it| it.why.as_str()).collect();
    reasons.join("; ")
}

impl Primary {
    /// For the connections of a node.
    pub fn of_a_node(known: Known) -> Primary {
        Primary {
            known: Some(known),
            ..Primary::default()
        }
    }

    /// The round that connections are opened in.
    pub fn round(&self) -> u64 {
        self.round.load(Acquire)
    }

    /// Lets the next connection ask all hosts.
    pub fn reconsider(&self) {
        lock(&self.state).server = None;
    }

    /// Begins another round, because the lease could not be written where the connections of this round go. If another one has begun
    /// meanwhile, they go elsewhere by now.
    pub fn leave(&self, round: u64) {
        let mut state = lock(&self.state);
        if self.round() != round {
            return;
        }
        if let Some(server) = state.server.take() {
            state.suspect = Some(server.host);
        }
        self.begin_round();
    }

    /// Notes that the lease could be written.
    pub fn stay(&self) {
        lock(&self.state).suspect = None;
    }

    /// Called with the state locked.
    fn begin_round(&self) {
        self.round.fetch_add(1, AcqRel);
        self.wake.call();
    }

    /// The error for hosts that cannot be used. Clients of a node that runs do not learn where its database is.
    fn unusable(&self, why: String) -> Error {
        let is_running = self.known.is_some() && lock(&self.state).last.is_some();
        if is_running {
            log::error!("store: {why}");
            return Error::Unavailable(refusals::server::database_unusable());
        }
        Error::Unavailable(verbatim(why))
    }

    /// Notes the server that was taken, and returns the round of the connection to it. Connections to another one count as closed from now
    /// on. If the node has left its server since the hosts were asked in `round`, it may be the one that was taken: then nothing is
    /// noted, and the connection counts as closed.
    fn take(&self, server: Server, name: &str, round: u64) -> u64 {
        let mut state = lock(&self.state);
        state.asked += 1;
        state.failure = None;
        if self.round() != round {
            return round;
        }
        state.server = Some(server);
        let last = state.last.replace(server);
        if last.is_some_and(|last| last != server) {
            log::warn!(
                "store: the connections of this node go to PostgreSQL at {name} from now on"
            );
            self.begin_round();
        }
        self.round()
    }

    fn take_none(&self, why: &str) {
        let mut state = lock(&self.state);
        state.asked += 1;
        state.server = None;
        state.failure = Some(why.to_owned());
    }
}

/// Opens a connection, with the settings of a session, to the server that takes changes.
pub fn connect(address: &Address) -> Result<Postgres> {
    let primary = &address.primary;
    let (server, asked) = {
        let state = lock(&primary.state);
        (state.server, state.asked)
    };
    if let Some(postgres) = connect_again(address, server)? {
        return Ok(postgres);
    }
    let _turn = lock(&primary.asking);
    let (server, failure) = {
        let state = lock(&primary.state);
        match state.asked == asked {
            true => (None, None),
            // Meanwhile another thread has asked all hosts.
            false => (state.server, state.failure.clone()),
        }
    };
    if let Some(failure) = failure {
        return Err(primary.unusable(failure));
    }
    match connect_again(address, server)? {
        Some(postgres) => Ok(postgres),
        None => ask_all(address),
    }
}

/// Opens a connection to a server that was taken before; `None` if it is not the same any more.
fn connect_again(address: &Address, server: Option<Server>) -> Result<Option<Postgres>> {
    let Some(server) = server else {
        return Ok(None);
    };
    let found = candidate(address, server.host, None)?;
    Ok(found
        .ok()
        .filter(|found| found.server == server)
        .map(|found| found.postgres))
}

fn ask_all(address: &Address) -> Result<Postgres> {
    let primary = &address.primary;
    let round = primary.round();
    let known = primary.known.as_ref().and_then(|known| known());
    let known = known.filter(|known| *known != Head::NONE);
    let asked = match address.hosts.len() {
        // Where there is no choice, an older copy is found by the log.
        1 => vec![candidate(address, 0, None)?],
        count => ask_at_once(address, count, known)?,
    };
    let mut unusable = Vec::new();
    let (mut best, mut behind) = (None, None);
    let suspect = lock(&primary.state).suspect;
    for found in asked {
        match found {
            Ok(found) if found.is_behind => better(&mut behind, found, suspect),
            Ok(found) => better(&mut best, found, suspect),
            Err(why) => unusable.push(why),
        }
    }
    if best.is_none() {
        best = match unusable.iter().all(|it| it.has_answered) {
            // All hosts are known, so the database is an older copy.
            true => behind,
            false => {
                unusable.extend(behind.map(|found| lacks_events(address, found.server.host)));
                None
            }
        };
    }
    let Some(Candidate {
        mut postgres,
        server,
        ..
    }) = best
    else {
        let why = joined(&unusable);
        primary.take_none(&why);
        return Err(primary.unusable(why));
    };
    postgres.round = primary.take(server, &address.host_name(server.host), round);
    Ok(postgres)
}

fn ask_at_once(
    address: &Address,
    count: usize,
    known: Option<Head>,
) -> Result<Vec<std::result::Result<Candidate, Unusable>>> {
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..count)
            .map(|host| {
                let ask = move || candidate(address, host, known);
                let started = std::thread::Builder::new().spawn_scoped(scope, ask);
                (host, started)
            })
            .collect();
        let ended = asking.into_iter().map(|(host, started)| match started {
            Ok(asking) => asking
                .join()
                .unwrap_or_else(|_| Err(Error::internal("a host could not be asked"))),
            // The system gives no more threads.
            Err(_) => candidate(address, host, known),
        });
        ended.collect()
    })
}

/// Keeps the better one of two candidates: the one with the newer timeline, otherwise the one that took the last lease, otherwise the first.
fn better(best: &mut Option<Candidate>, other: Candidate, suspect: Option<usize>) {
    let rank = |it: &Candidate| (it.server.timeline, suspect != Some(it.server.host));
    if best.as_ref().is_none_or(|best| rank(best) < rank(&other)) {
        *best = Some(other);
    }
}

fn lacks_events(address: &Address, host: usize) -> Unusable {
    Unusable {
        why: format!(
            "PostgreSQL at {} lacks changes that this node knows, so it is not used as long as another host does not answer; start \
             that host, or take it out of the address",
            address.host_name(host)
        ),
        can_pass: true,
        has_answered: true,
    }
}

/// Connects to one host, and asks which server is there.
fn candidate(
    address: &Address,
    host: usize,
    known: Option<Head>,
) -> Result<std::result::Result<Candidate, Unusable>> {
    let mut quick = address.clone();
    quick.statement_max = QUESTION_MAX;
    let round = address.primary.round();
    let mut postgres = match address.connect_to(host)? {
        Ok(link) => Postgres::over(link, quick, round),
        Err(failure) => return Ok(Err(Unusable::of(address, host, &failure))),
    };
    let mut server = Server {
        host,
        ..Server::default()
    };
    let identity = postgres.each(IDENTITY, &[], &mut |row| {
        server.started_us = row.get("started_us")?;
        server.timeline = row.get("timeline")?;
        Ok(())
    });
    let mut is_behind = false;
    if let (Ok(()), Some(known)) = (&identity, known) {
        is_behind = true;
        let params: [&dyn ToValue; 2] = [&known.seq, &known.hash];
        // A database without this table lacks the event too.
        let asked = postgres.each(HAS_EVENT, &params, &mut |row| {
            is_behind = !row.get::<bool>("has")?;
            Ok(())
        });
        if let Err(err) = asked {
            log::warn!(
                "store: PostgreSQL at {} does not say how far its log goes: {err}",
                address.host_name(host)
            );
        }
    }
    if postgres.link.borrow().is_over() {
        return Ok(Err(Unusable::of(
            address,
            host,
            &Failure::Late(QUESTION_MAX),
        )));
    }
    postgres.address.statement_max = address.statement_max;
    Ok(Ok(Candidate {
        postgres,
        server,
        is_behind,
    }))
}

/// Ends the wait of the connection that learns of commits.
#[derive(Default)]
pub struct Wake {
    is_called: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Wake {
    pub fn call(&self) {
        self.is_called.store(true, Release);
        if let Some(waiting) = lock(&self.waiting).take() {
            waiting.wake();
        }
    }

    /// Whether this was called since it was last asked. A later call wakes the task that has asked.
    pub fn was_called(&self, cx: &Context<'_>) -> bool {
        *lock(&self.waiting) = Some(cx.waker().clone());
        self.is_called.swap(false, AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::{Server, TEMPLATE, new_database};
    use super::*;
    use crate::files::private;
    use std::os::unix::net::UnixListener;
    use std::sync::Arc;

    /// Puts an event at the end of the log.
    fn end_log(postgres: &Postgres, seq: i64) {
        let hash = "decode(repeat('07', 32), 'hex')";
        postgres
            .batch(&format!(
                "INSERT INTO audit_head (one, seq, hash, seal) VALUES (1, {seq}, {hash}, {hash})
                 ON CONFLICT (one) DO UPDATE SET seq = excluded.seq"
            ))
            .unwrap();
    }

    /// Where a node that knows this event goes.
    fn taken(address: &Address, seq: i64, hash: u8) -> Result<String> {
        let mut address = address.clone();
        let known = Head {
            seq,
            hash: [hash; 32],
        };
        address.begin_node(Arc::new(move || Some(known)));
        Postgres::open(&address)?.text("SELECT current_setting('unix_socket_directories') AS text")
    }

    #[test]
    fn of_two_servers_the_newer_one_is_taken_that_has_what_the_node_knows() {
        let Some(old) = Server::start() else {
            return;
        };
        let first = old.address(TEMPLATE);
        let admin = Postgres::open(&first).unwrap();
        end_log(&admin, 5);
        let new = old.start_standby();
        let second = first.at(&new.folder);
        let both = first.or_at(&second);
        let (old_folder, new_folder) = (
            old.folder.display().to_string(),
            new.folder.display().to_string(),
        );
        // A standby only reads.
        assert_eq!(taken(&second.or_at(&first), 5, 7).unwrap(), old_folder);
        new.promote();
        for address in [&both, &second.or_at(&first)] {
            assert_eq!(taken(address, 5, 7).unwrap(), new_folder);
        }
        end_log(&admin, 6);
        assert_eq!(taken(&both, 6, 7).unwrap(), old_folder);
        // The log was not cut, so it does not matter that event 6 is not there.
        assert_eq!(taken(&both, 5, 7).unwrap(), new_folder);
        // All hosts have answered and none has the event: the database is an older copy.
        assert_eq!(taken(&both, 7, 7).unwrap(), new_folder);
        assert_eq!(taken(&both, 5, 8).unwrap(), old_folder);
    }

    #[test]
    fn an_older_copy_is_not_taken_while_another_host_is_silent() {
        let Some(old) = Server::start() else {
            return;
        };
        let first = old.address(TEMPLATE);
        end_log(&Postgres::open(&first).unwrap(), 5);
        let folder = private::tests::folder("silent-host");
        let silent = first.at(&folder);
        let missing = first.or_at(&silent);
        assert_eq!(
            taken(&missing, 6, 7).unwrap(),
            old.folder.display().to_string()
        );
        let listener = UnixListener::bind(silent.socket().unwrap()).unwrap();
        let why = taken(&missing, 6, 7).unwrap_err().to_string();
        assert!(why.contains("lacks changes that this node knows"), "{why}");
        assert!(taken(&missing, 5, 7).is_ok());
        drop(listener);
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn all_connections_are_opened_again_when_a_lease_cannot_be_written() {
        let Some((_database, mut address)) = new_database() else {
            return;
        };
        address.begin_node(Arc::new(|| None));
        let (one, other) = (
            Postgres::open(&address).unwrap(),
            Postgres::open_listener(&address).unwrap(),
        );
        assert!(!one.is_over() && !other.is_over());
        let waiting = std::thread::spawn(move || {
            other.wait_for_commit(Duration::from_secs(300));
            other.is_over()
        });
        address.primary.leave(address.primary.round());
        assert!(waiting.join().unwrap());
        assert!(one.is_over());
        let again = Postgres::open(&address).unwrap();
        // The same server is no reason to open anything again.
        address.primary.reconsider();
        drop(Postgres::open(&address).unwrap());
        assert!(!again.is_over());
    }

    #[test]
    fn a_host_is_named_with_the_reason_for_which_it_cannot_be_used() {
        let Some((_database, address)) = new_database() else {
            return;
        };
        let folder = private::tests::folder("no-server");
        let missing = address.at(&folder);
        let why = missing.out_of_reach().unwrap();
        let host = folder.display().to_string();
        assert!(
            why.contains(&host) && why.contains("check the address"),
            "{why}"
        );
        let refused = Postgres::open(&missing).err().unwrap().to_string();
        assert!(refused.contains(&host), "{refused}");
        // One host is enough.
        assert_eq!(missing.or_at(&address).out_of_reach(), None);
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn a_node_that_does_not_notify_does_not_listen() {
        let Some((_database, address)) = new_database() else {
            return;
        };
        for notifies in [true, false] {
            let mut address = address.clone();
            address.notifies = notifies;
            let listener = Postgres::open_listener(&address).unwrap();
            let channels = "SELECT count(*) AS count FROM pg_listening_channels()";
            assert_eq!(listener.count(channels).unwrap(), i64::from(notifies));
        }
    }
}
