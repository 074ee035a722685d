//! Whether a reverse proxy protects an application: one question without a key, sent from this server.

use super::{App, Record};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::connect::Address;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::http1::probe::{Answer, NoAnswer, ask};
use crate::refusals::connect;

/// What was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    Answer(Answer),
    NotHttp,
    Refused,
    Silent,
}

/// Asks the proxy at `address` for the first page of `host`. Only administrators of the whole server may: a user who can
/// send requests from this server can learn what listens in its network. The event is written before the question.
pub fn check(app: &App, caller: &Caller, address: &Address, host: &str) -> Result<Seen> {
    let (index, who) = (app.index.clone(), caller.clone());
    let (shown, named) = (address.to_string(), host.to_owned());
    let target = Target::new(Kind::Server, "");
    app.change(
        caller,
        "server.check_connection",
        target.clone(),
        move |_, _| {
            who.require_global(&index.directory(), Permission::ServerAdmin)?;
            let mut changes = Changes::default();
            changes.note("address", &String::new(), &shown);
            changes.note("host", &String::new(), &named);
            let record = Record {
                target,
                workspace: None,
                changes,
            };
            Ok((Some(record), ()))
        },
    )?;
    let refused = |why| Err(Error::invalid("address", why));
    match ask((address.host.clone(), address.port), host) {
        Ok(answer) => Ok(Seen::Answer(answer)),
        Err(NoAnswer::Busy) => Err(Error::Conflict(connect::busy())),
        Err(NoAnswer::NotAllowed) => refused(connect::link_local()),
        Err(NoAnswer::NotHttp) => Ok(Seen::NotHttp),
        Err(NoAnswer::Refused) => Ok(Seen::Refused),
        Err(NoAnswer::Silent) => Ok(Seen::Silent),
        Err(NoAnswer::Unresolved) => refused(connect::unresolved()),
    }
}

/// Whether the caller may check.
pub fn may(app: &App, caller: &Caller) -> bool {
    let directory = app.index.directory();
    caller
        .require_global(&directory, Permission::ServerAdmin)
        .is_ok()
}
