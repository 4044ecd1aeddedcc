//! `dyno suite`: a matrix of plans, seeds, clusters and settings that runs unattended, on one machine or a
//! hundred, and says of the whole night whether it holds.
//!
//! ```text
//! file -> units (each a pure function of plan, seed, cluster and build)
//!           `-> shard: its share, one unit after the other: attempt(s) -> outcome, sealed by a rename
//!                 `-> night: the outcomes of all shards, joined -> verdict, summary, JUnit
//! ```
//!
//! A unit is run by the same program as a person would run it: `dyno test unit.toml` or `dyno sim unit.toml`,
//! in a process of its own. A run may enter the network of a lab, which a process can do but once; its log
//! goes to one folder a process; and whatever becomes of it, an abort or a machine without memory, the
//! suite goes on and says so. What is printed to do it again is what was done.
//!
//! Nothing here judges a history: a unit's verdict is what its command said of it.

pub(crate) mod attempt;
mod canary;
pub mod cli;
mod clock;
mod expand;
pub mod file;
mod folder;
mod github;
mod judged;
mod junit;
mod merge;
pub mod night;
pub mod outcome;
mod pace;
mod page;
pub mod shard;
mod share;
pub mod summary;
pub mod unit;

pub use expand::{Expanded, expand};
