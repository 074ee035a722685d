//! Sites, which verify without this server: `/v1/sites`.

use super::keys::retry;
use crate::domain::packs::SITE_PATTERN;
use crate::domain::packs::site::{
    LEND, MAX_STALE_S, MAX_STALE_S_MAX, MAX_STALE_S_MIN, UNTIL_S, UNTIL_S_MAX, UNTIL_S_MIN,
};
use crate::domain::packs::standing::Unconfirmed;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission::ServerAdmin;
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, Requested, answer, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::packs::sites::{self, NewSite, SiteDetail, SiteEdit, SiteView};
use crate::refusals::{self, verbatim};
use serde_json::json;

answer! {
    struct SiteBody as "Site" {
        name: String = "plant-7",
        /// The slugs of the workspaces whose keys it is given, with everything below.
        workspaces: Vec<String> = ["emea"],
        /// The catalogs whose keys it is given; empty for those of all catalogs and of none.
        catalogs: Vec<String> = ["rooms"],
        /// Whether its packs have no names and no metadata.
        minimal: bool,
        /// How long a pack counts.
        until_s: u64 = UNTIL_S,
        /// Uses of a counted key that it may have at a time.
        lend: u64 = LEND,
        /// How long it may answer after the last word of this server, while it is linked.
        max_stale_s: u64 = MAX_STALE_S,
        created_at: Time,
        /// The newest pack that was made for it; 0 if none was.
        pack: u64 = 43,
        /// The whole pack that the newest one has to be applied to, or the newest one itself.
        base: u64 = 40,
        made_at: Option<Time>,
        /// The first instant at which the newest pack no longer counts.
        until: Option<Time>,
        /// The keys of the newest pack; while the site is linked, those that it is given now.
        keys: Option<u64> = 10_000,
        /// The pack that the site has applied, according to its newest question over the link or its newest report; null if there is none.
        applied: Option<u64> = 42,
        /// The newest event of the audit log that the site is known to have applied, with a pack or a step.
        applied_events: Option<u64> = 18_211,
        /// As of when it is known to have everything: its last question over the link, or when the pack was made that it has applied; null
        /// if that is not known.
        as_of: Option<Time>,
        /// When that report was made, by the clock of the site.
        reported_at: Option<Time>,
        /// Keys and secrets that ended here, of which the site is not known to have heard; null if it never reported, or if the number is
        /// unknown.
        unconfirmed_revocations: Option<u64> = 3,
        /// Whether that number is unknown, because the audit log no longer reaches back to what the site has. It counts as confirmed only
        /// after a newer pack and a report.
        unconfirmed_unknown: bool,
        /// The life of the site's state to which uses of counted keys are lent; null while neither a question nor a report has named it.
        life: Option<String> = "0e1c2f6a-5b1d-4c8e-9a57-3f0b6d2c4e11",
        /// Whether the site was changed past Latchkey. It gets nothing until the administrator of the machine accepts it.
        altered: bool,
        /// Whether it has a live link, by whose last word it may still answer.
        linked: bool,
        /// When it asked last over the link; null if it never did.
        asked_at: Option<Time>,
        /// The events of the audit log that it had not applied then; null if it never asked.
        lag_events: Option<u64> = 0,
        /// The event of the audit log that could not be read when the site had to follow, so that it got a pack in the place of a step; null
        /// if there was none since the start of the server.
        unread_event: Option<u64> = 17_002,
        /// After its link was dropped: until when it may still answer by its last word, unless it is gone.
        may_answer_until: Option<Time>,
    }
}

answer! {
    struct SiteDetailBody as "SiteDetail" {
        #[serde(flatten)]
        site: SiteBody,
        /// The keys that it is given now.
        given_keys: u64 = 10_002,
        /// Of these, keys that were made or changed since what the site is known to have; null if that is not known.
        changed_keys: Option<u64> = 2,
        /// Keys that stay out of its packs, because another system has made their secrets and their strength is unknown.
        left_out: u64 = 1,
        /// The first hundred of them.
        left_out_ids: Vec<String> = ["k3J9aQ0xZb"],
        /// Keys that were ended at the site, and that are still enabled here.
        ended_there: Vec<EndedBody>,
    }
}

answer! {
    struct EndedBody as "EndedAtSite" {
        id: String = "k3J9aQ0xZb",
        ended_at: Time,
    }
}

answer! {
    /// A site, and what it begins with.
    struct EnrolledBody as "EnrolledSite" {
        site: SiteBody,
        /// The content of the enrolment file, which the passphrase opens.
        enrolment: String = "latchkey-secrets 1: …",
    }
}

request! {
    struct NewSiteBody as "NewSite" {
        /// It is used once, even if the site is removed.
        name: String [pattern = SITE_PATTERN] = "plant-7",
        /// Slugs or uids.
        workspaces: Vec<String> = ["emea"],
        /// Default: the keys of all catalogs and of none.
        catalogs: Option<Vec<String>> = ["rooms"],
        /// Leaves names, names of owners and metadata out of its packs.
        minimal: Option<bool>,
        /// How long a pack counts; seven days by default.
        until_s: Option<u64> [minimum = UNTIL_S_MIN, maximum = UNTIL_S_MAX] = UNTIL_S,
        /// Uses of a counted key that it may have at a time.
        lend: Option<u64> = LEND,
        /// How long it may answer after the last word of this server, while it is linked; ten seconds by default.
        max_stale_s: Option<u64> [minimum = MAX_STALE_S_MIN, maximum = MAX_STALE_S_MAX] = MAX_STALE_S,
        /// The name of this server in the heads of packs; only for the first site.
        server: Option<String> = "keys.example.com",
        /// Protects the enrolment; at least 12 bytes.
        passphrase: String = "a sentence that nobody guesses",
    }
}

request! {
    struct SiteEditBody as "SiteEdit" {
        workspaces: Option<Vec<String>> = ["emea", "apac"],
        /// Empty for the keys of all catalogs and of none.
        catalogs: Option<Vec<String>>,
        minimal: Option<bool> = true,
        until_s: Option<u64> [minimum = UNTIL_S_MIN, maximum = UNTIL_S_MAX],
        lend: Option<u64>,
        /// The life of its state to which uses are lent from now on, as `latchkey site status` shows it there; what another one was lent
        /// counts as spent. A report names it too.
        life: Option<String>,
        max_stale_s: Option<u64> [minimum = MAX_STALE_S_MIN, maximum = MAX_STALE_S_MAX],
        /// Only `false`: drops its live link, for a site that is gone. No change waits for its lease any more; `may_answer_until` in the
        /// answer is the end of that lease. A site that asks again is linked again.
        linked: Option<bool> = false,
    }
}

answer! {
    struct RemovedBody as "RemovedSite" {
        name: String = "plant-7",
        /// The version of the pepper in use, if it was rotated.
        pepper: Option<u32> = 2,
        /// Uses that the keys got back.
        uses_returned: u64,
        /// Uses that it was lent and has not reported as spent. It may have spent them, so they count as spent.
        uses_kept: u64 = 37,
        /// Until when it may go on to give verdicts at the latest: until the end of its newest pack, or by the last word over its link. A site
        /// that is linked gives them up with its next question. Null if no pack was made for it that still counts, and it has no link.
        may_answer_until: Option<Time>,
    }
}

/// The name of a server that was given none.
const SERVER: &str = "latchkey";

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document.group(
        "sites",
        "Sites verify without this server; packs bring them what they need.",
    );
    document
        .add("get /v1/sites", "listSites", "List sites")
        .needs(&[ServerAdmin])
        .answers::<ListBody<SiteBody>>(200, "All sites, by name.");
    document
        .add("post /v1/sites", "addSite", "Enrol a site")
        .about(
            "For `latchkey site add`, through the Unix socket only: the enrolment has the peppers and a key of its own for the \
             site. Whoever has it and the passphrase can be that site.",
        )
        .needs(&[ServerAdmin])
        .shared("IdempotencyKey")
        .body::<NewSiteBody>()
        .answers::<EnrolledBody>(201, "The site, and its enrolment.")
        .conflicts();
    document
        .add("get /v1/sites/{name}", "findSite", "Read a site")
        .about("Looks at every key.")
        .needs(&[ServerAdmin])
        .answers::<SiteDetailBody>(200, "The site.");
    document
        .add(
            "patch /v1/sites/{name}",
            "editSite",
            "Change what a site is given",
        )
        .about("It counts from the next pack on; `max_stale_s` from the next word on.")
        .needs(&[ServerAdmin])
        .body::<SiteEditBody>()
        .answers::<SiteBody>(200, "The site as it is now.")
        .waits_for_sites(200);
    document
        .add("delete /v1/sites/{name}", "removeSite", "Remove a site")
        .about(
            "No pack is made for it any more, and its reports are refused. What it has goes on until its pack ends: \
             `may_answer_until` in the answer. Nothing waits for that.",
        )
        .needs(&[ServerAdmin])
        .query(
            "rotate",
            "Also gives the pepper a new version, which the removed site does not have; through the Unix socket only.",
            json!({ "type": "string", "enum": ["true", "false"], "default": "false" }),
            json!("false"),
        )
        .query(
            "return_uses",
            "Also gives counted keys back the uses that the site was lent and has not reported as spent. Only for a site that is known not \
             to have spent them: it may have done so since its last report.",
            json!({ "type": "string", "enum": ["true", "false"], "default": "false" }),
            json!("false"),
        )
        .answers::<RemovedBody>(200, "It is removed.");
}

impl SiteBody {
    fn of(view: SiteView) -> SiteBody {
        let (applied_events, as_of) = (view.known_events(), view.as_of());
        // Only if no later report came by file: see `live_link`.
        let live_pack = view.live_link().and_then(|link| link.pack);
        let link = view.link;
        let SiteView {
            site,
            workspaces,
            newest,
            is_sound,
            unconfirmed,
            given_keys,
            dropped_until,
            ..
        } = view;
        let made = newest.as_ref();
        let reported = site.reported.as_ref();
        SiteBody {
            workspaces,
            catalogs: site.catalogs,
            minimal: site.minimal,
            until_s: site.until_s,
            lend: site.lend,
            max_stale_s: site.max_stale_s,
            created_at: Time(site.created_at),
            pack: site.pack,
            base: site.base,
            made_at: made.map(|made| Time(made.made_at)),
            until: made.map(|made| Time(made.until)),
            keys: given_keys.or(made.map(|made| made.keys)),
            applied: live_pack.or(reported.map(|reported| reported.applied)),
            applied_events,
            as_of: as_of.map(Time),
            reported_at: reported.map(|reported| Time(reported.at)),
            unconfirmed_revocations: unconfirmed.count(),
            unconfirmed_unknown: unconfirmed == Unconfirmed::LogTooShort,
            life: site.lent_life.map(|life| life.to_string()),
            altered: !is_sound,
            linked: link.is_some_and(|link| link.is_linked),
            asked_at: link.map(|link| Time(link.asked_at)),
            lag_events: link.map(|link| link.lag),
            unread_event: link.and_then(|link| link.unread),
            may_answer_until: dropped_until.map(Time),
            name: site.name,
        }
    }
}

impl SiteDetailBody {
    fn of(detail: SiteDetail) -> SiteDetailBody {
        let ended = detail.ended_there.into_iter().map(|ended| EndedBody {
            id: ended.id.to_string(),
            ended_at: Time(ended.ended_at),
        });
        SiteDetailBody {
            site: SiteBody::of(detail.view),
            given_keys: detail.keys,
            changed_keys: detail.changed,
            left_out: detail.left_out,
            left_out_ids: detail
                .left_out_ids
                .iter()
                .map(ToString::to_string)
                .collect(),
            ended_there: ended.collect(),
        }
    }
}

/// `GET /v1/sites`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let found = sites::list_with_keys(call.app, call.caller()?)?;
    let items = found.into_iter().map(SiteBody::of).collect();
    Ok(Reply::json(200, &ListBody::of(items)))
}

/// `POST /v1/sites`: through the Unix socket only.
pub fn add(call: &Call<'_>) -> Result<Reply> {
    let retry = retry(call)?;
    let body = NewSiteBody::of(call.request)?;
    let new = NewSite {
        name: body.name,
        workspaces: body.workspaces,
        catalogs: body.catalogs.unwrap_or_default(),
        minimal: body.minimal.unwrap_or(false),
        until_s: body.until_s,
        lend: body.lend,
        max_stale_s: body.max_stale_s,
        server: body.server.unwrap_or_else(|| SERVER.to_owned()),
        passphrase: body.passphrase,
    };
    let (site, enrolment) = sites::add(call.app, call.caller()?, new, retry)?;
    let body = EnrolledBody {
        site: SiteBody::of(site),
        enrolment,
    };
    Ok(Reply::json(201, &body))
}

/// `GET /v1/sites/{name}`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let detail = sites::show(call.app, call.caller()?, call.param("name"))?;
    Ok(Reply::json(200, &SiteDetailBody::of(detail)))
}

/// `PATCH /v1/sites/{name}`
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    let body = SiteEditBody::of(call.request)?;
    let life = body.life.as_deref().map(|text| {
        let no_uid = || Error::invalid("life", refusals::packs::life());
        Uid::parse(text).ok_or_else(no_uid)
    });
    let life = life.transpose()?;
    if body.linked == Some(true) {
        return Err(Error::invalid("linked", refusals::packs::linked()));
    }
    let edit = SiteEdit {
        unlinks: body.linked == Some(false),
        workspaces: body.workspaces,
        catalogs: body.catalogs,
        minimal: body.minimal,
        until_s: body.until_s,
        lend: body.lend,
        life,
        max_stale_s: body.max_stale_s,
    };
    let site = sites::edit(call.app, call.caller()?, call.param("name"), edit)?;
    Ok(Reply::json(200, &SiteBody::of(site)))
}

/// `DELETE /v1/sites/{name}`
pub fn remove(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let (rotate, returns) = (query.take("rotate"), query.take("return_uses"));
    query.finish()?;
    let flag = |name: &str, value: Option<String>| match value.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Error::Malformed(verbatim(format!(
            "the parameter {name} must be true or false"
        )))),
    };
    let (rotate, returns) = (flag("rotate", rotate)?, flag("return_uses", returns)?);
    let name = call.param("name");
    let removed = sites::remove(call.app, call.caller()?, name, rotate, returns)?;
    let body = RemovedBody {
        name: name.to_owned(),
        pepper: removed.rotated.map(|rotated| rotated.version),
        uses_returned: removed.uses.returned,
        uses_kept: removed.uses.kept,
        may_answer_until: removed.may_answer_until.map(Time),
    };
    Ok(Reply::json(200, &body))
}
