//! Tests of the commands for a database on PostgreSQL, from outside: the program with the feature `postgres`, and a real server.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

mod commands;
#[path = "../../src/store/postgres/installed.rs"]
mod installed;
mod moves;
mod postgres;
mod program;
mod upgrade;
#[path = "../server/support/wait.rs"]
#[allow(dead_code, reason = "the tests of the server use more of it")]
mod wait;
