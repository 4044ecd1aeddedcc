//! Probabilistically bounded staleness: how stale gets are likely to be, by how long messages take.
//!
//! The WARS model of Bailis et al., "Probabilistically Bounded Staleness for Practical Partial Quorums" (VLDB
//! 2012): for each replica the write's way there (W) and its acknowledgement's back (A), the read's way there
//! (R) and its answer's back (S) are drawn. A put is acknowledged with its W-th acknowledgement, a get is
//! answered by the R that answer first, and shows the put if one of them had it when it was asked. No
//! repair, no failure, no queue: a prediction, never a guarantee.

mod curve;
mod fits;
mod legs;
mod wilson;

pub use curve::{Curve, k_fresh, predict, predict_by};
pub use fits::{Fit, UnknownFit};
pub use legs::Legs;
pub use wilson::wilson;

/// Who coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinator {
    /// A host that is no replica, as published.
    Outside,
    /// A home of the key, as ours is: its own ways take no time. That of a get is any home, whoever had the
    /// put.
    Home,
}

/// What is predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// N.
    pub n: usize,
    /// R.
    pub r: usize,
    /// W.
    pub w: usize,
    /// How long messages take.
    pub fit: Fit,
    /// Who coordinates.
    pub coordinator: Coordinator,
}
