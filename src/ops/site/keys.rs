//! The keys of a site as a page of this machine shows them: from the index, because the tables of a site have none. Nothing
//! here changes, spends or counts anything.

use crate::authz::caller::Caller;
use crate::domain::keys::live::Live;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::secret::Presented;
use crate::domain::keys::{KeyId, State};
use crate::domain::policies::TiedTo;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::App;
use crate::ops::keys::list::Filter;
use crate::ops::keys::list::order::{Column, Sort};
use crate::ops::keys::list::sorted;
use crate::ops::verify::trial::{self, About, Request, Trial};
use crate::ops::verify::{Fit, fit};
use crate::store::site::{self as rows, EndedKey};
use std::ops::Range;

/// A key of this site.
#[derive(Clone, Debug)]
pub struct SiteKey {
    pub id: KeyId,
    /// Empty if the packs have no names.
    pub name: String,
    pub hint: String,
    pub workspace: String,
    pub owner: Option<String>,
    pub policy: String,
    pub catalog: Option<String>,
    pub scopes: Vec<String>,
    pub read_only: bool,
    pub state: State,
    pub starts_at: Option<Timestamp>,
    pub ends_at: Option<Timestamp>,
    /// Empty if every address will do.
    pub addresses: Vec<String>,
    pub rate_limit: Option<RateLimit>,
    /// Whether the secret before the newest one still works.
    pub has_previous: bool,
}

/// A page of the matches.
#[derive(Debug)]
pub struct Found {
    pub items: Vec<SiteKey>,
    /// The number of matches on all pages.
    pub total: usize,
}

/// What this site knows about a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Known {
    /// It is no secret of Latchkey, or not a whole one.
    Malformed,
    /// No key here has the id in it.
    NoKey,
    /// A key here has the id in it.
    Key(KeyId, Fit),
}

/// The keys at these positions of all that a search finds, by name.
pub fn list(app: &App, query: &str, range: Range<usize>) -> Result<Found> {
    let filter = Filter {
        query: Some(query.to_owned()).filter(|query| !query.is_empty()),
        ..Filter::default()
    };
    let caller = Caller::system(&app.index.directory())?;
    let (ids, total) = sorted::list_ids(app, &caller, &filter, Sort::by(Column::Name), range)?;
    let items = ids.iter().filter_map(|id| find(app, *id)).collect();
    Ok(Found { items, total })
}

/// One key.
pub fn find(app: &App, id: KeyId) -> Option<SiteKey> {
    let (directory, now) = (app.index.directory(), app.now().wall);
    app.index.with_key(id, |key| view(&directory, key, now))
}

/// When and why the key has ended here, if it has.
pub fn ended(app: &App, id: KeyId) -> Result<Option<EndedKey>> {
    app.read(|read| rows::find_ended(read, id))
}

/// What this site knows about a secret. It is only compared.
pub fn identify(app: &App, text: &str) -> Known {
    let Some(presented) = Presented::parse(text.trim()) else {
        return Known::Malformed;
    };
    match fit(app, presented) {
        None => Known::NoKey,
        Some(fit) => Known::Key(presented.id, fit),
    }
}

/// The verdict that a request with the newest secret of a key would get now, if the pack counts.
pub fn try_key(app: &App, id: KeyId, request: &Request) -> Result<Trial> {
    let key = find(app, id).ok_or(Error::NotFound("key"))?;
    let caller = Caller::system(&app.index.directory())?;
    let about = About {
        catalog: key.catalog.as_deref(),
        owner: key.owner.as_deref(),
        uses_left: None,
        workspace: &key.workspace,
    };
    trial::try_known(app, &caller, id, &about, request)
}

fn view(directory: &Directory, key: &Live, now: Timestamp) -> SiteKey {
    let shared = &key.shared;
    let place = directory.place(shared.workspace);
    let policy = directory.policy(&shared.policy);
    let owner = shared.owner.and_then(|owner| directory.user(owner));
    let is_tied = policy.is_some_and(|policy| policy.tied_to != TiedTo::Workspace);
    let owner_active = shared.owner.is_none() || !is_tied || owner.is_some_and(|it| it.is_active());
    let optional = key.optional.as_ref();
    let addresses = optional.and_then(|optional| optional.addresses.as_ref());
    SiteKey {
        id: key.id,
        name: key.name.to_string(),
        hint: key.hint(),
        workspace: place.map_or_else(
            || shared.workspace.to_string(),
            |place| place.workspace.slug.clone(),
        ),
        owner: owner
            .map(|owner| owner.user_name.clone())
            .filter(|name| !name.is_empty()),
        policy: shared.policy.to_string(),
        catalog: shared.catalog.as_deref().map(str::to_owned),
        scopes: shared.scopes.iter().map(ToString::to_string).collect(),
        read_only: shared.read_only,
        state: match key.state(owner_active, place.is_some_and(|place| place.active), now) {
            State::Active if policy.is_none() => State::Disabled,
            state => state,
        },
        starts_at: key.starts_at(),
        ends_at: key.ends_at(),
        addresses: addresses.map_or_else(Vec::new, |list| {
            list.to_string().split(' ').map(str::to_owned).collect()
        }),
        rate_limit: optional.and_then(|optional| optional.rate_limit),
        has_previous: key.has_previous(now),
    }
}
