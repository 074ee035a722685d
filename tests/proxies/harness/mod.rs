//! What the tests of the behaviours need: the programs, a client and an application.

pub mod application;
pub mod certificate;
pub mod client;
pub mod latchkey;
pub mod process;
pub mod proxy;
pub mod stage;
