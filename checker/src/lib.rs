//! History checkers: linearizability, siblings, carts, sessions. Knows nothing of any store.
//!
//! A [`history::History`] is read, a [`verdict::Checker`] judges it within a [`budget::Budget`],
//! and a [`verdict::CheckReport`] says valid, invalid or unknown, with a witness and numbers.

pub mod budget;
pub mod cart;
pub mod cli_generate;
pub mod compose;
mod fast_line;
pub mod finding;
pub mod formats;
pub mod generate;
pub mod history;
pub mod linearizable;
pub mod op;
pub mod siblings;
pub mod spec;
pub mod verdict;
mod versions;
pub mod wellformed;
