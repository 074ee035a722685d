//! How the schema of a database differs from that of this build, in the words of either engine.

use crate::error::{Error, Result};
use crate::refusals;

/// The number of objects that one message names.
const NAMED_MAX: usize = 5;
/// The number of characters of a name that a message shows.
const NAME_CHARS_MAX: usize = 100;

/// An object that is not part of the schema.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Foreign {
    /// `table`, `index`, `trigger` or another word of SQL.
    kind: String,
    name: String,
    /// What removes it.
    statement: String,
    /// Whether the object cannot change what Latchkey does.
    pub is_harmless: bool,
}

/// How the schema of a database differs from the schema that this build creates.
#[derive(Debug, Default)]
pub struct Difference {
    /// Objects that are not part of the schema.
    pub foreign: Vec<Foreign>,
    /// The parts of the schema that are missing or different, in words.
    pub faults: Vec<String>,
}

impl Foreign {
    /// An object that is removed with `DROP` and its kind and name.
    pub fn new(kind: &str, name: &str, is_harmless: bool) -> Foreign {
        let statement = format!("DROP {} {};", kind.to_uppercase(), quoted(name));
        Foreign::removed_by(statement, kind, name, is_harmless)
    }

    /// An object that another statement removes.
    pub fn removed_by(statement: String, kind: &str, name: &str, is_harmless: bool) -> Foreign {
        Foreign {
            kind: kind.to_owned(),
            name: name.to_owned(),
            statement,
            is_harmless,
        }
    }

    /// The object as messages name it: `table x`.
    pub fn shown(&self) -> String {
        let name: String = self.name.chars().take(NAME_CHARS_MAX).collect();
        format!("{} {}", self.kind, name.escape_debug())
    }

    /// The SQL statement that removes the object.
    pub fn statement(&self) -> &str {
        &self.statement
    }
}

impl Difference {
    /// The differences that make a database unusable: it is neither backed up, nor restored, nor migrated.
    pub fn refused(&self) -> Vec<String> {
        let foreign = self.foreign.iter().filter(|it| !it.is_harmless);
        let foreign = foreign.map(|it| format!("{} does not belong there", it.shown()));
        let mut refused: Vec<String> = foreign.chain(self.faults.iter().cloned()).collect();
        refused.truncate(NAMED_MAX);
        refused
    }

    /// Refuses a database whose copy could not be restored; the error gives the reason.
    pub fn check_useful(&self) -> Result<()> {
        let refused = self.refused();
        match refused.is_empty() {
            true => Ok(()),
            false => Err(Error::Unavailable(refusals::backups::useless_database(
                refused.join("; "),
            ))),
        }
    }

    /// The objects that a copy leaves out.
    pub fn harmless(&self) -> Vec<Foreign> {
        let harmless = self.foreign.iter().filter(|it| it.is_harmless);
        harmless.cloned().collect()
    }
}

/// A name in SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
