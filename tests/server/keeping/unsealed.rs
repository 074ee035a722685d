//! The tables that have no seals.

/// Tables without seals, and why a changed row grants nothing there.
pub const UNSEALED: &[(&str, &str)] = &[
    (
        "audit_checkpoint",
        "has the HMAC of the audit log's beginning; doctor and restore compare it",
    ),
    (
        "audit_events",
        "a chain of hashes; doctor and restore walk it",
    ),
    (
        "audit_head",
        "has the HMAC of the audit log's end; doctor and restore compare it",
    ),
    ("clock", "the time; it is judged in ops/clock.rs"),
    (
        "console_pages",
        "which policies have a page of their own in the console's navigation",
    ),
    (
        "declared_files",
        "which files were applied last; drift and doctor compare the keys themselves, and the keys are sealed",
    ),
    (
        "ended_digests",
        "digests that no file brings back; without a row, a key has the digest that its file declares",
    ),
    (
        "idempotency_keys",
        "its request is sealed; what it names is shown to whoever may see that anyway",
    ),
    (
        "key_metadata",
        "an index of keys.metadata, which is sealed; a list shows what the row of the key has",
    ),
    (
        "closing_nodes",
        "which nodes still have to close an older copy; a row prevents changes, and without one other nodes begin earlier",
    ),
    (
        "imported_digests",
        "which digests an import or a file does not take again; it opens nothing by itself",
    ),
    (
        "key_alarms",
        "what tripwires have found; a key that they have disabled is sealed in that state",
    ),
    ("key_usage", "counters that nothing is decided by"),
    (
        "node_leases",
        "which nodes use a database on a server; a row makes the shares of limits smaller, and opens nothing",
    ),
    (
        "nodes",
        "which folders have opened the database, and how often; it only keeps usage from being counted twice",
    ),
    (
        "spent_challenges",
        "which first steps of sign-ins were used; a second one needs a code that was not used all the same",
    ),
    (
        "usage_flush",
        "which batches of usage are written; usage decides nothing",
    ),
    (
        "notice_cursors",
        "how far the readers of notices are; a notice comes twice, or not at all",
    ),
    (
        "notice_reads",
        "which notices a user has seen in the console",
    ),
    (
        "notices",
        "what was found; the audit log has what it was found in",
    ),
    ("numbers", "the file of tombstones says the same"),
    (
        "older_copy",
        "the time from which changes count as unknown to an older copy; each node still ends what it knows to have ended",
    ),
    (
        "pack_server",
        "what sites know this server by; they refuse a pack with another name, uid or an older reign",
    ),
    (
        "pack_signing_keys",
        "the secret half is encrypted and authenticated; sites refuse a key that no older one has introduced",
    ),
    (
        "packs",
        "which packs were made; sites compare the numbers in what is signed",
    ),
    (
        "peppers",
        "fingerprints; the server does not start unless they fit the pepper",
    ),
    (
        "retired_secrets",
        "the starts of digests that have ended; they open nothing, and are compared to raise an alarm",
    ),
    (
        "retired_names",
        "names that most callers cannot take; a row opens nothing by itself",
    ),
    (
        "seal_keys",
        "fingerprints; the server does not start unless they fit the seal key",
    ),
    (
        "sealing_keys",
        "fingerprints; the server does not start unless they fit the sealing key",
    ),
    (
        "exact_windows",
        "who changes them gains requests, and opens nothing",
    ),
    (
        "setup_codes",
        "seals themselves, under the seal key, of codes that end with the first password",
    ),
    (
        "shared_attempts",
        "attempts to sign in of the last day; who changes them gains guesses, and opens nothing",
    ),
    (
        "sign_in_failures",
        "counts of failed attempts; who changes them gains guesses, and opens nothing",
    ),
    (
        "sign_in_networks",
        "where a locked user still signs in with the password, which it takes all the same",
    ),
    (
        "site_ended",
        "at a site: what has ended there besides what its packs say, which are signed",
    ),
    (
        "site_ended_digests",
        "at a site: what packs have ended, for the case that their server is restored",
    ),
    (
        "site_ended_secrets",
        "at a site: secrets that have ended by lists of the server; a row only takes away",
    ),
    (
        "site_points",
        "what packs included; a site that knows of something else does not take the next pack",
    ),
    (
        "site_links",
        "how long a server that is started again waits for sites that were linked; no verdict depends on it",
    ),
    (
        "site_spent",
        "at a site: uses of counted keys, as those of a server since its last change",
    ),
    (
        "site_state",
        "encrypted and authenticated as a whole; a site with another one does not start",
    ),
    (
        "site_usage",
        "what sites have reported; counters that nothing is decided by",
    ),
    (
        "site_uses",
        "at a site: counters that nothing is decided by",
    ),
    (
        "site_verdicts",
        "at a site: counters that nothing is decided by",
    ),
    (
        "user_preferences",
        "how users want their pages to look; nothing is decided by it",
    ),
    (
        "user_sign_ins",
        "when users last signed in; it is shown, and nothing is decided by it",
    ),
    ("usage_hours", "counters that nothing is decided by"),
    ("usage_totals", "counters that nothing is decided by"),
];
