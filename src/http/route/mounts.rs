//! Where the surfaces are mounted: at their own paths, or at the prefixes and host names that the configuration sets
//! for a movable surface.

use super::{Route, Surface};
use crate::domain::catalogs::path;
use crate::domain::sorted;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::request::Head;

/// The name of the setting in errors.
const FIELD: &str = "mount";
/// The maximum length of a prefix.
const PREFIX_BYTES_MAX: usize = 200;

/// The configured mounts of surfaces; a surface that is not listed has its default mount, and `None` means that it is
/// switched off.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    places: Vec<(&'static str, Option<Place>)>,
    /// What a proxy takes off the paths of surfaces whose answers name them; empty, or a prefix.
    taken_off: String,
}

/// A host name, a prefix, both or neither.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Place {
    /// In the form of [`path::host`]; `None` for any host.
    host: Option<String>,
    /// Empty, or `/…` without a trailing slash.
    prefix: String,
}

impl Mounts {
    /// Reads settings of the form `NAME=PLACE`. A place is `/prefix`, `host.example`, `host.example/prefix`, `/` for
    /// the surface's own paths at any host, or `off`. A name may occur several times, with one place each.
    ///
    /// A prefix comes before the surface's own paths: a surface that is mounted at `/api` moves to `/x/api`.
    pub fn parse<'a>(
        settings: impl IntoIterator<Item = &'a str>,
        surfaces: &[&'static Surface],
    ) -> Result<Mounts> {
        let mut places: Vec<(&'static str, Option<Place>)> = Vec::new();
        for setting in settings {
            let refused = |why: &str| Err(Error::invalid(FIELD, format!("{setting:?} {why}")));
            let Some((name, place)) = setting.split_once('=') else {
                return refused("is not of the form NAME=PLACE, such as NAME=/prefix");
            };
            let Some(surface) = surfaces
                .iter()
                .find(|surface| surface.movable && surface.name == name)
            else {
                let names = |moved: bool| {
                    let movable = surfaces.iter().filter(|surface| surface.movable);
                    let kind = movable.filter(|surface| surface.moved.is_some() == moved);
                    kind.map(|surface| surface.name)
                        .collect::<Vec<&str>>()
                        .join(", ")
                };
                return refused(&format!(
                    "is not for {}, and names none of {}",
                    names(true),
                    names(false)
                ));
            };
            let place = match place {
                "off" => None,
                text => match Place::parse(text) {
                    Some(place) => Some(place),
                    None => {
                        return refused(
                            "has a place that is none of /prefix, host.example, host.example/prefix, / and off",
                        );
                    }
                },
            };
            if let Some(taken) = place.as_ref().and_then(|place| place.taken_by(surfaces)) {
                return refused(&format!("would hide {taken}"));
            }
            let others = places.iter().filter(|(known, _)| *known == surface.name);
            for (_, other) in others {
                if *other == place {
                    return refused("is there twice");
                }
                if other.is_none() || place.is_none() {
                    return refused("contradicts itself: off, and a place");
                }
            }
            places.push((surface.name, place));
        }
        Ok(Mounts {
            places,
            taken_off: String::new(),
        })
    }

    /// The same, behind a proxy that takes a prefix off the paths of surfaces whose answers name them. `None` if it is
    /// none.
    pub fn behind(self, prefix: &str) -> Option<Mounts> {
        let place = Place::parse(prefix).filter(|place| place.host.is_none())?;
        Some(Mounts {
            taken_off: place.prefix,
            ..self
        })
    }

    /// The first path under which clients find a surface; `None` if it is nowhere.
    pub fn public_path(&self, surface: &Surface) -> Option<String> {
        let place = self.of(surface).into_iter().next()?;
        Some(format!(
            "{}{}{}",
            self.taken_off, place.prefix, surface.mount
        ))
    }

    /// The mounts of a surface.
    fn of(&self, surface: &Surface) -> Vec<Place> {
        let with = surface.moved.map_or(surface.name, |moved| moved.with);
        let mut own = self.places.iter().filter(|(name, _)| *name == with);
        match own.clone().next() {
            None => vec![Place::default()],
            Some(_) => own
                .by_ref()
                .filter_map(|(_, place)| place.clone())
                .collect(),
        }
    }
}

impl Place {
    fn parse(text: &str) -> Option<Place> {
        let (host, prefix) = match text.find('/') {
            None => (text, ""),
            Some(slash) => text.split_at(slash),
        };
        let host = match host {
            "" if prefix.is_empty() => return None,
            "" => None,
            // A port is not accepted: a request may come through a proxy that uses another port.
            host if host.contains(':') && !host.starts_with('[') => return None,
            host => Some(path::host(host)?),
        };
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let plain = |segment: &str| {
            let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
            !segment.trim_matches('.').is_empty() && segment.bytes().all(legal)
        };
        let sound = prefix.len() <= PREFIX_BYTES_MAX
            && prefix.split('/').skip(1).all(plain)
            && (prefix.is_empty() || prefix.starts_with('/'));
        sound.then(|| Place {
            host,
            prefix: prefix.to_owned(),
        })
    }

    /// A path of a surface that cannot be moved and that this mount would hide.
    fn taken_by(&self, surfaces: &[&'static Surface]) -> Option<String> {
        let first = |text: &str| text.split('/').nth(1).map(|first| format!("/{first}"));
        let own = first(&self.prefix)?;
        let fixed = surfaces
            .iter()
            .filter(|surface| !surface.movable || surface.moved.is_some());
        let mut starts = fixed.flat_map(|surface| match surface.mount {
            "" => surface.routes.iter().map(|route| route.path).collect(),
            mount => vec![mount],
        });
        starts
            .find(|start| first(start).as_ref() == Some(&own))
            .map(str::to_owned)
    }
}

/// All mounts, in the order in which they are tried; built once at the start.
pub struct Table {
    mounts: Vec<Mount>,
    taken_off: String,
    fallback: &'static Surface,
}

/// One mount: a path prefix, with an optional host.
struct Mount {
    host: Option<String>,
    path: String,
    surface: &'static Surface,
    /// Whether the surface has routes below this path; otherwise it only renders errors for paths here.
    serves: bool,
}

/// The result of a look-up: the surface and the route of a path.
pub struct Found<'h> {
    pub surface: &'static Surface,
    /// The rest of the path, below the mount.
    pub below: &'h str,
    pub target: Target,
    /// Whether the mount names the requested host.
    pub by_host: bool,
}

/// What a path refers to.
pub enum Target {
    Nothing,
    /// The path exists with these other methods.
    OtherMethods(String),
    Route(&'static Route),
}

impl Table {
    /// `surfaces`: the first one renders the errors for paths that belong to no surface.
    pub fn new(surfaces: &'static [&'static Surface], mounts: &Mounts) -> Table {
        let mut table = Vec::new();
        for surface in surfaces {
            for place in mounts.of(surface) {
                let mount = |path: String, serves: bool| Mount {
                    host: place.host.clone(),
                    path,
                    surface,
                    serves,
                };
                table.push(mount(format!("{}{}", place.prefix, surface.mount), true));
                if place != Place::default() {
                    table.push(mount(place.prefix.clone(), false));
                }
            }
        }
        sorted::by_key(&mut table, |mount: &Mount| {
            (
                usize::MAX - mount.path.len(),
                !mount.serves,
                mount.host.is_none(),
            )
        });
        Table {
            mounts: table,
            taken_off: mounts.taken_off.clone(),
            fallback: surfaces[0],
        }
    }

    /// An answer of a surface, whose own paths are led to where its client finds them.
    pub fn led(&self, found: &Found<'_>, head: &Head, reply: Reply) -> Reply {
        let Some(moved) = found.surface.moved else {
            return reply;
        };
        let start = head.path().strip_suffix(found.below).unwrap_or("");
        let prefix = start.strip_suffix(found.surface.mount).unwrap_or(start);
        match format!("{}{prefix}", self.taken_off).as_str() {
            "" => reply,
            prefix => (moved.lead)(reply, prefix),
        }
    }

    /// Finds the surface and the route of a path. The longest matching mount wins, and of two equally long ones the
    /// mount that names the host. A mount without a path receives only the paths of its own routes, and receives them
    /// before the surface of a host renders an error.
    pub fn find<'h>(&self, head: &'h Head) -> Found<'h> {
        let path = head.path();
        for mount in &self.mounts {
            // Comparing one byte excludes most other mounts.
            if !matches!(path.as_bytes().get(mount.path.len()), None | Some(b'/')) {
                continue;
            }
            let Some(below) = path.strip_prefix(&*mount.path) else {
                continue;
            };
            if !mount.answers_for(head) {
                continue;
            }
            let target = match mount.serves {
                true => find(mount.surface, &head.method, below),
                false => Target::Nothing,
            };
            let shared = mount.path.is_empty() && mount.serves;
            if shared && matches!(target, Target::Nothing) {
                continue;
            }
            return Found {
                surface: mount.surface,
                below,
                target,
                by_host: mount.host.is_some(),
            };
        }
        Found {
            surface: self.fallback,
            below: path,
            target: Target::Nothing,
            by_host: false,
        }
    }
}

impl Mount {
    fn answers_for(&self, head: &Head) -> bool {
        self.host
            .as_ref()
            .is_none_or(|own| head.host().and_then(path::host).as_ref() == Some(own))
    }
}

/// A path without parameters in a route table belongs to those routes alone: `/keys/identify` does not match
/// `/keys/{id}`.
fn find(surface: &'static Surface, method: &http::Method, below: &str) -> Target {
    let takes = |route: &Route| {
        let head = method == http::Method::HEAD && route.method == "GET";
        route.method == "*" || route.method == method.as_str() || head
    };
    let mut there = routes_of(surface, below).peekable();
    if there.peek().is_none() {
        return Target::Nothing;
    }
    match there.find(|route| takes(route)) {
        Some(route) => Target::Route(route),
        None => Target::OtherMethods(methods(surface, below)),
    }
}

/// The lines of a table that are about a path.
fn routes_of(surface: &'static Surface, below: &str) -> impl Iterator<Item = &'static Route> {
    let spelt_out = |route: &&Route| fits(route.path, below) && !route.path.contains('{');
    let only = surface.routes.iter().find(spelt_out);
    let only = only.map(|route| route.path);
    let about = move |route: &&Route| match only {
        Some(only) => only == route.path,
        None => fits(route.path, below),
    };
    surface.routes.iter().filter(about)
}

/// The methods that a path has, for `Allow`.
pub fn methods(surface: &'static Surface, below: &str) -> String {
    let mut found: Vec<&str> = routes_of(surface, below)
        .map(|route| route.method)
        .collect();
    if found.contains(&"GET") {
        found.push("HEAD");
    }
    sorted::by_key(&mut found, |method| *method);
    found.dedup();
    found.join(", ")
}

/// Whether a path matches a template, with or without a trailing slash.
fn fits(template: &str, path: &str) -> bool {
    if template == path {
        return true;
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut wanted = template.split('/');
    let mut found = path.split('/');
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(part), Some(_)) if part.ends_with("...}") => return true,
            (Some(part), Some(segment))
                if part == segment || part.starts_with('{') && !segment.is_empty() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::http::request::{Peer, RequestId};
    use crate::http::route::{Access, get, post};

    #[test]
    fn a_template_fits_segment_by_segment() {
        for (template, path, expected) in [
            ("/keys", "/keys", true),
            ("/keys", "/keys/", true),
            ("/keys", "/keysx", false),
            ("/keys/{id}", "/keys/a", true),
            ("/keys/{id}", "/keys/", false),
            ("/keys/{id}", "/keys/a/b", false),
            ("/keys/{id}/rotate", "/keys/a/rotate", true),
            ("/envoy/{path...}", "/envoy/a/b/c", true),
            ("", "", true),
            ("", "/", true),
        ] {
            assert_eq!(fits(template, path), expected, "{template} {path}");
        }
    }

    fn nothing(_: &crate::http::route::Call<'_>) -> Result<Reply> {
        Ok(Reply::new(200))
    }

    const fn surface(
        name: &'static str,
        mount: &'static str,
        movable: bool,
        routes: &'static [Route],
    ) -> Surface {
        Surface {
            name,
            mount,
            movable,
            routes,
            checks_host: false,
            render_error: |_: &Error, _| Reply::new(404),
            render_fault: |status, _, _| Reply::new(status),
            foresees: None,
            refusals: None,
            moved: None,
        }
    }

    static NATIVE: Surface = surface(
        "native",
        "/v1",
        false,
        &[get("/keys", Access::Public, nothing)],
    );
    static ALIVE: Surface = surface(
        "alive",
        "",
        false,
        &[get("/healthz", Access::Public, nothing)],
    );
    static ROOMS: Surface = surface(
        "rooms",
        "/api",
        true,
        &[get("/rooms", Access::Public, nothing)],
    );
    static DOORS: Surface = surface(
        "doors",
        "/api/v3",
        true,
        &[post("/doors/{id}", Access::Public, nothing)],
    );
    const ALL: &[&Surface] = &[&NATIVE, &ALIVE, &ROOMS, &DOORS];

    /// `expected` is `doors POST` for a route of that surface, or `doors` if it only renders the error.
    #[track_caller]
    fn check(settings: &[&str], method: &str, host: &str, path: &str, expected: &str) {
        let table = Table::new(ALL, &Mounts::parse(settings.iter().copied(), ALL).unwrap());
        let head = Head {
            method: method.parse().unwrap(),
            target: path.parse().unwrap(),
            headers: [("host", host)].into_iter().collect(),
            peer: Peer::Unix { uid: 0 },
            id: RequestId::new(0, 0),
        };
        let found = table.find(&head);
        let mut told = found.surface.name.to_owned();
        match found.target {
            Target::Nothing => (),
            Target::OtherMethods(allow) => told.push_str(&format!(" not {method} but {allow}")),
            Target::Route(route) => told.push_str(&format!(" {}", route.method)),
        }
        assert_eq!(told, expected, "{settings:?} {method} {host}{path}");
    }

    #[test]
    fn by_themselves_all_are_at_their_own_paths_and_the_longest_takes_a_path() {
        check(&[], "GET", "a", "/v1/keys", "native GET");
        check(&[], "GET", "a", "/v1/nothing", "native");
        check(&[], "GET", "a", "/api/rooms/", "rooms GET");
        check(&[], "HEAD", "a", "/api/rooms", "rooms GET");
        check(&[], "GET", "a", "/api/v3", "doors");
        check(&[], "POST", "a", "/api/v3/doors/7", "doors POST");
        check(&[], "GET", "a", "/api/v3/doors/7", "doors not GET but POST");
        check(&[], "GET", "a", "/api/v30", "rooms");
        check(&[], "GET", "a", "/healthz", "alive GET");
        check(&[], "POST", "a", "/healthz", "alive not POST but GET, HEAD");
        check(&[], "OPTIONS", "a", "*", "native");
        for nobodys in ["/", "/apis", "/healthz/x", "/v10"] {
            check(&[], "GET", "a", nobodys, "native");
        }
    }

    #[test]
    fn a_prefix_stands_before_a_surfaces_own_paths_and_all_below_it_is_the_surfaces() {
        let moved = ["doors=/x", "rooms=/x/y/"];
        check(&moved, "POST", "a", "/x/api/v3/doors/7", "doors POST");
        check(&moved, "GET", "a", "/x/y/api/rooms", "rooms GET");
        check(&moved, "GET", "a", "/x/y/else", "rooms");
        check(&moved, "GET", "a", "/x/else", "doors");
        check(&moved, "GET", "a", "/xy", "native");
        check(&moved, "POST", "a", "/api/v3/doors/7", "native");
        check(&moved, "GET", "a", "/healthz", "alive GET");
        let both = ["doors=/", "doors=/x"];
        check(&both, "POST", "a", "/api/v3/doors/7", "doors POST");
        check(&both, "POST", "a", "/x/api/v3/doors/7", "doors POST");
    }

    #[test]
    fn a_host_has_a_surface_to_itself_but_for_what_is_everywhere() {
        let hosted = ["doors=Doors.example", "rooms=rooms.example/x"];
        check(
            &hosted,
            "POST",
            "doors.example:8420",
            "/api/v3/doors/7",
            "doors POST",
        );
        check(&hosted, "GET", "doors.example", "/anything", "doors");
        check(&hosted, "GET", "doors.example", "/", "doors");
        check(&hosted, "GET", "doors.example", "/healthz", "alive GET");
        check(&hosted, "GET", "doors.example", "/v1/keys", "native GET");
        check(
            &hosted,
            "POST",
            "other.example",
            "/api/v3/doors/7",
            "native",
        );
        check(&hosted, "GET", "rooms.example", "/x/api/rooms", "rooms GET");
        check(&hosted, "GET", "rooms.example", "/api/rooms", "native");
    }

    #[test]
    fn what_is_off_is_nowhere() {
        check(&["rooms=off"], "GET", "a", "/api/rooms", "native");
        check(&["rooms=off"], "GET", "a", "/api/v3/x", "doors");
        check(&["doors=off"], "GET", "a", "/api/v3/x", "rooms");
    }

    #[test]
    fn a_setting_that_cannot_be_meant_is_refused_and_named() {
        for bad in [
            "doors",
            "doors=",
            "doors=/x y",
            "doors=x/../y",
            "doors=//x",
            "doors=/x//y",
            "doors=/x?y",
            "doors=a:80",
            "doors=a_b c",
            "doors=/.",
            "doors=/%41",
            "native=/x",
            "alive=off",
            "stranger=/x",
            "=/x",
            "doors=/v1",
            "doors=/v1/x",
            "doors=/healthz",
            "doors=a.example/v1",
        ] {
            match Mounts::parse([bad], ALL) {
                Err(Error::Invalid { field, reason }) => {
                    assert_eq!(field, "mount");
                    assert!(reason.contains(&format!("{bad:?}")), "{reason}");
                }
                _ => panic!("{bad}"),
            }
        }
        for pair in [
            ["doors=/x", "doors=/x/"],
            ["doors=off", "doors=/x"],
            ["doors=/x", "doors=off"],
        ] {
            assert!(Mounts::parse(pair, ALL).is_err(), "{pair:?}");
        }
        assert!(Mounts::parse(["doors=/x", "rooms=/x", "doors=a.example"], ALL).is_ok());
    }
}
