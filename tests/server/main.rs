//! Tests of the running server from outside; each module tests one behaviour.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

mod audit;
mod audit_retention;
mod budgets;
mod catalogs;
mod clock;
mod command_line;
mod console;
mod declared;
mod documents;
mod durability;
mod faults;
mod files;
mod flooding;
mod folder;
mod forward_auth;
mod framing;
mod imports;
mod input;
mod keeping;
mod keys;
mod notices;
mod openapi;
mod operations;
mod packs;
mod people;
mod policies;
mod release;
mod sealed;
mod secrets;
mod sites;
mod soak;
mod support;
mod surfaces;
mod transcripts;
mod tripwires;
mod unread;
mod usage;
mod verify;
mod vspc;
mod workspaces_recursive;
