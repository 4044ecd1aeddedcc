//! Workloads: a generator, the keys it has used, and what its history is checked for.

pub mod cart;
pub mod client;
pub mod generator;
pub mod object;
pub mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::workload::generator::Generator;

/// A generator that knows which keys have to be read at the end.
pub trait Workload: Generator {
    /// Every key a put was sent for.
    fn keys(&self) -> &BTreeSet<Arc<str>>;
}
