//! The keys of a probe. On the machine of the server they are issued for the probe alone, and deleted after it.

use super::ProbeArgs;
use crate::cli::arguments::Body;
use crate::cli::client::{Server, Target};
use crate::cli::failure::{Failure, Result};
use crate::cli::prompt;
use crate::config::folder;
use serde::Deserialize;
use serde_json::json;
use std::cell::RefCell;
use std::io::{Write, stderr};

/// The keys end after this time, even if the probe is killed.
const LIFETIME_S: u64 = 600;
/// An address that no client has (RFC 5737).
pub const NOWHERE: &str = "203.0.113.77";

/// A key.
pub struct Key {
    /// Empty for a key from a file.
    pub id: String,
    pub secret: String,
}

#[derive(Deserialize)]
struct IssuedBody {
    key: KeyBody,
    secret: String,
}

#[derive(Deserialize)]
struct KeyBody {
    id: String,
}

#[derive(Deserialize)]
struct VerdictBody {
    valid: bool,
}

/// What the probe may send.
pub struct Keys {
    /// Passes at the URL.
    pub good: Option<Key>,
    /// The keys that only the server on this machine can issue.
    pub issued: Option<Issued>,
    /// Why there is no good key.
    pub why_none: &'static str,
}

/// Keys besides the good one, and the way to delete them all.
pub struct Issued {
    server: Server,
    /// The ids and names of the keys that are there.
    ids: RefCell<Vec<(String, String)>>,
    /// A key without scopes, if a catalog decides.
    pub bare: Option<Key>,
    /// A key that can be used only from [`NOWHERE`].
    pub bound: Key,
    /// A key for one request an hour.
    pub limited: Key,
}

impl Keys {
    pub fn none(why_none: &'static str) -> Keys {
        Keys {
            good: None,
            issued: None,
            why_none,
        }
    }

    /// The key of the file, or new ones of the server on this machine, or none.
    pub fn find(args: &ProbeArgs) -> Result<Keys> {
        if let Some(path) = &args.key_file {
            let secret = prompt::secret("Key", "key", Some(path))?;
            let id = String::new();
            return Ok(Keys {
                good: Some(Key { id, secret }),
                ..Keys::none("")
            });
        }
        let data = &args.data.data;
        if !folder::is_ours(data) {
            return Ok(Keys::none(
                "there is no key: name one with --key-file, or the data folder of this machine's Latchkey with --data",
            ));
        }
        let server = Server::reach(data)?;
        if let Server::Stopped(_) = server {
            return Err(Failure::refused(format!(
                "Latchkey does not run on {}; start it, or probe with --stopped what the proxy does without it",
                data.display()
            )));
        }
        let mut issued = Issued {
            server,
            ids: RefCell::default(),
            bare: None,
            bound: Key::empty(),
            limited: Key::empty(),
        };
        let good = issued.issue(args, &args.scopes, |body| body)?;
        if args.catalog.is_some() && !args.scopes.is_empty() {
            issued.bare = Some(issued.issue(args, &[], |body| body)?);
        }
        issued.bound = issued.issue(args, &args.scopes, |body| {
            body.with("allowed_ips", Some(json!([NOWHERE])))
        })?;
        issued.limited = issued.issue(args, &args.scopes, |body| {
            body.with("rate_limit", Some(json!({"limit": 1, "window_s": 3600})))
        })?;
        issued.name_them();
        Ok(Keys {
            good: Some(good),
            issued: Some(issued),
            why_none: "",
        })
    }
}

impl Key {
    fn empty() -> Key {
        Key {
            id: String::new(),
            secret: String::new(),
        }
    }
}

impl Issued {
    fn issue(
        &self,
        args: &ProbeArgs,
        scopes: &[String],
        more: impl FnOnce(Body) -> Body,
    ) -> Result<Key> {
        let name = format!("latchkey probe {}", self.ids.borrow().len() + 1);
        let body = Body::default()
            .with("name", Some(name.as_str()))
            .with("description", Some("Deleted when the probe has ended."))
            .with("workspace", args.workspace.as_deref())
            .with("policy", args.policy.as_deref())
            .with("catalog", args.catalog.as_deref())
            .list("scopes", scopes)
            .with("expires_in_s", Some(LIFETIME_S));
        let answer = self
            .server
            .ask("POST", &Target::of(&["keys"]), Some(&more(body).value()));
        let answer = answer.map_err(|failure| match failure {
            Failure::Refused(why) | Failure::Usage(why) => Failure::refused(format!(
                "no key can be issued for the probe: {why} Name a key of your own with --key-file."
            )),
        })?;
        let IssuedBody { key, secret } = answer.json()?;
        self.ids.borrow_mut().push((key.id.clone(), name));
        Ok(Key { id: key.id, secret })
    }

    /// Says on standard error which keys there are: a probe that is interrupted or killed cannot delete them.
    fn name_them(&self) {
        let ids: Vec<String> = self.ids.borrow().iter().map(|(id, _)| id.clone()).collect();
        let _ = writeln!(
            stderr(),
            "latchkey: keys were issued for this probe, which deletes them at its end. If it is interrupted they end in ten \
             minutes, or at once with: latchkey key delete {} --yes",
            ids.join(" ")
        );
    }

    /// Deletes a key before the end.
    pub fn delete(&self, id: &str) -> Result<()> {
        // Some policies want the name of a key that is deleted.
        let name = self
            .ids
            .borrow()
            .iter()
            .find(|(known, _)| known == id)
            .map(|(_, name)| name.clone());
        let body = json!({ "confirm_name": name });
        self.server
            .ask("DELETE", &Target::of(&["keys", id]), Some(&body))?;
        self.ids.borrow_mut().retain(|(known, _)| known != id);
        Ok(())
    }

    /// Whether Latchkey itself would let a request of this key pass. This uses nothing up.
    pub fn would_pass(
        &self,
        args: &ProbeArgs,
        key: &Key,
        method: &str,
        path: &str,
    ) -> Result<bool> {
        let question = Body::default()
            .with("key", Some(key.secret.as_str()))
            .with("catalog", args.catalog.as_deref())
            .with("method", Some(method))
            .with("path", Some(path))
            .with("cost", Some(0))
            .value();
        let answer = self
            .server
            .ask("POST", &Target::of(&["verify"]), Some(&question))?;
        Ok(answer.json::<VerdictBody>()?.valid)
    }

    /// Deletes all keys, and returns the ids of those that could not be deleted.
    pub fn end(&self) -> Vec<String> {
        let ids: Vec<String> = self.ids.borrow().iter().map(|(id, _)| id.clone()).collect();
        ids.into_iter()
            .filter(|id| self.delete(id).is_err())
            .collect()
    }
}

impl Drop for Issued {
    fn drop(&mut self) {
        self.end();
    }
}
