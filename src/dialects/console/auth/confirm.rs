//! Asks a signed-in user for the password again before an action with serious consequences (attacks 186).

use super::cookie::Cookie;
use super::pending_form::PendingForm;
use super::{Visit, agent, channel};
use super::{form_token, pending_form};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::sessions::console;
use crate::refusals::verbatim;
use askama::Template;

#[derive(Template)]
#[template(path = "console/confirm.html")]
struct ConfirmPage {
    s: Layout,
    carried: PendingForm,
    refusal: Option<String>,
}

/// Asks for the password and includes the form that waits for it.
pub fn ask(visit: &Visit<'_>, path: &str, form: &Form, refusal: Option<String>) -> Result<Reply> {
    asked(visit, 403, PendingForm::new(path, form), refusal)
}

/// `POST /console/confirm`: replaces the session with a new one and offers the form again.
pub fn submit(call: &Call<'_>) -> Result<Reply> {
    super::submit(call, &|visit, form| {
        let nothing = || Error::Malformed(verbatim(visit.texts.get("refusal.nothing_waits")));
        let carried = PendingForm::take(form).ok_or_else(nothing)?;
        let name = visit.user_name();
        let origin = call.trust.origin(call.request);
        let former = visit.session.id;
        let password = form.text("password");
        match console::renew(call.app, &name, password, origin, agent(call), former) {
            Ok(signed_in) => {
                let s = Layout::resumed(call, form_token::of(signed_in.token.expose()));
                let set = Cookie::Session.set(channel(call), signed_in.token.expose());
                Ok(pending_form::shown(s, 200, &carried)?.also("set-cookie", &set))
            }
            Err(Error::Unauthenticated) => {
                let refusal = visit.texts.get("confirm.refused").to_owned();
                asked(visit, 403, carried, Some(refusal))
            }
            Err(err) => Err(err),
        }
    })
}

fn asked(
    visit: &Visit<'_>,
    status: u16,
    carried: PendingForm,
    refusal: Option<String>,
) -> Result<Reply> {
    html(
        status,
        &ConfirmPage {
            s: visit.shell(visit.texts.get("confirm.title"), Nav::None),
            carried,
            refusal,
        },
    )
}
