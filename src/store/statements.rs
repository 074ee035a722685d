//! All statements of this layer, as they are in its source, for tests of each engine.

use super::{key_columns, seals};
use std::fs;
use std::path::Path;

/// The statements that consist of several literals.
const COMPOSED: &[(&str, &str)] = &[
    ("key_columns.rs", key_columns::FIND),
    ("key_columns.rs", key_columns::FIND_INEXACT),
    ("seals/key_rows.rs", seals::key_rows::ROWS),
    ("seals/key_rows.rs", seals::key_rows::ROWS_INEXACT),
];

/// The file whose statements are made of the schema; its own tests run all of them.
const MADE: &str = "transfer.rs";

/// Files that only tests compile.
const OF_TESTS: &[&str] = &["statements.rs", "testing.rs", "tests.rs"];

/// The SQL literals of a file, each in one line.
fn statements(text: &str) -> Vec<String> {
    let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    shipped
        .split('"')
        .filter(|literal| {
            let first = literal.split_whitespace().next().unwrap_or("");
            let literal = literal.trim_end().trim_end_matches(';');
            matches!(first, "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "WITH")
                && !literal.contains(';')
                // The beginning of several statements: `all` has them as a whole.
                && (first != "SELECT" || literal.contains("FROM"))
        })
        .map(|sql| {
            sql.replace('\\', " ")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

fn each_file(folder: &Path, look: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Migrations run on older schemas.
        let left_out = ["migrations", "postgres", "sqlite"];
        let left_out = left_out.iter().any(|name| path.ends_with(name));
        if path.is_dir() && !left_out {
            each_file(&path, look);
        } else if path.extension().is_some_and(|end| end == "rs")
            && !OF_TESTS.iter().any(|name| path.ends_with(name))
            && !path.ends_with(MADE)
        {
            look(&path);
        }
    }
}

/// Every statement of the layer, and the file that contains it.
pub fn all() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    each_file(&store, &mut |path| {
        let text = fs::read_to_string(path).unwrap();
        found.extend(
            statements(&text)
                .into_iter()
                .map(|sql| (path.display().to_string(), sql)),
        );
    });
    for (file, sql) in COMPOSED {
        let words = sql.split_whitespace().collect::<Vec<_>>();
        found.push(((*file).to_owned(), words.join(" ")));
    }
    assert!(
        found.len() > 100,
        "only {} statements were found",
        found.len()
    );
    found
}

#[test]
fn every_composed_statement_is_named() {
    let mut composed = 0;
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    each_file(&store, &mut |path| {
        composed += fs::read_to_string(path)
            .unwrap()
            .matches("concat!(")
            .count();
    });
    assert_eq!(composed, COMPOSED.len());
}
