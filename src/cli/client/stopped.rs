//! Answers requests in this process, for a folder without a running server.

use super::Answer;
use crate::cli::failure::{Failure, Result};
use crate::cli::serve::TIME;
use crate::config::folder::{Contents, Folder, not_initialised};
use crate::dialects::{PRESETS, surfaces};
use crate::http::client::Trust;
use crate::http::reply::Reply;
use crate::http::request::{Request, RequestId};
use crate::http::route::{Mounts, Router};
use crate::http1::{BodyRule, Execution, Fault, Service, random_bits};
use crate::ops::{App, declared, setup};
use std::cell::Cell;
use std::sync::Arc;

/// The locked folder, and the router that a server would use.
pub struct Stopped {
    app: Arc<App>,
    service: Service,
    process: u32,
    requests: Cell<u64>,
    _folder: Folder,
}

impl Stopped {
    /// Opens the database of the folder.
    pub fn open(folder: Folder) -> Result<Stopped> {
        if folder.contents()? != Contents::Ready {
            return Err(not_initialised(folder.path()).into());
        }
        let files = folder.read_key_files()?;
        // Every change and every verification waits until all keys are in memory.
        let app = setup::open_for_a_command(folder.location(None)?, files, PRESETS, TIME)?;
        // The request comes from this process itself: a user who can open the folder is its administrator, as at the
        // server's socket.
        let trust = Trust {
            own_uid: rustix::process::geteuid().as_raw(),
            ..Trust::default()
        };
        let surfaces = surfaces(app.site().is_some());
        let service = Router::new(app.clone(), trust, surfaces, &Mounts::default()).service();
        Ok(Stopped {
            app,
            service,
            process: random_bits(),
            requests: Cell::new(0),
            _folder: folder,
        })
    }

    /// Makes the settings known that concern files of keys.
    pub fn read_files(&self, settings: declared::Settings) {
        declared::configure(&self.app, settings);
    }

    /// Answers as the server would.
    pub fn answer(&self, method: &str, target: &str, body: Vec<u8>) -> Result<Answer> {
        self.requests.set(self.requests.get() + 1);
        let id = RequestId::new(self.process, self.requests.get());
        let uid = rustix::process::geteuid().as_raw();
        let request = Request::in_process(method, target, body, uid, id)
            .ok_or_else(|| Failure::refused("this cannot be put into a request"))?;
        let reply = self.route(&request)?;
        let link = reply.headers.get("link");
        Ok(Answer {
            status: reply.status,
            link: link.map(|value| String::from_utf8_lossy(value).into_owned()),
            // No site can ask while the server is stopped.
            sites: None,
            body: reply.body.into(),
        })
    }

    /// Limits the size of the body as the server does.
    fn route(&self, request: &Request) -> Result<Reply> {
        let body_rule = (self.service.body_rule)(request);
        if let BodyRule::UpTo(limit_bytes) = body_rule
            && request.body.len() > limit_bytes
        {
            return Ok((self.service.fault)(
                Fault::TooLarge { limit_bytes },
                request,
            ));
        }
        (self.service.answer)(request, Execution::Blocking)
            .ok_or_else(|| Failure::refused("the request was not answered"))
    }
}

impl Drop for Stopped {
    /// Writes pending changes and then closes the store; the lock is released last.
    fn drop(&mut self) {
        self.app.close();
    }
}
