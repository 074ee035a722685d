//! A linked site without a process of its own, for tests: it asks, applies what it is answered, and compares what it has with a
//! whole pack of the same moment.

use super::ask;
use crate::authz::caller::Caller;
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::KeyId;
use crate::domain::keys::live::SharedPart;
use crate::domain::packs::body::Body;
use crate::domain::packs::content::Content;
use crate::domain::packs::file;
use crate::domain::packs::head::Head;
use crate::domain::packs::keys::PackedKey;
use crate::domain::packs::note::PublicKey;
use crate::domain::packs::question::{Events, Nonce, Question};
use crate::domain::packs::site_key::SiteKey;
use crate::domain::packs::step::Step;
use crate::domain::packs::word::{Word, WordKind, read_packs};
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::packs::make::{Wanted, make};
use crate::ops::packs::{find, identity, sites};
use crate::refusals;
use crate::store::packs;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the heading.
pub struct ModelSite {
    pub key: SiteKey,
    /// The newest question; the next one has another nonce and number.
    pub question: Question,
    pub trusted: Vec<PublicKey>,
    pub model: Model,
    base: Option<Body>,
    /// Of the newest word.
    pub word: Option<Word>,
    /// Which life may spend what the newest pack lends.
    pub lent_to: Option<Uid>,
    /// What the site was lent, according to the newest record of each counted key.
    pub lent: BTreeMap<KeyId, u64>,
}

/// What a site has, in a form that can be compared.
#[derive(Clone, Default)]
pub struct Model {
    /// With what the key shares with others.
    pub keys: BTreeMap<KeyId, (String, SharedPart)>,
    users: BTreeMap<Uid, User>,
    policies: BTreeMap<String, (String, bool)>,
    catalogs: BTreeMap<String, String>,
    workspaces: BTreeMap<Uid, (String, Option<Uid>)>,
}

impl Model {
    fn of(content: &Content) -> Model {
        let mut model = Model::default();
        model.put(content);
        model
    }

    fn put(&mut self, content: &Content) {
        for key in content.keys() {
            let part = content.shared[&key.shared].clone();
            // How much a site was lent depends on who asked last.
            let key = PackedKey {
                shared: 0,
                lent: key.lent.map(|_| 0),
                ..key
            };
            self.keys.insert(key.id, (format!("{key:?}"), part));
        }
        for user in &content.users {
            self.users.insert(user.uid, user.clone());
        }
        for policy in &content.policies {
            let text = (format!("{policy:?}"), policy.acts_for_owner);
            self.policies.insert(policy.name.clone(), text);
        }
        for catalog in &content.catalogs {
            let text = format!("{catalog:?}");
            self.catalogs.insert(catalog.name.clone(), text);
        }
        for workspace in &content.workspaces {
            let text = (
                format!("{} {}", workspace.slug, workspace.enabled),
                workspace.parent,
            );
            self.workspaces.insert(workspace.uid, text);
        }
    }

    fn apply(&mut self, step: &Step) {
        for id in &step.gone.keys {
            self.keys.remove(id);
        }
        for uid in &step.gone.users {
            self.users.remove(uid);
        }
        if let Some(content) = &step.content {
            self.put(content);
        }
    }

    /// What verdicts of this model and of a whole pack would differ in.
    pub fn differences(&self, whole: &Model) -> Vec<String> {
        let mut found = Vec::new();
        let mut differ = |what: String, same: bool| found.extend((!same).then_some(what));
        for id in self.keys.keys() {
            differ(format!("{id} is left"), whole.keys.contains_key(id));
        }
        for (id, key) in &whole.keys {
            differ(format!("{id}: {key:?}"), self.keys.get(id) == Some(key));
            let part = &key.1;
            let policy = &*part.policy;
            let same = self.policies.get(policy) == whole.policies.get(policy);
            differ(format!("{id}: policy {policy}"), same);
            if let Some(catalog) = part.catalog.as_deref() {
                let same = self.catalogs.get(catalog) == whole.catalogs.get(catalog);
                differ(format!("{id}: catalog {catalog}"), same);
            }
            let mut workspace = Some(part.workspace);
            while let Some(uid) = workspace {
                let own = whole.workspaces.get(&uid);
                differ(
                    format!("{id}: workspace {uid}"),
                    self.workspaces.get(&uid) == own,
                );
                workspace = own.and_then(|(_, parent)| *parent);
            }
            let Some(owner) = part.owner else { continue };
            let acts = whole.policies.get(policy).is_some_and(|(_, acts)| *acts)
                || part.catalog.as_deref() == Some(BUILT_IN);
            let needed = |user: &User| {
                let roles = acts.then(|| format!("{:?}", user.roles));
                (user.enabled, user.user_name.clone(), roles)
            };
            let (own, other) = (self.users.get(&owner), whole.users.get(&owner));
            let same = own.map(needed) == other.map(needed);
            differ(format!("{id}: owner {own:?} and not {other:?}"), same);
        }
        found
    }
}

impl ModelSite {
    /// The site of this name, which has nothing yet.
    pub fn new(app: &App, name: &str) -> ModelSite {
        let (site, server, key) = app
            .read(|read| {
                let server = packs::find_server(read)?.unwrap();
                Ok((find(read, name)?, server, identity::public_key(read)?))
            })
            .unwrap();
        let site_key = sites::site_key(app, &site).unwrap();
        ModelSite {
            question: Question {
                origin: server.name,
                site: site.name,
                server: server.uid,
                life: site_key.tagged_life([5; 8]),
                nonce: Nonce::default(),
                applied: Nonce::default(),
                arrived: Nonce::default(),
                process: Nonce::generate().unwrap(),
                number: 0,
                reign: 0,
                pack: 0,
                base: 0,
                events: Events::default(),
                lease_s: 86_400,
            },
            key: site_key,
            trusted: vec![key],
            model: Model::default(),
            base: None,
            word: None,
            lent_to: None,
            lent: BTreeMap::new(),
        }
    }

    /// The body of the next question.
    pub fn body(&mut self, report: &str) -> String {
        self.question.nonce = Nonce::generate().unwrap();
        self.question.number += 1;
        self.question.write(&self.key, report)
    }

    /// Asks, and returns where the answer comes.
    pub fn begin(&mut self, app: &App) -> Receiver<Result<Vec<u8>>> {
        let body = self.body("");
        send(app, &body).unwrap()
    }

    /// Asks, waits for the word, and applies it.
    #[track_caller]
    pub fn follow(&mut self, app: &App) -> WordKind {
        let receiver = self.begin(app);
        self.take(&receiver)
    }

    /// Waits for a word, and applies it.
    #[track_caller]
    pub fn take(&mut self, receiver: &Receiver<Result<Vec<u8>>>) -> WordKind {
        let answer = received(receiver).unwrap();
        self.apply(&answer)
    }

    /// Applies a word.
    #[track_caller]
    pub fn apply(&mut self, answer: &[u8]) -> WordKind {
        let (signed, body) = Word::open(answer, &self.trusted).unwrap();
        let word = signed.word;
        assert!(word.answers(&self.question), "{word:?} {:?}", self.question);
        self.trusted = signed.signed_by;
        match word.kind {
            WordKind::Fork => {}
            WordKind::Removed => return word.kind,
            WordKind::Pack => self.apply_packs(body),
            WordKind::Step => {
                assert!(word.lease_s > 0 || self.question.applied == Nonce::default());
                let step = Step::read(body).unwrap();
                self.model.apply(&step);
                step.content
                    .iter()
                    .for_each(|content| self.note_lent(content));
                self.question.events = word.to;
            }
        }
        self.question.applied = word.nonce;
        self.question.arrived = word.nonce;
        let kind = word.kind;
        self.word = Some(word);
        kind
    }

    fn apply_packs(&mut self, body: &[u8]) {
        for bytes in read_packs(body).unwrap() {
            let parts = file::split(bytes).unwrap();
            let head = Head::open(parts.head, &self.trusted).unwrap().head;
            let body = file::body_of(&head, parts.body).unwrap();
            let (whole, shown) = match head.is_whole() {
                true => (Some(body), None),
                false => {
                    assert_eq!(head.base, self.question.base);
                    (
                        None,
                        Some(self.base.as_ref().unwrap().apply(&body).unwrap()),
                    )
                }
            };
            // A new reign begins to count anew.
            let is_newer = head.reign > self.question.reign
                || (head.pack > self.question.pack && head.events >= self.question.events.number);
            assert!(is_newer, "{head:?}");
            if let Some(whole) = &whole {
                self.base = Some(Body::read(whole.bytes().to_vec()).unwrap());
                self.question.base = head.pack;
            }
            if let Some(body) = shown.or(whole) {
                let content = Content::of(body).unwrap();
                self.model = Model::of(&content);
                self.note_lent(&content);
            }
            self.lent_to = head.lent;
            self.question.pack = head.pack;
            self.question.reign = head.reign;
            self.question.events = Events {
                number: head.events,
                hash: head.events_hash,
            };
        }
    }

    fn note_lent(&mut self, content: &Content) {
        let all = content.keys();
        self.lent
            .extend(all.filter_map(|key| Some((key.id, key.lent?))));
    }

    /// Asks until a step has come, which does not wait for anything to happen, and returns how many packs came before.
    #[track_caller]
    pub fn catch_up(&mut self, app: &App) -> usize {
        let usual = app.feed.poll_ms.swap(1, Relaxed);
        let mut packs = 0;
        loop {
            let receiver = self.begin(app);
            let answer = match received(&receiver) {
                // On a busy machine a pack takes longer than a question waits for it.
                Err(Error::Unavailable(why)) if why.is_like(&refusals::packs::being_made()) => {
                    continue;
                }
                answer => answer.unwrap(),
            };
            match self.apply(&answer) {
                WordKind::Step => break,
                WordKind::Pack => packs += 1,
                WordKind::Fork => panic!("the server has forked"),
                WordKind::Removed => panic!("the site was removed"),
            }
        }
        app.feed.poll_ms.store(usual, Relaxed);
        packs
    }

    /// Asks until the site has everything, and compares it with a whole pack.
    #[track_caller]
    pub fn check(&mut self, app: &App) -> usize {
        let packs = self.catch_up(app);
        let found = self.model.differences(&whole(app, &self.question.site));
        assert!(found.is_empty(), "{found:#?}");
        packs
    }
}

/// Sends the body of a question.
pub fn send(app: &App, body: &str) -> Result<Receiver<Result<Vec<u8>>>> {
    let asked = ask::read(app, body, true)?.unwrap();
    let (sender, receiver) = channel();
    let give = move |answer| sender.send(answer).unwrap_or(());
    asked.enter(app, Box::new(give))?;
    Ok(receiver)
}

/// Waits for an answer.
#[track_caller]
pub fn received(receiver: &Receiver<Result<Vec<u8>>>) -> Result<Vec<u8>> {
    receiver.recv_timeout(PATIENCE).expect("an answer")
}

/// What a whole pack has now.
fn whole(app: &App, site: &str) -> Model {
    let caller = Caller::system(&app.index.directory()).unwrap();
    let wanted = Wanted {
        sites: Some(vec![site.to_owned()]),
        whole: true,
    };
    let made = make(app, &caller, wanted).unwrap().remove(0);
    let bytes = std::fs::read(made.path).unwrap();
    let parts = file::split(&bytes).unwrap();
    let (_, head) = Head::peek(parts.head).unwrap();
    Model::of(&Content::of(file::body_of(&head, parts.body).unwrap()).unwrap())
}
