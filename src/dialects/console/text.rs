//! The words of the pages: one file a language under `assets/console`, read once.

use std::collections::HashMap;
use std::sync::OnceLock;

/// The words of one language by their names, such as `keys.title`.
#[derive(Debug)]
pub struct Texts(HashMap<String, &'static str>);

const ENGLISH: &str = include_str!("../../../assets/console/en.txt");

/// English, the only language so far.
pub fn english() -> &'static Texts {
    static TEXTS: OnceLock<Texts> = OnceLock::new();
    TEXTS.get_or_init(|| Texts::read(ENGLISH))
}

impl Texts {
    /// Reads lines of `name = text` below headings of `[group]`; `#` begins a comment.
    fn read(file: &'static str) -> Texts {
        let mut texts = HashMap::new();
        let mut group = "";
        for line in file.lines() {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                group = name;
            } else if let Some((name, text)) = line.split_once('=')
                && !line.starts_with('#')
            {
                texts.insert(format!("{group}.{}", name.trim()), text.trim());
            }
        }
        Texts(texts)
    }

    /// The text of a name; a name without one shows as a mark that is hard to overlook.
    pub fn get(&self, name: &str) -> &'static str {
        self.find(name).unwrap_or_else(|| {
            log::error!("the console has no text {name}");
            "⟦?⟧"
        })
    }

    /// The text of a name that need not have one.
    pub fn find(&self, name: &str) -> Option<&'static str> {
        self.0.get(name).copied()
    }

    /// The text with `{}` replaced.
    pub fn with(&self, name: &str, value: &str) -> String {
        self.get(name).replacen("{}", value, 1)
    }

    /// `name.one` or `name.other` by number, with `{}` replaced by it.
    pub fn count(&self, name: &str, number: u64) -> String {
        let form = if number == 1 { "one" } else { "other" };
        self.with(&format!("{name}.{form}"), &grouped(number))
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
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

    /// Names in quotes right behind `t(`, `t1(` or `tn(` in templates, and behind `text(` and the like in sources.
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
    fn no_text_is_there_twice() {
        let lines = ENGLISH
            .lines()
            .filter(|line| !line.trim().starts_with('#') && line.contains('='));
        assert_eq!(lines.count(), english().0.len());
    }

    /// What a page says by itself: its text, and the attributes that people are read.
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
            // Commands are what they are in every language.
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

    /// Texts in quotes, each with what stands before it.
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
            for (before, text) in quoted(source) {
                let words = text
                    .split(' ')
                    .filter(|word| word.len() > 1 && word.chars().all(|c| c.is_ascii_lowercase()));
                // For the log, not for the page; and what is a language of its own.
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
            assert_eq!(grouped(number), text);
        }
    }
}
