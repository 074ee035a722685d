//! The pages of policies and catalogs.

pub mod catalog_import;
pub mod catalog_put;
pub mod catalogs;
pub mod policies;
pub mod policy_edit;
mod policy_form;
