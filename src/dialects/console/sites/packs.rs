//! What travels between this server and a site: packs to download, revocations as QR codes, and reports to take in.

use super::{address, detail, list};
use crate::dialects::console::auth::{Visit, page, submit, submit_file};
use crate::dialects::console::form::Refusal;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::authenticators::qr::{BORDER, Qr};
use crate::domain::packs::site::file_name;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::packs::{collect as reports, make, revocations, sites};
use crate::refusals;
use askama::Template;

/// The media type of a pack.
const PACK: &str = "application/octet-stream";

#[derive(Template)]
#[template(path = "console/site_revocations.html")]
struct RevocationsPage {
    s: Layout,
    href: String,
    name: String,
    /// How many keys the codes have, in words.
    keys: String,
    codes: Vec<Code>,
}

/// A text, and its drawing.
struct Code {
    /// Which one of how many; empty if there is one.
    title: String,
    text: String,
    /// In modules, with the border.
    side: usize,
    path: String,
}

/// `POST /console/sites/{name}/packs`
pub fn make(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let name = call.param("name").to_owned();
        let wanted = make::Wanted {
            sites: Some(vec![name.clone()]),
            whole: form.text("kind") == "whole",
        };
        match make::make(call.app, &visit.caller, wanted) {
            Ok(_) => Ok(visit.done("pack_made", &format!("{}#packs", address(&name)))),
            Err(err) => again(visit, err),
        }
    })
}

/// `GET /console/sites/{name}/packs/{number}`
pub fn download(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let number = call.param("number").parse();
        let number = number.map_err(|_| Error::NotFound("pack"))?;
        let view = sites::find_view(call.app, &visit.caller, call.param("name"))?;
        let bytes = make::fetch(call.app, &visit.caller, &view.site.name, number)?;
        let base = match number == view.site.base {
            true => 0,
            false => view.site.base,
        };
        let disposition = format!("attachment; filename=\"{}\"", file_name(number, base));
        Ok(Reply::new(200)
            .with("content-disposition", disposition)
            .body(PACK, bytes))
    })
}

/// `POST /console/sites/{name}/revocations`: a form, because each list is in the audit log.
pub fn revoke(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let name = call.param("name");
        let codes = match revocations::codes(call.app, &visit.caller, Some(name), None) {
            Ok(codes) => codes,
            Err(err) => return again(visit, err),
        };
        let texts = visit.texts;
        let all = codes.texts.len();
        let code = |(place, text): (usize, &String)| {
            let qr = Qr::dense(text)?;
            Ok(Code {
                title: match all {
                    1 => String::new(),
                    _ => texts
                        .with("revocations.code", &texts.number(place as u64 + 1))
                        .replacen("{}", &texts.number(all as u64), 1),
                },
                text: text.clone(),
                side: qr.side() + 2 * BORDER,
                path: qr.path(),
            })
        };
        let page = RevocationsPage {
            s: visit.shell(texts.with("revocations.title", name), Nav::Sites),
            href: address(name),
            name: name.to_owned(),
            keys: texts.count("revocations.keys", codes.keys),
            codes: codes
                .texts
                .iter()
                .enumerate()
                .map(code)
                .collect::<Result<_>>()?,
        };
        html(200, &page)
    })
}

/// The page of the site, with the reason why nothing was made.
fn again(visit: &Visit<'_>, err: Error) -> Result<Reply> {
    match Refusal::of(visit.texts, &err) {
        Some(refusal) if refusal.status == 409 => {
            detail::shown(visit, refusal.status, Some(refusal.why))
        }
        _ => Err(err),
    }
}

/// `POST /console/site-reports`
pub fn collect(call: &Call<'_>) -> Result<Reply> {
    submit_file(call, &|visit, form| {
        let text = form.text("file");
        if text.is_empty() {
            let why = visit.texts.sentence(&refusals::packs::no_report());
            return list(visit, 422, Some(why));
        }
        match reports::collect(call.app, &visit.caller, text) {
            Ok(collected) => {
                let done = match collected.is_new {
                    true => "report_taken",
                    false => "report_known",
                };
                Ok(visit.done(done, &address(&collected.site)))
            }
            Err(Error::Malformed(why)) => list(visit, 422, Some(visit.texts.sentence(&why))),
            Err(Error::NotFound(_)) => {
                let why = visit.texts.get("sites.report_of_none").to_owned();
                list(visit, 422, Some(why))
            }
            Err(err) => Err(err),
        }
    })
}
