//! Interpreters draw operations from a generator, journal them and have them done.

pub(crate) mod book;
mod lasting;
mod tally;
mod turns;
pub mod virtual_time;
mod wall_clock;

pub use book::Book;
pub use tally::{Counts, Tally};
pub use wall_clock::Interpreter;
