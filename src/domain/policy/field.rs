//! The members of a key that an edit can change, in one table: their words, and what a change of each means.

use super::Words;

/// What a member of a key means, which determines who may change it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// For people only. Any caller who may change the key may change it.
    Label,
    /// What the key opens, and how far. Set by callers who manage the keys of the workspace.
    Limit,
    /// What other services receive with every verdict, and may decide by. Set by callers who may issue the key, and
    /// never by the key itself.
    Told,
}

/// Makes the enum, the words and the meanings from one list, so that no member can be in one of them alone.
macro_rules! fields {
    ($($field:ident $word:literal $meaning:ident,)*) => {
        /// The members of a key that an edit can change.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Field {
            $($field,)*
        }

        impl Words for Field {
            const TABLE: &'static [(Self, &'static str)] = &[$((Field::$field, $word),)*];
        }

        impl Field {
            pub fn meaning(self) -> Meaning {
                match self {
                    $(Field::$field => Meaning::$meaning,)*
                }
            }
        }
    };
}

fields! {
    AllowedIps  "allowed_ips" Limit,
    Description "description" Label,
    ExpiresAt   "expires_at"  Limit,
    Metadata    "metadata"    Told,
    Name        "name"        Label,
    NotBefore   "not_before"  Limit,
    Owner       "owner"       Limit,
    RateLimit   "rate_limit"  Limit,
    ReadOnly    "read_only"   Limit,
    Scopes      "scopes"      Limit,
    UsesLeft    "uses_left"   Limit,
}

impl Field {
    /// Every member that a policy can open for edits.
    pub fn all() -> impl Iterator<Item = Field> {
        Field::TABLE.iter().map(|(field, _)| *field)
    }
}
