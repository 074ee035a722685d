//! Verification through the native API: verdicts, callers, limits, and when a change takes effect.

mod at_once;
mod callers;
mod clients;
mod foreign;
mod garbage;
mod limits;
mod oauth;
mod questions;
mod timing;
mod usage;
mod verdicts;
