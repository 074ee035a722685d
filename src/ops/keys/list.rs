//! Lists of keys: filtered, in pages, each caller seeing his own part.

use super::{View, usage, with_names};
use crate::domain::key::{KeyId, State};
use crate::domain::people::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::access::Caller;
use crate::store::keys::{self, Filter};

/// Rows that are read at a time while looking for those that fit.
const BATCH: u32 = 500;
/// Characters of a search text.
const QUERY_CHARS_MAX: usize = 100;

/// What a caller asks for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Slug or uid; keys below it are listed too.
    pub workspace: Option<String>,
    pub policy: Option<String>,
    /// User name or uid.
    pub owner: Option<String>,
    /// Without one, all but deleted keys are listed.
    pub state: Option<State>,
    /// Part of a name, an id or a hint.
    pub query: Option<String>,
    pub expiring_within_s: Option<u64>,
    pub after: Option<KeyId>,
    pub limit: usize,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    pub items: Vec<View>,
    /// Where the next page begins.
    pub next: Option<KeyId>,
}

/// Lists the keys that the caller may read, in the order of their ids.
pub fn list(app: &App, caller: &Caller, wanted: &Wanted) -> Result<Page> {
    caller.require_somewhere(Permission::KeysRead)?;
    let mut filter = filter(app, caller, wanted)?;
    let now = app.now().wall;
    app.read(|read| {
        let mut items = Vec::new();
        loop {
            let rows = keys::list(read, &filter, BATCH)?;
            let exhausted = rows.len() < BATCH as usize;
            for key in rows {
                filter.after = Some(key.id);
                if !caller.may(
                    &app.index.directory(),
                    Permission::KeysRead,
                    key.workspace,
                    key.owner,
                ) {
                    continue;
                }
                let usage = usage(app, read, key.id)?;
                let view = with_names(app, key, usage);
                let expiring = wanted.expiring_within_s.is_none()
                    || view.key.expires_at.is_some_and(|end| end > now);
                if wanted.state.is_some_and(|state| state != view.state) || !expiring {
                    continue;
                }
                if items.len() == wanted.limit {
                    let next = items.last().map(|view: &View| view.key.id);
                    return Ok(Page { items, next });
                }
                items.push(view);
            }
            if exhausted {
                return Ok(Page { items, next: None });
            }
        }
    })
}

fn filter(app: &App, caller: &Caller, wanted: &Wanted) -> Result<Filter> {
    let directory = app.index.directory();
    let top = match &wanted.workspace {
        None => caller.reach,
        Some(asked) => {
            let place = directory
                .find_place(asked)
                .filter(|place| caller.knows(&directory, place.workspace.uid));
            place
                .ok_or_else(|| Error::invalid("workspace", "there is no such workspace"))?
                .workspace
                .uid
        }
    };
    let everywhere = directory
        .root()
        .is_some_and(|root| root.workspace.uid == top);
    let workspaces: Vec<String> = directory.subtree(top).map(|uid| uid.to_string()).collect();
    let owner = match &wanted.owner {
        None => None,
        Some(asked) => {
            let found = directory
                .find_user(&asked.to_ascii_lowercase())
                .filter(|user| {
                    caller.knows(&directory, user.home) || caller.user == Some(user.uid)
                });
            Some(
                found
                    .ok_or_else(|| Error::invalid("owner", "there is no such user"))?
                    .uid,
            )
        }
    };
    Ok(Filter {
        workspaces: (!everywhere).then(|| workspaces.join(" ")),
        policy: wanted.policy.clone(),
        owner,
        pattern: wanted.query.as_deref().map(pattern).transpose()?,
        expires_before: wanted
            .expiring_within_s
            .map(|seconds| app.now().wall.plus_s(seconds)),
        deleted: Some(wanted.state == Some(State::Deleted)),
        after: wanted.after,
        ..Filter::default()
    })
}

/// The text as a LIKE pattern in which nothing but our own `%` is a wildcard (attacks 187).
fn pattern(query: &str) -> Result<String> {
    if query.chars().count() > QUERY_CHARS_MAX {
        return Err(Error::invalid(
            "q",
            format!("must have at most {QUERY_CHARS_MAX} characters"),
        ));
    }
    let mut pattern = String::from("%");
    for c in query.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    Ok(pattern)
}
