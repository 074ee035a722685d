//! requests-oauthlib, Authlib and the client that is generated from Veeam's own schema, in all its five versions.

use std::path::Path;
use std::process::Command;

use crate::support::Server;

/// Packages from PyPI; `dev/python` installs them below `target/`. veeam-spc needs the last two without declaring them.
const PACKAGES: [&str; 6] = [
    "requests-oauthlib==2.0.0",
    "Authlib==1.9.9",
    "veeam-spc==0.4.2",
    "httpx==0.28.1",
    "attrs==26.1.0",
    "python-dateutil==4.0.0",
];

#[test]
fn clients_of_others_sign_in_refresh_and_manage_keys() {
    let Some(python) = python() else {
        println!(
            "left out: requests-oauthlib, Authlib and veeam-spc are not installed (dev/test installs them)"
        );
        return;
    };
    let server = Server::start();
    let done = Command::new(python)
        .arg("tests/fixtures/vspc/clients.py")
        .arg(format!("http://{}", server.address))
        .args([&server.owner_user_name, &server.owner_password])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    println!("{said}");
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{complaint}\n{}", server.log());
    assert_eq!(said.lines().count(), 11, "{said}");
}

/// The interpreter that has the packages; they are installed first if every test must run.
fn python() -> Option<std::path::PathBuf> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    if std::env::var("LATCHKEY_TEST_ALL").as_deref() == Ok("1") {
        let done = Command::new(tree.join("dev/python"))
            .arg("vspc")
            .args(PACKAGES)
            .status()
            .unwrap();
        assert!(done.success(), "dev/python vspc: {done}");
    }
    let file = tree.join("target/python/vspc/bin/python");
    file.is_file().then_some(file)
}
