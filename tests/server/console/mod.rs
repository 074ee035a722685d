//! The console without a browser: cookies, forms, and refusals (attacks, area 9).

mod expiry;
mod forms;
mod language;
mod managing;
mod offered;
mod origins;
mod pages;
mod passwords;
mod prefix;
mod sections;
mod setup;
mod signing_in;
mod systems;
mod visitor;

pub use visitor::Visitor;
