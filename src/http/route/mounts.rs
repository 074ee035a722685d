//! Where the surfaces are mounted: at their own paths, or below the prefixes that the configuration sets for movable
//! surfaces.

use super::{Route, Surface};
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::request::{Head, Method};

/// The name of the setting in errors.
const FIELD: &str = "mount";
/// The maximum length of a prefix.
const PREFIX_BYTES_MAX: usize = 200;

/// The configured mounts of surfaces.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    /// The prefix of a surface: empty, or `/…` without a trailing slash; `None` if the surface is switched off. A
    /// surface that is not listed has no prefix.
    prefixes: Vec<(&'static str, Option<String>)>,
    /// What a proxy takes off the paths of surfaces whose answers name them; empty, or a prefix.
    taken_off: String,
}

impl Mounts {
    /// Reads settings of the form `NAME=/prefix` or `NAME=off`, at most one for each name.
    ///
    /// A prefix comes before the surface's own paths: a surface that is mounted at `/api` moves to `/x/api`.
    pub fn parse<'a>(
        settings: impl IntoIterator<Item = &'a str>,
        surfaces: &[&'static Surface],
    ) -> Result<Mounts> {
        let mut mounts = Mounts::default();
        for setting in settings {
            let refused = |why: &str| Err(Error::invalid_text(FIELD, format!("{setting:?} {why}")));
            let Some((name, place)) = setting.split_once('=') else {
                return refused("is neither NAME=/prefix nor NAME=off");
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
            let prefix = match place {
                "off" => None,
                text => match prefix(text) {
                    Some(prefix) => Some(prefix),
                    None if text.starts_with('/') => return refused("has no valid /prefix"),
                    None => {
                        return refused(
                            "has a place that is neither /prefix nor off; a host name is no longer one: let the proxy in \
                             front choose by host name, and name the host in --allowed-hosts",
                        );
                    }
                },
            };
            if let Some(hidden) = prefix
                .as_deref()
                .and_then(|prefix| hidden_by(prefix, surfaces))
            {
                return refused(&format!("would hide {hidden}"));
            }
            if mounts.prefixes.iter().any(|(known, _)| *known == name) {
                return refused("is the second place of that name; one is all that it can have");
            }
            mounts.prefixes.push((surface.name, prefix));
        }
        Ok(mounts)
    }

    /// The same, behind a proxy that takes a prefix off the paths of surfaces whose answers name them. `None` if it is
    /// none.
    pub fn behind(self, text: &str) -> Option<Mounts> {
        Some(Mounts {
            taken_off: prefix(text)?,
            ..self
        })
    }

    /// The path under which clients find a surface; `None` if it is off.
    pub fn public_path(&self, surface: &Surface) -> Option<String> {
        let prefix = self.prefix_of(surface)?;
        Some(format!("{}{prefix}{}", self.taken_off, surface.mount))
    }

    fn prefix_of(&self, surface: &Surface) -> Option<&str> {
        let with = surface.moved.map_or(surface.name, |moved| moved.with);
        let mut prefixes = self.prefixes.iter();
        match prefixes.find(|(name, _)| *name == with) {
            None => Some(""),
            Some((_, prefix)) => prefix.as_deref(),
        }
    }
}

/// A prefix without its trailing slash; `None` if the text is none.
fn prefix(text: &str) -> Option<String> {
    let prefix = text.strip_suffix('/').unwrap_or(text);
    let plain = |segment: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        !segment.trim_matches('.').is_empty() && segment.bytes().all(legal)
    };
    let sound = text.starts_with('/')
        && prefix.len() <= PREFIX_BYTES_MAX
        && prefix.split('/').skip(1).all(plain);
    sound.then(|| prefix.to_owned())
}

/// A path of a surface that cannot be moved and that a mount would hide.
fn hidden_by(prefix: &str, surfaces: &[&'static Surface]) -> Option<String> {
    let first = |text: &str| text.split('/').nth(1).map(|first| format!("/{first}"));
    let own = first(prefix)?;
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

/// All mounts, in the order in which they are tried; built once at the start.
pub struct Table {
    mounts: Vec<Mount>,
    taken_off: String,
    fallback: &'static Surface,
}

/// One mount.
struct Mount {
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
            let Some(prefix) = mounts.prefix_of(surface) else {
                continue;
            };
            let mount = |path: String, serves: bool| Mount {
                path,
                surface,
                serves,
            };
            table.push(mount(format!("{prefix}{}", surface.mount), true));
            if !prefix.is_empty() {
                table.push(mount(prefix.to_owned(), false));
            }
        }
        table.sort_by_key(|mount: &Mount| (usize::MAX - mount.path.len(), !mount.serves));
        Table {
            mounts: table,
            taken_off: mounts.taken_off.clone(),
            fallback: surfaces[0],
        }
    }

    /// Changes the paths in an answer of a surface to those that its client uses.
    pub fn with_public_paths(&self, found: &Found<'_>, head: &Head, reply: Reply) -> Reply {
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

    /// Finds the surface and the route of a path. The longest matching mount wins. A mount without a path receives only
    /// the paths of its own routes.
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
            let target = match mount.serves {
                true => find(mount.surface, &head.method, below),
                false => Target::Nothing,
            };
            if mount.path.is_empty() && matches!(target, Target::Nothing) {
                continue;
            }
            return Found {
                surface: mount.surface,
                below,
                target,
            };
        }
        Found {
            surface: self.fallback,
            below: path,
            target: Target::Nothing,
        }
    }
}

/// A path without parameters in a route table belongs to those routes alone: `/keys/identify` does not match
/// `/keys/{id}`.
fn find(surface: &'static Surface, method: &Method, below: &str) -> Target {
    let takes = |route: &Route| {
        let head = *method == Method::HEAD && route.method == "GET";
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
    found.sort_by_key(|method| *method);
    found.dedup();
    found.join(", ")
}

/// Whether a path matches a template, with or without a trailing slash.
fn fits(template: &str, path: &str) -> bool {
    if template == path {
        return true;
    }
    // The first letter excludes most templates without dividing anything.
    if let ([b'/', wanted, ..], [b'/', found, ..]) = (template.as_bytes(), path.as_bytes())
        && wanted != found
        && *wanted != b'{'
    {
        return false;
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
            ("/envoy/{path...}", "/gateway/a", false),
            ("/{name}", "/keys", true),
            ("/{name}", "//", false),
            ("/keys", "//", false),
            ("/keys", "/", false),
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
            would_authenticate: None,
            refusals: None,
            moved: None,
            describes: None,
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
    fn check(settings: &[&str], method: &str, path: &str, expected: &str) {
        let table = Table::new(ALL, &Mounts::parse(settings.iter().copied(), ALL).unwrap());
        let head = Head {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            target: path.parse().unwrap(),
            is_http_11: true,
            headers: [].into_iter().collect(),
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
        assert_eq!(told, expected, "{settings:?} {method} {path}");
    }

    #[test]
    fn by_themselves_all_are_at_their_own_paths_and_the_longest_takes_a_path() {
        check(&[], "GET", "/v1/keys", "native GET");
        check(&[], "GET", "/v1/nothing", "native");
        check(&[], "GET", "/api/rooms/", "rooms GET");
        check(&[], "HEAD", "/api/rooms", "rooms GET");
        check(&[], "GET", "/api/v3", "doors");
        check(&[], "POST", "/api/v3/doors/7", "doors POST");
        check(&[], "GET", "/api/v3/doors/7", "doors not GET but POST");
        check(&[], "GET", "/api/v30", "rooms");
        check(&[], "GET", "/healthz", "alive GET");
        check(&[], "POST", "/healthz", "alive not POST but GET, HEAD");
        check(&[], "OPTIONS", "*", "native");
        for nobodys in ["/", "/apis", "/healthz/x", "/v10"] {
            check(&[], "GET", nobodys, "native");
        }
    }

    #[test]
    fn a_prefix_stands_before_a_surfaces_own_paths_and_all_below_it_is_the_surfaces() {
        let moved = ["doors=/x", "rooms=/x/y/"];
        check(&moved, "POST", "/x/api/v3/doors/7", "doors POST");
        check(&moved, "GET", "/x/y/api/rooms", "rooms GET");
        check(&moved, "GET", "/x/y/else", "rooms");
        check(&moved, "GET", "/x/else", "doors");
        check(&moved, "GET", "/xy", "native");
        check(&moved, "POST", "/api/v3/doors/7", "native");
        check(&moved, "GET", "/healthz", "alive GET");
        check(&["doors=/"], "POST", "/api/v3/doors/7", "doors POST");
    }

    #[test]
    fn what_is_off_is_nowhere() {
        check(&["rooms=off"], "GET", "/api/rooms", "native");
        check(&["rooms=off"], "GET", "/api/v3/x", "doors");
        check(&["doors=off"], "GET", "/api/v3/x", "rooms");
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
            "doors=a.example",
            "doors=a.example/x",
            "doors=x/",
        ] {
            match Mounts::parse([bad], ALL) {
                Err(Error::Invalid { field, reason }) => {
                    assert_eq!(field, "mount");
                    assert!(reason.to_string().contains(&format!("{bad:?}")), "{reason}");
                }
                _ => panic!("{bad}"),
            }
        }
        for second in ["doors=/x/", "doors=/y", "doors=off", "doors=/"] {
            assert!(
                Mounts::parse(["doors=/x", second], ALL).is_err(),
                "{second}"
            );
        }
        assert!(Mounts::parse(["doors=/x", "rooms=/x"], ALL).is_ok());
    }
}
