//! What a failed BEGIN or COMMIT means.

use crate::error::Error;

/// A BEGIN or COMMIT that failed.
pub struct Fault {
    pub kind: FaultKind,
    pub error: Error,
}

/// What a failed BEGIN or COMMIT means for the data on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultKind {
    /// Nothing was saved: the disk is full, or a similar fault ended the transaction.
    NoRoom,
    /// Nothing was saved: another program holds a lock, or a constraint is violated.
    Refused,
    /// It is unknown what was saved.
    Unknown,
}

impl Fault {
    pub fn new(kind: FaultKind, error: Error) -> Fault {
        Fault { kind, error }
    }
}
