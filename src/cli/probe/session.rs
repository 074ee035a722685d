//! One run of the probe: it sends requests, finds out whether the application was reached, and judges what came.

use super::ProbeArgs;
use super::exchange::{Came, Connection, NoAnswer, Peer, Request};
use super::keys::Keys;
use super::remedies::{Proxy, Remedy};
use super::report::{Row, State};
use super::upstream::Upstream;

/// What a request may get that is ambiguous.
pub const REFUSED: &[u16] = &[400, 401, 403];

/// Everything that the checks need.
pub struct Probe<'a> {
    pub args: &'a ProbeArgs,
    pub peer: &'a Peer,
    /// The path of the URL.
    pub path: String,
    pub upstream: Option<Upstream>,
    pub keys: &'a Keys,
    /// Marks the requests of this probe, in `User-Agent`.
    pub nonce: String,
    pub rows: Vec<Row>,
    /// The proxy, according to its answers.
    pub server: Option<Proxy>,
    sent: usize,
}

/// A check whose request has not been judged yet.
pub struct Check {
    id: &'static str,
    tried: String,
    should: &'static str,
}

pub fn check(id: &'static str, tried: impl Into<String>, should: &'static str) -> Check {
    Check {
        id,
        tried: tried.into(),
        should,
    }
}

/// What came, and what the application got of it.
pub struct Sent {
    pub came: Came,
    /// Whether the application was reached, if that is known.
    pub arrived: Option<bool>,
    /// What the application shows of the request: its head, or the body of its answer.
    pub seen: String,
}

/// Why a request that must not pass was not refused as it should be.
pub enum Symptom {
    /// The application answered.
    Reached,
    /// The proxy answered with a success, without the application.
    Turned,
    /// Another refusal than the right one.
    Other,
}

impl<'a> Probe<'a> {
    pub fn new(
        args: &'a ProbeArgs,
        peer: &'a Peer,
        path: String,
        upstream: Option<Upstream>,
        keys: &'a Keys,
        nonce: String,
    ) -> Probe<'a> {
        Probe {
            args,
            peer,
            path,
            upstream,
            keys,
            nonce,
            rows: Vec::new(),
            server: None,
            sent: 0,
        }
    }

    /// A request that must get one of these statuses.
    pub fn refuses(&mut self, check: Check, request: &Request, statuses: &[u16], remedy: Remedy) {
        let sent = self.send(request);
        if let Ok(answer) = &sent.came
            && self.server.is_none()
            && sent.arrived != Some(true)
        {
            self.server = answer.values("Server").find_map(Proxy::of_server);
        }
        let symptom = symptom(&sent, statuses, false);
        let is_foreign = check.id == "no-key"
            && symptom.is_none()
            && sent.arrived.is_none()
            && !sent.is_of_latchkey();
        match symptom {
            None if is_foreign => self.wrong_because(
                check,
                &sent,
                "This 401 is not Latchkey's: it may be the application's own, behind a location without the question. Use \
                 --upstream to be sure, or --accept no-key if a catalog has its own words.",
            ),
            None => self.right(check, &sent),
            Some(Symptom::Reached) => self.wrong(check, &sent, remedy),
            Some(Symptom::Turned) if remedy == Remedy::LimitMapped => self.wrong(check, &sent, remedy),
            Some(Symptom::Turned | Symptom::Other) => self.wrong(check, &sent, Remedy::RefusalTurned),
        }
    }

    /// A request that programs read in different ways: any refusal will do.
    pub fn refuses_strange(&mut self, check: Check, request: &Request, remedy: Remedy) {
        let sent = self.send(request);
        match symptom(&sent, REFUSED, true) {
            None => self.right(check, &sent),
            Some(_) => self.wrong(check, &sent, remedy),
        }
    }

    pub fn keyed(&self, request: Request, secret: &str) -> Request {
        let name = &self.args.header;
        match name.eq_ignore_ascii_case("authorization") {
            true => request.header("Authorization", &format!("Bearer {secret}")),
            false => request.header(name, secret),
        }
    }

    /// The mark of the latest request.
    pub fn tag(&self) -> String {
        format!("latchkey-probe/{}-{}.", self.nonce, self.sent)
    }

    pub fn send(&mut self, request: &Request) -> Sent {
        let mut connection = Connection::open(self.peer).ok();
        self.send_on(&mut connection, request)
    }

    pub fn send_on(&mut self, connection: &mut Option<Connection>, request: &Request) -> Sent {
        self.sent += 1;
        let tag = self.tag();
        let came = match connection {
            Some(connection) => connection.exchange(request, &tag),
            None => Err(NoAnswer::Closed),
        };
        let shown = came
            .as_ref()
            .map(|answer| answer.text())
            .unwrap_or_default();
        let (arrived, seen) = match &self.upstream {
            Some(upstream) => {
                let head = upstream.arrived(&tag);
                (Some(head.is_some()), head.unwrap_or_default())
            }
            None => (shown.contains(&tag).then_some(true), shown),
        };
        Sent {
            came,
            arrived,
            seen,
        }
    }

    pub fn right(&mut self, check: Check, sent: &Sent) {
        self.row(check, sent.came_text(), State::Right, None, "");
    }

    /// A check of what the application gets: whether something of the request was passed on that must not be.
    pub fn keeps_out(&mut self, check: Check, sent: &Sent, is_passed_on: bool, remedy: Remedy) {
        let status = sent.status().unwrap_or_default();
        match is_passed_on {
            true => {
                let came = format!("{status}, passed on");
                self.row(check, came, State::Wrong, Some(remedy), remedy.sentence());
            }
            false if sent.passed() => {
                let came = format!("{status}, not passed on");
                self.row(check, came, State::Right, None, "");
            }
            false => self.right(check, sent),
        }
    }

    pub fn wrong(&mut self, check: Check, sent: &Sent, remedy: Remedy) {
        self.row(
            check,
            sent.came_text(),
            State::Wrong,
            Some(remedy),
            remedy.sentence(),
        );
    }

    pub fn wrong_because(&mut self, check: Check, sent: &Sent, why: &str) {
        self.row(check, sent.came_text(), State::Wrong, None, why);
    }

    pub fn skip(&mut self, id: &'static str, tried: &str, why: &str) {
        self.row(
            check(id, tried, "-"),
            "-".to_owned(),
            State::NotChecked,
            None,
            why,
        );
    }

    fn row(&mut self, check: Check, came: String, state: State, remedy: Option<Remedy>, why: &str) {
        let is_accepted = self.args.accept.iter().any(|it| it == check.id);
        let state = match state {
            State::Wrong if is_accepted => State::Accepted,
            state => state,
        };
        self.rows.push(Row {
            check: check.id,
            tried: check.tried,
            came,
            should: check.should,
            state,
            why: why.to_owned(),
            remedy,
        });
    }
}

impl Sent {
    pub fn status(&self) -> Option<u16> {
        self.came.as_ref().ok().map(|answer| answer.status)
    }

    /// Whether the application answered with a success, according to what is known.
    pub fn passed(&self) -> bool {
        let is_success = self.came.as_ref().is_ok_and(|answer| answer.is_success());
        is_success && self.arrived != Some(false)
    }

    pub fn is_of_latchkey(&self) -> bool {
        let challenge = |value: &str| value.to_ascii_lowercase().contains("realm=\"latchkey\"");
        self.came
            .as_ref()
            .is_ok_and(|answer| answer.values("WWW-Authenticate").any(challenge))
    }

    pub fn came_text(&self) -> String {
        let text = match &self.came {
            Ok(answer) => answer.status.to_string(),
            Err(NoAnswer::Closed) => "connection closed".to_owned(),
            Err(NoAnswer::Silent) => "no answer in time".to_owned(),
            Err(NoAnswer::Unreadable) => "no HTTP".to_owned(),
        };
        match self.arrived {
            Some(true) => text + ", application reached",
            Some(false) | None => text,
        }
    }
}

/// What is wrong with the answer to a request that must not pass. With `any_refusal`, the statuses are those that prove
/// a refusal where it is not known whether the application was reached.
pub fn symptom(sent: &Sent, statuses: &[u16], any_refusal: bool) -> Option<Symptom> {
    if sent.arrived == Some(true) {
        return Some(Symptom::Reached);
    }
    let stopped = sent.arrived == Some(false);
    match sent.status() {
        Some(status) if statuses.contains(&status) => None,
        Some(300..500) if any_refusal && stopped => None,
        None if any_refusal && sent.came == Err(NoAnswer::Closed) => None,
        Some(..400) if stopped => Some(Symptom::Turned),
        // These are never an application's answer to a request without content that it understands.
        Some(400 | 401 | 403 | 421 | 429 | 500..) | None => Some(Symptom::Other),
        Some(_) if stopped => Some(Symptom::Other),
        Some(_) => Some(Symptom::Reached),
    }
}
