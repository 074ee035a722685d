//! Lists of keys. Each caller sees only the keys that they may read.
//!
//! There is one [`Filter`], and two ways to find what passes it. [`list`] reads the store in the order of ids: it knows
//! every property of a key, deleted keys too, and works while the index is still being loaded, but it cannot count what
//! it has not read. [`sorted::list`] searches the index: it counts all matches and has any order, for live keys only.

mod cursor;
pub mod order;
mod search;
pub mod sorted;

use super::{View, previous, usage, with_names};
use crate::authz::caller::Caller;
use crate::domain::keys::live::{Live, SharedPart};
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
use search::{Hits, Search, Texts};

pub use search::QUERY_CHARS_MAX;

/// The value of [`Filter::source`] for keys that were issued here.
pub const ISSUED: &str = "issued";

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
    /// Words of which a key must have all ([`search`]).
    pub query: Option<String>,
    pub expiring_within_s: Option<u64>,
    /// Names and values of members of the metadata; a key must have all of them.
    pub metadata: Vec<(String, String)>,
    /// Where the keys come from: [`ISSUED`], `file`, `import`, or more of the member, such as `import:kong`.
    pub source: Option<String>,
    /// A scope that the keys have, letter by letter.
    pub scope: Option<String>,
    /// Keys that have not been used for this long, and are at least this old.
    pub unused_for_s: Option<u64>,
    pub never_expires: Option<bool>,
    /// Whether the secret before the newest one still works.
    pub has_previous: Option<bool>,
    /// Whether another system made the secret.
    pub weak: Option<bool>,
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
    if filter.has_previous.is_some() && !app.index.is_complete() {
        return Err(Error::Unavailable(refusals::keys::loading()));
    }
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
            let directory = app.index.directory();
            let (shared, facts) = (SharedPart::of(&key), Facts::of(app, &key));
            let common = condition.common(&directory, &shared);
            let listed = key.deleted_at.is_some() == deleted
                && common.is_some_and(|hits| condition.fits(&facts, hits))
                && caller.may(&directory, Permission::KeysRead, key.workspace, key.owner);
            drop(directory);
            if !listed {
                return Ok(None);
            }
            let mut view = with_names(app, key, Usage::default());
            if filter.state.is_some_and(|state| state != view.state) {
                return Ok(None);
            }
            view.usage = usage(app, read, id)?;
            view.previous = previous(app, read, &view.key, &view.usage)?;
            let used = view.usage.last_used_at;
            Ok(Some(view).filter(|_| condition.is_unused(used)))
        };
        let (items, next) = paging::page(&sources, after, limit, ids, look)?;
        let next = next.map(|id| cursor::seal(&app.sealing, id)).transpose()?;
        Ok(Page { items, next })
    })
}

/// Whether a key comes from a source, or from one below it.
fn is_from(source: &str, wanted: &str) -> bool {
    if wanted == ISSUED {
        return source.is_empty();
    }
    let rest = source.strip_prefix(wanted);
    !wanted.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
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

/// A [`Filter`] with its names resolved for one caller. The state and the last use are compared where they are known.
struct Condition<'a> {
    filter: &'a Filter,
    /// The key is in this workspace or below it.
    top: Uid,
    owner: Option<Uid>,
    /// In the form of the store.
    created_by: Option<String>,
    search: Search,
    /// The key expires after the first time, and before the second.
    expires: Option<(Timestamp, Timestamp)>,
    /// The key was neither issued nor used since.
    unused_since: Option<Timestamp>,
    metadata: &'a [(String, String)],
    now: Timestamp,
}

/// What a [`Condition`] compares of a single key, which is in the store or in the index.
struct Facts<'a> {
    id: KeyId,
    name: &'a str,
    /// `None` for a key of the index, which builds it.
    hint: Option<&'a str>,
    live: Option<&'a Live>,
    description: &'a str,
    contact: &'a str,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
    metadata: &'a str,
    weak: bool,
    has_previous: bool,
}

impl<'a> Facts<'a> {
    fn of(app: &App, key: &'a Key) -> Facts<'a> {
        let now = app.now().wall;
        let has_previous = |live: &Live| live.has_previous(now);
        Facts {
            id: key.id,
            name: &key.name,
            hint: Some(&key.hint),
            live: None,
            description: &key.description,
            contact: &key.contact,
            expires_at: key.expires_at,
            created_at: key.created_at,
            metadata: &key.metadata,
            weak: key.weak,
            has_previous: app.index.with_key(key.id, has_previous).unwrap_or(false),
        }
    }

    fn of_live(key: &'a Live, now: Timestamp) -> Facts<'a> {
        Facts {
            id: key.id,
            name: &key.name,
            hint: None,
            live: Some(key),
            description: key.texts(),
            contact: "",
            expires_at: key.ends_at(),
            created_at: Timestamp(i64::from(key.created_s) * 1000),
            metadata: key.metadata(),
            weak: key.secret.is_foreign,
            has_previous: key.has_previous(now),
        }
    }

    fn hint(&self) -> String {
        let built = || self.live.map(Live::hint).unwrap_or_default();
        self.hint.map_or_else(built, str::to_owned)
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
        let ago = |seconds: u64| {
            let ms = i64::try_from(seconds)
                .unwrap_or(i64::MAX)
                .saturating_mul(1000);
            Timestamp(now.0.saturating_sub(ms))
        };
        Ok(Condition {
            filter,
            top,
            owner: filter.owner.as_ref().map(owner).transpose()?,
            created_by: filter.created_by.as_deref().map(actor).transpose()?,
            search: query.map(Search::parse).transpose()?.unwrap_or_default(),
            expires: filter
                .expiring_within_s
                .map(|seconds| (now, now.plus_s(seconds))),
            unused_since: filter.unused_for_s.map(ago),
            metadata: &filter.metadata,
            now,
        })
    }

    /// Whether keys with this shared part can be listed, and which words of the search they have.
    fn common(&self, directory: &Directory, shared: &SharedPart) -> Option<Hits> {
        let filter = self.filter;
        let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|it| it == has);
        let fits = is(&filter.policy, &shared.policy)
            && is(&self.created_by, &shared.created_by)
            && self.owner.is_none_or(|owner| shared.owner == Some(owner))
            && directory.reaches(self.top, shared.workspace)
            && filter
                .scope
                .as_ref()
                .is_none_or(|scope| shared.scopes.iter().any(|has| **has == **scope))
            && filter
                .source
                .as_ref()
                .is_none_or(|source| is_from(&shared.source, source));
        fits.then(|| self.search.shared(directory, shared))
    }

    /// Whether a key is listed whose shared part is.
    fn fits(&self, key: &Facts<'_>, hits: Hits) -> bool {
        let expires = |(now, until)| key.expires_at.is_some_and(|end| end > now && end < until);
        let is = |wanted: Option<bool>, has: bool| wanted.is_none_or(|wanted| wanted == has);
        self.expires.is_none_or(expires)
            && is(self.filter.never_expires, key.expires_at.is_none())
            && is(self.filter.has_previous, key.has_previous)
            && is(self.filter.weak, key.weak)
            && self.unused_since.is_none_or(|since| key.created_at < since)
            && (self.metadata.is_empty() || {
                let members = metadata::members(key.metadata);
                self.metadata.iter().all(|wanted| members.contains(wanted))
            })
            && self.search.fits(
                hits,
                &Texts {
                    id: key.id,
                    name: key.name,
                    hint: || key.hint(),
                    description: key.description,
                    contact: key.contact,
                    metadata: key.metadata,
                },
            )
    }

    /// Whether a key that was last used at this time counts as unused, if only such keys are listed.
    fn is_unused(&self, last_used_at: Option<Timestamp>) -> bool {
        self.unused_since
            .is_none_or(|since| last_used_at.is_none_or(|used| used < since))
    }
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

#[cfg(test)]
mod tests;
