-- From schema 3 to 4.

-- Who to call about a key.
ALTER TABLE keys ADD COLUMN contact TEXT NOT NULL DEFAULT '' CHECK (length(contact) <= 200);
