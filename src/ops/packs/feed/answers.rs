//! The thread that answers questions: at once when something has happened to what a site is given, otherwise when the time of
//! the question is over.

use super::hub::{Asking, Touched, Work, refuse_older};
use super::known::{Known, Share, Workspaces, is_of_one_site};
use super::lending::Lacking;
use super::snapshot::{History, Snapshot};
use super::step::{self, Built};
use super::ways::{Way, way};
use super::word::{self, Said};
use super::{Answer, Feed};
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::packs::question::{Events, Question};
use crate::domain::packs::word::WordKind;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::packs::given::Given;
use crate::ops::packs::identity::{Signer, signer};
use crate::refusals;
use crate::store::packs;
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// How often a round begins anew because the index has moved on, before its questions wait for the next.
const TRIES: usize = 5;
/// A pack that ends within this part of its time is replaced, so that a site which loses its link has one that counts.
const PART_OF_TIME: i64 = 4;

/// What the thread keeps from one round to the next.
#[derive(Default)]
struct Memory {
    /// With the generation of the rows of sites that it belongs to.
    signer: Option<(u64, Rc<Signer>)>,
    /// What sites are given, for one state of the tree of workspaces.
    shares: HashMap<Share, Rc<Workspaces>>,
    tree: u64,
    endings: Endings,
}

/// The pack that each site has, and from when on it is to be replaced; `None` if the database does not have it any more.
type Endings = HashMap<String, (u64, Option<Timestamp>)>;

/// What a question is answered with.
enum Found {
    Fork,
    /// Nothing has happened, and there is time.
    Nothing,
    Pack,
    /// The site gets nothing.
    Refused(Error),
    /// The site was removed.
    Removed,
    Step {
        built: Rc<Built>,
        /// The pending keys that the step has.
        extra: BTreeSet<KeyId>,
        known: Arc<Known>,
        given: Arc<Given>,
    },
}

/// What became of a step.
enum Signed {
    /// The question was answered otherwise.
    Nothing,
    /// A change waits for the sites that the step does not have.
    TooOld(Box<Asking>),
    Word(Answer, Vec<u8>),
}

/// What was found in one state of the database.
struct Round {
    found: Vec<Found>,
    to: Events,
    made: Timestamp,
    signer: Rc<Signer>,
}

/// Runs until the server stops.
pub fn run(app: &App) {
    let mut memory = Memory::default();
    while let Some(work) = app.feed.next(app) {
        if work.asking.is_empty() {
            continue;
        }
        // Questions of a round that panics are answered by the end of their pledges; their sites ask again.
        let round = AssertUnwindSafe(|| memory.round(app, work));
        if catch_unwind(round).is_err() {
            log::error!("sites: questions were not answered after a panic; see the log");
            memory = Memory::default();
        }
    }
}

impl Memory {
    fn round(&mut self, app: &App, work: Work) {
        let looked = match app.index.is_complete() {
            // Which keys depend on what is known when all of them are in memory.
            false => Err(Error::Unavailable(refusals::requests::busy())),
            true => app.require_known().and_then(|()| {
                (0..TRIES)
                    .find_map(|_| self.look(app, &work).transpose())
                    .transpose()
            }),
        };
        let round = match looked {
            Ok(Some(round)) => round,
            Ok(None) => return app.feed.put_back(work.asking, true),
            Err(err) => {
                log::warn!("sites: questions were not answered: {err}");
                for (_, asking) in work.asking {
                    (asking.answer)(Err(Error::Unavailable(err.refusal())));
                }
                return;
            }
        };
        let mut back = Vec::new();
        let mut counted = Vec::new();
        // They are sent together: the threads of the connections are woken once, and not for each.
        let mut signed: Vec<(Answer, Vec<u8>)> = Vec::with_capacity(work.asking.len());
        for ((name, asking), found) in work.asking.into_iter().zip(round.found) {
            match found {
                Found::Nothing => back.push((name, asking)),
                Found::Pack => app.feed.needs_pack(name, asking),
                Found::Refused(err) => (asking.answer)(Err(err)),
                Found::Removed => {
                    // Signed, so that the site gives its lease up. Its next word would not follow this one.
                    let said = said(WordKind::Removed, round.to, round.made);
                    let bytes = word::write(&round.signer, &asking.question, &said);
                    app.feed.figures.words.fetch_add(1, Relaxed);
                    signed.push((asking.answer, bytes));
                }
                Found::Fork => {
                    if let Err(err) = app.feed.note_ahead(app, &asking.question) {
                        log::warn!("sites: it is not known for which sites changes wait: {err}");
                    }
                    log::warn!(
                        "sites: {name} knows events that this server does not have; was it restored from a backup?"
                    );
                    let said = said(WordKind::Fork, round.to, round.made);
                    let bytes = word::write(&round.signer, &asking.question, &said);
                    app.feed.figures.words.fetch_add(1, Relaxed);
                    app.feed.says(&name, &asking, round.to);
                    signed.push((asking.answer, bytes));
                }
                Found::Step {
                    built,
                    extra,
                    known,
                    given,
                } => {
                    if !built.counted.is_empty() && known.lends_to(asking.question.life) {
                        counted.push(Lacking {
                            known,
                            given,
                            keys: built.counted.iter().copied().collect(),
                        });
                    }
                    let said = Said {
                        lease_s: asking.lease_s,
                        body: &built.bytes,
                        sha256: Some(built.sha256),
                        ..said(WordKind::Step, round.to, round.made)
                    };
                    let feed = &app.feed;
                    match feed.sign_step(&round.signer, &name, asking, said, extra) {
                        Signed::Word(answer, bytes) => signed.push((answer, bytes)),
                        Signed::TooOld(asking) => back.push((name, *asking)),
                        Signed::Nothing => {}
                    }
                }
            }
        }
        signed
            .into_iter()
            .for_each(|(answer, bytes)| answer(Ok(bytes)));
        app.feed.put_back(back, false);
        app.feed.lacks(counted);
    }

    /// Looks at one state of the database; `None` if the index was at another one meanwhile.
    fn look(&mut self, app: &App, work: &Work) -> Result<Option<Round>> {
        let generation = app.feed.known.generation();
        app.read(|read| {
            let Some(snapshot) = Snapshot::begin(app, read)? else {
                return Ok(None);
            };
            let round = self.look_at(&snapshot, generation, work)?;
            let is_same = app
                .feed
                .is_at(snapshot.head.number, snapshot.has_used_keys());
            Ok(is_same.then_some(round))
        })
    }

    fn look_at(&mut self, snapshot: &Snapshot<'_>, generation: u64, work: &Work) -> Result<Round> {
        let (app, read) = (snapshot.app, snapshot.read);
        app.feed.figures.rounds.fetch_add(1, Relaxed);
        let tree = app.feed.tree();
        if self.tree != tree {
            self.tree = tree;
            self.shares.clear();
        }
        let signer = match &self.signer {
            Some((of, signer)) if *of == generation => signer.clone(),
            _ => {
                self.endings.clear();
                Rc::new(signer(read, &app.sealing)?)
            }
        };
        self.signer = Some((generation, signer.clone()));
        let mut steps = HashMap::new();
        let mut found = Vec::with_capacity(work.asking.len());
        for (name, asking) in &work.asking {
            found.push(match app.feed.known.find(app, read, name, generation) {
                Err(err) if is_of_one_site(&err) => Found::Refused(err),
                Err(err) => return Err(err),
                Ok(None) => Found::Removed,
                Ok(Some(known)) => {
                    let workspaces = self.workspaces(app, &known);
                    let is_concerned = asking.is_due
                        || asking.is_new
                        || concerns(app, &workspaces.given, &work.touched);
                    match is_concerned {
                        false => Found::Nothing,
                        true => {
                            let kept = (&mut self.endings, &mut steps);
                            answer(snapshot, known, &workspaces, asking, kept)?
                        }
                    }
                }
            });
        }
        Ok(Round {
            found,
            to: snapshot.head,
            made: word::time(app),
            signer,
        })
    }

    fn workspaces(&mut self, app: &App, known: &Known) -> Rc<Workspaces> {
        if let Some(found) = self.shares.get(&known.share) {
            return found.clone();
        }
        let found = Rc::new(Workspaces::of(app, known));
        self.shares.insert(known.share.clone(), found.clone());
        found
    }
}

/// The steps of one round. Sites that are given the same, and ask from the same event, get the same step.
type Steps = HashMap<(Share, u64), Rc<Built>>;

/// Whether something that was touched may be about keys of these workspaces.
fn concerns(app: &App, given: &Given, touched: &[Touched]) -> bool {
    touched.iter().any(|commit| {
        commit.is_wide
            || commit.keys.iter().any(|(id, before)| {
                let now = app.index.with_key(*id, |key| key.shared.workspace);
                let mut places = before.iter().chain(&now);
                places.any(|uid| given.workspaces.contains(uid))
            })
    })
}

fn answer(
    snapshot: &Snapshot<'_>,
    known: Arc<Known>,
    workspaces: &Workspaces,
    asking: &Asking,
    (endings, steps): (&mut Endings, &mut Steps),
) -> Result<Found> {
    let (question, feed) = (&asking.question, &snapshot.app.feed);
    let is_ours = question.reign == known.server.reign
        && match &*snapshot.history(question.events.number)? {
            History::Known { hash, .. } => *hash == question.events.hash,
            History::Unknown => false,
            History::Unread { event } => {
                feed.note_unread(&known.site.name, *event);
                false
            }
        };
    let (pending, needs_newer) = feed.pending(&known.site.name, question, is_ours);
    let touched = match way(snapshot, &known, workspaces, question)? {
        Way::Fork => return Ok(Found::Fork),
        Way::Pack => return Ok(Found::Pack),
        Way::Step(touched) => {
            let is_due = needs_newer || is_ending(snapshot, &known, question.pack, endings)?;
            let (name, number) = (&known.site.name, known.site.pack);
            let now_ms = snapshot.app.now().steady_ms;
            // Until there is a pack, and while it may have been lost on its way, steps prolong the lease.
            if is_due
                && !feed.is_on_its_way(name, question, number, now_ms)
                && feed.has_prepared(name, question)
            {
                return Ok(Found::Pack);
            }
            touched
        }
    };
    let key = (known.share.clone(), question.events.number);
    let shared = steps.get(&key).filter(|_| pending.is_empty()).cloned();
    let built = match shared {
        Some(built) => built,
        None => {
            let shared = step::Shared {
                given: &workspaces.given,
                above: &workspaces.above,
                is_lent: known.lends_to(question.life),
            };
            let Some(built) = step::build(snapshot, &known, shared, &touched, &pending)? else {
                return Ok(Found::Pack);
            };
            let built = Rc::new(built);
            // What a site may use of a counted key is its own.
            if pending.is_empty() && built.counted.is_empty() {
                steps.insert(key, built.clone());
            }
            built
        }
    };
    match built.bytes.is_empty() && !asking.is_due {
        true => Ok(Found::Nothing),
        false => Ok(Found::Step {
            built,
            extra: pending,
            given: workspaces.given.clone(),
            known,
        }),
    }
}

/// Whether the pack of a site counts for a short time only, by a date at which another one can be made.
fn is_ending(
    snapshot: &Snapshot<'_>,
    known: &Known,
    pack: u64,
    endings: &mut Endings,
) -> Result<bool> {
    let name = &known.site.name;
    let from = match endings.get(name) {
        Some((of, from)) if *of == pack => *from,
        _ => {
            let made = packs::find(snapshot.read, name, pack)?;
            let from = made.map(|made| {
                let whole = made.until.0.saturating_sub(made.made_at.0);
                Timestamp(made.until.0.saturating_sub(whole / PART_OF_TIME))
            });
            endings.insert(name.clone(), (pack, from));
            from
        }
    };
    Ok(from.is_some_and(|from| from < word::time(snapshot.app)))
}

/// A word without a body.
fn said(kind: WordKind, to: Events, made: Timestamp) -> Said<'static> {
    Said {
        kind,
        to,
        made,
        lease_s: 0,
        report: 0,
        body: &[],
        sha256: None,
    }
}

impl Feed {
    fn tree(&self) -> u64 {
        lock(&self.hub).tree
    }

    /// Whether nothing that a round has read in the index is newer than this event.
    fn is_at(&self, number: u64, has_used_keys: bool) -> bool {
        let hub = lock(&self.hub);
        let begun = match has_used_keys {
            true => hub.begun,
            false => hub.begun_tree,
        };
        begun <= number
    }

    /// Notes that the log is damaged where a site needs it.
    fn note_unread(&self, site: &str, event: u64) {
        let mut hub = lock(&self.hub);
        if let Some(link) = hub.links.get_mut(site) {
            link.unread = Some(event);
        }
        if hub.unread.replace(event) != Some(event) {
            log::error!(
                "sites: the audit log cannot be read at event {event}, so sites get packs in the place of steps; see: latchkey audit verify"
            );
        }
    }

    /// Notes the word that answers a question, before it is sent.
    fn says(&self, site: &str, asking: &Asking, to: Events) {
        if let Some(link) = lock(&self.hub).links.get_mut(site) {
            link.chain = Some(asking.said(to));
        }
    }

    /// The keys that a site has to learn about, and whether it needs a newer pack. If the state in its question is of this
    /// server's history, the site has confirmed it.
    fn pending(&self, site: &str, question: &Question, is_ours: bool) -> (BTreeSet<KeyId>, bool) {
        let mut hub = lock(&self.hub);
        if is_ours && !hub.waits.is_empty() {
            self.ending.notify_one();
        }
        let link = hub.links.get_mut(site);
        link.map_or_else(Default::default, |link| {
            if is_ours {
                link.confirm(question);
            }
            (link.pending.clone(), link.needs_newer_than.is_some())
        })
    }

    /// Lets a site know what it was lent.
    pub(super) fn tell(&self, site: &str, keys: &[KeyId]) {
        if keys.is_empty() {
            return;
        }
        let mut hub = lock(&self.hub);
        if let Some(link) = hub.links.get_mut(site) {
            link.tell(keys);
        }
        if let Some(asking) = hub.asking.get_mut(site) {
            asking.hurry();
        }
        drop(hub);
        self.asked.notify_one();
    }

    /// Whether the pack is made that a site is to take next. Otherwise it is being made from now on.
    fn has_prepared(&self, site: &str, question: &Question) -> bool {
        let mut hub = lock(&self.hub);
        if hub.prepared.remove(site) {
            return true;
        }
        hub.preparing.insert(site.to_owned(), question.clone());
        drop(hub);
        self.packing.notify_all();
        false
    }

    /// Hands a question to the thread that makes packs.
    fn needs_pack(&self, name: String, asking: Asking) {
        let mut hub = lock(&self.hub);
        if !hub.is_newest(&name, &asking) {
            drop(hub);
            return refuse_older(asking);
        }
        let older = hub.packing.insert(name, asking);
        drop(hub);
        self.packing.notify_all();
        // It waits for a pack for so long only.
        self.ending.notify_one();
        older.into_iter().for_each(refuse_older);
    }

    /// Grants what a step grants, and signs it.
    fn sign_step(
        &self,
        signer: &Signer,
        name: &str,
        asking: Asking,
        said: Said<'_>,
        extra: BTreeSet<KeyId>,
    ) -> Signed {
        let mut hub = lock(&self.hub);
        if said.to.number < hub.waited {
            return Signed::TooOld(Box::new(Asking {
                is_due: true,
                ..asking
            }));
        }
        let is_newest = hub.is_newest(name, &asking);
        let Some(link) = hub.links.get_mut(name).filter(|_| is_newest) else {
            drop(hub);
            refuse_older(asking);
            return Signed::Nothing;
        };
        // Before the word is sent: from then on the site may answer until then.
        link.grant(asking.asked_ms, said.lease_s);
        link.sent = Some((asking.question.nonce, extra));
        link.chain = Some(asking.said(said.to));
        let report = link.report_of(asking.question.life);
        drop(hub);
        self.figures.words.fetch_add(1, Relaxed);
        if !said.body.is_empty() {
            self.figures.steps.fetch_add(1, Relaxed);
        }
        let said = Said { report, ..said };
        let bytes = word::write(signer, &asking.question, &said);
        Signed::Word(asking.answer, bytes)
    }
}
