//! Two-step sign-in of the user's own account: setting it up, switching it off, and recovery codes.
//!
//! A user whose role demands it and who has none reaches these pages and no others (`auth::enrolling_page`).

use super::{Visit, enrolling_page, enrolling_submit, page, redirect, submit};
use crate::dialects::console::MOUNT;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::authenticators::qr::{BORDER, Qr};
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::authenticators::enrol::{self, GeneratedSecret, NewAuthenticator};
use crate::ops::authenticators::{self, Confirmation, recovery_codes};
use askama::Template;

/// The address of the page on which two-step sign-in is set up.
pub const PATH: &str = "/account/two-step";

#[derive(Template)]
#[template(path = "console/two_step.html")]
struct SetUpPage {
    s: Layout,
    user_name: String,
    /// Whether the user can do nothing else before.
    demanded: bool,
    /// The sealed secret.
    setup: String,
    /// The secret as text, in groups of four.
    secret: String,
    qr: QrView,
    /// Whether the form asks for the password: the sign-in was too long ago.
    asks_password: bool,
    refused: (String, String),
}

struct QrView {
    /// The length of a side with the border, in modules.
    side: usize,
    path: String,
}

#[derive(Template)]
#[template(path = "console/recovery_codes.html")]
struct CodesPage {
    s: Layout,
    /// Whose codes they are, and on which server.
    of: String,
    codes: Vec<String>,
    /// Whether two-step sign-in has just been set up.
    new: bool,
    back: &'static str,
}

#[derive(Template)]
#[template(path = "console/two_step_confirm.html")]
struct ConfirmPage {
    s: Layout,
    lead: &'static str,
    button: &'static str,
    action: String,
    danger: bool,
    user_name: String,
    refused: (String, String),
}

/// `GET /console/account/two-step`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    enrolling_page(call, &|visit| {
        match enrol::begin(call.app, &visit.caller, &own_name(visit)) {
            Ok(begun) => asked(
                visit,
                200,
                begun.setup,
                &begun.generated,
                Default::default(),
            ),
            // It is set up already.
            Err(Error::Conflict(_)) => Ok(redirect(&format!("{MOUNT}/account"))),
            Err(err) => Err(err),
        }
    })
}

/// `POST /console/account/two-step`: the first code. The answer shows the recovery codes once.
pub fn set_up(call: &Call<'_>) -> Result<Reply> {
    enrolling_submit(call, &|visit, form| {
        let name = own_name(visit);
        let (setup, code) = (form.text("setup"), form.text("code"));
        let new = NewAuthenticator {
            description: visit.texts.get("two_step.description").to_owned(),
            scopes: Vec::new(),
        };
        let password = form.some("current_password");
        let confirmation = confirmation(visit, password.as_deref());
        let demanded = visit.must_enrol();
        match enrol::finish(
            call.app,
            &visit.caller,
            &name,
            (setup, code),
            new,
            confirmation,
        ) {
            Ok(enrolled) => codes(visit, enrolled.recovery_codes, true, demanded),
            Err(Error::Conflict(_)) => Ok(redirect(&format!("{MOUNT}/account"))),
            Err(err) => again(visit, form, err),
        }
    })
}

/// The page with the same secret after a refusal, or with a new one if that of the form is over.
fn again(visit: &Visit<'_>, form: &Form, err: Error) -> Result<Reply> {
    let (status, field, why) = refused(visit, err)?;
    let (app, name) = (visit.call.app, own_name(visit));
    let setup = form.text("setup");
    match enrol::resume(app, &visit.caller, &name, setup) {
        Ok(generated) => asked(visit, status, setup.to_owned(), &generated, (field, why)),
        Err(Error::Invalid { .. }) => {
            let begun = enrol::begin(app, &visit.caller, &name)?;
            let why = visit.texts.get("two_step.over").to_owned();
            let refused = ("code".to_owned(), why);
            asked(visit, 422, begun.setup, &begun.generated, refused)
        }
        Err(err) => Err(err),
    }
}

/// `GET /console/account/two-step/off`
pub fn ask_off(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| off_page(visit, 200, Default::default()))
}

/// `POST /console/account/two-step/off`
pub fn switch_off(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let confirmation = Confirmation::Password(Some(form.text("current_password")));
        let name = own_name(visit);
        match authenticators::delete_all(call.app, &visit.caller, &name, confirmation) {
            Ok(()) => Ok(visit.done("two_step_off", &format!("{MOUNT}/account"))),
            Err(err) => {
                let (status, field, why) = refused(visit, err)?;
                off_page(visit, status, (field, why))
            }
        }
    })
}

/// `GET /console/account/recovery-codes`
pub fn ask_codes(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| codes_page(visit, 200, Default::default()))
}

/// `POST /console/account/recovery-codes`
pub fn create_codes(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let confirmation = Confirmation::Password(Some(form.text("current_password")));
        let name = own_name(visit);
        match recovery_codes::create(call.app, &visit.caller, &name, confirmation) {
            Ok(new) => codes(visit, new, false, false),
            Err(err) => {
                let (status, field, why) = refused(visit, err)?;
                codes_page(visit, status, (field, why))
            }
        }
    })
}

/// The refused field of a form on these pages; an error of another kind is returned as it is.
fn refused(visit: &Visit<'_>, err: Error) -> Result<(u16, String, String)> {
    Ok(match err {
        // The only right that a user can lack here is the knowledge of the password.
        Error::Forbidden(_) => {
            let why = visit.texts.get("password.wrong").to_owned();
            (403, "current_password".to_owned(), why)
        }
        Error::Conflict(reason) => (409, String::new(), visit.texts.refusal(&reason)),
        Error::Invalid { field, .. } if field == "code" => {
            let why = visit.texts.get("two_step.code_refused").to_owned();
            (422, field, why)
        }
        Error::Invalid { field, reason } => (422, field, visit.texts.refusal(&reason)),
        err => return Err(err),
    })
}

/// A recent sign-in needs no password; otherwise the form has it.
fn confirmation<'a>(visit: &Visit<'_>, password: Option<&'a str>) -> Confirmation<'a> {
    match is_fresh(visit) {
        true => Confirmation::Fresh,
        false => Confirmation::Password(password),
    }
}

fn is_fresh(visit: &Visit<'_>) -> bool {
    visit.session.is_fresh(visit.call.app.now().wall)
}

/// The user's own name, also for a user who has to set up a second factor first.
fn own_name(visit: &Visit<'_>) -> String {
    visit.user_name()
}

fn asked(
    visit: &Visit<'_>,
    status: u16,
    setup: String,
    generated: &GeneratedSecret,
    refused: (String, String),
) -> Result<Reply> {
    let qr = Qr::of(&generated.url)?;
    let letters: Vec<char> = generated.secret.chars().collect();
    let groups: Vec<String> = letters
        .chunks(4)
        .map(|part| part.iter().collect())
        .collect();
    let page = SetUpPage {
        s: visit.shell(visit.texts.get("two_step.title"), Nav::Account),
        user_name: visit.user_name(),
        demanded: visit.must_enrol(),
        setup,
        secret: groups.join(" "),
        qr: QrView {
            side: qr.side() + 2 * BORDER,
            path: qr.path(),
        },
        asks_password: !is_fresh(visit),
        refused,
    };
    html(status, &page)
}

fn codes(visit: &Visit<'_>, codes: Vec<String>, new: bool, demanded: bool) -> Result<Reply> {
    let page = CodesPage {
        s: visit.shell(visit.texts.get("two_step.codes_title"), Nav::Account),
        of: visit.texts.fill(
            "two_step.codes_of",
            &[
                ("user", &visit.user_name()),
                ("host", visit.call.request.host().unwrap_or_default()),
            ],
        ),
        codes,
        new,
        back: match demanded {
            true => MOUNT,
            false => "/console/account",
        },
    };
    html(200, &page)
}

fn off_page(visit: &Visit<'_>, status: u16, refused: (String, String)) -> Result<Reply> {
    let page = ConfirmPage {
        s: visit.shell(visit.texts.get("two_step.off_title"), Nav::Account),
        lead: visit.texts.get("two_step.off_lead"),
        button: visit.texts.get("two_step.off"),
        action: format!("{MOUNT}{PATH}/off"),
        danger: true,
        user_name: visit.user_name(),
        refused,
    };
    html(status, &page)
}

fn codes_page(visit: &Visit<'_>, status: u16, refused: (String, String)) -> Result<Reply> {
    let page = ConfirmPage {
        s: visit.shell(visit.texts.get("two_step.new_codes"), Nav::Account),
        lead: visit.texts.get("two_step.new_codes_lead"),
        button: visit.texts.get("two_step.new_codes"),
        action: format!("{MOUNT}/account/recovery-codes"),
        danger: false,
        user_name: visit.user_name(),
        refused,
    };
    html(status, &page)
}
