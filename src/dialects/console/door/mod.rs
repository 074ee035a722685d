//! The door: who is signed in, which forms are accepted, and what becomes of a form whose sender is not.
//!
//! No session before a sign-in, and a new one at each (attacks 169, 173). A form must come from a page of this very
//! server ([`submit`]), with the token of the session that the page was made for (attacks 164).

pub mod account;
pub mod carry;
pub mod confirm;
pub mod cookie;
pub mod setup;
pub mod sign_in;

use super::MOUNT;
use super::shell::{self, Nav, Shell};
use super::text::{Texts, spoken};
use crate::domain::people::session::{Session, form_token, is_form_token};
use crate::error::{Error, Result};
use crate::http::client::Trust;
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::request::{Head, Request};
use crate::http::route::Call;
use crate::ops::App;
use crate::ops::access::Caller;
use crate::ops::people::console;
use crate::ops::setup::first_run;
use cookie::{Channel, Cookie};

/// The field that carries the token of a form.
pub const TOKEN: &str = "form_token";

/// Somebody who is signed in, and his request.
pub struct Visit<'a> {
    pub call: &'a Call<'a>,
    pub caller: Caller,
    pub session: Session,
    pub texts: &'static Texts,
    secret: &'a str,
}

impl Visit<'_> {
    /// The frame of a page.
    pub fn shell(&self, title: impl Into<String>, nav: Nav) -> Shell {
        let token = form_token(self.secret);
        Shell::of(self, title.into(), nav, token)
    }

    /// Records that something was not to be read, as every other way in does; changes record that by themselves.
    pub fn noting<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(err) = &outcome {
            let path = own_path(self.call);
            self.call.app.note_denied_read(&self.caller, &path, err);
        }
        outcome
    }

    /// Leads to another page, which says what was done.
    pub fn done(&self, done: &str, to: &str) -> Reply {
        redirect(to).also("set-cookie", Cookie::Done.set(channel(self.call), done))
    }
}

/// Runs `show` for somebody who is signed in; everybody else is asked to sign in first.
pub fn page(call: &Call<'_>, show: &dyn Fn(&Visit<'_>) -> Result<Reply>) -> Result<Reply> {
    match enter(call) {
        Ok(visit) => {
            let shown = visit.noting(show(&visit));
            Ok(answered(&visit, shown))
        }
        Err(Error::Unauthenticated) if shell::is_from_elsewhere(call.request) => {
            Ok(shell::again(call.request))
        }
        Err(Error::Unauthenticated) => Ok(redirect(&entrance(call))),
        Err(err) => Err(err),
    }
}

/// Runs `act` on a form of somebody who is signed in. Everybody else signs in first, and then goes on with what was
/// typed.
pub fn submit(call: &Call<'_>, act: &dyn Fn(&Visit<'_>, &Form) -> Result<Reply>) -> Result<Reply> {
    let form = own_form(call)?;
    take(call, form, act)
}

/// As [`submit`], for forms with files and for large ones.
pub fn submit_file(
    call: &Call<'_>,
    act: &dyn Fn(&Visit<'_>, &Form) -> Result<Reply>,
) -> Result<Reply> {
    require_own_page(call.request, channel(call))?;
    let form = Form::with_files(call.request)?;
    take(call, form, act)
}

/// The user who is signed in, according to the index.
pub fn foresees(app: &App, trust: &Trust, head: &Head) -> Option<Caller> {
    let channel = match trust.is_secure(head) {
        true => Channel::Encrypted,
        false => Channel::Plain,
    };
    let secret = Cookie::Session.read(head, channel);
    secret.and_then(|secret| console::foresees(app, secret))
}

/// A form that switches a thing off and does nothing else.
pub fn disables(_: &App, request: &Request, _: &str) -> bool {
    let own = |name: &str| name == TOKEN || name == "enabled";
    Form::of(request).is_ok_and(|form| {
        form.text("enabled") == "no" && form.fields().iter().all(|(name, _)| own(name))
    })
}

/// A form that takes a role from a user.
pub fn removes_role(_: &App, request: &Request, _: &str) -> bool {
    Form::of(request).is_ok_and(|form| form.some("remove").is_some())
}

fn take(
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
        return Err(foreign());
    }
    if !is_form_token(visit.secret, form.text(TOKEN)) {
        return carry::offer(&visit, &own_path(call), &form);
    }
    Ok(answered(&visit, act(&visit, &form)))
}

/// As [`submit`], for grave actions: the password must have been given not long ago (attacks 186).
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

/// The form of a page of this server, whoever sent it.
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

/// `GET /`: the console is the front page.
pub fn front(_: &Call<'_>) -> Result<Option<Reply>> {
    Ok(Some(redirect(MOUNT)))
}

/// Another page, to be fetched with GET.
pub fn redirect(to: &str) -> Reply {
    Reply::new(303).with("location", to)
}

/// What the browser says it is.
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
    Ok(Visit {
        call,
        caller,
        session,
        texts: spoken(),
        secret,
    })
}

/// What went wrong is told in the frame of the visit.
fn answered(visit: &Visit<'_>, outcome: Result<Reply>) -> Reply {
    let said = Cookie::Done
        .read(visit.call.request, channel(visit.call))
        .is_some();
    match outcome {
        // It is said once.
        Ok(reply) if said && reply.status != 303 => {
            reply.also("set-cookie", Cookie::Done.clear(channel(visit.call)))
        }
        Ok(reply) => reply,
        // The session may have ended with what was done.
        Err(Error::Unauthenticated) => redirect(&entrance(visit.call)),
        Err(err) => shell::error::within(visit, &err),
    }
}

/// The path of a request without the prefix that the console is below.
pub fn own_path(call: &Call<'_>) -> String {
    format!("{MOUNT}{}", call.below)
}

/// Where whoever is not signed in gets in, and on to where he wanted.
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

fn foreign() -> Error {
    Error::Forbidden(spoken().get("refusal.foreign").to_owned())
}

/// Refuses a form that another site sent (attacks 164). Browsers name the sender's origin with every form, and
/// newer ones say how it is related to this server.
fn require_own_page(head: &Head, channel: Channel) -> Result<()> {
    let read = |name| head.header(name).map_err(|_| foreign());
    if read("sec-fetch-site")?.is_some_and(|site| site != "same-origin") {
        return Err(foreign());
    }
    let origin = read("origin")?.ok_or_else(foreign)?;
    let host = head.host().ok_or_else(foreign)?;
    let authority = match channel {
        Channel::Encrypted => origin.strip_prefix("https://"),
        // A proxy in front may speak TLS and not say so.
        Channel::Plain => origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://")),
    };
    match authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
        true => Ok(()),
        false => Err(foreign()),
    }
}

/// A path of the console to go to, out of a request; anything else is the console's first page (attacks 183). A
/// browser resolves dot segments, encoded ones too, before it asks: they would lead out of the console.
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

/// Whether a segment means the same to everybody. Only the last may be empty.
fn is_sound(segment: &str, is_last: bool) -> bool {
    let Some(decoded) = decode(segment) else {
        return false;
    };
    let separates = |b: &u8| matches!(b, b'/' | b'\\') || b.is_ascii_control();
    (is_last || !decoded.is_empty())
        && !matches!(decoded.as_slice(), b"." | b"..")
        && !decoded.iter().any(separates)
}

/// A segment without its percent-encoding; `None` if that cannot be read.
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
            // Out of the console by dot segments: L7.
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
