//! What a transaction has noted at some point, and which of the things that it has changed its events have to name.

use super::{ChainEnd, Read, Write};
use crate::domain::audit::Target;

/// What a transaction had noted at some point; see [`Write::cut`].
pub struct Noted {
    pub(super) judged: usize,
    pub(super) touched: usize,
    pub(super) after: usize,
    pub(super) tombstones: usize,
    pub(super) chain_end: Option<ChainEnd>,
}

impl Read {
    /// What the transaction has changed since a mark and what an event has to name.
    pub(in crate::store) fn touched_since(&self, mark: &Noted) -> Vec<Target> {
        let (touched, light) = (self.touched.borrow(), self.light.borrow());
        let since = touched.iter().enumerate().skip(mark.touched);
        // The positions are in ascending order.
        let named = since.filter(|(at, _)| light.binary_search(at).is_err());
        named.map(|(_, target)| target.clone()).collect()
    }
}

impl Write<'_> {
    /// As [`Write::touch`], for changes on which no decision and no other index depends, such as the place in a file where a
    /// key is declared. No event needs to name the target.
    pub fn touch_lightly(&self, target: Target) {
        let at = self.read.touched.borrow().len();
        self.read.light.borrow_mut().push(at);
        self.touch(target);
    }
}
