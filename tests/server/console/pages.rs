//! The headers of every page.

use super::Visitor;
use crate::support::Server;

// attacks 181, 182, 185
#[test]
fn pages_load_nothing_from_elsewhere_and_are_kept_nowhere() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    for path in [
        "/console",
        "/console/account",
        "/console/sign-in",
        "/console/nowhere",
        "/console/assets/none",
    ] {
        let response = owner.get(path);
        let policy = response.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"),
            "{path}"
        );
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("referrer-policy"), Some("same-origin"));
        assert_eq!(response.header("access-control-allow-origin"), None);
        let page = response.text();
        assert!(
            !page.contains(" style=") && !page.contains("<style") && !page.contains(" onclick")
        );
        let addresses = page
            .split("href=\"")
            .skip(1)
            .chain(page.split("src=\"").skip(1));
        for address in addresses {
            assert!(
                address.starts_with('/') || address.starts_with('#'),
                "{path}: {address:.60}"
            );
        }
    }
}

#[test]
fn files_are_kept_by_browsers_until_they_change() {
    let server = Server::start();
    let mut visitor = Visitor::new(&server);
    let page = visitor.get("/console/sign-in").expect(200).text();
    let style = page.split("rel=\"stylesheet\" href=\"").nth(1).unwrap();
    let style = style.split('"').next().unwrap();
    let response = visitor.get(style).expect(200);
    assert!(
        response
            .header("cache-control")
            .unwrap()
            .contains("immutable")
    );
    assert_eq!(
        response.header("content-type"),
        Some("text/css; charset=utf-8")
    );
    let response = visitor.get("/console/assets/console.css?v=old").expect(200);
    assert_eq!(response.header("cache-control"), Some("no-cache"));
    visitor
        .get("/console/assets/..%2f..%2fCargo.toml")
        .expect(404);
}

#[test]
fn the_front_page_is_the_console() {
    let server = Server::start();
    let mut visitor = Visitor::new(&server);
    assert_eq!(
        visitor.get("/").expect(303).header("location"),
        Some("/console")
    );
    let response = visitor.get("/console").expect(303);
    assert_eq!(response.header("location"), Some("/console/sign-in"));
    let response = visitor.get("/console/account?a=b").expect(303);
    let expected = "/console/sign-in?next=%2Fconsole%2Faccount%3Fa%3Db";
    assert_eq!(response.header("location"), Some(expected));
}

#[test]
fn a_link_elsewhere_leads_in_although_the_cookie_stays_behind() {
    let server = Server::start();
    let headers = [("Sec-Fetch-Site", "cross-site")];
    let response = server
        .call("GET", "/console/account", &headers, None)
        .expect(200);
    assert!(
        response
            .text()
            .contains("<meta http-equiv=\"refresh\" content=\"0\">")
    );
    let headers = [("Sec-Fetch-Site", "same-origin")];
    server
        .call("GET", "/console/account", &headers, None)
        .expect(303);
}
