//! What a change of the membership means to what is held, by one idea: *containment*, that all one node holds
//! of a stretch is, durably, held by another, both at the same epoch.
//!
//! - A *newcomer*, a home that was none, counts once enough homes of the epoch before are contained in it
//!   (`fill.rs`). It takes part in puts from the beginning, and its gets do not vote until then.
//! - A *stray*, a home record where no home is any more, is handed to every home of its key, and dropped once
//!   each of them has exactly that (`strays.rs`).
//! - A hint for a node that is no home any more is *adopted*: it becomes a stray of its holder, or part of
//!   its home record (`adopt.rs`).
//!
//! A change is finished when every home counts and no stray is left. Until it is, a put in flight goes to
//! the homes it was begun with, and what they take in is a stray or not by the epoch they are at; in a strict
//! cluster what is in flight is counted anew among the homes that there are now (`strict.rs`).
//!
//! A node goes on to the next epoch as soon as it learns of it, whatever is open, with one write
//! (`enrol.rs`); who is behind is told (`gossip.rs`).

mod adopt;
mod counted;
mod enrol;
mod fill;
mod gossip;
mod strays;
mod strict;

pub use counted::Counted;
pub(crate) use fill::Filling;
pub(crate) use gossip::Gossip;
pub(crate) use strays::{Stray, Strays};
pub(crate) use strict::Ahead;
