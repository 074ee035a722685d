//! Who acts on this server, and what they may do.
//!
//! [`caller`] is the principal of a request: what a caller may do is the intersection of the permissions of the
//! credential, the roles of its user, and the subtree of its workspace. [`keys`] decides who may issue and change keys
//! of a policy, [`bounds`] that no key can do more than the caller who issues or changes it, and [`users`] who may
//! change users and give them roles.
//!
//! All of this decides and nothing here acts: no function changes a row, reads a secret or knows a request. `ops`
//! finds the caller of a credential, asks here, acts and records.

pub mod bounds;
pub mod caller;
pub mod keys;
pub mod users;
