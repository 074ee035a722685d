//! What a stranger can check of a release: what the program is made of, its licences, and its signature.

mod bill;
mod signing;
