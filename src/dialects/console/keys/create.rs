//! Creates a key: choice of the policy, form, and the page that shows the secret once.

use super::fields::{self, KeyForm};
use super::labels::Words;
use super::secret;
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, confirm, own_path, page, submit};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::secret::random_text;
use crate::domain::policies::{Policy, STANDARD};
use crate::domain::text::name_of_description;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::idempotency::Retry;
use crate::ops::keys::issue::{self, NewKey};
use crate::ops::keys::offered;
use crate::ops::policies::{self, presets};
use askama::Template;

#[derive(Template)]
#[template(path = "console/key_choose.html")]
struct ChoosePage {
    s: Layout,
    /// The policy that comes with Latchkey for its own keys.
    first: Option<KindOfKey>,
    /// The other policies, and those of other systems.
    own: Vec<KindOfKey>,
    others: Vec<KindOfKey>,
    others_title: String,
}

/// A policy that the user can choose.
struct KindOfKey {
    href: String,
    name: String,
    description: String,
}

#[derive(Template)]
#[template(path = "console/key_create.html")]
struct CreatePage {
    s: Layout,
    w: Words,
    policy: String,
    description: String,
    /// Advice to read before the user fills in the form.
    about: Vec<&'static str>,
    form: KeyForm,
    /// Makes the creation idempotent: a form that is sent twice creates one key.
    nonce: String,
    back: String,
}

/// The length of the nonce.
const NONCE_CHARS: usize = 20;

/// `GET /console/keys/new`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let mut query = call.query()?;
        match query.take("policy").filter(|name| !name.is_empty()) {
            None => choose(visit),
            Some(name) => {
                let mut typed = Form::default();
                for field in ["catalog", "workspace", "owner", "name"] {
                    if let Some(value) = query.take(field) {
                        typed.put(field, value);
                    }
                }
                let policy = policies::find(call.app, &visit.caller, &name)?;
                offered::require_issue(call.app, &visit.caller, &policy)?;
                asked(visit, 200, &policy, &typed, &[])
            }
        }
    })
}

/// `POST /console/keys/new`
pub fn act(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let policy = policies::find(call.app, &visit.caller, form.text("policy"))?;
        if form.has("choose_catalog") {
            return asked(visit, 200, &policy, form, &[]);
        }
        let now = call.app.now().wall;
        let catalog = policy.catalog.as_deref().unwrap_or(form.text("catalog"));
        let opens_this_server = catalog == BUILT_IN;
        if opens_this_server && !visit.session.is_fresh(now) {
            return confirm::ask(visit, &own_path(call), form, None);
        }
        let retry = form
            .some("nonce")
            .map(|nonce| Retry::new(&nonce, &own_path(call), &call.request.body));
        let (new, mut faults) = wanted(&policy, visit, form);
        if faults.is_empty() {
            match issue::issue(call.app, &visit.caller, new.clone(), retry) {
                Ok(issued) => {
                    return secret::shown(visit, &policy, &issued, secret::Occasion::Created);
                }
                // The code below collects all faults of the form, including this one.
                Err(Error::Invalid { .. }) => {}
                Err(err @ Error::Conflict(_)) => return asked(visit, 409, &policy, form, &[err]),
                Err(err @ Error::Forbidden(_)) => {
                    offered::require_issue(call.app, &visit.caller, &policy)?;
                    return asked(visit, 403, &policy, form, &[err]);
                }
                Err(err) => return Err(err),
            }
        }
        faults.extend(issue::faults(call.app, &visit.caller, new)?);
        asked(visit, 422, &policy, form, &faults)
    })
}

/// The key that the form describes, and the fields that could not be read.
fn wanted(policy: &Policy, visit: &Visit<'_>, form: &Form) -> (NewKey, Vec<Error>) {
    let (mut members, faults) = fields::read_for(visit, policy, form);
    let words = Words::of(visit, Some(&policy.name));
    if words.is_described() {
        members.name = Some(name_of_description(form.text("description")));
    }
    let new = NewKey {
        members,
        workspace: form.some("workspace"),
        policy: Some(policy.name.clone()),
        catalog: form.some("catalog").or_else(|| words.catalog()),
        prefix: form.some("prefix"),
    };
    (new, faults)
}

fn choose(visit: &Visit<'_>) -> Result<Reply> {
    let found = policies::list(visit.call.app, &visit.caller)?;
    let kind = |policy: &std::sync::Arc<Policy>| KindOfKey {
        href: format!("{MOUNT}/keys/new?policy={}", encode(&policy.name)),
        name: policy.name.clone(),
        description: visit.texts.word(&policy.description).to_owned(),
    };
    let app = visit.call.app;
    let (mut first, mut own, mut others) = (None, Vec::new(), Vec::new());
    let may = |policy: &&std::sync::Arc<Policy>| {
        offered::require_issue(app, &visit.caller, policy).is_ok()
    };
    for policy in found.iter().filter(may) {
        match policy.name.as_str() {
            STANDARD => first = Some(kind(policy)),
            name if presets::of(app, name).is_some() => others.push(kind(policy)),
            _ => own.push(kind(policy)),
        }
    }
    let others_title = visit.texts.count("choose.others", others.len() as u64);
    let s = visit.shell(visit.texts.get("choose.title"), Nav::Keys);
    let page = ChoosePage {
        s,
        first,
        own,
        others,
        others_title,
    };
    html(200, &page)
}

fn asked(
    visit: &Visit<'_>,
    status: u16,
    policy: &Policy,
    typed: &Form,
    faults: &[Error],
) -> Result<Reply> {
    let words = Words::of(visit, Some(&policy.name));
    let nav = match words.section() {
        Some(section) => Nav::Section(section.policy),
        None => Nav::Keys,
    };
    let form = KeyForm::create(visit, policy, words, typed, faults)?;
    let create = CreatePage {
        s: visit.shell(words.create_title(), nav),
        policy: policy.name.clone(),
        description: visit.texts.word(&policy.description).to_owned(),
        about: words.about(policy),
        form,
        nonce: random_text(NONCE_CHARS)?,
        back: super::list_address(&policy.name),
        w: words,
    };
    html(status, &create)
}
