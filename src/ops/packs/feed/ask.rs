//! Taking a question in: who asks, what the site reports, and that the database knows how long its answer may count.

use super::known::Known;
use super::link::{lease_end_ms, poll_ms};
use super::{Answer, Asking, Feed, newest, refuse_older};
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::packs::question::{Nonce, Question};
use crate::domain::packs::step::TOUCHED_MAX;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::packs::given::Given;
use crate::ops::packs::{collect, lend};
use crate::refusals;
use crate::store::site_links::{self, LinkRow};
use crate::store::{Durability, sites};
use std::collections::BTreeSet;
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
    let known = match app.feed.known.remembered(name) {
        Some(known) => known,
        None if !may_wait => return Ok(None),
        None => {
            let generation = app.feed.known.generation();
            let found = app.read(|read| app.feed.known.find(app, read, name, generation))?;
            found.ok_or(Error::Unauthenticated)?
        }
    };
    let (question, report) = Question::open(body, &known.key).map_err(|why| {
        match why.is_like(&refusals::packs::strange_question()) {
            true => Error::Unauthenticated,
            false => malformed(why),
        }
    })?;
    let is_ours = question.server == known.server.uid
        && question.origin == known.server.name
        && question.site == known.site.name;
    if !is_ours {
        return Err(Error::Unauthenticated);
    }
    let lease_s = question.lease_s.min(known.site.max_stale_s);
    // A process of the site that has applied no word yet lacks what steps have brought to the one before.
    let is_new = question.applied == Nonce::default();
    let is_known = !is_new && app.feed.knows_lease(&known.site.name, lease_s);
    if !may_wait && (!is_known || !report.is_empty()) {
        return Ok(None);
    }
    if !is_known {
        register(app, &known, &question, lease_s)?;
    }
    if !report.is_empty() {
        take_report(app, &known, &question, report)?;
    }
    Ok(Some(Asked {
        has_report: !report.is_empty(),
        question,
        known,
        lease_s,
    }))
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
    lock(&feed.hub).registering -= 1;
    registered
}

fn record_first(app: &App, known: &Known, question: &Question, lease_s: u64) -> Result<()> {
    let feed = &app.feed;
    let name = known.site.name.clone();
    let (lease_s, now_ms) = {
        let now_ms = app.now().steady_ms;
        let hub = lock(&feed.hub);
        let reach_s = hub.links.get(&name).map(|link| link.reach_s(now_ms));
        (lease_s.max(reach_s.unwrap_or(0)), now_ms)
    };
    let row = LinkRow {
        site: name.clone(),
        lease_s,
        asked_at: app.now().wall,
        events: question.events.number,
    };
    let (lent, report) = app.store.write(Durability::Full, move |tx| {
        site_links::put(tx, &row)?;
        let lent = sites::list_lent(tx, &row.site)?;
        let report = sites::find(tx, &row.site)?.and_then(|site| site.reported);
        Ok((lent, report))
    })?;
    let mut hub = lock(&feed.hub);
    let is_new = question.applied == Nonce::default();
    let link = hub.links.entry(name).or_default();
    let is_first = link.asked_ms.is_none();
    if is_first || is_new {
        // What was lent before this process, or that of the site, began may never have arrived, and no event names it.
        let open = lent.iter();
        let open = open.filter(|(_, lent)| lent.lent > lent.spent || (is_new && lent.lent > 0));
        let open: BTreeSet<KeyId> = open.map(|(id, _)| *id).collect();
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
        let link = hub.links.entry(name.clone()).or_default();
        let is_lost = link
            .sent
            .as_ref()
            .is_some_and(|(nonce, keys)| *nonce != question.applied && !keys.is_empty());
        link.ask(&question, known.server.reign, now_ms);
        let lease_s = lease_s.min(link.recorded_lease_s);
        link.lease_s = lease_s;
        let asking = Asking {
            is_due: has_report || (!link.pending.is_empty() && !is_lost),
            asked_ms: now_ms,
            deadline_ms: now_ms.saturating_add(poll_ms(lease_s, feed.poll_ms.load(Relaxed))),
            lease_s,
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
    let (rows, head) = app.read(|read| Ok((site_links::list(read)?, newest(read)?)))?;
    if rows.is_empty() {
        return Ok(());
    }
    let now_ms = app.now().steady_ms;
    let mut hub = lock(&app.feed.hub);
    hub.installed = head;
    for row in rows {
        let link = hub.links.entry(row.site).or_default();
        link.recorded_lease_s = row.lease_s;
        link.lease_end_ms = lease_end_ms(now_ms, row.lease_s);
    }
    app.feed.is_active.store(true, Relaxed);
    Ok(())
}

/// Records when each site asked, and what it had applied then, for a start after this one.
pub fn record_all(app: &App) -> Result<()> {
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
