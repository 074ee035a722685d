//! The files around the database: whether they are still the ones that were opened.

pub mod place;
