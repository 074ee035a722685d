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

-- Operations say which scopes are needed together, and tell "every key" from "nobody". Until now no scope meant every key.
CREATE TABLE catalog_operations_of_2 AS
SELECT catalog, position, id, method, path, host, writes, any_of FROM catalog_operations;
DROP TABLE catalog_operations;
CREATE TABLE catalog_operations (
    catalog  TEXT    NOT NULL REFERENCES catalogs (name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    id       TEXT    NOT NULL,
    method   TEXT    NOT NULL,
    path     TEXT    NOT NULL,                      -- a template: /invoices/{id}, /invoices/{id}.json or /files/{path...}
    host     TEXT,                                  -- NULL: any
    writes   INTEGER NOT NULL CHECK (writes IN (0, 1)),
    any_key  INTEGER NOT NULL CHECK (any_key IN (0, 1)),                -- 1: every key may; 0 without scopes: nobody may
    all_of   TEXT    NOT NULL,                      -- names of scopes that are needed together, separated by blanks
    any_of   TEXT    NOT NULL,                      -- names of scopes of which one is needed, separated by blanks
    PRIMARY KEY (catalog, position),
    UNIQUE (catalog, id),
    CHECK (any_key = 0 OR (all_of = '' AND any_of = ''))
) STRICT, WITHOUT ROWID;
INSERT INTO catalog_operations (catalog, position, id, method, path, host, writes, any_key, all_of, any_of)
SELECT catalog, position, id, method, path, host, writes, trim(any_of) = '', '', trim(any_of) FROM catalog_operations_of_2;
DROP TABLE catalog_operations_of_2;

-- Policies: what happens at the greatest number of keys of an owner, and the bound of requests. Presets have theirs from the first start (ops/policies/presets.rs).
ALTER TABLE policies ADD COLUMN at_owner_max TEXT NOT NULL DEFAULT 'refuse' CHECK (at_owner_max IN ('refuse', 'replace'));
ALTER TABLE policies ADD COLUMN rate_limit_max INTEGER CHECK (rate_limit_max >= 0);
ALTER TABLE policies ADD COLUMN rate_limit_max_window_s INTEGER CHECK ((rate_limit_max_window_s IS NULL) = (rate_limit_max IS NULL) AND coalesce(rate_limit_max_window_s, 1) > 0);

-- Members of the metadata of keys; to_3.rs fills it.
CREATE TABLE key_metadata (
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    PRIMARY KEY (name, value, key_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX key_metadata_key ON key_metadata (key_id);
