//! The simulator's side of the bench: the same generators, histories and checkers as with real nodes,
//! over a [`dynamo_sim::World`] under virtual time.
//!
//! ```text
//! seed -> Scenario (cluster, links, clients, faults) -> run -> Outcome (violations, trace)
//!                      ^ or a plan                        `-> shrink -> a short trace
//! ```

pub mod batch;
pub mod cli;
pub mod fault;
pub mod interpreter;
pub mod replay;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod single;

pub use run::{Outcome, Violation, run};
pub use scenario::Scenario;
