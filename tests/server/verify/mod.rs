//! Verification through the native API: verdicts, who may ask, limits, and how soon a change counts.

mod at_once;
mod callers;
mod clients;
mod garbage;
mod limits;
mod oauth;
mod questions;
mod timing;
mod usage;
mod verdicts;
