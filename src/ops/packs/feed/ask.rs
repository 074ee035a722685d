//! Taking a question in: who asks, what the site reports, and that the database knows how long its answer may count.

use super::heard::Order;
use super::hub::{Asking, refuse_older};
use super::known::{Known, Remembered};
use super::leases;
use super::link::{lease_end_ms, poll_ms};
use super::stopped;
use super::{Answer, Feed, newest};
use crate::domain::locks::{lock, read as read_lock, write as write_lock};
use crate::domain::packs::question::Question;
use crate::domain::packs::site::MAX_STALE_S_MIN;
use crate::domain::packs::site_key::SiteKey;
use crate::domain::packs::step::TOUCHED_MAX;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::packs::given::Given;
use crate::ops::packs::{collect, lend};
use crate::refusals;
use crate::store::site_links::{self, LinkRow};
use crate::store::{Durability, sites};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A question that may be answered.
pub struct Asked {
    question: Question,
    known: Arc<Known>,
    lease_s: u64,
    /// Whether it brought a report, whose number the site wants to know.
    has_report: bool,
}

/// Reads a question and takes in its report. `None` if this needs the database and the caller may not wait.
///
/// # Errors
/// `Malformed` if it is none. `Unauthenticated` if it was not made with the key of a site of this server. `TooMany` if the site has
/// asked too often. `Unavailable` if this node may be behind the database that it shares: it would vouch for what it does not know.
pub fn read(app: &App, body: &str, may_wait: bool) -> Result<Option<Asked>> {
    app.require_known()?;
    let malformed = |why| Error::Malformed(why);
    let name = Question::site_of(body);
    let name = name.ok_or_else(|| malformed(refusals::packs::no_question()))?;
    let (feed, now_ms) = (&app.feed, app.now().steady_ms);
    let found = match feed.known.remembered(name, now_ms) {
        Remembered::Known(known) => Some(known),
        Remembered::Refused(err) => return Err(err),
        Remembered::Stranger => None,
        Remembered::Unread if !may_wait => return Ok(None),
        Remembered::Unread => look_up(app, name)?,
    };
    let is_removed = found.is_none();
    let found = found.or_else(|| feed.removed(name, now_ms));
    let Some(mut known) = found else {
        return Err(of_stranger(body));
    };
    let (question, report) = open(body, &known)?;
    if question.lease_s < MAX_STALE_S_MIN && !question.gives_up() {
        return Err(malformed(refusals::packs::no_question()));
    }
    feed.pace.question(name, now_ms)?;
    if question.gives_up() || is_removed {
        return Ok(Some(Asked {
            has_report: false,
            lease_s: 0,
            question,
            known,
        }));
    }
    let mut lease_s = question.lease_s.min(known.site.max_stale_s);
    // A process of the site that has applied no word yet lacks what steps have brought to the one before.
    let is_new = question.has_applied_none();
    let is_known = !is_new && feed.knows_lease(&known.site.name, lease_s);
    let may_report = !report.is_empty() && feed.may_report(name, now_ms);
    let mut is_other_life = has_new_life(&known, &question);
    if !may_wait && (!is_known || may_report || is_other_life) {
        feed.pace.refund(name, now_ms);
        return Ok(None);
    }
    if !is_known || is_other_life {
        feed.pace.registration(name, now_ms)?;
    }
    if is_other_life {
        feed.pace.new_life(name, now_ms)?;
    }
    if !is_known {
        register(app, &known, &question, lease_s)?;
        known = look_up(app, name)?.ok_or(Error::Unauthenticated)?;
        open(body, &known)?;
        lease_s = question.lease_s.min(known.site.max_stale_s);
        // Another life of the enrolment may have been named meanwhile.
        is_other_life = has_new_life(&known, &question);
    }
    if is_other_life {
        // Before its pack is made, which is the only thing that names the life to the site.
        lend::lend_to_life(app, name, question.life)?;
        known = look_up(app, name)?.ok_or(Error::Unauthenticated)?;
    }
    // One that comes too early is not acknowledged, so it comes again; so is one that names another life too often.
    let names_life = !report.is_empty() && !known.lends_to(question.life);
    let has_report = !report.is_empty()
        && (!names_life || feed.pace.new_life(name, now_ms).is_ok())
        && feed.takes_report(name, now_ms);
    if has_report {
        take_report(app, &known, &question, report)?;
    }
    Ok(Some(Asked {
        has_report,
        question,
        known,
        lease_s,
    }))
}

/// Whether uses are lent to a life that the site had before: its state began again, and has no pack yet.
fn has_new_life(known: &Known, question: &Question) -> bool {
    question.pack == 0 && !known.lends_to(question.life)
}

/// Looks a site up in the database; `None` if there is none of this name.
pub(super) fn look_up(app: &App, name: &str) -> Result<Option<Arc<Known>>> {
    let known = &app.feed.known;
    let generation = known.generation();
    app.read(|read| known.find(app, read, name, generation))
}

/// Why a question of a site that there is not is refused: for the same reason as one that a stranger has made for a site which there
/// is, and after as much work, so that neither reveals which sites there are.
fn of_stranger(body: &str) -> Error {
    match opened(body, &SiteKey::of([0; 32])) {
        Ok(_) => Error::Unauthenticated,
        Err(err) => err,
    }
}

/// Reads a question that was made with the key of a site of this server. Returns its report as well.
fn open<'a>(body: &'a str, known: &Known) -> Result<(Question, &'a str)> {
    let (question, report) = opened(body, &known.key)?;
    let is_ours = question.server == known.server.uid
        && question.origin == known.server.name
        && question.site == known.site.name;
    match is_ours {
        true => Ok((question, report)),
        false => Err(Error::Unauthenticated),
    }
}

/// Reads a question that was made with this key.
fn opened<'a>(body: &'a str, key: &SiteKey) -> Result<(Question, &'a str)> {
    Question::open(body, key).map_err(|why| {
        match why.is_like(&refusals::packs::strange_question()) {
            true => Error::Unauthenticated,
            false => Error::Malformed(why),
        }
    })
}

/// Takes in the report of a site, and lends it what it has spent.
fn take_report(app: &App, known: &Known, question: &Question, report: &str) -> Result<()> {
    let taken = collect::take_linked(app, &known.site, &known.server, &known.key, report)?;
    if taken.life != question.life {
        return Err(Error::Malformed(refusals::packs::strange_report()));
    }
    let feed = &app.feed;
    if let Some(link) = lock(&feed.hub).links.get_mut(&known.site.name) {
        link.report = Some((taken.life, taken.number));
    }
    if !taken.spent.is_empty() {
        let given = Given::of(&known.site, &app.index.directory());
        let got = lend::lend_some(app, &known.site, &given, &taken.spent)?;
        feed.tell(&known.site.name, &got);
    }
    Ok(())
}

/// Records how long the site may be granted to answer, and notes commits from now on.
fn register(app: &App, known: &Known, question: &Question, lease_s: u64) -> Result<()> {
    let feed = &app.feed;
    {
        let mut hub = lock(&feed.hub);
        hub.registering += 1;
        // Before the transaction: it is the first commit that is noted, and those before it are in the index then.
        feed.is_active.store(true, Relaxed);
    }
    let registered = record_first(app, known, question, lease_s);
    let mut hub = lock(&feed.hub);
    hub.registering -= 1;
    // What was read before the first commit that is noted may be old.
    hub.tree += 1;
    drop(hub);
    // A site that begins is looked at again: a change past Latchkey is noted by nothing.
    feed.known.forget_one(&known.site.name);
    registered
}

fn record_first(app: &App, known: &Known, question: &Question, lease_s: u64) -> Result<()> {
    let feed = &app.feed;
    let name = known.site.name.clone();
    let is_new = question.has_applied_none();
    // No row of all links is written meanwhile, which would not know of this lease.
    let _recording = read_lock(&feed.recording);
    feed.leases.raise(lease_s)?;
    let now_ms = app.now().steady_ms;
    let lease_s = {
        let hub = lock(&feed.hub);
        let reach_s = hub.links.get(&name).map(|link| link.reach_s(now_ms));
        lease_s.max(reach_s.unwrap_or(0))
    };
    let row = LinkRow {
        site: name.clone(),
        lease_s,
        asked_at: app.now().wall,
        events: 0,
    };
    let (seal_keys, now) = (app.seal_keys.clone(), app.now().wall);
    let life = (question.life, known.key.is_first(question.life));
    let (report, was_linked) = app.store.write(Durability::Full, move |tx| {
        let site = sites::find(tx, &row.site)?.filter(|site| site.removed_at.is_none());
        let site = site.ok_or(Error::Unauthenticated)?;
        let was_linked = site_links::find(tx, &row.site)?.is_some();
        site_links::raise(tx, &row)?;
        // Before anything is lent to it, and to no other life of the same enrolment.
        lend::name_first_life(tx, &seal_keys, &site, life, now)?;
        Ok((site.reported, was_linked))
    })?;
    let limit = TOUCHED_MAX as u32 / 2 + 1;
    let open = app.read(|read| sites::list_open_lent(read, &name, is_new, limit))?;
    let mut hub = lock(&feed.hub);
    let link = hub.links.entry(name).or_default();
    let is_first = link.asked_ms.is_none();
    if is_first || is_new {
        // What was lent before this process, or that of the site, began may never have arrived, and no event names it.
        match open.len() > TOUCHED_MAX / 2 {
            true => link.needs_newer_than = Some(question.pack),
            false => link.pending.extend(open),
        }
        link.report = report.map(|report| (report.life, report.number));
    }
    if is_first {
        log::info!("sites: {} is linked", known.site.name);
    }
    link.recorded_lease_s = link.recorded_lease_s.max(lease_s);
    link.asked_ms.get_or_insert(now_ms);
    link.is_dropped = false;
    if !was_linked && !is_new {
        // It has a word of which the database does not know, and asked after it had it. No word has granted more than the longest
        // lease, whatever the site wishes.
        link.grant(now_ms, question.lease_s.min(feed.leases.longest_s()));
    }
    Ok(())
}

impl Asked {
    /// Lets the question wait. A question of the same site that waits already gets no other answer than a refusal. One that gives up the
    /// lease of its process waits for nothing: its answer is empty.
    ///
    /// # Errors
    /// `Conflict` if the site has asked a newer one, which came first. `Unavailable` if the server stops.
    pub fn enter(self, app: &App, answer: Answer) -> Result<()> {
        let feed = &app.feed;
        let now_ms = app.now().steady_ms;
        if self.question.gives_up() {
            feed.give_up(&self.question, now_ms)?;
            answer(Ok(Vec::new()));
            return Ok(());
        }
        let mut hub = lock(&feed.hub);
        if hub.is_stopped {
            return Err(Error::Unavailable(refusals::server::stopping()));
        }
        let Asked {
            question,
            known,
            lease_s,
            has_report,
        } = self;
        let name = known.site.name.clone();
        let (newest, reign) = (hub.installed, known.server.reign);
        let is_active = feed.is_active();
        let is_prepared = hub.prepared.contains(&name);
        let (wakes_ms, waited) = (hub.wakes_ms, hub.waited);
        let link = hub.links.get_mut(&name);
        let link = link.filter(|link| is_active && link.asked_ms.is_some());
        // It was idle, or was dropped, since the question was read: the site asks again, and is registered then.
        let link = link.ok_or_else(|| Error::Unavailable(refusals::requests::busy()))?;
        let order = link.heard.order(&question, now_ms);
        // It has the words that the state had which was copied, and may answer by them.
        let is_copy = matches!(order, Order::Copied { .. });
        if is_copy {
            link.note_other();
        }
        let is_other = link.life.is_some_and(|life| life != question.life);
        if (is_copy || is_other) && link.is_copy_news(now_ms) {
            log::warn!("sites: {name} asks with another state than before; is there a copy of it?");
        }
        match order {
            Order::Copied { is_late: false } | Order::Newest => {}
            Order::Copied { is_late: true } | Order::HeldUp | Order::Repeated => {
                return Err(Error::Conflict(refusals::packs::asked_again()));
            }
        }
        let is_lost = link
            .sent
            .as_ref()
            .is_some_and(|(nonce, keys)| *nonce != question.applied && !keys.is_empty());
        // One that asks the same again and again waits, and so does one that has had a step just now.
        let again_ms = match (link.asked_ms, link.asked) {
            (Some(before_ms), Some(_)) if link.asked_events == question.events => {
                before_ms.saturating_add(feed.again_ms.load(Relaxed))
            }
            _ => now_ms,
        };
        let had_step = link.sent.as_ref().map(|(nonce, _)| *nonce) == Some(question.applied);
        let gathers_ms = match had_step {
            true => again_ms.max(feed.gathers_ms(now_ms)),
            false => again_ms,
        };
        // The word before let the site go on for no time.
        let has_no_lease = link
            .chain
            .is_some_and(|said| said.is_first && said.nonce == question.applied);
        if link.settle_pack(&question) {
            feed.figures.packs.fetch_add(1, Relaxed);
        }
        let is_first = link.ask(&question, reign, newest, now_ms);
        let lease_s = lease_s.min(link.recorded_lease_s);
        link.lease_s = lease_s;
        let is_told = has_report || is_first || has_no_lease;
        let is_due = is_told
            || (!link.pending.is_empty() && !is_lost)
            // A change waits for the site.
            || question.events.number < waited;
        // Then only what is committed from now on is news to the site, and the database need not be read.
        let has_all = question.pack > 0
            && (question.reign, question.events) == (reign, newest)
            && link.pending.is_empty()
            && link.needs_newer_than.is_none();
        let is_new = is_due || is_prepared || !has_all;
        let deadline_ms = now_ms.saturating_add(poll_ms(lease_s, feed.poll_ms.load(Relaxed)));
        let asking = Asking {
            ready_ms: if is_due { again_ms } else { gathers_ms },
            hurried_ms: again_ms,
            is_due,
            asked_ms: now_ms,
            deadline_ms: deadline_ms.max(again_ms),
            lease_s: if is_first { 0 } else { lease_s },
            answer,
            is_new,
            question,
        };
        let is_earlier = asking.next_ms() < wakes_ms;
        let older = hub.asking.insert(name.clone(), asking);
        let packing = hub.packing.remove(&name);
        let may_end = !hub.waits.is_empty();
        drop(hub);
        if is_earlier {
            feed.asked.notify_one();
        }
        // The site may have confirmed a change.
        if may_end {
            feed.ending.notify_one();
        }
        older.into_iter().chain(packing).for_each(refuse_older);
        Ok(())
    }
}

impl Feed {
    /// When a question is looked at whose site has had a step just now. It is the same time for all, so that they are looked
    /// at together.
    fn gathers_ms(&self, now_ms: u64) -> u64 {
        let every_ms = self.gather_ms.load(Relaxed);
        match now_ms.checked_div(every_ms) {
            Some(passed) => (passed + 1).saturating_mul(every_ms),
            None => now_ms,
        }
    }

    /// Whether a report of a site would be taken in. One of a site that is not linked yet may be.
    fn may_report(&self, site: &str, now_ms: u64) -> bool {
        let hub = lock(&self.hub);
        let least_ms = self.report_ms.load(Relaxed);
        let link = hub.links.get(site);
        link.is_none_or(|link| link.may_report(now_ms, least_ms))
    }

    /// Whether it is time for a report of a site.
    fn takes_report(&self, site: &str, now_ms: u64) -> bool {
        let mut hub = lock(&self.hub);
        let Some(link) = hub.links.get_mut(site) else {
            return false;
        };
        let least_ms = self.report_ms.load(Relaxed);
        let takes = link.may_report(now_ms, least_ms);
        if takes {
            link.report_ms = Some(now_ms);
        }
        takes
    }

    /// Whether commits are noted, and the database knows that the site may answer for so long.
    fn knows_lease(&self, site: &str, lease_s: u64) -> bool {
        let hub = lock(&self.hub);
        let link = hub.links.get(site);
        self.is_active()
            && link.is_some_and(|link| link.asked_ms.is_some() && link.recorded_lease_s >= lease_s)
    }
}

/// Begins with the links that the last process of this server had: for so long their sites may go on to answer.
pub fn begin(app: &App) -> Result<()> {
    let now_ms = app.now().steady_ms;
    app.feed.begins_at(now_ms);
    app.feed.leases.begin(app.store.path());
    let kept = stopped::take(app.store.path());
    let (rows, head) = app.read(|read| Ok((site_links::list(read)?, newest(read)?)))?;
    let replaced = leases::since_replaced(app)?;
    if rows.is_empty() && replaced.is_none() {
        return Ok(());
    }
    let mut hub = lock(&app.feed.hub);
    hub.installed = head;
    hub.begun = head.number;
    for row in rows {
        let kept = kept.iter().find(|kept| kept.row == row);
        let link = hub.links.entry(row.site).or_default();
        link.recorded_lease_s = row.lease_s;
        link.lease_end_ms = lease_end_ms(now_ms, row.lease_s);
        match kept {
            Some(kept) => kept.put_back(link, now_ms),
            // The machine that asks first may not be the one that has the newest word.
            None => link.note_other(),
        }
    }
    if let Some(replaced) = replaced {
        let until_ms = now_ms.saturating_add(replaced.left_ms);
        let unknown = leases::UNKNOWN.to_owned();
        for name in replaced.sites.into_iter().chain([unknown]) {
            let link = hub.links.entry(name).or_default();
            link.lease_end_ms = link.lease_end_ms.max(until_ms);
            link.note_other();
        }
    }
    app.feed.is_active.store(true, Relaxed);
    Ok(())
}

/// Records when each site asked, and what it had applied then, for a start after this one.
pub fn record_all(app: &App) -> Result<()> {
    let _recording = write_lock(&app.feed.recording);
    let (now, now_ms) = (app.now().wall, app.now().steady_ms);
    let since_start_ms = app.feed.since_start_ms(now_ms);
    if let Err(err) = app.feed.leases.settle(since_start_ms) {
        log::warn!("sites: {err}");
    }
    let rows: Vec<LinkRow> = {
        let mut hub = lock(&app.feed.hub);
        let asked = hub.links.iter_mut().filter_map(|(name, link)| {
            let ago_ms = now_ms.saturating_sub(link.asked_ms?);
            // Before the row is written: no word grants more from here on.
            link.recorded_lease_s = link.reach_s(now_ms);
            Some(LinkRow {
                site: name.clone(),
                lease_s: link.recorded_lease_s,
                asked_at: Timestamp(now.0.saturating_sub(ago_ms as i64)),
                events: link.applied.number,
            })
        });
        asked.collect()
    };
    if rows.is_empty() {
        return Ok(());
    }
    app.store.write(Durability::Relaxed, move |tx| {
        rows.iter().try_for_each(|row| site_links::put(tx, row))
    })
}
