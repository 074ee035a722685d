-- From schema 1 to 2, one section a concern. What SQL cannot do is in to_2.rs.

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
