//! Questions of callers who have no key of a site.

use super::Linked;
use crate::domain::packs::word::WordKind;
use crate::error::Error;
use crate::ops::packs::feed::ask;
use crate::ops::packs::feed::model::{ModelSite, received, send};
use crate::ops::packs::sites;
use crate::store::{Durability, Write};

/// Whether a question can be read only with a look at the database.
#[track_caller]
fn needs_database(linked: &Linked, body: &str) -> bool {
    match ask::read(linked.app(), body, false) {
        Ok(None) => true,
        Err(Error::Unauthenticated) => false,
        other => panic!("{:?}", other.err()),
    }
}

fn stranger(linked: &Linked, name: &str) -> String {
    let known = ModelSite::new(linked.app(), "plant-7").body("");
    known.replace("site plant-7\n", &format!("site {name}\n"))
}

#[test]
fn names_that_no_site_has_are_refused_without_the_database() {
    // Nothing is linked: only strangers ask.
    let linked = Linked::new();
    let first = stranger(&linked, "ship-2");
    assert!(needs_database(&linked, &first));
    let refused = ask::read(linked.app(), &first, true);
    assert!(matches!(refused, Err(Error::Unauthenticated)));
    for number in 0..100 {
        let body = stranger(&linked, &format!("strange-{number}"));
        assert!(!needs_database(&linked, &body), "{number}");
    }
    // A question with a wrong tag for a site that there is costs one look.
    let wrong = ModelSite::new(linked.app(), "plant-7").body("");
    let wrong = wrong.replace("lease 86400", "lease 8640");
    assert!(needs_database(&linked, &wrong));
    assert!(ask::read(linked.app(), &wrong, true).is_err());
    assert!(!needs_database(&linked, &wrong));
    // A site that is added is no stranger any more, and one that is removed is one.
    linked.add("ship-2", &["root"], 60);
    assert!(needs_database(&linked, &first));
    let mut site = linked.site("ship-2");
    assert_eq!(site.check(linked.app()), 0);
    sites::remove(linked.app(), &linked.local(), "ship-2", false, false).unwrap();
    // As long as its last word lets it answer, it is to learn of that.
    let answer = ask::read(linked.app(), &site.body(""), true);
    assert!(answer.unwrap().is_some());
    site.question.lease_s = 0;
    let answer = send(linked.app(), &site.body("")).unwrap();
    assert!(received(&answer).unwrap().is_empty());
    let refused = ask::read(linked.app(), &site.body(""), true);
    assert!(matches!(refused, Err(Error::Unauthenticated)));
    assert!(!needs_database(&linked, &site.body("")));
}

/// Otherwise the answer to a damaged question would reveal which sites there are.
#[test]
fn a_stranger_is_answered_alike_for_each_name() {
    let linked = Linked::new();
    let answer = |body: &str| match ask::read(linked.app(), body, true) {
        Err(err) => format!("{err:?}"),
        Ok(_) => panic!("{body}"),
    };
    let good = ModelSite::new(linked.app(), "plant-7").body("");
    let cut = good.find("\n\nhmac").unwrap();
    let changed = good.replace("lease 86400", "lease 8640");
    for _ in 0..2 {
        for body in [&good[..cut], &good[..good.len() - 1], &changed] {
            let other = body.replace("site plant-7\n", "site plant-8\n");
            assert_eq!(answer(body), answer(&other), "{body}");
        }
    }
}

/// Others are answered as if it had not asked.
#[test]
fn a_site_that_was_changed_past_latchkey_is_refused_alone() {
    let linked = Linked::new();
    linked.add("ship-2", &["root"], 60);
    let (mut good, mut altered) = (linked.site("plant-7"), linked.site("ship-2"));
    let asked = [good.begin(linked.app()), altered.begin(linked.app())];
    let change = "UPDATE sites SET minimal = 1 - minimal WHERE name = 'ship-2'";
    let past = move |tx: &Write<'_>| tx.execute(change, &[]);
    linked.app().store.write(Durability::Full, past).unwrap();
    linked.app().feed.forget_sites();
    let key = linked.key("k");
    assert_eq!(good.take(&asked[0]), WordKind::Step);
    assert!(good.model.keys.contains_key(&key));
    let Err(Error::Conflict(why)) = received(&asked[1]) else {
        panic!("a site that was changed is answered");
    };
    assert_eq!(why.code(), "packs.site_altered");
}

#[test]
fn a_site_that_was_changed_past_latchkey_is_looked_at_once_in_a_while() {
    let linked = Linked::new();
    let change = "UPDATE sites SET minimal = 1 - minimal WHERE name = 'plant-7'";
    let past = move |tx: &Write<'_>| tx.execute(change, &[]);
    linked.app().store.write(Durability::Full, past).unwrap();
    let body = ModelSite::new(linked.app(), "plant-7").body("");
    let found = ask::read(linked.app(), &body, true);
    assert!(matches!(found, Err(Error::Conflict(_))));
    let again = ask::read(linked.app(), &body, false);
    let Err(Error::Conflict(why)) = again else {
        panic!("{:?}", again.err());
    };
    assert_eq!(why.code(), "packs.site_altered");
}
