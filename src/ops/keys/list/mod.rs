//! Lists of keys. Each caller sees only the keys that they may read.
//!
//! There is one [`Filter`], and two ways to find what passes it. [`list`] reads the store in the order of ids: it knows
//! every property of a key, deleted keys too, and works while the index is still being loaded, but it cannot count what
//! it has not read. [`sorted::list`] searches the index: it counts all matches and has any order, for live keys only.

mod cursor;
pub mod order;
pub mod sorted;

use super::{View, usage, with_names};
use crate::authz::caller::Caller;
use crate::domain::keys::live::Live;
use crate::domain::keys::{Key, KeyId, State, metadata};
use crate::domain::paging;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::App;
use crate::refusals;
use crate::store::keys::{self, Source};
use crate::store::usage::Usage;
use std::collections::HashSet;

/// The greatest number of characters of a search text.
pub const QUERY_CHARS_MAX: usize = 100;

/// The keys that a list contains.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Slug or uid; keys below it are listed too.
    pub workspace: Option<String>,
    pub policy: Option<String>,
    /// User name or uid.
    pub owner: Option<String>,
    /// The actor who made them, in the form of a key's `created_by`.
    pub created_by: Option<String>,
    /// `None` lists all keys that are not deleted.
    pub state: Option<State>,
    /// Part of a name or an id; in [`list`] also of a hint, which the index does not have.
    pub query: Option<String>,
    pub expiring_within_s: Option<u64>,
    /// Names and values of members of the metadata; a key must have all of them.
    pub metadata: Vec<(String, String)>,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    pub items: Vec<View>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// Lists the keys that the caller may read, in the order of their ids.
pub fn list(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    after: Option<KeyId>,
    limit: usize,
) -> Result<Page> {
    caller.require_somewhere(Permission::KeysRead)?;
    let (sources, condition) = {
        let directory = app.index.directory();
        let condition = Condition::new(app, &directory, caller, filter)?;
        (sources(&directory, caller, &condition), condition)
    };
    let deleted = filter.state == Some(State::Deleted);
    app.read(|read| {
        let ids = |source: &Source, after| keys::list_ids(read, source, after, paging::BATCH);
        let look = |id| {
            let Some(key) = keys::find(read, id)? else {
                return Ok(None);
            };
            // The row decides, independent of the source that it came from. The directory is read again for each key.
            let created_by = condition.created_by.as_ref();
            let listed = key.deleted_at.is_some() == deleted
                && created_by.is_none_or(|actor| *actor == key.created_by)
                && condition.admits(&app.index.directory(), caller, &Facts::of(&key));
            if !listed {
                return Ok(None);
            }
            let mut view = with_names(app, key, Usage::default());
            if filter.state.is_some_and(|state| state != view.state) {
                return Ok(None);
            }
            view.usage = usage(app, read, id)?;
            Ok(Some(view))
        };
        let (items, next) = paging::page(&sources, after, limit, ids, look)?;
        let next = next.map(|id| cursor::seal(&app.sealing, id)).transpose()?;
        Ok(Page { items, next })
    })
}

/// The position of a cursor that [`list`] has returned; `None` if it is none.
pub fn open_cursor(app: &App, text: &str) -> Option<KeyId> {
    cursor::open(&app.sealing, text)
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

/// The sources of keys that the caller may see, chosen so that few other keys are read.
fn sources(directory: &Directory, caller: &Caller, condition: &Condition<'_>) -> Vec<Source> {
    if let Some(owner) = condition.owner {
        return vec![Source::OfOwner(owner)];
    }
    if let Some((name, value)) = condition.metadata.first() {
        return vec![Source::With(name.clone(), value.clone())];
    }
    if let Some(actor) = &condition.created_by {
        return vec![Source::MadeBy(actor.clone())];
    }
    let may = |uid, owner| caller.may(directory, Permission::KeysRead, uid, owner);
    let (whole, rest): (Vec<Uid>, Vec<Uid>) = directory
        .subtree(condition.top)
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

/// A [`Filter`] with its names resolved for one caller. State, deletion and `created_by` are compared where the key is
/// read.
struct Condition<'a> {
    /// The key is in this workspace or below it.
    top: Uid,
    policy: Option<&'a str>,
    owner: Option<Uid>,
    /// In the form of the store.
    created_by: Option<String>,
    /// In lower case.
    query: Option<String>,
    /// The key expires after the first time, and before the second.
    expires: Option<(Timestamp, Timestamp)>,
    metadata: &'a [(String, String)],
}

/// What a [`Condition`] compares of a key, which is in the store or in the index.
struct Facts<'a> {
    id: KeyId,
    name: &'a str,
    /// Empty for a key of the index.
    hint: &'a str,
    workspace: Uid,
    owner: Option<Uid>,
    policy: &'a str,
    expires_at: Option<Timestamp>,
    metadata: &'a str,
}

impl<'a> Facts<'a> {
    fn of(key: &'a Key) -> Facts<'a> {
        Facts {
            id: key.id,
            name: &key.name,
            hint: &key.hint,
            workspace: key.workspace,
            owner: key.owner,
            policy: &key.policy,
            expires_at: key.expires_at,
            metadata: &key.metadata,
        }
    }

    fn of_live(key: &'a Live) -> Facts<'a> {
        Facts {
            id: key.id,
            name: &key.name,
            hint: "",
            workspace: key.shared.workspace,
            owner: key.shared.owner,
            policy: &key.shared.policy,
            expires_at: key.ends_at(),
            metadata: key.metadata(),
        }
    }
}

impl<'a> Condition<'a> {
    fn new(
        app: &App,
        directory: &Directory,
        caller: &Caller,
        filter: &'a Filter,
    ) -> Result<Condition<'a>> {
        let query = filter.query.as_deref();
        if query.is_some_and(|query| query.chars().count() > QUERY_CHARS_MAX) {
            return Err(Error::invalid(
                "q",
                refusals::values::characters_at_most(QUERY_CHARS_MAX),
            ));
        }
        let top = match &filter.workspace {
            None => caller.reach,
            Some(name) => directory
                .find_place(name)
                .map(|place| place.workspace.uid)
                .filter(|uid| caller.knows(directory, *uid))
                .ok_or_else(|| Error::invalid("workspace", refusals::workspaces::unknown()))?,
        };
        let owner = |name: &String| {
            directory
                .find_user(&name.to_ascii_lowercase())
                .filter(|user| caller.knows(directory, user.home) || caller.user == Some(user.uid))
                .map(|user| user.uid)
                .ok_or_else(|| Error::invalid("owner", refusals::users::unknown()))
        };
        let now = app.now().wall;
        Ok(Condition {
            top,
            policy: filter.policy.as_deref(),
            owner: filter.owner.as_ref().map(owner).transpose()?,
            created_by: filter.created_by.as_deref().map(actor).transpose()?,
            query: query.map(str::to_lowercase),
            expires: filter
                .expiring_within_s
                .map(|seconds| (now, now.plus_s(seconds))),
            metadata: &filter.metadata,
        })
    }

    /// Whether a key is listed for a caller.
    fn admits(&self, directory: &Directory, caller: &Caller, key: &Facts<'_>) -> bool {
        self.fits(directory, key)
            && caller.may(directory, Permission::KeysRead, key.workspace, key.owner)
    }

    fn fits(&self, directory: &Directory, key: &Facts<'_>) -> bool {
        let expires = |(now, until)| key.expires_at.is_some_and(|end| end > now && end < until);
        self.policy.is_none_or(|policy| policy == key.policy)
            && self.owner.is_none_or(|owner| key.owner == Some(owner))
            && self.expires.is_none_or(expires)
            && directory.reaches(self.top, key.workspace)
            && (self.metadata.is_empty() || {
                let members = metadata::members(key.metadata);
                self.metadata.iter().all(|wanted| members.contains(wanted))
            })
            && self.query.as_deref().is_none_or(|query| has(key, query))
    }
}

/// The ids of the keys that an actor has made. The index does not have them, so they are read from the store; too many
/// are refused.
fn made_by(app: &App, actor: &str) -> Result<HashSet<KeyId>> {
    let source = Source::MadeBy(actor.to_owned());
    let most = paging::EXAMINED_MAX as u32;
    let found = app.read(|read| keys::list_ids(read, &source, None, most + 1))?;
    if found.len() > paging::EXAMINED_MAX {
        return Err(Error::invalid(
            "created_by",
            refusals::keys::created_too_many(paging::EXAMINED_MAX),
        ));
    }
    Ok(found.into_iter().collect())
}

/// The name of an actor in the form of the store.
fn actor(text: &str) -> Result<String> {
    match text.split_once(':') {
        Some(("user", name)) if !name.is_empty() => {
            Ok(format!("user:{}", name.to_ascii_lowercase()))
        }
        Some(("key" | "local", rest)) if !rest.is_empty() => Ok(text.to_owned()),
        _ if text == "system" => Ok(text.to_owned()),
        _ => Err(Error::invalid("created_by", refusals::keys::created_by())),
    }
}

/// Whether a text in lower case is part of the name, the id or the hint. No character has a special meaning
/// (attacks 187).
fn has(key: &Facts<'_>, query: &str) -> bool {
    // Most names and search texts are ASCII, and are compared without an allocation.
    let name = match key.name.is_ascii() && query.is_ascii() {
        true => {
            let (name, query) = (key.name.as_bytes(), query.as_bytes());
            query.is_empty()
                || name
                    .windows(query.len())
                    .any(|part| part.eq_ignore_ascii_case(query))
        }
        false => key.name.to_lowercase().contains(query),
    };
    name || [&key.id.to_string(), key.hint]
        .into_iter()
        .any(|text| text.to_lowercase().contains(query))
}

#[cfg(test)]
mod tests;
