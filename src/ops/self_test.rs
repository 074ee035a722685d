//! The server's self-test: does a valid key open, and does a removed key not open?
//!
//! The key exists only in memory, and only during the test: it has no row, no audit event and no usage, and its
//! secret is sent only to the server's own socket.

use super::App;
use crate::domain::keys::live::{Live, SharedPart, StoredSecret};
use crate::domain::keys::secret::{Secret, generate_id};
use crate::domain::policies::STANDARD;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::refusals::verbatim;

const NAME: &str = "probe";
const PREFIX: &str = "lk";

/// Calls `ask` while a key with this secret is in force.
pub fn with_key<R>(app: &App, ask: impl FnOnce(&Secret) -> R) -> Result<(R, Secret)> {
    let id = generate_id()?;
    let secret = Secret::generate(PREFIX, id)?;
    let shared = shared(app)?;
    let key = Live {
        id,
        name: NAME.into(),
        shared: app.index.shared(shared),
        secret: StoredSecret::of(&app.peppers, &secret),
        enabled: true,
        tail: Default::default(),
        created_s: 0,
        not_before: Timestamp(i64::MIN),
        expires_at: Timestamp(i64::MAX),
        optional: None,
    };
    app.index.put_key(key, Vec::new());
    let answer = ask(&secret);
    app.index.remove_key(id);
    Ok((answer, secret))
}

fn shared(app: &App) -> Result<SharedPart> {
    let directory = app.index.directory();
    let root = directory.root();
    let policy = directory
        .policy(STANDARD)
        .or_else(|| directory.policies().next());
    match (root, policy) {
        (Some(root), Some(policy)) => Ok(SharedPart {
            workspace: root.workspace.uid,
            owner: None,
            policy: policy.name.as_str().into(),
            catalog: None,
            scopes: Box::default(),
            read_only: false,
            created_by: "system".into(),
            source: Box::default(),
            prefix: PREFIX.into(),
        }),
        _ => Err(Error::Unavailable(verbatim(
            "there is no workspace or no policy for a probe",
        ))),
    }
}
