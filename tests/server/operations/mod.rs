//! Running Latchkey: its settings, and what an administrator does to a server that serves.

mod configuration;
mod idle;
mod reload;
mod systemd;
mod tls;
