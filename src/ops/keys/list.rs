//! Lists of keys: filtered and in pages. Each caller sees only the keys that they may read.

use super::{View, usage, with_names};
use crate::authz::caller::Caller;
use crate::domain::keys::metadata;
use crate::domain::keys::{Key, KeyId, State};
use crate::domain::paging;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::App;
use crate::store::keys::{self, Source};
use crate::store::usage::Usage;
use std::collections::HashSet;

/// The greatest number of characters of a search text.
const QUERY_CHARS_MAX: usize = 100;

/// The request of a caller.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Slug or uid; keys below it are listed too.
    pub workspace: Option<String>,
    pub policy: Option<String>,
    /// User name or uid.
    pub owner: Option<String>,
    /// The actor who made them, in the form of a key's `created_by`.
    pub created_by: Option<String>,
    /// `None` lists all keys that are not deleted.
    pub state: Option<State>,
    /// Part of a name, an id or a hint.
    pub query: Option<String>,
    pub expiring_within_s: Option<u64>,
    /// Names and values of members of the metadata; a key must have all of them.
    pub metadata: Vec<(String, String)>,
    pub after: Option<KeyId>,
    pub limit: usize,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    pub items: Vec<View>,
    /// The position where the next page begins.
    pub next: Option<KeyId>,
}

/// Lists the keys that the caller may read, in the order of their ids.
pub fn list(app: &App, caller: &Caller, wanted: &Wanted) -> Result<Page> {
    caller.require_somewhere(Permission::KeysRead)?;
    let (sources, sieve) = {
        let directory = app.index.directory();
        let sieve = Sieve::new(app, &directory, caller, wanted)?;
        (sources(&directory, caller, &sieve), sieve)
    };
    app.read(|read| {
        let ids = |source: &Source, after| keys::list_ids(read, source, after, paging::BATCH);
        let look = |id| {
            let Some(key) = keys::find(read, id)?.filter(|key| sieve.passes(key)) else {
                return Ok(None);
            };
            if !may_see(app, caller, &sieve, &key) {
                return Ok(None);
            }
            let mut view = with_names(app, key, Usage::default());
            if wanted.state.is_some_and(|state| state != view.state) {
                return Ok(None);
            }
            view.usage = usage(app, read, id)?;
            Ok(Some(view))
        };
        let (items, next) = paging::page(&sources, wanted.after, wanted.limit, ids, look)?;
        Ok(Page { items, next })
    })
}

/// Numbers and ids of the live keys of a catalog that have an owner, in no order; only those of one owner if `owner` is
/// set. [`super::find`] decides later, for each key, whether the caller may see it. A caller who may only see their own
/// keys gets only those.
pub fn numbers(
    app: &App,
    caller: &Caller,
    catalog: &str,
    owner: Option<Uid>,
) -> Result<Vec<(i64, KeyId)>> {
    caller.require_somewhere(Permission::KeysRead)?;
    let sees_others = {
        let directory = app.index.directory();
        let mut places = directory.subtree(caller.reach);
        places.any(|uid| caller.may(&directory, Permission::KeysRead, uid, None))
    };
    let owner = match (owner, sees_others) {
        (None, false) => match caller.user {
            None => return Ok(Vec::new()),
            own => own,
        },
        (owner, _) => owner,
    };
    app.read(|read| keys::list_numbers(read, catalog, owner))
}

/// The row decides, independent of the source that it came from. The directory is read again for each key.
fn may_see(app: &App, caller: &Caller, sieve: &Sieve, key: &Key) -> bool {
    let directory = app.index.directory();
    directory.reaches(sieve.top, key.workspace)
        && caller.may(&directory, Permission::KeysRead, key.workspace, key.owner)
}

/// The sources of keys that the caller may see, chosen so that few other keys are read.
fn sources(directory: &Directory, caller: &Caller, sieve: &Sieve) -> Vec<Source> {
    if let Some(owner) = sieve.owner {
        return vec![Source::OfOwner(owner)];
    }
    if let Some((name, value)) = sieve.metadata.first() {
        return vec![Source::With(name.clone(), value.clone())];
    }
    if let Some(actor) = &sieve.created_by {
        return vec![Source::MadeBy(actor.clone())];
    }
    let may = |uid, owner| caller.may(directory, Permission::KeysRead, uid, owner);
    let (whole, rest): (Vec<Uid>, Vec<Uid>) = directory
        .subtree(sieve.top)
        .partition(|uid| may(*uid, None));
    if whole.len() == directory.places().count() {
        return vec![Source::All];
    }
    let own = caller
        .user
        .filter(|user| rest.iter().any(|uid| may(*uid, Some(*user))));
    whole
        .into_iter()
        .map(Source::OfWorkspace)
        .chain(own.map(Source::OfOwner))
        .collect()
}

/// The conditions that a listed key must meet.
struct Sieve {
    /// The key is in this workspace or below it.
    top: Uid,
    policy: Option<String>,
    owner: Option<Uid>,
    created_by: Option<String>,
    /// In lower case.
    query: Option<String>,
    /// The key expires at or after the first time, and before the second.
    expires: Option<(Timestamp, Timestamp)>,
    metadata: Vec<(String, String)>,
    deleted: bool,
}

impl Sieve {
    fn new(app: &App, directory: &Directory, caller: &Caller, wanted: &Wanted) -> Result<Sieve> {
        let query = wanted.query.as_deref();
        if query.is_some_and(|query| query.chars().count() > QUERY_CHARS_MAX) {
            return Err(Error::invalid(
                "q",
                format!("must have at most {QUERY_CHARS_MAX} characters"),
            ));
        }
        let top = match &wanted.workspace {
            None => caller.reach,
            Some(asked) => directory
                .find_place(asked)
                .map(|place| place.workspace.uid)
                .filter(|uid| caller.knows(directory, *uid))
                .ok_or_else(|| Error::invalid("workspace", "there is no such workspace"))?,
        };
        let owner = |asked: &String| {
            directory
                .find_user(&asked.to_ascii_lowercase())
                .filter(|user| caller.knows(directory, user.home) || caller.user == Some(user.uid))
                .map(|user| user.uid)
                .ok_or_else(|| Error::invalid("owner", "there is no such user"))
        };
        let now = app.now().wall;
        Ok(Sieve {
            top,
            policy: wanted.policy.clone(),
            owner: wanted.owner.as_ref().map(owner).transpose()?,
            created_by: wanted.created_by.as_deref().map(actor).transpose()?,
            query: query.map(str::to_ascii_lowercase),
            expires: wanted
                .expiring_within_s
                .map(|seconds| (now, now.plus_s(seconds))),
            metadata: wanted.metadata.clone(),
            deleted: wanted.state == Some(State::Deleted),
        })
    }

    fn passes(&self, key: &Key) -> bool {
        let policy = self.policy.as_ref();
        let expires = |(now, until)| key.expires_at.is_some_and(|end| end > now && end < until);
        key.deleted_at.is_some() == self.deleted
            && policy.is_none_or(|policy| *policy == key.policy)
            && self.owner.is_none_or(|owner| key.owner == Some(owner))
            && self
                .created_by
                .as_ref()
                .is_none_or(|actor| *actor == key.created_by)
            && self.expires.is_none_or(expires)
            && (self.metadata.is_empty() || {
                let members = metadata::members(&key.metadata);
                self.metadata.iter().all(|wanted| members.contains(wanted))
            })
            && self.query.as_deref().is_none_or(|query| has(key, query))
    }
}

/// The ids of the keys that an actor has made. The index does not have them, so they are read from the store; too many
/// are refused.
pub fn made_by(app: &App, text: &str) -> Result<HashSet<KeyId>> {
    let source = Source::MadeBy(actor(text)?);
    let most = paging::EXAMINED_MAX as u32;
    let found = app.read(|read| keys::list_ids(read, &source, None, most + 1))?;
    if found.len() > paging::EXAMINED_MAX {
        return Err(Error::invalid(
            "created_by",
            format!(
                "has issued more than {} keys; list them with latchkey key list --created-by",
                paging::EXAMINED_MAX
            ),
        ));
    }
    Ok(found.into_iter().collect())
}

/// The name of an actor in the form of the store.
pub fn actor(text: &str) -> Result<String> {
    match text.split_once(':') {
        Some(("user", name)) if !name.is_empty() => {
            Ok(format!("user:{}", name.to_ascii_lowercase()))
        }
        Some(("key" | "local", rest)) if !rest.is_empty() => Ok(text.to_owned()),
        _ if text == "system" => Ok(text.to_owned()),
        _ => Err(Error::invalid(
            "created_by",
            "must be user:NAME, key:ID, local:UID or system",
        )),
    }
}

/// Whether a text is part of the name, the id or the hint, without regard to case. No character has a special meaning
/// (attacks 187).
fn has(key: &Key, query: &str) -> bool {
    [&key.name, &key.id.to_string(), &key.hint]
        .into_iter()
        .any(|text| text.to_ascii_lowercase().contains(query))
}
