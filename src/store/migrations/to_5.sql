-- From schema 4 to 5, one section a concern. What SQL cannot do is in to_5.rs.

-- Keys of other systems and of files.
ALTER TABLE keys ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN weak INTEGER NOT NULL DEFAULT 0 CHECK (weak IN (0, 1));
ALTER TABLE keys ADD COLUMN declared_name TEXT;
ALTER TABLE keys ADD COLUMN declared_digest TEXT;
ALTER TABLE keys ADD COLUMN declared_state TEXT;
ALTER TABLE keys ADD COLUMN held INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1));
CREATE UNIQUE INDEX keys_declared_name ON keys (declared_name) WHERE declared_name IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX keys_declared_digest ON keys (declared_digest) WHERE declared_digest IS NOT NULL;
CREATE INDEX keys_declared ON keys (declared_name) WHERE declared_name IS NOT NULL;
ALTER TABLE policies ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE catalogs ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE catalogs ADD COLUMN resource_metadata TEXT;
ALTER TABLE catalog_operations ADD COLUMN preflight INTEGER NOT NULL DEFAULT 0 CHECK (preflight IN (0, 1));
CREATE TABLE ended_digests (
    digest   TEXT    NOT NULL PRIMARY KEY,
    key_id   TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    ended_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE imported_digests (
    mark     BLOB    NOT NULL PRIMARY KEY CHECK (length(mark) = 32),
    seal_key INTEGER NOT NULL,
    key_id   TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE declared_files (
    path   TEXT NOT NULL PRIMARY KEY,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    absent TEXT NOT NULL CHECK (absent IN ('delete', 'disable', 'keep'))
) STRICT, WITHOUT ROWID;

-- Digests that were made elsewhere are of other schemes and lengths.
CREATE TABLE secrets_of_4 AS
SELECT key_id, digest, pepper, created_at, expires_at, until_first_use, sealed, sealing_key FROM secrets;
DROP TABLE secrets;
CREATE TABLE secrets (
    key_id          TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    digest          BLOB    NOT NULL CHECK (length(digest) BETWEEN 32 AND 512),
    pepper          INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    until_first_use INTEGER NOT NULL CHECK (until_first_use IN (0, 1)),
    sealed          BLOB    CHECK (length(sealed) > 28),
    sealing_key     INTEGER,
    scheme          INTEGER NOT NULL,
    is_foreign      INTEGER NOT NULL CHECK (is_foreign IN (0, 1)),
    hmac_key        TEXT,
    found_by        TEXT,
    old_hint        TEXT,
    PRIMARY KEY (key_id, digest),
    CHECK ((sealed IS NULL) = (sealing_key IS NULL)),
    CHECK ((scheme = 1) = (pepper > 0)),
    CHECK ((scheme IN (5, 6)) = (hmac_key IS NOT NULL)),
    CHECK ((scheme IN (7, 8, 9)) = (found_by IS NOT NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO secrets (key_id, digest, pepper, created_at, expires_at, until_first_use, sealed, sealing_key, scheme, is_foreign)
SELECT key_id, digest, pepper, created_at, expires_at, until_first_use, sealed, sealing_key, 1, 0 FROM secrets_of_4;
DROP TABLE secrets_of_4;
CREATE INDEX secrets_foreign ON secrets (scheme, pepper, hmac_key, digest) WHERE is_foreign = 1;
CREATE INDEX secrets_found_by ON secrets (found_by) WHERE found_by IS NOT NULL;

-- The seal key seals what the pepper sealed so far; to_5.rs records its versions here.
CREATE TABLE seal_keys (
    version     INTEGER NOT NULL PRIMARY KEY,
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    added_at    INTEGER,
    backed_up_at INTEGER,
    settled     INTEGER NOT NULL DEFAULT 1 CHECK (settled IN (0, 1))
) STRICT;

-- When the versions of the other keys came, and when they were saved. Copies of secrets may be under an older version.
ALTER TABLE peppers ADD COLUMN added_at INTEGER;
ALTER TABLE peppers ADD COLUMN backed_up_at INTEGER;
ALTER TABLE sealing_keys ADD COLUMN added_at INTEGER;
ALTER TABLE sealing_keys ADD COLUMN backed_up_at INTEGER;
ALTER TABLE sealing_keys ADD COLUMN settled INTEGER NOT NULL DEFAULT 1 CHECK (settled IN (0, 1));
UPDATE sealing_keys SET settled = 0 WHERE (SELECT count(*) FROM sealing_keys) > 1;
UPDATE peppers
SET backed_up_at = (SELECT at FROM audit_events WHERE action = 'secrets.backup' AND outcome = 'allowed' ORDER BY seq DESC LIMIT 1);
UPDATE sealing_keys
SET backed_up_at = (SELECT at FROM audit_events WHERE action = 'secrets.backup' AND outcome = 'allowed' ORDER BY seq DESC LIMIT 1);

-- Digests of passwords are bound to their users under the seal key, each at the next sign-in with the password.
CREATE TEMP TABLE users_of_4 AS
SELECT uid, number, user_name, email, home_uid, password_digest, password_pepper, enabled, generation, created_at, deleted_at
FROM users;
DROP TABLE users;
CREATE TABLE users (
    uid             TEXT    NOT NULL PRIMARY KEY CHECK (length(uid) = 36),
    number          INTEGER NOT NULL UNIQUE,
    user_name       TEXT    NOT NULL CHECK (user_name = lower(user_name) AND length(user_name) BETWEEN 1 AND 100),
    email           TEXT    CHECK (email = lower(email)),
    home_uid        TEXT    NOT NULL REFERENCES workspaces (uid),
    password_digest BLOB    CHECK (length(password_digest) = 48),
    password_pepper INTEGER,
    password_seal_key INTEGER,
    enabled         INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    generation      INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    deleted_at      INTEGER,
    CHECK ((password_digest IS NULL) = (password_pepper IS NULL AND password_seal_key IS NULL)),
    CHECK (password_pepper IS NULL OR password_seal_key IS NULL)
) STRICT;
INSERT INTO users (uid, number, user_name, email, home_uid, password_digest, password_pepper, enabled, generation, created_at,
                   deleted_at)
SELECT uid, number, user_name, email, home_uid, password_digest, password_pepper, enabled, generation, created_at, deleted_at
FROM users_of_4;
DROP TABLE users_of_4;
CREATE UNIQUE INDEX users_user_name ON users (user_name) WHERE deleted_at IS NULL;

-- Second factors, and what the console knows of its users.
CREATE TABLE recovery_codes (
    user_uid TEXT    NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    digest   BLOB    NOT NULL CHECK (length(digest) = 32),
    seal_key INTEGER NOT NULL,
    used_at  INTEGER,
    PRIMARY KEY (user_uid, digest)
) STRICT, WITHOUT ROWID;
ALTER TABLE policies ADD COLUMN second_factor INTEGER NOT NULL DEFAULT 0 CHECK (second_factor IN (0, 1));
ALTER TABLE policies ADD COLUMN decoy INTEGER NOT NULL DEFAULT 0 CHECK (decoy IN (0, 1));
ALTER TABLE policies ADD COLUMN on_reuse TEXT NOT NULL DEFAULT 'note' CHECK (on_reuse IN ('disable', 'note'));
ALTER TABLE policies ADD COLUMN on_leak TEXT NOT NULL DEFAULT 'note' CHECK (on_leak IN ('disable', 'note', 'rotate'));
ALTER TABLE policies ADD COLUMN expiry_notice_days TEXT NOT NULL DEFAULT '30 7 1';
ALTER TABLE key_usage ADD COLUMN previous_used_at INTEGER;
CREATE TABLE user_sign_ins (
    user_uid TEXT    NOT NULL PRIMARY KEY REFERENCES users (uid) ON DELETE CASCADE,
    at       INTEGER NOT NULL,
    source   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE user_preferences (
    user_uid  TEXT NOT NULL PRIMARY KEY REFERENCES users (uid) ON DELETE CASCADE,
    theme     TEXT NOT NULL CHECK (theme IN ('', 'dark', 'light')),
    language  TEXT NOT NULL CHECK (length(language) <= 35),
    time_zone TEXT NOT NULL CHECK (length(time_zone) <= 64)
) STRICT, WITHOUT ROWID;

-- Uses of management keys are counted apart.
ALTER TABLE usage_totals RENAME TO usage_totals_of_4;
CREATE TABLE usage_totals (
    hour       INTEGER NOT NULL,
    code       TEXT    NOT NULL,
    management INTEGER NOT NULL CHECK (management IN (0, 1)),
    count      INTEGER NOT NULL,
    PRIMARY KEY (hour, code, management)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_totals (hour, code, management, count)
SELECT hour, code, 0, count FROM usage_totals_of_4;
DROP TABLE usage_totals_of_4;

-- Tripwires. Networks that keys of schema 4 are used from are learnt for an hour.
CREATE TABLE retired_secrets (
    key_id     TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    digest     BLOB    NOT NULL CHECK (length(digest) = 8),
    pepper     INTEGER NOT NULL,
    after_use  INTEGER NOT NULL CHECK (after_use IN (0, 1)),
    retired_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX retired_secrets_retired_at ON retired_secrets (retired_at);
CREATE TABLE key_alarms (
    key_id      TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    kind        TEXT    NOT NULL CHECK (kind IN ('leaked', 'old_secret', 'tripped')),
    count       INTEGER NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    last_ip     TEXT,
    place       TEXT    NOT NULL,
    recorded_at INTEGER,
    PRIMARY KEY (key_id, kind)
) STRICT, WITHOUT ROWID;
ALTER TABLE key_usage ADD COLUMN networks TEXT NOT NULL DEFAULT '';
ALTER TABLE key_usage ADD COLUMN networks_from INTEGER;

-- Notices.
CREATE TABLE notices (
    seq           INTEGER NOT NULL PRIMARY KEY,
    id            TEXT    NOT NULL CHECK (length(id) = 36),
    kind          TEXT    NOT NULL,
    subject_kind  TEXT    NOT NULL,
    subject_id    TEXT    NOT NULL,
    workspace_uid TEXT    NOT NULL,
    user_uid      TEXT,
    first_at      INTEGER NOT NULL,
    last_at       INTEGER NOT NULL,
    count         INTEGER NOT NULL CHECK (count > 0),
    data          TEXT    NOT NULL
) STRICT;
CREATE TABLE notice_cursors (
    reader   TEXT    NOT NULL,
    series   TEXT    NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (reader, series)
) STRICT, WITHOUT ROWID;
CREATE TABLE notice_reads (
    user_uid TEXT    NOT NULL PRIMARY KEY REFERENCES users (uid) ON DELETE CASCADE,
    seq      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The state of a site.
CREATE TABLE site_state (
    one         INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    sealed      BLOB    NOT NULL CHECK (length(sealed) > 28),
    sealing_key INTEGER NOT NULL
) STRICT;
CREATE TABLE site_ended (
    key_id   TEXT    NOT NULL PRIMARY KEY CHECK (length(key_id) = 10),
    reason   TEXT    NOT NULL CHECK (reason IN ('fork', 'revoked', 'site')),
    ended_at INTEGER NOT NULL,
    events   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE site_ended_digests (
    digest  BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    key_id  TEXT    NOT NULL CHECK (length(key_id) = 10),
    stays   INTEGER NOT NULL CHECK (stays IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE TABLE site_spent (
    key_id TEXT    NOT NULL PRIMARY KEY CHECK (length(key_id) = 10),
    spent  INTEGER NOT NULL CHECK (spent >= 0)
) STRICT, WITHOUT ROWID;
CREATE TABLE site_uses (
    key_id       TEXT    NOT NULL PRIMARY KEY CHECK (length(key_id) = 10),
    uses         INTEGER NOT NULL CHECK (uses >= 0),
    refusals     INTEGER NOT NULL CHECK (refusals >= 0),
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE site_verdicts (
    code  TEXT    NOT NULL PRIMARY KEY,
    count INTEGER NOT NULL CHECK (count >= 0)
) STRICT, WITHOUT ROWID;

-- Sites and their packs.
CREATE TABLE pack_server (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    uid   TEXT    NOT NULL CHECK (length(uid) = 36),
    name  TEXT    NOT NULL,
    reign INTEGER NOT NULL CHECK (reign > 0)
) STRICT;
CREATE TABLE pack_signing_keys (
    version      INTEGER NOT NULL PRIMARY KEY CHECK (version > 0),
    public       TEXT    NOT NULL,
    sealed       BLOB    NOT NULL CHECK (length(sealed) = 60),
    sealing_key  INTEGER NOT NULL,
    introduction TEXT    NOT NULL,
    added_at     INTEGER NOT NULL
) STRICT;
CREATE TABLE sites (
    name        TEXT    NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 63),
    minimal     INTEGER NOT NULL CHECK (minimal IN (0, 1)),
    until_s     INTEGER NOT NULL CHECK (until_s > 0),
    lend        INTEGER NOT NULL CHECK (lend >= 0),
    created_at  INTEGER NOT NULL,
    removed_at  INTEGER,
    sealed      BLOB    CHECK (length(sealed) = 60),
    sealing_key INTEGER,
    pack        INTEGER NOT NULL CHECK (pack >= 0),
    base        INTEGER NOT NULL CHECK (base >= 0 AND base <= pack),
    life        TEXT    CHECK (length(life) = 36),
    report      INTEGER,
    reported_at INTEGER,
    applied     INTEGER,
    applied_events INTEGER,
    CHECK ((removed_at IS NULL) = (sealed IS NOT NULL) AND (sealed IS NULL) = (sealing_key IS NULL)),
    CHECK ((report IS NULL) = (life IS NULL) AND (report IS NULL) = (reported_at IS NULL)
           AND (report IS NULL) = (applied IS NULL) AND (report IS NULL) = (applied_events IS NULL))
) STRICT;
CREATE TABLE site_parts (
    site TEXT NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('catalog', 'workspace')),
    id   TEXT NOT NULL,
    PRIMARY KEY (site, kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE packs (
    site     TEXT    NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    number   INTEGER NOT NULL CHECK (number > 0),
    base     INTEGER NOT NULL CHECK (base >= 0 AND base < number),
    made_at  INTEGER NOT NULL,
    until    INTEGER NOT NULL,
    events   INTEGER NOT NULL,
    keys     INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    sha256   BLOB    NOT NULL CHECK (length(sha256) = 32),
    PRIMARY KEY (site, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE site_lent (
    site   TEXT    NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    key_id TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    lent   INTEGER NOT NULL CHECK (lent >= 0),
    spent  INTEGER NOT NULL CHECK (spent >= 0),
    PRIMARY KEY (site, key_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE site_usage (
    site     TEXT    NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    key_id   TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    uses     INTEGER NOT NULL,
    refusals INTEGER NOT NULL,
    ended_at INTEGER,
    PRIMARY KEY (site, key_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX site_usage_key ON site_usage (key_id);
CREATE INDEX site_lent_key ON site_lent (key_id);
