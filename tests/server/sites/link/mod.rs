//! The live link between a server and its sites.

mod server;
