//! The search: knows states, steps and properties by number, and nothing of Dynamo.

pub(crate) mod checkpoint;
pub(crate) mod engine;
pub mod interrupt;
pub(crate) mod panics;
