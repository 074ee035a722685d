//! Answers that wait until no linked site can answer as before a change: with `?wait=sites`, or by the setting.

use super::router::Router;
use super::{Route, Surface};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::ops::packs::feed;
use crate::ops::packs::feed::waits::{Confirmed, Outcome};
use crate::refusals;
use std::sync::Arc;

/// The header that names the sites that were waited for.
const SITES: &str = "latchkey-sites";
/// The parameter, and its value.
const WAIT: (&str, &str) = ("wait", "sites");

/// Whether the answer of a route may wait for the sites.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Waits {
    /// If the request asks for it.
    IfAsked,
    /// If the setting is on, and the request only takes something away.
    IfSet,
    /// As `IfAsked`; the answer has a secret, so it is given even if a site has not confirmed the change.
    WithSecret,
}

impl Waits {
    /// Whether a request can ask for it.
    pub fn on_demand(self) -> bool {
        self != Waits::IfSet
    }
}

/// How one request waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wait {
    is_asked: bool,
    has_secret: bool,
}

/// Reads the parameters of a route that has no others.
pub fn check_query(route: &Route, text: &str) -> Result<()> {
    let mut query = Query::parse(text)?;
    if route.waits.on_demand() {
        take(&mut query)?;
    }
    query.finish()
}

/// Takes the parameter out of the query of a route that may be asked to wait.
pub fn take(query: &mut Query) -> Result<()> {
    match query.take(WAIT.0).as_deref() {
        None => Ok(()),
        Some(word) if word == WAIT.1 => Ok(()),
        Some(_) => Err(Error::Malformed(refusals::requests::wait())),
    }
}

/// How a request waits; `None` if it does not. `takes_away`: whether it only takes something away.
pub fn of(
    route: &Route,
    text: &str,
    ends_wait: bool,
    takes_away: impl Fn() -> bool,
) -> Option<Wait> {
    let is_asked = route.waits.on_demand()
        && !text.is_empty()
        && Query::parse(text).is_ok_and(|mut query| query.take(WAIT.0).is_some());
    let has_secret = route.waits == Waits::WithSecret;
    let is_set = ends_wait && (has_secret || takes_away());
    (is_asked || is_set).then_some(Wait {
        is_asked,
        has_secret,
    })
}

impl Wait {
    /// Whether an answer with this status waits. A conflict that the request asked to wait for does too: the change may have been
    /// made by an earlier request whose answer was lost, and the sites may not have it yet.
    pub fn concerns(self, status: u16) -> bool {
        status < 400 || (status == 409 && self.is_asked)
    }
}

impl Router {
    /// The place of an answer to a change that is made: it is given when the sites have confirmed the change.
    pub(super) fn after_sites(
        &self,
        surface: &Surface,
        request: &Request,
        reply: Reply,
        wait: Wait,
    ) -> Reply {
        let (later, pledge) = Reply::later();
        let (head, render_error) = (request.head.without_headers(), surface.render_error);
        let cors = reply.headers.get("access-control-allow-origin");
        let cors = cors.map(<[u8]>::to_vec);
        let app = Arc::clone(self.app());
        let done = move |outcome: Outcome| {
            let reply = match outcome.is_confirmed() || wait.has_secret {
                true => reply,
                false => {
                    let now = app.now().wall.0;
                    let open = outcome.sites.iter().filter_map(|(site, confirmed)| {
                        let Confirmed::NotYet { left_ms } = confirmed else {
                            return None;
                        };
                        let until = Timestamp(now.saturating_add(*left_ms as i64));
                        Some(refusals::packs::unconfirmed_site(site, until).to_string())
                    });
                    let open: Vec<String> = open.collect();
                    let why = refusals::packs::unconfirmed(open.join(", "));
                    let refused = render_error(&Error::Unavailable(why), &head);
                    match &cors {
                        Some(origin) => refused
                            .with("access-control-allow-origin", origin)
                            .also("vary", "Origin"),
                        None => refused,
                    }
                }
            };
            pledge.fulfil(match named(&outcome) {
                Some(sites) => reply.with(SITES, sites),
                None if wait.is_asked => reply.with(SITES, "none"),
                None => reply,
            });
        };
        let elsewhere = feed::list_elsewhere(self.app());
        let now_ms = self.app().now().steady_ms;
        self.app().feed.wait(now_ms, elsewhere, done);
        later
    }
}

/// The sites that were waited for; `None` if there were none.
fn named(outcome: &Outcome) -> Option<String> {
    let name = |(site, confirmed): &(String, Confirmed)| format!("{site}={}", confirmed.as_str());
    let names: Vec<String> = outcome.sites.iter().map(name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Call, delete, get, post, strict};
    use super::*;

    fn nothing(_: &Call<'_>) -> Result<Reply> {
        Ok(Reply::new(204))
    }

    const ROUTES: [Route; 3] = strict([
        delete("/a", Access::Caller, nothing).waits(),
        post("/b", Access::Caller, nothing).waits_with_secret(),
        get("/c", Access::Caller, nothing),
    ]);

    #[test]
    fn only_some_routes_can_be_asked_to_wait() {
        for route in &ROUTES[..2] {
            assert!(check_query(route, "").is_ok());
            assert!(check_query(route, "wait=sites").is_ok());
            for bad in [
                "wait=site",
                "wait=",
                "wait=sites&wait=sites",
                "wait=sites&x=1",
            ] {
                assert!(check_query(route, bad).is_err(), "{bad}");
            }
        }
        assert!(check_query(&ROUTES[2], "wait=sites").is_err());
    }

    #[test]
    fn a_change_that_was_made_before_is_waited_for_again() {
        let wait = |is_asked| Wait {
            is_asked,
            has_secret: false,
        };
        for status in [200, 204] {
            assert!(wait(true).concerns(status) && wait(false).concerns(status));
        }
        assert!(wait(true).concerns(409) && !wait(false).concerns(409));
        for status in [400, 403, 404, 503] {
            assert!(!wait(true).concerns(status));
        }
    }

    #[test]
    fn the_setting_makes_ends_wait() {
        let wait = |is_asked, has_secret| {
            Some(Wait {
                is_asked,
                has_secret,
            })
        };
        let [ends, rotates, reads] = &ROUTES;
        assert_eq!(of(ends, "", false, || true), None);
        assert_eq!(of(ends, "wait=sites", false, || false), wait(true, false));
        assert_eq!(of(ends, "", true, || true), wait(false, false));
        assert_eq!(of(ends, "", true, || false), None);
        assert_eq!(of(rotates, "", true, || false), wait(false, true));
        assert_eq!(of(rotates, "", false, || false), None);
        assert_eq!(of(reads, "wait=sites", true, || false), None);
        assert_eq!(of(reads, "", true, || true), wait(false, false));
    }

    #[test]
    fn sites_are_named_with_what_became_of_them() {
        let outcome = Outcome {
            sites: vec![
                ("plant-7".to_owned(), Confirmed::Applied),
                ("ship-2".to_owned(), Confirmed::LeaseOver),
                ("x".to_owned(), Confirmed::NotYet { left_ms: 1 }),
            ],
        };
        let expected = "plant-7=applied, ship-2=lease-over, x=unconfirmed";
        assert_eq!(named(&outcome).as_deref(), Some(expected));
        assert_eq!(named(&Outcome::default()), None);
    }
}
