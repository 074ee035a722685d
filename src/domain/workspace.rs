//! Workspaces: the isolation boundary, a tree with one root.

use super::time::Timestamp;
use super::uid::Uid;

/// Workspaces from the root to the deepest, at most.
pub const DEPTH_MAX: usize = 16;
/// Workspaces of one server.
pub const WORKSPACES_MAX: usize = 100_000;
/// The slug of the root workspace.
pub const ROOT_SLUG: &str = "root";

/// One workspace. A key of it reaches it and its descendants, decided at request time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Workspace {
    pub uid: Uid,
    /// A small number for clients that want one.
    pub number: i64,
    /// Unique; for URLs and settings.
    pub slug: String,
    pub name: String,
    /// `None` only for the root.
    pub parent: Option<Uid>,
    pub enabled: bool,
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
}
