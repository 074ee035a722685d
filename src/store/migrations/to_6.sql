-- Sites have a longest time without a word of the server.
CREATE TABLE sites_6 (
    name        TEXT    NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 63),
    minimal     INTEGER NOT NULL CHECK (minimal IN (0, 1)),
    until_s     INTEGER NOT NULL CHECK (until_s > 0),
    lend        INTEGER NOT NULL CHECK (lend >= 0),
    max_stale_s INTEGER NOT NULL CHECK (max_stale_s BETWEEN 2 AND 86400),
    created_at  INTEGER NOT NULL,
    removed_at  INTEGER,
    sealed      BLOB    CHECK (length(sealed) = 60),
    sealing_key INTEGER,
    pack        INTEGER NOT NULL CHECK (pack >= 0),
    base        INTEGER NOT NULL CHECK (base >= 0 AND base <= pack),
    life        TEXT    CHECK (length(life) = 36),
    report      INTEGER,
    reported_at INTEGER,
    applied     INTEGER,
    applied_events INTEGER,
    CHECK ((removed_at IS NULL) = (sealed IS NOT NULL) AND (sealed IS NULL) = (sealing_key IS NULL)),
    CHECK ((report IS NULL) = (life IS NULL) AND (report IS NULL) = (reported_at IS NULL)
           AND (report IS NULL) = (applied IS NULL) AND (report IS NULL) = (applied_events IS NULL))
) STRICT;
INSERT INTO sites_6 (name, minimal, until_s, lend, max_stale_s, created_at, removed_at, sealed, sealing_key, pack, base, life,
                     report, reported_at, applied, applied_events)
SELECT name, minimal, until_s, lend, 10, created_at, removed_at, sealed, sealing_key, pack, base, life, report, reported_at,
       applied, applied_events
FROM sites;
DROP TABLE sites;
ALTER TABLE sites_6 RENAME TO sites;
CREATE TABLE site_links (
    site     TEXT    NOT NULL PRIMARY KEY REFERENCES sites (name) ON DELETE CASCADE,
    lease_s  INTEGER NOT NULL CHECK (lease_s >= 0),
    asked_at INTEGER NOT NULL,
    events   INTEGER NOT NULL CHECK (events >= 0)
) STRICT, WITHOUT ROWID;
