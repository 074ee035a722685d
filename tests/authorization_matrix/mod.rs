//! Who may call what: the test sends requests for every route of every dialect with every kind of caller (attacks 117),
//! based on the route tables.
//!
//! Each route has one line in a table of this folder, which defines what a caller needs for it; a route without a line,
//! or a line without a route, fails the test. A new dialect adds a file with its lines here and its name in [`TABLES`]:
//!
//! ```text
//! line("GET", "/keys/{id}", Needs::Here(KeysRead)).on(Thing::Key),
//! ```
//!
//! The test puts the id of a thing in the workspace `below` into the path: a new thing whenever a request has changed the
//! last one. It sends the request as each caller that [`callers`] lists: without a credential, with an invalid secret,
//! with an expired, disabled or deleted key, with keys that are no management keys, with keys bound to another
//! workspace, with read-only keys, with keys that lack a scope, and with every role in every workspace. A caller without
//! the permission must receive 401, 403 or 404, and nothing may change; a caller with the permission must receive 2xx.
//! If this test cannot cover a route, its line names another test file, which must mention case 117 (see [`Needs`]).

mod callers;
mod console;
mod described;
mod forward_auth;
mod link;
mod native;
mod openapi;
mod probes;
mod products;
mod taking;
mod world;

use crate::dialects::SURFACES;
use crate::domain::users::permissions::Permission;
use callers::Caller;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use world::World;

/// How many threads send the requests.
const THREADS: usize = 2;

/// The lines of each dialect.
const TABLES: &[(&str, &[Line])] = &[
    ("adverity", products::ADVERITY),
    ("aware", products::CHECKED),
    ("awaretrain", products::CHECKED),
    ("console", console::LINES),
    ("front", console::FRONT),
    ("forward-auth", forward_auth::LINES),
    ("metrics", probes::METRICS),
    ("native", native::LINES),
    ("probes", probes::LINES),
    ("security-txt", probes::SECURITY_TXT),
    ("vspc", products::VSPC),
];

/// What a route requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Needs {
    /// A cookie of the dialect, which no caller of this test has, so that none receives 2xx.
    Cookie,
    /// Any credential in force.
    Credential,
    /// The permission in the workspace of the caller.
    AtHome(Permission),
    /// This test file covers the route instead.
    #[allow(dead_code)]
    Elsewhere(&'static str),
    /// The permission in the root workspace.
    Everywhere(Permission),
    /// Both permissions in the root workspace.
    EverywhereBoth(Permission, Permission),
    /// The permission in any workspace; the answer belongs to no workspace.
    Held(Permission),
    /// The permission in the workspace of the thing.
    Here(Permission),
    /// Like `Here`, and members may do it for themselves.
    HereOrOwn(Permission),
    /// Any key in force that is not read-only, also one that is no management key; an access token is not enough.
    Key,
    /// The permission, but only through the Unix socket; over TCP every caller is refused.
    Local(Permission),
    /// No credential.
    Nothing,
    /// A key of the dialect's own catalog, which no caller of this test has, so that all are refused.
    OwnKey,
    /// A user's name and password in the request; no credential replaces them.
    Password,
    /// The permission in any workspace; only callers who have it in the workspace of the thing see the thing.
    Rows(Permission),
    /// Like `Rows` with the first permission; a caller who can see the thing also needs the second permission there.
    RowsWith(Permission, Permission),
    /// An access token, or a key of the dialect's own catalog, which no caller of this test has; other keys are
    /// refused. The tests of the dialect cover what each token permits.
    Session,
    /// Like `Here`, but the answer does not reveal whether the action succeeded.
    Silently(Permission),
    /// A key in force receives information about itself; every other caller receives `"active":false`.
    Introspection,
}

/// The kind of thing that a path names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Thing {
    Catalog,
    Key,
    Nothing,
    Policy,
    User,
    Workspace,
}

/// The requirements of one route.
pub struct Line {
    method: &'static str,
    path: &'static str,
    needs: Needs,
    thing: Thing,
    /// `{id}` and `{secret}` stand for those of the thing, `{new}` for an unused name.
    body: &'static str,
    query: &'static str,
    spends: bool,
}

/// A line without a thing and without a body.
pub const fn line(method: &'static str, path: &'static str, needs: Needs) -> Line {
    Line {
        method,
        path,
        needs,
        thing: Thing::Nothing,
        body: "",
        query: "",
        spends: false,
    }
}

impl Line {
    pub const fn on(mut self, thing: Thing) -> Line {
        self.thing = thing;
        self
    }

    /// Adds a body: JSON if it starts with `{`, otherwise a form.
    pub const fn with(mut self, body: &'static str) -> Line {
        self.body = body;
        self
    }

    /// The request may end its own credential, so each request uses a new one.
    pub const fn spending(mut self) -> Line {
        self.spends = true;
        self
    }

    pub const fn asking(mut self, query: &'static str) -> Line {
        self.query = query;
        self
    }
}

/// The answer that a caller must receive.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// 200, and `"active":false`.
    Inactive,
    /// 400 or 401, and nothing has changed.
    Unproven,
    /// A redirect or a refusal, and nothing has changed.
    Closed,
    /// 401 or 403, and nothing has changed.
    Denied,
    /// 2xx, and the thing is in the answer.
    Shown,
    /// 2xx, and the thing is not in the answer.
    Hidden,
    /// 2xx.
    Done,
    /// Anything except 401: other tests cover the permissions of the credential.
    NotUnknown,
    /// 200, 204 or 403, and nothing has changed.
    Nothing,
    /// 401, and nothing has changed.
    Unknown,
    /// 403 or 404, and nothing has changed.
    Refused,
}

fn told(needs: Needs, caller: &Caller) -> Told {
    let choose = |may: bool, yes: Told| match (may, caller.is_known()) {
        (true, _) => yes,
        (false, true) => Told::Refused,
        (false, false) => Told::Unknown,
    };
    let rows = |there: bool| if there { Told::Shown } else { Told::Hidden };
    match needs {
        Needs::Nothing => Told::Done,
        Needs::Password => Told::Unproven,
        Needs::Session => match caller.is_session() {
            true => Told::NotUnknown,
            false => Told::Denied,
        },
        Needs::Introspection => match caller.is_known() && !caller.is_session() {
            true => Told::Done,
            false => Told::Inactive,
        },
        Needs::Elsewhere(_) => unreachable!("left out before"),
        Needs::Cookie => Told::Closed,
        Needs::OwnKey => Told::Denied,
        Needs::Key => match caller.is_key() {
            true => Told::Done,
            false => Told::Denied,
        },
        _ if !caller.is_known() => Told::Unknown,
        Needs::Credential => Told::NotUnknown,
        Needs::AtHome(permission) => choose(caller.has_at_home(permission), Told::Done),
        Needs::Everywhere(permission) => choose(caller.has(permission, world::ROOT), Told::Done),
        Needs::EverywhereBoth(one, other) => choose(
            caller.has(one, world::ROOT) && caller.has(other, world::ROOT),
            Told::Done,
        ),
        Needs::Local(_) => Told::Refused,
        Needs::Held(permission) => choose(caller.holds(permission), Told::Done),
        Needs::Here(permission) => choose(caller.has(permission, world::BELOW), Told::Done),
        Needs::HereOrOwn(permission) => choose(
            caller.has_for_themselves(permission, world::BELOW),
            Told::Done,
        ),
        Needs::Rows(permission) => choose(
            caller.holds(permission),
            rows(caller.has(permission, world::BELOW)),
        ),
        Needs::RowsWith(seeing, doing) => {
            let (seen, done) = [seeing, doing]
                .map(|permission| caller.has(permission, world::BELOW))
                .into();
            let allowed = caller.holds(seeing) && caller.holds(doing) && (!seen || done);
            choose(allowed, rows(seen))
        }
        Needs::Silently(permission) => match caller.has(permission, world::BELOW) {
            true => Told::Done,
            false => Told::Nothing,
        },
    }
}

/// attacks 117, 119, 120
#[test]
fn every_route_refuses_whoever_lacks_what_its_line_names() {
    let lines: Vec<(&str, &Line)> = TABLES
        .iter()
        .flat_map(|(surface, lines)| {
            let mount = SURFACES.iter().find(|known| known.name == *surface);
            let mount = mount.expect("a table's surface is there").mount;
            lines.iter().map(move |line| (mount, line))
        })
        .filter(|(_, line)| !matches!(line.needs, Needs::Elsewhere(_)))
        .collect();
    let next = AtomicUsize::new(0);
    let requests = AtomicUsize::new(0);
    // Each thread has a server and callers of its own.
    let wrong: Vec<String> = thread::scope(|scope| {
        let check = || {
            let mut world = World::new();
            let callers = callers::all(&mut world);
            let mut wrong = Vec::new();
            while let Some((mount, line)) = lines.get(next.fetch_add(1, Relaxed)) {
                for caller in &callers {
                    requests.fetch_add(1, Relaxed);
                    wrong.extend(check_cell(&mut world, mount, line, caller));
                }
            }
            wrong
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(check)).collect();
        let found = threads.into_iter().map(|thread| thread.join().unwrap());
        found.flatten().collect()
    });
    let requests = requests.into_inner();
    assert!(
        wrong.is_empty(),
        "{} of {requests}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(requests > 10_000, "only {requests} requests");
}

/// Sends the request of a line as a caller. Returns what is wrong with the answer.
fn check_cell(world: &mut World, mount: &str, line: &Line, caller: &Caller) -> Option<String> {
    let expected = told(line.needs, caller);
    let secret = match line.spends {
        true => caller.renewed(world),
        false => caller.secret.clone(),
    };
    let seen = world.ask(mount, line, secret.as_deref());
    let as_expected = match expected {
        Told::Inactive => seen.status == 200 && seen.text.contains("\"active\":false"),
        Told::Unproven => matches!(seen.status, 400 | 401) && !seen.changed,
        Told::Closed => (300..500).contains(&seen.status) && !seen.changed,
        Told::Denied => matches!(seen.status, 401 | 403) && !seen.changed,
        Told::Shown => seen.is_success() && seen.shows_thing,
        Told::Hidden => seen.is_success() && !seen.shows_thing,
        Told::Done => seen.is_success(),
        Told::NotUnknown => seen.status != 401,
        Told::Nothing => matches!(seen.status, 200 | 204 | 403) && !seen.changed,
        Told::Unknown => seen.status == 401 && !seen.changed,
        // A workspace in the body that the caller cannot see counts as one that does not exist.
        Told::Refused => {
            let hidden = seen.status == 422 && seen.text.contains("there is no such");
            (matches!(seen.status, 403 | 404) || hidden) && !seen.changed
        }
    };
    (!as_expected).then(|| {
        format!(
            "{} {mount}{} as {}: {expected:?}, but {} changed={} {}",
            line.method, line.path, caller.name, seen.status, seen.changed, seen.text
        )
    })
}

#[test]
fn every_route_has_its_line_and_every_line_its_route() {
    for surface in SURFACES {
        let table = TABLES.iter().find(|(name, _)| *name == surface.name);
        let lines = table.map_or(&[][..], |(_, lines)| lines);
        for route in surface.routes {
            let known = lines
                .iter()
                .filter(|line| (line.method, line.path) == (route.method, route.path));
            assert_eq!(
                known.count(),
                1,
                "{} {}{} needs one line in tests/authorization_matrix: who may call it?",
                route.method,
                surface.mount,
                route.path
            );
        }
        assert_eq!(lines.len(), surface.routes.len(), "{}", surface.name);
    }
    for (_, lines) in TABLES {
        for line in *lines {
            if let Needs::Elsewhere(file) = line.needs {
                let text = std::fs::read_to_string(file).unwrap_or_default();
                assert!(text.contains("117"), "{file} is no test that names 117");
            }
        }
    }
}
