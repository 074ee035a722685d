-- From schema 1 to 2, one section a concern. What SQL cannot do is in to_2.rs.

-- What a role of the owner passes on to a key that acts for its owner. The first start fills it (ops/policies/presets.rs).
CREATE TABLE policy_roles (
    policy    TEXT    NOT NULL REFERENCES policies (name) ON DELETE CASCADE,
    role      TEXT    NOT NULL CHECK (role IN ('owner', 'administrator', 'key_manager', 'auditor', 'member')),
    scopes    TEXT    NOT NULL CHECK (scopes <> ''),
    read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    PRIMARY KEY (policy, role)
) STRICT, WITHOUT ROWID;
