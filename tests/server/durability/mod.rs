//! What was acknowledged is there after any end of the process: promise P1 of `attacks.md`, by journal.
//!
//! Writers note what the server acknowledged ([`writer`]); after each kill the same folder is served again and
//! compared. The file itself is read past the server ([`file`]).

pub mod file;
mod list;
mod stop;
mod writer;

use std::thread;
use std::time::Duration;

use crate::support::{Random, Server};
use writer::Writer;

/// Kills, if `LATCHKEY_TEST_KILLS` does not say otherwise.
const KILLS: u64 = 200;
const WRITERS: usize = 8;
/// A kill comes so long after the server answers, at most.
const KILL_MS_MAX: u64 = 150;
/// After so many kills the files are looked at as well.
const LOOK_AT_FILES: u64 = 25;

fn kills() -> u64 {
    let given = std::env::var("LATCHKEY_TEST_KILLS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

// attacks 212
#[test]
fn what_was_acknowledged_survives_200_kills() {
    let mut random = Random::seeded();
    let mut server = Server::start();
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer::new(number, random.below(u64::MAX)))
        .collect();
    for round in 1..=kills() {
        let admin = server.admin();
        thread::scope(|scope| {
            for writer in &mut writers {
                let admin = admin.clone();
                scope.spawn(move || writer.work(&admin));
            }
            thread::sleep(Duration::from_millis(1 + random.below(KILL_MS_MAX)));
            server.kill9();
        });
        if round % LOOK_AT_FILES == 0 {
            file::check_copy(&server.data);
        }
        server.restart();
        server.assert_alive();
        let admin = server.admin();
        for writer in &mut writers {
            writer.settle(&admin);
            writer.check_touched(&admin);
        }
    }

    let admin = server.admin();
    let found = list::all_keys(&admin);
    let mut done = 0;
    for writer in &mut writers {
        writer.check_all(&admin, &found);
        done += writer.acknowledged.len();
    }
    assert!(done as u64 > kills(), "only {done} changes were made");
    list::check_nothing_doubled(&found);
    assert!(server.stop().is_some_and(|status| status.success()));
    let log = file::check(&server.data);
    for writer in &writers {
        writer.check_log(&log);
    }
    println!("{done} changes were acknowledged and are there");
}
