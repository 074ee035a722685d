-- From schema 1 to 2, one section a concern. What SQL cannot do is in to_2.rs.

-- Catalogs say whether the application tells case. None of schema 1 did, so what resembles a literal is refused.
CREATE TEMP TABLE catalogs_of_1 AS SELECT name FROM catalogs;
DROP TABLE catalogs;
CREATE TABLE catalogs (
    name           TEXT    NOT NULL PRIMARY KEY,
    case_sensitive INTEGER NOT NULL DEFAULT 0 CHECK (case_sensitive IN (0, 1))
) STRICT;
INSERT INTO catalogs (name) SELECT name FROM catalogs_of_1;
DROP TABLE catalogs_of_1;
