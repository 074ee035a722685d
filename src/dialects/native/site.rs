//! `/v1` at a site: verification, the site itself, and its own log, clock and health. Every other path is refused, also if a server has
//! it: a site issues and manages nothing.

use super::{audit, clock, doctor, oauth, verify};
use crate::domain::keys::KeyId;
use crate::domain::packs::state::Fork;
use crate::domain::users::permissions::Permission::ServerAdmin;
use crate::error::{Error, Result};
use crate::http::describe::bodies::{ListBody, Requested, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Access::{Caller, Public, Verifier};
use crate::http::route::{BODY_BYTES_MAX, Call, Route, Surface, get, inline, post, strict};
use crate::http1::BodyRule::UpTo;
use crate::ops::site::link::{self, lease::Left};
use crate::ops::site::{
    self, Applied, View, apply, browsers, ended, fresh::Age, report, reset, revoke,
};
use crate::refusals;
use serde::Serialize;

/// The surface of a site; it has the path and the errors of that of a server.
pub const SURFACE: Surface = Surface {
    routes: ROUTES,
    describes: None,
    ..super::SURFACE
};

/// The maximum body of packs: a whole one with a million keys and their names, and one that follows it.
const PACKS_BYTES_MAX: usize = 256 * 1024 * 1024;

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &strict([
    // Verification
    inline("POST", "/verify",            Verifier, UpTo(BODY_BYTES_MAX), verify::verify),
    post  (        "/verify/batch",      Verifier, verify::batch),
    post  (        "/introspect",        Verifier, oauth::introspect).for_oauth(oauth::refusal),
    // The site
    get   (        "/site",              Caller,   show),
    post  (        "/site/packs",        Caller,   apply_packs).up_to(PACKS_BYTES_MAX, ServerAdmin),
    post  (        "/site/revocations",  Caller,   apply_revocations).takes_away(),
    post  (        "/site/keys/{id}/disable", Caller, disable).takes_away(),
    post  (        "/site/reports",      Caller,   make_report),
    post  (        "/site/reset",        Caller,   accept),
    post  (        "/site/browsers",     Caller,   invite),
    // Its own log, clock and health
    get   (        "/audit-events",      Caller,   audit_events).with_query(),
    get   (        "/audit-events/chain", Caller,  chain),
    get   (        "/clock",             Caller,   find_clock),
    post  (        "/clock/accept",      Caller,   clock::accept),
    get   (        "/doctor",            Caller,   examine),
    post  (        "/doctor/bundle",     Caller,   bundle),
    get   (        "/packs/signing-keys", Caller,  trusted_keys),
    post  (        "/packs/signing-keys", Caller,  refuse_change),
    // Everything else
    inline("*",    "/{path...}",         Public,   UpTo(BODY_BYTES_MAX), refuse).with_query(),
]);

/// The state of the site.
#[derive(Serialize)]
struct SiteBody {
    site: String,
    server: String,
    server_id: String,
    reign: u64,
    pack: u64,
    base: Option<u64>,
    /// Whether the packs that were applied are in force.
    loaded: bool,
    made: Option<Time>,
    until: Option<Time>,
    age_s: Option<u64>,
    /// `fresh`, `aging`, `over`, or `none` without a pack; with a link, of the last word of the server.
    age: &'static str,
    keys: u64,
    ended_here: Vec<EndedBody>,
    /// `no`, `seen` while an operator has to decide, or `accepted` until the next pack.
    fork: &'static str,
    /// Whether the next pack may have been made before the newest one.
    date_open: bool,
    /// After an older copy has replaced the database: when a pack has to be made at the earliest, before which no verdict is given.
    needs_made: Option<Time>,
    reports: u64,
    /// The life of this state, which begins with the enrolment.
    life: String,
    /// Whether the uses that the pack lends are lent to this life. If they are not, counted keys have none here until the server
    /// knows of it.
    may_spend: bool,
    /// Null without a link.
    link: Option<LinkBody>,
}

/// The link of the site to its server.
#[derive(Serialize)]
struct LinkBody {
    server: String,
    /// Whether the last question was answered with a word that lets the site go on.
    up: bool,
    /// How long the lease lasts, and what is left of it; zeros without one.
    lease_s: f64,
    left_s: f64,
    /// When the last word came.
    word_at: Option<Time>,
    /// The newest event of the server that is in force here, and the newest of which the site knows.
    events: Option<u64>,
    server_events: u64,
    /// The words that were applied since the start.
    steps: u64,
    /// Why the last question had no answer that leads further.
    fault: Option<String>,
}

#[derive(Serialize)]
struct EndedBody {
    key: String,
    ended_at: Time,
    /// `fork`, `revoked` or `site`.
    reason: &'static str,
}

#[derive(Serialize)]
struct AppliedBody {
    pack: u64,
    base: Option<u64>,
    made: Time,
    until: Time,
    keys: u64,
    added: u64,
    changed: u64,
    ended: u64,
}

#[derive(Serialize)]
struct RevokedBody {
    listed: usize,
    /// Keys and secrets that could still be used here.
    ended: usize,
    /// Whether what the site has is as new as the list, so that nothing was changed.
    superseded: bool,
    part: u64,
    parts: u64,
}

#[derive(Serialize)]
struct ReportBody {
    name: String,
    content: String,
}

request! {
    struct ResetBody as "SiteReset" {
        /// Accepts that the newest pack was made under a wrong date, in the place of a restore of the server.
        date: Option<bool>,
        /// Trusts this key, which signs the packs of the server, in the place of both; as `GET /v1/packs/signing-keys` lists it at the
        /// server.
        key: Option<String> = "keys.example.com/packs+1a2b3c4d+AQ==",
    }
}

#[derive(Serialize)]
struct TrustedKeyBody {
    public_key: String,
}

#[derive(Serialize)]
struct DisabledBody {
    key: String,
    /// Whether it had not ended here before.
    changed: bool,
}

/// A link that lets one browser of this machine see the keys.
#[derive(Serialize)]
struct InvitedBody {
    url: String,
}

/// Any path that a site does not have.
fn refuse(call: &Call<'_>) -> Result<Option<Reply>> {
    let path = call.request.path();
    let below = path.strip_prefix(SURFACE.mount).unwrap_or(path);
    Err(site::refusal(call.app, below))
}

/// Passes a request on to what a server answers it with, if the administrator of the machine has sent it: a site has no others
/// who administer it. A management key of the server is a key that asks for verdicts here, and nothing more.
fn local(call: &Call<'_>, answer: fn(&Call<'_>) -> Result<Reply>) -> Result<Reply> {
    site::require_local(call.caller()?)?;
    answer(call)
}

/// `GET /v1/audit-events`
fn audit_events(call: &Call<'_>) -> Result<Reply> {
    local(call, audit::audit_events)
}

/// `GET /v1/audit-events/chain`
fn chain(call: &Call<'_>) -> Result<Reply> {
    local(call, audit::chain)
}

/// `GET /v1/clock`
fn find_clock(call: &Call<'_>) -> Result<Reply> {
    local(call, clock::find)
}

/// `GET /v1/doctor`
fn examine(call: &Call<'_>) -> Result<Reply> {
    local(call, doctor::examine)
}

/// `POST /v1/doctor/bundle`
fn bundle(call: &Call<'_>) -> Result<Reply> {
    local(call, doctor::bundle)
}

/// `GET /v1/packs/signing-keys`: those that the site trusts.
fn trusted_keys(call: &Call<'_>) -> Result<Reply> {
    let keys = site::trusted_keys(call.app, call.caller()?)?;
    let items = keys
        .into_iter()
        .map(|public_key| TrustedKeyBody { public_key });
    Ok(Reply::json(200, &ListBody::of(items.collect())))
}

/// `POST /v1/packs/signing-keys`
fn refuse_change(call: &Call<'_>) -> Result<Reply> {
    Err(site::refusal(call.app, "packs"))
}

/// `GET /v1/site`
fn show(call: &Call<'_>) -> Result<Reply> {
    let view = site::show(call.app, call.caller()?)?;
    Ok(Reply::json(200, &SiteBody::of(view)))
}

/// `POST /v1/site/packs`: the body is a pack, or a whole pack and one that follows it.
fn apply_packs(call: &Call<'_>) -> Result<Reply> {
    let applied = apply::apply(call.app, call.caller()?, &call.request.body)?;
    Ok(Reply::json(200, &AppliedBody::of(&applied)))
}

/// `POST /v1/site/revocations`: the body is the text of a QR code.
fn apply_revocations(call: &Call<'_>) -> Result<Reply> {
    let text = std::str::from_utf8(&call.request.body).unwrap_or_default();
    let revoked = revoke::apply(call.app, call.caller()?, text)?;
    let body = RevokedBody {
        listed: revoked.listed,
        ended: revoked.ended,
        superseded: revoked.is_superseded,
        part: revoked.part,
        parts: revoked.parts,
    };
    Ok(Reply::json(200, &body))
}

/// `POST /v1/site/keys/{id}/disable`
fn disable(call: &Call<'_>) -> Result<Reply> {
    let text = call.param("id");
    let unknown = || Error::Conflict(refusals::site::no_key(text));
    let id = KeyId::parse(text).ok_or_else(unknown)?;
    let changed = ended::disable(call.app, call.caller()?, id)?;
    let body = DisabledBody {
        key: id.to_string(),
        changed,
    };
    Ok(Reply::json(200, &body))
}

/// `POST /v1/site/reports`
fn make_report(call: &Call<'_>) -> Result<Reply> {
    let (name, content) = report::make(call.app, call.caller()?)?;
    Ok(Reply::json(200, &ReportBody { name, content }))
}

/// `POST /v1/site/reset`: of a restored server, of a wrong date, or of a key that is not trusted.
fn accept(call: &Call<'_>) -> Result<Reply> {
    let body = ResetBody::of_optional(call.request)?;
    match (&body.key, body.date.unwrap_or(false)) {
        (Some(key), _) => reset::trust_key(call.app, call.caller()?, key)?,
        (None, true) => reset::accept_date(call.app, call.caller()?)?,
        (None, false) => reset::accept_fork(call.app, call.caller()?)?,
    }
    show(call)
}

/// `POST /v1/site/browsers`
fn invite(call: &Call<'_>) -> Result<Reply> {
    let url = browsers::invite(call.app, call.caller()?)?;
    Ok(Reply::json(201, &InvitedBody { url }))
}

impl SiteBody {
    fn of(view: View) -> SiteBody {
        let ended = view.ended.iter().map(|one| EndedBody {
            key: one.key.to_string(),
            ended_at: Time(one.at),
            reason: one.reason.as_str(),
        });
        SiteBody {
            ended_here: ended.collect(),
            site: view.site,
            server: view.origin,
            server_id: view.server,
            reign: view.reign,
            pack: view.pack,
            base: view.base,
            loaded: view.is_loaded,
            made: view.made.map(Time),
            until: view.until.map(Time),
            age_s: view.age_s,
            age: match view.age {
                Age::Aging => "aging",
                Age::Fresh => "fresh",
                Age::None => "none",
                Age::Over => "over",
            },
            keys: view.keys,
            fork: match view.fork {
                Fork::Accepted => "accepted",
                Fork::None => "no",
                Fork::Seen => "seen",
            },
            date_open: view.is_date_open,
            needs_made: view.needs_made.map(Time),
            reports: view.reports,
            life: view.life,
            may_spend: view.may_spend,
            link: view.link.map(LinkBody::of),
        }
    }
}

impl LinkBody {
    fn of(view: link::View) -> LinkBody {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let (left_ms, lasts_ms) = match view.left {
            Left::Running {
                left_ms, lasts_ms, ..
            } => (left_ms, lasts_ms),
            Left::None | Left::Over { .. } => (0, 0),
        };
        LinkBody {
            server: view.server,
            up: view.is_up,
            lease_s: seconds(lasts_ms),
            left_s: seconds(left_ms),
            word_at: view.word_at.map(Time),
            events: view.events,
            server_events: view.server_events,
            steps: view.steps,
            fault: view.fault,
        }
    }
}

impl AppliedBody {
    fn of(applied: &Applied) -> AppliedBody {
        AppliedBody {
            pack: applied.pack,
            base: (applied.base > 0).then_some(applied.base),
            made: Time(applied.made),
            until: Time(applied.until),
            keys: applied.keys,
            added: applied.counts.added,
            changed: applied.counts.changed,
            ended: applied.counts.ended,
        }
    }
}
