//! From schema 2 to 3.

use super::Step;
use crate::domain::audit::Kind;
use crate::domain::key::keyfile::KeyFiles;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Write;

pub const STEP: Step = Step {
    to: 3,
    sql: include_str!("to_3.sql"),
    sealed_before,
    act,
};

fn act(tx: &Write<'_>, _: &KeyFiles, _: Timestamp) -> Result<()> {
    replace_keys_of_sign_ins(tx)?;
    bound_requests(tx)
}

/// Keys that are made with a password replace the one that was not used for the longest time, where they were refused
/// from the hundredth on; unless somebody has edited the policy. Its roles are there from the first start of schema 2 on.
fn replace_keys_of_sign_ins(tx: &Write<'_>) -> Result<()> {
    tx.execute(
        "UPDATE policies
         SET at_owner_max = 'replace'
         WHERE name = 'adverity-token'
             AND description = 'Adverity keys made with user name and password; used as Token.'
             AND issued_by = 'password' AND owner = 'required' AND catalog = 'adverity' AND scopes = 'required'
             AND headers = 'token' AND read_only_by = 'operation' AND expiry = 'optional' AND expiry_s_max IS NULL
             AND expiry_months_max IS NULL AND addresses = 'off' AND keys_per_workspace_max IS NULL
             AND keys_per_owner_max = 100 AND name_unique = 0 AND secret_shown = 'once' AND editable = ''
             AND can_disable = 0 AND can_rotate = 1 AND self_rotation = 'at_once' AND confirm_name = 0
             AND tied_to = 'owner_and_workspace' AND acts_for_owner = 1 AND rate_limit IS NULL AND prefix = 'lk'
             AND (SELECT count(*) FROM policy_roles WHERE policy = name) IN (0, 4)
             AND NOT EXISTS (
                 SELECT 1 FROM policy_roles
                 WHERE policy = name
                     AND role || ' ' || scopes || ' ' || read_only NOT IN ('owner account:write 0',
                         'administrator account:write 0', 'key_manager all:read 1', 'auditor all:read 1'))",
        &[],
    )?;
    Ok(())
}

/// The limit of Awaretrain's keys was a default; it is a bound as well now, unless somebody has edited the policy.
fn bound_requests(tx: &Write<'_>) -> Result<()> {
    tx.execute(
        "UPDATE policies
         SET rate_limit_max = 60, rate_limit_max_window_s = 60
         WHERE name = 'awaretrain'
             AND description
                 = 'API keys as Awaretrain has them: made by key managers, with scopes, for a year at most.'
             AND issued_by = 'manager' AND owner = 'forbidden' AND catalog = 'awaretrain' AND scopes = 'required'
             AND headers = 'bearer' AND read_only_by = 'scope' AND expiry = 'required' AND expiry_s_max IS NULL
             AND expiry_months_max = 12 AND addresses = 'exact' AND keys_per_workspace_max IS NULL
             AND keys_per_owner_max IS NULL AND name_unique = 0 AND secret_shown = 'once'
             AND editable = 'name expires_at scopes allowed_ips' AND can_disable = 0 AND can_rotate = 0
             AND self_rotation = 'no' AND confirm_name = 0 AND tied_to = 'workspace' AND acts_for_owner = 0
             AND rate_limit = 60 AND rate_window_s = 60 AND prefix = 'awaretrain'",
        &[],
    )?;
    Ok(())
}

/// The columns that schema 2 sealed.
fn sealed_before(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Catalog => &[
            "SELECT name, case_sensitive FROM catalogs WHERE name = $1",
            "SELECT position, name, label, implies, root_only FROM catalog_scopes WHERE catalog = $1 ORDER BY position",
            "SELECT position, id, method, path, host, writes, any_of
             FROM catalog_operations
             WHERE catalog = $1
             ORDER BY position",
        ],
        Kind::Policy => &[
            "SELECT name, description, issued_by, owner, catalog, scopes, headers, read_only_by, expiry, expiry_s_max,
                    expiry_months_max, addresses, keys_per_workspace_max, keys_per_owner_max, name_unique,
                    secret_shown, editable, can_disable, can_rotate, confirm_name, tied_to, rate_limit,
                    rate_window_s, prefix, acts_for_owner, self_rotation
             FROM policies
             WHERE name = $1",
            "SELECT role, scopes, read_only FROM policy_roles WHERE policy = $1 ORDER BY role",
        ],
        Kind::User => &[
            "SELECT uid, number, user_name, email, home_uid, password_digest, password_pepper, enabled, generation,
                    created_at, deleted_at
             FROM users
             WHERE uid = $1",
            "SELECT workspace_uid, role FROM role_bindings WHERE user_uid = $1 ORDER BY workspace_uid",
            "SELECT number, kind, description, scopes, read_only, enabled, created_at, deleted_at, public_key, sealed,
                    sealing_key, used_step
             FROM authenticators
             WHERE user_uid = $1
             ORDER BY number",
        ],
        Kind::Workspace => &[
            "SELECT uid, number, slug, name, parent_uid, enabled, created_at, updated_at, deleted_at
             FROM workspaces
             WHERE uid = $1",
        ],
        Kind::Key | Kind::Server | Kind::Session => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::Definition;
    use crate::domain::key::quota::RateLimit;
    use crate::domain::people::Role;
    use crate::domain::policy::roles::RoleRule;
    use crate::domain::policy::{
        AddressRule, AtMax, CredentialHeader, Editable, Expiry, Field, IssuedBy, Policy, Presence,
        ReadOnlyBy, SelfRotation, TiedTo,
    };
    use crate::store::{catalogs, policies, sqlite};

    fn rule(role: Role, scope: &str, read_only: bool) -> RoleRule {
        RoleRule {
            role,
            scopes: vec![scope.into()],
            read_only,
        }
    }

    /// As schema 2 had it.
    fn token() -> Policy {
        Policy {
            name: "adverity-token".to_owned(),
            description: "Adverity keys made with user name and password; used as Token."
                .to_owned(),
            issued_by: IssuedBy::Password,
            owner: Presence::Required,
            catalog: Some("adverity".to_owned()),
            scopes: Presence::Required,
            headers: vec![CredentialHeader::Token],
            addresses: AddressRule::Off,
            keys_per_owner_max: Some(100),
            editable: Editable::Only(Vec::new()),
            can_disable: false,
            acts_for_owner: true,
            roles: vec![
                rule(Role::Owner, "account:write", false),
                rule(Role::Administrator, "account:write", false),
                rule(Role::KeyManager, "all:read", true),
                rule(Role::Auditor, "all:read", true),
            ],
            ..Policy::standard()
        }
    }

    /// See [`token`].
    fn awaretrain() -> Policy {
        Policy {
            name: "awaretrain".to_owned(),
            description: "API keys as Awaretrain has them: made by key managers, with scopes, for a year at most."
                .to_owned(),
            issued_by: IssuedBy::Manager,
            owner: Presence::Forbidden,
            catalog: Some("awaretrain".to_owned()),
            scopes: Presence::Required,
            headers: vec![CredentialHeader::Bearer],
            read_only_by: ReadOnlyBy::Scope,
            expiry: Expiry::Required,
            expiry_months_max: Some(12),
            addresses: AddressRule::Exact,
            keys_per_owner_max: None,
            editable: Editable::Only(vec![
                Field::Name,
                Field::ExpiresAt,
                Field::Scopes,
                Field::AllowedIps,
            ]),
            can_disable: false,
            can_rotate: false,
            self_rotation: SelfRotation::No,
            tied_to: TiedTo::Workspace,
            rate_limit: Some(RateLimit {
                limit: 60,
                window_s: 60,
            }),
            prefix: "awaretrain".to_owned(),
            ..Policy::standard()
        }
    }

    /// What the step makes of a policy.
    fn after(policy: &Policy) -> Policy {
        let read = sqlite::in_memory().unwrap();
        for name in ["adverity", "awaretrain"] {
            let catalog = Definition {
                name: name.to_owned(),
                ..Definition::default()
            };
            catalogs::replace(&read.write(), &catalog).unwrap();
        }
        policies::insert(&read.write(), policy).unwrap();
        replace_keys_of_sign_ins(&read.write()).unwrap();
        bound_requests(&read.write()).unwrap();
        let mut found = policies::find(&read, &policy.name).unwrap().unwrap();
        found.roles.clone_from(&policy.roles);
        found
    }

    #[test]
    fn presets_have_what_a_first_start_gives_them_unless_somebody_has_edited_them() {
        assert_eq!(after(&token()).at_owner_max, AtMax::Replace);
        let upgraded_from_1 = Policy {
            roles: Vec::new(),
            ..token()
        };
        assert_eq!(after(&upgraded_from_1).at_owner_max, AtMax::Replace);
        assert_eq!(after(&awaretrain()).rate_limit_max, awaretrain().rate_limit);

        let tokens: [fn(&mut Policy); 6] = [
            |p| p.keys_per_owner_max = Some(50),
            |p| p.description = "Ours.".to_owned(),
            |p| p.expiry_s_max = Some(3_600),
            |p| p.roles.truncate(3),
            |p| p.roles[3].read_only = false,
            |p| p.name = "other".to_owned(),
        ];
        for edit in tokens {
            let mut edited = token();
            edit(&mut edited);
            assert_eq!(after(&edited), edited);
        }
        let keys: [fn(&mut Policy); 4] = [
            |p| p.rate_limit = None,
            |p| p.expiry_months_max = Some(6),
            |p| p.can_rotate = true,
            |p| p.addresses = AddressRule::Off,
        ];
        for edit in keys {
            let mut edited = awaretrain();
            edit(&mut edited);
            assert_eq!(after(&edited), edited);
        }
    }
}
