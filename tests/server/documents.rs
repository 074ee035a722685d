//! The documents name commands, flags and settings that exist. The links between them are checked by `tests/tidy.rs`.

use crate::support::executable;
use crate::support::refusal::ended;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

/// The README, and the pages of `docs/`.
fn documents() -> Vec<(String, String)> {
    let pages = fs::read_dir("docs").expect("there is a folder");
    let mut paths: Vec<PathBuf> = pages.map(|page| page.expect("a page").path()).collect();
    paths.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|err| panic!("{path:?}: {err}"));
        (path.display().to_string(), text)
    };
    paths.into_iter().map(read).collect()
}

/// What follows each `latchkey ` in code: whole lines of code blocks, and texts in backticks.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
            continue;
        }
        let code: Vec<&str> = match in_block {
            true => vec![line.split(" # ").next().unwrap_or(line)],
            false => line.split('`').skip(1).step_by(2).collect(),
        };
        for code in code {
            for (start, _) in code.match_indices("latchkey ") {
                let before = code[..start].chars().next_back();
                let rest = &code[start + "latchkey ".len()..];
                if before.is_none_or(|c| matches!(c, ' ' | '(')) {
                    let end = rest.find(['|', ')', '>', '&', ';', '"']);
                    found.push(rest[..end.unwrap_or(rest.len())].to_owned());
                }
            }
        }
    }
    found
}

/// The help of a command, such as `key issue`; `None` if there is no such command.
fn help(of: &str) -> Option<String> {
    let ended = ended(executable(None).args(of.split(' ')).arg("--help"));
    (ended.code == Some(0)).then_some(ended.stdout)
}

#[test]
fn commands_in_documents_exist_with_their_flags() {
    let mut helps: HashMap<String, Option<String>> = HashMap::new();
    let mut seen = 0;
    for (path, text) in documents() {
        for command in commands(&text) {
            let is_name = |word: &&str| {
                let mut chars = word.chars();
                chars.all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
            };
            let words: Vec<&str> = command.split_whitespace().take_while(is_name).collect();
            // `sudo -u latchkey latchkey init`, and arguments that are users or folders.
            let is_program = |word: &str| ["latchkey", "latchkey-cluster"].contains(&word);
            let Some(first) = words.first().filter(|word| !is_program(word)) else {
                continue;
            };
            let mut help_of = |name: &str| {
                let found = helps.entry(name.to_owned()).or_insert_with(|| help(name));
                found.clone()
            };
            let pair = words
                .get(1)
                .and_then(|second| help_of(&format!("{first} {second}")));
            let Some(help) = pair.or_else(|| help_of(first)) else {
                panic!("{path}: there is no command latchkey {command}");
            };
            seen += 1;
            for flag in command
                .split_whitespace()
                .filter(|word| word.starts_with("--"))
            {
                let flag = flag.split('=').next().unwrap_or(flag);
                let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
                assert!(
                    flag.is_empty() || help.contains(flag),
                    "{path}: latchkey {command} has no {flag}"
                );
            }
        }
    }
    assert!(seen > 60, "only {seen} commands");
}

#[test]
fn the_operators_guide_lists_every_setting() {
    let guide = fs::read_to_string("docs/operations.md").expect("there is a guide");
    let ended = ended(executable(None).args(["check-config", "--json"]));
    let settings: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    for setting in settings.as_array().expect("a list") {
        let name = setting["name"].as_str().expect("a name");
        assert!(
            guide.contains(&format!("`{name}`")),
            "docs/operations.md does not list {name}"
        );
    }
}
