//! No circle of files: two files that need each other are one thing in two places.
//!
//! A folder is one thing, so a file may use the `mod.rs` of the folders that it is in.

use super::{Source, sources};
use std::collections::{BTreeMap, BTreeSet};

/// A path of modules, such as `["ops", "keys", "issue"]`.
type Module = Vec<String>;

#[test]
fn files_of_a_layer_do_not_use_one_another_in_a_circle() {
    for layer in ["authz", "ops"] {
        let files: BTreeMap<Module, Source> = sources(&format!("src/{layer}"))
            .into_iter()
            .map(|file| (module(&file.path), file))
            .collect();
        let edges: BTreeMap<&Module, BTreeSet<Module>> = files
            .iter()
            .map(|(own, file)| (own, used(own, &file.text, &files)))
            .collect();
        if let Some(circle) = circle(&edges) {
            let names: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
            panic!("a circle of files: {}", names.join(" → "));
        }
    }
}

#[test]
fn circles_are_found() {
    let module = |name: &str| vec![name.to_owned()];
    let (a, b, c) = (module("a"), module("b"), module("c"));
    let chain = BTreeMap::from([
        (&a, BTreeSet::from([b.clone()])),
        (&b, BTreeSet::from([c.clone()])),
        (&c, BTreeSet::new()),
    ]);
    assert_eq!(circle(&chain), None);
    let ring = BTreeMap::from([
        (&a, BTreeSet::from([b.clone()])),
        (&b, BTreeSet::from([c.clone()])),
        (&c, BTreeSet::from([a.clone()])),
    ]);
    assert_eq!(circle(&ring), Some(vec![a.clone(), b, c, a]));
}

/// The paths of a tree of imports, such as the two of `super::{a::b, c}`.
#[test]
fn trees_of_imports_are_expanded() {
    assert_eq!(
        expanded("crate::ops::{keys::View as V, users::{self, find}}"),
        [
            "crate::ops::keys::View",
            "crate::ops::users::self",
            "crate::ops::users::find",
        ]
    );
}

/// `["ops", "keys"]` for `src/ops/keys/mod.rs`.
fn module(path: &str) -> Module {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    path.trim_end_matches("/mod")
        .split('/')
        .map(str::to_owned)
        .collect()
}

/// The files that a file uses, except for those of the folders that it is in.
fn used(own: &Module, text: &str, files: &BTreeMap<Module, Source>) -> BTreeSet<Module> {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let code: Vec<&str> = code
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .collect();
    let code = code.join("\n");
    let mut paths: Vec<String> = Vec::new();
    for statement in code.split("\nuse ").chain(code.split("\npub use ")).skip(1) {
        paths.extend(expanded(statement.split(';').next().unwrap()));
    }
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let rest = &code[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
            paths.push(rest[..end.unwrap_or(rest.len())].to_owned());
        }
    }
    let targets = paths.iter().filter_map(|path| resolved(own, path, files));
    targets
        .filter(|target| target != own && !own.starts_with(target))
        .collect()
}

/// The file of the module that a path leads to, if it is one of `files`.
fn resolved(own: &Module, path: &str, files: &BTreeMap<Module, Source>) -> Option<Module> {
    let mut parts = path.split("::").peekable();
    let mut full = match parts.peek() {
        Some(&"crate") => {
            parts.next();
            Module::new()
        }
        _ => own.clone(),
    };
    while parts.next_if_eq(&"super").is_some() {
        full.pop();
    }
    full.extend(parts.map(str::to_owned));
    while !full.is_empty() {
        if files.contains_key(&full) {
            return Some(full);
        }
        full.pop();
    }
    None
}

/// Every path of a tree of imports.
fn expanded(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((start, rest)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap().trim().to_owned()];
    };
    let inner = rest.trim_end().strip_suffix('}').unwrap();
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(inner[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    let parts = found.into_iter().filter(|part| !part.is_empty());
    parts
        .flat_map(expanded)
        .map(|part| format!("{start}{part}"))
        .collect()
}

/// A circle in a graph, which begins and ends with the same module.
fn circle(edges: &BTreeMap<&Module, BTreeSet<Module>>) -> Option<Vec<Module>> {
    let mut finished = BTreeSet::new();
    edges
        .keys()
        .find_map(|start| circle_from(start, edges, &mut Vec::new(), &mut finished))
}

fn circle_from(
    at: &Module,
    edges: &BTreeMap<&Module, BTreeSet<Module>>,
    path: &mut Vec<Module>,
    finished: &mut BTreeSet<Module>,
) -> Option<Vec<Module>> {
    if finished.contains(at) {
        return None;
    }
    if let Some(first) = path.iter().position(|known| known == at) {
        let mut circle = path[first..].to_vec();
        circle.push(at.clone());
        return Some(circle);
    }
    path.push(at.clone());
    let next = edges.get(at).into_iter().flatten();
    for next in next {
        if let Some(circle) = circle_from(next, edges, path, finished) {
            return Some(circle);
        }
    }
    path.pop();
    finished.insert(at.clone());
    None
}
