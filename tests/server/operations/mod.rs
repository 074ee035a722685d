//! Operation of Latchkey: its settings, and what an administrator can do with a running server.

mod configuration;
mod container;
mod data_folder;
mod health;
mod idle;
mod reload;
mod systemd;
mod tls;
