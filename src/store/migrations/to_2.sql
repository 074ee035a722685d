-- From schema 1 to 2, one section a concern. What SQL cannot do is in to_2.rs.

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
