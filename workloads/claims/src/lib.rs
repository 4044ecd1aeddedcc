//! What N, R and W promise: `dyno claims`.
//!
//! ```text
//! setting x class of faults -> queries -> model (the core itself) -> evidence -> cells -> table
//!                                              cache of evidence ^
//! ```
//!
//! A [`Table`] has a cell for every [`Property`] under every [`Column`] of faults, and every cell names its
//! evidence: complete searches of the core ([`Proof`]), a path that replays ([`Refutation`]), or why there is
//! neither. All searching is the model's (`model`); no rule of the protocol is here. [`sweep`] is the theory
//! beside the core: an abstract quorum register that textbooks argue about.

mod cells;
pub mod claimed;
mod column;
pub mod margin;
pub mod observed;
pub mod page;
pub mod pbs;
mod property;
mod search;
mod setting;
pub mod sources;
pub mod sweep;
pub mod text;

pub use cells::cell::{Bounded, Cell, Known, Measured, NoProof, Proof, Refutation};
pub use cells::table::{Contradiction, Table, fill_across, specs};
pub use column::Column;
pub use property::{Property, UnknownProperty};
pub use search::cache::{Cache, Kept};
pub use search::evidence::{Evidence, Found};
pub use search::work::{Gathered, Work, hopeless};
pub use setting::Setting;
