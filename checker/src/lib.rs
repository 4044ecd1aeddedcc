//! History checkers: linearizability, siblings, carts, sessions. Knows nothing of any store.
//!
//! A [`history::History`] is read, a [`verdict::Checker`] judges it within a [`budget::Budget`],
//! and a [`verdict::CheckReport`] says valid, invalid or unknown, with a witness and numbers.

pub mod budget;
pub mod cart;
pub mod causal;
pub mod cli;
pub mod cli_generate;
pub mod collections;
pub mod compose;
pub mod convergence;
pub mod explain;
mod fast_line;
pub mod faults;
pub mod finding;
pub mod formats;
pub mod generate;
mod graph;
pub mod history;
pub mod linearizable;
pub mod logs;
pub mod minimize;
pub mod op;
mod registers;
pub mod sessions;
pub mod siblings;
pub mod spec;
pub mod staleness;
pub mod verdict;
mod versions;
pub mod wellformed;
