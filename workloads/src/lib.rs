//! The dyno command: workloads, clusters, faults, verdicts.
