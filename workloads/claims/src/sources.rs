//! Which core evidence is of.

include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// How much of a hash people read.
const SHORT: usize = 12;

/// The core's sources, as they were when this was built: a hash, and the seeded bug that is on, if one is.
#[must_use]
pub fn core() -> String {
    match bug() {
        Some(bug) => format!("{CORE}+{bug}"),
        None => CORE.to_owned(),
    }
}

#[cfg(feature = "mutants")]
fn bug() -> Option<&'static str> {
    dynamo_protocol::mutant::active().map(dynamo_protocol::mutant::Mutant::name)
}

#[cfg(not(feature = "mutants"))]
fn bug() -> Option<&'static str> {
    None
}

/// The same of what searches the core: its properties, its reductions, and the form of its traces.
#[must_use]
pub fn model() -> &'static str {
    MODEL
}

/// A hash as people read it.
#[must_use]
pub fn short(hash: &str) -> &str {
    hash.get(..SHORT).unwrap_or(hash)
}
