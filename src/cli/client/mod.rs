//! Sends the requests of commands to the server, whether it runs or not.
//!
//! A command is a request of the native API and never accesses the store directly. A running server receives it through
//! its Unix socket. If no server runs, this process takes the lock of the data folder and passes the same request to
//! the same router: both ways share one authorisation and one audit log, which records the actor of both as
//! `local:<uid>`.

mod answer;
pub mod socket;
mod stopped;
mod target;

pub use answer::Answer;
pub use target::Target;

use super::failure::{Failure, Result};
use crate::config::folder::{self, Folder};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use stopped::Stopped;

/// How long to wait for a server that is starting or stopping, or for another command.
const BUSY: Duration = Duration::from_secs(10);
/// The time between two attempts to use a busy folder.
const PAUSE: Duration = Duration::from_millis(50);
/// The number of rows to request per page, which is the maximum of the server.
const PAGE: u64 = 500;

/// What answers requests for a data folder.
pub enum Server {
    Running(PathBuf),
    Stopped(Box<Stopped>),
}

/// A page of a list, with its items unchanged.
#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

impl Server {
    /// Finds what answers for the folder: the server behind its socket, or this process if the lock is free.
    pub fn reach(data: &Path) -> Result<Server> {
        folder::check_length(data)?;
        if !data.exists() {
            return Err(folder::not_initialised(data).into());
        }
        let since = Instant::now();
        loop {
            let socket = folder::socket_of(data);
            if socket::answers(&socket)? {
                return Ok(Server::Running(socket));
            }
            if !folder::is_ours(data) {
                return Err(folder::not_initialised(data).into());
            }
            // There is no socket, or one that a killed server has left; in both cases the lock is free.
            match Folder::open_unless_locked(data)? {
                Some(folder) => return Stopped::open(folder).map(|it| Server::Stopped(it.into())),
                None if since.elapsed() < BUSY => std::thread::sleep(PAUSE),
                None => {
                    let why = match socket.exists() {
                        true => "does not answer there",
                        false => "made one that is gone; start that server anew",
                    };
                    return Err(Failure::refused(format!(
                        "the data folder {} is in use by another latchkey, but its socket cannot be used: {} {why}",
                        data.display(),
                        socket.display()
                    )));
                }
            }
        }
    }

    /// Sends one request; an error answer becomes a failure with its sentence.
    pub fn ask(&self, method: &str, target: &Target, body: Option<&Value>) -> Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(method, target, body.into_bytes())?
            .accepted(method, target)
    }

    /// Sends one request with the given body and returns the answer, also if it is an error.
    pub fn send(&self, method: &str, target: &Target, body: Vec<u8>) -> Result<Answer> {
        match self {
            Server::Running(path) => socket::exchange(path, method, target.as_str(), &body),
            Server::Stopped(stopped) => stopped.answer(method, target.as_str(), body),
        }
    }

    /// As [`Server::ask`]; with `waits`, the answer comes when the linked sites have the change.
    pub fn ask_sites(
        &self,
        method: &str,
        target: Target,
        body: Option<&Value>,
        waits: bool,
    ) -> Result<Answer> {
        self.ask(method, &self.waiting(target, waits)?, body)
    }

    /// The target of a request; with `waits`, of one whose answer comes when the linked sites have the change.
    pub fn waiting(&self, target: Target, waits: bool) -> Result<Target> {
        match (self, waits) {
            (_, false) => Ok(target),
            (Server::Running(_), true) => Ok(target.with("wait", Some("sites"))),
            (Server::Stopped(_), true) => Err(Failure::refused(
                "--wait-sites needs the running server, which the sites ask; nothing was changed",
            )),
        }
    }

    pub fn get(&self, target: &Target) -> Result<Answer> {
        self.ask("GET", target, None)
    }

    /// All items of a list, from all its pages.
    pub fn list(&self, target: &Target) -> Result<Vec<Box<RawValue>>> {
        let mut items = Vec::new();
        let mut cursor = None;
        loop {
            let page = target.clone().with("cursor", cursor.as_deref());
            let page: Page = self.get(&page)?.json()?;
            items.extend(page.items);
            match page.next_cursor {
                None => return Ok(items),
                next => cursor = next,
            }
        }
    }

    /// Like [`Server::list`], for lists with pages; it requests as few pages as possible.
    pub fn list_pages(&self, target: &Target) -> Result<Vec<Box<RawValue>>> {
        self.list(&target.clone().with_number("limit", Some(PAGE)))
    }
}
