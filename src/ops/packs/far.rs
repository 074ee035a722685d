//! Sites that are about to fall behind the keys that sign packs: a pack leads only over so many of them to the newest one.

use super::sites;
use super::views::SiteView;
use crate::authz::caller::Caller;
use crate::domain::packs::note::SIGNATURES_MAX;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ops::App;
use crate::store::packs::{self, SigningKeyRow};

/// A site that is far behind, with the number of keys that have followed the newest one which it is known to trust.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FarSite {
    pub name: String,
    pub followed_by: usize,
}

/// The number of keys over which a pack leads a site to the newest one.
pub const LEADS_MAX: usize = SIGNATURES_MAX;
/// From so many on, a site is named: there is still time to bring it a pack.
const FAR: usize = LEADS_MAX - 4;

/// The sites that may soon trust no key any more from which a pack leads to the newest one. `keys` are all of them, the oldest first.
pub fn far_sites(sites: &[SiteView], keys: &[SigningKeyRow]) -> Vec<FarSite> {
    let far = |view: &SiteView| {
        // A pack has the second in which it was made.
        let end_of_second = |at: Timestamp| Timestamp(at.0 + 999);
        let applied = view.applied.as_ref();
        let applied = applied.map(|pack| end_of_second(pack.made_at));
        let asked = view.link.map(|link| link.asked_at);
        let known = applied.max(asked).max(Some(view.site.created_at))?;
        let followed_by = keys.iter().filter(|key| key.added_at > known).count();
        let name = view.site.name.clone();
        (followed_by >= FAR).then_some(FarSite { name, followed_by })
    };
    sites.iter().filter_map(far).collect()
}

/// The same of all sites, after a rotation.
pub fn list_far(app: &App, caller: &Caller) -> Result<Vec<FarSite>> {
    let sites = sites::list(app, caller)?;
    Ok(far_sites(&sites, &app.read(packs::list_signing_keys)?))
}
