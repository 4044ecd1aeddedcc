//! The dyno command: workloads, clusters, faults, verdicts.

pub mod generator;
pub mod plan;
pub mod proxy;
pub mod seed;
pub mod sim;
mod span;
pub mod workload;
