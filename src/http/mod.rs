//! Requests, replies, routes, and the server that moves them. Knows no product's words; asks `ops` for nothing but
//! the caller.

pub mod bodies;
pub mod client;
pub mod credential;
pub mod fields;
pub mod form;
pub mod headers;
pub mod numbers;
pub mod query;
pub mod reply;
pub mod request;
pub mod route;
pub mod server;
