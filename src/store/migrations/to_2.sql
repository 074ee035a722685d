-- From schema 1 to 2, one section a concern. What SQL cannot do is in to_2.rs.

-- The clock: what decides how far its mark follows a wall clock that is ahead.
ALTER TABLE clock RENAME TO clock_of_1;

CREATE TABLE clock (
    one          INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    mark         INTEGER NOT NULL,
    allowance_ms INTEGER CHECK (allowance_ms >= 0),
    settled      INTEGER NOT NULL DEFAULT 1 CHECK (settled IN (0, 1)),
    boot         TEXT,
    uptime_ms    INTEGER,
    corrections  INTEGER NOT NULL DEFAULT 0,
    CHECK ((boot IS NULL) = (uptime_ms IS NULL))
) STRICT;

INSERT INTO clock (one, mark) SELECT one, mark FROM clock_of_1;

DROP TABLE clock_of_1;
-- Sessions and refresh tokens of schema 1 had no seals, so nothing says whose they really are: they end, and everybody
-- signs in again. Families of refresh tokens end 90 days after their sign-in, whose time is now kept with each token.
DELETE FROM sessions;
DROP TABLE refresh_tokens;
CREATE TABLE refresh_tokens (
    id         TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 10),
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    pepper     INTEGER NOT NULL,
    user_uid   TEXT    NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    read_only  INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    family     TEXT    NOT NULL CHECK (length(family) = 10),
    family_began_at INTEGER NOT NULL,
    session_id TEXT    NOT NULL CHECK (length(session_id) = 10),
    authenticator INTEGER REFERENCES authenticators (number),
    used_at    INTEGER
) STRICT;
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_uid);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family, issued_at);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);

-- Attempts to sign in.
CREATE TABLE sign_in_failures (
    account  TEXT    NOT NULL PRIMARY KEY,
    failures INTEGER NOT NULL CHECK (failures > 0),
    since    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE sign_in_networks (
    user_uid TEXT    NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    network  TEXT    NOT NULL,
    used_at  INTEGER NOT NULL,
    failures INTEGER NOT NULL CHECK (failures >= 0),
    PRIMARY KEY (user_uid, network)
) STRICT, WITHOUT ROWID;

-- Whether the keys of a policy may rotate themselves: as before, but without a long grace period, where they can be rotated at all.
ALTER TABLE policies ADD COLUMN self_rotation TEXT NOT NULL DEFAULT 'no' CHECK (self_rotation IN ('at_once', 'grace', 'no'));
UPDATE policies SET self_rotation = 'at_once' WHERE can_rotate = 1;
ALTER TABLE keys ADD COLUMN self_rotated_from TEXT;

-- Which keys somebody has made.
CREATE INDEX keys_created_by ON keys (created_by, id);

-- Names that have become free, as far as the rows of what has ended show it; names that were changed are in the audit log (to_2.rs).
CREATE TABLE retired_names (
    kind       TEXT NOT NULL CHECK (kind IN ('user', 'workspace')),
    name       TEXT NOT NULL,
    holder_uid TEXT CHECK (length(holder_uid) = 36),
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
INSERT INTO retired_names (kind, name) SELECT DISTINCT 'user', user_name FROM users WHERE deleted_at IS NOT NULL;
INSERT INTO retired_names (kind, name) SELECT DISTINCT 'workspace', slug FROM workspaces WHERE deleted_at IS NOT NULL;
-- Seals of keys, of their uses, of sessions and of refresh tokens.
ALTER TABLE keys ADD COLUMN seal BLOB CHECK (length(seal) = 40);
ALTER TABLE key_uses ADD COLUMN seal BLOB CHECK (length(seal) = 32);
ALTER TABLE sessions ADD COLUMN seal BLOB CHECK (length(seal) = 32);
ALTER TABLE refresh_tokens ADD COLUMN seal BLOB CHECK (length(seal) = 32);
DROP INDEX audit_events_target;
CREATE INDEX audit_events_target ON audit_events (target_kind, target_id, outcome);

-- Passwords are bound to their users under the pepper; 0 is no version of it, to_2.rs writes the version.
CREATE TABLE old_users AS
SELECT uid, number, user_name, email, home_uid, password_digest, enabled, generation, created_at, deleted_at FROM users;
DROP TABLE users;
CREATE TABLE users (
    uid             TEXT    NOT NULL PRIMARY KEY CHECK (length(uid) = 36),
    number          INTEGER NOT NULL UNIQUE,
    user_name       TEXT    NOT NULL CHECK (user_name = lower(user_name) AND length(user_name) BETWEEN 1 AND 100),
    email           TEXT    CHECK (email = lower(email)),
    home_uid        TEXT    NOT NULL REFERENCES workspaces (uid),
    password_digest BLOB    CHECK (length(password_digest) = 48),
    password_pepper INTEGER,
    enabled         INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    generation      INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    deleted_at      INTEGER,
    CHECK ((password_digest IS NULL) = (password_pepper IS NULL))
) STRICT;
INSERT INTO users (uid, number, user_name, email, home_uid, password_digest, password_pepper, enabled, generation,
                   created_at, deleted_at)
SELECT uid, number, user_name, email, home_uid, password_digest, CASE WHEN password_digest IS NULL THEN NULL ELSE 0 END,
       enabled, generation, created_at, deleted_at
FROM old_users;
DROP TABLE old_users;
CREATE UNIQUE INDEX users_user_name ON users (user_name) WHERE deleted_at IS NULL;

-- What a role of the owner passes on to a key that acts for its owner. The first start fills it (ops/policies/presets.rs).
CREATE TABLE policy_roles (
    policy    TEXT    NOT NULL REFERENCES policies (name) ON DELETE CASCADE,
    role      TEXT    NOT NULL CHECK (role IN ('owner', 'administrator', 'key_manager', 'auditor', 'member')),
    scopes    TEXT    NOT NULL CHECK (scopes <> ''),
    read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    PRIMARY KEY (policy, role)
) STRICT, WITHOUT ROWID;
-- Catalogs say whether the application tells case. None of schema 1 did, so what resembles a literal is refused.
CREATE TEMP TABLE catalogs_of_1 AS SELECT name FROM catalogs;
DROP TABLE catalogs;
CREATE TABLE catalogs (
    name           TEXT    NOT NULL PRIMARY KEY,
    case_sensitive INTEGER NOT NULL DEFAULT 0 CHECK (case_sensitive IN (0, 1))
) STRICT;
INSERT INTO catalogs (name) SELECT name FROM catalogs_of_1;
DROP TABLE catalogs_of_1;
