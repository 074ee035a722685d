//! The choices in the form of a key: the catalogs, workspaces, owners and scopes that the caller may see.

use super::{Choice, NO_OWNER};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::Visit;
use crate::dialects::console::form::FEW;
use crate::dialects::console::keys::labels::Words;
use crate::domain::catalogs::{BUILT_IN, Catalog};
use crate::domain::policies::{Policy, Presence};
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::query::encode;
use crate::ops::keys::ownerless;
use crate::ops::{catalogs as ops_catalogs, users, workspaces};
use std::collections::BTreeMap;

pub fn catalogs(visit: &Visit<'_>, typed: &Form) -> Result<Vec<Choice>> {
    let found = match ops_catalogs::list(visit.call.app, &visit.caller) {
        Ok(found) => found,
        Err(Error::Forbidden(_)) => Vec::new(),
        Err(err) => return Err(err),
    };
    let none = (String::new(), visit.texts.get("catalog.none").to_owned());
    let named = found.iter().map(|catalog| {
        let label = match catalog.name() {
            BUILT_IN => visit.texts.get("catalog.built_in").to_owned(),
            name => name.to_owned(),
        };
        (catalog.name().to_owned(), label)
    });
    let all = std::iter::once(none).chain(named);
    Ok(all
        .map(|(value, label)| Choice::of(value, label, typed.text("catalog")))
        .collect())
}

pub fn workspaces(visit: &Visit<'_>, typed: &Form) -> Result<Vec<Choice>> {
    let found = match workspaces::list(visit.call.app, &visit.caller) {
        Ok(found) => found,
        Err(Error::Forbidden(_)) => Vec::new(),
        Err(err) => return Err(err),
    };
    let chosen = typed.some("workspace").unwrap_or_else(|| visit.home());
    let one = |workspace: &crate::domain::workspaces::Workspace| {
        let label = match workspace.name.is_empty() {
            true => workspace.slug.clone(),
            false => format!("{} ({})", workspace.name, workspace.slug),
        };
        Choice::of(workspace.slug.clone(), label, &chosen)
    };
    Ok(found.iter().map(one).collect())
}

pub fn owners(visit: &Visit<'_>, policy: &Policy, typed: &Form) -> Result<Vec<Choice>> {
    let own = visit.user_name();
    let mut names = match users::list(visit.call.app, &visit.caller) {
        Ok(found) => found.iter().map(|user| user.user_name.clone()).collect(),
        Err(Error::Forbidden(_)) => Vec::new(),
        Err(err) => return Err(err),
    };
    if !names.contains(&own) {
        names.insert(0, own.clone());
    }
    let catalog = policy.catalog.as_deref().unwrap_or(typed.text("catalog"));
    // A management key belongs to the user who issues it; only a caller with server:admin can choose that it has no
    // owner.
    let is_management = catalog == BUILT_IN;
    let chosen = match (typed.some("owner"), policy.owner) {
        (Some(owner), _) => owner,
        (None, Presence::Required) => own,
        (None, _) if is_management => own,
        (None, _) => String::new(),
    };
    let may_none = policy.owner != Presence::Required;
    let none = match is_management {
        false => may_none.then_some(("", "owner.none")),
        true => {
            let directory = visit.call.app.index.directory();
            let allowed = ownerless::check_allowed(&directory, &visit.caller).is_ok();
            (may_none && allowed).then_some((NO_OWNER, "owner.none_management"))
        }
    };
    let none = none.map(|(value, name)| (value.to_owned(), visit.texts.get(name).to_owned()));
    let all = none
        .into_iter()
        .chain(names.into_iter().map(|name| (name.clone(), name)));
    Ok(all
        .map(|(value, label)| Choice::of(value, label, &chosen))
        .collect())
}

/// The page that explains the scopes of the form, which is the page of their catalog, if the caller may read it.
pub fn overview(
    visit: &Visit<'_>,
    policy: &Policy,
    words: Words,
    typed: &Form,
) -> Option<(String, &'static str)> {
    let name = catalog_name(policy, words, typed)?;
    ops_catalogs::find(visit.call.app, &visit.caller, &name).ok()?;
    let address = format!("{MOUNT}/catalogs/{}", encode(&name));
    Some((address, visit.texts.get("form.scopes_page")))
}

/// The catalog of the scopes: from the policy, otherwise from the form, otherwise from the section of the system.
fn catalog_name(policy: &Policy, words: Words, typed: &Form) -> Option<String> {
    let named = policy.catalog.clone();
    named
        .or_else(|| typed.some("catalog"))
        .or_else(|| words.catalog())
}

/// The scopes of the catalog; `None` if there is no catalog, so that the user types scopes as free text.
pub fn scopes(
    visit: &Visit<'_>,
    policy: &Policy,
    words: Words,
    typed: &Form,
) -> Result<Option<Vec<Choice>>> {
    let Some(name) = catalog_name(policy, words, typed) else {
        return Ok(None);
    };
    let directory = visit.call.app.index.directory();
    let Some(catalog) = directory.catalog(&name) else {
        return Ok(None);
    };
    let held = typed.all("scopes[]");
    // A page of another system has the words of that system alone.
    let opens = match words.section() {
        None => opened(catalog),
        Some(_) => BTreeMap::new(),
    };
    let choices = catalog.definition().scopes.iter().map(|scope| Choice {
        value: scope.name.clone(),
        label: match scope.label.is_empty() {
            true => scope.name.clone(),
            false => visit.texts.word(&scope.label).to_owned(),
        },
        hint: match scope.label.is_empty() {
            true => String::new(),
            false => scope.name.clone(),
        },
        chosen: held.contains(&scope.name),
        opens: opens.get(&*scope.name).cloned().unwrap_or_default(),
    });
    let mut choices: Vec<Choice> = choices.collect();
    // In a long list, the selected scopes come first.
    if choices.len() > FEW {
        choices.sort_by_key(|choice| !choice.chosen);
    }
    Ok(Some(choices))
}

/// The maximum number of requests that are listed below a scope.
const REQUESTS_SHOWN: usize = 30;

/// The requests that each scope of a catalog opens, alone or with others, by the names of the scopes. A scope that includes
/// others opens what they open.
fn opened(catalog: &Catalog) -> BTreeMap<&str, Vec<String>> {
    let definition = catalog.definition();
    let mut named: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for operation in &definition.operations {
        let request = format!("{} {}", operation.method, operation.path);
        for scope in operation.requirement.scopes() {
            named.entry(scope).or_default().push(request.clone());
        }
    }
    let mut opens = BTreeMap::new();
    for scope in &definition.scopes {
        let held = [Box::from(&*scope.name)];
        let granted = named
            .iter()
            .filter(|(asked, _)| match scope.implies.is_empty() {
                true => **asked == scope.name,
                false => catalog.grants(&held, true, asked),
            });
        let requests = granted.flat_map(|(_, requests)| requests.iter().cloned());
        opens.insert(&*scope.name, requests.take(REQUESTS_SHOWN).collect());
    }
    opens
}
