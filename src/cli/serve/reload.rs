//! SIGHUP: the settings are read again, and what can change while the server runs changes.
//!
//! Whatever is wrong keeps all as it is and says so in the log.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::spawn;
use crate::cli::settled;
use crate::config::sources::Setting;
use crate::config::{RELOADED, ServeArgs};
use crate::error::Result;
use crate::http::client::LiveTrust;

/// What is in force and can be replaced.
pub struct InForce {
    pub settings: Vec<Setting>,
    pub trust: LiveTrust,
}

/// Starts the thread that reloads; each message is one SIGHUP.
pub fn start(in_force: InForce) -> Result<Sender<()>> {
    let (asked, asking) = channel();
    spawn("settings", move || run(in_force, &asking))?;
    Ok(asked)
}

fn run(mut in_force: InForce, asking: &Receiver<()>) {
    while asking.recv().is_ok() {
        match in_force.reload() {
            Ok(()) => log::info!("SIGHUP: the settings were read again"),
            Err(err) => log::error!("SIGHUP: all settings stay as they were: {err}"),
        }
    }
}

impl InForce {
    fn reload(&mut self) -> Result<()> {
        let args = settled()?;
        args.serve.check()?;
        let trust = args.serve.trust()?;
        self.trust.replace(trust);
        set_log_level(&args.serve);
        for new in &args.settings {
            let old = self.settings.iter().find(|old| old.name == new.name);
            if old.is_none_or(|old| old.value == new.value) {
                continue;
            }
            let name = &new.name;
            let from = &new.source;
            if RELOADED.contains(&name.as_str()) {
                log::info!("SIGHUP: {name} is {:?} now ({from})", new.value);
            } else {
                log::warn!("SIGHUP: {name} changes at the next start, not now ({from})");
            }
        }
        // What waits for the next start keeps its old value here, so that it is said again each time.
        for old in &mut self.settings {
            let new = args.settings.iter().find(|new| new.name == old.name);
            if let Some(new) = new.filter(|_| RELOADED.contains(&old.name.as_str())) {
                *old = new.clone();
            }
        }
        Ok(())
    }
}

/// `RUST_LOG` has its own, finer rules, which a level must not cut off.
pub fn set_log_level(args: &ServeArgs) {
    if std::env::var_os("RUST_LOG").is_none()
        && let Ok(level) = args.log_level.parse()
    {
        log::set_max_level(level);
    }
}
