//! Files that are generated from the definition of the command line: completions and man pages.

pub mod completions;
pub mod man;
