//! One check and its outcome.

use crate::refusals::Refusal;
use std::fmt::{Display, Formatter, Result};

/// The maximum number of names in the text of a check.
pub const NAMED_MAX: usize = 20;

/// The result of a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finding {
    /// There is a fault.
    Failed,
    Ok,
    /// There is no fault yet, but there may be one soon.
    Warning,
}

/// What was found: one sentence, or several about several things.
#[derive(Clone, Debug, Default)]
pub struct Sentences(pub Vec<Refusal>);

/// The outcome of one check.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: &'static str,
    pub finding: Finding,
    pub found: Sentences,
    /// Whether what was found contains names of users, workspaces, policies or catalogs.
    pub has_names: bool,
    /// The advice to the administrator, if there is something to do.
    pub advice: Option<Refusal>,
}

impl From<Refusal> for Sentences {
    fn from(one: Refusal) -> Sentences {
        Sentences(vec![one])
    }
}

impl From<Vec<Refusal>> for Sentences {
    fn from(all: Vec<Refusal>) -> Sentences {
        Sentences(all)
    }
}

/// The English text.
impl Display for Sentences {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join("; "))
    }
}

impl Check {
    /// The advice in English; empty if there is nothing to do.
    pub fn advice_text(&self) -> String {
        let advice = self.advice.as_ref().map(ToString::to_string);
        advice.unwrap_or_default()
    }

    pub fn ok(name: &'static str, found: impl Into<Sentences>) -> Check {
        Check {
            name,
            finding: Finding::Ok,
            found: found.into(),
            has_names: false,
            advice: None,
        }
    }

    pub fn warning(name: &'static str, found: impl Into<Sentences>, advice: Refusal) -> Check {
        Check {
            finding: Finding::Warning,
            advice: Some(advice),
            ..Check::ok(name, found)
        }
    }

    pub fn failed(name: &'static str, found: impl Into<Sentences>, advice: Refusal) -> Check {
        Check {
            finding: Finding::Failed,
            ..Check::warning(name, found, advice)
        }
    }

    /// Marks what was found as containing names, which must stay on this machine.
    pub fn with_names(self) -> Check {
        Check {
            has_names: true,
            ..self
        }
    }
}

impl Finding {
    pub const ALL: [Finding; 3] = [Finding::Failed, Finding::Ok, Finding::Warning];

    /// The word for the finding in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Finding::Failed => "failed",
            Finding::Ok => "ok",
            Finding::Warning => "warning",
        }
    }
}
