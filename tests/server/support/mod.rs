//! The harness of all tests from outside: the real executable in a fresh folder, a small HTTP client, and users.
//!
//! A test starts a [`Server`], gets a [`User`] from it and sends requests. Helpers panic with the whole exchange when
//! an answer is not the expected one, so that the message of a failed test is sufficient.

mod client;
mod one_time;
mod problem;
mod random;
pub mod refusal;
mod server;
mod together;
mod user;
pub mod wait;

pub use client::{Address, Connection, Received, Response};
pub use one_time::code;
pub use random::Random;
pub use server::{Server, executable, fresh_folder, fresh_loopback};
pub use together::together;
pub use user::{Issued, PASSWORD, User};
