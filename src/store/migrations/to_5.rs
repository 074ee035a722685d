//! The step from schema 4 to 5: the seal key takes over from the pepper what is no digest of a secret.

use super::{Keys, Step, to_4};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::seals::{self, bearers};
use crate::store::{Write, audit, key_files};

pub const STEP: Step = Step {
    to: 5,
    sql: include_str!("to_5.sql"),
    // Schema 4 sealed everything but keys as schema 3 did.
    sealed_before: to_4::sealed_before,
    sound_keys: |read, keys| seals::keys::list_fitting(read, keys, &KEYS_OF_4),
    act,
};

const KEYS_OF_4: seals::keys::OlderRows = seals::keys::OlderRows {
    sql: "SELECT keys.id, number, name, description, workspace_uid, owner_uid, policy, catalog, scopes, read_only, enabled,
            not_before, keys.expires_at, allowed_ips, rate_limit, rate_window_s, metadata, created_by, keys.created_at,
            rotated_at, deleted_at, hint, self_rotated_from, contact, uses_left,
            digest, pepper, secrets.created_at AS secret_created_at, secrets.expires_at AS secret_expires_at,
            until_first_use, sealed, sealing_key,
            keys.seal AS seal, key_uses.seal AS uses_seal, 0 AS epoch,
            (SELECT max(seq) FROM audit_events
             WHERE target_kind = 'key' AND target_id = keys.id AND outcome = 'allowed') AS newest
     FROM keys
     LEFT JOIN secrets ON secrets.key_id = keys.id
     LEFT JOIN key_uses ON key_uses.key_id = keys.id
     ORDER BY keys.id, digest",
    key_columns: 24,
    secret_columns: 7,
};

/// Sessions and refresh tokens of schema 4.
const BEARERS_OF_4: [bearers::Rows; 2] = [
    bearers::Rows {
        what: bearers::SESSION,
        columns: 14,
        select: "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, acting_uid,
                        acting_generation, acting_family, used_at, source, agent, seal
                 FROM sessions",
        update: "UPDATE sessions SET seal = $1 WHERE id = $2",
    },
    bearers::Rows {
        what: bearers::REFRESH_TOKEN,
        columns: 12,
        select: "SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, family,
                        family_began_at, session_id, used_at, seal
                 FROM refresh_tokens",
        update: "UPDATE refresh_tokens SET seal = $1 WHERE id = $2",
    },
];

/// Seals the marks of the audit log, sessions and refresh tokens under the seal key, as far as they fit their seals; all
/// other rows follow at the end of the migration.
fn act(tx: &Write<'_>, keys: &Keys<'_>, now: Timestamp) -> Result<()> {
    key_files::insert(tx, keys.files, now)?;
    let after = &keys.files.seal;
    audit::seal_again(tx, keys.former, after)?;
    for rows in &BEARERS_OF_4 {
        bearers::seal_again(tx, rows, keys.former, after)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{folder, killed_at_every_step};
    use super::super::{SEAL_KEY_SINCE, STEPS, run};
    use super::*;
    use crate::domain::audit::{Kind, Target};
    use crate::domain::keys::KeyId;
    use crate::domain::keys::keyfile::KeyFiles;
    use crate::domain::keys::seal_key::SealKeys;
    use crate::domain::users::password::BoundBy;
    use crate::store::audit::Cut;
    use crate::store::{Read, refresh_tokens, seals, sessions, sqlite, users};
    use std::path::{Path, PathBuf};

    /// Two sessions with their refresh tokens. The second session and the first token are changed later.
    const BEARERS: &str = "
        INSERT INTO sessions (id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at)
        SELECT id, zeroblob(32), 1, uid, 0, 1, 1, 9000000000000000
        FROM users JOIN (SELECT 'sssssssss1' AS id UNION ALL SELECT 'sssssssss2')
        WHERE user_name = 'owner';
        INSERT INTO refresh_tokens (id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, family,
                                    family_began_at, session_id)
        SELECT replace(id, 's', 'r'), digest, pepper, user_uid, generation, read_only, issued_at, expires_at, id, 1, id
        FROM sessions";

    /// Changes of rows past Latchkey.
    const CHANGES: &str = "
        UPDATE sessions SET read_only = 0 WHERE id = 'sssssssss2';
        UPDATE refresh_tokens SET read_only = 0 WHERE id = 'rrrrrrrrr1';
        UPDATE users SET enabled = 0 WHERE user_name = 'alice';
        UPDATE workspaces SET name = 'x' WHERE slug = 'emea';
        UPDATE policies SET can_rotate = 1 - can_rotate WHERE name = 'standard';
        UPDATE keys SET name = 'x' WHERE name = 'rotated';
        UPDATE key_uses SET uses_left = 9";

    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema/4")
    }

    /// The key files, which are the same in every process.
    fn files() -> KeyFiles {
        let text = format!("1 {}\n", "cd".repeat(32));
        KeyFiles {
            seal: std::sync::Arc::new(SealKeys::parse(&text).unwrap()),
            ..KeyFiles::of_folder(&fixture())
        }
    }

    /// A database of schema 4 with sessions and a cut log, in which things were changed past Latchkey.
    fn older(folder: &Path, changes: &str) -> PathBuf {
        let path = folder.join("db");
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(folder.join(format!("db{suffix}")));
        }
        std::fs::copy(fixture().join("latchkey.db"), &path).unwrap();
        let read = sqlite::open_writer(&path, |_| Ok(())).unwrap();
        read.batch("BEGIN").unwrap();
        let (tx, former) = (read.write(), SealKeys::of_peppers(&files().peppers));
        read.batch(BEARERS).unwrap();
        for number in 1..=2 {
            let id = |letter: &str| KeyId::parse(&format!("{}{number}", letter.repeat(9)));
            bearers::put_session(&tx, &former, id("s").unwrap()).unwrap();
            bearers::put_refresh_token(&tx, &former, id("r").unwrap()).unwrap();
        }
        audit::prune(&tx, &former, Cut::Keep(5), i64::MAX).unwrap();
        read.batch(changes).unwrap();
        read.batch("COMMIT").unwrap();
        path
    }

    fn migrate(path: &Path) {
        let read = sqlite::open_writer(path, |_| Ok(())).unwrap();
        run(&read, path, &files(), Timestamp(1), STEPS).unwrap();
    }

    /// Everything that does not fit its seal under these keys.
    fn broken(read: &Read, keys: &SealKeys) -> Vec<String> {
        let mut found = Vec::new();
        for kind in seals::KINDS {
            for target in seals::list(read, kind).unwrap() {
                if seals::look(read, keys, &target).unwrap() == seals::Standing::Broken {
                    found.push(match kind {
                        Kind::User | Kind::Workspace => kind.as_str().to_owned(),
                        _ => target.id,
                    });
                }
            }
        }
        let (first, last) = (KeyId(0), KeyId(62_u64.pow(10) - 1));
        seals::keys::each(read, Some(keys), (first, last), true, |one| {
            if !one.fits() {
                found.push(one.key.name);
            }
            Ok(())
        })
        .unwrap();
        let bearers = bearers::list_broken(read, keys).unwrap();
        found.extend(bearers.into_iter().map(|Target { id, .. }| id));
        found
    }

    /// Whether the database is migrated. Only what was changed before does not fit its seal.
    fn is_new(path: &Path) -> bool {
        let read = sqlite::open_reader(path).unwrap();
        let is_new = read.version().unwrap() >= SEAL_KEY_SINCE;
        if is_new {
            let changed = [
                "user",
                "workspace",
                "standard",
                "without uses",
                "x",
                "sssssssss1",
                "sssssssss2",
            ];
            let mut found = broken(&read, &files().seal);
            found.sort_by_key(|name| changed.iter().position(|known| known == name));
            assert_eq!(found, changed);
            let walked = audit::verify(&read, &files().seal).unwrap();
            assert!(walked.is_ok(), "{walked:?}");
        }
        is_new
    }

    #[test]
    fn what_fitted_under_the_pepper_fits_under_the_seal_key_and_nothing_else_does() {
        let folder = folder("to_5");
        let path = older(&folder, CHANGES);
        migrate(&path);
        assert!(is_new(&path));
        let read = sqlite::open_reader(&path).unwrap();
        let peppers = SealKeys::of_peppers(&files().peppers);
        assert!(audit::verify(&read, &peppers).unwrap().is_err());
        assert!(broken(&read, &peppers).len() > 7);
        let live = sessions::list(&read, &files().seal, Timestamp(1)).unwrap();
        assert_eq!(live.len(), 1);
        let token = KeyId::parse("rrrrrrrrr2").unwrap();
        let token = refresh_tokens::find(&read, &files().seal, token).unwrap();
        assert!(token.is_some());
        key_files::check(&read, &files()).unwrap();
        assert!(key_files::check(&read, &KeyFiles::of_folder(&fixture())).is_err());
        // Passwords stay bound by the pepper until the next sign-in.
        let alice = users::find_by_name(&read, "alice").unwrap().unwrap();
        let password = users::find_password(&read, alice.uid).unwrap().unwrap();
        assert_eq!(password.bound_by, BoundBy::Pepper(1));
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn a_checkpoint_that_was_changed_is_not_sealed() {
        let folder = folder("to_5-checkpoint");
        let path = older(
            &folder,
            "UPDATE audit_checkpoint SET seq = seq + 1,
                    hash = (SELECT previous FROM audit_events WHERE seq = audit_checkpoint.seq + 2);
             DELETE FROM audit_events WHERE seq = (SELECT seq FROM audit_checkpoint)",
        );
        migrate(&path);
        let read = sqlite::open_reader(&path).unwrap();
        let walked = audit::verify(&read, &files().seal).unwrap();
        let why = walked.unwrap_err().to_string();
        assert_eq!(why, "the checkpoint of the last cut was changed");
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn killed_at_any_step_everything_is_sealed_by_the_pepper_or_by_the_seal_key() {
        killed_at_every_step(
            "to_5::tests::killed_at_any_step_everything_is_sealed_by_the_pepper_or_by_the_seal_key",
            |folder| older(folder, CHANGES),
            migrate,
            is_new,
        );
    }
}
