//! The pages for signing in and out.

use super::cookie::Cookie;
use super::pending_form::PendingForm;
use super::{agent, channel, local_path, own_form, redirect};
use super::{form_token, pending_form};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::own_path;
use crate::dialects::console::layout::{Layout, html};
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::sessions;
use crate::ops::sessions::console;
use crate::ops::sessions::console::SignInResult;
use crate::ops::setup::first_run;
use askama::Template;

#[derive(Template)]
#[template(path = "console/sign_in.html")]
struct SignInPage {
    s: Layout,
    user_name: String,
    next: String,
    carried: Option<PendingForm>,
    refusal: Option<String>,
    code: CodeField,
}

/// Whether the form asks for a one-time code.
enum CodeField {
    /// Together with the password, because the account is locked.
    Beside,
    Hidden,
    /// Without the password: the user has entered the right one and has a second factor. The value identifies this
    /// first step and is sent back with the code.
    Step(String),
}

impl CodeField {
    fn is_beside(&self) -> bool {
        matches!(self, CodeField::Beside)
    }
}

/// `GET /console/sign-in`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let next = query.take("next").unwrap_or_default();
    if first_run::is_open(call.app) {
        return Ok(redirect(&format!("{MOUNT}/setup")));
    }
    asked(
        call,
        200,
        "",
        local_path(&next),
        None,
        None,
        CodeField::Hidden,
    )
}

/// `POST /console/sign-in`
pub fn submit(call: &Call<'_>) -> Result<Reply> {
    let form = own_form(call)?;
    let (user_name, password) = (form.text("user_name"), form.text("password"));
    let next = local_path(form.text("next")).to_owned();
    let carried = PendingForm::take(&form);
    let origin = call.trust.origin(call.request);
    let former = super::enter(call).ok().map(|visit| visit.session.id);
    let step = Some(form.text("step")).filter(|step| !step.is_empty());
    let opened = match step {
        None => {
            let code = form.some("code");
            let code = code.as_deref();
            console::open(
                call.app,
                user_name,
                password,
                code,
                origin,
                agent(call),
                former,
            )
        }
        Some(step) => {
            let code = form.text("code");
            console::open_with_code(call.app, step, code, origin, agent(call), former)
                .map(SignInResult::SignedIn)
        }
    };
    let token = match opened {
        Ok(SignInResult::SignedIn(signed_in)) => signed_in.token,
        Ok(SignInResult::CodeNeeded(step)) => {
            let code = CodeField::Step(step);
            return asked(call, 200, user_name, &next, carried, None, code);
        }
        Err(err) => {
            // After a wrong code the page asks for the code again; the password need not be repeated while the first
            // step is valid.
            let (status, refusal) = refusal(call, &err, step.is_some())?;
            let again = match step {
                Some(step) => CodeField::Step(step.to_owned()),
                None if matches!(err, Error::Forbidden(_)) || form.has("code") => CodeField::Beside,
                None => CodeField::Hidden,
            };
            let reply = asked(
                call,
                status,
                user_name,
                &next,
                carried,
                Some(refusal),
                again,
            )?;
            return Ok(match err {
                Error::TooMany { retry_after_s } => {
                    reply.with("retry-after", retry_after_s.max(1).to_string())
                }
                _ => reply,
            });
        }
    };
    let set = Cookie::Session.set(channel(call), token.expose());
    let reply = match carried {
        None => redirect(&next),
        Some(carried) => {
            let s = Layout::resumed(call, form_token::of(token.expose()));
            pending_form::shown(s, 200, &carried)?
        }
    };
    Ok(reply.also("set-cookie", &set))
}

/// Asks the sender of a form to sign in, and keeps the fields of the form.
pub fn before(call: &Call<'_>, form: &Form) -> Result<Reply> {
    let carried = PendingForm::new(&own_path(call), form);
    let hidden = CodeField::Hidden;
    asked(call, 403, "", MOUNT, Some(carried), None, hidden)
}

/// `POST /console/sign-out`
pub fn sign_out(call: &Call<'_>) -> Result<Reply> {
    let reply = super::enrolling_submit(call, &|visit, _| {
        sessions::sign_out(call.app, &visit.caller)?;
        Ok(redirect(&format!("{MOUNT}/sign-in")))
    })?;
    Ok(match reply.status {
        303 => reply
            .also("set-cookie", Cookie::Session.clear(channel(call)))
            .with("clear-site-data", "\"cache\", \"storage\""),
        _ => reply,
    })
}

/// The message for a failed sign-in. It is the same for unknown names, wrong passwords and disabled users.
fn refusal(call: &Call<'_>, err: &Error, of_code: bool) -> Result<(u16, String)> {
    let s = Layout::bare(call.request, "sign_in.title");
    match err {
        // After as many attempts, this message appears for every name, whether such a user exists or not.
        Error::Forbidden(_) => Ok((403, s.t("sign_in.locked").to_owned())),
        Error::Unauthenticated if of_code => Ok((403, s.t("sign_in.code_refused").to_owned())),
        Error::Unauthenticated => Ok((403, s.t("sign_in.refused").to_owned())),
        Error::TooMany { retry_after_s } => {
            Ok((429, s.tn("sign_in.too_many", (*retry_after_s).max(1))))
        }
        Error::Unavailable(_) => Ok((503, s.t("sign_in.unavailable").to_owned())),
        other => Err(Error::internal(other.to_string())),
    }
}

fn asked(
    call: &Call<'_>,
    status: u16,
    user_name: &str,
    next: &str,
    carried: Option<PendingForm>,
    refusal: Option<String>,
    code: CodeField,
) -> Result<Reply> {
    html(
        status,
        &SignInPage {
            s: Layout::bare(call.request, "sign_in.title"),
            user_name: user_name.to_owned(),
            next: next.to_owned(),
            carried,
            refusal,
            code,
        },
    )
}
