//! The page that asks for confirmation before something is deleted.

use super::Layout;
use askama::Template;

/// Asks for confirmation, and explains the consequences.
#[derive(Template)]
#[template(path = "console/delete.html")]
pub struct DeletePage {
    pub s: Layout,
    pub name: String,
    pub lead: &'static str,
    /// The address to which the form is sent.
    pub href: String,
    /// The page to which the user returns without deleting anything.
    pub back: String,
    /// Why it could not be deleted, if this was attempted.
    pub refusal: Option<String>,
}
