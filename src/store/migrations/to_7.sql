CREATE TABLE node_leases (
    node    TEXT    NOT NULL PRIMARY KEY CHECK (length(node) = 32),
    name    TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    seen_at INTEGER NOT NULL,
    version TEXT    NOT NULL,
    schema  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE shared_attempts (
    number  INTEGER NOT NULL PRIMARY KEY,
    changed INTEGER NOT NULL,
    node    TEXT    NOT NULL CHECK (length(node) = 32),
    at      INTEGER NOT NULL,
    what    TEXT    NOT NULL,
    outcome INTEGER NOT NULL CHECK (outcome IN (0, 1, 2))
) STRICT;
CREATE INDEX shared_attempts_changed ON shared_attempts (changed);
CREATE TABLE setup_codes (
    node TEXT NOT NULL PRIMARY KEY CHECK (length(node) = 32),
    seal BLOB NOT NULL CHECK (length(seal) = 32)
) STRICT, WITHOUT ROWID;
CREATE TABLE older_copy (
    one       INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    seq       INTEGER NOT NULL,
    hash      BLOB    NOT NULL CHECK (length(hash) = 32),
    copied_at INTEGER NOT NULL
) STRICT;
CREATE TABLE closing_nodes (
    node  TEXT NOT NULL PRIMARY KEY CHECK (length(node) = 32),
    name  TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    state TEXT NOT NULL CHECK (state IN ('closed', 'forgotten', 'waiting'))
) STRICT, WITHOUT ROWID;
