//! People who use only a keyboard, who enlarge or print pages, see no images, or get ill from movement.

use std::fs;

use crate::harness::browser::Browser;
use crate::support::{Server, fresh_folder, wait};
use serde_json::{Value, json};

const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";
const ESCAPE: &str = "\u{E00C}";
const SHIFT: &str = "\u{E008}";
const SPACE: &str = " ";

/// Pages that together contain every kind of element, once a key `sample` exists.
const PAGES: &[&str] = &[
    "/console",
    "/console/keys",
    "/console/keys/new?policy=standard",
    "/console/policies",
    "/console/policies/standard/edit",
    "/console/catalogs/awaretrain",
    "/console/catalogs/awaretrain/edit",
    "/console/users/owner",
    "/console/workspaces",
    "/console/audit",
    "/console/backups",
    "/console/doctor",
    "/console/new-site",
    "/console/notices",
    "/console/sites",
    "/console/account",
];

/// Presses keys, one after the other, in the element that has the focus.
fn press_keys(browser: &Browser, keys: &[&str]) {
    let each = keys.iter().flat_map(|key| {
        let step = |kind: &str| json!({ "type": kind, "value": key });
        [step("keyDown"), step("keyUp")]
    });
    let actions: Vec<Value> = each.collect();
    act(browser, &actions);
}

fn act(browser: &Browser, actions: &[Value]) {
    let body = json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] });
    browser.driver.command("POST", "/actions", Some(body));
}

fn go_back(browser: &Browser) {
    act(
        browser,
        &[
            json!({ "type": "keyDown", "value": SHIFT }),
            json!({ "type": "keyDown", "value": TAB }),
            json!({ "type": "keyUp", "value": TAB }),
            json!({ "type": "keyUp", "value": SHIFT }),
        ],
    );
}

/// The element with the focus: its number among all that can have it, in page order, and whether it is visible.
fn focus(browser: &Browser) -> (i64, bool, String) {
    let found = browser.driver.run(
        "const can = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex=\"0\"]')]
             .filter(e => e.checkVisibility({ visibilityProperty: true }) && !e.disabled);
         const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
         const seen = (e.matches(':focus-visible') || e.type === 'date') && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
             && box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
         return [can.indexOf(e), seen, e.outerHTML.slice(0, 120)]",
    );
    (
        found[0].as_i64().unwrap(),
        found[1].as_bool().unwrap(),
        found[2].as_str().unwrap().to_owned(),
    )
}

/// Moves through a page with the Tab key from beginning to end: every element is reached in page order, and the focus
/// is always visible. A group of radio buttons counts as one element.
#[track_caller]
fn walk(browser: &Browser) -> usize {
    let script = "document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0);
        document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex');
        return [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex=\"0\"]')]
            .filter(e => e.checkVisibility({ visibilityProperty: true }) && !e.disabled)
            .filter(e => e.type !== 'radio' || e.checked).length";
    let all = browser.driver.run(script).as_u64().unwrap() as usize;
    let mut last = -1;
    let mut reached = 0;
    // A date has several parts.
    for _ in 0..all * 4 {
        press_keys(browser, &[TAB]);
        let (at, seen, what) = focus(browser);
        if at < 0 || at < last {
            break;
        }
        assert!(seen, "{}: the focus is not seen on {what}", browser.place());
        reached += usize::from(at > last);
        last = at;
    }
    assert_eq!(reached, all, "{} reaches all there is", browser.place());
    reached
}

#[test]
fn everything_can_be_done_with_a_keyboard() {
    let server = Server::start();
    let Some(browser) = Browser::open(&server) else {
        return;
    };
    let driver = &browser.driver;
    // Sign-in: the name has the focus, then the password, then the button. Return sends the form.
    browser.go("/console/sign-in");
    let name = |browser: &Browser| {
        let script = "return document.activeElement.name || document.activeElement.textContent";
        let name = browser.driver.run(script);
        name.as_str().unwrap_or("").trim().to_owned()
    };
    assert_eq!(name(&browser), "user_name");
    press_keys(&browser, &[TAB]);
    assert_eq!(name(&browser), "password");
    press_keys(&browser, &[TAB]);
    assert_eq!(name(&browser), "Sign in");
    go_back(&browser);
    go_back(&browser);
    let typed: Vec<String> = server.owner_user_name.chars().map(String::from).collect();
    press_keys(
        &browser,
        &typed.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    press_keys(&browser, &[TAB]);
    let typed: Vec<String> = server.owner_password.chars().map(String::from).collect();
    press_keys(
        &browser,
        &typed.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    press_keys(&browser, &[ENTER]);
    browser.sees("Overview");

    // The first element of each page is the link that skips the navigation.
    press_keys(&browser, &[TAB]);
    assert_eq!(name(&browser), "Skip to the content");
    let (_, seen, _) = focus(&browser);
    assert!(seen);
    press_keys(&browser, &[ENTER, TAB]);
    let inside = "return !!document.activeElement.closest('main')";
    assert_eq!(driver.run(inside), true);

    for page in PAGES {
        browser.go(page);
        walk(&browser);
    }

    // A key, from the form to its secret.
    browser.go("/console/keys/new?policy=standard");
    driver.run("document.querySelector('[name=name]').focus()");
    press_keys(&browser, &["b", "o", "t", ENTER]);
    browser.sees("Key created");
    // The dialog has the focus and keeps it.
    let trapped = "const e = document.activeElement; return e === document.body || !!e.closest('dialog:modal')";
    let mut stops = std::collections::BTreeSet::new();
    for _ in 0..12 {
        press_keys(&browser, &[TAB]);
        assert_eq!(driver.run(trapped), true, "{}", focus(&browser).2);
        let (at, seen, what) = focus(&browser);
        assert!(at < 0 || seen, "the focus is not seen on {what}");
        stops.insert(what);
    }
    assert!(
        stops.iter().any(|what| what.contains("data-copy")),
        "{stops:?}"
    );
    // Escape loses no secret.
    press_keys(&browser, &[ESCAPE]);
    browser.sees("Key created");
    driver.run("document.querySelector('[data-leave]').focus()");
    press_keys(&browser, &[ENTER]);
    browser.sees("About this key");

    // If a dialog can be cancelled, Escape cancels it; Return on the button confirms it.
    driver.click_path("//a[normalize-space()='Delete']");
    browser.sees("Delete this key?");
    press_keys(&browser, &[ESCAPE]);
    browser.sees("About this key");
    driver.click_path("//a[normalize-space()='Delete']");
    browser.sees("Delete this key?");
    driver.run("document.querySelector('dialog button').focus()");
    press_keys(&browser, &[SPACE]);
    browser.sees("The key has been deleted permanently.");
}

#[test]
fn pages_can_be_enlarged_to_twice_their_size() {
    let server = Server::start();
    let key = server.admin().issue(json!({
        "name": "a name without any blank that goes on and on: ".replace(' ', "-") + &"x".repeat(50),
        "scopes": ["invoices:read", "a:".to_owned() + &"y".repeat(98)], "expires_in_s": 86_400,
    }));
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    let driver = &browser.driver;
    let own = format!("/console/keys/{}", key.id);
    let check = |how: &str, page: &str| {
        let wider = driver.run(
            "const root = document.documentElement; if (root.scrollWidth > root.clientWidth) {
                 const out = [...document.querySelectorAll('body *')].filter(e => e.checkVisibility()
                     && !e.closest('.scroll') && e.getBoundingClientRect().right > root.clientWidth + 1);
                 return 'too wide: ' + out.map(e => e.outerHTML.slice(0, 150)).join('; ');
             }
             const cut = [...document.querySelectorAll('main *, header *')].find(e => {
                 const style = getComputedStyle(e);
                 return e.checkVisibility() && style.overflowX === 'hidden' && style.position !== 'absolute'
                     && e.scrollWidth > e.clientWidth + 1;
             });
             return cut ? cut.outerHTML.slice(0, 200) : ''",
        );
        assert_eq!(wider, "", "{page}, {how}");
    };
    for page in PAGES.iter().chain(&[own.as_str()]) {
        // A window of 1280 pixels at 200 %: half as many CSS pixels, with twice the density.
        let metrics =
            json!({ "width": 640, "height": 450, "deviceScaleFactor": 2, "mobile": false });
        driver.devtools("Emulation.setDeviceMetricsOverride", metrics);
        browser.go(page);
        check("zoom", page);
        driver.devtools("Emulation.clearDeviceMetricsOverride", json!({}));
        // Only the text is enlarged, to twice its size.
        let metrics =
            json!({ "width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        driver.devtools("Emulation.setDeviceMetricsOverride", metrics);
        driver.run("document.documentElement.style.fontSize = '200%'");
        check("letters", page);
        driver.devtools("Emulation.clearDeviceMetricsOverride", json!({}));
    }
}

#[test]
fn pages_print_without_what_paper_cannot_do() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    let driver = &browser.driver;
    let media = json!({ "media": "print", "features": [
        { "name": "prefers-color-scheme", "value": "dark" },
    ]});
    for page in PAGES {
        browser.go(page);
        driver.devtools("Emulation.setEmulatedMedia", media.clone());
        let found = driver.run(
            "const shown = s => [...document.querySelectorAll(s)].filter(e => e.checkVisibility()).map(e => e.outerHTML.slice(0, 80));
             const dark = [...document.querySelectorAll('body, main, .card, .note, td')].filter(e => e.checkVisibility())
                 .map(e => getComputedStyle(e)).filter(s => {
                     const light = c => { const [r, g, b, a] = c.match(/[\\d.]+/g).map(Number); return a === 0 ? 765 : r + g + b };
                     return light(s.backgroundColor) < 600 || light(s.color) > 300;
                 }).length;
             const cut = [...document.querySelectorAll('.scroll')].filter(e => getComputedStyle(e).overflowX !== 'visible').length;
             return [shown('.side, nav, button, .button, .skip'), shown('h1').length, dark, cut]",
        );
        assert_eq!(found[0], json!([]), "{page}: what can only be pressed");
        assert_eq!(found[1], 1, "{page} has its heading");
        assert_eq!(found[2], 0, "{page} is dark on white");
        assert_eq!(found[3], 0, "{page} cuts no table");
    }
    browser.go("/console/keys");
    let printed = driver.devtools("Page.printToPDF", json!({ "printBackground": false }));
    assert!(
        printed["data"]
            .as_str()
            .is_some_and(|data| data.starts_with("JVBERi0"))
    );
    driver.devtools(
        "Emulation.setEmulatedMedia",
        json!({ "media": "", "features": [] }),
    );
}

#[test]
fn nothing_moves_for_whoever_asks_for_that() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    let driver = &browser.driver;
    let moving = "return [...document.querySelectorAll('*')].filter(e => [null, '::before', '::after'].some(p => {
             const s = getComputedStyle(e, p);
             return s.animationName !== 'none' || s.scrollBehavior === 'smooth'
                 || s.transitionDuration.split(',').some(d => parseFloat(d) > 0);
         })).length";
    for (wanted, moves) in [("reduce", false), ("no-preference", true)] {
        let features =
            json!({ "features": [{ "name": "prefers-reduced-motion", "value": wanted }] });
        driver.devtools("Emulation.setEmulatedMedia", features);
        for page in PAGES {
            browser.go(page);
            let count = driver.run(moving).as_u64().unwrap();
            assert!(count == 0 || moves, "{page}: {count}");
        }
        // The question is one that can be answered with yes.
        assert_eq!(driver.run(moving).as_u64().unwrap() > 0, moves);
    }
}

#[test]
fn pages_say_everything_without_pictures() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    let driver = &browser.driver;
    for page in PAGES {
        browser.go(page);
        let found = driver.run(
            "const unnamed = [...document.querySelectorAll('a, button, summary')].filter(e => {
                 if (!e.checkVisibility()) return false;
                 const bare = e.cloneNode(true); bare.querySelectorAll('svg').forEach(s => s.remove());
                 return !bare.textContent.trim();
             });
             const pictures = [...document.querySelectorAll('svg')].filter(
                 s => s.getAttribute('aria-hidden') !== 'true' && !(s.getAttribute('role') === 'img' && s.getAttribute('aria-label')));
             const drawn = [...document.querySelectorAll('*')].filter(e => getComputedStyle(e).backgroundImage !== 'none');
             return [...document.querySelectorAll('img, picture, canvas, object'), ...unnamed, ...pictures, ...drawn]
                 .map(e => e.outerHTML.slice(0, 100))",
        );
        assert_eq!(found, json!([]), "{page}");
    }
    // The chart is a table too.
    browser.go("/console");
    let chart = "return !document.querySelector('.chart') || !!document.querySelector('.chart').getAttribute('aria-label')";
    assert_eq!(driver.run(chart), true);
}

#[test]
fn the_audit_log_is_downloaded() {
    let server = Server::start();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    let folder = fresh_folder();
    let behaviour = json!({ "behavior": "allow", "downloadPath": folder });
    browser
        .driver
        .devtools("Browser.setDownloadBehavior", behaviour);
    for (button, name, begins) in [
        (
            "As CSV, for spreadsheets",
            "audit-log.csv",
            "seq,at,actor,action,",
        ),
        (
            "As JSON lines, for programs",
            "audit-log.jsonl",
            "{\"seq\":",
        ),
    ] {
        browser.go("/console/audit");
        browser.press("Export the audit log");
        browser.press(button);
        let file = folder.join(name);
        let text = wait::some(&format!("{name} was downloaded"), || {
            let text = fs::read_to_string(&file).ok()?;
            (!text.is_empty()).then_some(text)
        });
        assert!(text.starts_with(begins), "{text:.100}");
        assert!(text.contains("audit.export"));
        // The page is still there.
        browser.sees("Audit log");
    }
    let _ = fs::remove_dir_all(folder);
}
