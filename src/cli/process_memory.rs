//! Protects the memory of the process: the process leaves no core dump, and other processes of the same user cannot
//! read its memory.
//!
//! Secrets pass through the memory of every command, and a server keeps the pepper in memory.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Protects the memory of this process. If the system refuses, this is logged only: the system may have stricter rules
/// of its own.
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
