//! Exhaustive model checking of dynamo-protocol.
//!
//! [`Bench`] is the core under stateright's `Model`: a world of real nodes on memory stores, messages
//! in flight, scripted clients, a network that can be cut, and budgets of faults. It holds no rule of
//! the protocol. [`Search`] goes through every world that can be reached and judges the [`CLAIMS`];
//! [`defaults`] are the named scenarios with what each must find; [`cli`] is `dyno model`.
//!
//! ```
//! use model::{Budget, Scenario, Spec, check};
//!
//! let scenario = Scenario::of(Spec::new("p,g".parse()?));
//! let checked = check(&scenario, &Budget::NONE, &mut |_| ())?;
//! assert!(checked.report.complete && checked.report.as_expected);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ample;
mod bench;
mod check;
mod checkpoint;
pub mod cli;
mod engine;
mod explore;
mod ghost;
mod host;
mod inert;
pub mod interrupt;
mod monitor;
pub mod mutants;
mod names;
mod path;
mod print;
mod properties;
mod quiet;
mod rest;
mod scenario;
mod script;
mod shorten;
mod show;
mod spec;
mod tables;
mod twins;
mod unread;
mod world;

pub use bench::Bench;
pub use check::{Checked, Judgement, Keep, Report, Verdict, check, check_kept};
pub use checkpoint::CheckpointError;
pub use engine::{Budget, Compact, Outcome, Progress, Search};
pub use path::PathError;
pub use properties::{CLAIMS, Claim, Kind, claim};
pub use scenario::{Expected, Scenario, defaults};
pub use script::{MAX_CLIENTS, MAX_PUTS, Op, Script, ScriptError, Versions};
pub use spec::{Durability, Faults, MAX_NODES, Reductions, Spec, SpecError};
pub use world::{Action, Reading, World};
