//! The node that this process is: its data folder, and which start of it.

use super::App;
use crate::domain::locks::lock;
use crate::domain::nodes::{Node, NodeId};
use crate::error::Result;
use crate::store::{Durability, Location, Write, nodes};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// The name of the file with the id, in the data folder.
pub const FILE: &str = "node-id";

/// The node of this process. A server counts its start when it begins, if it can: a full disk does not prevent a start. Otherwise,
/// and in a single command, the start is counted when its number is first needed, so that a command that only reads changes nothing.
pub struct OwnNode {
    id: NodeId,
    begun: Mutex<Option<Node>>,
    /// The number of [`Node::boot`], for a thread that must not wait; 0 before.
    boot: AtomicI64,
}

impl OwnNode {
    pub fn new(id: NodeId) -> OwnNode {
        OwnNode {
            id,
            begun: Mutex::default(),
            boot: AtomicI64::new(0),
        }
    }

    /// Which start of the node this process is, if it was counted.
    #[cfg(feature = "postgres")]
    pub fn boot(&self) -> Option<i64> {
        Some(self.boot.load(Relaxed)).filter(|boot| *boot > 0)
    }

    pub fn id(&self) -> NodeId {
        self.id
    }
}

/// Refuses a database that other nodes use. The file with the id of this node is in the folder of the location.
pub fn require_others_stopped(location: &Location) -> Result<()> {
    let own = nodes::read_file(&location.path.with_file_name(FILE))?;
    location.database.check_unused(own)
}

impl App {
    /// The node of this process. If it is not known whether its start was recorded, the next call records another one.
    pub(in crate::ops) fn node(&self) -> Result<Node> {
        let mut begun = lock(&self.node.begun);
        if let Some(node) = *begun {
            return Ok(node);
        }
        let (id, now) = (self.node.id, self.now().wall);
        let begin = move |tx: &Write<'_>| nodes::begin(tx, id, &nodes::name_of_machine(), now);
        let node = self.store.write(Durability::Relaxed, begin)?;
        self.node.boot.store(node.boot, Relaxed);
        *begun = Some(node);
        Ok(node)
    }
}
