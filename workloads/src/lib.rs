//! The dyno command: workloads, clusters, faults, verdicts.
//!
//! [`run`] goes from a plan to a verdict: read it first. Data flows one way: a [`generator`] draws
//! operations, an [`interpreter`] journals them and has a [`client`] do them, the [`nemesis`]
//! breaks the [`cluster`] meanwhile, and what the history shows is judged at the end.

pub mod agent;
pub mod analysis;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod counters;
pub mod coverage;
pub mod disk;
pub mod doctor;
pub mod finish;
pub mod generator;
pub mod interpreter;
pub mod interrupt;
pub mod journal;
pub mod lab;
mod log;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod nemesis;
pub mod noticed;
pub mod plan;
pub mod progress;
pub mod proxy;
pub mod remote;
pub mod replay;
pub mod report;
pub mod run;
pub mod seed;
pub mod sim;
pub mod store;
pub mod verdict;
pub mod workload;
