//! What is closed stays closed, across hosts and slashes.

use super::*;
use crate::domain::catalogs::tests::operation;

/// What a request finds at a host, where each operation is `(path, host, whether it is closed)`.
fn found_at(
    operations: &[(&str, &str, bool)],
    method: &str,
    path: &str,
    host: &str,
) -> MatchResult {
    let operations: Vec<Operation> = operations
        .iter()
        .enumerate()
        .map(|(n, (path, host, is_closed))| {
            let mut made = operation(&n.to_string(), "GET", path, &["a"]);
            made.host = Some((*host).to_owned()).filter(|host| !host.is_empty());
            if *is_closed {
                made.requirement = Requirement::Nobody;
            }
            made
        })
        .collect();
    let segments = crate::domain::catalogs::path::segments(path).unwrap();
    let matcher = Matcher::compile(&operations, false).unwrap();
    matcher.find(method, &segments, Some(host))
}

#[test]
fn what_is_closed_for_any_host_is_not_opened_by_a_template_of_a_named_one() {
    let all = [
        ("/y/admin", "", true),
        ("/y/{id}", "h.example", false),
        ("/z/{id}", "", true),
        ("/z/open", "h.example", false),
        ("/z/{id}/x", "", true),
        ("/z/b/{id}", "h.example", false),
        ("/s/admin/", "", true),
        ("/s/{id}", "h.example", false),
    ];
    for method in ["GET", "HEAD"] {
        let find = |path: &str| found_at(&all, method, path, "h.example");
        assert_eq!(find("/y/admin"), MatchResult::Operation(0));
        for alike in ["/y/ADMIN", "/y/admin.json", "/s/admin"] {
            assert_eq!(find(alike), MatchResult::Ambiguous, "{alike}");
        }
        assert_eq!(find("/y/7"), MatchResult::Operation(1));
        assert_eq!(find("/s/7"), MatchResult::Operation(7));
        // What the host has of its own within the closed one is open, and what crosses it is not.
        assert_eq!(find("/z/open"), MatchResult::Operation(3));
        assert_eq!(find("/z/b/x"), MatchResult::Operation(4));
        assert_eq!(find("/z/b/y"), MatchResult::Operation(5));
    }
}

#[test]
fn a_slash_at_the_end_does_not_lead_past_a_named_host() {
    let all = [
        ("/files/admin", "h.example", true),
        ("/files/{p...}", "", false),
        ("/x/admin/", "h.example", true),
        ("/x/{p}", "", false),
    ];
    for path in ["/files/admin/", "/files/ADMIN/", "/x/admin"] {
        let found = found_at(&all, "GET", path, "h.example");
        assert_eq!(found, MatchResult::Ambiguous, "{path}");
        assert_ne!(
            found_at(&all, "GET", path, "o.example"),
            MatchResult::Ambiguous
        );
    }
    let mut named = operation("named", "GET", "/files/admin", &[]);
    named.host = Some("h.example".to_owned());
    let matcher = Matcher::compile(&[named], false).unwrap();
    for (path, expected) in [
        ("/files/admin", true),
        ("/files/admin/", true),
        ("/files/x/", false),
    ] {
        let segments = crate::domain::catalogs::path::segments(path).unwrap();
        assert_eq!(
            matcher.depends_on_host("GET", &segments),
            expected,
            "{path}"
        );
    }
}

#[test]
fn a_closed_rest_is_closed_with_a_slash_at_the_end() {
    let all = [
        ("/a/{p...}", "", true),
        ("/{x}/{y}/", "", false),
        ("/{x}/{y}/{z}/", "", false),
        ("/a/own/", "", false),
    ];
    for (path, position) in [
        ("/a/b", 0),
        ("/a/b/", 0),
        ("/a/b/c/", 0),
        ("/b/c/", 1),
        ("/a/own/", 3),
    ] {
        for method in ["GET", "HEAD"] {
            let found = found_at(&all, method, path, "h.example");
            assert_eq!(found, MatchResult::Operation(position), "{method} {path}");
        }
    }
}
