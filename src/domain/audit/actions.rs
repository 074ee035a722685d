//! Every action that an event can name.

/// The database is left, because its content goes to another place. If this is the newest event, the database is not used.
pub const LEAVE: &str = "server.move";
/// The content of a database begins to be used at another place.
pub const ARRIVE: &str = "server.arrive";

/// All actions, in the order in which lists offer them: by noun, and within a noun by the life of the thing.
pub const ALL: &[&str] = &[
    "key.issue",
    "key.edit",
    "key.rotate",
    "key.rotation_complete",
    "key.disable",
    "key.enable",
    "key.reveal",
    "key.replace",
    "key.revoke",
    "key.delete",
    "key.import",
    "key.export",
    "key.release",
    "key.tampered",
    "key.accept",
    "key.tripped",
    "key.old_secret_tried",
    "key.leaked",
    "session.create",
    "session.refresh",
    "session.reuse",
    "session.delete",
    "session.tampered",
    "session.accept",
    "user.create",
    "user.set_up",
    "user.edit",
    "user.roles",
    "user.password",
    "user.authenticator_add",
    "user.authenticator_edit",
    "user.authenticator_delete",
    "user.recovery_codes_create",
    "user.recovery_code_use",
    "user.recovery_codes_delete",
    "user.lock",
    "user.unlock",
    "user.preferences",
    "user.delete",
    "user.tampered",
    "user.accept",
    "workspace.create",
    "workspace.edit",
    "workspace.delete",
    "workspace.tampered",
    "workspace.accept",
    "policy.create",
    "policy.edit",
    "policy.page",
    "policy.delete",
    "policy.install",
    "policy.release",
    "policy.tampered",
    "policy.accept",
    "catalog.put",
    "catalog.delete",
    "catalog.install",
    "catalog.release",
    "catalog.tampered",
    "catalog.accept",
    "site.add",
    "site.edit",
    "site.pack",
    "site.report",
    "site.revocations",
    "site.rotate_key",
    "site.remove",
    "site.tampered",
    "site.accept",
    "site.init",
    "site.apply",
    "site.step",
    "site.revoke",
    "site.disable",
    "site.rotation_complete",
    "site.uses_taken",
    "site.fork",
    "site.reset",
    "site.reset_date",
    "site.trust_key",
    "audit.export",
    "audit.prune",
    "backup.create",
    "backup.check",
    "backup.move",
    "secrets.backup",
    "secrets.rotate",
    "secrets.retire",
    "secrets.upgrade",
    "clock.accept",
    "server.init",
    "server.fill",
    "server.migrate",
    "server.apply_files",
    "server.restore",
    LEAVE,
    ARRIVE,
    "server.close_older_copy",
    "server.forget_node",
    "server.support_bundle",
    "server.check_connection",
    "server.read",
    "server.accept",
];

/// The nouns of the actions, each once, in the order of the list.
pub fn nouns() -> Vec<&'static str> {
    let mut nouns: Vec<&str> = ALL.iter().map(|action| noun(action)).collect();
    nouns.dedup();
    nouns
}

/// The noun of an action: `key` of `key.rotate`.
pub fn noun(action: &str) -> &str {
    action.split('.').next().unwrap_or(action)
}

/// Whether the text is an action, or the noun of some.
pub fn is_known(text: &str) -> bool {
    ALL.contains(&text) || ALL.iter().any(|action| noun(action) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_noun_is_one_group() {
        let mut sorted = nouns();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), nouns().len());
        assert!(is_known("key.issue") && is_known("key"));
        assert!(!is_known("key.") && !is_known("issue") && !is_known(""));
    }
}
