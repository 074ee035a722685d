//! The step from schema 2 to 3.

use super::{Keys, Step};
use crate::domain::audit::{Changes, Event, Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::seals::{self, bearers};
use crate::store::{Write, audit, keys};

pub const STEP: Step = Step {
    to: 3,
    sql: include_str!("to_3.sql"),
    sealed_before,
    sound_keys: |read, keys| seals::keys::list_fitting(read, keys, &KEYS_OF_2),
    act,
};

pub(super) const KEYS_OF_2: seals::keys::OlderRows = seals::keys::OlderRows {
    sql: "SELECT keys.id, number, name, description, workspace_uid, owner_uid, policy, catalog, scopes, read_only, enabled,
            not_before, keys.expires_at, allowed_ips, rate_limit, rate_window_s, metadata, created_by, keys.created_at,
            rotated_at, deleted_at, hint, self_rotated_from, uses_left,
            digest, pepper, secrets.created_at AS secret_created_at, secrets.expires_at AS secret_expires_at,
            until_first_use, sealed, sealing_key,
            keys.seal AS seal, key_uses.seal AS uses_seal, 0 AS epoch,
            (SELECT max(seq) FROM audit_events
             WHERE target_kind = 'key' AND target_id = keys.id AND outcome = 'allowed') AS newest
     FROM keys
     LEFT JOIN secrets ON secrets.key_id = keys.id
     LEFT JOIN key_uses ON key_uses.key_id = keys.id
     ORDER BY keys.id, digest",
    key_columns: 23,
    secret_columns: 7,
};

/// The columns of a session and of a refresh token of schema 2; the seal follows them.
const SESSION_COLUMNS_OF_2: usize = 15;
const REFRESH_TOKEN_COLUMNS_OF_2: usize = 13;

const SESSIONS_OF_2: &str =
    "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, authenticator, acting_uid,
            acting_generation, acting_family, used_at, source, agent, seal
     FROM sessions";

const REFRESH_TOKENS_OF_2: &str =
    "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, family, family_began_at,
            session_id, authenticator, used_at, seal
     FROM refresh_tokens";

fn act(tx: &Write<'_>, keys: &Keys<'_>, now: Timestamp) -> Result<()> {
    end_what_public_keys_began(tx, keys.former, now)?;
    list_metadata(tx)
}

/// Fills the table by which lists find keys by their metadata.
fn list_metadata(tx: &Write<'_>) -> Result<()> {
    let all = tx.query(
        "SELECT id, metadata FROM keys WHERE metadata <> '{}'",
        &[],
        |row| Ok((row.get::<KeyId>("id")?, row.get::<String>("metadata")?)),
    )?;
    for (id, metadata) in all {
        keys::insert_metadata(tx, id, &metadata)?;
    }
    Ok(())
}

/// Ends the sessions that an RSA key began, with their refresh tokens: the key's scopes and its read-only flag bounded
/// them, and nothing would bound them now. All other sessions and tokens that fit their seals are sealed again without
/// the column that named the key. Those that do not fit lose their seals, and the start ends them.
fn end_what_public_keys_began(tx: &Write<'_>, seal_keys: &SealKeys, now: Timestamp) -> Result<()> {
    let (mut sessions, mut tokens) = (Vec::new(), Vec::new());
    tx.each(SESSIONS_OF_2, &[], &mut |row| {
        let begun: Option<i64> = row.get("authenticator")?;
        if begun.is_none() && bearers::fits(seal_keys, bearers::SESSION, SESSION_COLUMNS_OF_2, row)?
        {
            sessions.push(row.get::<KeyId>("id")?);
        }
        Ok(())
    })?;
    tx.each(REFRESH_TOKENS_OF_2, &[], &mut |row| {
        let columns = REFRESH_TOKEN_COLUMNS_OF_2;
        let begun: Option<i64> = row.get("authenticator")?;
        if begun.is_none() && bearers::fits(seal_keys, bearers::REFRESH_TOKEN, columns, row)? {
            tokens.push(row.get::<KeyId>("id")?);
        }
        Ok(())
    })?;
    let ended = tx.query(
        "DELETE FROM sessions WHERE authenticator IS NOT NULL RETURNING id",
        &[],
        |row| row.get::<KeyId>("id"),
    )?;
    tx.execute(
        "DELETE FROM refresh_tokens WHERE authenticator IS NOT NULL",
        &[],
    )?;
    tx.execute("UPDATE sessions SET seal = NULL", &[])?;
    tx.execute("UPDATE refresh_tokens SET seal = NULL", &[])?;
    tx.batch(
        "ALTER TABLE sessions DROP COLUMN authenticator;
         ALTER TABLE refresh_tokens DROP COLUMN authenticator;",
    )?;
    for id in sessions {
        bearers::put_session(tx, seal_keys, id)?;
    }
    for id in tokens {
        bearers::put_refresh_token(tx, seal_keys, id)?;
    }
    let keys = tx.query(
        "SELECT number, user_uid FROM public_keys_of_2 ORDER BY number",
        &[],
        |row| Ok((row.get::<i64>("number")?, row.get::<String>("user_uid")?)),
    )?;
    tx.batch("DROP TABLE public_keys_of_2;")?;
    for (number, user) in keys {
        let mut changes = Changes::default();
        changes.note("number", &number.to_string(), &String::new());
        changes.note("kind", &"public_key".to_owned(), &String::new());
        let target = Target::new(Kind::User, user);
        let ended = event("user.authenticator_delete", target, changes, now);
        audit::append(tx, seal_keys, ended)?;
    }
    for id in ended {
        let target = Target::new(Kind::Session, id);
        let ended = event("session.delete", target, Changes::default(), now);
        audit::append(tx, seal_keys, ended)?;
    }
    Ok(())
}

fn event(action: &str, target: Target, changes: Changes, now: Timestamp) -> Event {
    Event {
        reason: "nobody signs in with an RSA key any more".to_owned(),
        changes: changes.into_json(),
        ..Event::of_system(action, target, now)
    }
}

/// The columns that schema 2 sealed.
fn sealed_before(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Catalog => &[
            "SELECT name, case_sensitive FROM catalogs WHERE name = $1",
            "SELECT position, name, label, implies, root_only FROM catalog_scopes WHERE catalog = $1 ORDER BY position",
            "SELECT position, id, method, path, host, writes, any_of
             FROM catalog_operations
             WHERE catalog = $1
             ORDER BY position",
        ],
        Kind::Policy => &[
            "SELECT name, description, issued_by, owner, catalog, scopes, headers, read_only_by, expiry, expiry_s_max,
                    expiry_months_max, addresses, keys_per_workspace_max, keys_per_owner_max, name_unique,
                    secret_shown, editable, can_disable, can_rotate, confirm_name, tied_to, rate_limit,
                    rate_window_s, prefix, acts_for_owner, self_rotation
             FROM policies
             WHERE name = $1",
            "SELECT role, scopes, read_only FROM policy_roles WHERE policy = $1 ORDER BY role",
        ],
        Kind::User => &[
            "SELECT uid, number, user_name, email, home_uid, password_digest, password_pepper, enabled, generation,
                    created_at, deleted_at
             FROM users
             WHERE uid = $1",
            "SELECT workspace_uid, role FROM role_bindings WHERE user_uid = $1 ORDER BY workspace_uid",
            "SELECT number, kind, description, scopes, read_only, enabled, created_at, deleted_at, public_key, sealed,
                    sealing_key, used_step
             FROM authenticators
             WHERE user_uid = $1
             ORDER BY number",
        ],
        Kind::Workspace => &[
            "SELECT uid, number, slug, name, parent_uid, enabled, created_at, updated_at, deleted_at
             FROM workspaces
             WHERE uid = $1",
        ],
        Kind::Key | Kind::Server | Kind::Session | Kind::Site => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::super::{STEPS, run};
    use super::*;
    use crate::domain::keys::keyfile::KeyFiles;
    use crate::store::{Read, authenticators, numbers, refresh_tokens, sessions, sqlite, users};
    use std::path::{Path, PathBuf};

    /// The sessions `ppppppppp1` and `ppppppppp2` began with a password, all others with a public key. For
    /// `ppppppppp3`, the column that shows this was emptied afterwards without Latchkey; `ppppppppp4` lost its
    /// `read_only` in the same way.
    const SESSIONS: &str = "
        INSERT INTO authenticators (number, user_uid, kind, description, scopes, read_only, enabled, created_at, public_key)
        SELECT 100, uid, 'public_key', 'Sync', 'rest', 1, 1, 1, x'01' FROM users WHERE user_name = 'alice';
        INSERT INTO authenticators (number, user_uid, kind, description, scopes, read_only, enabled, created_at, deleted_at)
        SELECT 101, uid, 'public_key', 'Old', 'rest', 0, 1, 1, 2 FROM users WHERE user_name = 'alice';
        INSERT INTO authenticators (number, user_uid, kind, description, scopes, read_only, enabled, created_at, sealed,
                                    sealing_key, used_step)
        SELECT 7, uid, 'one_time_code', 'Phone', 'rest', 0, 1, 1, zeroblob(48), 1, 5 FROM users WHERE user_name = 'alice';
        INSERT INTO sessions (id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, authenticator)
        SELECT id, zeroblob(32), 1, uid, 0, read_only, 1, 9000000000000000, authenticator
        FROM users JOIN (SELECT 'ppppppppp1' AS id, 0 AS read_only, NULL AS authenticator
                         UNION ALL SELECT 'ppppppppp2', 1, NULL UNION ALL SELECT 'ppppppppp3', 0, 100
                         UNION ALL SELECT 'ppppppppp4', 1, NULL UNION ALL SELECT 'kkkkkkkkk1', 0, 100)
        WHERE user_name = 'owner';
        INSERT INTO refresh_tokens (id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, family,
                                    family_began_at, session_id, authenticator)
        SELECT replace(replace(id, 'p', 'r'), 'k', 't'), digest, pepper, user_uid, generation, read_only, issued_at,
               expires_at, id, 1, id, authenticator
        FROM sessions";

    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema/2")
    }

    /// Seals the rows of [`SESSIONS`] as schema 2 did.
    fn seal(read: &Read, seal_keys: &SealKeys) {
        let mut sealed = Vec::new();
        for (what, columns, sql, update) in [
            (
                bearers::SESSION,
                SESSION_COLUMNS_OF_2,
                SESSIONS_OF_2,
                "UPDATE sessions SET seal = $1 WHERE id = $2",
            ),
            (
                bearers::REFRESH_TOKEN,
                REFRESH_TOKEN_COLUMNS_OF_2,
                REFRESH_TOKENS_OF_2,
                "UPDATE refresh_tokens SET seal = $1 WHERE id = $2",
            ),
        ] {
            read.each(sql, &[], &mut |row| {
                let mut text = Vec::new();
                row.encode(0..columns, &mut text)?;
                let seal = seal_keys.seal_bytes(what, &text);
                sealed.push((update, row.get::<String>("id")?, seal));
                Ok(())
            })
            .unwrap();
        }
        for (update, id, seal) in sealed {
            read.write().execute(update, &[&seal, &id]).unwrap();
        }
    }

    #[test]
    fn what_a_public_key_began_ends_and_what_a_password_began_goes_on() {
        let folder = std::env::temp_dir().join(format!("latchkey-{}-to_3", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("db");
        std::fs::copy(fixture().join("latchkey.db"), &path).unwrap();
        let files = KeyFiles::of_folder(&fixture());
        let read = sqlite::open_writer(&path, |_| Ok(())).unwrap();
        read.batch(SESSIONS).unwrap();
        seal(&read, &SealKeys::of_peppers(&files.peppers));
        read.batch(
            "UPDATE sessions SET authenticator = NULL WHERE id = 'ppppppppp3';
             UPDATE refresh_tokens SET authenticator = NULL WHERE id = 'rrrrrrrrr3';
             UPDATE sessions SET read_only = 0 WHERE id = 'ppppppppp4';
             UPDATE refresh_tokens SET read_only = 0 WHERE id = 'rrrrrrrrr4'",
        )
        .unwrap();

        run(&read, &path, &files, Timestamp(1), STEPS).unwrap();

        let seal_keys = &files.seal;
        let live = sessions::list(&read, seal_keys, Timestamp(1)).unwrap();
        let live: Vec<_> = live
            .iter()
            .map(|it| (it.id.to_string(), it.read_only))
            .collect();
        let expected = [
            ("ppppppppp1".to_owned(), false),
            ("ppppppppp2".to_owned(), true),
        ];
        assert_eq!(live, expected);
        for (id, sound) in [
            ("rrrrrrrrr1", true),
            ("rrrrrrrrr2", true),
            ("rrrrrrrrr3", false),
            ("rrrrrrrrr4", false),
            ("ttttttttt1", false),
        ] {
            let found = refresh_tokens::find(&read, seal_keys, KeyId::parse(id).unwrap()).unwrap();
            assert_eq!(found.is_some(), sound, "{id}");
        }
        let codes = authenticators::list(&read).unwrap();
        let codes: Vec<_> = codes
            .iter()
            .map(|one| (one.number, one.used_step))
            .collect();
        assert_eq!(codes, [(7, 5)]);
        assert!(numbers::next_of_keys(&read.write()).unwrap() > 101);

        // Users whose rows were changed without Latchkey are not sealed now, and all other users are.
        let users = users::list(&read).unwrap();
        for user in users {
            let target = Target::new(Kind::User, user.uid);
            let standing = seals::look(&read, seal_keys, &target).unwrap();
            let sound = standing == seals::Standing::Sound;
            assert_eq!(sound, user.user_name != "alice", "{}", user.user_name);
        }
        assert!(audit::verify(&read, seal_keys).unwrap().is_ok());
        let told = read
            .query(
                "SELECT action FROM audit_events ORDER BY seq DESC LIMIT 3",
                &[],
                |row| row.get::<String>("action"),
            )
            .unwrap();
        assert_eq!(
            told,
            [
                "server.migrate",
                "session.delete",
                "user.authenticator_delete"
            ]
        );
        let _ = std::fs::remove_dir_all(folder);
    }
}
