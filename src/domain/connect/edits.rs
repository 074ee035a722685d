//! Changes to the text of an example. A change that does not find its place is an error, so that an example cannot be
//! edited without the configuration that is made of it.

use crate::error::{Error, Result};

/// A text that is being changed.
pub struct Draft(pub String);

impl Draft {
    /// Replaces every occurrence.
    pub fn put(mut self, from: &str, to: &str) -> Result<Draft> {
        if !self.0.contains(from) {
            return Err(missing(from));
        }
        self.0 = self.0.replace(from, to);
        Ok(self)
    }

    /// Replaces what begins with `from` and ends before the next `until`.
    pub fn put_part(mut self, from: &str, until: &str, to: &str) -> Result<Draft> {
        let start = self.0.find(from).ok_or_else(|| missing(from))?;
        let rest = self.0.get(start + from.len()..).unwrap_or_default();
        let end = rest.find(until).ok_or_else(|| missing(until))?;
        self.0.replace_range(start..start + from.len() + end, to);
        Ok(self)
    }

    /// Removes what begins with `from` and ends before the next `until`.
    pub fn cut(self, from: &str, until: &str) -> Result<Draft> {
        self.put_part(from, until, "")
    }
}

fn missing(text: &str) -> Error {
    Error::internal(format!(
        "an example lacks {text:?}, so nothing can be made of it"
    ))
}

/// The lines with this indentation removed from those that have it.
pub fn outdented(text: &str, indentation: &str) -> String {
    let line = |line: &str| line.strip_prefix(indentation).unwrap_or(line).to_owned() + "\n";
    text.lines().map(line).collect()
}

/// The lines with this indentation, except for empty ones.
pub fn indented(text: &str, indentation: &str) -> String {
    let line = |line: &str| match line {
        "" => "\n".to_owned(),
        line => format!("{indentation}{line}\n"),
    };
    text.lines().map(line).collect()
}
