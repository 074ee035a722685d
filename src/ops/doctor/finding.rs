//! One check and its outcome.

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

/// The outcome of one check.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: &'static str,
    pub finding: Finding,
    /// What was found.
    pub text: String,
    /// Whether `text` contains names of users, workspaces, policies or catalogs.
    pub has_names: bool,
    /// The advice to the administrator; empty if there is nothing to do.
    pub advice: String,
}

impl Check {
    pub fn ok(name: &'static str, text: impl Into<String>) -> Check {
        Check {
            name,
            finding: Finding::Ok,
            text: text.into(),
            has_names: false,
            advice: String::new(),
        }
    }

    pub fn warning(
        name: &'static str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Check {
        Check {
            name,
            finding: Finding::Warning,
            text: text.into(),
            has_names: false,
            advice: advice.into(),
        }
    }

    /// Marks the text as containing names, which must stay on this machine.
    pub fn with_names(self) -> Check {
        Check {
            has_names: true,
            ..self
        }
    }

    pub fn failed(name: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Check {
        Check {
            finding: Finding::Failed,
            ..Check::warning(name, text, advice)
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
