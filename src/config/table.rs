//! Parses TOML into a table, with the line of every value and of every error.

use toml::Spanned;
use toml::de::DeTable;

/// The starts of the lines of a text.
pub struct Lines(Vec<usize>);

/// Why a text is no TOML.
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    pub why: String,
}

impl Lines {
    pub fn of(text: &str) -> Lines {
        Lines::of_bytes(text.as_bytes())
    }

    pub fn of_bytes(bytes: &[u8]) -> Lines {
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        Lines(ends.map(|(at, _)| at + 1).collect())
    }

    /// The line, counted from 1, of the byte at this position.
    pub fn line_at(&self, at: usize) -> usize {
        self.0.partition_point(|start| *start <= at) + 1
    }
}

/// The table of a whole text, or everything that is wrong with it.
pub fn parse<'t>(
    text: &'t str,
    lines: &Lines,
) -> std::result::Result<Spanned<DeTable<'t>>, Vec<Fault>> {
    let (table, faults) = DeTable::parse_recoverable(text);
    if faults.is_empty() {
        return Ok(table);
    }
    let fault = |err: toml::de::Error| {
        let at = err.span().map_or(0, |span| span.start);
        let line = lines.line_at(at);
        let why = match err.message() {
            "duplicate key" => doubled(text, at, line),
            message => unquoted(text, line).unwrap_or_else(|| message.replace('\n', "; ")),
        };
        Fault { line, why }
    };
    let mut found: Vec<Fault> = faults.into_iter().map(fault).collect();
    found.dedup_by(|a, b| a.line == b.line && a.why == b.why);
    Err(found)
}

/// The error for a line whose value should be a text and has no quotation marks; `None` if that is not what is wrong. The
/// value itself is not repeated, because it may be a secret.
fn unquoted(text: &str, line: usize) -> Option<String> {
    let (name, value) = text.lines().nth(line - 1)?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_bare = !value.is_empty() && !value.starts_with(['"', '\'', '[', '{', '#']);
    let is_bare = is_bare && !value.contains(['"', '\'']);
    (is_bare && !name.is_empty() && name.chars().all(is_name))
        .then(|| format!("a text needs quotation marks: write {name} = \"…\""))
}

/// The error for a name that stands twice; it names the line where the name stands first. Names of the same text in
/// another table are not meant.
fn doubled(text: &str, at: usize, line: usize) -> String {
    let rest = text.get(at..).unwrap_or_default();
    let name = rest
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
        .next()
        .unwrap_or_default();
    let before: Vec<&str> = text.lines().take(line - 1).collect();
    let start = before
        .iter()
        .rposition(|line| line.trim_start().starts_with('['))
        .map_or(0, |heading| heading + 1);
    let first = before[start..]
        .iter()
        .position(|line| line.split('=').next().map(str::trim) == Some(name));
    match first {
        Some(found) => format!(
            "{name} stands in line {} already; keep one of the two",
            start + found + 1
        ),
        None => format!("{name} stands here twice; keep one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_line() {
        let lines = Lines::of("a\nbc\n\nd");
        let found: Vec<usize> = (0..7).map(|at| lines.line_at(at)).collect();
        assert_eq!(found, [1, 1, 2, 2, 2, 3, 4]);
    }

    #[test]
    fn a_text_without_quotation_marks_is_told() {
        let why = |text: &str| parse(text, &Lines::of(text)).err().unwrap().remove(0).why;
        for bare in ["listen = 127.0.0.1:8420\n", "listen = localhost # here\n"] {
            assert_eq!(
                why(bare),
                "a text needs quotation marks: write listen = \"…\""
            );
        }
        assert!(!why("listen = \"half\n").contains("quotation marks: write"));
        assert!(!why("listen = \n").contains("quotation marks: write"));
    }

    #[test]
    fn a_name_that_stands_twice_in_one_table_is_found_there() {
        let text = "name = 1\n[[key]]\nname = 2\n[[key]]\nname = 3\nname = 4\n";
        let faults = parse(text, &Lines::of(text)).err().unwrap();
        assert_eq!(faults[0].line, 6);
        assert_eq!(
            faults[0].why,
            "name stands in line 5 already; keep one of the two"
        );
    }
}
