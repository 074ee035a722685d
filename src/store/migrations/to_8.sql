ALTER TABLE keys ADD COLUMN rate_exact INTEGER NOT NULL DEFAULT 0 CHECK (rate_exact IN (0, 1));
ALTER TABLE policies ADD COLUMN rate_exact INTEGER NOT NULL DEFAULT 0 CHECK (rate_exact IN (0, 1));
CREATE TABLE exact_windows (
    key_id  TEXT    NOT NULL PRIMARY KEY CHECK (length(key_id) = 10),
    ends_at INTEGER NOT NULL,
    slots   BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
