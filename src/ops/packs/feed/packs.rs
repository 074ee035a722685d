//! The thread that sends packs to sites which cannot follow in steps. A pack is made only if the newest one does not serve; one
//! pass over the keys makes those of all sites that wait.

use super::known::{Known, Workspaces};
use super::snapshot::Snapshot;
use super::ways::{Way, is_outdated, way_from};
use super::word::{self, Said};
use super::{Asking, Feed, Hub};
use crate::authz::caller::Caller;
use crate::domain::locks::lock;
use crate::domain::packs::file;
use crate::domain::packs::head::Head;
use crate::domain::packs::question::{Events, Question};
use crate::domain::packs::site::{MadePack, file_name};
use crate::domain::packs::word::{WordKind, write_packs};
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::packs::identity::signer;
use crate::ops::packs::make::{Wanted, make, read_file};
use crate::refusals;
use crate::store::{Read, packs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

/// How often the same pack arrives at a site that goes on asking for one.
const TIMES_MAX: u32 = 2;

/// The number of packs that are made for a site without a pause.
const PACKS_AT_ONCE: u64 = 5;

/// The number of packs that are made for a site within its lease, if it has to have each of them.
const PACKS_A_LEASE: u64 = 4;

/// A site that waits for a pack, and its question.
type Waiting = (String, Question);

/// What becomes of the newest pack of a site.
enum Newest {
    Serves(Bundle),
    /// The site needs another one. `is_outdated`: because of what has happened here since it was made.
    Unfit {
        is_outdated: bool,
    },
}

/// What is done for a site that waits.
enum Sent {
    /// Its question is answered.
    Answered,
    /// See [`Newest::Unfit`].
    Unfit { is_outdated: bool },
}

/// What a site is sent.
struct Bundle {
    number: u64,
    to: Events,
    files: Vec<Vec<u8>>,
}

/// Runs until the server stops.
pub fn run(app: &App) {
    while let Some((waiting, preparing)) = app.feed.next_packing() {
        let round = AssertUnwindSafe(|| {
            serve(app, &waiting);
            prepare(app, &preparing);
        });
        if catch_unwind(round).is_err() {
            log::error!("sites: packs were not sent after a panic; see the log");
            let err = being_made();
            waiting.iter().for_each(|one| app.feed.refuse(one, &err));
        }
    }
}

/// Sends packs to sites, and makes those that are missing.
fn serve(app: &App, waiting: &[Waiting]) {
    let mut rest = Vec::new();
    for one in waiting {
        let Sent::Unfit { is_outdated } = send_or_refuse(app, one) else {
            continue;
        };
        match app.feed.may_make(&one.0, is_outdated, app.now().steady_ms) {
            true => rest.push(one),
            false => {
                let later = Error::Unavailable(refusals::packs::made_often());
                app.feed.refuse(one, &later);
            }
        }
    }
    if rest.is_empty() {
        return;
    }
    let made = make_all(app, &rest);
    for one in rest {
        match &made {
            Ok(()) => {
                if matches!(send_or_refuse(app, one), Sent::Unfit { .. }) {
                    app.feed.refuse(one, &being_made());
                }
            }
            Err(err) => app.feed.refuse(one, err),
        }
    }
}

/// Makes packs for sites that follow in steps meanwhile.
fn prepare(app: &App, all: &[Waiting]) {
    let is_ready = |(name, question): &Waiting| {
        let generation = app.feed.known.generation();
        let found = app.read(|read| {
            let known = app.feed.known.find(app, read, name, generation)?;
            let newest = known.map(|known| newest(app, read, &known, question));
            Ok(matches!(newest.transpose()?, Some(Newest::Serves(_))))
        });
        found.unwrap_or(false)
    };
    let (ready, open): (Vec<&Waiting>, Vec<&Waiting>) = all.iter().partition(|one| is_ready(one));
    app.feed.prepared(&ready);
    let now_ms = app.now().steady_ms;
    let may_make = |(name, _): &&Waiting| app.feed.may_make(name, false, now_ms);
    let open: Vec<&Waiting> = open.into_iter().filter(may_make).collect();
    if open.is_empty() {
        return;
    }
    match make_all(app, &open) {
        Ok(()) => app.feed.prepared(&open),
        Err(err) => log::warn!("sites: packs were not made: {err}"),
    }
}

fn make_all(app: &App, waiting: &[&Waiting]) -> Result<()> {
    let caller = Caller::system(&app.index.directory())?;
    let (again, first): (Vec<&Waiting>, Vec<&Waiting>) = waiting
        .iter()
        .copied()
        .partition(|(name, _)| app.feed.was_sent_too_often(name));
    for (sites, whole) in [(first, false), (again, true)] {
        let names: Vec<String> = sites.iter().map(|(name, _)| name.clone()).collect();
        if !names.is_empty() {
            let wanted = Wanted {
                sites: Some(names),
                whole,
            };
            make(app, &caller, wanted)?;
        }
    }
    Ok(())
}

/// Sends the newest pack, if it serves.
fn send_or_refuse(app: &App, waiting: &Waiting) -> Sent {
    send(app, waiting).unwrap_or_else(|err| {
        log::warn!("sites: {} was sent no pack: {err}", waiting.0);
        app.feed.refuse(waiting, &err);
        Sent::Answered
    })
}

fn being_made() -> Error {
    Error::Unavailable(refusals::packs::being_made())
}

fn send(app: &App, waiting: &Waiting) -> Result<Sent> {
    let (name, question) = waiting;
    let generation = app.feed.known.generation();
    let (newest, signer) = app.read(|read| {
        let Some(known) = app.feed.known.find(app, read, name, generation)? else {
            return Err(Error::Unauthenticated);
        };
        let newest = newest(app, read, &known, question)?;
        Ok((newest, signer(read, &app.sealing)?))
    })?;
    let bundle = match newest {
        Newest::Serves(bundle) => bundle,
        Newest::Unfit { is_outdated } => return Ok(Sent::Unfit { is_outdated }),
    };
    let now_ms = app.now().steady_ms;
    let feed = &app.feed;
    if feed.is_on_its_way(name, question, bundle.number, now_ms) {
        feed.refuse(waiting, &being_made());
        return Ok(Sent::Answered);
    }
    let Some((asking, report)) = app.feed.take_packing(name, question, &bundle, now_ms) else {
        return Ok(Sent::Answered);
    };
    let body = write_packs(&bundle.files);
    drop(bundle.files);
    let said = Said {
        kind: WordKind::Pack,
        to: bundle.to,
        made: word::time(app),
        lease_s: 0,
        report,
        body: &body,
        sha256: None,
    };
    let bytes = word::write(&signer, question, &said);
    drop(body);
    app.feed.figures.words.fetch_add(1, Relaxed);
    (asking.answer)(Ok(bytes));
    Ok(Sent::Answered)
}

/// The newest pack of a site, and whether it serves.
fn newest(app: &App, read: &Read, known: &Known, question: &Question) -> Result<Newest> {
    let unfit = |is_outdated| Ok(Newest::Unfit { is_outdated });
    let Some(made) = packs::find(read, &known.site.name, known.site.pack)? else {
        return unfit(false);
    };
    let Some(snapshot) = Snapshot::begin(app, read)? else {
        return unfit(false);
    };
    let workspaces = Workspaces::of(app, known);
    if is_outdated(&snapshot, known, &workspaces, &made)? {
        return unfit(true);
    }
    let bundle = bundle(&snapshot, known, (&workspaces, &made), question)?;
    Ok(bundle.map_or(Newest::Unfit { is_outdated: false }, Newest::Serves))
}

/// A pack of a site, with its whole one if the site does not have that; `None` if it does not serve: the site has it
/// already, or knows more, or could not follow in steps from there.
fn bundle(
    snapshot: &Snapshot<'_>,
    known: &Known,
    (workspaces, made): (&Workspaces, &MadePack),
    question: &Question,
) -> Result<Option<Bundle>> {
    let (app, name) = (snapshot.app, &known.site.name);
    let is_same_reign = question.reign == known.server.reign;
    let is_newer =
        !is_same_reign || (made.number > question.pack && made.events >= question.events.number);
    if !is_newer || app.feed.was_sent(name, made.number) {
        return Ok(None);
    }
    let Some((file, head)) = file_of(app, known, made, made.file_name()) else {
        return Ok(None);
    };
    let half_ms = (made.until.0 - made.made_at.0) / 2;
    if head.events != made.events || made.until.0 - snapshot.now.0 < half_ms {
        return Ok(None);
    }
    // A site that begins takes its uses from its first pack, which names the life that they are lent to.
    let lends = known.site.lent_life.is_none() || head.lent == known.site.lent_life;
    if question.pack == 0 && !lends {
        return Ok(None);
    }
    let to = Events {
        number: head.events,
        hash: head.events_hash,
    };
    if !matches!(way_from(snapshot, known, workspaces, to)?, Way::Step(_)) {
        return Ok(None);
    }
    let mut files = Vec::new();
    let has_base = is_same_reign && question.base == made.base;
    if made.base != 0 && !has_base {
        let Some((base, _)) = file_of(app, known, made, file_name(made.base, 0)) else {
            return Ok(None);
        };
        files.push(base);
    }
    files.push(file);
    Ok(Some(Bundle {
        number: made.number,
        to,
        files,
    }))
}

/// A file in the folder of the packs of a site, if it is of this reign.
fn file_of(app: &App, known: &Known, made: &MadePack, name: String) -> Option<(Vec<u8>, Head)> {
    let path: PathBuf = app.packs_of(&made.site).join(name);
    let bytes = read_file(&path)?;
    let head = file::head_of(&bytes).ok()?;
    (head.reign == known.server.reign).then_some((bytes, head))
}

impl Hub {
    /// Takes a question that waits for a pack; `None` if it waits no longer.
    fn take_packing(&mut self, name: &str, question: &Question) -> Option<Asking> {
        let found = self.packing.get(name)?;
        match found.question.nonce == question.nonce {
            true => self.packing.remove(name),
            false => None,
        }
    }
}

impl Feed {
    /// Waits for sites that need packs, now or soon; `None` when the server stops.
    fn next_packing(&self) -> Option<(Vec<Waiting>, Vec<Waiting>)> {
        let hub = lock(&self.hub);
        let idles =
            |hub: &mut Hub| hub.packing.is_empty() && hub.preparing.is_empty() && !hub.is_stopped;
        let hub = self.packing.wait_while(hub, idles);
        let mut hub = hub.unwrap_or_else(PoisonError::into_inner);
        if hub.is_stopped {
            return None;
        }
        let waiting = hub.packing.iter();
        let waiting = waiting.map(|(name, asking)| (name.clone(), asking.question.clone()));
        let waiting = waiting.collect();
        Some((waiting, hub.preparing.drain().collect()))
    }

    /// Notes that packs are made which their sites take next.
    fn prepared(&self, all: &[&Waiting]) {
        let names = all.iter().map(|(name, _)| name.clone());
        lock(&self.hub).prepared.extend(names);
    }

    /// Takes a question that waits for a pack, and the newest report of the site; `None` if it waits no longer.
    fn take_packing(
        &self,
        name: &str,
        question: &Question,
        bundle: &Bundle,
        now_ms: u64,
    ) -> Option<(Asking, u64)> {
        let mut hub = lock(&self.hub);
        let asking = hub.take_packing(name, question)?;
        let link = hub.links.get_mut(name)?;
        link.send_pack(question, bundle.number, now_ms);
        link.chain = Some(asking.said(bundle.to));
        Some((asking, link.report_of(question.life)))
    }

    /// Whether a new pack may be made for a site now: a few at once, and then one a minute. If what has happened at this server is the
    /// cause (`is_outdated`), the site cannot go on without one, and gets several within its lease.
    pub(super) fn may_make(&self, name: &str, is_outdated: bool, now_ms: u64) -> bool {
        let mut hub = lock(&self.hub);
        let mut every_ms = self.pack_ms.load(Relaxed);
        let Some(link) = hub.links.get_mut(name) else {
            return false;
        };
        let until_ms = match is_outdated {
            true => {
                every_ms = every_ms.min(link.lease_s.saturating_mul(1_000) / PACKS_A_LEASE);
                &mut link.outdated_until_ms
            }
            false => &mut link.packs_until_ms,
        };
        let from_ms = (*until_ms).max(now_ms);
        if from_ms - now_ms > every_ms * (PACKS_AT_ONCE - 1) {
            return false;
        }
        *until_ms = from_ms + every_ms;
        true
    }

    /// Whether a pack was sent to the site just now, and may still arrive.
    pub(super) fn is_on_its_way(
        &self,
        name: &str,
        question: &Question,
        number: u64,
        now_ms: u64,
    ) -> bool {
        let hub = lock(&self.hub);
        let times = (now_ms, self.resend_ms.load(Relaxed));
        let link = hub.links.get(name);
        link.is_some_and(|link| link.is_on_its_way(question.life, number, times))
    }

    /// Whether a pack has arrived so often that it is of no use to the site.
    fn was_sent(&self, name: &str, number: u64) -> bool {
        let hub = lock(&self.hub);
        hub.links
            .get(name)
            .is_some_and(|link| link.pack_useless.0 == number && link.pack_useless.1 >= TIMES_MAX)
    }

    /// Whether the newest pack that has arrived was of no use.
    fn was_sent_too_often(&self, name: &str) -> bool {
        let hub = lock(&self.hub);
        let link = hub.links.get(name);
        link.is_some_and(|link| link.pack_useless.1 >= TIMES_MAX)
    }

    fn refuse(&self, (name, question): &Waiting, err: &Error) {
        let asking = lock(&self.hub).take_packing(name, question);
        if let Some(asking) = asking {
            let err = match err {
                Error::Unauthenticated => Error::Unauthenticated,
                other => Error::Unavailable(other.refusal()),
            };
            (asking.answer)(Err(err));
        }
    }
}
