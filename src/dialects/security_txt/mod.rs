//! `GET /.well-known/security.txt`: the contact for reports of vulnerabilities (RFC 9116), if the operator has named one.
//!
//! Without the setting `security_txt` there is no such page. It is public and is answered under any host name, because its
//! text is the same for everybody.

use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::reply::{Reply, status_of};
use crate::http::request::Head;
use crate::http::route::{Access, Call, Route, Surface, inline};
use crate::http1::BodyRule;
use serde_json::json;

pub const SURFACE: Surface = Surface {
    name: "security-txt",
    mount: "/.well-known/security.txt",
    movable: false,
    routes: ROUTES,
    checks_host: false,
    render_error: render,
    render_fault: |status, why, _| Reply::new(status).body(TEXT, format!("{why}\n")),
    would_authenticate: None,
    refusals: None,
    moved: None,
    describes: Some(describe),
};

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    inline("GET", "", Access::Public, BodyRule::Ignore, show).even_if_stale(),
];

/// RFC 9116, section 3.
const TEXT: &str = "text/plain; charset=utf-8";

/// `GET /.well-known/security.txt`
fn show(call: &Call<'_>) -> Result<Option<Reply>> {
    match &call.trust.security_txt {
        Some(file) => Ok(Some(Reply::new(200).body(TEXT, file.text.clone()))),
        None => Err(Error::NotFound("file")),
    }
}

/// Adds the operation to the description of the server.
fn describe(document: &mut Document) {
    let text = "Contact: mailto:security@example.com\nExpires: 2027-12-31T23:00:00Z\n";
    document.group("server", "The server itself.");
    document
        .add(
            "get /.well-known/security.txt",
            "securityTxt",
            "The contact for reports of vulnerabilities (RFC 9116)",
        )
        .about("There is none unless the setting `security_txt` names a file.")
        .security(json!([]))
        .answers_text(200, "The file.", "text/plain", text)
        .answers_text(404, "There is none.", "text/plain", "not found\n");
}

/// A status and one word.
fn render(err: &Error, _: &Head) -> Reply {
    let word = match err {
        Error::NotFound(_) => "not found",
        Error::MethodNotAllowed { .. } => "only GET is allowed",
        _ => "failed",
    };
    let reply = Reply::new(status_of(err)).with_advice(err);
    reply.body(TEXT, format!("{word}\n"))
}
