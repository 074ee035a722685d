-- From schema 1 to 2, one section a concern. What SQL cannot do is in to_2.rs.

-- Families of refresh tokens end 90 days after their sign-in, whose time is now kept with each token. Of a family
-- that is there already the oldest token that is left counts.
CREATE TABLE refresh_tokens_of_1 AS SELECT * FROM refresh_tokens;
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
INSERT INTO refresh_tokens
    (id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, family, family_began_at, session_id,
     authenticator, used_at)
SELECT id, digest, pepper, user_uid, generation, read_only, issued_at, expires_at, family,
       (SELECT min(issued_at) FROM refresh_tokens_of_1 AS first WHERE first.family = token.family),
       session_id, authenticator, used_at
FROM refresh_tokens_of_1 AS token;
DROP TABLE refresh_tokens_of_1;
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

-- What a role of the owner passes on to a key that acts for its owner. The first start fills it (ops/policies/presets.rs).
CREATE TABLE policy_roles (
    policy    TEXT    NOT NULL REFERENCES policies (name) ON DELETE CASCADE,
    role      TEXT    NOT NULL CHECK (role IN ('owner', 'administrator', 'key_manager', 'auditor', 'member')),
    scopes    TEXT    NOT NULL CHECK (scopes <> ''),
    read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    PRIMARY KEY (policy, role)
) STRICT, WITHOUT ROWID;
