//! The question before something is deleted.

use super::Shell;
use askama::Template;

/// Asks whether something is to be deleted, and says what that means.
#[derive(Template)]
#[template(path = "console/delete.html")]
pub struct DeletePage {
    pub s: Shell,
    pub name: String,
    pub lead: &'static str,
    /// Where the form goes.
    pub href: String,
    /// Where whoever thinks better of it goes.
    pub back: String,
    /// Why it was not deleted, if it was tried.
    pub refusal: Option<String>,
}
