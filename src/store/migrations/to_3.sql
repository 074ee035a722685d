-- From schema 2 to 3, one section a concern. What SQL cannot do is in to_3.rs.

-- Policies: what happens at the greatest number of keys of an owner, and the bound of requests. Presets have theirs from the first start (ops/policies/presets.rs).
ALTER TABLE policies ADD COLUMN at_owner_max TEXT NOT NULL DEFAULT 'refuse' CHECK (at_owner_max IN ('refuse', 'replace'));
ALTER TABLE policies ADD COLUMN rate_limit_max INTEGER CHECK (rate_limit_max >= 0);
ALTER TABLE policies ADD COLUMN rate_limit_max_window_s INTEGER CHECK ((rate_limit_max_window_s IS NULL) = (rate_limit_max IS NULL) AND coalesce(rate_limit_max_window_s, 1) > 0);
