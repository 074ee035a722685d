//! The console without a browser: cookies, forms, and refusals (attacks, area 9).

mod connect;
mod expiry;
mod finding;
mod forms;
mod key_page;
mod language;
mod managing;
mod many_keys;
mod offered;
mod origins;
mod overview;
mod pages;
mod passwords;
mod preferences;
mod prefix;
mod sections;
pub mod setup;
mod signing_in;
mod systems;
mod visitor;

pub use visitor::Visitor;
