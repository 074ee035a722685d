//! A deleted key is refused from the next request on, in spite of every cache.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::Behaviour;
use crate::harness::client::get;
use crate::harness::stage::Stage;

#[rustfmt::skip] // Columns are the point of this table.
pub const BEHAVIOURS: &[Behaviour] = &[
    ("every request that starts after a key was deleted is refused", deleted_under_load),
];

const THREADS: usize = 4;
const BEFORE: usize = 100;
const AFTER: usize = 25;

/// 62, 97.
fn deleted_under_load(stage: &mut Stage) {
    let stage = &*stage;
    let key = stage
        .latchkey
        .issue("leaver", &["invoices:read"], json!({}));
    let request = get("/billing/invoices").bearer(&key.secret);
    let deleted = AtomicBool::new(false);
    let passed = AtomicUsize::new(0);

    let until_refused = || {
        let mut refused = 0;
        while refused < AFTER {
            let started_after = deleted.load(Ordering::SeqCst);
            match request.send(stage.port).status {
                200 if started_after => panic!("passed after the key was deleted"),
                200 => drop(passed.fetch_add(1, Ordering::SeqCst)),
                401 => refused += 1,
                status => panic!("neither passed nor refused: {status}"),
            }
        }
    };

    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(until_refused)).collect();
        let running = || threads.iter().all(|thread| !thread.is_finished());
        while passed.load(Ordering::SeqCst) < BEFORE && running() {
            thread::yield_now();
        }
        stage.latchkey.delete(&key);
        deleted.store(true, Ordering::SeqCst);
    });
    assert!(
        passed.into_inner() >= BEFORE,
        "refused before the key was deleted"
    );
}
