//! Error pages.

use super::{Layout, Nav, html, may};
use crate::dialects::console::auth::Visit;
use crate::dialects::console::text::lacking_scope;
use crate::error::Error;
use crate::http::reply::{Reply, status_of};
use crate::http::request::Head;
use askama::Template;

#[derive(Template)]
#[template(path = "console/error.html")]
struct ErrorPage {
    s: Layout,
    status: u16,
    /// One sentence, including what the user can do.
    detail: String,
    /// Who can do what the user may not; empty for other errors.
    help: String,
    request_id: String,
}

/// The page of an error for a signed-in user.
pub fn within(visit: &Visit<'_>, err: &Error) -> Reply {
    let request = visit.call.request;
    if let Error::Internal(cause) = err {
        log::error!("console request {}: {cause}", request.id);
    }
    let (status, title) = words(err);
    let shell = visit.shell(visit.texts.get(title), Nav::None);
    let help = match err {
        Error::Forbidden(why) => may::whom(visit, lacking_scope(why)),
        _ => String::new(),
    };
    written(shell, status, err, request, help)
}

/// The page of an error for a client that is not signed in or could not be identified.
pub fn render(err: &Error, head: &Head) -> Reply {
    let (status, title) = words(err);
    written(Layout::bare(head, title), status, err, head, String::new())
}

/// The page for a request that violates HTTP and was not parsed any further.
pub fn fault(status: u16, why: &str, head: &Head) -> Reply {
    let page = ErrorPage {
        s: Layout::bare(head, "error.malformed"),
        status,
        detail: why.to_owned(),
        help: String::new(),
        request_id: head.id.to_string(),
    };
    html(status, &page).unwrap_or_else(|_| Reply::new(status))
}

fn written(s: Layout, status: u16, err: &Error, head: &Head, help: String) -> Reply {
    let detail = match err {
        // The log contains the cause under the request id.
        Error::Internal(_) => s.t("error.internal_detail").to_owned(),
        Error::Misdirected => s.t("error.misdirected_detail").to_owned(),
        Error::NotFound(_) => s.t("error.not_found_detail").to_owned(),
        Error::TooLarge { .. } => s.t("error.too_large_detail").to_owned(),
        Error::TooMany { retry_after_s } => s.tn("error.too_many_detail", *retry_after_s),
        Error::LocalHeaderMissing | Error::Unauthenticated => {
            s.t("error.unauthenticated_detail").to_owned()
        }
        other => s.error(other),
    };
    let page = ErrorPage {
        s,
        status,
        detail,
        help,
        request_id: head.id.to_string(),
    };
    let reply = html(status, &page).unwrap_or_else(|err| {
        log::error!("a page could not be written: {err}");
        Reply::new(500)
    });
    reply.with_advice(err)
}

fn words(err: &Error) -> (u16, &'static str) {
    let title = match err {
        Error::Conflict(_) => "error.conflict",
        Error::Forbidden(_) => "error.forbidden",
        Error::Internal(_) => "error.internal",
        Error::Invalid { .. } => "error.invalid",
        Error::Malformed(_) => "error.malformed",
        Error::MethodNotAllowed { .. } => "error.method",
        Error::Misdirected => "error.misdirected",
        Error::NotFound(_) => "error.not_found",
        Error::TooLarge { .. } => "error.too_large",
        Error::TooMany { .. } => "error.too_many",
        Error::LocalHeaderMissing | Error::Unauthenticated => "error.unauthenticated",
        Error::Unavailable(_) => "error.unavailable",
        Error::UnsupportedMediaType(_) => "error.media_type",
    };
    let status = match err {
        // A browser would ask for a password of its own at 401.
        Error::LocalHeaderMissing | Error::Unauthenticated => 403,
        other => status_of(other),
    };
    (status, title)
}
