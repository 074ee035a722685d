//! Which keys an operation permits.

use super::check_scope_is_known;
use crate::error::{Error, Result};
use crate::refusals;
use std::collections::{BTreeSet, HashMap};

/// What an operation requires of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Requirement {
    /// Nothing: every key of the catalog is permitted.
    AnyKey,
    /// No key is permitted, with any scopes. The operation prevents a more general template from answering its path.
    Nobody,
    /// All scopes of `all_of`, and one of `any_of` unless that list is empty. At least one of the lists is not empty.
    Scopes {
        all_of: Vec<String>,
        any_of: Vec<String>,
    },
}

impl Requirement {
    /// Requires one of these scopes; an empty list permits no key.
    pub fn one_of(any_of: Vec<String>) -> Requirement {
        match any_of.is_empty() {
            true => Requirement::Nobody,
            false => Requirement::Scopes {
                all_of: Vec::new(),
                any_of,
            },
        }
    }

    /// Reads the three members that express a requirement. `field` makes the name of one for an error.
    ///
    /// `any_key` excludes both lists. An empty `any_of` permits no key and excludes `all_of`. An empty `all_of` counts
    /// as absent. Without any of the three the operation is refused, because the server must not guess whether no key
    /// or every key was meant.
    pub fn of_members(
        any_key: Option<bool>,
        all_of: Option<Vec<String>>,
        any_of: Option<Vec<String>>,
        field: impl Fn(&str) -> String,
    ) -> Result<Requirement> {
        if any_key == Some(true) {
            return match (all_of, any_of) {
                (None, None) => Ok(Requirement::AnyKey),
                _ => Err(Error::invalid(
                    field("any_key"),
                    refusals::catalogs::any_key_alone(),
                )),
            };
        }
        match (all_of.unwrap_or_default(), any_of) {
            (all_of, None) if all_of.is_empty() => Err(Error::invalid(
                field("any_of"),
                refusals::catalogs::requirement_missing(),
            )),
            (all_of, Some(any_of)) if any_of.is_empty() && !all_of.is_empty() => Err(
                Error::invalid(field("any_of"), refusals::catalogs::all_of_beside_closed()),
            ),
            (_, Some(any_of)) if any_of.is_empty() => Ok(Requirement::Nobody),
            (all_of, any_of) => Ok(Requirement::Scopes {
                all_of,
                any_of: any_of.unwrap_or_default(),
            }),
        }
    }

    /// Whether a key meets the requirement. `grants` returns whether the key has a scope.
    pub fn is_met(&self, grants: impl Fn(&str) -> bool) -> bool {
        match self {
            Requirement::AnyKey => true,
            Requirement::Nobody => false,
            Requirement::Scopes { all_of, any_of } => {
                let none = all_of.is_empty() && any_of.is_empty();
                !none
                    && all_of.iter().all(|scope| grants(scope))
                    && (any_of.is_empty() || any_of.iter().any(|scope| grants(scope)))
            }
        }
    }

    /// The scopes that are needed together.
    pub fn all_of(&self) -> &[String] {
        match self {
            Requirement::AnyKey | Requirement::Nobody => &[],
            Requirement::Scopes { all_of, .. } => all_of,
        }
    }

    /// The scopes of which one is needed.
    pub fn any_of(&self) -> &[String] {
        match self {
            Requirement::AnyKey | Requirement::Nobody => &[],
            Requirement::Scopes { any_of, .. } => any_of,
        }
    }

    /// Every scope of both lists.
    pub fn scopes(&self) -> impl Iterator<Item = &String> {
        self.all_of().iter().chain(self.any_of())
    }

    /// Refuses scopes that the catalog does not have.
    pub(super) fn check(
        &self,
        scopes: &HashMap<String, BTreeSet<String>>,
        field: impl Fn(&str) -> String,
    ) -> Result<()> {
        check_scope_is_known(&field("all_of"), self.all_of(), scopes)?;
        check_scope_is_known(&field("any_of"), self.any_of(), scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn each_combination_of_the_members_means_one_thing_or_is_refused() {
        let scopes = |all_of: &[&str], any_of: &[&str]| {
            Ok(Requirement::Scopes {
                all_of: words(all_of),
                any_of: words(any_of),
            })
        };
        type Members<'a> = (Option<bool>, Option<&'a [&'a str]>, Option<&'a [&'a str]>);
        type Expected = std::result::Result<Requirement, &'static str>;
        let some: &[&str] = &["a"];
        let cases: Vec<(Members<'_>, Expected)> = vec![
            ((Some(true), None, None), Ok(Requirement::AnyKey)),
            ((Some(true), Some(some), None), Err("any_key")),
            ((Some(true), None, Some(some)), Err("any_key")),
            ((Some(true), None, Some(&[])), Err("any_key")),
            ((Some(true), Some(&[]), None), Err("any_key")),
            ((None, None, None), Err("any_of")),
            ((Some(false), None, None), Err("any_of")),
            ((None, Some(&[]), None), Err("any_of")),
            ((None, None, Some(&[])), Ok(Requirement::Nobody)),
            ((Some(false), Some(&[]), Some(&[])), Ok(Requirement::Nobody)),
            ((None, Some(some), Some(&[])), Err("any_of")),
            ((None, Some(some), None), scopes(&["a"], &[])),
            ((Some(false), None, Some(some)), scopes(&[], &["a"])),
            ((None, Some(&[]), Some(some)), scopes(&[], &["a"])),
            (
                (None, Some(&["b", "c"]), Some(some)),
                scopes(&["b", "c"], &["a"]),
            ),
        ];
        for ((any_key, all_of, any_of), expected) in cases {
            let read = Requirement::of_members(
                any_key,
                all_of.map(words),
                any_of.map(words),
                str::to_owned,
            );
            let read = read.map_err(|err| match err {
                Error::Invalid { field, .. } => field,
                other => panic!("{other:?}"),
            });
            assert_eq!(
                read,
                expected.map_err(str::to_owned),
                "{any_key:?} {all_of:?} {any_of:?}"
            );
        }
    }

    #[test]
    fn all_are_needed_of_one_list_and_one_of_the_other() {
        let both = Requirement::Scopes {
            all_of: words(&["a", "b"]),
            any_of: words(&["c", "d"]),
        };
        for (held, met) in [
            (&["a", "b", "c"][..], true),
            (&["a", "b", "d"], true),
            (&["a", "b"], false),
            (&["a", "c", "d"], false),
            (&["c", "d"], false),
            (&[], false),
        ] {
            assert_eq!(both.is_met(|scope| held.contains(&scope)), met, "{held:?}");
        }
        assert!(Requirement::AnyKey.is_met(|_| false));
        assert!(!Requirement::Nobody.is_met(|_| true));
        assert_eq!(Requirement::one_of(Vec::new()), Requirement::Nobody);
        let neither = Requirement::Scopes {
            all_of: Vec::new(),
            any_of: Vec::new(),
        };
        assert!(!neither.is_met(|_| true));
    }
}
