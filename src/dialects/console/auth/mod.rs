//! Authentication for the console: recognises the signed-in user, and decides which forms are accepted. A form whose
//! sender is not signed in is kept until they have signed in.
//!
//! There is no session before a sign-in, and each sign-in starts a new one (attacks 169, 173). A form must come from a
//! page of this server ([`submit`]) and contain the token of the session for which the page was made (attacks 164).

pub mod account;
pub mod confirm;
pub mod cookie;
mod form_token;
pub mod pending_form;
pub mod preferences;
pub mod setup;
pub mod sign_in;
pub mod two_step;

use super::layout::{Layout, Nav};
use super::text::{self, Texts, languages};
use super::{MOUNT, layout};
use crate::authz::caller::{Caller, Identity};
use crate::domain::sessions::Session;
use crate::domain::time_zone::Zone;
use crate::domain::users::preferences::Preferences;
use crate::error::{Error, Result};
use crate::http::client::Trust;
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::request::{Head, Request};
use crate::http::route::Call;
use crate::ops::App;
use crate::ops::sessions::console;
use crate::ops::setup::first_run;
use crate::ops::users::preferences::of as preferences_of;
use crate::refusals::verbatim;
use cookie::{Channel, Cookie};

/// The field that contains the token of a form.
pub const TOKEN: &str = "form_token";

/// A signed-in user and their request.
pub struct Visit<'a> {
    pub call: &'a Call<'a>,
    pub caller: Caller,
    pub session: Session,
    /// The language and the time zone that the user has chosen.
    pub texts: &'static Texts,
    pub preferences: Preferences,
    secret: &'a str,
}

impl Visit<'_> {
    /// The layout of a page.
    pub fn shell(&self, title: impl Into<String>, nav: Nav) -> Layout {
        let token = form_token::of(self.secret);
        Layout::of(self, title.into(), nav, token)
    }

    /// Whether the user has to set up a second factor before anything else.
    pub fn must_enrol(&self) -> bool {
        matches!(self.caller.identity, Identity::Enrolling(_))
    }

    /// Records a denied read in the audit log, as all other dialects do; changes are recorded automatically.
    pub fn noting<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(err) = &outcome {
            let path = own_path(self.call);
            self.call.app.note_denied_read(&self.caller, &path, err);
        }
        outcome
    }

    /// Redirects to another page, which displays the confirmation `done`.
    pub fn done(&self, done: &str, to: &str) -> Reply {
        redirect(to).also("set-cookie", Cookie::Done.set(channel(self.call), done))
    }
}

/// Runs `show` for a signed-in user; all other clients are redirected to the sign-in page, and a user who has to set up a
/// second factor first to the page for it.
pub fn page(call: &Call<'_>, show: &dyn Fn(&Visit<'_>) -> Result<Reply>) -> Result<Reply> {
    enrolling_page(call, &|visit| match visit.must_enrol() {
        true => Ok(enrolment()),
        false => show(visit),
    })
}

/// As [`page`], also for a user who has to set up a second factor first.
pub fn enrolling_page(
    call: &Call<'_>,
    show: &dyn Fn(&Visit<'_>) -> Result<Reply>,
) -> Result<Reply> {
    match enter(call) {
        Ok(visit) => {
            let shown = visit.noting(show(&visit));
            Ok(answered(&visit, shown))
        }
        Err(Error::Unauthenticated) if layout::is_from_elsewhere(call.request) => {
            Ok(layout::again(call.request))
        }
        Err(Error::Unauthenticated) => Ok(redirect(&entrance(call))),
        Err(err) => Err(err),
    }
}

/// Runs `act` on the form of a signed-in user. Any other sender has to sign in first and can then send the same form
/// again.
pub fn submit(call: &Call<'_>, act: &dyn Fn(&Visit<'_>, &Form) -> Result<Reply>) -> Result<Reply> {
    let form = own_form(call)?;
    take(call, form, act)
}

/// As [`submit`], also for a user who has to set up a second factor first.
pub fn enrolling_submit(
    call: &Call<'_>,
    act: &dyn Fn(&Visit<'_>, &Form) -> Result<Reply>,
) -> Result<Reply> {
    let form = own_form(call)?;
    take_enrolling(call, form, act)
}

/// Like [`submit`], for a form that may hold a secret: it is not kept for a sender who has to sign in first, but forgotten.
pub fn submit_unkept(
    call: &Call<'_>,
    act: &dyn Fn(&Visit<'_>, &Form) -> Result<Reply>,
) -> Result<Reply> {
    let form = own_form(call)?;
    match enter(call) {
        Ok(visit) if visit.must_enrol() => Ok(enrolment()),
        Ok(visit) if !form.has(TOKEN) => Ok(layout::error::within(&visit, &foreign(call.request))),
        Ok(visit) if form_token::is_of(visit.secret, form.text(TOKEN)) => {
            Ok(answered(&visit, act(&visit, &form)))
        }
        Ok(_) => Ok(redirect(&own_path(call))),
        Err(Error::Unauthenticated) => Ok(redirect(&entrance(call))),
        Err(err) => Err(err),
    }
}

/// Like [`submit`], for forms that are large or contain files.
pub fn submit_file(
    call: &Call<'_>,
    act: &dyn Fn(&Visit<'_>, &Form) -> Result<Reply>,
) -> Result<Reply> {
    require_own_page(call.request, channel(call))?;
    let form = Form::with_files(call.request)?;
    take(call, form, act)
}

/// The signed-in user, according to the index.
pub fn would_authenticate(app: &App, trust: &Trust, head: &Head) -> Option<Caller> {
    let channel = match trust.is_secure(head) {
        true => Channel::Encrypted,
        false => Channel::Plain,
    };
    let secret = Cookie::Session.read(head, channel);
    secret.and_then(|secret| console::would_authenticate(app, secret))
}

/// Whether the form disables something and changes nothing else.
pub fn disables(_: &App, request: &Request, _: &str) -> bool {
    let own = |name: &str| name == TOKEN || name == "enabled";
    Form::of(request).is_ok_and(|form| {
        form.text("enabled") == "no" && form.fields().iter().all(|(name, _)| own(name))
    })
}

/// Whether the form removes roles from a user and changes nothing else.
pub fn removes_role(_: &App, request: &Request, _: &str) -> bool {
    Form::of(request).is_ok_and(|form| {
        let (before, now) = (form.all("former[]"), form.all("roles[]"));
        let is_kept = |(before, now): (&String, &String)| now.is_empty() || before == now;
        let removes = now.iter().any(String::is_empty);
        removes
            && form.some("role").is_none()
            && before.len() == now.len()
            && before.iter().zip(&now).all(is_kept)
    })
}

fn take(
    call: &Call<'_>,
    form: Form,
    act: &dyn Fn(&Visit<'_>, &Form) -> Result<Reply>,
) -> Result<Reply> {
    take_enrolling(call, form, &|visit, form| match visit.must_enrol() {
        true => Ok(enrolment()),
        false => act(visit, form),
    })
}

/// Leads to the page on which a second factor is set up.
fn enrolment() -> Reply {
    redirect(&format!("{MOUNT}{}", two_step::PATH))
}

fn take_enrolling(
    call: &Call<'_>,
    form: Form,
    act: &dyn Fn(&Visit<'_>, &Form) -> Result<Reply>,
) -> Result<Reply> {
    let visit = match enter(call) {
        Ok(visit) => visit,
        Err(Error::Unauthenticated) => return sign_in::before(call, &form),
        Err(err) => return Err(err),
    };
    if !form.has(TOKEN) {
        return Err(foreign(call.request));
    }
    if !form_token::is_of(visit.secret, form.text(TOKEN)) {
        return pending_form::offer(&visit, &own_path(call), &form);
    }
    Ok(answered(&visit, act(&visit, &form)))
}

/// Like [`submit`], for actions with serious consequences, which require a recently entered password (attacks 186).
pub fn submit_fresh(
    call: &Call<'_>,
    act: &dyn Fn(&Visit<'_>, &Form) -> Result<Reply>,
) -> Result<Reply> {
    submit(call, &|visit, form| {
        if visit.session.is_fresh(call.app.now().wall) {
            return act(visit, form);
        }
        confirm::ask(visit, &own_path(call), form, None)
    })
}

/// The form, if it comes from a page of this server; the sender need not be signed in.
pub fn own_form(call: &Call<'_>) -> Result<Form> {
    require_own_page(call.request, channel(call))?;
    Form::of(call.request)
}

/// How the browser reaches this server.
pub fn channel(call: &Call<'_>) -> Channel {
    match call.trust.is_secure(call.request) {
        true => Channel::Encrypted,
        false => Channel::Plain,
    }
}

/// `GET /`: redirects to the console.
pub fn front(_: &Call<'_>) -> Result<Option<Reply>> {
    Ok(Some(redirect(MOUNT)))
}

/// Redirects to a page that the browser requests with GET.
pub fn redirect(to: &str) -> Reply {
    Reply::new(303).with("location", to)
}

/// The `User-Agent` header of the browser; empty if there is none.
pub fn agent<'a>(call: &'a Call<'_>) -> &'a str {
    let agent = call.request.header("user-agent").ok().flatten();
    agent.unwrap_or("")
}

fn enter<'a>(call: &'a Call<'a>) -> Result<Visit<'a>> {
    let secret = Cookie::Session
        .read(call.request, channel(call))
        .ok_or(Error::Unauthenticated)?;
    let origin = call.trust.origin(call.request);
    let (mut caller, session) = console::authenticate(call.app, secret, origin)?;
    caller.takes_away = call.takes_away;
    let preferences = preferences_of(call.app, &caller);
    Ok(Visit {
        call,
        caller,
        session,
        texts: chosen(call, &preferences),
        preferences,
        secret,
    })
}

/// The texts in the language and the time zone that a user has chosen; without a choice, the browser decides about the
/// language.
fn chosen(call: &Call<'_>, preferences: &Preferences) -> &'static Texts {
    let zone = Zone::find(&preferences.time_zone).unwrap_or_else(Zone::utc);
    match languages::of_tag(&preferences.language) {
        Some(words) if !preferences.language.is_empty() => words.in_zone(&zone),
        _ => text::of_browser(call.request).in_zone(&zone),
    }
}

/// Turns an outcome into a reply; errors are displayed in the layout for signed-in users.
fn answered(visit: &Visit<'_>, outcome: Result<Reply>) -> Reply {
    let said = Cookie::Done
        .read(visit.call.request, channel(visit.call))
        .is_some();
    match outcome {
        // The page displays the confirmation once.
        Ok(reply) if said && reply.status != 303 => {
            reply.also("set-cookie", Cookie::Done.clear(channel(visit.call)))
        }
        Ok(reply) => reply,
        // The action may have ended the session.
        Err(Error::Unauthenticated) => redirect(&entrance(visit.call)),
        Err(err) => layout::error::within(visit, &err),
    }
}

/// The path of a request, without the prefix under which the console is mounted.
pub fn own_path(call: &Call<'_>) -> String {
    format!("{MOUNT}{}", call.below)
}

/// The page for a client without a session: first setup, or a sign-in that leads to the requested page.
fn entrance(call: &Call<'_>) -> String {
    if first_run::is_open(call.app) {
        return format!("{MOUNT}/setup");
    }
    let path = own_path(call);
    let query = call.request.query();
    let wanted = match query.is_empty() {
        true => path.clone(),
        false => format!("{path}?{query}"),
    };
    match call.request.method.as_str() {
        "GET" if path != MOUNT => format!(
            "{MOUNT}/sign-in?next={}",
            crate::http::query::encode(&wanted)
        ),
        _ => format!("{MOUNT}/sign-in"),
    }
}

fn foreign(head: &Head) -> Error {
    Error::Forbidden(verbatim(text::of_browser(head).get("refusal.foreign")))
}

/// Refuses a form that another site sent (attacks 164). Browsers name the sender's origin with every form, and newer
/// browsers also report whether it is the same site as this server.
fn require_own_page(head: &Head, channel: Channel) -> Result<()> {
    let read = |name| head.header(name).map_err(|_| foreign(head));
    if read("sec-fetch-site")?.is_some_and(|site| site != "same-origin") {
        return Err(foreign(head));
    }
    let origin = read("origin")?.ok_or_else(|| foreign(head))?;
    let host = head.host().ok_or_else(|| foreign(head))?;
    let authority = match channel {
        Channel::Encrypted => origin.strip_prefix("https://"),
        // A reverse proxy may use TLS without reporting it to this server.
        Channel::Plain => origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://")),
    };
    match authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
        true => Ok(()),
        false => Err(foreign(head)),
    }
}

/// A path from a request if it leads to a page of the console, otherwise the first page of the console (attacks 183).
/// Browsers resolve dot segments, also percent-encoded ones, before they send a request, so a path with dot segments
/// could lead out of the console.
pub fn local_path(text: &str) -> &str {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let below = path.strip_prefix(MOUNT);
    let own = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let mut segments = path.split('/').skip(1).peekable();
    let mut sound = true;
    while let Some(segment) = segments.next() {
        sound &= is_sound(segment, segments.peek().is_none());
    }
    match own && plain && sound {
        true => text,
        false => MOUNT,
    }
}

/// Whether every browser and server interprets a segment alike. Only the last segment may be empty.
fn is_sound(segment: &str, is_last: bool) -> bool {
    let Some(decoded) = decode(segment) else {
        return false;
    };
    let separates = |b: &u8| matches!(b, b'/' | b'\\') || b.is_ascii_control();
    (is_last || !decoded.is_empty())
        && !matches!(decoded.as_slice(), b"." | b"..")
        && !decoded.iter().any(separates)
}

/// A segment after percent-decoding; `None` if its encoding is invalid.
fn decode(segment: &str) -> Option<Vec<u8>> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        decoded.push(u8::try_from(high << 4 | low).ok()?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    // attacks 183
    #[test]
    fn only_pages_of_the_console_are_led_to() {
        for good in [
            "/console",
            "/console/",
            "/console/keys?q=a&page=2",
            "/console/keys?q=../..//a",
            "/console?x=1",
            "/console/users/a.b..c",
            "/console/users/j%C3%BCrgen%40example.com",
            "/console/keys/...",
        ] {
            assert_eq!(local_path(good), good);
        }
        for bad in [
            "",
            "//evil",
            "\\evil",
            "/\\evil",
            "javascript:alert(1)",
            "https://evil/console",
            "/consolex",
            "/v1/keys",
            "/console/\r\nSet-Cookie: a=b",
            "/console\\evil",
            // These paths would leave the console through dot segments: L7.
            "/console/../../x",
            "/console/..",
            "/console/.",
            "/console/keys/..?q=1",
            "/console/../v1#x",
            "/console/%2e%2e/x",
            "/console/%2E%2e/x",
            "/console/.%2e/x",
            "/console/%2e./x",
            "/console/%2e/x",
            "/console/..%2fx",
            "/console/%2f%2fevil",
            "/console/..%5cx",
            "/console//evil",
            "/console//",
            "/console/%00",
            "/console/%0d%0aSet-Cookie",
            "/console/%7f",
            "/console/%",
            "/console/%2",
            "/console/%zz",
            "//console/x",
            "/console\u{a0}",
        ] {
            assert_eq!(local_path(bad), MOUNT, "{bad}");
        }
    }
}
