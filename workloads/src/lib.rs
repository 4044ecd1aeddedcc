//! The dyno command: workloads, clusters, faults, verdicts.
//!
//! [`run`] goes from a plan to a verdict: read it first. Data flows one way: a generator of the
//! [`workload`] draws operations, an [`interpreter`] journals them and has a client do them, the [`nemesis`]
//! breaks the [`cluster`] meanwhile, and what the history shows is judged at the end. Processes, links and
//! machines are the matter of [`hosts`]; [`simulated`] has it all under virtual time.

pub mod bench;
pub mod claims;
pub mod cli;
pub mod cluster;
mod digest;
pub mod hosts;
pub mod interpreter;
pub mod interrupt;
mod log;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod nemesis;
pub mod plan;
pub mod replay;
pub mod run;
pub mod simulated;
pub mod suite;
pub mod workload;
