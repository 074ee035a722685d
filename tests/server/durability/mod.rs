//! An acknowledged change survives every kind of end of the process: promise P1 of
//! `docs/threats.md`, checked with a journal.
//!
//! Writers record what the server has acknowledged ([`writer`]); after each kill the server starts again on the same
//! folder, and the tests compare. The database file itself is read without the server ([`file`]).

pub mod file;
mod list;
mod stop;
mod writer;

use std::thread;
use std::time::Duration;

use crate::support::{Random, Server, wait};
use writer::Writer;

/// The number of kills, unless `LATCHKEY_TEST_KILLS` sets another one.
const KILLS: u64 = 200;
const WRITERS: usize = 8;
/// The longest time between the first answer of the server and the kill.
const KILL_MS_MAX: u64 = 150;
/// After this many kills the files are checked as well.
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
            wait::pause(Duration::from_millis(1 + random.below(KILL_MS_MAX)));
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
