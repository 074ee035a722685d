//! What the holder of a secret may learn about its key without any permission on this server.

use super::{View, view};
use crate::authz::caller::Origin;
use crate::domain::attempts::throttle::{Throttle, network};
use crate::domain::keys::KeyId;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::locks::lock;
use crate::domain::policies::CredentialHeader;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::verify::{Verdict, verify_blocking};
use crate::store::keys;
use std::sync::Mutex;

/// The limit of questions from one address. Every client may ask, and each question reads the store.
const QUESTIONS: RateLimit = RateLimit {
    limit: 60,
    window_s: 60,
    exact: false,
};
/// The greatest number of addresses that are remembered at the same time.
const REMEMBERED_MAX: usize = 20_000;

/// The recent questions of each address.
pub struct Inspections(Mutex<Throttle>);

/// A key in force.
#[derive(Debug)]
pub struct KeyInspection {
    pub view: View,
    /// The key's scopes with all scopes that they include, in the order of its catalog; without a catalog, the key's
    /// scopes.
    pub granted: Vec<String>,
}

impl Default for Inspections {
    fn default() -> Inspections {
        Inspections(Mutex::new(Throttle::new(QUESTIONS, REMEMBERED_MAX)))
    }
}

impl Inspections {
    fn admit(&self, origin: &Origin, steady_ms: u64) -> Result<()> {
        let Some(address) = origin.counted else {
            return Ok(());
        };
        let mut asked = lock(&self.0);
        asked
            .count(&network(address).to_string(), steady_ms)
            .map_err(|status| Error::TooMany {
                retry_after_s: status.reset_s,
            })
    }
}

/// The key of a secret if the key is in force and the secret came in a header of its policy; `None` gives no reason.
/// The request neither consumes nor records a use. The sixty-first request of an address within a minute is refused.
pub fn inspect(
    app: &App,
    presented: Option<(&str, CredentialHeader)>,
    origin: &Origin,
) -> Result<Option<KeyInspection>> {
    app.inspections.admit(origin, app.now().steady_ms)?;
    let Some((secret, header)) = presented else {
        return Ok(None);
    };
    let question = Question {
        address: origin.address,
        header: Some(header),
        via: "inspect",
        cost: 0,
        ..Question::default()
    };
    let found = verify_blocking(app, secret, &question, None, in_force)?;
    let Some((id, granted)) = found else {
        return Ok(None);
    };
    // The key may have been deleted since the verdict; then it is no longer in force.
    let key = app.read(|read| keys::find(read, id))?;
    match key.filter(|key| key.deleted_at.is_none()) {
        None => Ok(None),
        Some(key) => Ok(Some(KeyInspection {
            view: view(app, key)?,
            granted,
        })),
    }
}

fn in_force(verdict: &Verdict<'_>) -> Option<(KeyId, Vec<String>)> {
    let key = verdict.key.filter(|_| verdict.code == Code::Valid)?;
    let held = &*verdict.scopes(key);
    let in_root = verdict.directory.is_root(key.shared.workspace);
    let catalog = key
        .shared
        .catalog
        .as_deref()
        .and_then(|name| verdict.directory.catalog(name));
    let granted = match catalog {
        None => held.iter().map(ToString::to_string).collect(),
        Some(catalog) => {
            let scopes = catalog.definition().scopes.iter();
            scopes
                .filter(|scope| catalog.grants(held, in_root, &scope.name))
                .map(|scope| scope.name.clone())
                .collect()
        }
    };
    Some((key.id, granted))
}
