//! What the audit log keeps of a key: what an edit changed, and what a new key is.

use super::Key;
use crate::domain::audit::Changes;
use crate::domain::policy::STANDARD;

/// What differs between two states of a key.
pub fn between(before: &Key, after: &Key) -> Changes {
    let mut changes = Changes::default();
    let rate = |key: &Key| {
        key.rate_limit
            .map(|rate| format!("{} in {} s", rate.limit, rate.window_s))
    };
    changes.note("name", &before.name, &after.name);
    changes.note("description", &before.description, &after.description);
    changes.note("scopes", &before.scopes.join(" "), &after.scopes.join(" "));
    changes.note("read_only", &before.read_only, &after.read_only);
    changes.note("enabled", &before.enabled, &after.enabled);
    changes.note_option("not_before", &before.not_before, &after.not_before);
    changes.note_option("expires_at", &before.expires_at, &after.expires_at);
    changes.note_option("allowed_ips", &before.allowed_ips, &after.allowed_ips);
    changes.note_option("rate_limit", &rate(before), &rate(after));
    changes.note("metadata", &before.metadata, &after.metadata);
    changes
}

/// What a new key is: every member that is not the default.
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
