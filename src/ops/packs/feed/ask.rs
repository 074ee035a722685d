//! Taking a question in: who asks, what the site reports, and that the database knows how long its answer may count.

use super::known::Known;
use super::leases;
use super::link::{lease_end_ms, poll_ms};
use super::{Answer, Asking, Feed, newest, refuse_older};
use crate::domain::locks::{lock, read as read_lock, write as write_lock};
use crate::domain::packs::question::Question;
use crate::domain::packs::site::MAX_STALE_S_MIN;
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
/// `Malformed` if it is none. `Unauthenticated` if it was not made with the key of a site of this server.
pub fn read(app: &App, body: &str, may_wait: bool) -> Result<Option<Asked>> {
    let malformed = |why| Error::Malformed(why);
    let name = Question::site_of(body);
    let name = name.ok_or_else(|| malformed(refusals::packs::no_question()))?;
    // While no site is linked, changes of sites are not noted.
    let remembered = match app.feed.is_active() {
        true => app.feed.known.remembered(name),
        false => None,
    };
    let mut known = match remembered {
        Some(known) => known,
        None if !may_wait => return Ok(None),
        None => look_up(app, name)?,
    };
    let (question, report) = open(body, &known)?;
    if question.lease_s < MAX_STALE_S_MIN {
        return Err(malformed(refusals::packs::no_question()));
    }
    let mut lease_s = question.lease_s.min(known.site.max_stale_s);
    // A process of the site that has applied no word yet lacks what steps have brought to the one before.
    let is_new = question.has_applied_none();
    let is_known = !is_new && app.feed.knows_lease(&known.site.name, lease_s);
    if !may_wait && (!is_known || !report.is_empty()) {
        return Ok(None);
    }
    if !is_known {
        register(app, &known, &question, lease_s)?;
        // From here on changes are noted, and what was known before may be of an earlier time.
        known = look_up(app, name)?;
        open(body, &known)?;
        lease_s = question.lease_s.min(known.site.max_stale_s);
    }
    if has_new_life(&known, &question) {
        if !may_wait {
            return Ok(None);
        }
        // Before its pack is made, which is the only thing that names the life to the site.
        lend::lend_to_life(app, name, question.life)?;
        known = look_up(app, name)?;
    }
    // One that comes too early is not acknowledged, so it comes again.
    let has_report = !report.is_empty() && app.feed.takes_report(name, app.now().steady_ms);
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
    let is_other = |life| life != question.life;
    question.pack == 0 && known.site.lent_life.is_some_and(is_other)
}

/// Looks a site up in the database.
fn look_up(app: &App, name: &str) -> Result<Arc<Known>> {
    let known = &app.feed.known;
    if !app.feed.is_active() {
        known.forget();
    }
    let generation = known.generation();
    let found = app.read(|read| known.find(app, read, name, generation))?;
    found.ok_or(Error::Unauthenticated)
}

/// Reads a question that was made with the key of a site of this server. Returns its report as well.
fn open<'a>(body: &'a str, known: &Known) -> Result<(Question, &'a str)> {
    let opened = Question::open(body, &known.key);
    let (question, report) =
        opened.map_err(
            |why| match why.is_like(&refusals::packs::strange_question()) {
                true => Error::Unauthenticated,
                false => Error::Malformed(why),
            },
        )?;
    let is_ours = question.server == known.server.uid
        && question.origin == known.server.name
        && question.site == known.site.name;
    match is_ours {
        true => Ok((question, report)),
        false => Err(Error::Unauthenticated),
    }
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
    feed.forget(&mut hub);
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
    let report = app.store.write(Durability::Full, move |tx| {
        let site = sites::find(tx, &row.site)?.filter(|site| site.removed_at.is_none());
        let site = site.ok_or(Error::Unauthenticated)?;
        site_links::raise(tx, &row)?;
        Ok(site.reported)
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
    Ok(())
}

impl Asked {
    /// Lets the question wait. A question of the same site that waits already gets no other answer than a refusal.
    ///
    /// # Errors
    /// `Unavailable` if the server stops.
    pub fn enter(self, app: &App, answer: Answer) -> Result<()> {
        let feed = &app.feed;
        let now_ms = app.now().steady_ms;
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
        let newest = hub.installed;
        let is_active = feed.is_active();
        let link = hub.links.get_mut(&name).filter(|_| is_active);
        // It was idle since the question was read: the site asks again, and is registered then.
        let link = link.ok_or_else(|| Error::Unavailable(refusals::requests::busy()))?;
        if link.life.is_some_and(|life| life != question.life) {
            log::warn!("sites: {name} asks with another state than before; is there a copy of it?");
        }
        let is_lost = link
            .sent
            .as_ref()
            .is_some_and(|(nonce, keys)| *nonce != question.applied && !keys.is_empty());
        // A site that has taken something new is looked at at once; one that asks the same again and again is not.
        let ready_ms = match (link.asked_ms, link.asked) {
            (Some(before_ms), Some(_)) if link.asked_events == question.events => {
                before_ms.saturating_add(feed.again_ms.load(Relaxed))
            }
            _ => now_ms,
        };
        let is_first = link.ask(&question, known.server.reign, newest, now_ms);
        let lease_s = lease_s.min(link.recorded_lease_s);
        link.lease_s = lease_s;
        let asking = Asking {
            ready_ms,
            is_due: has_report || is_first || (!link.pending.is_empty() && !is_lost),
            asked_ms: now_ms,
            deadline_ms: now_ms.saturating_add(poll_ms(lease_s, feed.poll_ms.load(Relaxed))),
            lease_s: if is_first { 0 } else { lease_s },
            answer,
            is_new: true,
            question,
        };
        let older = hub.asking.insert(name.clone(), asking);
        let packing = hub.packing.remove(&name);
        drop(hub);
        feed.changed.notify_all();
        older.into_iter().chain(packing).for_each(refuse_older);
        Ok(())
    }
}

impl Feed {
    /// Whether it is time for a report of a site.
    fn takes_report(&self, site: &str, now_ms: u64) -> bool {
        let mut hub = lock(&self.hub);
        let Some(link) = hub.links.get_mut(site) else {
            return false;
        };
        let least_ms = self.report_ms.load(Relaxed);
        let is_early = |at: u64| now_ms.saturating_sub(at) < least_ms;
        if link.report_ms.is_some_and(is_early) {
            return false;
        }
        link.report_ms = Some(now_ms);
        true
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
    app.feed.leases.begin(app.store.path());
    let (rows, head) = app.read(|read| Ok((site_links::list(read)?, newest(read)?)))?;
    let replaced = leases::since_replaced(app)?;
    if rows.is_empty() && replaced.is_none() {
        return Ok(());
    }
    let now_ms = app.now().steady_ms;
    let mut hub = lock(&app.feed.hub);
    hub.installed = head;
    hub.begun = head.number;
    for row in rows {
        let link = hub.links.entry(row.site).or_default();
        link.recorded_lease_s = row.lease_s;
        link.lease_end_ms = lease_end_ms(now_ms, row.lease_s);
    }
    if let Some(replaced) = replaced {
        let until_ms = now_ms.saturating_add(replaced.left_ms);
        let unknown = leases::UNKNOWN.to_owned();
        for name in replaced.sites.into_iter().chain([unknown]) {
            let link = hub.links.entry(name).or_default();
            link.lease_end_ms = link.lease_end_ms.max(until_ms);
        }
    }
    app.feed.is_active.store(true, Relaxed);
    Ok(())
}

/// Records when each site asked, and what it had applied then, for a start after this one.
pub fn record_all(app: &App) -> Result<()> {
    let _recording = write_lock(&app.feed.recording);
    let (now, now_ms) = (app.now().wall, app.now().steady_ms);
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
