//! Asking the server, whether it runs or not.
//!
//! A command is a request of the native API, never a look into the store. A running server gets it through its
//! Unix socket. If none runs, this process takes the folder's lock and hands the very same request to the same
//! router: one way in, one authorisation, one audit log, in which both are `local:<uid>`.

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
/// Between two looks at a busy folder.
const PAUSE: Duration = Duration::from_millis(50);
/// Rows of a page, the most that a list gives.
const PAGE: u64 = 500;

/// Whoever answers for a data folder.
pub enum Server {
    Running(PathBuf),
    Stopped(Box<Stopped>),
}

/// A page of a list, its items as they came.
#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

impl Server {
    /// Finds who answers for the folder: the server behind its socket, or this process if the lock is free.
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
            // No socket, or one that a killed server has left. The lock tells whether that is so.
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

    /// Sends one request; an answer that is a refusal is a failure with its sentence.
    pub fn ask(&self, method: &str, target: &Target, body: Option<&Value>) -> Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(method, target, body.into_bytes())?
            .accepted(method, target)
    }

    /// Sends one request, its body as it is, and returns the answer whatever it says.
    pub fn send(&self, method: &str, target: &Target, body: Vec<u8>) -> Result<Answer> {
        match self {
            Server::Running(path) => socket::exchange(path, method, target.as_str(), &body),
            Server::Stopped(stopped) => stopped.answer(method, target.as_str(), body),
        }
    }

    pub fn get(&self, target: &Target) -> Result<Answer> {
        self.ask("GET", target, None)
    }

    /// All items of a list, its pages joined.
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

    /// As [`Server::list`], for lists that come in pages, with as few of them as can be.
    pub fn list_pages(&self, target: &Target) -> Result<Vec<Box<RawValue>>> {
        self.list(&target.clone().with_number("limit", Some(PAGE)))
    }
}
