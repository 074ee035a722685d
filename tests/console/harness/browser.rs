//! Chromium with a console: signing in, using pages, and checking them in all sizes and colour schemes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::driver::{Driver, Element};
use crate::support::{Server, fresh_folder, wait};

/// The version of axe-core whose rules every page must satisfy.
const AXE: &str = "4.14.1";

/// The windows in which a page is checked: a name, the width in pixels, the height of the window.
const SIZES: &[(&str, u32, u32)] = &[("wide", 1280, 900), ("narrow", 360, 740)];

/// A browser that is used with the console of one server.
pub struct Browser {
    pub driver: Driver,
    base: String,
    profile: PathBuf,
}

impl Browser {
    /// `None`, with a printed note, if Chromium or another program that this needs is not installed.
    pub fn open(server: &Server) -> Option<Browser> {
        Browser::open_at(server.address)
    }

    /// As [`Browser::open`], with the server's address.
    pub fn open_at(server: SocketAddr) -> Option<Browser> {
        if !is_there() {
            return None;
        }
        let profile = fresh_folder();
        Some(Browser {
            driver: Driver::start(&profile, server.ip()),
            // The browser uses a name and not an address, so that cookies and hosts work as they do for people.
            base: format!("http://localhost:{}", server.port()),
            profile,
        })
    }

    /// As [`Browser::open`], signed in as the owner.
    pub fn signed_in(server: &Server) -> Option<Browser> {
        let browser = Browser::open(server)?;
        browser.sign_in(&server.owner_user_name, &server.owner_password);
        Some(browser)
    }

    #[track_caller]
    pub fn sign_in(&self, user_name: &str, password: &str) {
        self.go("/console/sign-in");
        self.fill("user_name", user_name);
        self.fill("password", password);
        self.press("Sign in");
        self.find("nav");
    }

    #[track_caller]
    pub fn go(&self, path: &str) {
        self.driver.go(&format!("{}{path}", self.base));
    }

    /// The path and the query of the current page.
    pub fn place(&self) -> String {
        self.driver.url().replacen(&self.base, "", 1)
    }

    #[track_caller]
    pub fn find(&self, selector: &str) -> Element<'_> {
        self.driver.find(selector)
    }

    #[track_caller]
    pub fn fill(&self, name: &str, text: &str) {
        let seen = format!("main [name='{name}']:not([type=hidden], [hidden])");
        self.find(&seen).fill(text);
    }

    /// Sets the value of a field for which the browser has a control of its own, such as a date.
    #[track_caller]
    pub fn set(&self, name: &str, value: &str) {
        self.find(&format!("main [name='{name}']"));
        let (name, value) = (json!(name), json!(value));
        self.driver.run(&format!(
            "document.querySelector(`main [name=\"${{{name}}}\"]`).value = {value}"
        ));
    }

    /// Ticks a box or chooses an option by its label.
    #[track_caller]
    pub fn choose(&self, words: &str) {
        let path = format!("//main//label[normalize-space()={}]", quoted(words));
        self.driver.click_path(&path);
    }

    /// Presses a button, or follows a link, by its label.
    #[track_caller]
    pub fn press(&self, words: &str) {
        let words = quoted(words);
        let path = format!(
            "//main//button[normalize-space()={words}] | //main//a[normalize-space()={words}] | //main//summary[normalize-space()={words}]"
        );
        self.driver.click_path(&path);
    }

    /// Follows the first link in the page whose label contains this text.
    #[track_caller]
    pub fn press_containing(&self, words: &str) {
        let path = format!("//main//a[contains(., {})]", quoted(words));
        self.driver.click_path(&path);
    }

    /// Follows an entry of the navigation by its label.
    #[track_caller]
    pub fn navigate(&self, words: &str) {
        let path = format!("//nav//a[normalize-space()={}]", quoted(words));
        self.driver.click_path(&path);
    }

    /// Follows the first entry of the navigation whose label contains this text.
    #[track_caller]
    pub fn navigate_containing(&self, words: &str) {
        let path = format!("//nav//a[contains(., {})]", quoted(words));
        self.driver.click_path(&path);
    }

    /// Follows the link to another system in the navigation, which has the product's name above the path of its menu.
    #[track_caller]
    pub fn navigate_to_system(&self, product: &str) {
        let path = format!("//nav//a[span/span[normalize-space()={}]]", quoted(product));
        self.driver.click_path(&path);
    }

    /// Waits until the page contains the text.
    #[track_caller]
    pub fn sees(&self, text: &str) {
        let seen = wait::some_in_time(|| self.driver.text().contains(text).then_some(()));
        assert!(
            seen.is_some(),
            "{} does not say {text:?}:\n{}",
            self.place(),
            self.driver.text()
        );
    }

    /// Waits until the page no longer contains a text of the page before it.
    #[track_caller]
    pub fn sees_no_more(&self, text: &str) {
        wait::until(&format!("the page no longer says {text:?}"), || {
            !self.driver.text().contains(text)
        });
    }

    #[track_caller]
    pub fn sees_not(&self, text: &str) {
        let seen = self.driver.text();
        assert!(
            !seen.contains(text),
            "{} says {text:?}:\n{seen}",
            self.place()
        );
    }

    /// Checks the page in its present state: light and dark, wide and narrow. It must have no obstacle for people
    /// (axe-core), must not be wider than a narrow window, and must cause no message in the browser's console. Writes a
    /// screenshot of each.
    #[track_caller]
    pub fn inspect(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../screenshots");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let driver = &self.driver;
        assert_eq!(driver.complaints(), Vec::<String>::new(), "{name}");
        for (size, width, height) in SIZES {
            let metrics = json!({
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false
            });
            driver.devtools("Emulation.setDeviceMetricsOverride", metrics);
            for scheme in ["light", "dark"] {
                let features = json!({ "features": [
                    { "name": "prefers-color-scheme", "value": scheme },
                    { "name": "prefers-reduced-motion", "value": "reduce" },
                ]});
                driver.devtools("Emulation.setEmulatedMedia", features);
                let shown = driver.run("return document.documentElement.scrollWidth");
                assert!(
                    shown
                        .as_u64()
                        .is_some_and(|shown| shown <= u64::from(*width)),
                    "{name} is {shown} pixels wide in a window of {width}"
                );
                let shot = driver.devtools(
                    "Page.captureScreenshot",
                    json!({ "format": "png", "captureBeyondViewport": true }),
                );
                let image = decoded(shot["data"].as_str().expect("a picture"));
                let file = folder.join(format!("{name}-{size}-{scheme}.png"));
                fs::write(file, image).expect("a picture can be written");
                self.check_rules(&format!("{name}, {size}, {scheme}"));
            }
        }
        driver.devtools("Emulation.clearDeviceMetricsOverride", json!({}));
        driver.devtools("Emulation.setEmulatedMedia", json!({ "features": [] }));
    }

    /// Checks that the page violates no rule of axe-core whose impact is serious or critical.
    #[track_caller]
    fn check_rules(&self, name: &str) {
        if self.driver.run("return typeof axe").as_str() != Some("object") {
            let axe = fs::read_to_string(axe_file()).expect("axe-core can be read");
            self.driver.run(&axe);
        }
        let found = self.driver.run_async(
            "const done = arguments[0];
             axe.run(document, { resultTypes: ['violations'] }).then(
                 found => done(found.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html + ' ' + n.failureSummary)])),
                 err => done([['critical', String(err), []]]))",
        );
        let grave: Vec<&Value> = found
            .as_array()
            .expect("a list of violations")
            .iter()
            .filter(|violation| violation[0] != "minor")
            .collect();
        assert!(grave.is_empty(), "{name}: {grave:#?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// Whether the programs for these tests are installed. Fails without them if every test must run.
fn is_there() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing = ["chromium", "chromedriver", "npm"]
        .into_iter()
        .find(|program| !found(program));
    let all = std::env::var("LATCHKEY_TEST_ALL").as_deref() == Ok("1");
    match missing {
        None if all || axe_file().is_file() => install_axe(),
        None => {
            println!("left out: axe-core is not installed; dev/test installs it");
            false
        }
        Some(program) => {
            assert!(!all, "{program} is missing");
            println!("left out: {program} is missing; dev/test installs it");
            false
        }
    }
}

fn axe_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!(
        "target/tools/axe-{AXE}/node_modules/axe-core/axe.min.js"
    ))
}

/// Installs axe-core below `target`, if it is not there yet.
fn install_axe() -> bool {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if axe_file().is_file() {
            return;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/tools/axe-{AXE}"));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let done = Command::new("npm")
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(&folder)
            .arg(format!("axe-core@{AXE}"))
            .output()
            .expect("npm can be run");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    });
    axe_file().is_file()
}

/// A text as an XPath literal.
fn quoted(text: &str) -> String {
    match text.contains('\'') {
        true => format!("\"{text}\""),
        false => format!("'{text}'"),
    }
}

/// Decodes Base64 (RFC 4648), the format of screenshots.
fn decoded(text: &str) -> Vec<u8> {
    let worth = |c: u8| match c {
        b'A'..=b'Z' => u32::from(c - b'A'),
        b'a'..=b'z' => u32::from(c - b'a') + 26,
        b'0'..=b'9' => u32::from(c - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let digits: Vec<u8> = text.bytes().filter(|c| *c != b'=').collect();
    for group in digits.chunks(4) {
        let bits = group.iter().fold(0, |bits, c| bits << 6 | worth(*c)) << (6 * (4 - group.len()));
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}
