//! Bodies that more than one surface reads or writes, member by member.

pub mod audit;
pub mod catalog;
pub mod openapi;
