//! Commands that root runs take the rights of the owner of the data folder.
//!
//! The user who owns the folder controls its content. If root opened, created or removed files there with root's
//! rights, that user could control what root does. So a command that root runs for the folder of another user switches
//! to that user's rights before it accesses the folder. Files that the caller names (an output, a backup to restore, a
//! file with a password) are opened with the caller's own rights, by [`as_caller`].
//!
//! On Linux, the user is an attribute of each thread. The rights are changed while the process has one thread, and all
//! later threads inherit them; [`as_caller`] changes those of its own thread only. The real user stays root, so that
//! the owner cannot send signals to the process or trace it.

use super::folder::refused;
use crate::error::Result;
use crate::files::{beneath, users};
use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

/// The user whose rights the command took, and the groups of the caller.
struct Change {
    owner: (Uid, Gid),
    caller_group: Gid,
    caller_groups: Vec<Gid>,
}

static CHANGE: OnceLock<Change> = OnceLock::new();

/// The owner of the folder, if root runs this command and the folder belongs to another user.
pub fn other_owner(data: &Path) -> Option<u32> {
    if !geteuid().is_root() {
        return None;
    }
    let found = fs::metadata(data).ok().filter(fs::Metadata::is_dir)?;
    (found.uid() != 0).then_some(found.uid())
}

/// Takes the rights of the folder's owner, if root runs this command and the folder belongs to another user.
pub fn work_as_owner_of(data: &Path) -> Result<()> {
    let Some(uid) = other_owner(data) else {
        return Ok(());
    };
    let shown = data.display();
    beneath::check_way(data, uid).map_err(|err| {
        refused(format!(
            "the data folder {shown} is not used as root: {err}"
        ))
    })?;
    let gid = fs::metadata(data).map(|found| found.gid());
    let gid = gid.map_err(|err| refused(format!("{shown} cannot be opened: {err}")))?;
    let change = Change {
        owner: (Uid::from_raw(uid), Gid::from_raw(gid)),
        caller_group: getegid(),
        caller_groups: getgroups().unwrap_or_default(),
    };
    take_owner(&change).map_err(|err| {
        refused(format!(
            "{shown} belongs to user {}, and root cannot work as that user here ({err}); run it as that user: sudo -u {} \
             latchkey …",
            users::shown(uid),
            users::argument(uid)
        ))
    })?;
    let _ = CHANGE.set(change);
    Ok(())
}

/// Whether this command works with the rights of another user than the caller.
pub fn is_another() -> bool {
    CHANGE.get().is_some()
}

/// Runs `work` with the rights of the caller, for example to open a file that the caller has named.
pub fn as_caller<T>(work: impl FnOnce() -> T) -> T {
    let Some(change) = CHANGE.get() else {
        return work();
    };
    // From here on the thread may have the rights of root, so it returns to those of the owner even if this fails.
    let back = Back(change);
    if let Err(err) = take_caller(change) {
        drop(back);
        log::error!("the rights of root cannot be taken back for a file that was named: {err}");
        std::process::abort();
    }
    work()
}

/// Returns to the rights of the folder's owner when it is dropped.
struct Back<'a>(&'a Change);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if take_owner(self.0).is_err() {
            // Otherwise the process would continue with the rights of root.
            std::process::abort();
        }
    }
}

fn take_owner(change: &Change) -> rustix::io::Result<()> {
    let (uid, gid) = change.owner;
    set_thread_groups(&[gid])?;
    set_thread_res_gid(None, gid, None)?;
    set_thread_res_uid(None, uid, None)
}

fn take_caller(change: &Change) -> rustix::io::Result<()> {
    set_thread_res_uid(None, Uid::ROOT, None)?;
    set_thread_res_gid(None, change.caller_group, None)?;
    set_thread_groups(&change.caller_groups)
}
