//! Documents drawn at random: no key opens what the importer lists as not mapped.

use super::tests::imported;
use super::*;
use crate::domain::catalogs::Requirement;
use serde_json::json;

/// Numbers that are the same on each run (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    fn of<'t, T>(&mut self, choices: &'t [T]) -> &'t T {
        &choices[self.below(choices.len())]
    }
}

/// A path, and one that a client sends for it.
fn drawn_path(draw: &mut Draw) -> (String, String) {
    let segments: &[(&str, &str)] = &[
        ("a", "a"),
        ("b", "b"),
        ("A", "A"),
        ("{x}", "7"),
        ("{x}", "a"),
        ("{y}", "q.json"),
        ("{x}.json", "7.json"),
        ("{x}.json", "a.json"),
        ("{x}:go", "7:go"),
        ("v{x}", "v7"),
        ("{x}-{y}", "1-2"),
        ("{x", "7"),
        ("c.json", "c.json"),
        ("a b", "a%20b"),
        ("%61", "a"),
    ];
    let (mut path, mut asked) = (String::new(), String::new());
    for _ in 0..=draw.below(3) {
        let (segment, sent) = draw.of(segments);
        path.push_str(&format!("/{segment}"));
        asked.push_str(&format!("/{sent}"));
    }
    let ends = ["", "", "", "", "", "/", "#part", "?q=1"];
    let end = ends[draw.below(ends.len())];
    path.push_str(end);
    asked.push_str(end.strip_prefix(['#', '?']).map_or(end, |_| ""));
    if draw.below(20) == 0 {
        path.remove(0);
    }
    (path, asked)
}

fn drawn_operation(draw: &mut Draw) -> Value {
    let security = [
        json!([{"key": []}]),
        json!([{"oauth": ["a"]}]),
        json!([{"oauth": ["a", "b"]}]),
        json!([{"oauth": ["a", "b"]}, {"oauth": ["c", "d"]}]),
        json!([{"cookie": []}]),
        json!([{"cookie": []}, {"oauth": ["b"]}]),
        json!([{"key": [], "second": []}]),
        json!([{"key": []}, {}]),
        json!([]),
        json!([{"gone": []}]),
        json!(null),
    ];
    let named = json!([{"url": "https://up.example"}]);
    match draw.below(16) {
        0 => json!({}),
        1 => json!({"$ref": "elsewhere.yaml"}),
        2 => json!({"$ref": "#/components/pathItems/here/get"}),
        3 => json!({"servers": [{"url": "https://{x}.example"}], "security": [{"key": []}]}),
        4 => json!({"operationId": "x".repeat(200), "security": draw.of(&security)}),
        5 => json!(null),
        6 | 7 => json!({"servers": named, "security": draw.of(&security)}),
        _ => json!({"security": draw.of(&security)}),
    }
}

#[test]
fn no_key_opens_what_the_importer_says_is_not_mapped() {
    let mut draw = Draw(4711);
    let (mut closed, mut open) = (0, 0);
    for round in 0..600 {
        let mut paths = Map::new();
        let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for _ in 0..2 + draw.below(7) {
            let (path, asked) = drawn_path(&mut draw);
            sent.entry(path.clone()).or_default().push(asked);
            let item = match draw.below(12) {
                0 => {
                    json!({"$ref": *draw.of(&["elsewhere.yaml", "#/components/pathItems/loop", "#/components/pathItems/here"])})
                }
                _ => {
                    let mut item = Map::new();
                    for method in ["get", "head", "post", "query"] {
                        if draw.below(2) == 0 {
                            item.insert(method.to_owned(), drawn_operation(&mut draw));
                        }
                    }
                    Value::Object(item)
                }
            };
            paths.insert(path, item);
        }
        let paths = Value::Object(paths);
        let import = imported(paths.clone());
        for case_sensitive in [false, true] {
            let mut definition = import.definition.clone();
            definition.case_sensitive = case_sensitive;
            let catalog = Catalog::compile(definition).unwrap();
            let opens_at = |method: &str, path: &str, hosts: &[Option<&str>]| {
                hosts.iter().any(|host| {
                    let demand = catalog.demand(method, path, *host);
                    demand.is_ok_and(|demand| demand.requirement.is_met(|_| true))
                })
            };
            let opens = |method: &str, path: &str| opens_at(method, path, &[None]);
            for LeftOut { operation, why } in &import.left_out {
                let (methods, path) = match operation.split_once(' ') {
                    Some((method, path)) if !operation.starts_with('/') => (vec![method], path),
                    _ => (vec!["GET", "HEAD", "POST", "QUERY"], operation.as_str()),
                };
                for asked in sent.get(path).into_iter().flatten() {
                    // A literal of another path of the document is before a parameter: it is that path's request.
                    let is_anothers = sent
                        .keys()
                        .any(|other| other != path && nearer(other, path, asked));
                    // At a named host it may be another operation of the same requests that is served there.
                    let has_alike = sent
                        .keys()
                        .any(|other| other != path && shape(other) == shape(path));
                    let hosts: &[Option<&str>] = match has_alike {
                        true => &[None],
                        false => &[None, Some("up.example"), Some("x.example")],
                    };
                    for method in methods.iter().filter(|_| !is_anothers) {
                        closed += 1;
                        assert!(
                            !opens_at(method, asked, hosts),
                            "round {round}: {method} {asked}: {why}\n{paths:#}"
                        );
                    }
                }
            }
            for operation in &import.definition.operations {
                let is_plain = !operation.path.contains('{');
                if is_plain && operation.requirement != Requirement::Nobody {
                    open += usize::from(opens(&operation.method, &operation.path));
                }
            }
        }
    }
    assert!(closed > 2_000 && open > 200, "{closed} {open}");
}

/// Whether another path of the document takes a request, all of whose requests the first path would take: then it is the
/// other's, as a literal is before a parameter.
fn nearer(other: &str, path: &str, asked: &str) -> bool {
    use crate::domain::catalogs::template::{Part, is_within, parse};
    let around = paths::PathContext {
        over_slashes: &[],
        goes_on: true,
    };
    let parts = |text: &str| parse(&paths::template(text, &around).ok()?.path).ok();
    let (Some(one), Some(two)) = (parts(other), parts(path)) else {
        return false;
    };
    let sent = crate::domain::catalogs::path::segments(asked).unwrap_or_default();
    let sent: Vec<Part> = sent.into_iter().map(Part::Literal).collect();
    is_within(&sent, &one) && is_within(&one, &two) && !is_within(&two, &one)
}

fn shape(path: &str) -> Option<String> {
    let around = paths::PathContext {
        over_slashes: &[],
        goes_on: true,
    };
    paths::template(path, &around).ok().map(|it| it.shape)
}
