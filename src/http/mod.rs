//! Replies, routes, bodies, and what is read from requests. This module contains no dialect's terms, and uses `ops` only to
//! find the caller. Credentials are read in one file, [`credential`].

pub mod bodies;
pub mod client;
pub mod credential;
pub mod describe;
pub mod fields;
pub mod form;
#[cfg(test)]
mod fuzz;
pub mod numbers;
pub mod query;
pub mod reply;
pub mod route;

pub use crate::http1::{headers, request};
