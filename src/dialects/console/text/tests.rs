//! Checks that every text of the console is in the file of its language, and that the file has no other texts.

use super::*;
use crate::error::Error;
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
fn the_file_of_english_is_complete() {
    let texts = Texts::strict(template()).unwrap();
    assert_eq!(texts.named.len(), english().named.len());
    for sentence in refusals::all() {
        let text = texts.named.get(&format!("refusals.{}", sentence.code));
        assert_eq!(text, Some(&sentence.english));
    }
}

#[test]
fn what_is_no_file_of_a_language_is_refused() {
    for (file, why) in [
        ("[nav]\nkeys\n", "line 2"),
        ("[nav]\nkey = x\n", "no text \"nav.key\""),
        ("[nav]\nkeys = x\nkeys = y\n", "there twice"),
        ("[when]\nago = {} {} {}\n", "\"when.ago\" has a place {}"),
        ("[given]\nwhat nobody says = x\n", "no text"),
        ("[nav]\nkeys = \n", "\"nav.keys\" has no text"),
        ("[refusals]\nkeys.expire = x\n", "no text"),
        ("[refusals]\nvalues.at_most = {} {least}\n", "a place {}"),
        ("[refusals]\nvalues.at_most = {least}\n", "a place {least}"),
    ] {
        let err = Texts::strict(file).unwrap_err().to_string();
        assert!(err.contains(why), "{file}: {err}");
    }
}

#[test]
fn what_a_language_lacks_is_english() {
    let texts = Texts::strict(
        "[nav]\nkeys = Schlüssel\n[given]\nRead catalogs = Kataloge lesen\n\
         [refusals]\nvalues.at_most = höchstens {most}, nicht mehr als {most}\n",
    );
    let texts = texts.unwrap();
    assert_eq!(texts.get("nav.keys"), "Schlüssel");
    assert_eq!(texts.get("nav.users"), "Users");
    assert_eq!(texts.word("Read catalogs"), "Kataloge lesen");
    assert_eq!(texts.word("Read policies"), "Read policies");
    let most = refusals::values::at_most("{most}");
    assert_eq!(
        texts.sentence(&Error::invalid("a", most).refusal()),
        "A: höchstens {most}, nicht mehr als {most}."
    );
    assert_eq!(
        texts.sentence(&refusals::values::empty()),
        "Must not be empty."
    );
    let all = english().named.len() + reading::labels().count();
    assert_eq!(texts.lacking().len(), all - 3);
}

// Files of older versions have such a group.
#[test]
fn the_sentences_of_older_files_are_ignored() {
    let file = "[nav]\nkeys = Schlüssel\n[said]\nis needed = fehlt\n[word]\ncancel = Abbrechen\n";
    let texts = Texts::strict(file).unwrap();
    assert!(reading::has_sentences(file) && !reading::has_sentences(template()));
    assert_eq!(
        (texts.get("nav.keys"), texts.get("word.cancel")),
        ("Schlüssel", "Abbrechen")
    );
    assert_eq!(texts.refusal(&refusals::values::needed()), "is needed");
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
