//! Running Latchkey: its settings, and what an administrator does to a server that serves.

mod configuration;
mod reload;
mod systemd;
mod tls;
