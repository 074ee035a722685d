-- From schema 2 to 3, one section a concern. What SQL cannot do is in to_3.rs.

-- Nobody signs in with an RSA key any more. Public keys go, and their numbers stay used; to_3.rs ends the sessions that
-- they began, which were bounded by them, and writes both into the audit log.
CREATE TEMP TABLE public_keys_of_2 AS
SELECT number, user_uid FROM authenticators WHERE kind = 'public_key' AND deleted_at IS NULL;
INSERT INTO numbers (series, last)
SELECT 'key', number FROM authenticators WHERE kind = 'public_key' ORDER BY number DESC LIMIT 1
ON CONFLICT (series) DO UPDATE SET last = excluded.last WHERE numbers.last < excluded.last;
CREATE TEMP TABLE authenticators_of_2 AS
SELECT number, user_uid, description, scopes, enabled, created_at, deleted_at, sealed, sealing_key, used_step
FROM authenticators
WHERE kind <> 'public_key';
DROP TABLE authenticators;
CREATE TABLE authenticators (
    number      INTEGER NOT NULL PRIMARY KEY,
    user_uid    TEXT    NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    description TEXT    NOT NULL CHECK (length(description) <= 500),
    scopes      TEXT    NOT NULL,
    enabled     INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at  INTEGER NOT NULL,
    deleted_at  INTEGER,
    sealed      BLOB    CHECK (length(sealed) > 28),
    sealing_key INTEGER,
    used_step   INTEGER,
    CHECK ((deleted_at IS NULL) = (sealed IS NOT NULL)),
    CHECK ((sealed IS NULL) = (sealing_key IS NULL) AND (sealed IS NULL) = (used_step IS NULL))
) STRICT;
CREATE INDEX authenticators_user ON authenticators (user_uid);
INSERT INTO authenticators (number, user_uid, description, scopes, enabled, created_at, deleted_at, sealed, sealing_key,
                            used_step)
SELECT number, user_uid, description, scopes, enabled, created_at, deleted_at, sealed, sealing_key, used_step
FROM authenticators_of_2;
DROP TABLE authenticators_of_2;
