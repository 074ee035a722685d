//! Notifications to the service manager: ready, reloading, stopping, and that the server still verifies.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Server, fresh_folder, wait};

/// Waits for a message that contains this line.
#[track_caller]
fn wait_for(manager: &UnixDatagram, line: &str) -> String {
    wait::some(&format!("the server has sent {line}"), || {
        let mut bytes = [0; 4096];
        let length = manager.recv(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        text.lines().any(|told| told == line).then_some(text)
    })
}

#[test]
fn the_manager_is_told_of_start_reload_and_end_and_the_watchdog_is_fed() {
    let folder = fresh_folder();
    let path = folder.join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let patience = Some(Duration::from_millis(500));
    manager.set_read_timeout(patience).expect("a time");
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
    for _ in 0..6 {
        let mut bytes = [0; 4096];
        let heard = manager.recv(&mut bytes);
        assert!(heard.is_err(), "{}", String::from_utf8_lossy(&bytes));
    }
    fs::rename(&hidden, &server.socket).expect("it can be moved");
    wait_for(&manager, "WATCHDOG=1");

    server.signal(Signal::TERM);
    wait_for(&manager, "STOPPING=1");
    server.wait();
    let _ = fs::remove_dir_all(folder);
}
