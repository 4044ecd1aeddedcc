//! The dyno command: workloads, clusters, faults, verdicts.

pub mod generator;
pub mod lab;
pub mod plan;
pub mod proxy;
pub mod remote;
pub mod seed;
mod span;
pub mod workload;
