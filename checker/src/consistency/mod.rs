//! Consistency of registers and other objects with a specification, the strongest first.

pub mod causal;
mod graph;
pub(crate) mod left_out;
pub mod linearizable;
pub(crate) mod registers;
pub mod sequential;
pub mod sessions;
pub mod staleness;
