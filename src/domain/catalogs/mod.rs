//! Catalogs: named lists of scopes and of the operations that they open.

#[cfg(test)]
mod fuzz;
mod matcher;
pub mod path;
mod requirement;
pub mod template;

use super::keys::verdict::Detail;
use crate::error::{Error, Result};
use crate::refusals;
use matcher::{MatchResult, Matcher};
pub use requirement::Requirement;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The built-in catalog with this server's own permissions.
pub const BUILT_IN: &str = "latchkey";

/// The greatest number of scopes, and of operations, of one catalog.
pub const SCOPES_MAX: usize = 1_000;
/// See [`SCOPES_MAX`].
pub const OPERATIONS_MAX: usize = 20_000;
/// The greatest number of steps from scope to scope that resolving `implies` may take for all scopes of a catalog. It
/// prevents a thousand scopes that imply one another from filling the memory.
const STEPS_MAX: usize = 100_000;
/// The greatest number of characters of a scope's name.
pub const SCOPE_CHARS_MAX: usize = 100;
/// The greatest number of characters of `resource_metadata`: a challenge has to fit beside the other headers of an answer,
/// for which proxies have 4 KiB.
pub const RESOURCE_METADATA_CHARS_MAX: usize = 500;
/// What [`check_scope_name`] accepts, as a regular expression for descriptions.
pub const SCOPE_PATTERN: &str = r"^[!#-+\--\[\]-~]{1,100}$";

/// What a credential may do: a name, a label for people, and the scopes that it includes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scope {
    pub name: String,
    pub label: String,
    pub implies: Vec<String>,
    /// It counts only on keys of the root workspace.
    pub root_only: bool,
}

/// A request, and which keys may send it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operation {
    pub id: String,
    /// Upper case.
    pub method: String,
    /// As `template` reads it: `/invoices/{id}/lines`, `/invoices/{id}.json`, or `/files/{path...}`.
    pub path: String,
    /// In lower case; `None` for any host.
    pub host: Option<String>,
    pub writes: bool,
    /// Whether a proxy lets a browser's CORS preflight for this request pass without a key.
    pub preflight: bool,
    pub requirement: Requirement,
}

/// A catalog as a caller sent it, before it is checked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Definition {
    pub name: String,
    /// Whether the application distinguishes upper and lower case and ignores no file extension. If so, a segment that
    /// only resembles a literal is a value of the parameter at the same place.
    pub case_sensitive: bool,
    /// The URL of the protected resource's metadata (RFC 9728), which challenges name; `None` if there is none.
    pub resource_metadata: Option<String>,
    pub scopes: Vec<Scope>,
    pub operations: Vec<Operation>,
    /// `file:PATH:LINE` of the file that declares the catalog, or empty.
    pub source: String,
}

/// A checked catalog, ready to judge requests.
#[derive(Debug)]
pub struct Catalog {
    definition: Definition,
    /// For each scope, all scopes that it includes, and the scope itself.
    closures: HashMap<String, BTreeSet<String>>,
    /// Scopes that count only in the root workspace.
    root_only: HashSet<String>,
    matcher: Matcher,
}

/// What an operation requires of a key.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    pub requirement: &'a Requirement,
    pub writes: bool,
    /// Whether a CORS preflight for the request passes without a key.
    pub preflight: bool,
}

/// Checks the name of a scope: 1 to 100 visible ASCII characters without blanks, quotes, commas and backslashes (RFC
/// 6749, section 3.3, without the comma).
pub fn check_scope_name(field: &str, name: &str) -> Result<()> {
    let legal = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b',');
    if (1..=SCOPE_CHARS_MAX).contains(&name.len()) && name.bytes().all(legal) {
        return Ok(());
    }
    Err(Error::invalid(field, refusals::catalogs::scope_name()))
}

impl Catalog {
    /// Checks all of a new definition; the error names the member that is not valid.
    pub fn compile(definition: Definition) -> Result<Catalog> {
        let catalog = Catalog::load(definition)?;
        for (position, operation) in catalog.definition.operations.iter().enumerate() {
            let literals = operation.path.split('/').filter(|part| !part.contains('{'));
            for literal in literals.filter(|part| !part.is_empty()) {
                if path::segments(&format!("/{literal}")).is_none() {
                    return Err(Error::invalid(
                        format!("operations[{position}].path"),
                        refusals::catalogs::segment_with_blanks(),
                    ));
                }
            }
        }
        Ok(catalog)
    }

    /// As [`Catalog::compile`], for a stored catalog. An earlier version may have accepted more than this version does.
    pub fn load(definition: Definition) -> Result<Catalog> {
        if definition.scopes.len() > SCOPES_MAX {
            return Err(Error::invalid(
                "scopes",
                refusals::values::entries_at_most(SCOPES_MAX),
            ));
        }
        if definition.operations.len() > OPERATIONS_MAX {
            return Err(Error::invalid(
                "operations",
                refusals::values::entries_at_most(OPERATIONS_MAX),
            ));
        }
        if let Some(url) = &definition.resource_metadata {
            check_resource_metadata(url)?;
        }
        let closures = closures(&definition.scopes)?;
        check_operations(&definition.operations, &closures)?;
        let matcher = Matcher::compile(&definition.operations, definition.case_sensitive)?;
        let root_only = definition.scopes.iter().filter(|scope| scope.root_only);
        Ok(Catalog {
            root_only: root_only.map(|scope| scope.name.clone()).collect(),
            definition,
            closures,
            matcher,
        })
    }

    /// The name that keys refer to.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// The definition as a caller sent it.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Whether the catalog has this scope.
    pub fn has_scope(&self, name: &str) -> bool {
        self.closures.contains_key(name)
    }

    /// The scope of a name.
    pub fn scope(&self, name: &str) -> Option<&Scope> {
        let mut scopes = self.definition.scopes.iter();
        scopes.find(|scope| scope.name == name)
    }

    /// The methods of a path, sorted, whose operations some key may use; none if the path cannot be judged.
    pub fn methods(&self, path: &str, host: Option<&str>) -> Vec<&str> {
        let all = self.definition.operations.iter();
        let all = all.map(|operation| operation.method.as_str());
        let all: BTreeSet<&str> = all.chain(["HEAD"]).collect();
        let is_open = |method: &&str| {
            self.demand(method, path, host)
                .is_ok_and(|demand| *demand.requirement != Requirement::Nobody)
        };
        all.into_iter().filter(is_open).collect()
    }

    /// Whether the held scopes include the required one. Scopes that the catalog does not have grant nothing. On a key
    /// of another workspace, scopes that are only for the root workspace neither grant anything nor can be granted.
    pub fn grants(&self, held: &[Box<str>], in_root: bool, wanted: &str) -> bool {
        let counts = |scope: &str| in_root || !self.root_only.contains(scope);
        counts(wanted)
            && held.iter().any(|scope| {
                let closure = self.closures.get(&**scope).filter(|_| counts(scope));
                closure.is_some_and(|closure| closure.contains(wanted))
            })
    }

    /// What a request requires. `path` is the received path without the query; this function checks it.
    pub fn demand(
        &self,
        method: &str,
        path: &str,
        host: Option<&str>,
    ) -> std::result::Result<Demand<'_>, Detail> {
        let segments = path::segments(path).ok_or(Detail::UnsafeRequest)?;
        // A missing or unreadable host must not get the operations of any host.
        let in_doubt = match host {
            None => self.matcher.depends_on_host(method, &segments),
            Some(host) => path::host(host).is_none(),
        };
        if in_doubt {
            return Err(Detail::UnsafeRequest);
        }
        let index = match self.matcher.find(method, &segments, host) {
            MatchResult::Ambiguous => return Err(Detail::UnsafeRequest),
            MatchResult::Operation(index) => index,
            MatchResult::Unknown => return Err(Detail::UnknownOperation),
        };
        let operation = &self.definition.operations[index];
        Ok(Demand {
            requirement: &operation.requirement,
            writes: operation.writes,
            preflight: operation.preflight,
        })
    }
}

/// Checks the URL of a resource's metadata: `https`, a host, and no character that ends the quoted string of a challenge
/// (RFC 9728, sections 3 and 5.1).
fn check_resource_metadata(url: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'#' | b'<' | b'>');
    let host = url.strip_prefix("https://").map(|rest| {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        &rest[..end]
    });
    let fits = host.is_some_and(|host| path::host(host).is_some())
        && url.len() <= RESOURCE_METADATA_CHARS_MAX
        && url.bytes().all(plain);
    match fits {
        true => Ok(()),
        false => Err(Error::invalid(
            "resource_metadata",
            refusals::catalogs::resource_metadata(RESOURCE_METADATA_CHARS_MAX),
        )),
    }
}

/// Every scope with all scopes that it includes, directly or through other scopes. Cycles are harmless.
fn closures(scopes: &[Scope]) -> Result<HashMap<String, BTreeSet<String>>> {
    let mut direct: HashMap<&str, &Scope> = HashMap::new();
    for (position, scope) in scopes.iter().enumerate() {
        check_scope_name(&format!("scopes[{position}].name"), &scope.name)?;
        super::text::check_description(&format!("scopes[{position}].label"), &scope.label)?;
        if direct.insert(&scope.name, scope).is_some() {
            return Err(Error::invalid(
                format!("scopes[{position}].name"),
                refusals::values::twice(),
            ));
        }
    }
    for (position, scope) in scopes.iter().enumerate() {
        if let Some(stranger) = scope
            .implies
            .iter()
            .find(|name| !direct.contains_key(name.as_str()))
        {
            return Err(Error::invalid(
                format!("scopes[{position}].implies"),
                refusals::catalogs::unknown_scope(format_args!("{stranger:?}")),
            ));
        }
    }
    let mut steps_left = STEPS_MAX;
    let mut closure = |start: &str| {
        let mut reached = BTreeSet::from([start.to_owned()]);
        let mut open = vec![start];
        while let Some(name) = open.pop() {
            let implies = &direct[name].implies;
            steps_left = steps_left
                .checked_sub(implies.len())
                .ok_or_else(|| Error::invalid("scopes", refusals::catalogs::implies_too_much()))?;
            for next in implies {
                if reached.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        Ok(reached)
    };
    scopes
        .iter()
        .map(|scope| Ok((scope.name.clone(), closure(&scope.name)?)))
        .collect()
}

fn check_operations(
    operations: &[Operation],
    scopes: &HashMap<String, BTreeSet<String>>,
) -> Result<()> {
    let mut ids = BTreeSet::new();
    for (position, operation) in operations.iter().enumerate() {
        let field = |member: &str| format!("operations[{position}].{member}");
        super::text::check_name(&field("id"), &operation.id)?;
        if !ids.insert(&operation.id) {
            return Err(Error::invalid(field("id"), refusals::values::twice()));
        }
        if !is_method(&operation.method) {
            return Err(Error::invalid(
                field("method"),
                refusals::catalogs::method(),
            ));
        }
        if let Some(host) = &operation.host
            && path::host(host).as_deref() != Some(host.as_str())
        {
            return Err(Error::invalid(field("host"), refusals::catalogs::host()));
        }
        operation.requirement.check(scopes, field)?;
    }
    Ok(())
}

fn check_scope_is_known(
    field: &str,
    names: &[String],
    scopes: &HashMap<String, BTreeSet<String>>,
) -> Result<()> {
    let mut names = names.iter();
    match names.find(|name| !scopes.contains_key(name.as_str())) {
        None => Ok(()),
        Some(stranger) => Err(Error::invalid(
            field,
            refusals::catalogs::unknown_scope(format_args!("{stranger:?}")),
        )),
    }
}

/// Whether it is a method that an operation can have.
pub fn is_method(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_uppercase() || b == b'-';
    (1..=20).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn operation(id: &str, method: &str, path: &str, any_of: &[&str]) -> Operation {
        Operation {
            id: id.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            host: None,
            writes: method != "GET",
            preflight: false,
            requirement: Requirement::one_of(
                any_of.iter().map(|&scope| scope.to_owned()).collect(),
            ),
        }
    }

    fn scope(name: &str, implies: &[&str]) -> Scope {
        let implies = implies.iter().map(|scope| (*scope).to_owned()).collect();
        Scope {
            name: name.to_owned(),
            label: String::new(),
            implies,
            root_only: name == "i:root",
        }
    }

    fn billing() -> Definition {
        Definition {
            name: "billing".to_owned(),
            source: String::new(),
            case_sensitive: false,
            resource_metadata: None,
            scopes: vec![
                scope("i:read", &[]),
                scope("i:write", &["i:read"]),
                scope("all", &["i:write", "i:root", "all"]),
                scope("i:root", &["i:read"]),
            ],
            operations: vec![operation("list", "GET", "/i", &["i:read"])],
        }
    }

    // attacks 67
    #[test]
    fn a_scope_grants_itself_and_what_it_implies_and_nothing_alike() {
        let catalog = Catalog::compile(billing()).unwrap();
        let grants = |held: &str, wanted: &str| catalog.grants(&[held.into()], true, wanted);
        assert!(grants("i:read", "i:read"));
        assert!(grants("all", "i:read"));
        assert!(!grants("i:read", "i:write"));
        for wanted in ["i:rea", "i:readx", "I:READ", "i:*", "*", ""] {
            assert!(!grants("all", wanted), "{wanted}");
        }
        assert!(!grants("stranger", "stranger"));
    }

    #[test]
    fn a_scope_for_the_root_counts_nowhere_else() {
        let catalog = Catalog::compile(billing()).unwrap();
        for (held, wanted, elsewhere) in [
            ("i:root", "i:root", false),
            ("i:root", "i:read", false),
            ("all", "i:root", false),
            ("all", "i:read", true),
        ] {
            let held = [held.into()];
            assert!(catalog.grants(&held, true, wanted));
            assert_eq!(catalog.grants(&held, false, wanted), elsewhere, "{wanted}");
        }
    }

    #[test]
    fn a_faulty_definition_is_refused_with_its_place() {
        #[track_caller]
        fn check(change: impl FnOnce(&mut Definition), field: &str) {
            let mut definition = billing();
            change(&mut definition);
            match Catalog::compile(definition) {
                Err(Error::Invalid { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        }
        let ring = |count: usize| -> Vec<Scope> {
            let name = |n: usize| format!("s{}", n % count);
            (0..count)
                .map(|n| scope(&name(n), &[&name(n + 1)]))
                .collect()
        };
        let small = Definition {
            scopes: ring(300),
            ..Definition::default()
        };
        assert!(Catalog::compile(small).is_ok());
        check(|d| d.scopes = ring(SCOPES_MAX), "scopes");
        check(|d| d.scopes[1].name = "i:read".to_owned(), "scopes[1].name");
        check(|d| d.scopes[0].name = "a b".to_owned(), "scopes[0].name");
        check(
            |d| d.scopes[1].implies = vec!["x".to_owned()],
            "scopes[1].implies",
        );
        check(
            |d| d.operations[0].requirement = Requirement::one_of(vec!["x".to_owned()]),
            "operations[0].any_of",
        );
        let all_of = || Requirement::Scopes {
            all_of: vec!["i:read".to_owned(), "x".to_owned()],
            any_of: Vec::new(),
        };
        check(
            |d| d.operations[0].requirement = all_of(),
            "operations[0].all_of",
        );
        check(
            |d| d.operations[0].method = "get".to_owned(),
            "operations[0].method",
        );
        check(
            |d| d.operations[0].path = "i".to_owned(),
            "operations[0].path",
        );
        check(
            |d| d.operations[0].path = "/i./x".to_owned(),
            "operations[0].path",
        );
        check(
            |d| d.operations[0].host = Some("A.example".to_owned()),
            "operations[0].host",
        );
        check(
            |d| d.operations.push(operation("list", "GET", "/other", &[])),
            "operations[1].id",
        );
        check(
            |d| d.operations.push(operation("again", "GET", "/i", &[])),
            "operations[1].path",
        );
    }
}
