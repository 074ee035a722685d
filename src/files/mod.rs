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
pub mod users;

pub use new::{NewFile, Readers};

use rustix::fd::BorrowedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a file of another user for reading. A link is followed, and a pipe does not block.
pub fn open_foreign(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.custom_flags(OFlags::NONBLOCK.bits() as i32);
    options.read(true).open(path)
}

/// The largest file that [`read_regular`] reads: 1 MiB.
const REGULAR_BYTES_MAX: u64 = 1024 * 1024;

/// The content of a regular file of at most 1 MiB that a setting names. A link is followed; pipes, devices and folders are
/// refused, because they could block the start or have no end.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    read_regular_up_to(path, REGULAR_BYTES_MAX)
}

/// As [`read_regular`], with another limit.
pub fn read_regular_up_to(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = open_foreign(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!(
            "it is larger than {bytes_max} bytes"
        )));
    }
    Ok(bytes)
}

/// A random name, so that no other user can create a file under this name in advance.
fn unguessable() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|err| {
        io::Error::other(format!(
            "there are no random bytes, is /dev mounted? ({err})"
        ))
    })?;
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
