//! Operation of Latchkey: its settings, and what an administrator can do with a running server.

mod configuration;
mod idle;
mod reload;
mod systemd;
mod tls;
