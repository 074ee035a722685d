//! The page that writes the command for a new site. The server does not enrol a site for a page: the enrolment has the peppers,
//! and only the administrator of the machine gets those.

use super::fields;
use crate::dialects::console::auth::{Visit, page};
use crate::dialects::console::backups::{data_of, prefix, quoted};
use crate::dialects::console::form::{Input, Refusal, in_units};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::packs::is_server_name;
use crate::domain::packs::site::{LEND, MAX_STALE_S};
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::packs::{identity, sites};
use crate::ops::{App, backups};
use crate::refusals;
use askama::Template;

#[derive(Template)]
#[template(path = "console/new_site.html")]
struct NewSitePage {
    s: Layout,
    fields: Vec<Input>,
    /// What to type at the server, and at the site; empty before the form was sent.
    at_server: Vec<String>,
    at_site: Vec<String>,
    /// What to type at the site in their place, if it can reach this server.
    linked: String,
    /// A refusal that concerns no field.
    refusal: Option<String>,
}

/// `GET /console/new-site`: with a query, the commands too.
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let typed = Form::parse(call.request.query())?;
        let server = identity::server_name(call.app, &visit.caller)?;
        let is_asked = typed.has("name");
        let typed = match is_asked {
            true => typed,
            false => fields::blank(),
        };
        let mut names = vec!["name"];
        names.extend(fields::FIELDS);
        if server.is_none() {
            names.push("server");
        }
        let commands = match is_asked {
            true => commands(visit, &typed, server.is_none()),
            false => Ok((Vec::new(), Vec::new())),
        };
        let (commands, refusal) = match commands {
            Ok(commands) => (commands, None),
            Err(err) => match Refusal::of(visit.texts, &err) {
                Some(refusal) if refusal.status != 403 => (Default::default(), Some(refusal)),
                _ => return Err(err),
            },
        };
        let refusal = refusal.as_ref();
        let alone = refusal.filter(|refusal| !fields::is_at(&names, refusal));
        let new = NewSitePage {
            s: visit.shell(visit.texts.get("sites.new"), Nav::Sites),
            fields: fields::inputs(visit, &names, &typed, refusal)?,
            at_server: commands.0,
            at_site: commands.1,
            linked: linked(server.as_deref().unwrap_or(typed.text("server").trim())),
            refusal: alone.map(|refusal| refusal.why.clone()),
        };
        html(refusal.map_or(200, |refusal| refusal.status), &new)
    })
}

/// The commands at the server, and those at the site.
fn commands(visit: &Visit<'_>, typed: &Form, is_first: bool) -> Result<(Vec<String>, Vec<String>)> {
    let (app, caller) = (visit.call.app, &visit.caller);
    let name = typed.text("name").trim();
    sites::check_name(app, caller, name)?;
    let asked = fields::read(visit.texts, typed)?;
    sites::check(app, caller, &asked)?;
    let server = typed.text("server").trim();
    if is_first && !server.is_empty() && !is_server_name(server) {
        return Err(Error::invalid("server", refusals::packs::server_name()));
    }
    let mut add = format!("latchkey site add {name}");
    for workspace in asked.workspaces.iter().flatten() {
        add += &format!(" --workspace {}", quoted(workspace));
    }
    for catalog in asked.catalogs.iter().flatten() {
        add += &format!(" --catalog {}", quoted(catalog));
    }
    if asked.minimal == Some(true) {
        add += " --minimal";
    }
    if let Some(until_s) = asked.until_s {
        let (count, unit) = in_units(until_s);
        add += &format!(" --until {count}{}", unit.chars().next().unwrap_or('s'));
    }
    if let Some(lend) = asked.lend.filter(|lend| *lend != LEND) {
        add += &format!(" --lend {lend}");
    }
    if let Some(max_stale_s) = asked.max_stale_s.filter(|seconds| *seconds != MAX_STALE_S) {
        add += &format!(" --max-stale {max_stale_s}s");
    }
    if is_first && !server.is_empty() {
        add += &format!(" --server-name {server}");
    }
    Ok((at_server(app, visit, name, &add)?, at_site(name)))
}

fn at_server(app: &App, visit: &Visit<'_>, name: &str, add: &str) -> Result<Vec<String>> {
    let home = backups::home(app, &visit.caller)?;
    let (prefix, data) = (prefix(&home), data_of(&home));
    Ok(vec![
        format!("{prefix}{add} --out {name}.enrol --data {data}"),
        format!("{prefix}latchkey pack make --site {name} --out . --data {data}"),
    ])
}

/// The data folder of a site.
const AT_SITE: &str = "/var/lib/latchkey-site";

fn at_site(name: &str) -> Vec<String> {
    vec![
        format!("latchkey site init {name}.enrol --data {AT_SITE}"),
        format!("latchkey pack apply . --data {AT_SITE}"),
        format!("latchkey serve --site --data {AT_SITE}"),
    ]
}

/// The command of a site with a live link to the server of this name.
fn linked(server: &str) -> String {
    let host = match is_server_name(server) {
        true => server,
        false => "keys.example.com",
    };
    format!("latchkey serve --site --server https://{host} --data {AT_SITE}")
}
