//! Tests of the link on a server without sockets: what a site is answered, and when.

use super::model::{ModelSite, received, send};
use super::waits::{Confirmed, Outcome};
use super::{run_answers, run_packs};
use crate::authz::caller::Caller;
use crate::domain::catalogs::{Definition, Scope};
use crate::domain::keys::KeyId;
use crate::domain::keys::rotation::Grace;
use crate::domain::packs::question::{Events, Nonce};
use crate::domain::packs::report::{KeyReport, Report};
use crate::domain::packs::site_key::SiteKey;
use crate::domain::packs::word::WordKind;
use crate::domain::policies::IssuedBy;
use crate::domain::policies::roles::RoleRule;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::roles::Role;
use crate::error::{Error, Result};
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::{edit, rotate};
use crate::ops::packs::sites::{self, NewSite, SiteEdit};
use crate::ops::policies::{self, PolicyEdit};
use crate::ops::setup::fixture::{Fixture, NOW};
use crate::ops::users::{self, NewUser, UserEdit};
use crate::ops::workspaces::{self, NewWorkspace, WorkspaceEdit};
use crate::ops::{App, audit, catalogs, keys};
use crate::store;
use crate::store::audit::Cut;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

/// Longer than any test takes.
const NEVER_MS: u64 = 86_400_000;

/// A server with its threads for links.
struct Linked {
    fixture: Fixture,
    threads: Vec<JoinHandle<()>>,
}

impl Linked {
    /// A server with a site that is given everything. Only what happens ends a wait for an answer.
    fn new() -> Linked {
        let mut linked = Linked {
            fixture: Fixture::new(),
            threads: Vec::new(),
        };
        linked.add("plant-7", &["root"], 86_400);
        linked.start();
        linked
    }

    fn start(&mut self) {
        let app = &self.fixture.app;
        app.feed.poll_ms.store(NEVER_MS, Relaxed);
        let (answering, packing) = (app.clone(), app.clone());
        self.threads = vec![
            std::thread::spawn(move || run_answers(&answering)),
            std::thread::spawn(move || run_packs(&packing)),
        ];
    }

    fn stop(&mut self) {
        self.fixture.app.feed.stop();
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }

    /// As if the process had ended and a new one had begun.
    fn restart(&mut self) {
        self.stop();
        self.fixture.reopen(&[]);
        self.start();
    }

    fn app(&self) -> &Arc<App> {
        &self.fixture.app
    }

    fn local(&self) -> Caller {
        self.fixture.local()
    }

    fn add(&self, name: &str, workspaces: &[&str], max_stale_s: u64) {
        let new = NewSite {
            name: name.to_owned(),
            workspaces: workspaces.iter().map(|slug| slug.to_string()).collect(),
            catalogs: Vec::new(),
            minimal: false,
            until_s: None,
            lend: Some(10),
            max_stale_s: Some(max_stale_s),
            server: "server.example".to_owned(),
            passphrase: "nine anchors in the meadow".to_owned(),
        };
        sites::add(self.app(), &self.local(), new, None).unwrap();
    }

    /// A site that has everything.
    fn site(&self, name: &str) -> ModelSite {
        let mut site = ModelSite::new(self.app(), name);
        site.catch_up(self.app());
        site
    }

    fn issue(&self, new: NewKey) -> KeyId {
        issue(self.app(), &self.local(), new, None)
            .unwrap()
            .view
            .key
            .id
    }

    fn key(&self, name: &str) -> KeyId {
        self.key_in(name, "root")
    }

    fn key_in(&self, name: &str, workspace: &str) -> KeyId {
        self.issue(NewKey {
            members: KeyMembers::named(name),
            workspace: Some(workspace.to_owned()),
            ..NewKey::default()
        })
    }

    fn workspace(&self, slug: &str, parent: &str) {
        let new = NewWorkspace {
            slug: Some(slug.to_owned()),
            name: slug.to_owned(),
            parent: Some(parent.to_owned()),
        };
        workspaces::create(self.app(), &self.local(), new, None).unwrap();
    }

    fn user(&self, name: &str, roles: &[(&str, Role)]) {
        let new = NewUser {
            user_name: name.to_owned(),
            email: None,
            workspace: None,
            password: None,
            roles: roles
                .iter()
                .map(|(slug, role)| (slug.to_string(), *role))
                .collect(),
        };
        users::create(self.app(), &self.local(), new, None).unwrap();
    }

    fn delete(&self, id: KeyId) {
        keys::delete(self.app(), &self.local(), id, None).unwrap();
    }

    fn wait(&self) -> Receiver<Outcome> {
        let (sender, receiver) = channel();
        let done = move |outcome| sender.send(outcome).unwrap_or(());
        let now_ms = self.app().now().steady_ms;
        self.app().feed.wait(now_ms, done);
        receiver
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        self.stop();
    }
}

fn is_waiting(receiver: &Receiver<Result<Vec<u8>>>) -> bool {
    receiver.try_recv().is_err()
}

#[test]
fn a_site_gets_a_pack_first_and_steps_from_then_on() {
    let linked = Linked::new();
    let key = linked.key("first");
    let mut site = ModelSite::new(linked.app(), "plant-7");
    assert_eq!(site.follow(linked.app()), WordKind::Pack);
    assert_eq!(site.word.as_ref().unwrap().lease_s, 0);
    assert!(site.model.keys.contains_key(&key));
    // A step comes when something happens, and not before.
    let answer = site.begin(linked.app());
    assert!(is_waiting(&answer));
    linked.delete(key);
    assert_eq!(site.take(&answer), WordKind::Step);
    assert!(!site.model.keys.contains_key(&key));
    assert_eq!(site.word.as_ref().unwrap().lease_s, 86_400);
    let answer = site.begin(linked.app());
    let second = linked.key("second");
    assert_eq!(site.take(&answer), WordKind::Step);
    assert!(site.model.keys.contains_key(&second));
    assert_eq!(site.check(linked.app()), 0);
}

#[test]
fn a_question_is_answered_after_its_time_even_if_nothing_happens() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    linked.app().feed.poll_ms.store(20, Relaxed);
    let before = site.question.events;
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    let word = site.word.as_ref().unwrap();
    assert_eq!((word.bytes, word.to), (0, before));
}

#[test]
fn what_is_none_of_a_sites_business_neither_wakes_it_nor_comes() {
    let linked = Linked::new();
    linked.workspace("own", "root");
    linked.workspace("other", "root");
    linked.add("ship-2", &["own"], 86_400);
    let mut site = linked.site("ship-2");
    let answer = site.begin(linked.app());
    let strange = linked.key_in("strange", "other");
    linked.delete(strange);
    let own = linked.key_in("own", "own");
    assert_eq!(site.take(&answer), WordKind::Step);
    assert_eq!(site.model.keys.keys().collect::<Vec<_>>(), [&own]);
    // The first word after the question had all of it: none came for the strange key.
    assert_eq!(linked.app().feed.figures.steps.load(Relaxed), 1);
    assert_eq!(site.check(linked.app()), 0);
}

#[test]
fn strangers_are_refused() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let refused = |body: &str| {
        let answer = send(linked.app(), body);
        assert!(matches!(answer, Err(Error::Unauthenticated)), "{body}");
    };
    let body = site.body("");
    refused(&body.replace("lease 86400", "lease 8640"));
    refused(&body.replace("plant-7", "plant-8"));
    let other = SiteKey::of([7; 32]);
    refused(&site.question.write(&other, ""));
    for change in [
        |site: &mut ModelSite| site.question.origin = "other.example".to_owned(),
        |site: &mut ModelSite| site.question.server = Uid(3),
    ] {
        let mut site = ModelSite::new(linked.app(), "plant-7");
        change(&mut site);
        refused(&site.body(""));
    }
    for body in [
        "",
        "nonsense",
        "a\nsite plant-7\n",
        "latchkey.question/v1 x\nsite plant-7\n",
    ] {
        let answer = send(linked.app(), body);
        assert!(answer.is_err(), "{body}");
    }
    sites::remove(linked.app(), &linked.local(), "plant-7", false).unwrap();
    refused(&site.body(""));
}

/// A recorded question brings the answer to itself, which nobody waits for any more.
#[test]
fn a_question_that_comes_again_has_no_effect_on_the_site() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let old = site.body("");
    let first = send(linked.app(), &old).unwrap();
    let key = linked.key("k");
    let answer = received(&first).unwrap();
    assert_eq!(site.apply(&answer), WordKind::Step);
    assert!(site.model.keys.contains_key(&key));
    let replayed = send(linked.app(), &old).unwrap();
    let answer = received(&replayed).unwrap();
    let nonce = site.question.nonce;
    site.body("");
    assert_ne!(nonce, site.question.nonce);
    let (word, _) = crate::domain::packs::word::Word::open(&answer, &site.trusted).unwrap();
    assert!(!word.word.answers(&site.question));
    // Nor does it confirm anything for the site.
    linked.delete(key);
    let outcome = linked.wait();
    let replayed = send(linked.app(), &old).unwrap();
    received(&replayed).unwrap();
    assert!(outcome.try_recv().is_err());
}

#[test]
fn a_newer_question_takes_the_place_of_an_older_one() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let older = site.begin(linked.app());
    let newer = site.begin(linked.app());
    assert!(matches!(received(&older), Err(Error::Conflict(_))));
    linked.key("k");
    assert_eq!(site.take(&newer), WordKind::Step);
}

#[test]
fn a_site_that_knows_another_history_is_a_fork() {
    let linked = Linked::new();
    let site = linked.site("plant-7");
    let now = site.question.events;
    let strange: [fn(Events) -> Events; 3] = [
        |events| Events {
            number: events.number + 1,
            ..events
        },
        |events| Events {
            hash: [1; 32],
            ..events
        },
        |events| Events {
            number: events.number - 1,
            ..events
        },
    ];
    for change in strange {
        let mut other = ModelSite::new(linked.app(), "plant-7");
        other.question = site.question.clone();
        other.question.events = change(now);
        assert_eq!(other.follow(linked.app()), WordKind::Fork);
        assert_eq!(other.word.as_ref().unwrap().lease_s, 0);
    }
    let mut other = ModelSite::new(linked.app(), "plant-7");
    other.question = site.question.clone();
    other.question.reign += 1;
    assert_eq!(other.follow(linked.app()), WordKind::Fork);
}

#[test]
fn a_restarted_server_goes_on_from_its_log() {
    let mut linked = Linked::new();
    let mut site = linked.site("plant-7");
    let before = linked.key("before");
    linked.restart();
    let after = linked.key("after");
    linked.delete(before);
    assert_eq!(site.check(linked.app()), 0);
    assert!(site.model.keys.contains_key(&after));
}

#[test]
fn a_site_that_the_log_does_not_reach_gets_a_pack() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    for name in ["a", "b", "c"] {
        linked.key(name);
    }
    audit::prune(linked.app(), &linked.local(), Cut::Keep(1)).unwrap();
    assert_eq!(site.check(linked.app()), 1);
    // From there it follows in steps again.
    linked.key("d");
    assert_eq!(site.check(linked.app()), 0);
}

#[test]
fn what_changes_the_share_of_a_site_is_a_pack() {
    let linked = Linked::new();
    for slug in ["own", "other"] {
        linked.workspace(slug, "root");
        linked.key_in("k", slug);
    }
    linked.workspace("below", "own");
    let inner = linked.key_in("inner", "below");
    linked.add("ship-2", &["own"], 86_400);
    let (app, local) = (linked.app(), linked.local());
    let mut site = linked.site("ship-2");
    let workspaces = Some(vec!["own".to_owned(), "other".to_owned()]);
    let edited = SiteEdit {
        workspaces,
        ..SiteEdit::default()
    };
    sites::edit(app, &local, "ship-2", edited).unwrap();
    assert_eq!(site.check(app), 1);
    assert_eq!(site.model.keys.len(), 3);
    let minimal = SiteEdit {
        minimal: Some(true),
        ..SiteEdit::default()
    };
    sites::edit(app, &local, "ship-2", minimal).unwrap();
    assert_eq!(site.check(app), 1);
    let moved = WorkspaceEdit {
        parent: Some("root".to_owned()),
        ..WorkspaceEdit::default()
    };
    workspaces::edit(app, &local, "below", moved).unwrap();
    assert_eq!(site.check(app), 1);
    assert!(!site.model.keys.contains_key(&inner));
    workspaces::delete::delete_with_contents(app, &local, "other").unwrap();
    assert_eq!(site.check(app), 1);
    // What is about another site is not.
    let other = SiteEdit {
        minimal: Some(true),
        ..SiteEdit::default()
    };
    sites::edit(app, &local, "plant-7", other).unwrap();
    assert_eq!(site.check(app), 0);
}

#[test]
fn sites_that_reconnect_at_once_share_what_is_made() {
    let linked = Linked::new();
    let names: Vec<String> = (0..5).map(|number| format!("s{number}")).collect();
    for name in &names {
        linked.add(name, &["root"], 86_400);
    }
    let mut all: Vec<ModelSite> = names
        .iter()
        .map(|name| ModelSite::new(linked.app(), name))
        .collect();
    let waiting: Vec<_> = all
        .iter_mut()
        .map(|site| site.begin(linked.app()))
        .collect();
    for (site, answer) in all.iter_mut().zip(&waiting) {
        assert_eq!(site.take(answer), WordKind::Pack);
    }
    // A pack that serves is not made again.
    let numbers: Vec<u64> = all.iter().map(|site| site.question.pack).collect();
    let mut again = ModelSite::new(linked.app(), &names[0]);
    assert_eq!(again.follow(linked.app()), WordKind::Pack);
    assert_eq!(again.question.pack, numbers[0]);
}

#[test]
fn a_change_waits_for_every_linked_site() {
    let linked = Linked::new();
    let key = linked.key("k");
    linked.add("ship-2", &["root"], 86_400);
    // Only words let a site answer, and a pack is none.
    let mut one = ModelSite::new(linked.app(), "plant-7");
    assert_eq!(one.follow(linked.app()), WordKind::Pack);
    assert!(received_outcome(&linked.wait()).sites.is_empty());
    one.catch_up(linked.app());
    let mut two = linked.site("ship-2");
    let (first, second) = (one.begin(linked.app()), two.begin(linked.app()));
    linked.delete(key);
    let outcome = linked.wait();
    assert_eq!(one.take(&first), WordKind::Step);
    assert_eq!(two.take(&second), WordKind::Step);
    assert!(outcome.try_recv().is_err());
    let _first = one.begin(linked.app());
    assert!(outcome.try_recv().is_err());
    let _second = two.begin(linked.app());
    let expected = ["plant-7", "ship-2"].map(|name| (name.to_owned(), Confirmed::Applied));
    assert_eq!(received_outcome(&outcome).sites, expected);
}

fn received_outcome(receiver: &Receiver<Outcome>) -> Outcome {
    let patience = std::time::Duration::from_secs(60);
    receiver.recv_timeout(patience).expect("an outcome")
}

#[test]
fn a_site_that_says_nothing_is_waited_for_until_its_lease_is_over() {
    let linked = Linked::new();
    linked.add("ship-2", &["root"], 2);
    let site = linked.site("ship-2");
    assert_eq!(site.word.as_ref().unwrap().lease_s, 2);
    let began_ms = linked.app().now().steady_ms;
    linked.key("k");
    let outcome = received_outcome(&linked.wait());
    assert_eq!(outcome.sites, [("ship-2".to_owned(), Confirmed::LeaseOver)]);
    // The lease began with the question, a moment earlier.
    assert!(linked.app().now().steady_ms - began_ms > 1_000);
}

#[test]
fn a_wait_that_takes_too_long_says_what_is_open() {
    let linked = Linked::new();
    let _site = linked.site("plant-7");
    linked.app().feed.wait_ms.store(50, Relaxed);
    linked.key("k");
    let outcome = received_outcome(&linked.wait());
    assert!(!outcome.is_confirmed());
    let [(name, Confirmed::NotYet { left_ms })] = outcome.sites.as_slice() else {
        panic!("{outcome:?}");
    };
    assert_eq!(name, "plant-7");
    assert!(*left_ms > 80_000_000);
}

/// What the last process granted still counts after a start.
#[test]
fn a_restarted_server_waits_for_the_leases_of_the_one_before() {
    let mut linked = Linked::new();
    let mut site = linked.site("plant-7");
    linked.restart();
    linked.app().feed.wait_ms.store(50, Relaxed);
    linked.key("k");
    let outcome = received_outcome(&linked.wait());
    assert_eq!(outcome.sites.len(), 1);
    assert!(!outcome.is_confirmed());
    // Once it has asked, and has the change, all is well.
    linked.app().feed.wait_ms.store(NEVER_MS, Relaxed);
    let outcome = linked.wait();
    site.catch_up(linked.app());
    let _answer = site.begin(linked.app());
    assert!(received_outcome(&outcome).is_confirmed());
}

#[test]
fn no_word_is_sent_that_is_older_than_a_change_that_waits() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    linked.app().feed.poll_ms.store(1, Relaxed);
    // As if a change had been acknowledged after the answer was read from the database.
    let ahead = site.question.events.number + 1;
    crate::domain::locks::lock(&linked.app().feed.hub).waited = ahead;
    let answer = site.begin(linked.app());
    linked.key("k");
    assert_eq!(site.take(&answer), WordKind::Step);
    assert!(site.question.events.number >= ahead);
}

#[test]
fn a_stopping_server_answers_all_who_wait() {
    let mut linked = Linked::new();
    let mut site = linked.site("plant-7");
    let answer = site.begin(linked.app());
    linked.stop();
    assert!(matches!(received(&answer), Err(Error::Unavailable(_))));
    let body = site.body("");
    assert!(matches!(
        send(linked.app(), &body),
        Err(Error::Unavailable(_))
    ));
}

fn report(site: &ModelSite, number: u64, keys: Vec<KeyReport>) -> String {
    let question = &site.question;
    let report = Report {
        origin: question.origin.clone(),
        site: question.site.clone(),
        server: question.server,
        life: question.life,
        number,
        at: NOW,
        pack: question.pack,
        reign: question.reign,
        events: question.events.number,
        codes: Vec::new(),
        keys,
    };
    report.write(&site.key)
}

fn blank(id: KeyId) -> KeyReport {
    KeyReport {
        id,
        uses: 0,
        refusals: 0,
        spent: 0,
        last_used_at: None,
        ended_at: None,
        older_ended: None,
    }
}

fn with_report(site: &mut ModelSite, linked: &Linked, number: u64, key: KeyReport) {
    let report = report(site, number, vec![key]);
    let body = site.body(&report);
    let answer = send(linked.app(), &body).unwrap();
    // It does not wait: the site wants to know that its report has arrived.
    assert_eq!(site.take(&answer), WordKind::Step);
    assert_eq!(site.word.as_ref().unwrap().report, number);
}

#[test]
fn a_report_in_a_question_is_taken_in_once_and_without_an_event() {
    let linked = Linked::new();
    let key = linked.key("k");
    let mut site = linked.site("plant-7");
    let events = linked.fixture.last_event();
    let used = KeyReport {
        uses: 7,
        last_used_at: Some(NOW),
        ..blank(key)
    };
    for number in [1, 2] {
        with_report(&mut site, &linked, number, used);
    }
    let uses = linked
        .app()
        .read(|read| store::usage::find_usage(read, key));
    assert_eq!(uses.unwrap().use_count, 7);
    assert_eq!(linked.fixture.last_event(), events);
    // That a site proposes to end a key is worth one.
    let ended = KeyReport {
        ended_at: Some(NOW),
        ..used
    };
    for number in [3, 4] {
        with_report(&mut site, &linked, number, ended);
    }
    assert_eq!(linked.fixture.last_event(), events + 1);
    let shown = sites::show(linked.app(), &linked.local(), "plant-7").unwrap();
    assert_eq!(shown.ended_there.len(), 1);
    // A report of another site is refused, and nothing changes.
    linked.add("ship-2", &["root"], 10);
    let mut other = ModelSite::new(linked.app(), "ship-2");
    let strange = report(&site, 9, Vec::new());
    let body = other.body(&strange);
    assert!(send(linked.app(), &body).is_err());
}

#[test]
fn the_first_use_of_a_rotated_secret_at_a_site_ends_the_older_one() {
    let linked = Linked::new();
    let key = linked.key("k");
    let (app, local) = (linked.app(), linked.local());
    let mut site = linked.site("plant-7");
    let digest = || app.index.with_key(key, |key| key.secret.digest.0).unwrap();
    let before = digest();
    rotate::rotate(app, &local, key, Grace::UntilFirstUse(3_600)).unwrap();
    site.catch_up(app);
    let has_older = || {
        let secrets = app.read(|read| store::keys::list_secrets(read, key));
        secrets.unwrap().len() == 2
    };
    let ended = |start: &[u8]| KeyReport {
        older_ended: Some(start[..8].try_into().unwrap()),
        ..blank(key)
    };
    with_report(&mut site, &linked, 1, ended(&digest()));
    assert!(has_older(), "another secret than the newest was meant");
    with_report(&mut site, &linked, 2, ended(&before));
    assert!(!has_older());
    assert_eq!(site.check(app), 0);
    let end = linked.fixture.last_event();
    with_report(&mut site, &linked, 3, ended(&before));
    assert_eq!(linked.fixture.last_event(), end);
}

fn lent(site: &ModelSite, linked: &Linked, key: KeyId) -> u64 {
    let name = site.question.site.clone();
    let found = linked
        .app()
        .read(|read| store::sites::find_lent(read, &name, key));
    found.unwrap().lent
}

#[test]
fn a_linked_site_is_lent_what_it_has_spent() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let members = KeyMembers {
        uses_left: Some(Some(25)),
        ..KeyMembers::named("counted")
    };
    let key = linked.issue(NewKey {
        members,
        ..NewKey::default()
    });
    // The key itself comes with its event, and the uses with the word after it.
    while lent(&site, &linked, key) == 0 {
        site.catch_up(linked.app());
    }
    assert_eq!(lent(&site, &linked, key), 10);
    let spent = KeyReport {
        spent: 4,
        ..blank(key)
    };
    with_report(&mut site, &linked, 1, spent);
    assert_eq!(lent(&site, &linked, key), 14);
    let pending = |linked: &Linked| {
        let hub = crate::domain::locks::lock(&linked.app().feed.hub);
        hub.links["plant-7"].pending.len()
    };
    // A word that is lost is sent again: what was lent is pending until a question confirms it.
    assert_eq!(pending(&linked), 1);
    let applied = std::mem::take(&mut site.question.applied);
    linked.app().feed.poll_ms.store(1, Relaxed);
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    assert_eq!(pending(&linked), 1);
    assert_ne!(applied, Nonce::default());
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    assert_eq!(pending(&linked), 0);
    // Never more than the key has.
    for (number, spent) in [(2, 14), (3, 25)] {
        let more = KeyReport {
            spent,
            ..blank(key)
        };
        with_report(&mut site, &linked, number, more);
    }
    assert_eq!(lent(&site, &linked, key), 25);
}

#[test]
fn what_a_site_has_applied_is_known_at_once_and_after_a_start() {
    let mut linked = Linked::new();
    let key = linked.key("k");
    let mut site = linked.site("plant-7");
    let view = |linked: &Linked| {
        let mut all = sites::list(linked.app(), &linked.local()).unwrap();
        all.remove(0)
    };
    let _answer = site.begin(linked.app());
    let link = view(&linked).link.unwrap();
    assert_eq!((link.is_linked, link.lag), (true, 0));
    assert_eq!(view(&linked).unconfirmed, Some(0));
    linked.delete(key);
    assert_eq!(view(&linked).unconfirmed, Some(1));
    assert_eq!(view(&linked).link.unwrap().lag, 1);
    site.catch_up(linked.app());
    let _answer = site.begin(linked.app());
    assert_eq!(view(&linked).unconfirmed, Some(0));
    super::ask::record_all(linked.app()).unwrap();
    linked.restart();
    let link = view(&linked).link.unwrap();
    assert_eq!((link.is_linked, link.lag), (false, 0));
    assert_eq!(view(&linked).unconfirmed, Some(0));
}

/// Draws of a test that can be repeated.
struct Draws(u64);

impl Draws {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % most
    }
}

/// After any changes, in any order, a site that followed in steps has what a whole pack has.
#[test]
fn steps_lead_where_a_whole_pack_leads() {
    let linked = Linked::new();
    let (app, local) = (linked.app(), linked.local());
    for (slug, parent) in [("a", "root"), ("b", "a"), ("c", "root")] {
        linked.workspace(slug, parent);
    }
    linked.add("ship-2", &["a"], 86_400);
    let slugs = ["root", "a", "b", "c"];
    linked.user("alice", &[("a", Role::Administrator)]);
    linked.user("bob", &[("c", Role::Member)]);
    let acting = PolicyEdit {
        issued_by: Some(IssuedBy::Owner),
        acts_for_owner: Some(true),
        roles: Some(vec![RoleRule {
            role: Role::Administrator,
            scopes: vec!["*".into()],
            read_only: false,
        }]),
        ..PolicyEdit::default()
    };
    policies::create(app, &local, "acting".to_owned(), acting, None).unwrap();
    policies::create(app, &local, "plain".to_owned(), PolicyEdit::default(), None).unwrap();
    catalogs::put(app, &local, rooms("first")).unwrap();
    let mut sites: Vec<ModelSite> = ["plant-7", "ship-2"]
        .map(|name| linked.site(name))
        .into_iter()
        .collect();
    let mut draws = Draws(7);
    let mut ids: Vec<KeyId> = Vec::new();
    let mut packs = 0;
    for round in 0..250 {
        let name = format!("k{round}");
        let one =
            |draws: &mut Draws, ids: &[KeyId]| ids.get(draws.below(ids.len().max(1))).copied();
        match (draws.below(14), one(&mut draws, &ids)) {
            (0..4, _) | (_, None) => {
                let catalog = [None, Some("rooms".to_owned()), Some("latchkey".to_owned())];
                let owner = [None, Some("alice".to_owned()), Some("bob".to_owned())];
                let members = KeyMembers {
                    owner: Some(owner[draws.below(3)].clone()),
                    ..KeyMembers::named(&name)
                };
                let new = NewKey {
                    members,
                    workspace: Some(slugs[draws.below(4)].to_owned()),
                    policy: Some(["standard", "plain"][draws.below(2)].to_owned()),
                    catalog: catalog[draws.below(3)].clone(),
                    prefix: None,
                };
                // Some combinations are refused, which changes nothing.
                let issued = issue(app, &local, new, None);
                ids.extend(issued.ok().map(|issued| issued.view.key.id));
            }
            (4, Some(id)) => drop(keys::delete(app, &local, id, None)),
            (5, Some(id)) => drop(edit::switch(app, &local, id, draws.below(2) == 0)),
            (6, Some(id)) => {
                let graces = [Grace::AtOnce, Grace::Seconds(60), Grace::UntilFirstUse(60)];
                drop(rotate::rotate(app, &local, id, graces[draws.below(3)]));
            }
            (7, Some(id)) => {
                let members = KeyMembers {
                    name: Some(name),
                    description: Some(round.to_string()),
                    expires_at: Some(Some(Timestamp(NOW.0 + 1_000_000 * (round + 1)))),
                    ..KeyMembers::default()
                };
                drop(edit::edit(app, &local, id, members));
            }
            (8, _) => {
                let user = ["alice", "bob"][draws.below(2)];
                let enabled = Some(draws.below(2) == 0);
                let change = UserEdit {
                    enabled,
                    ..UserEdit::default()
                };
                drop(users::edit(app, &local, user, change));
            }
            (9, _) => {
                let roles = vec![(
                    slugs[draws.below(4)].to_owned(),
                    [Role::Administrator, Role::Member][draws.below(2)],
                )];
                drop(users::set_roles(app, &local, "alice", roles));
            }
            (10, _) => {
                let change = PolicyEdit {
                    decoy: Some(draws.below(2) == 0),
                    ..PolicyEdit::default()
                };
                drop(policies::edit(app, &local, "plain", change));
            }
            (11, _) => drop(catalogs::put(app, &local, rooms(&name))),
            (12, _) => {
                let slug = slugs[1 + draws.below(3)];
                let change = WorkspaceEdit {
                    enabled: Some(draws.below(2) == 0),
                    ..WorkspaceEdit::default()
                };
                drop(workspaces::edit(app, &local, slug, change));
            }
            (_, _) => {
                let parent = ["root", "c"][draws.below(2)];
                let change = WorkspaceEdit {
                    parent: Some(parent.to_owned()),
                    ..WorkspaceEdit::default()
                };
                drop(workspaces::edit(app, &local, "b", change));
            }
        }
        if draws.below(4) == 0 {
            for site in &mut sites {
                packs += site.check(app);
            }
        }
    }
    for site in &mut sites {
        packs += site.check(app);
    }
    let keys = sites[0].model.keys.len();
    assert!(keys > 20 && !sites[1].model.keys.is_empty(), "{keys} keys");
    let steps = app.feed.figures.steps.load(Relaxed);
    assert!(
        steps > 60 && packs < steps as usize,
        "{steps} steps, {packs} packs"
    );
}

fn rooms(label: &str) -> Definition {
    Definition {
        name: "rooms".to_owned(),
        scopes: vec![Scope {
            name: "rooms:read".to_owned(),
            label: label.to_owned(),
            ..Scope::default()
        }],
        ..Definition::default()
    }
}
