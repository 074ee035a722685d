//! The pages of keys: list, creation, details and changes.

pub mod change;
pub mod create;
pub mod detail;
pub mod edit;
pub mod facts;
pub mod fields;
pub mod import;
pub mod labels;
pub mod list;
pub mod secret;
mod snippets;
pub mod trial;

use super::MOUNT;
use super::auth::Visit;
use super::layout::moment::LastDay;
use super::text::Texts;
use crate::dialects::console::sections;
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::{KeyId, State};
use crate::error::{Error, Result};
use crate::http::route::Call;
use crate::ops::keys::View;

/// A state as pages display it.
pub struct Badge {
    pub class: &'static str,
    pub label: &'static str,
}

/// The appearance of each state.
pub fn badge(texts: &Texts, state: State) -> Badge {
    let (class, name) = match state {
        State::Active => ("badge-good", "state.active"),
        State::Deleted => ("badge-bad", "state.deleted"),
        State::Disabled => ("", "state.disabled"),
        State::Expired => ("badge-bad", "state.expired"),
        State::NotYetValid => ("badge-warn", "state.not_yet_valid"),
        State::OwnerDisabled => ("badge-warn", "state.owner_disabled"),
        State::WorkspaceDisabled => ("badge-warn", "state.workspace_disabled"),
    };
    Badge {
        class,
        label: texts.get(name),
    }
}

/// The address of a key's page.
pub fn address(id: KeyId) -> String {
    format!("{MOUNT}/keys/{id}")
}

/// The key id in the path.
pub fn id(call: &Call<'_>) -> Result<KeyId> {
    KeyId::parse(call.param("id")).ok_or(Error::NotFound("key"))
}

/// Whether this is a management key of this server: extending what it can do requires the password again (attacks 186).
fn opens_this_server(view: &View) -> bool {
    view.key.catalog.as_deref() == Some(BUILT_IN)
}

/// The address of the list that contains keys of this policy.
pub fn list_address(policy: &str) -> String {
    match sections::of(policy) {
        Some(_) => format!("{MOUNT}/keys?policy={policy}"),
        None => format!("{MOUNT}/keys"),
    }
}

/// The end of a key, and whether it is soon.
pub struct End {
    pub last: LastDay,
    pub soon: bool,
}

/// The pages warn about the end of a key from this many seconds before it: 14 days.
pub const SOON_S: u64 = 14 * 86_400;

/// The end of a key, if it has one.
pub fn end(visit: &Visit<'_>, view: &View) -> Option<End> {
    let now = visit.call.app.now().wall;
    view.key.expires_at.map(|end| End {
        last: LastDay::new(visit.texts, end, now),
        soon: end > now && end <= now.plus_s(SOON_S),
    })
}
