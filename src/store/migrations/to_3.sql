-- From schema 2 to 3, one section a concern. What SQL cannot do is in to_3.rs.

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
