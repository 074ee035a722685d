//! The settings file: TOML, one setting on each line. This module parses it without knowing which settings exist.
//!
//! Every error names the line and what to write instead. The module `sources` knows the settings and interprets their
//! values.
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::table::{self, Fault, Lines};
use crate::domain::text;
use crate::error::{Error, Result};
use crate::refusals::verbatim;

/// A larger file cannot be a settings file.
const BYTES_MAX: u64 = 64 * 1024;

/// A settings file that was read successfully.
pub struct SettingsFile {
    pub path: PathBuf,
    pub entries: Vec<Entry>,
}

/// One setting as it stands in the file.
#[derive(Debug, Eq, PartialEq)]
pub struct Entry {
    pub name: String,
    pub written: FileValue,
    /// Counted from 1.
    pub line: usize,
}

/// A value, with its kind as far as TOML distinguishes kinds.
#[derive(Debug, Eq, PartialEq)]
pub enum FileValue {
    List(Vec<String>),
    /// A value of another kind, which no setting accepts; the text names the kind.
    Other(&'static str),
    Number(String),
    Switch(bool),
    Text(String),
}

impl SettingsFile {
    pub fn read(path: &Path) -> Result<SettingsFile> {
        let shown = path.display();
        let unreadable = |err: std::io::Error| {
            Error::Unavailable(verbatim(format!(
                "the settings file {shown} cannot be read: {err}"
            )))
        };
        let file = fs::File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(Error::Unavailable(verbatim(format!(
                "the settings file {shown} is a folder; name a file in it"
            ))));
        }
        if metadata.mode() & 0o002 != 0 {
            return Err(Error::Unavailable(verbatim(format!(
                "the settings file {shown} can be changed by every user (mode {:03o}); close it with: chmod o-w {shown}",
                metadata.mode() & 0o777
            ))));
        }
        let mut bytes = Vec::new();
        file.take(BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(Error::Unavailable(verbatim(format!(
                "the settings file {shown} is larger than {BYTES_MAX} bytes"
            ))));
        }
        let text = text::of_file(&bytes).map_err(|why| {
            let before = std::str::from_utf8(&bytes).map_or_else(|err| err.valid_up_to(), str::len);
            match before == bytes.len() || before == 0 {
                true => Error::Unavailable(verbatim(format!("the settings file {shown} {why}"))),
                false => Error::Unavailable(verbatim(format!(
                    "{shown}:{}: this is not UTF-8 text",
                    Lines::of_bytes(&bytes).line_at(before)
                ))),
            }
        })?;
        Ok(SettingsFile {
            path: path.to_owned(),
            entries: entries(text, &shown.to_string())?,
        })
    }
}

/// All settings of a text; `shown` is the name of the file in errors.
pub(super) fn entries(text: &str, shown: &str) -> Result<Vec<Entry>> {
    let lines = Lines::of(text);
    let table = table::parse(text, &lines).map_err(|faults| {
        let sentence = |fault: &Fault| format!("{shown}:{}: {}", fault.line, fault.why);
        let sentences: Vec<String> = faults.iter().map(sentence).collect();
        Error::Unavailable(verbatim(sentences.join("\n")))
    })?;
    let mut entries: Vec<Entry> = table
        .get_ref()
        .iter()
        .map(|(name, value)| Entry {
            name: name.get_ref().to_string(),
            written: written(value),
            line: lines.line_at(name.span().start),
        })
        .collect();
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn written(value: &Spanned<DeValue<'_>>) -> FileValue {
    match value.get_ref() {
        DeValue::Array(items) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            })
            .collect::<Option<_>>()
            .map_or(
                FileValue::Other("a list of something else"),
                FileValue::List,
            ),
        DeValue::Boolean(on) => FileValue::Switch(*on),
        DeValue::Datetime(_) => FileValue::Other("a time"),
        DeValue::Float(_) => FileValue::Other("a fraction"),
        DeValue::Integer(number) if number.radix() == 10 => {
            FileValue::Number(number.as_str().to_owned())
        }
        DeValue::Integer(_) => FileValue::Other("a number that is not decimal"),
        DeValue::String(text) => FileValue::Text(text.to_string()),
        DeValue::Table(_) => FileValue::Other("a table"),
    }
}

/// A text as a basic string of TOML. It has no control characters.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refusal(text: &str) -> String {
        match entries(text, "x.toml") {
            Err(err) => err.to_string(),
            Ok(entries) => panic!("accepted: {entries:?}"),
        }
    }

    #[test]
    fn a_setting_keeps_its_kind_and_line() {
        let text = "# heading\nlisten = \"127.0.0.1:1\"\nthreads = 4\n\nhosts = [\n \"a\",\n \"b\"]\nplain = true\nat = 1.5\n";
        let found = entries(text, "x.toml").unwrap();
        let entry = |name: &str, written, line| Entry {
            name: name.to_owned(),
            written,
            line,
        };
        assert_eq!(
            found,
            [
                entry("listen", FileValue::Text("127.0.0.1:1".to_owned()), 2),
                entry("threads", FileValue::Number("4".to_owned()), 3),
                entry("hosts", FileValue::List(vec!["a".into(), "b".into()]), 5),
                entry("plain", FileValue::Switch(true), 8),
                entry("at", FileValue::Other("a fraction"), 9),
            ]
        );
    }

    #[test]
    fn a_doubled_setting_names_both_lines() {
        assert_eq!(
            refusal("a = 1\nlisten = \"x\"\n\nlisten = \"y\"\n"),
            "x.toml:4: listen stands in line 2 already; keep one of the two"
        );
    }

    #[test]
    fn broken_toml_names_its_line() {
        let said = refusal("a = 1\nb = \n");
        assert!(said.starts_with("x.toml:2: "), "{said}");
    }
}
