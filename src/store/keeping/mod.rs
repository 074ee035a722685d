//! What keeps the database safe: whether its files are still the ones that were opened, tombstones, copies.

pub mod closing;
pub mod events;
pub mod place;
pub mod reserve;
pub mod tombstones;
