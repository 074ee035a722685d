//! The thread that lends uses of counted keys to linked sites: writing to the disk holds up no answer.

use super::Feed;
use super::known::Known;
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::ops::App;
use crate::ops::packs::given::Given;
use crate::ops::packs::lend;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

/// Keys of which a site may lack uses.
pub struct Lacking {
    pub known: Arc<Known>,
    pub given: Arc<Given>,
    pub keys: Vec<KeyId>,
}

/// Runs until the server stops.
pub fn run(app: &App) {
    while let Some(all) = app.feed.next_lacking() {
        for one in all {
            if catch_unwind(AssertUnwindSafe(|| serve(app, &one))).is_err() {
                log::error!("sites: uses were not lent after a panic; see the log");
            }
        }
    }
}

fn serve(app: &App, one: &Lacking) {
    let site = &one.known.site;
    match lend::lend_some(app, site, &one.given, &one.keys) {
        Ok(got) => app.feed.tell(&site.name, &got),
        Err(err) => log::warn!("sites: uses were not lent: {err}"),
    }
}

impl Feed {
    /// Lends a site uses of these keys soon.
    pub fn lacks(&self, all: Vec<Lacking>) {
        if all.is_empty() {
            return;
        }
        lock(&self.hub).lacking.extend(all);
        self.packing.notify_all();
    }

    /// Waits for sites that lack uses; `None` when the server stops.
    fn next_lacking(&self) -> Option<Vec<Lacking>> {
        let hub = lock(&self.hub);
        let idles = |hub: &mut super::Hub| hub.lacking.is_empty() && !hub.is_stopped;
        let hub = self.packing.wait_while(hub, idles);
        let mut hub = hub.unwrap_or_else(PoisonError::into_inner);
        match hub.is_stopped {
            true => None,
            false => Some(std::mem::take(&mut hub.lacking)),
        }
    }
}
