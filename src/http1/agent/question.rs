//! A message of HAProxy as the request that asks about it over HTTP, and the answer to that request as variables.
//!
//! The arguments of the message are, in any order:
//!
//! | Argument | Value |
//! | --- | --- |
//! | `target` | path and query of the question, as the Lua action in `examples/haproxy` has them |
//! | `method`, `uri` | of the client's request |
//! | `host` | the same; NULL if the request has no such header |
//! | `client` | the client's address |
//! | `NAME`, and after it `NAME.count` | the last value of a header, and how many times the request has the header |
//!
//! A header that the request has several times stays doubled, so that it is refused. A question that lacks an argument, or
//! has one twice, or a value of another kind, is not asked.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::frame::{Data, Ids, Messages, Status, Writer};
use crate::http1::headers::{Headers, is_name, is_value};
use crate::http1::reply::Reply;
use crate::http1::request::{Head, Method, Peer, RequestId, Target};

/// The variable that only a request that may pass has, and its value.
const ALLOWED: &[u8] = b"allowed";

/// The variable with the status of the answer.
const STATUS: &[u8] = b"status";

/// The status of a question that was not asked.
const NOT_ASKED: u32 = 400;

/// What follows the name of a header in the name of the argument with its count.
const COUNT: &[u8] = b".count";

/// The arguments that a message must have besides headers, and the headers of the question that they become.
const NEEDED: [(&str, &str); 5] = [
    ("target", ""),
    ("method", "x-forwarded-method"),
    ("uri", "x-forwarded-uri"),
    ("host", "x-forwarded-host"),
    ("client", "x-forwarded-for"),
];

/// Why a question is not asked; the text is for the log.
pub type Fault = &'static str;

/// The request that a frame asks about. `Err` if the frame is malformed; a well-formed one that is no question of ours
/// is a fault of HAProxy's configuration.
pub fn read(
    mut messages: Messages<'_>,
    path: &'static str,
    peer: Peer,
    id: RequestId,
) -> Result<Result<Head, Fault>, Status> {
    let question = one_message(&mut messages, path)?;
    let mut is_alone = true;
    while let Some(count) = messages.next()? {
        is_alone = false;
        for _ in 0..count {
            messages.argument()?;
        }
    }
    Ok(match question {
        Ok(_) if !is_alone => {
            Err("there are several messages in a frame; write one into the group")
        }
        Err(fault) => Err(fault),
        Ok((target, headers)) => Ok(Head {
            method: Method::GET,
            target,
            is_http_11: true,
            headers,
            peer,
            id,
        }),
    })
}

/// Reads all arguments of the first message, also after a fault.
fn one_message(
    messages: &mut Messages<'_>,
    path: &'static str,
) -> Result<Result<(Target, Headers), Fault>, Status> {
    let Some(count) = messages.next()? else {
        return Ok(Err("there is no message in a frame"));
    };
    let mut question = Question {
        path,
        target: None,
        headers: Headers::default(),
        seen: 0,
        counted: None,
    };
    let mut outcome = Ok(());
    for _ in 0..count {
        let (name, value) = messages.argument()?;
        outcome = outcome.and_then(|()| question.take(name, value));
    }
    Ok(outcome.and_then(|()| question.finish()))
}

struct Question<'a> {
    path: &'static str,
    target: Option<Target>,
    headers: Headers,
    /// A bit for each argument of [`NEEDED`] that was there.
    seen: u8,
    /// A header whose count must follow.
    counted: Option<(&'a [u8], Option<&'a [u8]>)>,
}

const KIND: Fault = "an argument of the message has a value of another kind than in spoe.conf";

impl<'a> Question<'a> {
    fn take(&mut self, name: &'a [u8], value: Data<'a>) -> Result<(), Fault> {
        if let Some((header, text)) = self.counted.take() {
            let count = match (name.strip_suffix(COUNT), value) {
                (Some(counted), Data::Number(count)) if counted == header => count,
                _ => return Err("a header in the message is not followed by its count"),
            };
            return self.add_header(header, text, count);
        }
        let place = NEEDED
            .iter()
            .position(|(needed, _)| needed.as_bytes() == name);
        let Some(place) = place else {
            let is_header = is_name(name) && !name.iter().any(u8::is_ascii_uppercase);
            let text = match value {
                Data::Text(text) if is_header => Some(text.trim_ascii()),
                Data::Null if is_header => None,
                _ => return Err(KIND),
            };
            self.counted = Some((name, text));
            return Ok(());
        };
        if self.seen & 1 << place != 0 {
            return Err("an argument is twice in the message");
        }
        self.seen |= 1 << place;
        let (argument, header) = NEEDED[place];
        let header = header.as_bytes();
        match (argument, value) {
            ("target", Data::Text(text)) => self.set_target(text),
            ("client", Data::Ipv4(address)) => {
                self.push(header, Ipv4Addr::from(address).to_string().as_bytes())
            }
            ("client", Data::Ipv6(address)) => {
                self.push(header, Ipv6Addr::from(address).to_string().as_bytes())
            }
            ("host", Data::Null) => self.push(header, b""),
            ("method" | "uri" | "host" | "client", Data::Text(text)) => self.push(header, text),
            _ => Err(KIND),
        }
    }

    /// Only the path of the question can be asked here.
    fn set_target(&mut self, text: &[u8]) -> Result<(), Fault> {
        let text = std::str::from_utf8(text).map_err(|_| KIND)?;
        let target: Target = text.parse().map_err(|_| KIND)?;
        if target.path() != self.path || target.authority().is_some() {
            return Err("the target of the message has another path than that of the question");
        }
        self.target = Some(target);
        Ok(())
    }

    fn add_header(&mut self, name: &[u8], text: Option<&[u8]>, count: u64) -> Result<(), Fault> {
        match (text, count) {
            (None, 0) => Ok(()),
            (Some(_), 0) => Err("a header in the message has a value and the count 0"),
            (text, 1) => self.push(name, text.unwrap_or_default()),
            (text, _) => {
                self.push(name, text.unwrap_or_default())?;
                self.push(name, text.unwrap_or_default())
            }
        }
    }

    fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        if !is_value(value) {
            return Err("a value in the message has a control character");
        }
        self.headers.push(name, value);
        Ok(())
    }

    fn finish(self) -> Result<(Target, Headers), Fault> {
        if self.counted.is_some() {
            return Err("a header in the message is not followed by its count");
        }
        match self.target {
            Some(target) if self.seen == (1 << NEEDED.len()) - 1 => Ok((target, self.headers)),
            _ => Err("the message lacks one of target, method, uri, host and client"),
        }
    }
}

/// Writes an answer: its status, and a variable for each header. A request may pass only if the answer is a 200 that fits.
pub fn answer(out: &mut Vec<u8>, ids: Ids, reply: &Reply, bytes_max: usize) {
    let mut writer = Writer::ack(out, ids);
    writer.set_number(STATUS, u32::from(reply.status));
    for (name, value) in reply.headers.iter() {
        // Of several lines the first counts, as for the Lua action.
        let first = reply.headers.get(name).map(<[u8]>::as_ptr);
        if first == Some(value.as_ptr()) {
            writer.set_text(name, value);
        }
    }
    match reply.status {
        200 => writer.set_text(ALLOWED, ALLOWED),
        _ => writer.unset(ALLOWED),
    }
    if !writer.end(bytes_max) {
        log::warn!("an answer does not fit into a frame of HAProxy; its request is denied");
        refuse(out, ids, 503);
    }
}

/// Writes the answer to a question that was not asked.
pub fn not_asked(out: &mut Vec<u8>, ids: Ids) {
    refuse(out, ids, NOT_ASKED);
}

fn refuse(out: &mut Vec<u8>, ids: Ids, status: u32) {
    let mut writer = Writer::ack(out, ids);
    writer.set_number(STATUS, status);
    writer.unset(ALLOWED);
    writer.end(super::frame::FRAME_BYTES_MIN);
}
