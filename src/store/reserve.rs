//! Disk space that is reserved for changes that only take something away.
//!
//! A file in the data folder holds the space. If the disk is full, the file is emptied before such a change, so that
//! even the first one finds space; afterwards the file is filled again. All other changes are refused until the file
//! is full.

use crate::error::{Error, Result};
use crate::files::private;
use crate::refusals;
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use crate::domain::locks::lock;

/// The largest size of the reserve. A change that disables or deletes one thing writes less than a tenth of it.
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The smallest size of the reserve; a smaller one would be useless.
const BYTES_MIN: u64 = 256 * 1024;
/// On small disks the reserve is this fraction of the space that is free at the start.
const PART_OF_FREE: u64 = 4;
/// With less free space than this, the reserve is released before a change that takes something away, and the server
/// reports that changes cannot be saved.
const FREE_BYTES_MIN: u64 = 1024 * 1024;

/// The reserve of a store; `None` before [`Reserve::keep`].
#[derive(Default)]
pub struct Reserve(Mutex<Option<ReserveState>>);

struct ReserveState {
    file: File,
    /// The size of the full file; 0 if the file system cannot allocate space for a file.
    bytes: u64,
    is_held: bool,
    /// Whether a change has failed for lack of space and no change without the reserve has succeeded since. The file
    /// system can report free space even so, for example under a quota.
    has_failed: bool,
}

impl Reserve {
    /// Starts to reserve space in this file, as much as the disk allows.
    pub fn keep(&self, path: &Path) -> Result<()> {
        let unusable = |err: std::io::Error| {
            Error::Unavailable(refusals::server::file_unwritable(path.display(), err))
        };
        let file = private::open(path).map_err(unusable)?;
        let there = file.metadata().map_err(unusable)?.len().min(BYTES_MAX);
        let free = free_bytes(&file).unwrap_or(BYTES_MAX * PART_OF_FREE);
        let wanted = (free.saturating_add(there) / PART_OF_FREE).clamp(BYTES_MIN, BYTES_MAX);
        let mut kept = ReserveState {
            file,
            bytes: wanted.max(there),
            is_held: false,
            has_failed: false,
        };
        if !kept.fill() {
            log::warn!(
                "store: there is no room on the disk for {}; only changes that take something away are carried out until \
                 there is",
                path.display()
            );
        }
        *lock(&self.0) = Some(kept);
        Ok(())
    }

    /// Releases the reserve if the disk is full; called before changes that only take something away.
    pub fn give_up_if_needed(&self) {
        if let Some(kept) = lock(&self.0).as_mut().filter(|kept| kept.is_held)
            && kept.bytes > 0
            && (kept.has_failed || kept.is_short())
        {
            kept.give_up();
        }
    }

    /// Takes the space again if there is enough, before another program uses it; called after changes that used the
    /// reserve.
    pub fn take_back(&self) {
        if let Some(kept) = lock(&self.0).as_mut() {
            kept.fill();
        }
    }

    /// Refuses unless the space can be held; called before all other changes. After a change had no room, there must be
    /// some again: otherwise small changes would succeed, and report that all others will.
    pub fn require(&self) -> Result<()> {
        let mut kept = lock(&self.0);
        let has_room = kept.as_mut().is_none_or(|kept| {
            (kept.is_held || kept.fill()) && !(kept.has_failed && kept.is_short())
        });
        drop(kept);
        match has_room {
            true => Ok(()),
            false => Err(Error::Unavailable(refusals::server::disk_reserve())),
        }
    }

    /// Refuses if there is less space than any change may need.
    pub fn check_room(&self) -> Result<()> {
        match lock(&self.0).as_ref().is_some_and(ReserveState::is_short) {
            true => Err(Error::Unavailable(refusals::server::disk_reserve())),
            false => Ok(()),
        }
    }

    /// Notes that a commit failed for lack of space.
    pub fn note_full(&self) {
        if let Some(kept) = lock(&self.0).as_mut() {
            kept.has_failed = true;
        }
    }

    /// Notes that a commit succeeded without the reserve.
    pub fn note_room(&self) {
        if let Some(kept) = lock(&self.0).as_mut() {
            kept.has_failed = false;
        }
    }

    /// Whether the reserve is released now. The write-ahead log must not grow in this state.
    pub fn is_in_use(&self) -> bool {
        lock(&self.0).as_ref().is_some_and(|kept| !kept.is_held)
    }
}

impl ReserveState {
    /// Whether there is little space besides the reserve. If the file system does not report it, there is enough.
    fn is_short(&self) -> bool {
        free_bytes(&self.file).is_some_and(|free| free < FREE_BYTES_MIN)
    }

    /// Allocates the space. Returns whether it is held now.
    fn fill(&mut self) -> bool {
        let taken = match self.bytes {
            0 => Ok(()),
            bytes => fallocate(&self.file, FallocateFlags::empty(), 0, bytes),
        };
        match taken {
            Ok(()) => self.is_held = true,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                log::info!("store: this file system holds no room for files, so none is kept");
                self.bytes = 0;
                self.is_held = true;
            }
            Err(_) => {
                // The file system may have allocated a part of the space.
                let _ = self.file.set_len(0);
                self.is_held = false;
            }
        }
        self.is_held
    }

    fn give_up(&mut self) {
        match self.file.set_len(0) {
            Ok(()) => {
                self.is_held = false;
                log::warn!(
                    "store: the disk is full; a change of the administrator, or one that disables or deletes something, uses the room \
                     that is kept for it"
                );
            }
            Err(err) => log::warn!("store: the room that is kept cannot be given up: {err}"),
        }
    }
}

/// Bytes that this process can still write in the file system of the file; `None` if the system does not report it.
fn free_bytes(file: &File) -> Option<u64> {
    let room = fstatvfs(file).ok()?;
    Some(room.f_bavail.saturating_mul(room.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn place(name: &str) -> PathBuf {
        let name = format!("latchkey-reserve-{}-{name}", std::process::id());
        std::env::temp_dir().join(name)
    }

    #[test]
    fn room_is_taken_given_up_when_a_change_has_failed_and_taken_again() {
        let path = place("taken");
        let reserve = Reserve::default();
        reserve.keep(&path).unwrap();
        let length = || std::fs::metadata(&path).unwrap().len();
        if length() == 0 {
            return; // The file system cannot allocate space for a file, or has none free.
        }
        assert!(length() <= BYTES_MAX);
        reserve.note_full();
        reserve.give_up_if_needed();
        assert_eq!(length(), 0);
        assert!(reserve.is_in_use());
        reserve.require().unwrap();
        assert!(length() > 0 && !reserve.is_in_use());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_store_that_keeps_no_reserve_refuses_nothing() {
        let reserve = Reserve::default();
        reserve.note_full();
        reserve.give_up_if_needed();
        assert!(reserve.require().is_ok() && !reserve.is_in_use());
    }
}
