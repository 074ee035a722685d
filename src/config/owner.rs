//! Root on the command line works as the owner of the data folder.
//!
//! What is in a folder is led by the user who owns it: root must not open, make or remove anything there by its own
//! rights, or that user decides what root does. So a command that root runs for the folder of another user takes the
//! rights of that user before it looks into the folder. Files that the caller has named (an output, a backup to restore,
//! a file with a password) are opened with the caller's own rights, by [`as_caller`].
//!
//! Users are an attribute of the thread in Linux. The rights are changed while the process has one thread, and all
//! later threads inherit them; [`as_caller`] changes those of its own thread only. The real user stays root, so that the
//! owner cannot send signals to the process or trace it.

use super::folder::refused;
use crate::error::Result;
use crate::files::beneath;
use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

/// Whose rights a command took, and what the caller's were.
struct Change {
    owner: (Uid, Gid),
    caller_group: Gid,
    caller_groups: Vec<Gid>,
}

static CHANGE: OnceLock<Change> = OnceLock::new();

/// The other user whom the folder belongs to, if root runs this.
pub fn other_owner(data: &Path) -> Option<u32> {
    if !geteuid().is_root() {
        return None;
    }
    let found = fs::metadata(data).ok().filter(fs::Metadata::is_dir)?;
    (found.uid() != 0).then_some(found.uid())
}

/// Takes the rights of the folder's owner, if root runs this and the folder is another user's.
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
            "{shown} belongs to user {uid}, and root cannot work as that user here ({err}); run it as that user: sudo -u \
             '#{uid}' latchkey …"
        ))
    })?;
    let _ = CHANGE.set(change);
    Ok(())
}

/// Whether this command works as a user who is not the caller.
pub fn is_another() -> bool {
    CHANGE.get().is_some()
}

/// Does something with the rights of the caller: opening what the caller has named.
pub fn as_caller<T>(work: impl FnOnce() -> T) -> T {
    let Some(change) = CHANGE.get() else {
        return work();
    };
    // Without the caller's rights the work fails by itself, and says for what.
    let _back = take_caller(change).ok().map(|()| Back(change));
    work()
}

/// Gives the caller's rights back, however the work ends.
struct Back<'a>(&'a Change);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if take_owner(self.0).is_err() {
            // What follows would be done with root's rights.
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
