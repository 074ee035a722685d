//! Several nodes on one database of a real server.

use super::*;
use crate::authz::caller::{Caller, Origin};
use crate::domain::clock::Uptime;
use crate::domain::keys::KeyId;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::locks::lock;
use crate::domain::time::Timestamp;
use crate::files::private;
use crate::ops::clock::{Sources, Wall};
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::sessions::{self, console};
use crate::ops::setup::{self, OwnerPassword, SampleKey, first_run};
use crate::ops::verify::verify_blocking;
use crate::ops::{attempts, maintenance, users};
use crate::store::postgres::Address;
use crate::store::postgres::server::{self, Database, date, wait_for};
use crate::store::{Location, usage};
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A limit that no test reaches.
const PATIENT: Limits = Limits {
    stale_after_ms: 3_600_000,
    refuse_after_ms: None,
};
const PASSWORD: &str = "seven lanterns over the harbour";

/// Nodes on one database, each with its own folder.
struct Cluster {
    nodes: Vec<Arc<App>>,
    files: KeyFiles,
    folder: PathBuf,
    address: Address,
    /// Removed after the nodes are closed.
    database: Database,
}

impl Cluster {
    fn new(name: &str) -> Option<Cluster> {
        let (database, address) = server::empty_database()?;
        let cluster = Cluster {
            nodes: Vec::new(),
            files: KeyFiles::generate(),
            folder: private::tests::folder(name),
            address,
            database,
        };
        setup::create(
            cluster.location("seeding", &cluster.address),
            cluster.files.clone(),
            &[],
            OwnerPassword::SetUp,
            SampleKey::None,
            sources(date),
        )
        .unwrap();
        Some(cluster)
    }

    fn location(&self, node: &str, address: &Address) -> Location {
        let folder = self.folder.join(node);
        std::fs::create_dir_all(&folder).unwrap();
        Location::on_a_server(&folder.join("db"), address.clone())
    }

    /// Starts a node, or starts it again, and waits until it is fresh.
    fn start(&mut self, node: &str, wall: Wall) -> Arc<App> {
        let address = self.address.clone();
        self.start_at(node, wall, &address)
    }

    fn start_at(&mut self, node: &str, wall: Wall, address: &Address) -> Arc<App> {
        let location = self.location(node, address);
        let app = setup::open(location, self.files.clone(), &[], sources(wall)).unwrap();
        setup::load_keys(&app).unwrap();
        wait_fresh(&app);
        self.nodes.push(app.clone());
        app
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter().for_each(|app| app.close());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn sources(wall: Wall) -> Sources {
    Sources {
        wall,
        uptime: || Uptime { boot: None, ms: 0 },
    }
}

fn wait_fresh(app: &App) {
    wait_for("the node is not fresh", || app.require_known().ok());
}

fn local(app: &App) -> Caller {
    Caller::local(&app.index.directory(), 0, Origin::default()).unwrap()
}

fn issued(app: &App, members: KeyMembers) -> Result<(KeyId, String)> {
    let members = KeyMembers {
        name: Some("billing".to_owned()),
        ..members
    };
    let new = NewKey {
        members,
        ..NewKey::default()
    };
    let issued = issue(app, &local(app), new, None)?;
    let secret = issued.secret.unwrap();
    Ok((issued.view.key.id, secret.expose().to_owned()))
}

fn verify(app: &App, secret: &str) -> Result<(Code, Option<u64>)> {
    let question = Question {
        cost: 1,
        ..Question::default()
    };
    verify_blocking(app, secret, &question, None, |it| (it.code, it.stale_s))
}

fn code(app: &App, secret: &str) -> Code {
    verify(app, secret).unwrap().0
}

fn valid(app: &App, secret: &str, tries: usize) -> usize {
    let tries = (0..tries).filter(|_| code(app, secret) == Code::Valid);
    tries.count()
}

/// Between a node and the server, for cutting the connections.
struct Relay {
    folder: PathBuf,
    state: Arc<Mutex<Relayed>>,
}

#[derive(Default)]
struct Relayed {
    is_cut: bool,
    open: Vec<UnixStream>,
}

impl Relay {
    fn start(name: &str) -> Relay {
        let to = server::socket().unwrap();
        let folder = private::tests::folder(name);
        let listener = UnixListener::bind(folder.join(to.file_name().unwrap())).unwrap();
        let state: Arc<Mutex<Relayed>> = Arc::default();
        let relaying = state.clone();
        std::thread::spawn(move || {
            for node in listener.incoming().map_while(|it| it.ok()) {
                let mut state = lock(&relaying);
                let Some(server) = (!state.is_cut).then(|| UnixStream::connect(&to).unwrap())
                else {
                    continue;
                };
                for (from, to) in [(&node, &server), (&server, &node)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || pass(from, to));
                }
                state.open.extend([node, server]);
            }
        });
        Relay { folder, state }
    }

    fn address(&self, database: &Database) -> Address {
        let text = format!(
            "host={} user=latchkey dbname={}",
            self.folder.display(),
            database.name()
        );
        Address::parse(&text, None, None).unwrap()
    }

    fn cut(&self) {
        let mut state = lock(&self.state);
        state.is_cut = true;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn heal(&self) {
        lock(&self.state).is_cut = false;
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream) {
    let mut bytes = [0; 8_192];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// P7: one node is cut from the database only.
#[test]
fn a_node_without_the_database_becomes_stale_then_refuses_and_comes_back() {
    let Some(mut cluster) = Cluster::new("fence-cut") else {
        return;
    };
    let relay = Relay::start("fence-relay");
    let one = cluster.start("one", date);
    let (_, secret) = issued(&one, KeyMembers::default()).unwrap();
    let address = relay.address(&cluster.database);
    let cut = cluster.start_at("cut", date, &address);
    assert_eq!(verify(&cut, &secret).unwrap(), (Code::Valid, None));
    let limits = |stale_after_ms, refuse_after_ms| Limits {
        stale_after_ms,
        refuse_after_ms,
    };
    relay.cut();
    cut.set_limits(limits(2_000, None));
    let stale = wait_for("the node is not stale", || verify(&cut, &secret).unwrap().1);
    assert!(stale >= 1, "{stale}");
    assert!(issued(&cut, KeyMembers::default()).is_err());
    cut.set_limits(limits(2_000, Some(3_000)));
    let refused = wait_for("the node refuses nothing", || verify(&cut, &secret).err());
    assert!(matches!(refused, Error::Unavailable(why) if refusals::server::is_stale(&why)));
    assert!(matches!(
        sessions::sign_in(&cut, "owner", PASSWORD, None, Origin::default()),
        Err(Error::Unavailable(_))
    ));
    assert!(cut.fence_figures().is_some_and(|found| !found.is_connected));
    // The other node is as it was.
    assert_eq!(verify(&one, &secret).unwrap(), (Code::Valid, None));
    issued(&one, KeyMembers::default()).map(drop).unwrap();
    relay.heal();
    cut.set_limits(Limits::default());
    wait_for("the lease is not renewed", || {
        cut.fence_figures().filter(|found| found.is_connected)
    });
}

/// An answer proves nothing as long as the index lacks events that the server had then.
#[test]
fn a_node_whose_index_is_behind_is_not_fresh() {
    let Some(mut cluster) = Cluster::new("fence-behind") else {
        return;
    };
    let (one, other) = (cluster.start("one", date), cluster.start("other", date));
    // Nothing comes into the index of the other node while this is held.
    let prepare = |read: &crate::store::Read| other.applier.prepare(read, &[]);
    let turn = other.read(prepare).unwrap();
    issued(&one, KeyMembers::default()).map(drop).unwrap();
    other.set_limits(Limits {
        stale_after_ms: 1_500,
        refuse_after_ms: None,
    });
    wait_for("the node is still fresh", || other.require_known().err());
    assert!(
        other
            .fence_figures()
            .is_some_and(|found| found.is_connected)
    );
    drop(turn);
    wait_fresh(&one);
}

#[test]
fn nodes_are_counted_until_they_stop_and_share_limits() {
    let Some(mut cluster) = Cluster::new("fence-live") else {
        return;
    };
    let one = cluster.start("one", date);
    let members = KeyMembers {
        rate_limit: Some(Some(RateLimit {
            limit: 60,
            window_s: 3_600,
            exact: false,
        })),
        ..KeyMembers::default()
    };
    let (_, secret) = issued(&one, members).unwrap();
    let others = [cluster.start("two", date), cluster.start("three", date)];
    for app in &cluster.nodes {
        wait_for("three nodes are not counted", || {
            (app.live_nodes() == 3).then_some(())
        });
        assert_eq!(valid(app, &secret, 100), 20);
    }
    others.iter().for_each(|app| app.close());
    wait_for("nodes that stopped still count", || {
        (one.live_nodes() == 1).then_some(())
    });
    assert_eq!(valid(&one, &secret, 100), 40);
}

/// P16: no more uses than there are, by nodes that race for them, and what a node gives back is found.
#[test]
fn nodes_that_race_for_uses_spend_no_more_than_there_are() {
    let Some(mut cluster) = Cluster::new("fence-uses") else {
        return;
    };
    let first = cluster.start("one", date);
    let members = KeyMembers {
        uses_left: Some(Some(100)),
        ..KeyMembers::default()
    };
    let (_, secret) = issued(&first, members).unwrap();
    let nodes = [
        first,
        cluster.start("two", date),
        cluster.start("three", date),
    ];
    let race = |tries: usize| -> usize {
        std::thread::scope(|scope| {
            let racing = nodes
                .each_ref()
                .map(|app| scope.spawn(|| valid(app, &secret, tries)));
            racing.into_iter().map(|node| node.join().unwrap()).sum()
        })
    };
    let spent = race(20);
    assert!(spent <= 60, "{spent}");
    let mut spent = spent + valid(&nodes[0], &secret, 200) + valid(&nodes[1], &secret, 200);
    assert!(spent <= 100, "{spent}");
    // The last one gives its block back when it stops, and the others look again.
    nodes[2].close();
    wait_for("what was given back is not found", || {
        spent += valid(&nodes[0], &secret, 1);
        (spent == 100).then_some(())
    });
    assert_eq!(
        valid(&nodes[0], &secret, 5) + valid(&nodes[1], &secret, 5),
        0
    );
}

/// P19, in short: what two nodes have counted is the sum.
#[test]
fn the_usage_of_nodes_is_summed_up() {
    let Some(mut cluster) = Cluster::new("fence-usage") else {
        return;
    };
    let one = cluster.start("one", date);
    let (id, secret) = issued(&one, KeyMembers::default()).unwrap();
    let other = cluster.start("other", date);
    for _ in 0..3 {
        assert_eq!((valid(&one, &secret, 5), valid(&other, &secret, 7)), (5, 7));
        maintenance::write_usage(&one);
        maintenance::write_usage(&other);
    }
    let usage = one.read(|read| usage::find_usage(read, id)).unwrap();
    assert_eq!(usage.use_count, 36);
}

fn alice(app: &App) {
    let new = users::NewUser {
        user_name: "alice".to_owned(),
        password: Some(PASSWORD.to_owned()),
        email: None,
        workspace: None,
        roles: Vec::new(),
    };
    users::create(app, &local(app), new, None).unwrap();
}

fn from(address: &str) -> Origin {
    let address: IpAddr = address.parse().unwrap();
    Origin {
        address: Some(address),
        counted: Some(address),
        ..Origin::default()
    }
}

/// P18: more nodes do not allow more guesses, and what one of them unlocks is unlocked.
#[test]
fn the_eleventh_attempt_over_three_nodes_is_refused() {
    let Some(mut cluster) = Cluster::new("fence-attempts") else {
        return;
    };
    let first = cluster.start("one", date);
    alice(&first);
    let nodes = [
        first,
        cluster.start("two", date),
        cluster.start("three", date),
    ];
    // These nodes do not follow one another fast enough for a slow machine.
    nodes.iter().for_each(|app| app.set_limits(PATIENT));
    let guess = |app: &App, password: &str| {
        sessions::sign_in(app, "alice", password, None, from("192.0.2.7"))
    };
    for attempt in 0..10 {
        let found = guess(&nodes[attempt % 3], "wrong");
        assert!(
            matches!(found, Err(Error::Unauthenticated)),
            "{attempt}: {found:?}"
        );
    }
    for app in &nodes {
        let found = guess(app, PASSWORD);
        assert!(matches!(found, Err(Error::TooMany { .. })), "{found:?}");
    }
    // In another network the user still signs in.
    let elsewhere = sessions::sign_in(&nodes[1], "alice", PASSWORD, None, from("198.51.100.7"));
    assert!(elsewhere.is_ok());
    attempts::unlock(&nodes[0], &local(&nodes[0]), "alice").unwrap();
    assert!(guess(&nodes[0], PASSWORD).is_ok());
    // A node that refuses by what it knows itself hears of it as well.
    wait_for("the other node did not hear of it", || {
        guess(&nodes[2], PASSWORD).ok()
    });
}

static LATER_MS: AtomicI64 = AtomicI64::new(0);

fn later() -> Timestamp {
    Timestamp(date().0 + LATER_MS.load(Relaxed))
}

/// P18: a session of the console is used at one node, and then at another one that has heard nothing of that.
#[test]
fn a_session_that_goes_on_at_one_node_is_not_idle_at_another() {
    let Some(mut cluster) = Cluster::new("fence-sessions") else {
        return;
    };
    let one = cluster.start("one", later);
    alice(&one);
    let other = cluster.start("other", later);
    // The date jumps here, and the other node may not follow the events of this one.
    [&one, &other]
        .iter()
        .for_each(|app| app.set_limits(PATIENT));
    let begun = console::open(&one, "alice", PASSWORD, None, from("192.0.2.7"), "", None).unwrap();
    let console::SignInResult::SignedIn(begun) = begun else {
        panic!("a code is needed");
    };
    let secret = begun.token.expose();
    let is_in = |app: &App| console::authenticate(app, secret, Origin::default()).is_ok();
    // The other node may not know it yet.
    assert!(is_in(&other));
    for minutes in [20, 31] {
        LATER_MS.store(minutes * 60_000, Relaxed);
        assert!(is_in(&one), "{minutes}");
    }
    assert!(is_in(&other));
    // It was not used for half an hour.
    LATER_MS.store(62 * 60_000, Relaxed);
    for app in [&one, &other] {
        assert!(!is_in(app));
    }
    let strange = format!("{}x", &secret[..secret.len() - 1]);
    assert!(console::authenticate(&other, &strange, Origin::default()).is_err());
}

#[test]
fn any_node_takes_the_code_of_any_node_for_the_first_password() {
    let Some(mut cluster) = Cluster::new("fence-setup") else {
        return;
    };
    let (one, other) = (cluster.start("one", date), cluster.start("other", date));
    let code = first_run::begin(&one).unwrap().unwrap();
    assert_ne!(first_run::begin(&other).unwrap().unwrap(), code);
    assert!(first_run::is_open(&one) && first_run::is_open(&other));
    let finish = |app: &App, code: &str| {
        first_run::finish(
            app,
            code,
            "owner",
            PASSWORD,
            Vec::new(),
            from("192.0.2.7"),
            "",
        )
    };
    assert!(matches!(
        finish(&other, "strange"),
        Err(Error::Invalid { .. })
    ));
    assert!(finish(&other, &code).is_ok());
    assert!(!first_run::is_open(&one) && !first_run::is_open(&other));
    assert!(finish(&one, &code).is_err());
}

fn a_day_ahead() -> Timestamp {
    Timestamp(date().0 + 23 * 3_600_000)
}

fn an_hour_behind() -> Timestamp {
    Timestamp(date().0 - 3_600_000)
}

/// P20: the clock of one node is wrong. It reports that and changes nothing, and keys at other nodes end when they end.
#[test]
fn a_wrong_clock_of_one_node_ends_nothing_elsewhere() {
    let Some(mut cluster) = Cluster::new("fence-clock") else {
        return;
    };
    let one = cluster.start("one", date);
    let members = KeyMembers {
        expires_at: Some(Some(one.now().wall.plus_s(7_200))),
        ..KeyMembers::default()
    };
    let (_, secret) = issued(&one, members).unwrap();
    for (name, wall, skew_ms) in [
        ("ahead", a_day_ahead as Wall, 23 * 3_600_000),
        ("behind", an_hour_behind, -3_600_000),
    ] {
        let wrong = cluster.start_wrong(name, wall);
        let found = wrong.fence_figures().unwrap();
        assert!(
            (found.skew_ms - skew_ms).abs() < 30_000,
            "{name}: {found:?}"
        );
        assert!(wrong.wrong_clock().is_some(), "{name}");
        let refused = issued(&wrong, KeyMembers::default()).err();
        let is_about_the_clock = matches!(&refused, Some(Error::Unavailable(why)) if refusals::server::is_wrong_clock(why));
        assert!(is_about_the_clock, "{name}: {refused:?}");
        wrong.close();
    }
    assert_eq!(code(&one, &secret), Code::Valid);
    // Neither a start nor a new node takes a time from the others.
    one.close();
    for name in ["one", "new"] {
        let app = cluster.start(name, date);
        let ahead_ms = app.now().wall.0 - date().0;
        assert!(ahead_ms.abs() < 60_000, "{name}: {ahead_ms}");
        assert_eq!(code(&app, &secret), Code::Valid);
        issued(&app, KeyMembers::default()).map(drop).unwrap();
    }
}

impl Cluster {
    /// Starts a node whose clock is wrong, which is never without a reason to refuse changes.
    fn start_wrong(&mut self, node: &str, wall: Wall) -> Arc<App> {
        let location = self.location(node, &self.address);
        let app = setup::open(location, self.files.clone(), &[], sources(wall)).unwrap();
        setup::load_keys(&app).unwrap();
        wait_for("the node has no lease", || app.require_serving().ok());
        self.nodes.push(app.clone());
        app
    }
}
