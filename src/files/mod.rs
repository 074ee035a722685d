//! All functions that create, rename or delete files: outside the data folder, where other users may own the target
//! folder ([`NewFile`]), and inside the private data folder ([`private`]). `clippy.toml` forbids the plain calls in
//! other modules.
//!
//! This module does not know the content of the files.

// This module is the only place for the calls that clippy.toml forbids.
#![allow(clippy::disallowed_methods)]

pub mod beneath;
mod new;
pub mod private;

pub use new::{NewFile, Readers};

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::io;

/// A random name, so that no other user can create a file under this name in advance.
fn unguessable() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|err| io::Error::other(err.to_string()))?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{START}{digits}{END}"))
}

/// The start and the end of temporary names.
const START: &str = ".latchkey-";
const END: &str = ".partial";

/// Makes the entries of a folder durable. Some file systems cannot sync a folder, but keep its entries anyway.
fn sync_folder(folder: BorrowedFd<'_>) -> io::Result<()> {
    match rustix::fs::fsync(folder) {
        Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        Err(err) => Err(err.into()),
    }
}
