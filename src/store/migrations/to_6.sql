-- Sites have a longest time without a word of the server, and seals, and uses are lent to one life of a site. Packs name what the packs
-- before them included. The remaining uses of a key have an epoch.
CREATE TABLE sites_of_5 AS SELECT * FROM sites;
DROP TABLE sites;
CREATE TABLE sites (
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
    lent_life   TEXT    CHECK (length(lent_life) = 36),
    CHECK ((removed_at IS NULL) = (sealed IS NOT NULL) AND (sealed IS NULL) = (sealing_key IS NULL)),
    CHECK ((report IS NULL) = (life IS NULL) AND (report IS NULL) = (reported_at IS NULL)
           AND (report IS NULL) = (applied IS NULL) AND (report IS NULL) = (applied_events IS NULL))
) STRICT;
INSERT INTO sites (name, minimal, until_s, lend, max_stale_s, created_at, removed_at, sealed, sealing_key, pack, base, life,
                     report, reported_at, applied, applied_events, lent_life)
SELECT name, minimal, until_s, lend, 10, created_at, removed_at, sealed, sealing_key, pack, base, life, report, reported_at,
       applied, applied_events, life
FROM sites_of_5;
DROP TABLE sites_of_5;
CREATE TABLE site_lent_of_5 AS SELECT * FROM site_lent;
DROP TABLE site_lent;
CREATE TABLE site_lent (
    site   TEXT    NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    key_id TEXT    NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    lent   INTEGER NOT NULL CHECK (lent >= 0),
    spent  INTEGER NOT NULL CHECK (spent >= 0),
    epoch  INTEGER NOT NULL CHECK (epoch >= 0),
    seal   BLOB    NOT NULL CHECK (length(seal) = 32),
    PRIMARY KEY (site, key_id)
) STRICT, WITHOUT ROWID;
INSERT INTO site_lent (site, key_id, lent, spent, epoch, seal)
SELECT site, key_id, lent, spent, 0, zeroblob(32)
FROM site_lent_of_5;
DROP TABLE site_lent_of_5;
CREATE INDEX site_lent_key ON site_lent (key_id);

CREATE TABLE row_seals_of_5 AS SELECT * FROM row_seals;
DROP TABLE row_seals;
CREATE TABLE row_seals (
    kind TEXT    NOT NULL CHECK (kind IN ('catalog', 'policy', 'site', 'user', 'workspace')),
    id   TEXT    NOT NULL,
    seq  INTEGER NOT NULL,
    seal BLOB    NOT NULL CHECK (length(seal) = 32),
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
INSERT INTO row_seals (kind, id, seq, seal)
SELECT kind, id, seq, seal
FROM row_seals_of_5;
DROP TABLE row_seals_of_5;

CREATE TABLE site_points (
    site   TEXT    NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    events INTEGER NOT NULL CHECK (events >= 0),
    start  BLOB    NOT NULL CHECK (length(start) = 8),
    PRIMARY KEY (site, events)
) STRICT, WITHOUT ROWID;

CREATE TABLE site_ended_secrets (
    key_id TEXT    NOT NULL CHECK (length(key_id) = 10),
    start  BLOB    NOT NULL CHECK (length(start) = 8),
    events INTEGER,
    PRIMARY KEY (key_id, start)
) STRICT, WITHOUT ROWID;
CREATE TABLE site_links (
    site     TEXT    NOT NULL PRIMARY KEY REFERENCES sites (name) ON DELETE CASCADE,
    lease_s  INTEGER NOT NULL CHECK (lease_s >= 0),
    asked_at INTEGER NOT NULL,
    events   INTEGER NOT NULL CHECK (events >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE key_uses_of_5 AS SELECT * FROM key_uses;
DROP TABLE key_uses;
CREATE TABLE key_uses (
    key_id    TEXT    NOT NULL PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
    epoch     INTEGER NOT NULL CHECK (epoch >= 0),
    seal      BLOB    CHECK (length(seal) = 32)
) STRICT, WITHOUT ROWID;
INSERT INTO key_uses (key_id, uses_left, epoch, seal)
SELECT key_id, uses_left, 0, seal
FROM key_uses_of_5;
DROP TABLE key_uses_of_5;

CREATE TABLE nodes (
    id         TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    name       TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    boot       INTEGER NOT NULL CHECK (boot > 0),
    started_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE usage_flush (
    node  TEXT    NOT NULL PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    boot  INTEGER NOT NULL,
    batch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE spent_challenges (
    seal    BLOB    NOT NULL PRIMARY KEY CHECK (length(seal) = 32),
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_challenges_end ON spent_challenges (ends_at);

CREATE TABLE clock_of_5 AS SELECT * FROM clock;
DROP TABLE clock;
CREATE TABLE clock (
    node         TEXT    NOT NULL PRIMARY KEY CHECK (length(node) IN (0, 32)),
    mark         INTEGER NOT NULL,
    allowance_ms INTEGER CHECK (allowance_ms >= 0),
    settled      INTEGER NOT NULL DEFAULT 1 CHECK (settled IN (0, 1)),
    boot         TEXT,
    uptime_ms    INTEGER,
    corrections  INTEGER NOT NULL DEFAULT 0,
    CHECK ((boot IS NULL) = (uptime_ms IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO clock (node, mark, allowance_ms, settled, boot, uptime_ms, corrections)
SELECT '', mark, allowance_ms, settled, boot, uptime_ms, corrections
FROM clock_of_5;
DROP TABLE clock_of_5;
