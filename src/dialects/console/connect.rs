//! The page that writes the configuration of a reverse proxy, and checks whether an application is protected.

use super::auth::{Visit, page, submit};
use super::form::{Choice, Input, Kind};
use super::layout::{Layout, Nav, html};
use super::text::Texts;
use crate::domain::connect::{Address, ConfigFile, LATCHKEY, LISTEN, Plan, Proxy, Typed};
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::connection_check::{self, Seen};
use crate::ops::{backups, catalogs, workspaces};
use crate::refusals::connect;
use askama::Template;

/// The fields of the form, in their order.
const FIELDS: [&str; 7] = [
    "proxy",
    "host",
    "upstream",
    "catalog",
    "workspace",
    "listen",
    "latchkey",
];

#[derive(Template)]
#[template(path = "console/connect.html")]
struct ConnectPage {
    s: Layout,
    fields: Vec<Input>,
    files: Vec<ConfigFile>,
    /// The command that prints the same text; empty if there are no files.
    command: String,
    /// How to try it: one line without a key, and one with a key.
    tries: [String; 2],
    /// The form that checks, if the caller may.
    check: Option<Input>,
    /// The fields of the first form, for the second one.
    carried: Vec<(&'static str, String)>,
    /// What the check has seen, and whether this is good.
    verdict: Option<(String, bool)>,
    /// A refusal that concerns no field.
    refusal: Option<String>,
    /// Whether the page leads to sites.
    leads_to_sites: bool,
}

/// `GET /console/connect`: with a query, the configuration too.
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        visit.caller.require_somewhere(Permission::CatalogsRead)?;
        let mut query = call.query()?;
        let mut form = Form::default();
        for name in FIELDS {
            if let Some(value) = query.take(name) {
                form.put(name, value);
            }
        }
        let is_asked = form.has("host");
        if !is_asked && !form.has("workspace") {
            // Without a workspace every valid key of every workspace passes.
            form.put("workspace", visit.home());
        }
        shown(visit, &form, is_asked, None, &[])
    })
}

/// `POST /console/connect`: asks the proxy once.
pub fn check(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let Ok(plan) = Plan::read(&typed(form)) else {
            return shown(visit, form, true, None, &[]);
        };
        let address = Address::parse("address", form.text("address"));
        let seen = address.and_then(|address| {
            connection_check::check(call.app, &visit.caller, &address, &plan.host)
        });
        match seen {
            Ok(seen) => shown(visit, form, true, Some(verdict(visit.texts, seen)), &[]),
            Err(err @ (Error::Invalid { .. } | Error::Conflict(_))) => {
                shown(visit, form, true, None, &[err])
            }
            Err(err) => Err(err),
        }
    })
}

fn typed(form: &Form) -> Typed {
    let text = |name| form.text(name).to_owned();
    Typed {
        host: text("host"),
        upstream: text("upstream"),
        listen: text("listen"),
        latchkey: text("latchkey"),
        catalog: text("catalog"),
        workspace: text("workspace"),
    }
}

fn shown(
    visit: &Visit<'_>,
    form: &Form,
    is_asked: bool,
    verdict: Option<(String, bool)>,
    more: &[Error],
) -> Result<Reply> {
    let texts = visit.texts;
    let proxy = match form.some("proxy") {
        None => Ok(Proxy::Nginx),
        Some(word) => Proxy::parse(&word).ok_or_else(|| Error::invalid("proxy", connect::proxy())),
    };
    let (plan, mut faults) = match (is_asked, Plan::read(&typed(form))) {
        (false, _) => (None, Vec::new()),
        (true, Ok(plan)) => (Some(plan), Vec::new()),
        (true, Err(faults)) => (None, faults),
    };
    let (proxy, wrong) = match proxy {
        Ok(proxy) => (proxy, None),
        Err(err) => (Proxy::Nginx, Some(err)),
    };
    let is_wrong = wrong.is_some();
    faults.extend(wrong);
    let plan = match plan.as_ref().map(|plan| plan.check_for(proxy)) {
        Some(Err(fault)) => {
            faults.push(fault);
            None
        }
        Some(Ok(())) | None => plan,
    };
    let plan = plan.filter(|_| !is_wrong);
    let files = plan.as_ref().map(|plan| plan.files(proxy)).transpose()?;
    let refused = |name: &str| {
        let all = faults.iter().chain(more);
        let mut about = all.filter_map(|err| match err {
            Error::Invalid { field, reason } if field == name => Some(texts.sentence(reason)),
            _ => None,
        });
        about.next().unwrap_or_default()
    };
    let check = plan
        .as_ref()
        .filter(|_| connection_check::may(visit.call.app, &visit.caller))
        .map(|plan| check_field(texts, form, plan, refused("address")));
    let status = match (faults.is_empty(), more) {
        (true, []) => 200,
        (true, [Error::Conflict(_), ..]) => 409,
        _ => 422,
    };
    let conflict = more.iter().find_map(|err| match err {
        Error::Conflict(why) => Some(texts.sentence(why)),
        _ => None,
    });
    let s = visit.shell(texts.get("connect.title"), Nav::Connect);
    let fields = FIELDS
        .into_iter()
        .map(|name| field(visit, form, name, refused(name)));
    let page = ConnectPage {
        fields: fields.collect::<Result<_>>()?,
        command: plan
            .as_ref()
            .map(|plan| command(proxy, plan))
            .unwrap_or_default(),
        tries: plan.as_ref().map(tries).unwrap_or_default(),
        files: files.unwrap_or_default(),
        check,
        carried: FIELDS
            .iter()
            .map(|name| (*name, form.text(name).to_owned()))
            .collect(),
        verdict,
        refusal: conflict,
        leads_to_sites: backups::require(visit.call.app, &visit.caller).is_ok(),
        s,
    };
    html(status, &page)
}

fn field(visit: &Visit<'_>, form: &Form, name: &'static str, refusal: String) -> Result<Input> {
    let texts = visit.texts;
    let value = form.text(name).to_owned();
    let first = |text: &str| Choice::of("", texts.get(text), &value);
    let (label, hint, kind) = match name {
        "proxy" => {
            let choices = Proxy::ALL.map(|proxy| Choice::of(proxy.word(), proxy.name(), &value));
            ("connect.proxy", String::new(), Kind::Select(choices.into()))
        }
        "host" => (
            "field.host",
            texts.get("connect.host_hint").to_owned(),
            Kind::Text,
        ),
        "upstream" => (
            "connect.upstream",
            texts.get("connect.upstream_hint").to_owned(),
            Kind::Text,
        ),
        "catalog" => {
            let found = catalogs::list(visit.call.app, &visit.caller)?;
            let names = found
                .iter()
                .map(|catalog| Choice::of(catalog.name(), catalog.name(), &value));
            let choices = std::iter::once(first("connect.no_catalog")).chain(names);
            (
                "field.catalog",
                texts.get("connect.catalog_hint").to_owned(),
                Kind::Select(choices.collect()),
            )
        }
        "workspace" => {
            let found = workspaces::list(visit.call.app, &visit.caller).unwrap_or_default();
            let names = found
                .iter()
                .map(|workspace| Choice::of(&*workspace.slug, &*workspace.name, &value));
            let choices = std::iter::once(first("connect.any_workspace")).chain(names);
            (
                "field.workspace",
                texts.get("connect.workspace_hint").to_owned(),
                Kind::Select(choices.collect()),
            )
        }
        "listen" => (
            "connect.listen",
            texts.with("connect.listen_hint", LISTEN),
            Kind::Text,
        ),
        _ => (
            "connect.latchkey",
            texts.with("connect.latchkey_hint", LATCHKEY),
            Kind::Text,
        ),
    };
    Ok(Input {
        name,
        label: texts.get(label),
        hint,
        link: None,
        required: matches!(name, "proxy" | "host" | "upstream"),
        value: if matches!(kind, Kind::Select(_)) {
            String::new()
        } else {
            value
        },
        kind,
        refusal,
    })
}

/// The field of the form that checks: the proxy as this server probably reaches it.
fn check_field(texts: &Texts, form: &Form, plan: &Plan, refusal: String) -> Input {
    let host = match plan.listen.ip() {
        Some(ip) if !ip.is_unspecified() => plan.listen.host.clone(),
        _ => "127.0.0.1".to_owned(),
    };
    let address = Address {
        host,
        port: plan.listen.port,
    };
    Input {
        name: "address",
        label: texts.get("connect.check_address"),
        hint: texts.get("connect.check_address_hint").to_owned(),
        link: None,
        kind: Kind::Text,
        value: form.some("address").unwrap_or_else(|| address.to_string()),
        required: true,
        refusal,
    }
}

/// The command that prints the same files. No value needs quotes, because of what a plan accepts.
fn command(proxy: Proxy, plan: &Plan) -> String {
    let mut words = format!(
        "latchkey connect {} --host {} --upstream {}",
        proxy.word(),
        plan.host,
        plan.upstream
    );
    let mut add = |name: &str, value: &str| words.push_str(&format!(" --{name} {value}"));
    if let Some(catalog) = &plan.catalog {
        add("catalog", catalog);
    }
    if let Some(workspace) = &plan.workspace {
        add("workspace", workspace);
    }
    if plan.listen.to_string() != LISTEN {
        add("listen", &plan.listen.to_string());
    }
    if plan.latchkey.to_string() != LATCHKEY {
        add("latchkey", &plan.latchkey.to_string());
    }
    words
}

fn tries(plan: &Plan) -> [String; 2] {
    let port = match plan.listen.port {
        80 => String::new(),
        port => format!(":{port}"),
    };
    let url = format!("http://{}{port}/", plan.host);
    [
        format!("curl -i {url}"),
        format!("curl -i {url} -H \"Authorization: Bearer $KEY\""),
    ]
}

/// What was seen, as a sentence with advice, and whether it is good.
fn verdict(texts: &Texts, seen: Seen) -> (String, bool) {
    let answer = match seen {
        Seen::NotHttp => return (texts.get("connect.not_http").to_owned(), false),
        Seen::Refused => return (texts.get("connect.refused").to_owned(), false),
        Seen::Silent => return (texts.get("connect.silent").to_owned(), false),
        Seen::Answer(answer) => answer,
    };
    let status = answer.status.to_string();
    match answer.status {
        401 if answer.is_of_latchkey => (texts.get("connect.protected").to_owned(), true),
        401 => (texts.get("connect.other_401").to_owned(), false),
        200..=299 => (texts.with("connect.open", &status), false),
        300..=399 => (texts.with("connect.redirect", &status), false),
        403 => (texts.get("connect.forbidden").to_owned(), false),
        404 | 421 => (texts.with("connect.misdirected", &status), false),
        500..=599 => (texts.with("connect.unavailable", &status), false),
        _ => (texts.with("connect.other", &status), false),
    }
}
