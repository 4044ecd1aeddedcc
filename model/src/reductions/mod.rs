//! What the search need not look at, a file a reason. docs/model.md has the arguments,
//! `tests/reductions.rs` the comparisons.

mod ample;
mod fingerprint;
mod inert;
mod renaming;
pub(crate) mod symmetry;
mod unread;
