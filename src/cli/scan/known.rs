//! Looks up in the store to which keys the findings belong.

use super::reader::Finding;
use crate::cli::client::{Server, Target};
use crate::cli::failure::{Failure, Result};
use crate::cli::print::table::harmless;
use crate::config::owner;
use crate::ops::leaks::URL_CHARS_MAX;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// The maximum number of texts in one request.
const TEXTS_MAX: usize = 100;

/// The results of the store, by the text of the finding.
#[derive(Default)]
pub struct Store(HashMap<String, KnownFinding>);

/// The result for one finding.
#[derive(Deserialize)]
pub struct KnownFinding {
    known: KnownAs,
    key: Option<Key>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum KnownAs {
    Id,
    Nothing,
    Secret,
}

/// The displayed properties of a key.
#[derive(Deserialize, Serialize)]
pub struct Key {
    id: String,
    name: String,
    workspace: String,
    state: String,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<KnownFinding>,
}

/// Looks up the findings if there is a store. Otherwise the findings are displayed without keys, and standard error has
/// the reason.
pub fn ask(data: &Path, findings: &[Finding]) -> Store {
    if findings.is_empty() {
        return Store::default();
    }
    match try_ask(data, findings) {
        Ok(store) => store,
        Err(Failure::Refused(why) | Failure::Usage(why)) => {
            eprintln!("note: no store was asked whose keys these are: {why}");
            Store::default()
        }
    }
}

fn try_ask(data: &Path, findings: &[Finding]) -> Result<Store> {
    // At this point all files have been read with the rights of the caller.
    owner::work_as_owner_of(data)?;
    let server = Server::reach(data)?;
    let texts: BTreeSet<&str> = findings.iter().map(|it| it.text.as_str()).collect();
    let texts: Vec<&str> = texts.into_iter().collect();
    let mut store = Store::default();
    for part in texts.chunks(TEXTS_MAX) {
        let target = Target::of(&["keys", "identify"]);
        let page: Page = server
            .ask("POST", &target, Some(&json!({ "items": part })))?
            .json()?;
        let named = part.iter().map(|text| (*text).to_owned());
        store.0.extend(named.zip(page.items));
    }
    Ok(store)
}

/// Reports the findings that belong to keys, each secret once, with the first place where it was found. Returns their
/// number.
pub fn report(data: &Path, findings: &[Finding], store: &Store) -> Result<usize> {
    let mut reported = BTreeSet::new();
    let is_known = |known: &KnownFinding| known.known != KnownAs::Nothing;
    let known = findings
        .iter()
        .filter(|it| store.known(it).is_some_and(is_known));
    let mut server = None;
    for finding in known {
        if !reported.insert(finding.text.as_str()) {
            continue;
        }
        let server = match &mut server {
            Some(server) => server,
            none => none.insert(Server::reach(data)?),
        };
        let body = json!({
            "secret": finding.text,
            "url": format!("{}:{}", harmless(&finding.path), finding.line)
                .chars()
                .take(URL_CHARS_MAX)
                .collect::<String>(),
            "source": "latchkey scan",
        });
        server.ask("POST", &Target::of(&["leaks"]), Some(&body))?;
    }
    Ok(reported.len())
}

impl Store {
    /// The result for a finding; `None` if there is no store.
    pub fn known(&self, finding: &Finding) -> Option<&KnownFinding> {
        self.0.get(&finding.text)
    }
}

impl KnownFinding {
    pub fn word(&self) -> &'static str {
        match self.known {
            KnownAs::Id => "id",
            KnownAs::Nothing => "nothing",
            KnownAs::Secret => "secret",
        }
    }

    /// The result in plain words.
    pub fn meaning(&self) -> &'static str {
        match self.known {
            KnownAs::Id => "id only, another secret",
            KnownAs::Nothing => "no key here",
            KnownAs::Secret => "working secret",
        }
    }

    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }
}
