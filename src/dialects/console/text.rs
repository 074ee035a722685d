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
