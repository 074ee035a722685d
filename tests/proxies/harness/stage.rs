//! Client, proxy, Latchkey and application together, for one proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::application::{self, Seen};
use super::client::{Reply, Request, get};
use super::latchkey::{Key, Latchkey};
use super::process::Process;
use super::proxy::Proxy;
use crate::wait;

/// The ports are fixed, so only one stage can exist.
static STAGE: Mutex<()> = Mutex::new(());

/// Fields are dropped in this order: the programs first, then the lock.
pub struct Stage {
    /// `None` only while another configuration is started.
    process: Option<Process>,
    proxy: &'static Proxy,
    program: PathBuf,
    folder: PathBuf,
    /// The proxy's.
    pub name: &'static str,
    pub latchkey: Latchkey,
    pub port: u16,
    /// How long the proxy waits for an answer to its question.
    pub patience: Duration,
    /// A key that may do nothing in the catalog.
    pub bare: Key,
    pub reader: Key,
    /// A key that may pay invoices, which includes reading them.
    pub writer: Key,
    _lock: MutexGuard<'static, ()>,
}

/// The ports for one test.
pub fn alone() -> MutexGuard<'static, ()> {
    STAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An empty folder for the files of a proxy and its Latchkey.
pub fn fresh_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("proxies")
        .join(name.replace(' ', "-"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Copies an example and replaces texts in it. Each text must occur in it.
fn changed_copy(example: &Path, copy: &Path, changes: &[(&str, &str)]) -> PathBuf {
    fs::create_dir_all(copy).unwrap();
    let mut made = vec![false; changes.len()];
    for entry in fs::read_dir(example).unwrap() {
        let path = entry.unwrap().path();
        let mut text = fs::read_to_string(&path).unwrap();
        for (made, (from, to)) in made.iter_mut().zip(changes) {
            *made |= text.contains(from);
            text = text.replace(from, to);
        }
        fs::write(copy.join(path.file_name().unwrap()), text).unwrap();
    }
    assert!(made.iter().all(|made| *made), "{changes:?}: {made:?}");
    copy.to_owned()
}

impl Stage {
    /// `None` if the proxy is not installed.
    pub fn set(proxy: &'static Proxy) -> Option<Stage> {
        Stage::set_changed(proxy, &[])
    }

    /// As [`Stage::set`], with a copy of the example in which these texts are replaced.
    pub fn set_changed(proxy: &'static Proxy, changes: &[(&str, &str)]) -> Option<Stage> {
        Stage::set_copied(proxy, Some(&get("/")), changes)
    }

    /// As [`Stage::set_changed`], where the changes give clients TLS. The caller waits until the proxy has read its rules.
    pub fn set_with_tls(proxy: &'static Proxy, changes: &[(&str, &str)]) -> Option<Stage> {
        Stage::set_copied(proxy, None, changes)
    }

    fn set_copied(
        proxy: &'static Proxy,
        probe: Option<&Request>,
        changes: &[(&str, &str)],
    ) -> Option<Stage> {
        let make = |proxy: &'static Proxy, _: &Latchkey, folder: &Path| match changes {
            [] => proxy.example(),
            changes => changed_copy(&proxy.example(), &folder.join("example"), changes),
        };
        Stage::set_made(proxy, probe, &make)
    }

    /// As [`Stage::set`], with the folder that `make` writes. `probe` is a request that the proxy knows once it has
    /// read its rules.
    pub fn set_made(
        proxy: &'static Proxy,
        probe: Option<&Request>,
        make: &dyn Fn(&'static Proxy, &Latchkey, &Path) -> PathBuf,
    ) -> Option<Stage> {
        let program = proxy.find()?;
        let lock = alone();
        let folder = fresh_folder(proxy.name);

        application::start();
        let latchkey = Latchkey::start(&folder);
        let example = make(proxy, &latchkey, &folder);
        let process = proxy.start(&program, &folder, &example);
        if let Some(probe) = probe {
            await_rules(proxy.port, probe);
        }
        Some(Stage {
            process: Some(process),
            proxy,
            program,
            folder,
            name: proxy.name,
            port: proxy.port,
            patience: proxy.patience,
            bare: latchkey.issue("bare", &[], json!({})),
            reader: latchkey.issue("reader", &["invoices:read"], json!({})),
            writer: latchkey.issue("writer", &["invoices:write"], json!({})),
            latchkey,
            _lock: lock,
        })
    }

    /// Whether the application gets headers behind a body, which only HAProxy passes on, and has a way to remove since 3.2.
    pub fn keeps_trailers(&self) -> bool {
        self.folder_name().starts_with("haproxy") && self.haproxy_version().unwrap() < (3, 2)
    }

    /// Major and minor number of an HAProxy, which prints `HAProxy version 2.6.12-1 …`.
    fn haproxy_version(&self) -> Option<(u32, u32)> {
        let printed = Command::new(&self.program).arg("-v").output().unwrap();
        let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
        let mut numbers = printed.strip_prefix("HAProxy version ")?.split(['.', '-']);
        let mut number = || numbers.next().and_then(|text| text.parse().ok());
        Some((number()?, number()?))
    }

    /// The name of the proxy for commands of Latchkey.
    pub fn folder_name(&self) -> &'static str {
        self.proxy.folder()
    }

    /// Starts the proxy again, with a copy of the example in which these texts are replaced.
    pub fn change(&mut self, changes: &[(&str, &str)]) {
        self.process = None;
        let copy = self.folder.join("changed");
        let _ = fs::remove_dir_all(&copy);
        let example = changed_copy(&self.proxy.example(), &copy, changes);
        self.process = Some(self.proxy.start(&self.program, &self.folder, &example));
        await_rules(self.port, &get("/"));
    }

    pub fn send(&self, request: &Request) -> Reply {
        request.send(self.port)
    }

    /// Sends a request that must pass, and returns what the application received.
    #[track_caller]
    pub fn passes(&self, request: &Request) -> Seen {
        let reply = self.send(request);
        assert_eq!(reply.status, 200, "{}", reply.text());
        Seen::new(reply.json())
    }

    /// Sends a request that must not reach the application.
    #[track_caller]
    pub fn stops(&self, request: &Request) -> Reply {
        let before = application::requests();
        let reply = self.send(request);
        assert!(!reply.is_success(), "{}", reply.text());
        assert_eq!(
            application::requests(),
            before,
            "the application was reached"
        );
        reply
    }

    /// Sends a request that must be refused with this status and, if the key itself is valid, with this code of
    /// Latchkey.
    #[track_caller]
    pub fn refuses(&self, request: &Request, status: u16, code: Option<&str>) -> Reply {
        let reply = self.stops(request);
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(reply.header("X-Auth-Code"), code, "{}", reply.text());
        reply
    }
}

/// Traefik listens before it has read its rules, and refuses every path until then.
fn await_rules(port: u16, probe: &Request) {
    wait::until("the proxy has read its rules", || {
        probe.send(port).status != 404
    });
}
