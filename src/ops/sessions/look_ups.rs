//! Looking sessions up in the database, at a node that shares it: a token that its index does not know may be of another node. Anyone
//! can send such tokens, so only a few are looked up at a time, and the rest is refused. Sessions that the index knows are not affected.

use crate::error::{Error, Result};
use crate::refusals;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The number of look-ups at a time: half of the connections for reading that are kept open.
const AT_A_TIME: usize = 2;

/// The look-ups that run.
#[derive(Default)]
pub struct LookUps(AtomicUsize);

/// A look-up, until this is dropped.
pub struct LookUp<'a>(&'a LookUps);

impl LookUps {
    /// Begins a look-up.
    ///
    /// # Errors
    /// `Unavailable` if too many run.
    pub fn begin(&self) -> Result<LookUp<'_>> {
        let more = |running| (running < AT_A_TIME).then_some(running + 1);
        let begun = self.0.fetch_update(SeqCst, SeqCst, more);
        let busy = |_| Error::Unavailable(refusals::requests::busy());
        begun.map(|_| LookUp(self)).map_err(busy)
    }
}

impl Drop for LookUp<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests {
    use super::*;
    use crate::authz::caller::Origin;
    use crate::domain::keys::secret::{PREFIX_SESSION, Secret, generate_id};
    use crate::domain::policies::CredentialHeader;
    use crate::ops::App;
    use crate::ops::authenticate::authenticate;
    use crate::ops::following::cluster::{Cluster, user, user_session};

    fn is_known(app: &App, token: &str) -> Result<bool> {
        let header = CredentialHeader::Bearer;
        match authenticate(app, token, header, Origin::default(), true) {
            Ok(found) => Ok(found.is_some()),
            Err(Error::Unauthenticated) => Ok(false),
            Err(other) => Err(other),
        }
    }

    #[test]
    fn unknown_tokens_are_looked_up_a_few_at_a_time_and_known_ones_go_on() {
        let Some(cluster) = Cluster::start(1) else {
            return;
        };
        let app = &cluster.nodes[0];
        user(app, "user-0");
        let known = user_session(app, "user-0");
        let unknown = Secret::generate(PREFIX_SESSION, generate_id().unwrap()).unwrap();
        assert!(!is_known(app, unknown.expose()).unwrap());
        let running: Vec<_> = (0..AT_A_TIME)
            .map(|_| app.look_ups.begin().unwrap())
            .collect();
        let refused = is_known(app, unknown.expose());
        let busy = refusals::requests::busy();
        assert!(matches!(refused, Err(Error::Unavailable(why)) if why.is_like(&busy)));
        assert!(is_known(app, &known).unwrap());
        drop(running);
        assert!(!is_known(app, unknown.expose()).unwrap());
        assert!(app.look_ups.begin().is_ok());
    }
}
