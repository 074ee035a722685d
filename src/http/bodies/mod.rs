//! Bodies that more than one surface reads or writes, member by member.

pub mod audit;
pub mod catalog;
#[cfg(test)]
mod fuzz;
pub mod imports;
pub mod openapi;
pub mod tree;
