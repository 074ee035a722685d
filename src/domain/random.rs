//! Random bytes of the operating system.

use crate::error::{Error, Result};

/// Fills the bytes from the random source of the operating system. An internal error if there is none: a static program in a
/// root folder without `/dev` can lack it. A command prints its cause.
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|err| {
        Error::internal(format!(
            "the operating system gives no random bytes ({err}); in a container or a changed root folder, /dev has to be \
             mounted, with /dev/urandom in it"
        ))
    })
}
