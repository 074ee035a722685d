//! Links that are dropped by hand.

use super::{Linked, NEVER_MS};
use crate::domain::packs::site::UNTIL_S_MIN;
use crate::domain::packs::word::WordKind;
use crate::error::Error;
use crate::ops::packs::feed::WAITS_MAX;
use crate::ops::packs::feed::model::received;
use crate::ops::packs::feed::waits::{Confirmed, Outcome};
use crate::ops::packs::make::{Wanted, make};
use crate::ops::packs::sites::{self, SiteEdit, SiteView};
use crate::store::site_links;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::Duration;

fn unlink(linked: &Linked, name: &str) -> SiteView {
    let edit = SiteEdit {
        unlinks: true,
        ..SiteEdit::default()
    };
    sites::edit(linked.app(), &linked.local(), name, edit).unwrap()
}

fn outcome(receiver: &Receiver<Outcome>) -> Vec<(String, Confirmed)> {
    let patience = Duration::from_secs(60);
    receiver.recv_timeout(patience).expect("an outcome").sites
}

#[test]
fn nothing_waits_for_a_site_whose_link_was_dropped() {
    let mut linked = Linked::new();
    let mut gone = linked.site("plant-7");
    linked.app().feed.wait_ms.store(NEVER_MS, Relaxed);
    let asked = gone.begin(linked.app());
    linked.stop();
    linked.restart();
    // The answer of the process before never came.
    drop(asked);
    linked.app().feed.wait_ms.store(NEVER_MS, Relaxed);
    linked.key("k");
    let waiting = linked.wait();
    assert!(waiting.try_recv().is_err());
    let before = linked.fixture.last_event();
    let view = unlink(&linked, "plant-7");
    let dropped = [("plant-7".to_owned(), Confirmed::Dropped)];
    assert_eq!(outcome(&waiting), dropped);
    assert_eq!(linked.fixture.last_event(), before + 1);
    let now = linked.app().now().wall;
    assert!(view.dropped_until.unwrap().0 > now.0 + 80_000_000);
    assert!(view.link.is_none() && view.given_keys.is_none());
    // A later change names it as well, as long as its lease would count.
    linked.key("l");
    assert_eq!(outcome(&linked.wait()), dropped);
    assert_eq!(linked.app().read(site_links::list).unwrap(), []);
    // The server that starts next knows nothing of it.
    linked.restart();
    linked.key("m");
    assert_eq!(outcome(&linked.wait()), []);
    // Once dropped it cannot be dropped again, and nothing is recorded.
    let before = linked.fixture.last_event();
    unlink(&linked, "plant-7");
    assert_eq!(linked.fixture.last_event(), before);
}

/// If too many changes wait already, a further one is answered at once, and a link that was dropped holds it up as little.
#[test]
fn a_dropped_link_is_named_as_such_where_waits_are_full() {
    let linked = Linked::new();
    linked.add("ship-2", &["root"], 86_400);
    let _sites = ["plant-7", "ship-2"].map(|name| linked.site(name));
    linked.app().feed.wait_ms.store(NEVER_MS, Relaxed);
    unlink(&linked, "ship-2");
    linked.key("k");
    let all: Vec<Receiver<Outcome>> = (0..WAITS_MAX).map(|_| linked.wait()).collect();
    assert!(all.iter().all(|waiting| waiting.try_recv().is_err()));
    let found = outcome(&linked.wait());
    let [(open, Confirmed::NotYet { .. }), dropped] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(open, "plant-7");
    assert_eq!(*dropped, ("ship-2".to_owned(), Confirmed::Dropped));
}

#[test]
fn a_site_that_is_not_gone_is_linked_again() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let waiting = site.begin(linked.app());
    unlink(&linked, "plant-7");
    // No word lets it go on that the database does not know of.
    assert!(matches!(received(&waiting), Err(Error::Conflict(_))));
    let view = sites::find_view(linked.app(), &linked.local(), "plant-7").unwrap();
    assert!(view.dropped_until.is_some() && view.link.is_none());
    let waiting = site.begin(linked.app());
    let key = linked.key("k");
    assert_eq!(site.take(&waiting), WordKind::Step);
    assert!(site.model.keys.contains_key(&key));
    assert!(site.word.as_ref().unwrap().lease_s > 0);
    let view = sites::find_view(linked.app(), &linked.local(), "plant-7").unwrap();
    assert!(view.dropped_until.is_none() && view.link.unwrap().is_linked);
    assert_eq!(linked.app().read(site_links::list).unwrap().len(), 1);
    linked.delete(key);
    linked.app().feed.wait_ms.store(NEVER_MS, Relaxed);
    let change = linked.wait();
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    let _asked = site.begin(linked.app());
    let applied = [("plant-7".to_owned(), Confirmed::Applied)];
    assert_eq!(outcome(&change), applied);
}

#[test]
fn the_answer_of_a_removal_has_the_time_until_which_the_site_may_answer() {
    let linked = Linked::new();
    let app = linked.app();
    let now = app.now().wall;
    let short = SiteEdit {
        until_s: Some(UNTIL_S_MIN),
        ..SiteEdit::default()
    };
    for name in ["silent", "packed", "linked"] {
        linked.add(name, &["root"], 86_400);
        sites::edit(app, &linked.local(), name, short.clone()).unwrap();
    }
    let _site = linked.site("linked");
    let wanted = Wanted {
        sites: Some(vec!["packed".to_owned()]),
        whole: true,
    };
    let made = make(app, &linked.local(), wanted).unwrap().remove(0);
    let remove = |name: &str| {
        let removed = sites::remove(app, &linked.local(), name, false, false);
        removed.unwrap().may_answer_until
    };
    assert_eq!(remove("silent"), None);
    assert_eq!(remove("packed"), Some(made.pack.until));
    let until = remove("linked").unwrap();
    assert!(until.0 >= now.0 + 86_400_000, "{until}");
}
