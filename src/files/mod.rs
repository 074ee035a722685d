//! Every file that this program makes, moves or removes: outside the data folder, where others may own the folder that
//! it goes into ([`NewFile`]), and inside the private one ([`private`]). `clippy.toml` forbids the raw calls elsewhere.
//!
//! Nothing here knows what the files hold.

// The one place for the calls that clippy.toml forbids.
#![allow(clippy::disallowed_methods)]

pub mod beneath;
mod new;
pub mod private;

pub use new::{NewFile, Readers};

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::io;

/// A name that nobody can guess, so that nobody can plant anything under it.
fn unguessable() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|err| io::Error::other(err.to_string()))?;
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{START}{digits}{END}"))
}

/// How temporary names begin and end.
const START: &str = ".latchkey-";
const END: &str = ".partial";

/// Makes the entries of a folder durable. Some file systems cannot sync a folder, and keep its entries anyway.
fn sync_folder(folder: BorrowedFd<'_>) -> io::Result<()> {
    match rustix::fs::fsync(folder) {
        Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        Err(err) => Err(err.into()),
    }
}
