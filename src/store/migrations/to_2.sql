-- From schema 1 to 2, one section a concern. What SQL cannot do is in to_2.rs.

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
