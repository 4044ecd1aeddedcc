//! The simulator's side of the bench: the same generators, histories and checkers as with real nodes,
//! over a [`dynamo_sim::World`] under virtual time.
//!
//! ```text
//! seed -> Scenario (cluster, links, clients, faults) -> run -> Outcome (violations, trace)
//!                      ^ or a plan                        `-> shrink -> a short trace
//! ```
//!
//! Shared with runs by the wall clock are the schedule of a plan's faults ([`crate::nemesis::schedule`]), the
//! book of workers, contexts and lines ([`crate::interpreter::Book`]) and the script of the final phase
//! ([`crate::run::finish`]). The world itself is no [`crate::cluster::Cluster`]. That trait is about
//! processes the driver does not hold: orders that take a while, proofs by looking again, many tasks at a
//! time. A world is held whole and goes on only when its one interpreter says so; tasks that look every few
//! milliseconds would be events in it, and a fault that is held from its proof on would not be held when
//! the schedule says.

pub mod batch;
mod churn;
pub mod cli;
pub mod cuts;
pub mod happened;
pub mod messages;
pub mod replay;
pub mod run;
pub mod scenario;
mod seeds;
pub mod shell;
pub mod shrink;
pub mod single;
pub mod twin;
mod weather;

pub use run::{Outcome, Violation, run};
pub use scenario::Scenario;
