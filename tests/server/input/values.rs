//! The invalid values of each kind of member, and the position of the fault in them.

use serde_json::{Value, json};

/// The kind of a member.
#[derive(Clone, Copy)]
pub enum Kind {
    Address,
    Addresses,
    CatalogScopes,
    Days,
    Editable,
    Email,
    Flag,
    Future,
    Headers,
    Line,
    Metadata,
    Name,
    Number {
        most: u64,
    },
    Objects,
    Operations,
    Password,
    /// The name of an object that must exist.
    Place,
    Positive,
    Prefix,
    PrefixOrNone,
    Rate,
    Roles,
    Scopes,
    Slug,
    Text,
    Time,
    Url,
    UserName,
    /// One of a few words.
    Word,
    Words,
}

/// Invalid values, each with the rest of the member's name in the error: `[0]`, `.limit` or nothing.
pub fn refused(kind: Kind) -> Vec<(Value, &'static str)> {
    use Kind::*;
    match kind {
        Address => [texts(), plain(&["", "x", "1.2.3", "1.2.3.4:80", "[::1]", "fe80::1%eth0", "10.0.0.0/8", "256.1.1.1"])].concat(),
        Addresses => [lists(), listed(&["", "x", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.1/8", "0.0.0.0/0", "::/0", "::/129", "fe80::1%eth0", "1.2.3.4:80", "1.2.3.4 "]), vec![
            (json!([]), ""),
            (json!((0..101).map(|last| format!("10.0.0.{last}")).collect::<Vec<_>>()), ""),
        ]].concat(),
        CatalogScopes => [objects(), vec![
            (json!([{}]), "[0].name"),
            (json!([{ "name": 1 }]), "[0].name"),
            (json!([{ "name": "" }]), "[0].name"),
            (json!([{ "name": "a b" }]), "[0].name"),
            (json!([{ "name": "a" }, { "name": "a" }]), "[1].name"),
            (json!([{ "name": "a", "label": "\n" }]), "[0].label"),
            (json!([{ "name": "a", "label": [] }]), "[0].label"),
            (json!([{ "name": "a", "implies": "a" }]), "[0].implies"),
            (json!([{ "name": "a", "x": 1 }]), "[0].x"),
        ]].concat(),
        Days => vec![
            (json!("7"), ""),
            (json!(7), ""),
            (json!({}), ""),
            (json!([null]), ""),
            (json!([0]), "[0]"),
            (json!([367]), "[0]"),
            (json!([1u64 << 40]), "[0]"),
            (json!([7, 7]), "[1]"),
            (json!([1, 7]), "[1]"),
            (json!(["7"]), ""),
            (json!([7.5]), ""),
            (json!([-1]), ""),
            (json!([6, 5, 4, 3, 2, 1]), ""),
        ],
        Editable => [lists(), listed(&["", "id", "Name", "secret", "rate_limit.limit"]), vec![(json!(["name", "name"]), "[1]")]].concat(),
        Email => [texts(), plain(&["", "a", "a@", "@b", "a@b@c", "a b@c", "é@b", "a@b\n"]), vec![(json!(format!("{}@b", "a".repeat(253))), "")]].concat(),
        Flag => vec![(json!("true"), ""), (json!(1), ""), (json!(0), ""), (json!([]), ""), (json!({}), "")],
        Future => [refused(Time), plain(&["2020-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])].concat(),
        Headers => [lists(), listed(&["", "X-Api-Key", "x api", "x_key", "cookie", "authorization", "x-forwarded-for", "1-key", "é", "a\n"]), vec![
            (json!([]), ""),
            (json!(["bearer", "bearer"]), "[1]"),
            (json!(["x".repeat(65)]), "[0]"),
            (json!((0..9).map(|number| format!("x-key-{number}")).collect::<Vec<_>>()), ""),
        ]].concat(),
        Line => [texts(), vec![(json!("a".repeat(501)), "")], plain(&MISLEADING)].concat(),
        Metadata => vec![(json!("{}"), ""), (json!([]), ""), (json!(1), ""), (json!({ "a": "x".repeat(4096) }), "")],
        Name => [refused(Line), vec![(json!("a".repeat(101)), ""), (json!("é".repeat(101)), "")], plain(&["", " ", "\u{3000}", " a", "a "])].concat(),
        Number { most } => [numbers(), vec![(json!(most + 1), "")]].concat(),
        Objects => objects(),
        Operations => {
            let operation = |member: &str, value: Value| {
                let mut operation = json!({ "id": "a", "method": "GET", "path": "/", "access": "read", "any_key": true });
                operation[member] = value;
                json!([operation])
            };
            [objects(), vec![
                (json!([{}]), "[0].access"),
                (operation("access", json!("rw")), "[0].access"),
                (operation("access", json!(true)), "[0].access"),
                (operation("id", json!(null)), "[0].id"),
                (operation("method", json!(1)), "[0].method"),
                (operation("method", json!("get it")), "[0].method"),
                (operation("path", json!("items")), "[0].path"),
                (operation("path", json!("/a/../b")), "[0].path"),
                (operation("host", json!([])), "[0].host"),
                (operation("host", json!("a b")), "[0].host"),
                (operation("any_of", json!("r")), "[0].any_of"),
                (operation("preflight", json!("true")), "[0].preflight"),
                (operation("x", json!(1)), "[0].x"),
            ]].concat()
        }
        Password => [texts(), plain(&["", "elevenbytes", "passwordpassword", "aaaaaaaaaaaaaaaa"]), vec![(json!("a b".repeat(342)), "")]].concat(),
        Place => [texts(), plain(&["", "nowhere", "' OR 1=1 --", "%", "\0", "../root"])].concat(),
        Positive => [numbers(), vec![(json!(0), "")]].concat(),
        Prefix => [texts(), plain(&["", "a", "A1", "a_b", "lks", "abcdefghijklmnopq", "é1"])].concat(),
        PrefixOrNone => refused(Prefix).into_iter().filter(|(value, _)| *value != json!("")).collect(),
        Rate => vec![
            (json!(60), ""),
            (json!([]), ""),
            (json!("60/60"), ""),
            (json!({}), ".limit"),
            (json!({ "limit": 1 }), ".window_s"),
            (json!({ "limit": "1", "window_s": 1 }), ".limit"),
            (json!({ "limit": -1, "window_s": 1 }), ".limit"),
            (json!({ "limit": 4_294_967_297_u64, "window_s": 1 }), ".limit"),
            (json!({ "limit": 1, "window_s": 0 }), ".window_s"),
            (json!({ "limit": 1, "window_s": 31 * 86_400 + 1 }), ".window_s"),
            (json!({ "limit": 1, "window_s": 1, "burst": 1 }), ".burst"),
        ],
        Roles => [objects(), vec![
            (json!([{}]), "[0].workspace"),
            (json!([{ "workspace": "root" }]), "[0].role"),
            (json!([{ "workspace": 1, "role": "member" }]), "[0].workspace"),
            (json!([{ "workspace": "root", "role": "king" }]), "[0].role"),
            (json!([{ "workspace": "root", "role": "Owner" }]), "[0].role"),
            (json!([{ "workspace": "nowhere", "role": "member" }]), "[0].workspace"),
            (json!([{ "workspace": "root", "role": "member", "x": 1 }]), "[0].x"),
            (json!([{ "workspace": "root", "role": "member" }, { "workspace": "root", "role": "owner" }]), "[1].workspace"),
        ]].concat(),
        Scopes => [lists(), listed(&["", "a b", "a,b", "a\"b", "a\\b", "é", "a\n"]), vec![
            (json!(["a".repeat(101)]), "[0]"),
            (json!((0..201).map(|number| format!("s{number}")).collect::<Vec<_>>()), ""),
        ]].concat(),
        Slug => [texts(), plain(&["", "A", "-a", "a b", "a/b", "é", ".", "a\n"]), vec![(json!("a".repeat(64)), "")]].concat(),
        Text => texts(),
        Time => [texts(), plain(&[
            "", "tomorrow", "2030", "2030-01-01", "2030-01-01T00:00:00", "2030-02-30T00:00:00Z", "2030-01-01T24:00:01Z",
            "2030-01-01T00:61:00Z", "10000-01-01T00:00:00Z", "+010000-01-01T00:00:00Z", "-000001-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z", "2030-W01-1T00:00:00Z", "2030-01-01T00:00:00Z\n", "1893456000",
        ])].concat(),
        Url => [texts(), plain(&["", "https://", "http://a/", "a.example", "https://a b/", "https://a/\"", "https://a/#b", "https://é/", "https://a/\n"]), vec![(json!(format!("https://a/{}", "x".repeat(491))), "")]].concat(),
        UserName => [texts(), plain(&["", "a b", "é", "a\n", "a/b", "\u{ff41}"]), vec![(json!("a".repeat(101)), "")]].concat(),
        Word => [texts(), plain(&["", "x", "MANAGER", "optional ", "once,sealed", "cidr\0"])].concat(),
        Words => [lists(), vec![(json!(vec!["s"; 201]), "")]].concat(),
    }
}

/// Control and direction-changing characters. attacks 152
const MISLEADING: [&str; 10] = [
    "a\0",
    "a\nb",
    "a\r",
    "\t",
    "\u{7f}",
    "\u{85}",
    "\u{202e}a",
    "\u{2066}a",
    "\u{200b}a",
    "\u{feff}a",
];

fn plain(texts: &[&str]) -> Vec<(Value, &'static str)> {
    texts.iter().map(|text| (json!(text), "")).collect()
}

fn listed(texts: &[&str]) -> Vec<(Value, &'static str)> {
    texts.iter().map(|text| (json!([text]), "[0]")).collect()
}

fn texts() -> Vec<(Value, &'static str)> {
    [json!(1), json!(true), json!([]), json!({}), json!(["a"])]
        .map(|value| (value, ""))
        .to_vec()
}

fn numbers() -> Vec<(Value, &'static str)> {
    let all = [
        json!("1"),
        json!(-1),
        json!(1.5),
        json!(true),
        json!([]),
        json!({}),
        json!(1e300),
        json!(9_007_199_254_740_993_u64),
        json!(u64::MAX),
        json!(i64::MIN),
    ];
    all.map(|value| (value, "")).to_vec()
}

fn lists() -> Vec<(Value, &'static str)> {
    [
        json!("a"),
        json!(1),
        json!({}),
        json!([1]),
        json!([null]),
        json!([["a"]]),
        json!({ "0": "a" }),
    ]
    .map(|value| (value, ""))
    .to_vec()
}

fn objects() -> Vec<(Value, &'static str)> {
    [
        json!("a"),
        json!(1),
        json!({}),
        json!([1]),
        json!([null]),
        json!([[]]),
    ]
    .map(|value| (value, ""))
    .to_vec()
}
