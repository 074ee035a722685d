//! The console below a path: directly, and behind a proxy that removes the path.

use std::collections::BTreeSet;

use crate::support::{Response, Server, User};

/// Addresses of a page that a browser requests automatically or after a click.
fn addresses(page: &str) -> BTreeSet<String> {
    ["href=\"", "action=\"", "src=\"", "formaction=\""]
        .iter()
        .flat_map(|start| page.split(start).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .filter(|address| address.starts_with('/'))
        .map(|address| address.replace("&amp;", "&").replace("&#38;", "&"))
        // A browser does not send the fragment.
        .filter_map(|address| address.split('#').next().map(str::to_owned))
        .collect()
}

/// A browser that is signed in. `proxy` converts the path that the client requests to the path that the server
/// receives.
struct Browser<'a> {
    server: &'a Server,
    proxy: fn(&str) -> String,
    cookies: Vec<String>,
}

impl Browser<'_> {
    fn user(&self) -> User {
        let user = self.server.anonymous();
        let user = user.with("Origin", &format!("http://{}", self.server.address));
        match self.cookies.is_empty() {
            true => user,
            false => user.with("Cookie", &self.cookies.join("; ")),
        }
    }

    fn get(&self, address: &str) -> Response {
        self.user().get(&(self.proxy)(address))
    }

    fn post(&mut self, address: &str, form: &str) -> Response {
        let kind = "application/x-www-form-urlencoded";
        let target = (self.proxy)(address);
        let answer = self.user().send("POST", &target, kind, form.as_bytes());
        for (name, value) in &answer.headers {
            if name.eq_ignore_ascii_case("set-cookie") {
                assert!(value.contains("; Path=/keys/console;"), "{value}");
                let pair = value.split(';').next().unwrap();
                self.cookies.push(pair.to_owned());
            }
        }
        answer
    }
}

/// Visits all pages that links lead to, beginning with a sign-in.
#[track_caller]
fn walk(server: &Server, proxy: fn(&str) -> String) {
    let mut browser = Browser {
        server,
        proxy,
        cookies: Vec::new(),
    };
    // A request for a page without a session is redirected to the sign-in, and from there to the page.
    let wanted = browser.get("/keys/console/keys?q=x").expect(303);
    let sign_in = wanted.header("location").unwrap().to_owned();
    assert!(
        sign_in.starts_with("/keys/console/sign-in?next="),
        "{sign_in}"
    );
    let page = browser.get(&sign_in).expect(200).text();
    let next = page.split("name=\"next\" value=\"").nth(1).unwrap();
    let next = next
        .split('"')
        .next()
        .unwrap()
        .replace("&#38;", "&")
        .replace('/', "%2F")
        .replace('?', "%3F");
    let password = &server.owner_password;
    let form = format!("user_name=owner&password={password}&next={next}");
    let led = browser.post("/keys/console/sign-in", &form).expect(303);
    assert_eq!(led.header("location"), Some("/keys/console/keys?q=x"));
    let mut waiting: Vec<String> = vec!["/keys/console".to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(address) = waiting.pop() {
        if !seen.insert(address.clone()) || seen.len() > 150 {
            continue;
        }
        assert!(
            address == "/keys/console"
                || address.starts_with("/keys/console/")
                || address.starts_with("/keys/console?"),
            "{address}"
        );
        let answer = browser.get(&address);
        // Some addresses only accept forms.
        assert!(
            matches!(answer.status, 200 | 303 | 405),
            "{address}: {}",
            answer.exchange()
        );
        if answer
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html"))
        {
            waiting.extend(addresses(&answer.text()));
        }
        if let Some(location) = answer.header("location") {
            waiting.push(location.to_owned());
        }
    }
    assert!(seen.len() > 25, "{seen:?}");
    for asset in ["console.css", "console.js", "icon.svg"] {
        assert!(
            seen.iter().any(|address| address.contains(asset)),
            "{asset}"
        );
    }
    // The page for an unknown address has a link to the console as well.
    let missing = browser.get("/keys/console/nothing").expect(404).text();
    assert!(
        addresses(&missing)
            .iter()
            .all(|address| address.starts_with("/keys/console")),
        "{missing}"
    );
}

/// finding f4
#[test]
fn a_mount_puts_the_console_below_a_path() {
    let server = Server::start_with(&["--mount", "console=/keys"], &[]);
    walk(&server, str::to_owned);
    for gone in ["/", "/console", "/console/sign-in"] {
        server.anonymous().get(gone).expect(404);
    }
    let front = server.anonymous().get("/keys").expect(303);
    assert_eq!(front.header("location"), Some("/keys/console"));
    server.anonymous().get("/healthz").expect(200);
}

/// finding f4: the proxy removes the path, as Caddy's `handle_path /keys/*` does.
#[test]
fn a_proxy_may_take_the_path_of_the_console_off() {
    let server = Server::start_with(&["--console-path", "/keys"], &[]);
    walk(&server, |address| {
        address.strip_prefix("/keys").unwrap().to_owned()
    });
    let front = server.anonymous().get("/").expect(303);
    assert_eq!(front.header("location"), Some("/keys/console"));
    // No header of a request changes the path.
    let forged = server
        .anonymous()
        .with("X-Forwarded-Prefix", "//evil.example");
    let page = forged.get("/console/sign-in").expect(200).text();
    assert!(!page.contains("evil"), "{page}");
}

#[test]
fn the_console_may_be_off() {
    let server = Server::start_with(&["--mount", "console=off"], &[]);
    for gone in [
        "/",
        "/console",
        "/console/sign-in",
        "/console/assets/icon.svg",
    ] {
        server.anonymous().get(gone).expect(404);
    }
    server.anonymous().get("/healthz").expect(200);
}
