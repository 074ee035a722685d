//! What whoever looks after a server needs to know of it: figures, and what has ended for good.

pub mod figures;
