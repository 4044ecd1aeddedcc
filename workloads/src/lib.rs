//! The dyno command: workloads, clusters, faults, verdicts.

pub mod agent;
pub mod cluster;
pub mod generator;
pub mod lab;
pub mod plan;
pub mod proxy;
pub mod remote;
pub mod seed;
mod span;
pub mod workload;
