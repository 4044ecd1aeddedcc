//! History checkers: linearizability, siblings, carts, sessions. Knows nothing of any store.
//!
//! A [`history::History`] is read, a [`verdict::Checker`] judges it within a [`budget::Budget`],
//! and a [`verdict::CheckReport`] says valid, invalid or unknown, with a witness and numbers.
//!
//! ```
//! use checker::budget::Budget;
//! use checker::history::History;
//! use checker::siblings::Siblings;
//! use checker::verdict::{Checker, Verdict};
//!
//! let lines = concat!(
//!     r#"{"index":0,"time":0,"process":0,"type":"invoke","f":"put","key":"k","value":"a"}"#, "\n",
//!     r#"{"index":1,"time":5,"process":0,"type":"ok","f":"put","key":"k","value":"a"}"#, "\n",
//!     r#"{"index":2,"time":9,"process":1,"type":"invoke","f":"get","key":"k","final":true}"#, "\n",
//!     r#"{"index":3,"time":9,"process":1,"type":"ok","f":"get","key":"k","value":[],"final":true}"#,
//! );
//! let history = History::from_reader(lines.as_bytes())?;
//! let report = Siblings::default().check(&history, &Budget::UNLIMITED);
//! assert_eq!(report.verdict(), Verdict::Invalid);
//! assert_eq!(report.witness(), [1, 3]); // the put, and the get that lacks it
//! # Ok::<(), checker::history::HistoryError>(())
//! ```
//!
//! Where to look: [`linearizable`] for objects with a [`spec`]; [`siblings`] and [carts](siblings::cart) for
//! stores that keep siblings; [`sequential`], [`causal`], [`sessions`] and [`staleness`] for weaker promises;
//! [`collections`] for sets, counters, queues and ids; [`convergence`], [`availability`] and [`logs`] for
//! the run around them; [`minimize`] and [`explain`] for what was found; [`formats`] for histories
//! of others; [`cli`] for `dyno check`.

pub mod cli;
pub mod collections;
mod consistency;
pub mod formats;
pub mod generate;
pub mod history;
mod judge;
mod operation;
pub mod siblings;
pub mod spec;

pub use consistency::{causal, linearizable, sequential, sessions, staleness};
pub use judge::{budget, compose, explain, finding, minimize, verdict};
pub use operation::{availability, convergence, logs};
