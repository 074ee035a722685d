//! The changes of a key for the audit log: those of an edit, and the initial values of a new key.

use super::Key;
use crate::domain::audit::Changes;
use crate::domain::policies::{Field, STANDARD, word};

/// The differences between two states of a key.
pub fn between(before: &Key, after: &Key) -> Changes {
    let mut changes = Changes::default();
    let rate = |key: &Key| {
        key.rate_limit
            .map(|rate| format!("{} in {} s", rate.limit, rate.window_s))
    };
    changes.note("enabled", &before.enabled, &after.enabled);
    for field in Field::all() {
        let (name, b, a) = (word(field), before, after);
        match field {
            Field::AllowedIps => changes.note_option(name, &b.allowed_ips, &a.allowed_ips),
            Field::Description => changes.note(name, &b.description, &a.description),
            Field::ExpiresAt => changes.note_option(name, &b.expires_at, &a.expires_at),
            Field::Metadata => changes.note(name, &b.metadata, &a.metadata),
            Field::Name => changes.note(name, &b.name, &a.name),
            Field::NotBefore => changes.note_option(name, &b.not_before, &a.not_before),
            Field::Owner => changes.note_option(name, &b.owner, &a.owner),
            Field::RateLimit => changes.note_option(name, &rate(b), &rate(a)),
            Field::ReadOnly => changes.note(name, &b.read_only, &a.read_only),
            Field::Scopes => changes.note(name, &b.scopes.join(" "), &a.scopes.join(" ")),
            // The remaining uses are not in the row of the key. The code that sets them records them.
            Field::UsesLeft => {}
        }
    }
    changes
}

/// The initial values of a new key: every member that does not have its default.
pub fn born(key: &Key) -> Changes {
    let nothing = Key {
        name: String::new(),
        description: String::new(),
        scopes: Vec::new(),
        read_only: false,
        enabled: true,
        not_before: None,
        expires_at: None,
        allowed_ips: None,
        rate_limit: None,
        metadata: NO_METADATA.to_owned(),
        ..key.clone()
    };
    let mut changes = between(&nothing, key);
    changes.note("policy", &STANDARD.to_owned(), &key.policy);
    changes.note_option("owner", &None, &key.owner);
    changes.note_option("catalog", &None, &key.catalog);
    changes.note_option("uses_left", &None, &key.uses_left);
    changes
}

/// The metadata of a key that has none.
pub const NO_METADATA: &str = "{}";
