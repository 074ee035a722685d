//! The page of the user's own account: the password, two-step sign-in and the open sessions.

use super::cookie::Cookie;
use super::preferences::PreferenceFields;
use super::{Visit, agent, channel, page, submit};
use crate::dialects::console::MOUNT;
use crate::dialects::console::layout::moment::DisplayTime;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::session_rows::SessionRow;
use crate::domain::authenticators::recovery_codes::FEW;
use crate::domain::keys::KeyId;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::authenticators::proof::Proof;
use crate::ops::authenticators::{self, recovery_codes};
use crate::ops::sessions::{console, listed};
use crate::ops::{sessions, users};
use askama::Template;

#[derive(Template)]
#[template(path = "console/account.html")]
struct AccountPage {
    s: Layout,
    user_name: String,
    email: String,
    /// Each role with its workspace.
    roles: Vec<(String, String)>,
    two_step: TwoStep,
    sessions: Vec<SessionRow>,
    preferences: PreferenceFields,
    /// The address to which the form of a session that ends is sent; the id follows.
    end: String,
    /// The field that was refused, and the reason.
    refused: (String, String),
}

/// The state of two-step sign-in.
pub struct TwoStep {
    pub since: Option<DisplayTime>,
    /// How many recovery codes are left.
    pub left: String,
    pub few: bool,
    pub none_left: bool,
    /// Whether a role of the user demands it.
    pub demanded: bool,
}

impl TwoStep {
    /// The state for a user whom the visitor may see.
    pub fn of(
        visit: &Visit<'_>,
        user: &std::sync::Arc<crate::domain::users::User>,
    ) -> Result<TwoStep> {
        let (app, texts) = (visit.call.app, visit.texts);
        let all = authenticators::list(app, std::slice::from_ref(user))?;
        let active = all.into_iter().find(|one| one.enabled);
        let left = recovery_codes::left(app, user.uid)?;
        let now = app.now().wall;
        Ok(TwoStep {
            since: active.map(|one| DisplayTime::new(texts, one.created_at, now)),
            left: texts.count("two_step.left", left as u64),
            few: left <= FEW,
            none_left: left == 0,
            demanded: app.demands_second_factor(user),
        })
    }
}

/// `GET /console/account`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| shown(visit, 200, None))
}

/// `POST /console/account/password`: ends every session of the user and starts a new one for this browser.
pub fn set_password(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let (current, new) = (form.text("current_password"), form.text("password"));
        if new != form.text("password_again") {
            let refused =
                Error::invalid_text("password_again", visit.texts.get("password.differs"));
            return shown(visit, 422, Some(refused));
        }
        let name = visit.user_name();
        match sessions::set_password(call.app, &visit.caller, &name, new, Some(current)) {
            Ok(()) => {}
            Err(Error::Forbidden(_)) => {
                let refused =
                    Error::invalid_text("current_password", visit.texts.get("password.wrong"));
                return shown(visit, 403, Some(refused));
            }
            Err(err @ Error::Invalid { .. }) => return shown(visit, 422, Some(err)),
            Err(err) => return Err(err),
        }
        let origin = call.trust.origin(call.request);
        let user = call.app.index.directory().find_user(&name).cloned();
        let user = user.ok_or(Error::NotFound("user"))?;
        let signed_in =
            console::begin(call.app, &user, Proof::Complete, origin, agent(call), None)?;
        let set = Cookie::Session.set(channel(call), signed_in.token.expose());
        Ok(visit
            .done("password_changed", &format!("{MOUNT}/account"))
            .also("set-cookie", &set))
    })
}

/// `POST /console/account/sessions/{id}/end`
pub fn end_session(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let id = KeyId::parse(call.param("id")).ok_or(Error::NotFound("session"))?;
        listed::end(call.app, &visit.caller, &visit.user_name(), id)?;
        Ok(visit.done("session_ended", &format!("{MOUNT}/account")))
    })
}

/// `POST /console/account/end-sessions`: ends all other sessions.
pub fn end_sessions(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        listed::end_others(call.app, &visit.caller)?;
        Ok(visit.done("sessions_ended", &format!("{MOUNT}/account")))
    })
}

fn shown(visit: &Visit<'_>, status: u16, err: Option<Error>) -> Result<Reply> {
    let refused = match err {
        Some(Error::Invalid { field, reason }) => (field, visit.texts.refusal(&reason)),
        _ => Default::default(),
    };
    let (app, name) = (visit.call.app, visit.user_name());
    let user = users::find(app, &visit.caller, &name)?;
    let found = listed::list(app, &visit.caller, &name)?;
    let role = |binding: &crate::domain::users::Binding| {
        let label = visit.texts.get(&format!("role.{}", binding.role.as_str()));
        let directory = app.index.directory();
        let place = directory.place(binding.workspace);
        let place = place.map_or_else(String::new, |place| place.workspace.name.clone());
        (label.to_owned(), place)
    };
    let account = AccountPage {
        s: visit.shell(visit.texts.get("account.title"), Nav::Account),
        email: user.email.clone().unwrap_or_default(),
        roles: user.roles.iter().map(role).collect(),
        two_step: TwoStep::of(visit, &user)?,
        user_name: name,
        sessions: found
            .into_iter()
            .map(|session| SessionRow::of(visit, session))
            .collect(),
        end: format!("{MOUNT}/account/sessions"),
        preferences: PreferenceFields::of(visit),
        refused,
    };
    html(status, &account)
}
