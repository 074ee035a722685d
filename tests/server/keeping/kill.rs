//! Kills a command before its n-th step, for every n. The command runs with `killed.c` loaded before its C library.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::fresh_folder;

/// More steps than any command needs.
const STEPS_MAX: u32 = 5_000;

/// The compiled `killed.c`.
pub struct Killer(PathBuf);

impl Killer {
    /// `None` if there is no C compiler.
    pub fn build() -> Option<Killer> {
        let library = fresh_folder().join("killed.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/keeping/killed.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .status();
        built
            .is_ok_and(|status| status.success())
            .then_some(Killer(library))
    }

    /// Runs the command from `prepare` repeatedly: the first run is killed before the first step, the next before the
    /// second, and so on, until the command completes; `check` runs after each of them. With a `stride`, only every
    /// `stride`-th step counts. Returns the number of steps.
    pub fn each_step(
        &self,
        stride: u32,
        prepare: impl Fn() -> Command,
        check: impl Fn(u32, &Output),
    ) -> u32 {
        for step in (1..STEPS_MAX).step_by(stride as usize) {
            let mut command = prepare();
            command
                .env("LD_PRELOAD", &self.0)
                .env("LATCHKEY_TEST_KILL_AT", step.to_string());
            let output = command.output().expect("the command can be started");
            check(step, &output);
            if output.status.code().is_some() {
                return step;
            }
        }
        panic!("more than {STEPS_MAX} steps");
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        if let Some(folder) = self.0.parent() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
