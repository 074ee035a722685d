//! Bodies that more than one surface reads or writes, member by member.

pub mod catalog;
pub mod event;
pub mod openapi;
