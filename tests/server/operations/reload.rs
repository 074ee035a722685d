//! SIGHUP: settings that change immediately, settings that wait for the next start, and errors, which change nothing.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Server, fresh_folder};

// attacks 253
#[test]
fn sighup_puts_trusted_proxies_in_force_and_keeps_them_on_a_mistake() {
    let folder = fresh_folder();
    let file = folder.join("settings.toml");
    fs::write(&file, "usage_interval_s = 3600\n").expect("it can be written");
    let server = Server::start_with(&["--config", file.to_str().expect("text")], &[]);
    let issue = json!({ "name": "k", "allowed_ips": ["203.0.113.0/24"] });
    let key = server.admin().issue(issue).secret;
    // The address behind 10.1.2.3 counts only once this proxy is trusted; until then the proxy itself counts as the
    // client.
    let status = || {
        let user = server
            .bearer(&key)
            .with("X-Forwarded-For", "203.0.113.9, 10.1.2.3");
        user.get("/auth/nginx").status
    };
    assert_eq!(status(), 403);

    fs::write(
        &file,
        "trusted_proxies = [\"10.1.2.3\"]\nusage_interval_s = 5\n",
    )
    .expect("it can be written");
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: the settings were read again", 1);
    assert_eq!(status(), 200);
    let log = server.log();
    assert!(log.contains("trusted_proxies is \"10.1.2.3\" now"), "{log}");
    assert!(
        log.contains("usage_interval_s changes at the next start, not now"),
        "{log}"
    );

    for (number, broken) in [
        "trusted_proxies = [",
        "trusted = 1\n",
        "cors_origins = [\"*\"]\n",
    ]
    .iter()
    .enumerate()
    {
        fs::write(&file, broken).expect("it can be written");
        server.signal(Signal::HUP);
        server.wait_for_log("SIGHUP: all settings stay as they were", number + 1);
        assert_eq!(status(), 200, "{broken}");
    }

    fs::write(&file, "").expect("it can be written");
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: the settings were read again", 2);
    assert_eq!(status(), 403);
    server.assert_alive();
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn sighup_changes_the_log_level() {
    let folder = fresh_folder();
    let file = folder.join("settings.toml");
    fs::write(&file, "log_level = \"error\"\n").expect("it can be written");
    let server = Server::start_with(&["--config", file.to_str().expect("text")], &[]);
    let refused = || server.raw(b"GET / HTTP/9.9\r\n\r\n");
    refused();
    fs::write(&file, "log_level = \"debug\"\n").expect("it can be written");
    server.signal(Signal::HUP);
    server.wait_for_log("log_level is \"debug\" now", 1);
    assert!(
        !server.log().contains("a request was refused"),
        "{}",
        server.log()
    );
    refused();
    server.wait_for_log("a request was refused", 1);
    let _ = fs::remove_dir_all(folder);
}
