//! The versions of a key that is stored in a file. Threads read them without a lock while a rotation replaces them.

use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

/// All versions, the newest last; there is at least one.
pub(super) struct Versions<T>(ArcSwap<Vec<T>>);

impl<T> Versions<T> {
    /// The caller has checked that the list is not empty.
    pub fn new(all: Vec<T>) -> Versions<T> {
        Versions(ArcSwap::from_pointee(all))
    }

    pub fn load(&self) -> Guard<Arc<Vec<T>>> {
        self.0.load()
    }

    /// Takes over the versions of another value.
    pub fn replace(&self, other: Versions<T>) {
        self.0.store(other.0.into_inner());
    }
}

/// The newest version.
pub(super) fn newest<T>(all: &[T]) -> &T {
    // No constructor leaves the list empty.
    &all[all.len() - 1]
}
