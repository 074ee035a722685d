//! Where a new policy begins: the rules that keys for a purpose usually have.

use crate::domain::policies::{
    AddressRule, Expiry, IssuedBy, Policy, Presence, SelfRotation, TiedTo,
};

const DAY_S: u64 = 86_400;

/// A policy to begin with; its label is `policy_template.NAME`.
pub struct Template {
    pub name: &'static str,
    fill: fn(Policy) -> Policy,
}

/// All templates; the first is the default.
pub const TEMPLATES: &[Template] = &[
    Template {
        name: "service",
        fill: |standard| Policy {
            owner: Presence::Forbidden,
            tied_to: TiedTo::Workspace,
            ..standard
        },
    },
    Template {
        name: "partner",
        fill: |standard| Policy {
            owner: Presence::Forbidden,
            tied_to: TiedTo::Workspace,
            scopes: Presence::Required,
            addresses: AddressRule::Cidr,
            expiry: Expiry::Required,
            expiry_s_max: Some(365 * DAY_S),
            self_rotation: SelfRotation::No,
            ..standard
        },
    },
    Template {
        name: "personal",
        fill: |standard| Policy {
            issued_by: IssuedBy::Owner,
            owner: Presence::Required,
            tied_to: TiedTo::OwnerAndWorkspace,
            expiry: Expiry::Required,
            expiry_s_max: Some(90 * DAY_S),
            keys_per_owner_max: Some(10),
            self_rotation: SelfRotation::No,
            ..standard
        },
    },
    Template {
        name: "one_time",
        fill: |standard| Policy {
            expiry: Expiry::Required,
            expiry_s_max: Some(DAY_S),
            can_rotate: false,
            self_rotation: SelfRotation::No,
            ..standard
        },
    },
    Template {
        name: "decoy",
        fill: Policy::decoys,
    },
];

impl Template {
    /// The template of this name; the default if there is none.
    pub fn of(name: &str) -> &'static Template {
        let found = TEMPLATES.iter().find(|template| template.name == name);
        found.unwrap_or(&TEMPLATES[0])
    }

    /// The policy that the form of a new one begins with.
    pub fn policy(&self, standard: &Policy) -> Policy {
        (self.fill)(Policy {
            description: String::new(),
            source: String::new(),
            ..standard.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_a_valid_policy() {
        for template in TEMPLATES {
            let policy = template.policy(&Policy::standard());
            assert!(policy.check_definition().is_ok(), "{}", template.name);
        }
        assert_eq!(Template::of("none").name, "service");
    }
}
