//! The documents: their links lead somewhere, their English is plain, the code map names every folder, and the list of
//! threats names every case that a comment cites.

use super::{PRIVATE_WORDS, PRIVATE_WORDS_MAX, Source, folders, sources};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders in a row of the code map: `src/{a,b}/` names two.
fn named_folders(row: &str) -> Vec<String> {
    let Some((before, rest)) = row.split_once('{') else {
        return vec![row.trim_end_matches('/').to_owned()];
    };
    let (names, after) = rest.split_once('}').unwrap();
    let folder = |name| {
        format!("{before}{name}{after}")
            .trim_end_matches('/')
            .to_owned()
    };
    names.split(',').map(folder).collect()
}

#[test]
fn the_map_names_every_folder() {
    let map = fs::read_to_string("docs/architecture.md").unwrap();
    let rows = map.lines().filter_map(|line| line.strip_prefix("| `src/"));
    let mut named: Vec<String> = rows
        .flat_map(|row| named_folders(&format!("src/{}", row.split('`').next().unwrap())))
        .collect();
    named.sort();
    let all = folders("src");
    let mut all: Vec<String> = all
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    all.sort();
    assert_eq!(
        named, all,
        "the code map of docs/architecture.md, and the folders of src"
    );
}

/// The overview of the code is read in one sitting.
const OVERVIEW_WORDS_MAX: usize = 2_000;

#[test]
fn the_overview_of_the_code_stays_short() {
    let overview = fs::read_to_string("docs/architecture.md").unwrap();
    let words = overview.split_whitespace().count();
    assert!(
        words <= OVERVIEW_WORDS_MAX,
        "docs/architecture.md has {words} words; what holds for one folder belongs to the comment at the top of its mod.rs"
    );
}

/// The documents that people read. Their links and their English are checked.
fn documents() -> Vec<Source> {
    let top = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ];
    let mut found: Vec<PathBuf> = top.iter().map(PathBuf::from).collect();
    for folder in ["dev", "docs", "examples", "src", "tests"] {
        for folder in folders(folder) {
            let entries = fs::read_dir(folder).unwrap();
            let paths = entries.map(|entry| entry.unwrap().path());
            found.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
        }
    }
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display())),
        path: path.to_str().unwrap().to_owned(),
    };
    found.into_iter().map(read).collect()
}

/// The lines of a document outside of its code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// The anchors of a document's headings, as GitHub forms them.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut seen = 0;
    for document in documents() {
        let folder = Path::new(&document.path).parent().unwrap();
        // A link may be broken over two lines.
        let text = prose(&document.text).collect::<Vec<_>>().join(" ");
        for target in text.split("](").skip(1) {
            let target = target.split(')').next().unwrap();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match path {
                "" => PathBuf::from(&document.path),
                other => folder.join(other),
            };
            assert!(
                path.exists(),
                "{} links to {target}, which does not exist",
                document.path
            );
            if !anchor.is_empty() {
                let known = anchors(&fs::read_to_string(&path).unwrap());
                assert!(
                    known.iter().any(|known| known == anchor),
                    "{} links to {target}; {} has {known:?}",
                    document.path,
                    path.display()
                );
            }
        }
    }
    assert!(seen > 50, "only {seen} links");
}

/// The texts of the console and the reasons of refusals, which users read.
#[test]
fn messages_are_in_plain_english() {
    let mut messages = sources("src/refusals");
    messages.push(Source {
        path: "assets/console/en.txt".to_owned(),
        text: fs::read_to_string("assets/console/en.txt").unwrap(),
    });
    let (mut lines, mut found) = (0, Vec::new());
    for Source { path, text } in &messages {
        let texts = text.lines().filter_map(|line| line.split_once(" = "));
        for (_, text) in texts {
            lines += 1;
            let lower = text.to_lowercase();
            let mut words = lower.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| PRIVATE_WORDS.contains(&word)) {
                found.push(format!("{path}: {text}"));
            }
        }
    }
    assert!(lines > 800, "only {lines} messages");
    assert!(
        found.len() * 1000 <= lines * PRIVATE_WORDS_MAX,
        "{} of {lines} messages have words that need plainer ones:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn documents_are_in_plain_english() {
    let (mut lines, mut found) = (0, Vec::new());
    for document in documents() {
        for line in prose(&document.text) {
            lines += 1;
            // Names in backticks belong to the code.
            let text: String = line.split('`').step_by(2).collect();
            let lower = text.to_lowercase();
            let mut words = lower.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| PRIVATE_WORDS.contains(&word)) {
                found.push(format!("{}: {line}", document.path));
            }
        }
    }
    assert!(
        found.len() * 1000 <= lines * PRIVATE_WORDS_MAX,
        "{} of {lines} lines of documents have words that need plainer ones:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// The ids that a comment cites after a word: 46 and 48 for `attacks 46, 48`.
fn cited<'a>(line: &'a str, word: &str) -> Vec<&'a str> {
    let comment = line.split_once("//").map_or("", |(_, comment)| comment);
    let mut found = Vec::new();
    for (start, _) in comment.to_ascii_lowercase().match_indices(word) {
        let rest = comment[start + word.len()..].trim_start_matches('s');
        for part in rest.split([' ', ',']) {
            let id = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            if id.contains(|c: char| c.is_ascii_digit()) {
                found.push(id);
            } else if !["", "and", "to"].contains(&part) {
                break;
            }
            if id != part {
                break;
            }
        }
    }
    found
}

/// The names of the tests in a file.
fn tests_of(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[test]\n").skip(1).filter_map(|rest| {
        let function = rest.split("fn ").nth(1)?;
        function.split('(').next()
    })
}

/// Every case that a comment cites has a row in `docs/threats.md`, and the tests that a row names exist.
#[test]
fn threats_are_listed_with_their_tests() {
    let list = fs::read_to_string("docs/threats.md").unwrap();
    let rows: Vec<Vec<&str>> = prose(&list)
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"))
        .map(|line| line.trim_matches(['|', ' ']).split(" | ").collect())
        .filter(|row: &Vec<&str>| row[0].contains(|c: char| c.is_ascii_digit()))
        .collect();
    let files: Vec<Source> = sources("src").into_iter().chain(sources("tests")).collect();

    let mut seen = 0;
    for file in &files {
        for line in file.text.lines() {
            for word in ["attack", "finding", "promise"] {
                for id in cited(line, word) {
                    seen += 1;
                    let known = rows.iter().any(|row| row[0] == id);
                    assert!(known, "{}: docs/threats.md has no row {id}", file.path);
                }
            }
        }
    }
    assert!(seen > 200, "only {seen} citations");

    let tests: HashSet<&str> = files.iter().flat_map(|file| tests_of(&file.text)).collect();
    for row in rows {
        let shown_by = row.last().unwrap();
        let named: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        let is_explained = shown_by.starts_with('–');
        assert!(is_explained || !named.is_empty(), "{} has no test", row[0]);
        for test in named.iter().filter(|_| !is_explained) {
            assert!(
                tests.contains(test),
                "docs/threats.md names {test} in row {}, which is no test",
                row[0]
            );
        }
    }
}

/// The lines of Annex I of Regulation (EU) 2024/2847.
#[rustfmt::skip]
const ANNEX_I: &[&str] = &[
    "I (1)", "I (2)(a)", "I (2)(b)", "I (2)(c)", "I (2)(d)", "I (2)(e)", "I (2)(f)", "I (2)(g)", "I (2)(h)", "I (2)(i)", "I (2)(j)",
    "I (2)(k)", "I (2)(l)", "I (2)(m)", "II (1)", "II (2)", "II (3)", "II (4)", "II (5)", "II (6)", "II (7)", "II (8)",
];

/// `docs/cra.md` has every line of the annex, in its order, and the tests that a line names exist.
#[test]
fn the_lines_of_the_cyber_resilience_act_have_their_tests() {
    let page = fs::read_to_string("docs/cra.md").unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| I"));
    let rows: Vec<Vec<&str>> = rows
        .map(|line| line.trim_matches(['|', ' ']).split(" | ").collect())
        .collect();
    let lines: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(lines, ANNEX_I);
    let files: Vec<Source> = sources("src").into_iter().chain(sources("tests")).collect();
    let tests: HashSet<&str> = files.iter().flat_map(|file| tests_of(&file.text)).collect();
    for row in rows {
        let [line, _, _, shown_by] = row.as_slice() else {
            panic!("docs/cra.md: {row:?} has not four columns");
        };
        let named: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        let is_explained = shown_by.starts_with("– ");
        assert!(is_explained || !named.is_empty(), "{line} has no test");
        for test in named {
            assert!(
                tests.contains(test),
                "docs/cra.md, {line}: {test} is no test"
            );
        }
    }
    assert!(page.contains("This page is no legal advice"));
}
