//! Takes the data folder for a process that is going to serve it.

use crate::cli::client::socket;
use crate::cli::{RunArgs, log_format};
use crate::config::LogFormat;
use crate::config::folder::{self, Folder};
use crate::error::Result;
use std::time::{Duration, Instant};

/// How long to wait for a command that uses the folder, or for a server that is ending.
const BUSY: Duration = Duration::from_secs(10);
/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes the lock of an existing folder as soon as it is free. If another server answers, this fails without waiting.
pub fn claim(args: &RunArgs) -> Result<Folder> {
    log_format::set_json(args.serve.log_format == LogFormat::Json);
    let data = args.data.data.as_path();
    let since = Instant::now();
    let mut is_told = false;
    loop {
        if let Some(folder) = Folder::open_unless_locked(data)? {
            return Ok(folder);
        }
        let is_served = socket::answers(&folder::socket_of(data)).unwrap_or(false);
        if is_served || since.elapsed() >= BUSY {
            return Err(folder::in_use(data));
        }
        if !is_told {
            log::warn!(
                "{}; waiting up to {} s for its end",
                folder::used_by(data),
                BUSY.as_secs()
            );
            is_told = true;
        }
        std::thread::sleep(PAUSE);
    }
}
