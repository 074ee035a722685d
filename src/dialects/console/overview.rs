//! The first page: how things are.

use super::door::page;
use super::shell::{Nav, Shell, html};
use crate::error::Result;
use crate::http::reply::Reply;
use crate::http::route::Call;
use askama::Template;

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    s: Shell,
}

/// `GET /console`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, |visit| {
        let s = visit.shell(visit.texts.get("overview.title"), Nav::Overview);
        html(200, &OverviewPage { s })
    })
}
