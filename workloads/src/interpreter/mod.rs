//! Interpreters draw operations from a generator, journal them and have them done.

mod real;
mod tally;

pub use real::Interpreter;
pub use tally::{Counts, Tally};
