//! How SQLite runs the statements of this layer: no statement scans a whole table that may be large, except where
//! this is intended.

use super::super::statements::all;
use super::{in_memory, plan};
use crate::domain::audit::{Kind, Target};

/// Tables that stay small for any number of keys, and names in query plans that are not tables.
const SMALL: &[&str] = &[
    "CONSTANT",
    "authenticators",
    "catalogs",
    "clock",
    "closing_nodes",
    "declared_files",
    "latest",
    "node_leases",
    "notices",
    "numbers",
    "older_copy",
    "pack_server",
    "pack_signing_keys",
    "peppers",
    "policies",
    "recovery_codes",
    "refresh_tokens",
    "role_bindings",
    "seal_keys",
    "sealing_keys",
    "sessions",
    "setup_codes",
    "sign_in_failures",
    "sign_in_networks",
    "site_links",
    "sites",
    "sqlite_master",
    "sqlite_schema",
    "user_sign_ins",
    "users",
    "workspaces",
];

/// Beginnings of statements that read all rows on purpose: the chain is verified, `doctor` searches for an event, a
/// restore withdraws remaining uses, a correction of the clock searches for rows with wrong times, and what is under a
/// version of a key file is counted.
const MEANT: &[&str] = &[
    "SELECT seq, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome, reason, changes, previous FROM audit_events ORDER BY seq",
    "SELECT EXISTS (SELECT 1 FROM audit_events WHERE action = 'server.fill') AS filled",
    "SELECT seq, target_id FROM audit_events WHERE action = $1 ORDER BY seq",
    "SELECT id, name, workspace_uid, created_at, not_before, expires_at, enabled FROM keys WHERE created_at > $1 AND deleted_at IS NULL",
    "SELECT id, name, workspace_uid, created_at, not_before, expires_at, enabled FROM keys WHERE not_before > $1 AND not_before <= $2 AND deleted_at IS NULL",
    "INSERT INTO usage_hours (key_id, hour, code, count) SELECT key_id, $1, code, sum(count) FROM usage_hours WHERE hour > $1 GROUP BY key_id, code ON CONFLICT (key_id, hour, code) DO UPDATE SET count = usage_hours.count + excluded.count",
    "SELECT secrets.key_id, keys.workspace_uid, keys.rotated_at, secrets.expires_at FROM secrets JOIN keys ON keys.id = secrets.key_id WHERE secrets.expires_at > $1",
    "SELECT key_id FROM key_uses WHERE uses_left > 0",
    "SELECT pepper AS version, count(*) AS count, max(last_used_at) AS last_used_at FROM secrets LEFT JOIN key_usage ON key_usage.key_id = secrets.key_id WHERE scheme = 1 AND (expires_at IS NULL OR expires_at > $1) GROUP BY pepper",
    "SELECT scheme, hmac_key, count(*) AS count, max(last_used_at) AS last_used_at FROM secrets LEFT JOIN key_usage ON key_usage.key_id = secrets.key_id WHERE scheme <> 1 GROUP BY scheme, hmac_key ORDER BY scheme, hmac_key",
    "SELECT sealing_key AS version, count(*) AS count, NULL AS last_used_at FROM secrets WHERE sealing_key IS NOT NULL GROUP BY sealing_key",
    "SELECT (SELECT count(*) FROM keys) + (SELECT count(*) FROM row_seals) + (SELECT count(*) FROM sessions) + (SELECT count(*) FROM refresh_tokens) + (SELECT count(*) FROM audit_head) + (SELECT count(*) FROM audit_checkpoint) AS count",
    "SELECT key_id AS holder FROM secrets WHERE sealing_key = $1 UNION SELECT user_name FROM authenticators JOIN users ON users.uid = user_uid WHERE sealing_key = $1 UNION SELECT 'site ' || name FROM sites WHERE sealing_key = $1 UNION SELECT 'signing key ' || version FROM pack_signing_keys WHERE sealing_key = $1 ORDER BY holder LIMIT $2",
    "SELECT kind, id FROM row_seals",
    "SELECT count(*) AS count FROM imported_digests WHERE seal_key = $1",
    "DELETE FROM imported_digests WHERE seal_key = $1",
    // When files are compared with the store: a row for each rotation of a key of theirs.
    "SELECT digest, key_id, ended_at FROM ended_digests",
    // At most once a day.
    "SELECT id, workspace_uid, policy, coalesce(last_used_at, created_at) AS at FROM keys LEFT JOIN key_usage ON key_usage.key_id = keys.id WHERE coalesce(last_used_at, created_at) > $1 AND coalesce(last_used_at, created_at) <= $2 AND deleted_at IS NULL AND enabled = 1 AND (expires_at IS NULL OR expires_at > $3) AND policy NOT IN (SELECT name FROM policies WHERE decoy = 1) ORDER BY at, id",
    // Once at each start, as many as fit into memory.
    "SELECT key_id, digest, pepper, after_use FROM retired_secrets ORDER BY retired_at DESC LIMIT $1",
    // Once at each start, in the index of these secrets alone.
    "SELECT DISTINCT scheme, pepper, hmac_key FROM secrets WHERE is_foreign = 1",
    // One row, in the order of an index. And with other old rows; attempts are kept for a short time.
    "SELECT changed FROM shared_attempts ORDER BY changed DESC LIMIT 1",
    "DELETE FROM shared_attempts WHERE at < $1",
    // When a pack is made, which reads all keys anyway.
    "SELECT id, workspace_uid, catalog FROM key_uses JOIN keys ON keys.id = key_id WHERE deleted_at IS NULL AND uses_left > 0 ORDER BY id",
    // When a migration seals them, and when it is asked what stands under which version of the seal key.
    "SELECT DISTINCT site FROM site_lent",
    "SELECT site, key_id, lent, spent, epoch, site_lent.seal AS seal, lent_life FROM site_lent JOIN sites ON name = site",
    // At a site, whose lists are read at each start and with each pack or report.
    "SELECT key_id, reason, ended_at, events FROM site_ended ORDER BY key_id",
    "DELETE FROM site_ended WHERE reason = 'revoked' AND events <= $1",
    "UPDATE site_ended SET reason = 'fork' WHERE reason = 'revoked'",
    "UPDATE site_ended_digests SET stays = 1 WHERE stays = 0",
    "SELECT digest, key_id FROM site_ended_digests WHERE stays = $1 ORDER BY digest",
    "SELECT key_id, start FROM site_ended_secrets ORDER BY key_id, start",
    "UPDATE site_ended_secrets SET events = NULL",
    "DELETE FROM site_ended_secrets WHERE events <= $1",
    "SELECT key_id, spent FROM site_spent ORDER BY key_id",
    "SELECT key_id, uses, refusals, last_used_at FROM site_uses ORDER BY key_id",
    "SELECT code, count FROM site_verdicts ORDER BY code",
];

#[test]
fn no_statement_goes_through_all_keys_or_events_unless_meant() {
    let read = in_memory().unwrap();
    let mut wrong = Vec::new();
    let mut meant = MEANT.to_vec();
    for (file, sql) in all() {
        let scans = plan(&read, &sql).into_iter().any(|step| {
            let table = step
                .strip_prefix("SCAN ")
                .and_then(|rest| rest.split(' ').next());
            table.is_some_and(|table| !SMALL.contains(&table))
        });
        if scans && MEANT.contains(&sql.as_str()) {
            meant.retain(|known| *known != sql);
        } else if scans {
            wrong.push(format!("{file}: {sql}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(meant.is_empty(), "no longer there: {meant:#?}");
}

/// Planning a statement takes longer than finding a row.
#[test]
fn statements_are_planned_once_whatever_the_values() {
    let read = in_memory().unwrap();
    for (file, sql) in all() {
        if !sql.starts_with("SELECT") {
            continue;
        }
        let mut statement = read.sqlite().unwrap().connection.prepare(&sql).unwrap();
        for value in 1..4 {
            let params = vec![value; statement.parameter_count()];
            let mut rows = statement.query(rusqlite::params_from_iter(params)).unwrap();
            while rows.next().unwrap().is_some() {}
        }
        let anew = statement.get_status(rusqlite::StatementStatus::RePrepare);
        assert_eq!(anew, 0, "{file}: {sql}");
    }
}

#[test]
fn what_is_changed_after_it_was_sealed_is_sealed_again() {
    let read = in_memory().unwrap();
    let tx = read.write();
    let target = |id: &str| Target::new(Kind::Key, id);
    let unsealed = || -> Vec<String> { read.unsealed().into_iter().map(|it| it.id).collect() };
    tx.touch(target("a"));
    tx.touch(target("b"));
    tx.touch_sealed(target("a"));
    tx.touch_sealed(target("c"));
    tx.touch(target("b"));
    assert_eq!(unsealed(), ["b"]);
    // Another change of the same transaction edits the new key, and is undone.
    let mark = tx.mark();
    tx.touch(target("c"));
    tx.touch_sealed(target("d"));
    assert_eq!(unsealed(), ["b", "c"]);
    tx.cut(&mark);
    assert_eq!(unsealed(), ["b"]);
    tx.touch(target("d"));
    assert_eq!(unsealed(), ["b", "d"]);
    assert_eq!(read.take_effects().touched.len(), 6);
    assert!(unsealed().is_empty());
}
