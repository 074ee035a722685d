//! Keeps what is in memory out of files that others could read: the process leaves no core dump, and no other process of
//! the same user may look into it.
//!
//! Secrets pass through the memory of every command, and the pepper stays in that of a server.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Closes the memory of this process. A system that refuses is told of in the log: it may be stricter than we are.
pub fn close_memory() {
    if let Err(err) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::warn!("other processes of this user may read the memory of this one: {err}");
    }
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if getrlimit(Resource::Core) != none
        && let Err(err) = setrlimit(Resource::Core, none)
    {
        log::warn!("core dumps could not be turned off: {err}");
    }
}
