//! A deterministic simulator for dynamo-protocol: virtual time, faulty links and disks.
//!
//! Two layers. A [`Bench`] is the bare core of a whole cluster, and takes [`trace::Step`]s: it decides
//! nothing. A [`World`] decides: it draws from a seed when each message arrives, when each disk has
//! synced, what a crash loses, and takes the steps that follow. So every run of a world is a
//! trace, and every trace runs without a world.
//!
//! The white-box invariants of [`invariants`] watch over both.

pub mod bench;
mod counters;
pub mod disk;
mod effect;
mod flight;
mod host;
pub mod invariants;
pub mod network;
mod queue;
mod recorder;
mod records;
pub mod replay;
mod rest;
pub mod trace;
pub mod world;

pub use bench::Bench;
pub use effect::{Breach, Effect};
pub use host::Host;
pub use recorder::Recorder;
pub use world::World;
