//! The members of a key that an edit can change, in one table: their names, and what a change of each means.

use super::Words;

/// What a member of a key means, which determines who may change it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// For people only. Every caller who may change the key may change it.
    Label,
    /// Determines what the key opens. Only callers who manage the keys of the workspace may change it.
    Limit,
    /// Other services receive it with every verdict, and may decide by it. Callers who may issue the key may change it,
    /// but the key itself never may.
    Told,
}

/// Generates the enum, the names and the meanings from one list, so that no member is missing in one of them.
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
