//! Trying a key: the verdict that a request with its newest secret would get now, in words, and what would change it.
//!
//! The rules are those of a verification ([`foresee`]); nothing is spent, counted or recorded. This file only finds the
//! words for a verdict.

use super::{exact, surroundings};
use crate::authz::caller::Caller;
use crate::domain::catalogs::Requirement;
use crate::domain::keys::KeyId;
use crate::domain::keys::address::parse_address;
use crate::domain::keys::live::Live;
use crate::domain::keys::quota::{ExactCount, RateLimit, RateStatus};
use crate::domain::keys::verdict::{
    Code, Detail, Judged, KeyContext, Question, Refusal as Refused, demand, foresee, rules,
};
use crate::domain::time::Moment;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::keys::{self, View};
use crate::ops::{App, index_updates};
use crate::refusals::{Refusal, trial, values, workspaces};
use std::net::IpAddr;

/// A trial loads the key and looks at the window of its exact limit at most once each.
const ROUNDS_MAX: u32 = 3;
/// The maximum number of scopes of one request.
pub const SCOPES_MAX: usize = 200;
/// The maximum number of bytes of each text.
const TEXT_BYTES_MAX: usize = 4_096;

/// The request to try, as a client writes it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// All of these scopes must be granted.
    pub scopes: Vec<String>,
    pub catalog: Option<String>,
    pub method: Option<String>,
    /// A query is ignored.
    pub path: Option<String>,
    pub host: Option<String>,
    pub ip: Option<String>,
    /// Slug or uid.
    pub workspace: Option<String>,
}

/// The verdict on a request that was not made.
#[derive(Clone, Debug)]
pub struct Trial {
    pub code: Code,
    pub detail: Option<Detail>,
    /// The reason, and what would change the verdict.
    pub why: Refusal,
    /// The rate limit, if the key has one.
    pub rate: Option<RateStatus>,
    pub uses_left: Option<u64>,
}

impl Trial {
    fn new(code: Code, why: Refusal) -> Trial {
        Trial {
            code,
            detail: None,
            why,
            rate: None,
            uses_left: None,
        }
    }
}

/// What the words for a verdict need of a key and the index does not have.
pub struct About<'a> {
    pub catalog: Option<&'a str>,
    pub owner: Option<&'a str>,
    pub uses_left: Option<u64>,
    pub workspace: &'a str,
}

impl About<'_> {
    fn of(view: &View) -> About<'_> {
        About {
            catalog: view.key.catalog.as_deref(),
            owner: view.owner.as_deref(),
            uses_left: view.key.uses_left,
            workspace: &view.workspace,
        }
    }
}

/// Tries a key that the caller may see.
pub fn try_key(app: &App, caller: &Caller, id: KeyId, request: &Request) -> Result<Trial> {
    let view = keys::find(app, caller, id)?;
    if view.key.deleted_at.is_some() {
        return Ok(Trial::new(Code::NotFound, trial::deleted()));
    }
    try_known(app, caller, id, &About::of(&view), request)
}

/// Tries a key of which this is known.
pub fn try_known(
    app: &App,
    caller: &Caller,
    id: KeyId,
    about: &About<'_>,
    request: &Request,
) -> Result<Trial> {
    let address = check(app, caller, about, request)?;
    let mut answer = None;
    for _ in 0..ROUNDS_MAX {
        let directory = app.index.directory();
        let question = question(&directory, caller, request, address)?;
        let now = app.now();
        let counted = (app.live_nodes(), exact::place(app, id, answer));
        let look = |key: &Live| judged(&directory, about, key, &question, (now, counted));
        let found = app.index.with_key(id, look);
        let cost = question.cost;
        drop(directory);
        match found {
            Some(Ok(trial)) => return Ok(trial),
            Some(Err(rate)) => {
                let is_fresh = app.require_fresh(now)?.is_none();
                answer = Some(exact::look(app, id, rate, cost, is_fresh)?);
                continue;
            }
            None => {}
        }
        app.read(|read| index_updates::fault_in(&app.index, &app.seal_keys, read, id))?;
    }
    Err(Error::NotFound("key"))
}

/// Checks what needs no look-up of the key. Returns the address.
fn check(
    app: &App,
    caller: &Caller,
    about: &About<'_>,
    request: &Request,
) -> Result<Option<IpAddr>> {
    let needed = |field: &str, reason| Err(Error::invalid(field, reason));
    match (&request.method, &request.path) {
        (Some(_), None) => return needed("path", trial::needed_beside("method")),
        (None, Some(_)) => return needed("method", trial::needed_beside("path")),
        (None, None) if request.host.is_some() => {
            return needed("path", trial::needed_beside("host"));
        }
        _ => {}
    }
    if request.scopes.len() > SCOPES_MAX {
        return Err(Error::invalid(
            "scopes",
            values::entries_at_most(SCOPES_MAX),
        ));
    }
    let texts = [
        ("catalog", &request.catalog),
        ("method", &request.method),
        ("path", &request.path),
        ("host", &request.host),
        ("workspace", &request.workspace),
    ];
    for (field, text) in texts {
        if text
            .as_ref()
            .is_some_and(|text| text.len() > TEXT_BYTES_MAX)
        {
            return Err(Error::invalid(
                field,
                values::characters_at_most(TEXT_BYTES_MAX),
            ));
        }
    }
    if let Some(name) = &request.catalog
        && !knows_catalog(app, caller, about, name)
    {
        return needed("catalog", trial::unknown_catalog());
    }
    let address = request
        .ip
        .as_deref()
        .map(|text| parse_address(text).ok_or_else(|| Error::invalid("ip", trial::ip())));
    address.transpose()
}

/// Whether there is a catalog that the caller may know of: that of the key, or any if the caller may read catalogs.
fn knows_catalog(app: &App, caller: &Caller, about: &About<'_>, name: &str) -> bool {
    let reads = caller.require_somewhere(Permission::CatalogsRead).is_ok();
    let is_own = about.catalog == Some(name);
    (reads || is_own) && app.index.directory().catalog(name).is_some()
}

fn question<'a>(
    directory: &Directory,
    caller: &Caller,
    request: &'a Request,
    address: Option<IpAddr>,
) -> Result<Question<'a>> {
    let workspace = request.workspace.as_deref().map(|name| {
        directory
            .find_place(name)
            .map(|place| place.workspace.uid)
            .filter(|uid| caller.knows(directory, *uid))
            .ok_or_else(|| Error::invalid("workspace", workspaces::unknown()))
    });
    let path = request.path.as_deref();
    Ok(Question {
        scopes: request.scopes.iter().map(String::as_str).collect(),
        catalog: request.catalog.as_deref(),
        method: request.method.as_deref(),
        // As in a verification: the query decides nothing, and a path with a fragment is refused by the catalog.
        path: path.map(|path| match path.split_once('?') {
            Some((before, _)) if !path.contains('#') => before,
            _ => path,
        }),
        host: request.host.as_deref(),
        address,
        workspace: workspace.transpose()?,
        cost: 1,
        ..Question::default()
    })
}

/// The verdict; or the exact limit whose window in the store decides.
fn judged(
    directory: &Directory,
    about: &About<'_>,
    key: &Live,
    question: &Question<'_>,
    (now, counted): (Moment, (u64, ExactCount)),
) -> std::result::Result<Trial, RateLimit> {
    let Some(around) = surroundings(directory, key, question, counted) else {
        return Ok(Trial::new(Code::Disabled, trial::changed_outside()));
    };
    if around.policy.decoy {
        return Ok(Trial::new(Code::NotFound, trial::decoy()));
    }
    Ok(match foresee(key, &around, question, now) {
        Judged::Allowed(allowed) => Trial {
            rate: allowed.rate,
            uses_left: allowed.uses_left,
            ..Trial::new(Code::Valid, trial::good())
        },
        Judged::MustAskStore(rate) => return Err(rate),
        Judged::MustCount | Judged::MustReserve => Trial {
            uses_left: about.uses_left,
            ..Trial::new(Code::Valid, trial::good())
        },
        Judged::Refused(refused) => Trial {
            detail: refused.detail,
            rate: refused.rate,
            ..Trial::new(
                refused.code,
                why(about, key, &around, question, &refused, now),
            )
        },
    })
}

/// The words for a refusal.
fn why(
    about: &About<'_>,
    key: &Live,
    around: &KeyContext<'_>,
    question: &Question<'_>,
    refused: &Refused,
    now: Moment,
) -> Refusal {
    let request = named(question);
    match refused.code {
        Code::Disabled => trial::disabled(),
        Code::Expired => trial::expired(key.expires_at),
        Code::InsufficientScope => {
            scopes(about, key, around, question, refused.detail, &request, now)
        }
        Code::IpNotAllowed => {
            let list = key.optional.as_ref();
            let list = list.and_then(|optional| optional.addresses.as_ref());
            let list = list.map_or_else(String::new, |list| list.to_string().replace(' ', ", "));
            match question.address {
                Some(address) => trial::address(address, list),
                None => trial::address_missing(list),
            }
        }
        Code::NotYetValid => trial::not_yet_valid(key.not_before),
        Code::OutsideWorkspace => trial::outside_workspace(about.workspace),
        Code::OwnerDisabled => trial::owner_disabled(),
        Code::RateLimited => match refused.rate {
            Some(status) => {
                trial::rate_limited(status.rate.limit, status.rate.window_s, status.reset_s)
            }
            None => trial::rate_limited(0, 0, 0),
        },
        Code::ReadOnly => trial::read_only(request),
        Code::UsageExceeded => trial::usage_exceeded(),
        Code::WorkspaceDisabled => trial::workspace_disabled(about.workspace),
        // These are verdicts on secrets and headers, which a trial does not have.
        Code::Malformed | Code::NotFound | Code::Valid | Code::WrongHeader => trial::good(),
    }
}

fn scopes(
    about: &About<'_>,
    key: &Live,
    around: &KeyContext<'_>,
    question: &Question<'_>,
    detail: Option<Detail>,
    request: &str,
    now: Moment,
) -> Refusal {
    let own = key.shared.catalog.as_deref();
    match (question.catalog, own) {
        (Some(asked), Some(own)) if asked != own => return trial::catalog(asked, own),
        (Some(asked), None) => return trial::catalog_none(asked),
        _ => {}
    }
    match (detail, own) {
        (Some(Detail::UnknownOperation), None) => return trial::no_catalog(request),
        (Some(Detail::UnknownOperation), Some(own)) => {
            return trial::unknown_operation(request, own);
        }
        (Some(Detail::UnsafeRequest), _) => return trial::unsafe_request(request),
        (None, _) => {}
    }
    let found = demand(around, question).ok().flatten();
    let requirement = found.map(|found| found.requirement);
    if requirement == Some(&Requirement::Nobody) {
        return trial::closed(request);
    }
    // If the key's own scopes suffice, the roles of its owner do not.
    let without_owner = KeyContext {
        owner: around.owner,
        workspace_active: around.workspace_active,
        in_root: around.in_root,
        policy: around.policy,
        catalog: around.catalog,
        reaches_workspace: around.reaches_workspace,
        owner_roles: None,
        nodes: around.nodes,
        exact: around.exact,
    };
    let suffices = !matches!(
        rules(key, &without_owner, question, now.wall),
        Err(Refused {
            code: Code::InsufficientScope,
            ..
        })
    );
    if around.owner_roles.is_some() && suffices {
        return trial::owner_role(about.owner.unwrap_or_default());
    }
    let all = requirement.map_or(&[][..], Requirement::all_of).iter();
    let all: Vec<&str> = all
        .map(String::as_str)
        .chain(question.scopes.iter().copied())
        .collect();
    let any = requirement.map_or(&[][..], Requirement::any_of);
    let needed = match (all.is_empty(), any) {
        (_, []) => trial::scopes_all(all.join(", ")),
        (true, [one]) => trial::scopes_all(one),
        (true, any) => trial::scopes_one(any.join(", ")),
        (false, any) => trial::scopes_both(all.join(", "), any.join(", ")),
    };
    let held = key.shared.scopes.join(", ");
    let held = match held.is_empty() {
        true => trial::no_scope(),
        false => trial::scopes_all(held),
    };
    trial::scopes(request, needed, held)
}

/// The request in a sentence.
fn named(question: &Question<'_>) -> String {
    match (question.method, question.path) {
        (Some(method), Some(path)) => format!("{method} {path}"),
        _ => trial::this_request().to_string(),
    }
}
