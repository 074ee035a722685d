//! The list of keys, with search, filters, sorting and pages.

use super::fields::{has_meaning, is_shown};
use super::labels::Words;
use super::{Badge, End, SOON_S, address, badge, end};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page};
use crate::dialects::console::layout::moment::DisplayTime;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::sections::Section;
use crate::dialects::console::text::Texts;
use crate::domain::catalogs::Catalog;
use crate::domain::keys::State;
use crate::domain::policies::Policy;
use crate::error::{Error, Result};
use crate::http::query::{Query, encode};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::View;
use crate::ops::keys::list::Filter;
use crate::ops::keys::list::order::Sort;
use crate::ops::keys::list::sorted;
use crate::ops::keys::offered::{KeyActions, offered, require_issue};
use crate::ops::{policies, users, workspaces};
use askama::Template;

/// The number of keys on a page.
const PAGE_KEYS: usize = 50;
/// The maximum number of scopes that a row lists; it only counts the others.
const SCOPES_SHOWN: usize = 4;

#[derive(Template)]
#[template(path = "console/keys.html")]
struct KeysPage {
    s: Layout,
    w: Words,
    section: Option<&'static Section>,
    rows: Vec<KeyRow>,
    total: String,
    filters: Filters,
    sorts: Vec<Link>,
    earlier: String,
    later: String,
    /// The number of this page, and how many pages there are.
    place: String,
    /// The address for creating a key; empty if the caller may not create any.
    new: String,
    /// Advice to read before the user creates a key.
    about: Vec<&'static str>,
    columns: Columns,
    refusal: Option<String>,
}

/// Which of the optional columns the list has.
struct Columns {
    /// This one is not a column but a filter.
    owner: bool,
    workspace: bool,
    access: bool,
    expiry: bool,
    actions: bool,
}

/// One key.
struct KeyRow {
    href: String,
    name: String,
    hint: String,
    badge: Badge,
    workspace: String,
    owner: Option<String>,
    scopes: Vec<String>,
    scopes_more: usize,
    used: Option<DisplayTime>,
    end: Option<End>,
    /// The label of `read_only`, for systems that have this field.
    access: &'static str,
    enabled: bool,
    offered: KeyActions,
}

/// The filters of the request, to be displayed again.
#[derive(Default)]
struct Filters {
    q: String,
    sort: String,
    states: Vec<(String, String, bool)>,
    workspaces: Vec<(String, String, bool)>,
    policies: Vec<(String, String, bool)>,
    owners: Vec<(String, String, bool)>,
    created_by: String,
    expiring: bool,
    set: bool,
}

struct Link {
    label: &'static str,
    href: String,
    current: bool,
}

/// `GET /console/keys`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let mut query = call.query()?;
        let asked = ListQuery::take(&mut query);
        query.finish()?;
        shown(visit, &asked)
    })
}

/// The parsed query.
#[derive(Default)]
struct ListQuery {
    q: Option<String>,
    workspace: Option<String>,
    policy: Option<String>,
    owner: Option<String>,
    created_by: Option<String>,
    state: Option<String>,
    expiring: Option<String>,
    sort: Option<String>,
    page: usize,
}

impl ListQuery {
    fn take(query: &mut Query) -> ListQuery {
        let mut some = |name: &str| query.take(name).filter(|text| !text.is_empty());
        ListQuery {
            q: some("q"),
            workspace: some("workspace"),
            policy: some("policy"),
            owner: some("owner"),
            created_by: some("created_by"),
            state: some("state"),
            expiring: some("expiring"),
            sort: some("sort"),
            page: some("page")
                .and_then(|text| text.parse::<usize>().ok())
                .map_or(0, |page| page.saturating_sub(1)),
        }
    }

    /// The address of the same list with another order or page.
    fn address(&self, sort: Option<&str>, page: usize) -> String {
        let page = (page > 0).then(|| (page + 1).to_string());
        let pairs = [
            ("q", self.q.as_deref()),
            ("workspace", self.workspace.as_deref()),
            ("policy", self.policy.as_deref()),
            ("owner", self.owner.as_deref()),
            ("created_by", self.created_by.as_deref()),
            ("state", self.state.as_deref()),
            ("expiring", self.expiring.as_deref()),
            ("sort", sort),
            ("page", page.as_deref()),
        ];
        let pairs: Vec<String> = pairs
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", encode(value?))))
            .collect();
        match pairs.is_empty() {
            true => format!("{MOUNT}/keys"),
            false => format!("{MOUNT}/keys?{}", pairs.join("&")),
        }
    }

    fn sort(&self) -> Sort {
        let known = SORTS
            .iter()
            .find(|(name, _, _)| Some(*name) == self.sort.as_deref());
        known.map_or(Sort::Newest, |(_, sort, _)| *sort)
    }
}

const SORTS: &[(&str, Sort, &str)] = &[
    ("newest", Sort::Newest, "sort.newest"),
    ("name", Sort::Name, "sort.name"),
    ("expiry", Sort::Expiry, "sort.expiry"),
    ("used", Sort::Used, "sort.used"),
];

fn shown(visit: &Visit<'_>, asked: &ListQuery) -> Result<Reply> {
    let words = Words::of(visit, asked.policy.as_deref());
    let filter = Filter {
        workspace: asked.workspace.clone(),
        policy: asked.policy.clone(),
        owner: asked.owner.clone(),
        created_by: asked.created_by.clone(),
        state: asked
            .state
            .as_deref()
            .and_then(|text| State::ALL.into_iter().find(|state| state.as_str() == text)),
        query: asked.q.clone(),
        expiring_within_s: asked.expiring.as_ref().map(|_| SOON_S),
        metadata: Vec::new(),
    };
    let from = asked.page.saturating_mul(PAGE_KEYS);
    let range = from..from.saturating_add(PAGE_KEYS);
    let (app, caller) = (visit.call.app, &visit.caller);
    let (found, refusal) = match sorted::list(app, caller, &filter, asked.sort(), range) {
        Ok(found) => (found, None),
        Err(err @ Error::Invalid { .. }) => {
            let none = sorted::Found {
                items: Vec::new(),
                total: 0,
            };
            (none, Some(visit.texts.sentence(&err.refusal())))
        }
        Err(err) => return Err(err),
    };
    let pages = found.total.div_ceil(PAGE_KEYS).max(1);
    let (at, of) = (asked.page.min(pages - 1) + 1, pages);
    let sort = asked.sort.as_deref();
    let link = |go: bool, page: usize| match go {
        true => asked.address(sort, page),
        false => String::new(),
    };
    let nav = match words.section() {
        Some(section) => Nav::Section(section.policy),
        None => Nav::Keys,
    };
    let directory = visit.call.app.index.directory();
    let policy = asked.policy.as_ref();
    let policy = policy.and_then(|name| directory.policy(name).cloned());
    drop(directory);
    let rows: Vec<KeyRow> = found
        .items
        .iter()
        .map(|view| row(visit, words, view))
        .collect::<Result<_>>()?;
    let shows = |name: &str| {
        let policy = policy.as_ref();
        policy.is_some_and(|policy| is_shown(policy, words, name))
    };
    let has_expiry = words.section().is_none()
        || shows("expires_on")
        // The policy may have forbidden expiry only after keys with an expiry time were created.
        || asked.expiring.is_some()
        || rows.iter().any(|row| row.end.is_some());
    let columns = Columns {
        owner: policy
            .as_ref()
            .is_none_or(|policy| has_meaning(policy, "owner")),
        workspace: words
            .section()
            .is_none_or(|section| section.has("workspace")),
        access: words.section().is_some() && shows("read_only"),
        expiry: has_expiry,
        actions: words.section().is_some() && rows.iter().any(KeyRow::has_actions),
    };
    let s = visit.shell(words.page(), nav);
    let keys = KeysPage {
        section: words.section(),
        rows,
        columns,
        about: policy.map_or_else(Vec::new, |policy| words.about(&policy)),
        total: s.tn("keys.count", found.total as u64),
        filters: filters(visit, asked)?,
        sorts: SORTS
            .iter()
            .filter(|(_, sort, _)| has_expiry || *sort != Sort::Expiry)
            .map(|(name, sort, label)| Link {
                label: s.t(label),
                href: asked.address(Some(name), 0),
                current: *sort == asked.sort(),
            })
            .collect(),
        earlier: link(asked.page > 0, asked.page.saturating_sub(1)),
        later: link(asked.page + 1 < pages, asked.page + 1),
        place: s
            .t1("keys.page", &at.to_string())
            .replacen("{}", &of.to_string(), 1),
        new: new_address(visit, asked.policy.as_deref())?,
        refusal,
        w: words,
        s,
    };
    html(200, &keys)
}

impl KeyRow {
    /// Whether the row has a button.
    fn has_actions(&self) -> bool {
        let offered = &self.offered;
        offered.reveal || !offered.fields.is_empty() || offered.switch || offered.delete
    }
}

/// The address for creating a key, of this policy or of a policy that the user chooses there. Empty if the caller may
/// not create any.
pub fn new_address(visit: &Visit<'_>, policy: Option<&str>) -> Result<String> {
    let (app, caller) = (visit.call.app, &visit.caller);
    let issues = |policy: &Policy| require_issue(app, caller, policy).is_ok();
    let address = format!("{MOUNT}/keys/new");
    let found = match policies::list(app, caller) {
        Err(Error::Forbidden(_)) => Vec::new(),
        other => other?,
    };
    let mut found = found.iter().filter(|found| issues(found));
    Ok(match policy {
        None => found.next().map(|_| address),
        Some(name) => found
            .find(|found| found.name == name)
            .map(|_| format!("{address}?policy={}", encode(name))),
    }
    .unwrap_or_default())
}

fn row(visit: &Visit<'_>, words: Words, view: &View) -> Result<KeyRow> {
    let key = &view.key;
    let now = visit.call.app.now().wall;
    let offered = offered(visit.call.app, &visit.caller, view)?;
    let directory = visit.call.app.index.directory();
    let catalog = key
        .catalog
        .as_ref()
        .and_then(|name| directory.catalog(name));
    let shown = key.scopes.iter().take(SCOPES_SHOWN);
    let (read, write) = words.access();
    Ok(KeyRow {
        href: address(key.id),
        name: key.name.clone(),
        hint: key.hint.clone(),
        badge: badge(visit.texts, view.state),
        workspace: view.workspace.clone(),
        owner: view.owner.clone(),
        scopes: shown
            .map(|scope| label(visit.texts, catalog.map(|catalog| &**catalog), scope))
            .collect(),
        scopes_more: key.scopes.len().saturating_sub(SCOPES_SHOWN),
        used: view
            .usage
            .last_used_at
            .map(|at| DisplayTime::new(visit.texts, at, now)),
        end: end(visit, view),
        access: if key.read_only { read } else { write },
        enabled: key.enabled,
        offered,
    })
}

/// The label of a scope in its catalog; the scope itself if it has none.
pub fn label(texts: &Texts, catalog: Option<&Catalog>, scope: &str) -> String {
    let known = catalog.and_then(|catalog| {
        let mut scopes = catalog.definition().scopes.iter();
        scopes.find(|known| known.name == scope && !known.label.is_empty())
    });
    known.map_or_else(
        || scope.to_owned(),
        |known| texts.word(&known.label).to_owned(),
    )
}

fn filters(visit: &Visit<'_>, asked: &ListQuery) -> Result<Filters> {
    let (app, caller) = (visit.call.app, &visit.caller);
    // A caller who may not list these gets an empty filter.
    fn allowed<T>(list: Result<Vec<T>>) -> Result<Vec<T>> {
        match list {
            Err(Error::Forbidden(_)) => Ok(Vec::new()),
            other => other,
        }
    }
    let options = |names: Vec<(String, String)>, chosen: &Option<String>| {
        names
            .into_iter()
            .map(|(value, label)| {
                let is = chosen.as_ref() == Some(&value);
                (value, label, is)
            })
            .collect()
    };
    let same = |name: String| (name.clone(), name);
    let workspaces = allowed(workspaces::list(app, caller))?;
    let workspaces = workspaces.iter().map(|found| same(found.slug.clone()));
    let policies = allowed(policies::list(app, caller))?;
    let policies = policies.iter().map(|found| same(found.name.clone()));
    let owners = allowed(users::list(app, caller))?;
    let owners = owners.iter().map(|found| same(found.user_name.clone()));
    let live = State::ALL
        .into_iter()
        .filter(|state| *state != State::Deleted);
    let states = live.map(|state| {
        let label = badge(visit.texts, state).label.to_owned();
        (state.as_str().to_owned(), label)
    });
    Ok(Filters {
        q: asked.q.clone().unwrap_or_default(),
        sort: asked.sort.clone().unwrap_or_default(),
        states: options(states.collect(), &asked.state),
        workspaces: options(workspaces.collect(), &asked.workspace),
        policies: options(policies.collect(), &asked.policy),
        owners: options(owners.collect(), &asked.owner),
        created_by: asked.created_by.clone().unwrap_or_default(),
        expiring: asked.expiring.is_some(),
        set: [
            &asked.q,
            &asked.state,
            &asked.workspace,
            &asked.owner,
            &asked.created_by,
            &asked.expiring,
        ]
        .iter()
        .any(|asked| asked.is_some()),
    })
}
