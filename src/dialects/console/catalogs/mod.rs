//! The pages of catalogs: their scopes and operations, and a test that shows which scopes a request needs.

pub mod import;
pub mod put;

use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page};
use crate::dialects::console::keys;
use crate::dialects::console::layout::{Layout, Nav, html, is_shown};
use crate::dialects::console::sections::SECTIONS;
use crate::dialects::console::text::Texts;
use crate::domain::catalogs::{Catalog, Requirement};
use crate::domain::declared::place_of;
use crate::domain::keys::verdict::Detail;
use crate::error::Result;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::catalogs;
use crate::ops::keys::list::sorted;
use askama::Template;

/// The number of operations on a page.
const PAGE_OPERATIONS: usize = 200;
/// The maximum number of keys in the list of those that may send a request.
const KEYS_SHOWN: usize = 20;
/// The methods that a request can be tested with.
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

#[derive(Template)]
#[template(path = "console/catalogs.html")]
struct CatalogsPage {
    s: Layout,
    catalogs: Vec<CatalogRow>,
    /// Those of other systems whose keys nobody uses here.
    unused: Vec<CatalogRow>,
    /// The number of them.
    unused_label: String,
    /// Whether the caller may write catalogs.
    can_write: bool,
}

struct CatalogRow {
    href: String,
    name: String,
    scopes: String,
    operations: String,
}

#[derive(Template)]
#[template(path = "console/catalog.html")]
struct CatalogPage {
    s: Layout,
    href: String,
    name: String,
    /// The file and the line that declare the catalog, so that it is edited there.
    declared_in: Option<String>,
    /// The URL that challenges name.
    resource_metadata: Option<String>,
    /// Whether the caller may change this catalog.
    can_write: bool,
    scopes: Vec<(String, String, String)>,
    operations: Vec<Operation>,
    earlier: String,
    /// The number of this page and the number of pages; empty if there is only one.
    place: String,
    later: String,
    methods: Vec<(&'static str, bool)>,
    path: String,
    host: String,
    tried: Option<TestResult>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    writes: bool,
    preflight: bool,
    opened_by: OpenedBy,
}

/// The keys that may call an operation, as a table displays them.
pub struct OpenedBy {
    /// A text for any key or for none; empty if scopes decide.
    pub words: &'static str,
    pub all_of: String,
    pub any_of: String,
    /// Whether the operation lists more than one scope: then the table displays how many of them are needed.
    pub many: bool,
}

impl OpenedBy {
    pub fn of(texts: &Texts, requirement: &Requirement) -> OpenedBy {
        OpenedBy {
            words: match requirement {
                Requirement::AnyKey => texts.get("catalogs.any_key"),
                Requirement::Nobody => texts.get("catalogs.nobody"),
                Requirement::Scopes { .. } => "",
            },
            all_of: requirement.all_of().join(", "),
            any_of: requirement.any_of().join(", "),
            many: requirement.scopes().count() > 1,
        }
    }
}

/// The result of testing a request.
struct TestResult {
    sentence: String,
    good: bool,
    /// The scopes that are all needed.
    together: Vec<String>,
    /// The scopes of which one is needed in addition.
    scopes: Vec<String>,
    keys: Vec<(String, String)>,
    total: String,
}

/// `GET /console/catalogs`
pub fn show_all(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let s = visit.shell(visit.texts.get("catalogs.title"), Nav::Catalogs);
        let found = catalogs::list(call.app, &visit.caller)?;
        let row = |catalog: &std::sync::Arc<Catalog>| {
            let definition = catalog.definition();
            CatalogRow {
                href: address(catalog.name()),
                name: catalog.name().to_owned(),
                scopes: s.tn("catalogs.scopes", definition.scopes.len() as u64),
                operations: s.tn("catalogs.operations", definition.operations.len() as u64),
            }
        };
        // Nobody who has no keys of another system has to look at its catalog.
        let is_unused = |catalog: &&std::sync::Arc<Catalog>| {
            let mut sections = SECTIONS.iter();
            let section = sections.find(|section| section.system == catalog.name());
            section.is_some_and(|section| !is_shown(visit, section))
        };
        let (unused, used): (Vec<_>, Vec<_>) = found.iter().partition(is_unused);
        let unused_label = s.tn("catalogs.of_others", unused.len() as u64);
        let (unused, catalogs) = (
            unused.into_iter().map(row).collect(),
            used.into_iter().map(row).collect(),
        );
        let can_write = put::may_write(visit);
        let page = CatalogsPage {
            unused,
            unused_label,
            s,
            catalogs,
            can_write,
        };
        html(200, &page)
    })
}

/// `GET /console/catalogs/{name}`; `method`, `path` and `host` in the query are a request to test.
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let catalog = catalogs::find(call.app, &visit.caller, call.param("name"))?;
        let mut query = call.query()?;
        let mut some = |name: &str| query.take(name).unwrap_or_default();
        let (method, path, host) = (some("method"), some("path"), some("host"));
        let page = query.take_number("page")?.unwrap_or(1);
        query.finish()?;
        let tried = match path.is_empty() {
            true => None,
            false => Some(tried(visit, &catalog, &method, &path, &host)?),
        };
        let definition = catalog.definition();
        let pages = definition.operations.len().div_ceil(PAGE_OPERATIONS).max(1);
        let page = usize::try_from(page).unwrap_or(pages).clamp(1, pages);
        let operations = definition.operations.chunks(PAGE_OPERATIONS).nth(page - 1);
        let operations = operations.unwrap_or_default().iter();
        let to = |page: usize| match (1..=pages).contains(&page) {
            true => format!("{}?page={page}#operations", address(catalog.name())),
            false => String::new(),
        };
        let shown = CatalogPage {
            s: visit.shell(catalog.name().to_owned(), Nav::Catalogs),
            href: address(catalog.name()),
            name: catalog.name().to_owned(),
            can_write: put::may_write(visit)
                && !put::is_fixed(catalog.name())
                && definition.source.is_empty(),
            declared_in: place_of(&definition.source).map(str::to_owned),
            resource_metadata: definition.resource_metadata.clone(),
            scopes: definition
                .scopes
                .iter()
                .map(|scope| {
                    let implies = scope.implies.join(", ");
                    (
                        scope.name.clone(),
                        visit.texts.word(&scope.label).to_owned(),
                        implies,
                    )
                })
                .collect(),
            operations: operations
                .map(|operation| Operation {
                    id: operation.id.clone(),
                    method: operation.method.clone(),
                    path: match &operation.host {
                        Some(host) => format!("{host}{}", operation.path),
                        None => operation.path.clone(),
                    },
                    writes: operation.writes,
                    preflight: operation.preflight,
                    opened_by: OpenedBy::of(visit.texts, &operation.requirement),
                })
                .collect(),
            earlier: to(page - 1),
            place: match pages {
                1 => String::new(),
                _ => {
                    let number = |number: usize| visit.texts.number(number as u64);
                    let text = visit.texts.with("keys.page", &number(page));
                    text.replacen("{}", &number(pages), 1)
                }
            },
            later: to(page + 1),
            methods: METHODS
                .iter()
                .map(|known| (*known, *known == method))
                .collect(),
            path,
            host,
            tried,
        };
        html(200, &shown)
    })
}

/// The address of a catalog's page.
pub fn address(name: &str) -> String {
    format!("{MOUNT}/catalogs/{}", encode(name))
}

fn tried(
    visit: &Visit<'_>,
    catalog: &Catalog,
    method: &str,
    path: &str,
    host: &str,
) -> Result<TestResult> {
    let host = Some(host).filter(|host| !host.is_empty());
    let bare = path.split('?').next().unwrap_or(path);
    let told = |name: &str| TestResult {
        sentence: visit.texts.get(name).to_owned(),
        good: false,
        together: Vec::new(),
        scopes: Vec::new(),
        keys: Vec::new(),
        total: String::new(),
    };
    let demand = match catalog.demand(method, bare, host) {
        Ok(demand) => demand,
        Err(Detail::UnsafeRequest) => return Ok(told("try.unsafe")),
        Err(_) => return Ok(told("try.unknown")),
    };
    let sentence = match (demand.requirement, demand.writes) {
        (Requirement::Nobody, _) => return Ok(told("try.closed")),
        (Requirement::AnyKey, true) => "try.write_any",
        (Requirement::AnyKey, false) => "try.read_any",
        (Requirement::Scopes { all_of, .. }, true) if all_of.is_empty() => "try.write",
        (Requirement::Scopes { all_of, .. }, false) if all_of.is_empty() => "try.read",
        (Requirement::Scopes { .. }, true) => "try.write_all",
        (Requirement::Scopes { .. }, false) => "try.read_all",
    };
    let opening = |scope: &&crate::domain::catalogs::Scope| {
        let held = [Box::from(scope.name.as_str())];
        // Some scopes work only in the root workspace, where a key can hold them.
        let mut any_of = demand.requirement.any_of().iter();
        any_of.any(|wanted| catalog.grants(&held, true, wanted))
    };
    let scopes = catalog.definition().scopes.iter().filter(opening);
    let scopes = scopes.map(|scope| scope.name.clone()).collect();
    let passing = sorted::passing(visit.call.app, &visit.caller, catalog, &demand, KEYS_SHOWN)?;
    Ok(TestResult {
        sentence: visit.texts.get(sentence).to_owned(),
        good: true,
        together: demand.requirement.all_of().to_vec(),
        scopes,
        total: match passing.total {
            0 => visit.texts.get("try.no_keys").to_owned(),
            some => visit.texts.count("try.keys", some as u64),
        },
        keys: passing
            .items
            .iter()
            .map(|view| (view.key.name.clone(), keys::address(view.key.id)))
            .collect(),
    })
}
