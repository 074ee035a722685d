//! What users have chosen for their pages. It decides nothing about access.

/// The choices of one user; empty texts leave the choice to the browser or the server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Preferences {
    pub theme: Theme,
    /// A language tag such as `de` (BCP 47); empty: the language that the browser asks for.
    pub language: String,
    /// A name of the IANA database; empty: UTC.
    pub time_zone: String,
}

/// The colours of pages.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Theme {
    /// The system's colours.
    #[default]
    Browser,
    Dark,
    Light,
}

impl Theme {
    pub fn word(self) -> &'static str {
        match self {
            Theme::Browser => "",
            Theme::Dark => "dark",
            Theme::Light => "light",
        }
    }

    pub fn parse(word: &str) -> Option<Theme> {
        let mut all = [Theme::Browser, Theme::Dark, Theme::Light].into_iter();
        all.find(|theme| theme.word() == word)
    }
}
