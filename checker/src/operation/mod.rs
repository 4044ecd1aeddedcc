//! The run around the data: was the store available under each fault, did its replicas converge, what did
//! its logs say?

pub mod availability;
pub mod convergence;
pub mod logs;
