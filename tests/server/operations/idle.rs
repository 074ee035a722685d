//! A server without requests: it sleeps, and answers the next request immediately.

use std::fs;
use std::io::Write;
use std::time::Duration;

use crate::support::{Server, wait};

/// How often threads of the server have gone to sleep since its start.
fn sleeps(server: &Server) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid)).expect("it runs");
    let count = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok())
            .unwrap_or_default()
    };
    tasks.map(|task| count(task.expect("a task"))).sum()
}

#[test]
fn an_idle_server_does_not_wake_and_is_there_at_once() {
    let server = Server::start_with(&[], &[("LATCHKEY_USAGE_INTERVAL_S", "3600")]);
    server.assert_alive();
    // The last work of the start and of those requests has to end first, which takes a while on a busy machine.
    let mut looks = (0..5).map(|_| {
        wait::pause(Duration::from_secs(2));
        let before = sleeps(&server);
        wait::pause(Duration::from_secs(4));
        sleeps(&server) - before
    });
    // A clock with ten ticks a second would wake the server forty times in each measurement.
    assert!(looks.any(|woke| woke < 10), "it goes on waking");
    server.assert_alive();

    // The clock of deadlines, which did not run meanwhile, is correct again: a new connection is not overdue.
    let mut kept = server.tcp().connect();
    wait::pause(Duration::from_millis(500));
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it is open");
    let received = kept.receive(wait::PATIENCE);
    assert!(
        received.text().starts_with("HTTP/1.1 200"),
        "{}",
        received.text()
    );
}
