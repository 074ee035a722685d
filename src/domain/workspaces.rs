//! Workspaces: the isolation boundary, a tree with one root.

use super::time::Timestamp;
use super::uid::Uid;

/// The largest number of workspaces on a path from the root.
pub const DEPTH_MAX: usize = 16;
/// The largest number of workspaces on one server.
pub const WORKSPACES_MAX: usize = 100_000;
/// The slug of the root workspace.
pub const ROOT_SLUG: &str = "root";

/// One workspace. Whether a key reaches a workspace is decided at request time: a key reaches its own workspace and
/// all descendants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Workspace {
    pub uid: Uid,
    /// A small number for clients that need one.
    pub number: i64,
    /// Unique; used in URLs and settings.
    pub slug: String,
    pub name: String,
    /// `None` only for the root.
    pub parent: Option<Uid>,
    pub enabled: bool,
    pub created_at: Timestamp,
    /// The time of the last edit.
    pub updated_at: Timestamp,
}
