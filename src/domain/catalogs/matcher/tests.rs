//! What the matcher finds, and what it refuses.

use super::*;
use crate::domain::catalogs::path::SEGMENTS_MAX;
use crate::domain::catalogs::tests::operation;

fn matcher(templates: &[&str]) -> Matcher {
    let operations: Vec<Operation> = templates
        .iter()
        .enumerate()
        .map(|(n, path)| operation(&n.to_string(), "GET", path, &["a"]))
        .collect();
    Matcher::compile(&operations, false).unwrap()
}

#[track_caller]
fn check(templates: &[&str], path: &str, expected: impl Into<MatchResult>) {
    let segments = crate::domain::catalogs::path::segments(path).unwrap();
    assert_eq!(
        matcher(templates).find("GET", &segments, None),
        expected.into(),
        "{path}"
    );
}

impl From<Option<usize>> for MatchResult {
    fn from(position: Option<usize>) -> MatchResult {
        position.map_or(MatchResult::Unknown, MatchResult::Operation)
    }
}

// finding S5
#[test]
fn a_segment_that_resembles_a_literal_is_not_what_a_parameter_stands_for() {
    let users = ["/users/{id}", "/users/admin"];
    check(&users, "/users/7", Some(0));
    check(&users, "/users/admins", Some(0));
    check(&users, "/users/a.dmin", Some(0));
    check(&users, "/users/.admin", Some(0));
    check(&users, "/users/admin", Some(1));
    for alike in [
        "/users/Admin",
        "/users/ADMIN",
        "/users/%41dmin",
        "/users/admin.json",
        "/users/ADMIN.JSON",
        "/users/admin..json",
        "/users/admin%20.json",
        "/users/admin.a%20b",
    ] {
        check(&users, alike, MatchResult::Ambiguous);
    }
    check(&users, "/Users/7", None);

    let files = [
        "/files/{rest...}",
        "/files/secret/x",
        "/files/{a}/{b}/Hidden",
    ];
    check(&files, "/files/a/b", Some(0));
    check(&files, "/files/secret/y", Some(0));
    check(&files, "/files/secret/x", Some(1));
    for alike in [
        "/files/Secret",
        "/files/Secret/x",
        "/files/secret/X",
        "/files/secret/x.txt",
        "/files/secret.d/x",
        "/files/a/b/hidden",
        "/files/a/b/HIDDEN/c",
    ] {
        check(&files, alike, MatchResult::Ambiguous);
    }

    let deep = ["/a/{p}/c", "/a/lit/c", "/a/{p}/{q}/d"];
    check(&deep, "/a/x/c", Some(0));
    check(&deep, "/a/lit/c", Some(1));
    check(&deep, "/a/lit/z/d", Some(2));
    check(&deep, "/a/LIT/c", MatchResult::Ambiguous);
    check(&deep, "/a/LIT/z/d", MatchResult::Ambiguous);
    check(&deep, "/a/x/C/d", MatchResult::Ambiguous);
    check(&deep, "/a/x/C", MatchResult::Ambiguous);
    let long = format!("/l/{}", "a".repeat(FOLDED_BYTES + 1));
    check(
        &["/l/{x}", &long],
        &long.to_uppercase().replace("/L/", "/l/"),
        MatchResult::Ambiguous,
    );
}

#[test]
fn literals_that_differ_in_case_alone_are_one_place() {
    let twins = [
        "/Users/{id}",
        "/users/admin",
        "/USERS/{id}/keys",
        "/users/{id}/Keys/all",
    ];
    check(&twins, "/users/admin", Some(1));
    check(&twins, "/Users/7", Some(0));
    check(&twins, "/Users/admin", MatchResult::Ambiguous);
    check(&twins, "/USERS/admin/keys", MatchResult::Ambiguous);
    check(&twins, "/USERS/7/keys", Some(2));
    check(
        &["/a", "/A/{x...}", "/a/b/c"],
        "/A/b/c",
        MatchResult::Ambiguous,
    );
}

#[test]
fn a_literal_counts_whatever_its_method_and_host_are() {
    let mut there = operation("there", "DELETE", "/users/admin", &[]);
    let get = operation("get", "GET", "/users/{id}", &[]);
    let find = |operations: &[Operation], path: &str, host: Option<&str>| {
        let segments = crate::domain::catalogs::path::segments(path).unwrap();
        let matcher = Matcher::compile(operations, false).unwrap();
        let found = matcher.find("GET", &segments, host);
        (found, matcher.depends_on_host("GET", &segments))
    };
    let found = find(&[there.clone(), get.clone()], "/users/Admin", None);
    assert_eq!(found, (MatchResult::Ambiguous, false));

    there.host = Some("api.example".to_owned());
    there.method = "GET".to_owned();
    let both = [there, get];
    let ask = |path: &str, host: &str| find(&both, path, Some(host));
    let ambiguous = (MatchResult::Ambiguous, true);
    assert_eq!(ask("/users/Admin", "api.example"), ambiguous);
    assert_eq!(ask("/USERS/admin", "api.example").0, MatchResult::Unknown);
    assert_eq!(
        ask("/users/admin", "api.example").0,
        MatchResult::Operation(0)
    );
    assert_eq!(
        ask("/users/7", "api.example"),
        (MatchResult::Operation(1), false)
    );
    assert_eq!(
        ask("/users/Admin", "other.example").0,
        MatchResult::Operation(1)
    );
}

#[test]
fn a_catalog_that_tells_case_goes_by_exact_literals() {
    let operations = [
        operation("one", "GET", "/users/{id}", &[]),
        operation("two", "GET", "/users/admin", &[]),
    ];
    let matcher = Matcher::compile(&operations, true).unwrap();
    for (path, position) in [
        ("/users/admin", 1),
        ("/users/Admin", 0),
        ("/users/admin.json", 0),
    ] {
        let segments = crate::domain::catalogs::path::segments(path).unwrap();
        let found = matcher.find("GET", &segments, None);
        assert_eq!(found, MatchResult::Operation(position), "{path}");
    }
}

#[test]
fn a_stored_template_that_no_request_reaches_any_more_is_loaded() {
    let stored = [operation("old", "GET", "/a./{x}", &[])];
    assert!(Matcher::compile(&stored, false).is_ok());
}

#[test]
fn literal_segments_win_and_parameters_take_the_rest() {
    let templates = [
        "/a/b/d",
        "/a/{x}/c",
        "/a/{x}",
        "/",
        "/f/{p...}",
        "/a/b",
        "/s/",
    ];
    check(&templates, "/", Some(3));
    check(&templates, "/a/b", Some(5));
    check(&templates, "/a/z", Some(2));
    check(&templates, "/a/b/d", Some(0));
    check(&templates, "/a/b/c", Some(1));
    check(&templates, "/a/z/c", Some(1));
    check(&templates, "/a/z/d", None);
    check(&templates, "/a/", None);
    check(&templates, "/A/b", None);
    check(&templates, "/f/1", Some(4));
    check(&templates, "/f/1/2/3", Some(4));
    check(&templates, "/f/1/", Some(4));
    check(&templates, "/f/", None);
    check(&templates, "/f", None);
    check(&templates, "/s/", Some(6));
    check(&templates, "/s", None);
}

#[test]
fn a_rest_also_answers_below_its_literal_siblings() {
    let templates = ["/f/{p...}", "/f/x/y", "/f/{a}/b"];
    check(&templates, "/f/x", Some(0));
    check(&templates, "/f/x/y", Some(1));
    check(&templates, "/f/x/z/w", Some(0));
    check(&templates, "/f/q/b", Some(2));
    check(&templates, "/f/q/c", Some(0));
    check(&templates, "/f/x/b", Some(2));
}

// attacks 100
#[test]
fn operations_of_a_host_answer_for_that_host_only() {
    let mut there = operation("there", "GET", "/a", &[]);
    there.host = Some("api.example".to_owned());
    let matcher = Matcher::compile(&[there], false).unwrap();
    let segments = vec!["a".to_owned()];
    assert_eq!(
        matcher.find("GET", &segments, Some("API.example.:443")),
        MatchResult::Operation(0)
    );
    for host in [Some("evil-api.example"), Some("api.example, other"), None] {
        let found = matcher.find("GET", &segments, host);
        assert_eq!(found, MatchResult::Unknown, "{host:?}");
    }
}

#[test]
fn what_is_no_template_is_refused() {
    for bad in [
        "a",
        "/a//b",
        "/{x",
        "/{}",
        "/{x...}/b",
        "/a}b",
        "/..",
        "/a%2fb",
        "/{a b}",
        "/x{y",
        "/x}{y}",
        "/{y}%2f",
        "/{y}..",
        "/%20{y}",
        "/x{y...}",
        "/{x...}.json",
    ] {
        assert!(
            Matcher::compile(&[operation("x", "GET", bad, &[])], false).is_err(),
            "{bad}"
        );
    }
}

fn compiles(operations: impl IntoIterator<Item = (String, String)>) -> bool {
    let operations: Vec<Operation> = operations
        .into_iter()
        .enumerate()
        .map(|(n, (method, path))| operation(&n.to_string(), &method, &path, &[]))
        .collect();
    Matcher::compile(&operations, false).is_ok()
}

#[test]
fn a_template_is_no_deeper_than_a_path() {
    for segment in ["/{a}", "/a"] {
        let of = |count: usize| [("GET".to_owned(), segment.repeat(count))];
        assert!(compiles(of(SEGMENTS_MAX)), "{segment}");
        assert!(!compiles(of(SEGMENTS_MAX + 1)), "{segment}");
        assert!(!compiles(of(20_000)), "{segment}");
    }
}

#[test]
fn a_catalog_that_would_explode_is_refused() {
    let get = |path: String| ("GET".to_owned(), path);
    let deep = (0..18).flat_map(|depth| {
        let above = "/{x}".repeat(depth);
        [get(format!("{above}/a")), get(format!("{above}/b/c"))]
    });
    assert!(!compiles(deep));

    let of = |methods: usize, literals: usize, path: &'static str| {
        let method = |n: usize| "M".repeat(n / 20 + 1) + &"-".repeat(n % 20);
        let methods = (0..methods).map(move |n| (method(n), path.to_owned()));
        methods.chain((0..literals).map(move |n| get(format!("/l{n}"))))
    };
    for path in ["/{a}", "/{a...}"] {
        assert!(compiles(of(300, 300, path)), "{path}");
        assert!(!compiles(of(1_500, 1_500, path)), "{path}");
    }
    let long = get(format!("/{{a}}/{}", "x".repeat(100_000)));
    assert!(compiles([long.clone()]));
    assert!(!compiles(
        (0..1_000).map(|n| get(format!("/l{n}"))).chain([long])
    ));
}

#[test]
fn a_large_plain_catalog_is_taken() {
    let paths = (0..crate::domain::catalogs::OPERATIONS_MAX)
        .map(|n| format!("/api/v1/thing{n}/{{id}}/part"));
    assert!(compiles(paths.map(|path| ("GET".to_owned(), path))));
}

#[test]
fn a_slash_at_the_end_does_not_lead_past_a_literal() {
    let users = ["/users/{id}/", "/users/admin"];
    check(&users, "/users/7/", Some(0));
    check(&users, "/users/admin", Some(1));
    check(&users, "/users/admin/", MatchResult::Ambiguous);

    let users = ["/users/{id}", "/users/admin/"];
    check(&users, "/users/7", Some(0));
    check(&users, "/users/admin/", Some(1));
    check(&users, "/users/admin", MatchResult::Ambiguous);

    let both = ["/users/{id}", "/users/{id}/", "/users/admin/keys"];
    check(&both, "/users/admin", Some(0));
    check(&both, "/users/admin/", Some(1));

    let deep = ["/a/{p}/c", "/a/{p}/{q}/", "/a/lit/x"];
    check(&deep, "/a/7/d/", Some(1));
    check(&deep, "/a/7/c", Some(0));
    check(&deep, "/a/7/c/", MatchResult::Ambiguous);
    check(&deep, "/a/lit/c/", MatchResult::Ambiguous);
    check(&deep, "/a/lit/d/", Some(1));

    let files = ["/files/{rest...}", "/files/secret/"];
    check(&files, "/files/a", Some(0));
    check(&files, "/files/secret/", Some(1));
    check(&files, "/files/secret", MatchResult::Ambiguous);

    let exact = ["/users/{id}/", "/users/admin"].map(|path| operation(path, "GET", path, &[]));
    let segments = super::super::path::segments("/users/admin/").unwrap();
    let found = Matcher::compile(&exact, true)
        .unwrap()
        .find("GET", &segments, None);
    assert_eq!(found, MatchResult::Operation(0));
}

#[test]
fn a_stream_of_a_file_is_the_file() {
    let files = ["/files/{rest...}", "/files/secret", "/files/{id}/x"];
    check(&files, "/files/secretary:x", Some(0));
    for alike in [
        "/files/secret::$DATA",
        "/files/secret:a",
        "/files/SECRET.txt:a",
    ] {
        check(&files, alike, MatchResult::Ambiguous);
    }
}

#[test]
fn text_beside_a_parameter_is_between_a_literal_and_a_parameter() {
    let templates = [
        "/calls/{id}",
        "/calls/{id}.json",
        "/calls/{id}:cancel",
        "/calls/all.json",
        "/calls/{id}.json/parts",
        "/calls/{id}/log",
        "/calls/{id}.tar.json",
    ];
    check(&templates, "/calls/7", Some(0));
    check(&templates, "/calls/7.json", Some(1));
    check(&templates, "/calls/7:cancel", Some(2));
    check(&templates, "/calls/all.json", Some(3));
    check(&templates, "/calls/7.json/parts", Some(4));
    check(&templates, "/calls/all.json/parts", Some(4));
    check(&templates, "/calls/7/log", Some(5));
    check(&templates, "/calls/7.json/log", Some(5));
    check(&templates, "/calls/7:cancel/log", Some(5));
    check(&templates, "/calls/7.tar.json", Some(6));
    check(&templates, "/calls/7.tar.json/parts", Some(4));
    check(&templates, "/calls/7/parts", None);
    check(&templates, "/calls/7:cancel/parts", None);
    check(&templates, "/calls/7.xml", Some(0));
    for alike in [
        "/calls/7.JSON",
        "/calls/7.json.xml",
        "/calls/7.json:a",
        "/calls/7:Cancel",
        "/calls/.json",
        "/calls/ALL.json",
    ] {
        check(&templates, alike, MatchResult::Ambiguous);
    }
    // It is undecidable which of the two patterns matches.
    let both = ["/v{n}", "/{id}.json", "/{id}"];
    check(&both, "/v7", Some(0));
    check(&both, "/7.json", Some(1));
    check(&both, "/v7.json", MatchResult::Ambiguous);
    check(
        &["/v{n}", "/{id}.json/x", "/v7.json", "/{id}/y"],
        "/v7.json/x",
        None,
    );
    check(
        &["/v{n}", "/{id}.json/x", "/v7.json", "/{id}/y"],
        "/v7.json/y",
        None,
    );
    // An application that adds the extension itself finds the literal.
    check(
        &["/users/{id}.json", "/users/admin"],
        "/users/admin.json",
        MatchResult::Ambiguous,
    );
    check(
        &["/Users/{id}", "/users/{id}.json"],
        "/Users/7.json",
        MatchResult::Ambiguous,
    );
    check(&["/f/{rest...}", "/f/{id}.json"], "/f/7.json", Some(1));
    check(&["/f/{rest...}", "/f/{id}.json"], "/f/7.json/x", Some(0));
    check(
        &["/f/{rest...}", "/f/{id}.json"],
        "/f/7.Json/x",
        MatchResult::Ambiguous,
    );
    check(&["/{a}-{b}", "/{id}"], "/1-2", Some(0));
    check(&["/{a}-{b}", "/{id}"], "/12", Some(1));

    let exact = ["/{id}", "/{id}.json"].map(|path| operation(path, "GET", path, &[]));
    let matcher = Matcher::compile(&exact, true).unwrap();
    for (path, position) in [("/7.json", 1), ("/7.JSON", 0), ("/7.json.xml", 0)] {
        let segments = crate::domain::catalogs::path::segments(path).unwrap();
        assert_eq!(
            matcher.find("GET", &segments, None),
            MatchResult::Operation(position),
            "{path}"
        );
    }
    let many = (0..=PATTERNS_MAX).map(|n| ("GET".to_owned(), format!("/x{n}-{{id}}")));
    assert!(!compiles(many));
}

// finding D13
#[test]
fn head_is_what_get_is() {
    let mut operations = vec![
        operation("get", "GET", "/a/{x}", &[]),
        operation("literal", "GET", "/a/b", &[]),
        operation("head", "HEAD", "/a/{x}", &[]),
        operation("own head", "HEAD", "/a/c", &[]),
        operation("c", "GET", "/a/c", &[]),
        operation("rest", "GET", "/f/{x...}", &[]),
        operation("post", "POST", "/p", &[]),
        operation("there", "GET", "/h", &[]),
        operation("any host", "HEAD", "/h", &[]),
    ];
    operations[7].host = Some("api.example".to_owned());
    let matcher = Matcher::compile(&operations, false).unwrap();
    for (path, expected) in [
        ("/a/7", MatchResult::Operation(2)),
        ("/a/b", MatchResult::Operation(1)),
        ("/a/c", MatchResult::Operation(3)),
        ("/f/1/2", MatchResult::Operation(5)),
        ("/f/1", MatchResult::Operation(5)),
        ("/p", MatchResult::Unknown),
        ("/a/B", MatchResult::Ambiguous),
        ("/h", MatchResult::Operation(7)),
    ] {
        let segments = crate::domain::catalogs::path::segments(path).unwrap();
        let found = matcher.find("HEAD", &segments, Some("api.example"));
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn what_is_closed_is_not_answered_by_a_template_that_crosses_it() {
    let find = |open: &str, closed: &str, methods: (&str, &str), method: &str, path: &str| {
        let mut operations = [
            operation("open", methods.0, open, &["a"]),
            operation("closed", methods.1, closed, &[]),
        ];
        let segments = crate::domain::catalogs::path::segments(path).unwrap();
        let mut found = Vec::new();
        for _ in 0..2 {
            let matcher = Matcher::compile(&operations, false).unwrap();
            found.push(match matcher.find(method, &segments, None) {
                MatchResult::Operation(position) => operations[position].id.clone(),
                other => format!("{other:?}"),
            });
            operations.reverse();
        }
        assert_eq!(found[0], found[1]);
        found[0].clone()
    };
    for (open, closed, path, expected) in [
        ("/a/{x}/c", "/a/b/{y}", "/a/b/c", "closed"),
        ("/a/{x}/c", "/a/b/{y}", "/a/d/c", "open"),
        ("/a/b/{y}", "/a/{x}/c", "/a/b/c", "closed"),
        ("/a/b/c", "/a/{x}/{y}", "/a/b/c", "open"),
        ("/a/b/{y}", "/a/{x}/{y}", "/a/b/c", "open"),
        ("/{x}/{y}.json", "/{x}.json/{y}", "/1.json/2.json", "closed"),
        ("/{x}/{y}/c", "/{x}-{z}/{y}/{w}", "/1-2/3/c", "closed"),
        ("/{x...}", "/a/{y}", "/a/b", "closed"),
        ("/a/{y}", "/{x...}", "/a/b", "open"),
        ("/a/{y...}", "/{x}/b", "/a/b", "closed"),
    ] {
        let get = ("GET", "GET");
        assert_eq!(
            find(open, closed, get, "GET", path),
            expected,
            "{open} {closed}"
        );
        assert_eq!(
            find(open, closed, get, "HEAD", path),
            expected,
            "{open} {closed}"
        );
        assert_eq!(
            find(open, closed, ("HEAD", "GET"), "HEAD", path),
            expected,
            "{open} {closed}"
        );
        assert_eq!(
            find(open, closed, ("GET", "HEAD"), "HEAD", path),
            expected,
            "{open} {closed}"
        );
        assert_eq!(
            find(open, closed, ("POST", "GET"), "POST", path),
            "open",
            "{open} {closed}"
        );
    }
}
