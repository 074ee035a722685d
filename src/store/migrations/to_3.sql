-- From schema 2 to 3, one section a concern. What SQL cannot do is in to_3.rs.

-- Members of the metadata of keys; to_3.rs fills it.
CREATE TABLE key_metadata (
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    PRIMARY KEY (name, value, key_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX key_metadata_key ON key_metadata (key_id);
