//! Locks that ignore poisoning: a panic under one of them ends its own request and nothing else.
//!
//! They are suitable for data that is consistent after every step of a change. This is true for everything that this
//! server protects with a lock.

use crossbeam_utils::sync::ShardedLockReadGuard;
pub use crossbeam_utils::sync::{ShardedLock, ShardedLockWriteGuard};
use std::cell::Cell;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn read<T: ?Sized>(shared: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    shared.read().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// How many guards of sharded locks this thread has. Counted in debug builds only.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// The right to read what a sharded lock protects.
pub struct SharedGuard<'a, T: ?Sized>(ShardedLockReadGuard<'a, T>);

impl<T: ?Sized> Deref for SharedGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> Drop for SharedGuard<'_, T> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            HELD.set(HELD.get() - 1);
        }
    }
}

pub fn read_sharded<T: ?Sized>(shared: &ShardedLock<T>) -> SharedGuard<'_, T> {
    if cfg!(debug_assertions) {
        HELD.set(HELD.get() + 1);
    }
    SharedGuard(shared.read().unwrap_or_else(PoisonError::into_inner))
}

/// Whether this thread reads what a sharded lock protects. Then it must not wait for a thread that may replace that: both would wait
/// for ever. Release builds do not count, and the answer is always no.
pub fn holds_shared() -> bool {
    HELD.get() > 0
}

pub fn write_sharded<T: ?Sized>(shared: &ShardedLock<T>) -> ShardedLockWriteGuard<'_, T> {
    shared.write().unwrap_or_else(PoisonError::into_inner)
}

pub fn write<T: ?Sized>(shared: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    shared.write().unwrap_or_else(PoisonError::into_inner)
}
