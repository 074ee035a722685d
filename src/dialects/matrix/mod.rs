//! Who may call what: every route of every surface × every kind of caller (attacks 117), out of the route tables.
//!
//! Each route has one line in a table of this folder that says what a caller needs for it; a route without a line,
//! and a line without a route, fail. A surface adds a file with its lines here and its name in [`TABLES`]:
//!
//! ```text
//! line("GET", "/keys/{id}", Needs::Here(KeysRead)).on(Thing::Key),
//! ```
//!
//! The test makes the thing in the workspace `below`, puts its id in the place of the path's parameter, and asks as
//! everybody that [`callers`] lists: nobody, a bad secret, an expired, disabled or deleted key, keys that are not for
//! managing, keys bound elsewhere, read-only ones, ones that lack a scope, and every role in every place. Who may not
//! is told 401, 403 or 404 and nothing has changed; who may gets a 2xx. A route that this cannot show (its callers
//! come with a cookie, say) names the test file that does: `Needs::Elsewhere("tests/…")`, which has to name case 117.

mod callers;
mod console;
mod described;
mod forward_auth;
mod native;
mod probes;
mod products;
mod taking;
mod world;

use crate::dialects::SURFACES;
use crate::domain::people::permission::Permission;
use callers::Caller;
use world::World;

/// The lines of each surface.
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
    ("vspc", products::VSPC),
];

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Needs {
    /// A cookie of the surface's own, which no caller here has: nobody gets a 2xx.
    Cookie,
    /// Any credential in force.
    Credential,
    /// The permission in the caller's own place.
    AtHome(Permission),
    /// Shown by this test file instead.
    #[allow(dead_code)]
    Elsewhere(&'static str),
    /// The permission at the root.
    Everywhere(Permission),
    /// Both permissions at the root.
    EverywhereBoth(Permission, Permission),
    /// The permission, wherever; what is shown belongs to no workspace.
    Held(Permission),
    /// The permission where the thing is.
    Here(Permission),
    /// As `Here`, and a member may for himself.
    HereOrOwn(Permission),
    /// Any key in force that may write, whatever it is for; an access token is none.
    Key,
    /// The permission through the Unix socket; over TCP nobody gets anything.
    Local(Permission),
    /// Nothing: whoever asks is answered.
    Nothing,
    /// A key of the surface's own catalog; no caller here has one, so that all are refused.
    OwnKey,
    /// A user's name and password in the request; no credential takes their place.
    Password,
    /// The permission, wherever; the thing is shown to those who have it there.
    Rows(Permission),
    /// As `Rows` with the first; whoever would be shown the thing needs the second there too.
    RowsWith(Permission, Permission),
    /// An access token, or a key of the surface's own catalog, which no caller here has; other keys are refused.
    /// What each token may do there is shown by the surface's own tests.
    Session,
    /// As `Here`, but whether it was done is told to nobody.
    Silently(Permission),
    /// A key in force is told what it is itself; everybody else is told `"active":false`.
    Introspection,
}

/// What a path is about. The test makes one for each request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Thing {
    Catalog,
    Key,
    Nothing,
    Policy,
    User,
    Workspace,
}

/// What one route needs.
pub struct Line {
    method: &'static str,
    path: &'static str,
    needs: Needs,
    thing: Thing,
    /// `{id}` and `{secret}` are the thing's, `{new}` is a name that is not taken.
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

    /// With a body: JSON if it begins with `{`, else a form.
    pub const fn with(mut self, body: &'static str) -> Line {
        self.body = body;
        self
    }

    /// The request may end the credential that it comes with.
    pub const fn spending(mut self) -> Line {
        self.spends = true;
        self
    }

    pub const fn asking(mut self, query: &'static str) -> Line {
        self.query = query;
        self
    }
}

/// What a caller has to be told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// 200, and `"active":false`.
    Inactive,
    /// 400 or 401, and nothing has changed.
    Unproven,
    /// Sent elsewhere or refused, and nothing has changed.
    Closed,
    /// 401 or 403, and nothing has changed.
    Denied,
    /// 2xx, and the thing is in the answer.
    Shown,
    /// 2xx, and the thing is not in the answer.
    Hidden,
    /// 2xx.
    Done,
    /// Anything but 401: what a credential is worth there is told by other tests.
    NotUnknown,
    /// 200 or 403, and nothing has changed.
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
        Needs::HereOrOwn(permission) => {
            choose(caller.has_for_himself(permission, world::BELOW), Told::Done)
        }
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
    let mut world = World::new();
    let callers = callers::all(&mut world);
    let mut wrong = Vec::new();
    let mut asked = 0;
    for (surface, lines) in TABLES {
        let mount = SURFACES.iter().find(|known| known.name == *surface);
        let mount = mount.expect("a table's surface is there").mount;
        for line in *lines {
            if matches!(line.needs, Needs::Elsewhere(_)) {
                continue;
            }
            for caller in &callers {
                let expected = told(line.needs, caller);
                let secret = match line.spends {
                    true => caller.renewed(&mut world),
                    false => caller.secret.clone(),
                };
                let seen = world.ask(mount, line, secret.as_deref());
                asked += 1;
                let as_expected = match expected {
                    Told::Inactive => seen.status == 200 && seen.text.contains("\"active\":false"),
                    Told::Unproven => matches!(seen.status, 400 | 401) && !seen.changed,
                    Told::Closed => (300..500).contains(&seen.status) && !seen.changed,
                    Told::Denied => matches!(seen.status, 401 | 403) && !seen.changed,
                    Told::Shown => seen.is_success() && seen.shows_thing,
                    Told::Hidden => seen.is_success() && !seen.shows_thing,
                    Told::Done => seen.is_success(),
                    Told::NotUnknown => seen.status != 401,
                    Told::Nothing => matches!(seen.status, 200 | 403) && !seen.changed,
                    Told::Unknown => seen.status == 401 && !seen.changed,
                    // A workspace that is only named in the body is told to be none.
                    Told::Refused => {
                        let hidden = seen.status == 422 && seen.text.contains("there is no such");
                        (matches!(seen.status, 403 | 404) || hidden) && !seen.changed
                    }
                };
                if !as_expected {
                    wrong.push(format!(
                        "{} {mount}{} as {}: {expected:?}, but {} changed={} {}",
                        line.method, line.path, caller.name, seen.status, seen.changed, seen.text
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {asked}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(asked > 1500, "only {asked} requests");
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
                "{} {}{} needs one line in src/dialects/matrix: who may call it?",
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
