-- Latchkey's database: the schema of a new one. Older ones reach it by the steps in src/store/migrations/.
--
-- All times are milliseconds since 1970-01-01T00:00:00Z; booleans are 0 and 1; uids are UUIDs in lower case.
-- Replicated state comes first; the local state of one node (counters, usage) follows at the end.
-- SQL here and in src/store/ keeps to what SQLite and PostgreSQL both understand.

-- The isolation boundary: a tree with one root. A deleted workspace stays as a tombstone; its slug is in retired_names.
CREATE TABLE workspaces (
    uid        TEXT    NOT NULL PRIMARY KEY CHECK (length(uid) = 36),
    number     INTEGER NOT NULL UNIQUE,             -- for clients that want a small number; given in order, from 1
    slug       TEXT    NOT NULL CHECK (length(slug) BETWEEN 1 AND 63),
    name       TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    parent_uid TEXT    REFERENCES workspaces (uid) CHECK (parent_uid <> uid),  -- NULL only for the root
    enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER                              -- once set, never cleared
) STRICT;

CREATE UNIQUE INDEX workspaces_slug ON workspaces (slug) WHERE deleted_at IS NULL;

-- Persons and service accounts. A deleted user stays as a tombstone; the name is in retired_names.
CREATE TABLE users (
    uid             TEXT    NOT NULL PRIMARY KEY CHECK (length(uid) = 36),
    number          INTEGER NOT NULL UNIQUE,        -- from the same series as the numbers of keys and authenticators
    user_name       TEXT    NOT NULL CHECK (user_name = lower(user_name) AND length(user_name) BETWEEN 1 AND 100),
    email           TEXT    CHECK (email = lower(email)),
    home_uid        TEXT    NOT NULL REFERENCES workspaces (uid),
    password_digest BLOB    CHECK (length(password_digest) = 48),   -- 16 bytes salt, 32 bytes HMAC of uid and Argon2id output
    password_pepper INTEGER,                        -- version of the pepper of that HMAC, if schema 4 or an older one made it
    password_seal_key INTEGER,                      -- version of the seal key of that HMAC otherwise
    enabled         INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    generation      INTEGER NOT NULL,               -- raised by a change of password; older sessions are dead
    created_at      INTEGER NOT NULL,
    deleted_at      INTEGER,                        -- once set, never cleared
    CHECK ((password_digest IS NULL) = (password_pepper IS NULL AND password_seal_key IS NULL)),
    CHECK (password_pepper IS NULL OR password_seal_key IS NULL)
) STRICT;

CREATE UNIQUE INDEX users_user_name ON users (user_name) WHERE deleted_at IS NULL;

-- User names and slugs that have become free. Only who manages the root workspace can give one of them to something else.
CREATE TABLE retired_names (
    kind       TEXT NOT NULL CHECK (kind IN ('user', 'workspace')),
    name       TEXT NOT NULL,
    holder_uid TEXT CHECK (length(holder_uid) = 36),    -- what had it last, and may have it back; NULL: not known
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- What a user may do in a workspace and everywhere below it.
CREATE TABLE role_bindings (
    user_uid      TEXT NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    workspace_uid TEXT NOT NULL REFERENCES workspaces (uid) ON DELETE CASCADE,
    role          TEXT NOT NULL CHECK (role IN ('owner', 'administrator', 'key_manager', 'auditor', 'member')),
    PRIMARY KEY (user_uid, workspace_uid)
) STRICT, WITHOUT ROWID;

CREATE INDEX role_bindings_workspace ON role_bindings (workspace_uid);

-- What users prove themselves with besides passwords: one-time codes, a second factor. While a user has them, the password
-- alone signs nobody in. A deleted one stays, without its secret, so that its number is not used again.
CREATE TABLE authenticators (
    number      INTEGER NOT NULL PRIMARY KEY,       -- from the same series as the numbers of keys and users
    user_uid    TEXT    NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    description TEXT    NOT NULL CHECK (length(description) <= 500),
    scopes      TEXT    NOT NULL,                   -- separated by blanks, in the order given
    enabled     INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at  INTEGER NOT NULL,
    deleted_at  INTEGER,                            -- once set, never cleared
    sealed      BLOB    CHECK (length(sealed) > 28),    -- the secret of the codes: nonce, ciphertext, tag
    sealing_key INTEGER,                            -- version of the sealing key
    used_step   INTEGER,                            -- the latest step of 30 seconds since 1970 whose code was used
    CHECK ((deleted_at IS NULL) = (sealed IS NOT NULL)),
    CHECK ((sealed IS NULL) = (sealing_key IS NULL) AND (sealed IS NULL) = (used_step IS NULL))
) STRICT;

CREATE INDEX authenticators_user ON authenticators (user_uid);

-- Codes for a user who has lost what makes the one-time codes: ten are given at a time, and each signs in once.
CREATE TABLE recovery_codes (
    user_uid TEXT    NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    digest   BLOB    NOT NULL CHECK (length(digest) = 32),  -- HMAC of user and code under the seal key
    seal_key INTEGER NOT NULL,                      -- version of the seal key
    used_at  INTEGER,                               -- once set, never cleared
    PRIMARY KEY (user_uid, digest)
) STRICT, WITHOUT ROWID;

-- The rules that keys of a kind are born under and live by.
CREATE TABLE policies (
    name                   TEXT    NOT NULL PRIMARY KEY,
    description            TEXT    NOT NULL,
    issued_by              TEXT    NOT NULL CHECK (issued_by IN ('manager', 'manager_or_owner', 'owner', 'password', 'root_administrator')),
    owner                  TEXT    NOT NULL CHECK (owner IN ('forbidden', 'optional', 'required')),
    catalog                TEXT    REFERENCES catalogs (name),  -- of the keys' scopes; NULL for any
    scopes                 TEXT    NOT NULL CHECK (scopes IN ('forbidden', 'optional', 'required')),
    headers                TEXT    NOT NULL,        -- 'bearer', 'token' or names of headers, separated by blanks
    read_only_by           TEXT    NOT NULL CHECK (read_only_by IN ('method', 'operation', 'scope')),
    expiry                 TEXT    NOT NULL CHECK (expiry IN ('forbidden', 'optional', 'required')),
    expiry_s_max           INTEGER CHECK (expiry_s_max > 0),
    expiry_months_max      INTEGER CHECK (expiry_months_max > 0),       -- of the calendar, to the end of the day in UTC
    addresses              TEXT    NOT NULL CHECK (addresses IN ('cidr', 'exact', 'off')),
    keys_per_workspace_max INTEGER CHECK (keys_per_workspace_max >= 0),
    keys_per_owner_max     INTEGER CHECK (keys_per_owner_max >= 0),
    name_unique            INTEGER NOT NULL CHECK (name_unique IN (0, 1)),  -- among live keys of one workspace
    secret_shown           TEXT    NOT NULL CHECK (secret_shown IN ('once', 'sealed')),
    editable               TEXT    NOT NULL,        -- members that an edit may change, separated by blanks; '*': all, of later versions too
    can_disable            INTEGER NOT NULL CHECK (can_disable IN (0, 1)),
    can_rotate             INTEGER NOT NULL CHECK (can_rotate IN (0, 1)),
    confirm_name           INTEGER NOT NULL CHECK (confirm_name IN (0, 1)),
    tied_to                TEXT    NOT NULL CHECK (tied_to IN ('owner_and_workspace', 'workspace')),
    rate_limit             INTEGER CHECK (rate_limit >= 0),
    rate_window_s          INTEGER CHECK (rate_window_s > 0),
    prefix                 TEXT    NOT NULL,        -- of secrets; '' for secrets of letters and digits alone
    acts_for_owner         INTEGER NOT NULL CHECK (acts_for_owner IN (0, 1)),
    self_rotation          TEXT    NOT NULL DEFAULT 'no' CHECK (self_rotation IN ('at_once', 'grace', 'no')),
    at_owner_max           TEXT    NOT NULL DEFAULT 'refuse' CHECK (at_owner_max IN ('refuse', 'replace')),     -- what happens to one more
    rate_limit_max         INTEGER CHECK (rate_limit_max >= 0),     -- the bound of every key's own limit
    rate_limit_max_window_s INTEGER CHECK ((rate_limit_max_window_s IS NULL) = (rate_limit_max IS NULL) AND coalesce(rate_limit_max_window_s, 1) > 0),
    source                 TEXT    NOT NULL DEFAULT '',     -- file:PATH:LINE of the file that declares it, or ''
    second_factor          INTEGER NOT NULL DEFAULT 0 CHECK (second_factor IN (0, 1)),  -- 1: only who signed in with one issues and changes keys
    decoy                  INTEGER NOT NULL DEFAULT 0 CHECK (decoy IN (0, 1)),          -- 1: its keys open nothing, and their use is an alarm
    on_reuse               TEXT    NOT NULL DEFAULT 'note' CHECK (on_reuse IN ('disable', 'note')),         -- an old secret is tried after the new one was used
    on_leak                TEXT    NOT NULL DEFAULT 'note' CHECK (on_leak IN ('disable', 'note', 'rotate')),    -- a secret is reported as leaked
    expiry_notice_days     TEXT    NOT NULL DEFAULT '30 7 1',       -- days before the end of a key, descending, separated by blanks
    rate_exact             INTEGER NOT NULL DEFAULT 0 CHECK (rate_exact IN (0, 1)),     -- as keys.rate_exact, of rate_limit
    CHECK ((rate_limit IS NULL) = (rate_window_s IS NULL))
) STRICT;

-- What a role of the owner passes on to a key that acts for its owner. A role without a row passes on nothing.
CREATE TABLE policy_roles (
    policy    TEXT    NOT NULL REFERENCES policies (name) ON DELETE CASCADE,
    role      TEXT    NOT NULL CHECK (role IN ('owner', 'administrator', 'key_manager', 'auditor', 'member')),
    scopes    TEXT    NOT NULL CHECK (scopes <> ''),    -- of the key's catalog, separated by blanks; '*': all that the key has
    read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),     -- the role passes on reading only
    PRIMARY KEY (policy, role)
) STRICT, WITHOUT ROWID;

-- Named lists of scopes and of the operations that they open.
CREATE TABLE catalogs (
    name           TEXT    NOT NULL PRIMARY KEY,
    case_sensitive INTEGER NOT NULL DEFAULT 0 CHECK (case_sensitive IN (0, 1)),   -- 0: what resembles a literal segment is refused
    source         TEXT    NOT NULL DEFAULT '',     -- file:PATH:LINE of the file that declares it, or ''
    resource_metadata TEXT                          -- the URL that challenges name (RFC 9728); NULL: none
) STRICT;

CREATE TABLE catalog_scopes (
    catalog  TEXT    NOT NULL REFERENCES catalogs (name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    label    TEXT    NOT NULL,
    implies  TEXT    NOT NULL,                      -- names of scopes, separated by blanks
    root_only INTEGER NOT NULL CHECK (root_only IN (0, 1)),             -- counts on keys of the root workspace alone
    PRIMARY KEY (catalog, position),
    UNIQUE (catalog, name)
) STRICT, WITHOUT ROWID;

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
    preflight INTEGER NOT NULL DEFAULT 0 CHECK (preflight IN (0, 1)),   -- 1: a CORS preflight for it passes without a key
    PRIMARY KEY (catalog, position),
    UNIQUE (catalog, id),
    CHECK (any_key = 0 OR (all_of = '' AND any_of = ''))
) STRICT, WITHOUT ROWID;

-- A key is a name with scopes. Its secrets come and go; its id never changes and is never used again.
CREATE TABLE keys (
    id            TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 10),
    number        INTEGER NOT NULL,                 -- for clients that want a small number; no user has the same one
    name          TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    description   TEXT    NOT NULL CHECK (length(description) <= 500),
    workspace_uid TEXT    NOT NULL REFERENCES workspaces (uid),
    owner_uid     TEXT    REFERENCES users (uid),   -- NULL: a key of the workspace
    policy        TEXT    NOT NULL REFERENCES policies (name),
    catalog       TEXT    REFERENCES catalogs (name),
    scopes        TEXT    NOT NULL,                 -- separated by blanks, in the order given
    read_only     INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    enabled       INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    not_before    INTEGER,
    expires_at    INTEGER,                          -- the first instant at which the key no longer works
    allowed_ips   TEXT    CHECK (allowed_ips <> ''),-- addresses and ranges, separated by blanks; NULL: anywhere
    rate_limit    INTEGER CHECK (rate_limit >= 0),
    rate_window_s INTEGER CHECK (rate_window_s > 0),
    metadata      TEXT    NOT NULL CHECK (length(metadata) <= 4096),    -- a JSON object
    created_by    TEXT    NOT NULL,                 -- an actor, as in audit_events
    created_at    INTEGER NOT NULL,
    rotated_at    INTEGER,
    deleted_at    INTEGER,                          -- once set, never cleared: a tombstone stays
    hint          TEXT    NOT NULL,                 -- start and end of the newest secret, safe to show
    self_rotated_from TEXT,                         -- the address of the newest rotation, if the key rotated itself
    seal          BLOB    CHECK (length(seal) = 40),    -- of the key and its secrets, see src/store/seals/keys.rs; a key without one opens nothing
    contact       TEXT    NOT NULL DEFAULT '' CHECK (length(contact) <= 200),   -- who to call about the key
    source        TEXT    NOT NULL DEFAULT '',      -- '': issued here; import:SYSTEM; file:PATH:LINE
    weak          INTEGER NOT NULL DEFAULT 0 CHECK (weak IN (0, 1)),    -- the newest secret was made by another system
    declared_name TEXT,                             -- the name in the file that declares the key
    declared_digest TEXT,                           -- the digest in that file
    declared_state TEXT,                            -- SHA-256 of what was applied from that file, and its uses_left; '': to be applied again; NULL: no file declares the key now
    held          INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1)),    -- disabled by hand: its file does not enable it
    rate_exact    INTEGER NOT NULL DEFAULT 0 CHECK (rate_exact IN (0, 1)),  -- 1: all nodes count the requests together
    CHECK ((rate_limit IS NULL) = (rate_window_s IS NULL))
) STRICT, WITHOUT ROWID;                            -- the start reads keys and secrets side by side in the order of ids

CREATE UNIQUE INDEX keys_number ON keys (number);  -- an index of its own, unlike a constraint's, has the ids too
CREATE INDEX keys_workspace ON keys (workspace_uid, id);
CREATE INDEX keys_owner ON keys (owner_uid) WHERE owner_uid IS NOT NULL;
CREATE INDEX keys_created_by ON keys (created_by, id);
CREATE INDEX keys_policy ON keys (policy, workspace_uid);
CREATE INDEX keys_catalog ON keys (catalog) WHERE catalog IS NOT NULL;
CREATE UNIQUE INDEX keys_declared_name ON keys (declared_name) WHERE declared_name IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX keys_declared_digest ON keys (declared_digest) WHERE declared_digest IS NOT NULL;
CREATE INDEX keys_declared ON keys (declared_name) WHERE declared_name IS NOT NULL;
CREATE INDEX keys_expires_at ON keys (expires_at) WHERE expires_at IS NOT NULL;

-- The members of keys.metadata by which lists are filtered: strings, numbers and booleans of the first level, as text.
-- Only an index: what a list shows is decided by the row of the key.
CREATE TABLE key_metadata (
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    PRIMARY KEY (name, value, key_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX key_metadata_key ON key_metadata (key_id);

-- Policies that somebody has switched on: their keys have a page of their own in the console's navigation.
CREATE TABLE console_pages (
    policy TEXT NOT NULL PRIMARY KEY REFERENCES policies (name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Digests of live secrets. During a rotation two of one key live: the newest, whose expires_at is NULL,
-- and the one before it. Deleting a key deletes its secrets.
CREATE TABLE secrets (
    key_id          TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    digest          BLOB    NOT NULL CHECK (length(digest) BETWEEN 32 AND 512), -- by the scheme; never the secret
    pepper          INTEGER NOT NULL,               -- version of the pepper; 0 for other schemes
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,                        -- end of the grace period; NULL for the newest
    until_first_use INTEGER NOT NULL CHECK (until_first_use IN (0, 1)), -- also ends at the first use of the newest
    sealed          BLOB    CHECK (length(sealed) > 28),    -- nonce, ciphertext, tag; only where the policy shows secrets again
    sealing_key     INTEGER,                        -- version of the sealing key
    scheme          INTEGER NOT NULL,               -- 1: HMAC-SHA256 under the pepper; others are in src/domain/keys/scheme.rs
    is_foreign      INTEGER NOT NULL CHECK (is_foreign IN (0, 1)),      -- made by another system: does not contain the key's id
    hmac_key        TEXT,                           -- name of the HMAC key of another system
    found_by        TEXT,                           -- start of the secret, by which a slow digest is found
    old_hint        TEXT,                           -- start and end of the secret before the newest; NULL for the newest
    PRIMARY KEY (key_id, digest),
    CHECK ((sealed IS NULL) = (sealing_key IS NULL)),
    CHECK ((scheme = 1) = (pepper > 0)),
    CHECK ((scheme IN (5, 6)) = (hmac_key IS NOT NULL)),
    CHECK ((scheme IN (7, 8, 9)) = (found_by IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX secrets_foreign ON secrets (scheme, pepper, hmac_key, digest) WHERE is_foreign = 1;
CREATE INDEX secrets_found_by ON secrets (found_by) WHERE found_by IS NOT NULL;

-- Secrets that have ended, for 400 days: presenting one is an alarm. Eight bytes of a digest open nothing.
CREATE TABLE retired_secrets (
    key_id     TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    digest     BLOB    NOT NULL CHECK (length(digest) = 8),     -- the start of the digest
    pepper     INTEGER NOT NULL,                    -- version of the pepper of that digest
    after_use  INTEGER NOT NULL CHECK (after_use IN (0, 1)),    -- 1: the first use of the newer secret had ended it
    retired_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX retired_secrets_retired_at ON retired_secrets (retired_at);

-- Digests in files that other ones have replaced. They never count again, nor do those of deleted keys, which stay in keys.
CREATE TABLE ended_digests (
    digest   TEXT    NOT NULL PRIMARY KEY,
    key_id   TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    ended_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the digests of imported keys are recognised by, after they were replaced or have ended: an HMAC with the seal key.
CREATE TABLE imported_digests (
    mark     BLOB    NOT NULL PRIMARY KEY CHECK (length(mark) = 32),
    seal_key INTEGER NOT NULL,                      -- version of the seal key
    key_id   TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- The files from which keys, policies and catalogs were applied last. The row whose path is '' stands for the settings.
CREATE TABLE declared_files (
    path   TEXT NOT NULL PRIMARY KEY,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    absent TEXT NOT NULL CHECK (absent IN ('delete', 'disable', 'keep'))    -- what happens to keys that it names no more
) STRICT, WITHOUT ROWID;

-- Versions of the pepper that this database's digests were made with. A fingerprint proves that a pepper
-- file belongs to this database and is good for nothing else.
CREATE TABLE peppers (
    version     INTEGER NOT NULL PRIMARY KEY,
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    added_at    INTEGER,                            -- when this database first had it; NULL: under schema 4 or an older one
    backed_up_at INTEGER                            -- when `latchkey secrets backup` last saved it, if it did
) STRICT;

-- The same for the sealing key and for the seal key, which lie outside the database too.
CREATE TABLE sealing_keys (
    version     INTEGER NOT NULL PRIMARY KEY,
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    added_at    INTEGER,                            -- when this database first had it; NULL: under schema 4 or an older one
    backed_up_at INTEGER,                           -- when `latchkey secrets backup` last saved it, if it did
    settled     INTEGER NOT NULL DEFAULT 1 CHECK (settled IN (0, 1))    -- 0: copies may still be under an older version
) STRICT;

CREATE TABLE seal_keys (
    version     INTEGER NOT NULL PRIMARY KEY,
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    added_at    INTEGER,                            -- when this database first had it; NULL: under schema 4 or an older one
    backed_up_at INTEGER,                           -- when `latchkey secrets backup` last saved it, if it did
    settled     INTEGER NOT NULL DEFAULT 1 CHECK (settled IN (0, 1))    -- 0: rows may still be sealed under an older version
) STRICT;

-- Access tokens of users who signed in, and their sessions in the console.
CREATE TABLE sessions (
    id         TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 10),
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    pepper     INTEGER NOT NULL,
    user_uid   TEXT    NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    generation INTEGER NOT NULL,                    -- the user's at sign-in
    read_only  INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    acting_uid    TEXT REFERENCES users (uid) ON DELETE CASCADE,    -- who really acts, if he has taken the user's place
    acting_generation INTEGER,                      -- that user's at the time
    acting_family TEXT CHECK (length(acting_family) = 10),      -- the sign-in that he did so with; it ends with that
    used_at    INTEGER,                             -- console sessions only: at most a minute behind
    source     TEXT,                                -- console sessions only: the address that signed in
    agent      TEXT,                                -- console sessions only: what the browser said it is
    seal       BLOB CHECK (length(seal) = 32),      -- of the row, under the seal key; a session without one is none
    CHECK ((used_at IS NULL) = (source IS NULL) AND (used_at IS NULL) = (agent IS NULL)),
    CHECK ((acting_uid IS NULL) = (acting_generation IS NULL) AND (acting_uid IS NULL) = (acting_family IS NULL))
) STRICT;

CREATE INDEX sessions_user ON sessions (user_uid);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- What access tokens are renewed with, once each. A used one stays until it expires, so that its second use is
-- noticed and ends the family: everything that came of one sign-in.
CREATE TABLE refresh_tokens (
    id         TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 10),
    digest     BLOB    NOT NULL CHECK (length(digest) = 32),
    pepper     INTEGER NOT NULL,
    user_uid   TEXT    NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    generation INTEGER NOT NULL,                    -- the user's at sign-in
    read_only  INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    family     TEXT    NOT NULL CHECK (length(family) = 10),    -- session_id of the family's first
    family_began_at INTEGER NOT NULL,               -- when the user signed in; a family ends 90 days later
    session_id TEXT    NOT NULL CHECK (length(session_id) = 10),    -- the access token that was issued with it
    used_at    INTEGER,                             -- once set, never cleared
    seal       BLOB CHECK (length(seal) = 32)       -- as in sessions
) STRICT;

CREATE INDEX refresh_tokens_user ON refresh_tokens (user_uid);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family, issued_at);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);

-- Who did what: gap-free, each row bound to the one before it. Also the feed of the index: what a
-- committed row names is what has to be loaded again.
CREATE TABLE audit_events (
    seq           INTEGER NOT NULL PRIMARY KEY,     -- from 1, without gaps
    at            INTEGER NOT NULL,
    actor         TEXT    NOT NULL,                 -- key:<id>, user:<name>, local:<uid> or system
    action        TEXT    NOT NULL,                 -- noun.verb
    target_kind   TEXT    NOT NULL,
    target_id     TEXT    NOT NULL,
    workspace_uid TEXT    NOT NULL,                 -- of the target; '' for things of the whole server
    source        TEXT    NOT NULL,                 -- the client's address, 'unix' or ''
    request_id    TEXT    NOT NULL,
    outcome       TEXT    NOT NULL CHECK (outcome IN ('allowed', 'denied')),
    reason        TEXT    NOT NULL,
    changes       TEXT    NOT NULL,                 -- JSON: {"member":[before,after]}
    previous      BLOB    NOT NULL CHECK (length(previous) = 32)        -- SHA-256 of the row before
) STRICT;

CREATE INDEX audit_events_target ON audit_events (target_kind, target_id, outcome);    -- and seq: the newest one about a thing is found at once
CREATE INDEX audit_events_workspace ON audit_events (workspace_uid, seq);

-- The end of the chain, sealed under the seal key: rows cannot be cut off unnoticed.
CREATE TABLE audit_head (
    one  INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    seq  INTEGER NOT NULL,
    hash BLOB    NOT NULL CHECK (length(hash) = 32),
    seal BLOB    NOT NULL CHECK (length(seal) = 32)
) STRICT;

-- Where the chain begins once its oldest rows were cut off: the last of them, sealed under the seal key, so that
-- nobody else can cut. Numbers are gap-free from 1, so seq is also how many rows were cut.
CREATE TABLE audit_checkpoint (
    one  INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    seq  INTEGER NOT NULL CHECK (seq > 0),
    hash BLOB    NOT NULL CHECK (length(hash) = 32),
    seal BLOB    NOT NULL CHECK (length(seal) = 32)
) STRICT;

-- What Latchkey last wrote of these things (a user's roles and authenticators belong to the user, and what a site is given to the
-- site), sealed under the seal key: what somebody else has changed since does not fit its seal, and opens nothing. Keys, sessions,
-- refresh tokens, counted uses and lent uses have their seals in their own rows.
CREATE TABLE row_seals (
    kind TEXT    NOT NULL CHECK (kind IN ('catalog', 'policy', 'site', 'user', 'workspace')),
    id   TEXT    NOT NULL,
    seq  INTEGER NOT NULL,                          -- of the newest audit event then: no later one may be about the thing
    seal BLOB    NOT NULL CHECK (length(seal) = 32),
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- The latest numbers that were given to keys, users and authenticators, and to workspaces: none is given twice. What is here may be
-- ahead of the rows, never behind them for long: the file of tombstones says the same, and survives a restore.
CREATE TABLE numbers (
    series TEXT    NOT NULL PRIMARY KEY CHECK (series IN ('key', 'workspace')),
    last   INTEGER NOT NULL
) STRICT;

-- Answers to POSTs that carried an Idempotency-Key, for 24 hours.
CREATE TABLE idempotency_keys (
    actor      TEXT    NOT NULL,                    -- as in audit_events, but user:<uid>
    name       TEXT    NOT NULL,                    -- what the client sent
    request    BLOB    NOT NULL CHECK (length(request) = 32),           -- route and body, sealed under the seal key
    target_id  TEXT    NOT NULL,                    -- what was created
    created_at INTEGER NOT NULL,
    PRIMARY KEY (actor, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

-- Who this server is for its sites: one row, made when the first site is added.
CREATE TABLE pack_server (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    uid   TEXT    NOT NULL CHECK (length(uid) = 36),
    name  TEXT    NOT NULL,                         -- in the heads of packs, and in the names of the keys that sign them
    reign INTEGER NOT NULL CHECK (reign > 0)        -- raised by a restore
) STRICT;

-- The keys that sign packs. The newest signs; each was introduced by the one before it.
CREATE TABLE pack_signing_keys (
    version      INTEGER NOT NULL PRIMARY KEY CHECK (version > 0),
    public       TEXT    NOT NULL,                  -- name+hash+base64, as signed notes write it
    sealed       BLOB    NOT NULL CHECK (length(sealed) = 60),  -- the seed: nonce, ciphertext, tag
    sealing_key  INTEGER NOT NULL,                  -- version of the sealing key
    introduction TEXT    NOT NULL,                  -- the signature of the key before; '' for the first
    added_at     INTEGER NOT NULL
) STRICT;

-- Sites, which verify without this server. A removed one stays as a tombstone, so that its name is not used again.
CREATE TABLE sites (
    name        TEXT    NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 63),
    minimal     INTEGER NOT NULL CHECK (minimal IN (0, 1)),     -- 1: its packs have no names and no metadata
    until_s     INTEGER NOT NULL CHECK (until_s > 0),           -- how long a pack counts
    lend        INTEGER NOT NULL CHECK (lend >= 0), -- uses of a counted key that it may have at a time
    max_stale_s INTEGER NOT NULL CHECK (max_stale_s BETWEEN 2 AND 86400),  -- how long a linked site may answer after the last word of the server
    created_at  INTEGER NOT NULL,
    removed_at  INTEGER,                            -- once set, never cleared
    sealed      BLOB    CHECK (length(sealed) = 60),            -- the key that it has alone with this server
    sealing_key INTEGER,                            -- version of the sealing key
    pack        INTEGER NOT NULL CHECK (pack >= 0), -- the latest number that was given; 0: none
    base        INTEGER NOT NULL CHECK (base >= 0 AND base <= pack),    -- the latest whole pack
    life        TEXT    CHECK (length(life) = 36),  -- from the newest report: of the site's state
    report      INTEGER,                            -- the number of that report
    reported_at INTEGER,                            -- its time, by the clock of the site
    applied     INTEGER,                            -- the pack in force at the site then; 0: none
    applied_events INTEGER,                         -- the newest audit event that this pack includes
    lent_life   TEXT    CHECK (length(lent_life) = 36),         -- to which state of the site uses are lent; NULL: to the enrolment
    CHECK ((removed_at IS NULL) = (sealed IS NOT NULL) AND (sealed IS NULL) = (sealing_key IS NULL)),
    CHECK ((report IS NULL) = (life IS NULL) AND (report IS NULL) = (reported_at IS NULL)
           AND (report IS NULL) = (applied IS NULL) AND (report IS NULL) = (applied_events IS NULL))
) STRICT;

-- What a site is given: workspaces with everything below them. Without catalogs, the keys of all catalogs and of none.
CREATE TABLE site_parts (
    site TEXT NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('catalog', 'workspace')),
    id   TEXT NOT NULL,                             -- the name of a catalog, the uid of a workspace
    PRIMARY KEY (site, kind, id)
) STRICT, WITHOUT ROWID;

-- The newest packs of each site: the whole one from which differences are made, and those since.
CREATE TABLE packs (
    site     TEXT    NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    number   INTEGER NOT NULL CHECK (number > 0),
    base     INTEGER NOT NULL CHECK (base >= 0 AND base < number),      -- 0: a whole pack
    made_at  INTEGER NOT NULL,
    until    INTEGER NOT NULL,                      -- the first instant at which it no longer counts
    events   INTEGER NOT NULL,                      -- the newest audit event that it includes
    keys     INTEGER NOT NULL,                      -- that the site holds after it
    bytes    INTEGER NOT NULL,                      -- of the file
    sha256   BLOB    NOT NULL CHECK (length(sha256) = 32),      -- of the body
    PRIMARY KEY (site, number)
) STRICT, WITHOUT ROWID;

-- Uses of counted keys that sites were lent. They were taken off the remaining uses first.
CREATE TABLE site_lent (
    site   TEXT    NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    key_id TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    lent   INTEGER NOT NULL CHECK (lent >= 0),      -- in all
    spent  INTEGER NOT NULL CHECK (spent >= 0),     -- of those, according to reports
    epoch  INTEGER NOT NULL CHECK (epoch >= 0),     -- of key_uses, from which those were taken that are not spent
    seal   BLOB    NOT NULL CHECK (length(seal) = 32),          -- of this row and of sites.lent_life
    PRIMARY KEY (site, key_id)
) STRICT, WITHOUT ROWID;

-- The newest audit events that packs of a site included; the heads of later packs name them. The newest few thousand are kept.
CREATE TABLE site_points (
    site   TEXT    NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    events INTEGER NOT NULL CHECK (events >= 0),
    start  BLOB    NOT NULL CHECK (length(start) = 8),          -- of the event's hash
    PRIMARY KEY (site, events)
) STRICT, WITHOUT ROWID;

-- What reports of a site say about keys: sums since the state of the site began.
CREATE TABLE site_usage (
    site     TEXT    NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    key_id   TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    uses     INTEGER NOT NULL,
    refusals INTEGER NOT NULL,
    ended_at INTEGER,                               -- the site has ended the key: a proposal to disable it here
    PRIMARY KEY (site, key_id)
) STRICT, WITHOUT ROWID;

-- Sites that ask over the live link, also those that were removed since.
CREATE TABLE site_links (
    site     TEXT    NOT NULL PRIMARY KEY REFERENCES sites (name) ON DELETE CASCADE,
    lease_s  INTEGER NOT NULL CHECK (lease_s >= 0), -- after a start of the server, the site may answer for so long
    asked_at INTEGER NOT NULL,
    events   INTEGER NOT NULL CHECK (events >= 0)   -- the newest audit event that was in force there then
) STRICT, WITHOUT ROWID;

CREATE INDEX site_usage_key ON site_usage (key_id);
CREATE INDEX site_lent_key ON site_lent (key_id);

-- Local state ------------------------------------------------------------------------------------------

-- Uses that a limited key has left, less what is reserved in memory: taken off before it is spent.
CREATE TABLE key_uses (
    key_id    TEXT    NOT NULL PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
    epoch     INTEGER NOT NULL CHECK (epoch >= 0),  -- raised when the number is set: what was reserved of another one is void
    seal      BLOB    CHECK (length(seal) = 32)     -- of this row and of the key's seal
) STRICT, WITHOUT ROWID;

-- What was last seen of a key; written in batches, at most an interval old.
CREATE TABLE key_usage (
    key_id       TEXT    NOT NULL PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    use_count    INTEGER NOT NULL,
    last_used_at INTEGER,
    last_used_ip TEXT,
    previous_used_at INTEGER,                       -- when the secret before the newest was last used
    networks     TEXT NOT NULL DEFAULT '',          -- up to eight that it was used from, the latest first, separated by blanks
    networks_from INTEGER                           -- no use from a new network counts as one before this
) STRICT, WITHOUT ROWID;

CREATE INDEX key_usage_last_used_at ON key_usage (last_used_at, key_id) WHERE last_used_at IS NOT NULL;

-- What tripwires have found about a key.
CREATE TABLE key_alarms (
    key_id      TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    kind        TEXT    NOT NULL CHECK (kind IN ('leaked', 'old_secret', 'tripped')),
    count       INTEGER NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    last_ip     TEXT,                               -- of the client, if it is known
    place       TEXT    NOT NULL,                   -- the request, or where a leaked secret was found
    recorded_at INTEGER,                            -- when the last audit event about this was written
    PRIMARY KEY (key_id, kind)
) STRICT, WITHOUT ROWID;

-- Verdicts by key, hour and code.
CREATE TABLE usage_hours (
    key_id TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    hour   INTEGER NOT NULL,                        -- hours since 1970
    code   TEXT    NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (key_id, hour, code)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_hours_hour ON usage_hours (hour);

-- The same of all keys together, of keys that are gone too.
CREATE TABLE usage_totals (
    hour       INTEGER NOT NULL,
    code       TEXT    NOT NULL,
    management INTEGER NOT NULL CHECK (management IN (0, 1)),   -- 1: of keys for this server itself; 0 in hours of schema 4 and before
    count      INTEGER NOT NULL,
    PRIMARY KEY (hour, code, management)
) STRICT, WITHOUT ROWID;

-- Challenges between the two steps of a sign-in that were used and have not expired.
CREATE TABLE spent_challenges (
    seal    BLOB    NOT NULL PRIMARY KEY CHECK (length(seal) = 32),     -- all zeros: every one that ends then or before
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_challenges_end ON spent_challenges (ends_at);

-- The nodes, which are data folders, that have opened this database.
CREATE TABLE nodes (
    id         TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 32),    -- from the file node-id of the folder
    name       TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 64),  -- of the machine, at the latest start
    boot       INTEGER NOT NULL CHECK (boot > 0),   -- how often the node has opened the database
    started_at INTEGER NOT NULL                     -- the latest time
) STRICT, WITHOUT ROWID;

-- The newest batch of usage that each node has written. One that is not newer was written already.
CREATE TABLE usage_flush (
    node  TEXT    NOT NULL PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    boot  INTEGER NOT NULL,                         -- the start of the node, by nodes.boot
    batch INTEGER NOT NULL                          -- its batches, from 1
) STRICT, WITHOUT ROWID;

-- The nodes that use a database on a server at this time: each of them writes its row once a second, and deletes it when it stops.
-- In a file there is no row.
CREATE TABLE node_leases (
    node    TEXT    NOT NULL PRIMARY KEY CHECK (length(node) = 32),     -- as nodes.id
    name    TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 64),     -- of the machine
    seen_at INTEGER NOT NULL,                       -- by the clock of the server
    version TEXT    NOT NULL,                       -- of the program
    schema  INTEGER NOT NULL                        -- the newest that the program knows
) STRICT, WITHOUT ROWID;

-- Attempts to sign in of the last day, by which the nodes of a database on a server count those of one another. In a file there is no
-- row.
CREATE TABLE shared_attempts (
    number  INTEGER NOT NULL PRIMARY KEY,           -- grows with each attempt
    changed INTEGER NOT NULL,                       -- of the latest change of this row: a number of the same series
    node    TEXT    NOT NULL CHECK (length(node) = 32),                 -- as nodes.id
    at      INTEGER NOT NULL,                       -- by the clock of the node, when the row was changed
    what    TEXT    NOT NULL,                       -- the words are those of src/domain/attempts/shared.rs
    outcome INTEGER NOT NULL CHECK (outcome IN (0, 1, 2))               -- 0: not known yet, 1: failed, 2: no failure
) STRICT;

CREATE INDEX shared_attempts_changed ON shared_attempts (changed);

-- Seals of codes with which the first owner's password is set in the console, one for each node that has shown one. In a file there
-- is no row.
CREATE TABLE setup_codes (
    node TEXT NOT NULL PRIMARY KEY CHECK (length(node) = 32),           -- as nodes.id
    seal BLOB NOT NULL CHECK (length(seal) = 32)    -- under the seal key, so that nobody else can make one
) STRICT, WITHOUT ROWID;

-- The older copy that has last taken the place of a database on a server, for the nodes that close it in turn, and for those that were
-- away. One row, or none. A restore records itself as well.
CREATE TABLE older_copy (
    one       INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    seq       INTEGER NOT NULL,                     -- of the event with which the first node closed it
    hash      BLOB    NOT NULL CHECK (length(hash) = 32),
    copied_at INTEGER NOT NULL                      -- when it was made, or an earlier copy before it
) STRICT;

-- The nodes that have closed that copy by what they know, and those that are still to do so. In a file there is no row.
CREATE TABLE closing_nodes (
    node  TEXT NOT NULL PRIMARY KEY CHECK (length(node) = 32),          -- as nodes.id
    name  TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),          -- of the machine
    state TEXT NOT NULL CHECK (state IN ('closed', 'forgotten', 'waiting'))
) STRICT, WITHOUT ROWID;

-- For each node a time that has certainly passed, and what decides how far it follows a wall clock that is ahead of it: the rules
-- are in src/domain/clock/mod.rs. "Now" is never earlier there. In a file, which has one node at a time, each begins with the latest time.
CREATE TABLE clock (
    node         TEXT    NOT NULL PRIMARY KEY CHECK (length(node) IN (0, 32)),  -- nodes.id; '' before any node has opened the database
    mark         INTEGER NOT NULL,
    allowance_ms INTEGER CHECK (allowance_ms >= 0), -- by how much it may still run ahead of the steady clock; NULL for all of it
    settled      INTEGER NOT NULL DEFAULT 1 CHECK (settled IN (0, 1)),  -- 0: no plausible time has been seen yet
    boot         TEXT,                              -- the system's id of the boot in which the mark was stored
    uptime_ms    INTEGER,                           -- and the time since that boot
    corrections  INTEGER NOT NULL DEFAULT 0,        -- how often an administrator has corrected the mark
    CHECK ((boot IS NULL) = (uptime_ms IS NULL))
) STRICT, WITHOUT ROWID;

-- What makes a database that of a site: a server that verifies from the packs of another one, and issues nothing. One row,
-- or none at a server.
CREATE TABLE site_state (
    one         INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    sealed      BLOB    NOT NULL CHECK (length(sealed) > 28),   -- whom the site trusts and what it has applied: nonce, ciphertext, tag
    sealing_key INTEGER NOT NULL                    -- version of the sealing key
) STRICT;

-- Keys that open nothing here, whatever a pack holds.
CREATE TABLE site_ended (
    key_id   TEXT    NOT NULL PRIMARY KEY CHECK (length(key_id) = 10),
    reason   TEXT    NOT NULL CHECK (reason IN ('fork', 'revoked', 'site')),    -- known to be ended before a fork; by a list of the server; here
    ended_at INTEGER NOT NULL,
    events   INTEGER NOT NULL                       -- 'revoked': a pack with this event of the server has it itself
) STRICT, WITHOUT ROWID;

-- Digests that an applied pack has ended. After a restore of the server they stay ended.
CREATE TABLE site_ended_digests (
    digest  BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    key_id  TEXT    NOT NULL CHECK (length(key_id) = 10),
    stays   INTEGER NOT NULL CHECK (stays IN (0, 1))    -- 1: since a fork or since a first use here, whatever a pack holds
) STRICT, WITHOUT ROWID;

-- Secrets that have ended by a list of the server, and open nothing here, whatever a pack holds.
CREATE TABLE site_ended_secrets (
    key_id TEXT    NOT NULL CHECK (length(key_id) = 10),
    start  BLOB    NOT NULL CHECK (length(start) = 8),  -- of the digest
    events INTEGER,                                 -- a pack with this event of the server has it itself; NULL: it stays, since a fork
    PRIMARY KEY (key_id, start)
) STRICT, WITHOUT ROWID;

-- Uses of counted keys that were taken from what the server has lent.
CREATE TABLE site_spent (
    key_id TEXT    NOT NULL PRIMARY KEY CHECK (length(key_id) = 10),
    spent  INTEGER NOT NULL CHECK (spent >= 0)
) STRICT, WITHOUT ROWID;

-- How often keys were used here, for reports; the numbers grow.
CREATE TABLE site_uses (
    key_id       TEXT    NOT NULL PRIMARY KEY CHECK (length(key_id) = 10),
    uses         INTEGER NOT NULL CHECK (uses >= 0),
    refusals     INTEGER NOT NULL CHECK (refusals >= 0),
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;

-- The verdicts given here on all keys and on unknown secrets, for reports; the numbers grow.
CREATE TABLE site_verdicts (
    code  TEXT    NOT NULL PRIMARY KEY,
    count INTEGER NOT NULL CHECK (count >= 0)
) STRICT, WITHOUT ROWID;

-- Failed sign-ins in a row of an account as a whole, since its last success. Written in batches.
CREATE TABLE sign_in_failures (
    account  TEXT    NOT NULL PRIMARY KEY,          -- the uid of a user, or unknown:<keyed digest> for a name that no user has
    failures INTEGER NOT NULL CHECK (failures > 0),
    since    INTEGER NOT NULL                       -- when the first of them was
) STRICT, WITHOUT ROWID;

-- Networks that users have signed in from: an attack from elsewhere does not lock them out there.
CREATE TABLE sign_in_networks (
    user_uid TEXT    NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    network  TEXT    NOT NULL,                      -- an IPv4 address, or the first address of an IPv6 network of 64 bits
    used_at  INTEGER NOT NULL,                      -- at most a day behind
    failures INTEGER NOT NULL CHECK (failures >= 0),    -- in a row, from this network
    PRIMARY KEY (user_uid, network)
) STRICT, WITHOUT ROWID;

-- When and from where users last signed in with a password.
CREATE TABLE user_sign_ins (
    user_uid TEXT    NOT NULL PRIMARY KEY REFERENCES users (uid) ON DELETE CASCADE,
    at       INTEGER NOT NULL,
    source   TEXT    NOT NULL                       -- the address, or 'unix'
) STRICT, WITHOUT ROWID;

-- What users have chosen for their pages of the console. None of it decides what they may do.
CREATE TABLE user_preferences (
    user_uid  TEXT NOT NULL PRIMARY KEY REFERENCES users (uid) ON DELETE CASCADE,
    theme     TEXT NOT NULL CHECK (theme IN ('', 'dark', 'light')),     -- '': as the browser says
    language  TEXT NOT NULL CHECK (length(language) <= 35),             -- a BCP 47 tag; '': as the browser says
    time_zone TEXT NOT NULL CHECK (length(time_zone) <= 64)             -- a name of the IANA database; '': UTC
) STRICT, WITHOUT ROWID;

-- What an administrator or the owner of a key should hear of. A row never changes; the oldest go when there are too many.
CREATE TABLE notices (
    seq           INTEGER NOT NULL PRIMARY KEY,     -- grows; sinks remember how far they are
    id            TEXT    NOT NULL CHECK (length(id) = 36),     -- the same in every delivery
    kind          TEXT    NOT NULL,                 -- such as key.expiring
    subject_kind  TEXT    NOT NULL,                 -- as target_kind and target_id in audit_events
    subject_id    TEXT    NOT NULL,
    workspace_uid TEXT    NOT NULL,                 -- of the subject; '' for the whole server
    user_uid      TEXT,                             -- the owner of the key, or the user itself
    first_at      INTEGER NOT NULL,
    last_at       INTEGER NOT NULL,
    count         INTEGER NOT NULL CHECK (count > 0),
    data          TEXT    NOT NULL                  -- a JSON object of strings; never a secret, a digest or metadata
) STRICT;

-- How far each reader of a series is: sinks in notices and in the audit log, and what finds notices in the audit log and in the
-- times of keys.
CREATE TABLE notice_cursors (
    reader   TEXT    NOT NULL,
    series   TEXT    NOT NULL,
    position INTEGER NOT NULL,                      -- the last number, or the last time, that was handled
    PRIMARY KEY (reader, series)
) STRICT, WITHOUT ROWID;

-- The newest notice that a user has seen in the console.
CREATE TABLE notice_reads (
    user_uid TEXT    NOT NULL PRIMARY KEY REFERENCES users (uid) ON DELETE CASCADE,
    seq      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The windows of exact rate limits, in which the nodes of a database on a server count requests together. A failure of the server empties
-- the table, as a restart of a single node empties its windows. Of a file nothing reads it.
CREATE TABLE exact_windows (
    key_id  TEXT    NOT NULL PRIMARY KEY CHECK (length(key_id) = 10),   -- no reference: its check would write into keys
    ends_at INTEGER NOT NULL,                       -- when no request counts any more; times are by the clock of the server, in ms
    slots   BLOB    NOT NULL                        -- the requests by time, see src/domain/keys/window.rs
) STRICT, WITHOUT ROWID;
