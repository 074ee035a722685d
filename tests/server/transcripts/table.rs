//! The table in a dialect's README: every numbered behaviour, and the tests that show it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::reader::Transcript;
use super::{files, folder};

/// For each number, the last cell of its row, which names what shows the behaviour.
type Rows = BTreeMap<u32, String>;

/// Checks `src/dialects/<dialect>/README.md`: its table has a row for each of `<section>-1` to `<section>-<last>`. The
/// last cell of a row names transcripts of the dialect (`` `1C-4-….txt` ``) and tests (`` `module::name` ``) that
/// exist, or gives the reason why there are none. Every transcript is named in the rows of the numbers in its first
/// line.
#[track_caller]
pub fn check(dialect: &str, section: &str, last: u32) {
    let path = format!("src/dialects/{dialect}/README.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|err| panic!("{path}: {err}"));
    let faults = faults(dialect, section, last, &text);
    assert!(faults.is_empty(), "{path}\n{}", faults.join("\n"));
}

fn faults(dialect: &str, section: &str, last: u32, text: &str) -> Vec<String> {
    let (rows, mut faults) = rows(section, text);
    let missing = (1..=last).filter(|number| !rows.contains_key(number));
    faults.extend(missing.map(|number| format!("{section}-{number} has no row")));
    let tests = tests();
    for (number, shown_by) in &rows {
        let mut fault = |why: String| faults.push(format!("{section}-{number}: {why}"));
        if *number == 0 || *number > last {
            fault("there is no such number".to_owned());
        }
        if !shown_by.chars().any(char::is_alphabetic) {
            fault("nothing shows it, and there is no reason why".to_owned());
        }
        for name in shown_by.split('`').skip(1).step_by(2) {
            if name.ends_with(".txt") {
                if !folder(dialect).join(name).is_file() {
                    fault(format!("there is no transcript {name}"));
                }
            } else if !tests.iter().any(|test| is_named(test, name)) {
                fault(format!("there is no test {name}"));
            }
        }
    }
    for path in files(dialect) {
        faults.extend(unlisted(&path, section, &rows));
    }
    faults
}

/// The rows of a section, and the errors in the rows themselves.
fn rows(section: &str, text: &str) -> (Rows, Vec<String>) {
    let mut rows = Rows::new();
    let mut faults = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line
            .trim()
            .trim_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        let number = cells[0]
            .strip_prefix(section)
            .and_then(|rest| rest.strip_prefix('-'));
        let Some(number) = number.and_then(|number| number.parse().ok()) else {
            continue;
        };
        let shown_by = cells.last().copied().unwrap_or_default();
        if rows.insert(number, shown_by.to_owned()).is_some() {
            faults.push(format!("{section}-{number} has two rows"));
        }
    }
    (rows, faults)
}

/// The numbers of a transcript whose rows do not name it.
fn unlisted(path: &Path, section: &str, rows: &Rows) -> Vec<String> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let text = fs::read_to_string(path).unwrap_or_default();
    let numbers = match Transcript::read(&text) {
        Ok(transcript) => transcript.numbers,
        Err((line, why)) => return vec![format!("{name}:{line}: {why}")],
    };
    let own = numbers.iter().filter_map(|number| {
        let number = number.strip_prefix(section)?.strip_prefix('-')?;
        number.parse::<u32>().ok()
    });
    own.filter(|number| {
        !rows
            .get(number)
            .is_some_and(|row| row.contains(&format!("`{name}`")))
    })
    .map(|number| format!("{section}-{number}: the transcript {name} is not named"))
    .collect()
}

/// A test function, by its file and its name.
struct Test {
    path: String,
    name: String,
}

/// Whether a name stands for a test: `signing_in::a_test`, `a_test`, or the whole module `signing_in`.
fn is_named(test: &Test, name: &str) -> bool {
    let mut parts = name.rsplit("::");
    let (last, modules) = (parts.next().unwrap_or_default(), parts);
    let inside = |module: &str| {
        test.path.contains(&format!("/{module}/"))
            || test.path.ends_with(&format!("/{module}.rs"))
            || module == "tests"
    };
    (test.name == last || inside(last)) && modules.into_iter().all(inside)
}

/// Every `#[test]` below `src` and `tests`.
fn tests() -> Vec<Test> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("src"), PathBuf::from("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the tree can be read") {
            let path = entry.expect("the tree can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are text");
                let mark = text.split("#[test]").skip(1);
                let names = mark.filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
                found.extend(names.map(|(name, _)| Test {
                    path: path.to_string_lossy().into_owned(),
                    name: name.to_owned(),
                }));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_and_a_second_one_is_a_fault() {
        let text = "| number | what | shown by |\n|---|---|---|\n| 1C-1 | a | `x.txt` |\n| 1C-2 | b | none |\n| 1C-1 | c | d |\n| 1D-1 | e | f |\n";
        let (rows, faults) = rows("1C", text);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[&2], "none");
        assert_eq!(faults, ["1C-1 has two rows"]);
    }

    #[test]
    fn tests_are_found_by_module_and_name() {
        let tests = tests();
        let known = |name: &str| tests.iter().any(|test| is_named(test, name));
        assert!(known(
            "transcripts::table::tests::tests_are_found_by_module_and_name"
        ));
        assert!(known("tests_are_found_by_module_and_name"));
        assert!(known("people::signing_in"));
        assert!(!known("keys::tests_are_found_by_module_and_name"));
        assert!(!known("a_test_that_nobody_wrote"));
    }
}
