//! Checks that every text of the console is in the file of its language, and that the file has no other texts.

use super::*;
use std::collections::BTreeSet;
use std::path::Path;

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// The names in quotes after `t(`, `t1(` or `tn(` in templates, and after `text(` and similar calls in sources.
fn asked(text: &str) -> Vec<String> {
    let calls = [".t(\"", ".t1(\"", ".get(\"", ".with(\""];
    let one = |call: &&str| -> Vec<String> {
        let rests = text.split(*call).skip(1);
        rests
            .filter_map(|rest| rest.split_once('"').map(|(name, _)| name.to_owned()))
            .filter(|name| name.contains('.') && !name.ends_with('.'))
            .collect()
    };
    let counts = text.split(".tn(\"").skip(1).filter_map(|rest| {
        let name = rest.split_once('"')?.0;
        Some([format!("{name}.one"), format!("{name}.other")])
    });
    let mut names: Vec<String> = calls.iter().flat_map(one).collect();
    names.extend(counts.flatten());
    names
}

#[test]
fn every_text_that_is_asked_for_is_there() {
    let mut found = Vec::new();
    files(Path::new("templates/console"), &mut found);
    files(Path::new("src/dialects/console"), &mut found);
    let texts = english();
    for path in found {
        let source = std::fs::read_to_string(&path).unwrap();
        for name in asked(&source) {
            assert!(
                texts.find(&name).is_some(),
                "{} asks for {name}",
                path.display()
            );
        }
    }
}

#[test]
fn the_file_of_english_is_one_of_a_language() {
    let texts = Texts::strict(ENGLISH).unwrap();
    assert_eq!(texts.named.len(), english().named.len());
}

#[test]
fn what_is_no_file_of_a_language_is_refused() {
    for (file, why) in [
        ("[nav]\nkeys\n", "line 2"),
        ("[nav]\nkey = x\n", "no text \"nav.key\""),
        ("[nav]\nkeys = x\nkeys = y\n", "there twice"),
        ("[when]\nago = {} {} {}\n", "more places"),
        ("[said]\nwhat nobody says = x\n", "no text"),
        ("[said]\nmust be {} = {2}\n", "more places"),
    ] {
        let err = Texts::strict(file).unwrap_err();
        assert!(err.contains(why), "{file}: {err}");
    }
}

#[test]
fn what_a_language_lacks_is_english() {
    let texts = Texts::strict("[nav]\nkeys = Schlüssel\n[said]\nis needed = wird gebraucht\n");
    let texts = texts.unwrap();
    assert_eq!(texts.get("nav.keys"), "Schlüssel");
    assert_eq!(texts.get("nav.users"), "Users");
    assert_eq!(texts.sentence("is needed"), "Wird gebraucht.");
    assert_eq!(texts.sentence("must not be empty"), "Must not be empty.");
    let all = english().named.len() + reading::said(ENGLISH).count();
    assert_eq!(texts.lacking().len(), all - 2);
}

/// The constant texts of a template: its text, and the attributes that users can read.
fn said(template: &str) -> Vec<String> {
    let mut plain = template.to_owned();
    for (open, close) in [("{#", "#}"), ("{%", "%}"), ("{{", "}}")] {
        while let Some(start) = plain.find(open) {
            let end = plain[start..].find(close).unwrap() + start + close.len();
            plain.replace_range(start..end, " ");
        }
    }
    let mut said = Vec::new();
    for part in plain.split('<') {
        let (tag, text) = part.split_once('>').unwrap_or(("", part));
        // Commands are not translated.
        let is_command = tag.starts_with("pre class=\"code\"");
        said.extend((!is_command).then(|| text.to_owned()));
        for name in ["aria-label", "placeholder", "title", "alt", "content"] {
            let begins = format!(" {name}=\"");
            let rests = tag.split(&begins).skip(1);
            said.extend(rests.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    said
}

#[test]
fn no_template_has_words_of_its_own() {
    let mut found = Vec::new();
    files(Path::new("templates/console"), &mut found);
    let known = [
        "Latchkey",
        "/invoices/7",
        "0",
        "width=device-width,",
        "initial-scale=1",
        "light",
        "dark",
    ];
    for path in found {
        let template = std::fs::read_to_string(&path).unwrap();
        for text in said(&template) {
            for word in text.split_whitespace() {
                let is_attribute = word.contains("=\"") || word.starts_with("hint-");
                let is_word = word.chars().any(char::is_alphabetic) && !is_attribute;
                assert!(
                    !is_word || known.contains(&word),
                    "{} says {word:?} in {text:?}",
                    path.display()
                );
            }
        }
    }
}

/// All string literals, each with the source text before it.
fn quoted(source: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let bytes = source.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => {
                at += source[at..].find('\n').unwrap_or(source.len() - at);
            }
            b'\'' if bytes[at..].starts_with(b"'\"'") => at += 3,
            b'"' if at > 0 && bytes[at - 1] == b'#' => {
                at += source[at..].find("\"#").unwrap() + 2;
            }
            b'"' => {
                let begin = at + 1;
                at = begin;
                while bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                let before = source[..begin - 1].trim_end();
                let from = before.len().saturating_sub(40);
                let from = (from..).find(|at| before.is_char_boundary(*at)).unwrap();
                found.push((&before[from..], &source[begin..at]));
                at += 1;
            }
            _ => at += 1,
        }
    }
    found
}

#[test]
fn no_source_has_sentences_of_its_own() {
    let mut found = Vec::new();
    files(Path::new("src/dialects/console"), &mut found);
    for path in found {
        let source = std::fs::read_to_string(&path).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap();
        // Tests, messages for the administrator who starts the server, a text that nobody reads, and the terms of other
        // systems, which the file has below [given].
        let others = ["text/tests.rs", "text/reading.rs", "auth/form_token.rs"];
        let is_of_a_system = path.starts_with("src/dialects/console/sections");
        if is_of_a_system || others.iter().any(|other| path.ends_with(other)) {
            continue;
        }
        for (before, text) in quoted(source) {
            let words = text
                .split(' ')
                .filter(|word| word.len() > 1 && word.chars().all(|c| c.is_ascii_lowercase()));
            // Messages for the log instead of the page, and texts in a formal language.
            let other = before.ends_with("::internal(")
                || ["log::warn!(", "log::error!("]
                    .iter()
                    .any(|log| before.contains(log))
                || text.starts_with("default-src")
                || text.starts_with("latchkey ")
                || text.starts_with("attachment;");
            assert!(
                words.count() < 2 || other,
                "{} says {text:?}",
                path.display()
            );
        }
    }
}

#[test]
fn numbers_are_grouped() {
    for (number, text) in [
        (0, "0"),
        (999, "999"),
        (1000, "1,000"),
        (1234567, "1,234,567"),
    ] {
        assert_eq!(english().number(number), text);
    }
}

/// Sources below the console whose texts the console never displays, each with the place of its texts.
const SILENT: &[(&str, &str)] = &[
    ("src/domain/authenticators/", "of the API alone"),
    ("src/http/route/mounts.rs", "of the command line"),
    ("src/http1/answer.rs", "names of statuses"),
    ("src/http1/connection/example_service.rs", "of tests"),
    ("src/http1/slots/", "of the log"),
    ("src/http1/tls/", "of the command line and the log"),
    ("src/ops/restore/closing.rs", "of the log"),
    ("src/store/seals/bearers.rs", "what a seal is of"),
    ("src/store/seals/keys.rs", "of the log"),
    ("src/store/seals/recorded.rs", "of doctor"),
    ("src/store/migrations/to_2.rs", "of the start"),
    ("src/store/migrations/to_3.rs", "of the audit log"),
    ("src/ops/doctor/mod.rs", "of the command line and the API"),
    (
        "src/ops/changed_outside/mod.rs",
        "of the command line and the API",
    ),
    ("src/ops/restore/mod.rs", "of the command line"),
    ("src/ops/authenticators.rs", "of the API alone"),
    ("src/ops/setup/fixture.rs", "of tests"),
    ("src/ops/setup/mod.rs", "of the start"),
    ("src/store/usage.rs", "of the start"),
    ("src/store/sqlite/backup.rs", "a cause for the log"),
    ("src/store/sqlite/checks.rs", "of the start and of restores"),
    (
        "src/store/sqlite/foreign.rs",
        "of the start and of restores",
    ),
    ("src/store/migrations/mod.rs", "of the start"),
];

/// Texts that look like sentences but are not displayed to any user.
const NO_SENTENCES: &[&str] = &[
    "a form of the console",
    "audit checkpoint",
    "column {} cannot be read",
    "internal error: {}",
    "key: this caller is not one",
    "repeated member ",
    "ROLLBACK TO job; RELEASE job",
    "session: this caller is not one",
    "the client does not read",
    "the database ended the transaction",
    "the database is not open",
    "there is no workspace or no policy for a probe",
    "Thu, 01 Jan 1970 00:00:00 GMT",
];

/// The text of a literal, with `{}` for the values of a format string.
fn pattern(before: &str, literal: &str) -> String {
    let mut plain = String::new();
    let mut rest = literal;
    while let Some((text, behind)) = rest.split_once('\\') {
        plain.push_str(text);
        rest = match behind.strip_prefix('\n') {
            Some(next) => next.trim_start(),
            None => {
                plain.push_str(&behind[..1]);
                &behind[1..]
            }
        };
    }
    plain.push_str(rest);
    let formats = ["format!(", "write!(f,"];
    if !formats.iter().any(|format| before.ends_with(format)) {
        return plain;
    }
    let mut pattern = String::new();
    let mut depth = 0;
    for c in plain.chars() {
        match c {
            '{' => {
                depth += 1;
                pattern.push(c);
            }
            '}' => {
                depth -= 1;
                pattern.push(c);
            }
            c if depth == 0 => pattern.push(c),
            _ => {}
        }
    }
    pattern
}

/// Every sentence from below the console that the console may display.
fn sentences_below() -> BTreeSet<String> {
    let mut found = Vec::new();
    for folder in ["authz", "domain", "store", "index", "ops", "http", "http1"] {
        files(&Path::new("src").join(folder), &mut found);
    }
    found.push(Path::new("src/error.rs").to_owned());
    let mut sentences = BTreeSet::new();
    for path in found {
        let name = path.to_str().unwrap();
        let silent = SILENT.iter().any(|(silent, _)| name.starts_with(silent));
        if silent || name.ends_with("tests.rs") || !name.ends_with(".rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap();
        for (before, literal) in quoted(source) {
            let text = pattern(before, literal);
            let word = |word: &&str| {
                let word = word.trim_end_matches([',', ';', ':', '.']);
                let rest = word.strip_prefix(|c: char| c.is_ascii_uppercase());
                let rest = rest.unwrap_or(word);
                word.len() > 1 && !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase())
            };
            let for_the_log = before.contains("::internal(") || before.contains("log::");
            let for_sql = text.split_whitespace().any(|word| {
                ["SELECT", "INSERT", "UPDATE", "DELETE", "FROM", "WHERE"].contains(&word)
            });
            let for_machines = text.starts_with("latchkey: ") || NO_SENTENCES.contains(&&*text);
            let is_sentence = text.split(' ').filter(word).count() > 1;
            if is_sentence && !for_the_log && !for_sql && !for_machines {
                sentences.insert(text);
            }
        }
    }
    sentences
}

/// A translation can be complete only if it can contain every sentence from below the console.
#[test]
fn every_sentence_below_the_console_is_in_the_file() {
    // The texts of policies and catalogs are in another group.
    let file = ENGLISH.split("[given]").next().unwrap();
    let listed: BTreeSet<String> = reading::said(file).map(str::to_owned).collect();
    let said = sentences_below();
    let gone: Vec<&String> = listed.difference(&said).collect();
    assert!(gone.is_empty(), "nothing says these any more: {gone:?}");
    let missing: Vec<&String> = said.difference(&listed).collect();
    assert!(
        missing.is_empty(),
        "assets/console/en.txt lacks these below [said] (or their file belongs to SILENT):\n{}",
        missing
            .iter()
            .map(|it| it.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    );
}
