//! Whole nodes under virtual time: what `dyno sim` does with the core alone, done with the real driver,
//! storage, queues, wire, links and clients ([`dynamo_node::simulation`]).
//!
//! ```text
//! seed -> Setup (cluster, links, disks, clients) -> clients and trouble at a time -> final phase -> judge
//! ```
//!
//! `crashes` has power go at every point in the work of disks instead of drawn trouble.
//!
//! The history is judged by the checkers that judge every run, the records of all nodes by the rules they
//! have to keep together, and what each request was told by what was in the way of an answer.

mod answers;
pub mod batch;
pub mod cli;
mod clients;
mod cluster;
mod coverage;
pub mod crashes;
mod mix;
mod run;
mod setup;
mod trouble;

pub use coverage::Coverage;
pub use run::{Harm, Outcome, run, run_with};
pub use setup::Setup;
