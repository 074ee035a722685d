//! Tests of the link on a server without sockets.

mod copies;
mod given_up;
mod histories;
mod idle;
mod limits;
mod reports;
mod strangers;
mod unlinked;
mod waiting;
mod words;

use super::model::ModelSite;
use super::waits::Outcome;
use super::{run_answers, run_lending, run_packs, stopped};
use crate::authz::caller::Caller;
use crate::domain::budget::Rate;
use crate::domain::keys::KeyId;
use crate::domain::users::roles::Role;
use crate::error::Result;
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::packs::sites::{self, NewSite};
use crate::ops::packs::tests::new_site;
use crate::ops::setup::TOMBSTONES;
use crate::ops::setup::fixture::Fixture;
use crate::ops::users::{self, NewUser};
use crate::ops::workspaces::{self, NewWorkspace};
use crate::ops::{App, keys};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

/// Longer than any test takes.
const NEVER_MS: u64 = 86_400_000;

/// A server with its threads for links.
struct Linked {
    fixture: Fixture,
    threads: Vec<JoinHandle<()>>,
}

impl Linked {
    /// A server with a site that is given everything. Only what happens ends a wait for an answer.
    fn new() -> Linked {
        let mut linked = Linked {
            fixture: Fixture::new(),
            threads: Vec::new(),
        };
        linked.add("plant-7", &["root"], 86_400);
        linked.start();
        linked
    }

    fn start(&mut self) {
        let app = &self.fixture.app;
        app.feed.poll_ms.store(NEVER_MS, Relaxed);
        let feed = &app.feed;
        for pause in [
            &feed.pack_ms,
            &feed.again_ms,
            &feed.report_ms,
            &feed.gather_ms,
            &feed.resend_ms,
        ] {
            pause.store(0, Relaxed);
        }
        feed.pace.set_rate(Rate {
            per_second: 1_000_000,
            burst: 1_000_000,
        });
        let (answering, packing, ending) = (app.clone(), app.clone(), app.clone());
        let lending = app.clone();
        self.threads = vec![
            std::thread::spawn(move || run_lending(&lending)),
            std::thread::spawn(move || ending.feed.end_all(&ending)),
            std::thread::spawn(move || run_answers(&answering)),
            std::thread::spawn(move || run_packs(&packing)),
        ];
    }

    fn stop(&mut self) {
        self.fixture.app.feed.stop();
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }

    /// As if the process had ended and a new one had begun.
    fn restart(&mut self) {
        self.stop();
        self.fixture.reopen(&[]);
        self.start();
    }

    /// As if the process had been killed and a new one had begun.
    fn crash(&mut self) {
        self.stop();
        self.fixture.app.close();
        drop(stopped::take(self.fixture.app.store.path()));
        self.fixture.reopen(&[]);
        self.start();
    }

    /// Keeps a copy of the database as it is now.
    fn keep_copy(&mut self) {
        self.stop();
        self.fixture.keep_copy();
        self.start();
    }

    /// Replaces the database by the copy, without a restore.
    fn put_copy_back(&mut self) {
        self.stop();
        self.fixture.put_copy_back();
        self.start();
    }

    /// Keeps a copy of the database and of the file by which the server would notice that it is an older one.
    fn keep_whole_copy(&mut self) {
        self.copy_whole(|name| (name.to_owned(), format!("{name}.copy")));
    }

    /// As [`Linked::put_copy_back`], and the server does not notice it.
    fn put_whole_copy_back(&mut self) {
        self.copy_whole(|name| (format!("{name}.copy"), name.to_owned()));
    }

    fn copy_whole(&mut self, names: impl Fn(&str) -> (String, String)) {
        self.stop();
        self.fixture.app.close();
        for name in ["db", TOMBSTONES] {
            let (from, to) = names(name);
            let folder = &self.fixture.folder;
            std::fs::copy(folder.join(from), folder.join(to)).unwrap();
        }
        self.fixture.reopen(&[]);
        self.start();
    }

    fn app(&self) -> &Arc<App> {
        &self.fixture.app
    }

    fn local(&self) -> Caller {
        self.fixture.local()
    }

    fn add(&self, name: &str, workspaces: &[&str], max_stale_s: u64) {
        let new = NewSite {
            max_stale_s: Some(max_stale_s),
            ..new_site(name, workspaces)
        };
        sites::add(self.app(), &self.local(), new, None).unwrap();
    }

    /// A site that has everything.
    fn site(&self, name: &str) -> ModelSite {
        let mut site = ModelSite::new(self.app(), name);
        site.catch_up(self.app());
        site
    }

    fn issue(&self, new: NewKey) -> KeyId {
        issue(self.app(), &self.local(), new, None)
            .unwrap()
            .view
            .key
            .id
    }

    fn key(&self, name: &str) -> KeyId {
        self.key_in(name, "root")
    }

    fn key_in(&self, name: &str, workspace: &str) -> KeyId {
        self.issue(NewKey {
            members: KeyMembers::named(name),
            workspace: Some(workspace.to_owned()),
            ..NewKey::default()
        })
    }

    fn workspace(&self, slug: &str, parent: &str) {
        let new = NewWorkspace {
            slug: Some(slug.to_owned()),
            name: slug.to_owned(),
            parent: Some(parent.to_owned()),
        };
        workspaces::create(self.app(), &self.local(), new, None).unwrap();
    }

    fn user(&self, name: &str, roles: &[(&str, Role)]) {
        let new = NewUser {
            user_name: name.to_owned(),
            email: None,
            workspace: None,
            password: None,
            roles: roles
                .iter()
                .map(|(slug, role)| (slug.to_string(), *role))
                .collect(),
        };
        users::create(self.app(), &self.local(), new, None).unwrap();
    }

    fn delete(&self, id: KeyId) {
        keys::delete(self.app(), &self.local(), id, None).unwrap();
    }

    fn wait(&self) -> Receiver<Outcome> {
        let (sender, receiver) = channel();
        let done = move |outcome| sender.send(outcome).unwrap_or(());
        let now_ms = self.app().now().steady_ms;
        self.app().feed.wait(now_ms, Vec::new(), done);
        receiver
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_waiting(receiver: &Receiver<Result<Vec<u8>>>) -> bool {
    receiver.try_recv().is_err()
}
