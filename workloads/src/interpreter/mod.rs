//! Interpreters draw operations from a generator, journal them and have them done.

pub(crate) mod book;
mod real;
mod tally;

pub use book::Book;
pub use real::Interpreter;
pub use tally::{Counts, Tally};
