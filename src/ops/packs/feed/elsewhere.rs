//! Sites that ask other nodes of the database. A change of this node that waits for sites waits for them too, although only the node that
//! a site asks knows what it has applied.
//!
//! A node gives words only as long as it is known to have everything that was committed up to `stale_after` before, and the lease of a word
//! counts from the question on. So when that time and the longest lease of the site have passed since a commit, no word counts
//! any more that lacks it.

use super::WAIT_MS;
use super::leases::UNKNOWN;
use super::waits::Elsewhere;
use crate::ops::App;
use crate::store::site_links::{self, LinkRow};

/// How long after its last question a site is still waited for, besides its lease. Links are recorded once a minute, and the clocks of nodes
/// differ by at most half of one.
const RECORDED_MS: u64 = 180_000;
/// For the time between a check of the lease of a node and the word.
const MARGIN_MS: u64 = 1_000;

/// The sites that may have words of other nodes now; none in a file, which has one node. If that cannot be read, an unknown site is waited
/// for longer than any change waits.
pub fn list(app: &App) -> Vec<Elsewhere> {
    let Some(figures) = app.fence_figures() else {
        return Vec::new();
    };
    let (now, now_ms) = (app.now().wall, app.now().steady_ms);
    let stale_ms = u64::try_from(figures.limits.stale_after_ms).unwrap_or_default();
    let rows = match app.read(site_links::list) {
        Ok(rows) => rows,
        Err(err) => {
            log::warn!("sites: it is not known which sites ask other nodes: {err}");
            return vec![Elsewhere {
                site: UNKNOWN.to_owned(),
                lease_end_ms: now_ms.saturating_add(2 * WAIT_MS),
            }];
        }
    };
    let lease_ms = |row: &LinkRow| row.lease_s.saturating_mul(1_000);
    let may_answer = |row: &LinkRow| {
        let ago_ms = u64::try_from(now.0.saturating_sub(row.asked_at.0)).unwrap_or_default();
        ago_ms <= lease_ms(row).saturating_add(RECORDED_MS)
    };
    let linked = rows.into_iter().filter(may_answer);
    let waited = linked.map(|row| Elsewhere {
        lease_end_ms: now_ms
            .saturating_add(lease_ms(&row))
            .saturating_add(stale_ms + MARGIN_MS),
        site: row.site,
    });
    waited.collect()
}

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests {
    use super::*;
    use crate::domain::locks::lock;
    use crate::domain::time::Timestamp;
    use crate::ops::following::cluster::{Cluster, local};
    use crate::ops::packs::feed::waits::{Confirmed, Outcome};
    use crate::ops::packs::sites;
    use crate::ops::packs::tests::new_site;
    use crate::store::Durability;
    use std::sync::mpsc::channel;

    /// Each node has its links in memory, and this one has none.
    #[test]
    fn a_change_waits_for_a_site_that_asks_another_node() {
        let Some(cluster) = Cluster::start(2) else {
            return;
        };
        let (app, other) = (&cluster.nodes[0], &cluster.nodes[1]);
        assert_eq!(list(app), []);
        for name in ["linked", "long-gone"] {
            sites::add(other, &local(other), new_site(name, &["root"]), None).unwrap();
        }
        let link = |site: &str, ago_ms: i64| LinkRow {
            site: site.to_owned(),
            lease_s: 10,
            asked_at: Timestamp(app.now().wall.0 - ago_ms),
            events: 1,
        };
        let rows = [link("linked", 1_000), link("long-gone", 600_000)];
        let put = move |tx: &crate::store::Write<'_>| {
            rows.iter().try_for_each(|row| site_links::put(tx, row))
        };
        other.store.write(Durability::Full, put).unwrap();
        let found = list(app);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].site, "linked");
        let left_ms = found[0].lease_end_ms - app.now().steady_ms;
        assert!((10_000..=16_000).contains(&left_ms), "{left_ms}");
        let (sender, receiver) = channel();
        let done = move |outcome: Outcome| sender.send(outcome).unwrap();
        let (now_ms, end_ms) = (app.now().steady_ms, found[0].lease_end_ms);
        app.feed.wait(now_ms, found, done);
        assert!(lock(&app.feed.hub).end_waits(now_ms).is_empty());
        let ended = lock(&app.feed.hub).end_waits(end_ms);
        ended.into_iter().for_each(|wait| wait.end(end_ms));
        let expected = [("linked".to_owned(), Confirmed::LeaseOver)];
        assert_eq!(receiver.recv().unwrap().sites, expected);
    }
}
