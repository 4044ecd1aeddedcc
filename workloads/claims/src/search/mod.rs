//! Searches of the core, by the model, and what is kept of them.

pub(crate) mod cache;
pub(crate) mod evidence;
pub(crate) mod query;
pub(crate) mod work;
