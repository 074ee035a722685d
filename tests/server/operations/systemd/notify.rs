//! Notifications to the service manager: ready, reloading, stopping, and that the server still verifies.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Server, fresh_folder};

/// Waits up to 20 s for a message that contains this line.
#[track_caller]
fn wait_for(manager: &UnixDatagram, line: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut heard = Vec::new();
    while Instant::now() < deadline {
        let mut bytes = [0; 4096];
        if let Ok(length) = manager.recv(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.lines().any(|told| told == line) {
                return text;
            }
            heard.push(text);
        }
    }
    panic!("{line} was not told, but {heard:?}");
}

#[test]
fn the_manager_is_told_of_start_reload_and_end_and_the_watchdog_is_fed() {
    let folder = fresh_folder();
    let path = folder.join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let wait = Some(Duration::from_millis(500));
    manager.set_read_timeout(wait).expect("a time");
    let text = path.to_str().expect("text");
    let mut server = Server::start_with(
        &[],
        &[("NOTIFY_SOCKET", text), ("WATCHDOG_USEC", "3000000")],
    );
    wait_for(&manager, "READY=1");
    for _ in 0..3 {
        wait_for(&manager, "WATCHDOG=1");
    }
    server.signal(Signal::HUP);
    let reloading = wait_for(&manager, "RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    wait_for(&manager, "READY=1");

    // The probe leaves no key behind.
    let keys = server.admin().get("/v1/keys").json();
    let names: Vec<_> = keys["items"].as_array().expect("a list").iter().collect();
    assert_eq!(names.len(), 2, "{keys}");
    assert!(
        !server.log().contains("verify as it should"),
        "{}",
        server.log()
    );

    // The server does not notify the watchdog while it does not answer correctly.
    let hidden = server.data.join("hidden");
    fs::rename(&server.socket, &hidden).expect("it can be moved");
    server.wait_for_log("the server does not verify as it should", 1);
    while manager.recv(&mut [0; 4096]).is_ok() {}
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(3) {
        let mut bytes = [0; 4096];
        let heard = manager.recv(&mut bytes);
        assert!(heard.is_err(), "{}", String::from_utf8_lossy(&bytes));
    }
    fs::rename(&hidden, &server.socket).expect("it can be moved");
    wait_for(&manager, "WATCHDOG=1");

    server.signal(Signal::TERM);
    wait_for(&manager, "STOPPING=1");
    assert!(server.wait(Duration::from_secs(15)).is_some());
    let _ = fs::remove_dir_all(folder);
}
