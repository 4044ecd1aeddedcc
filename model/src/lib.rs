//! Exhaustive model checking of dynamo-protocol.
//!
//! [`DynamoModel`] is the core under stateright's `Model`: a world of real nodes on memory stores, messages
//! in flight, scripted clients, a network that can be cut, and budgets of faults. It holds no rule of
//! the protocol. [`Search`] goes through every world that can be reached and judges the [`PROPERTIES`];
//! [`defaults`] are the named scenarios with what each must find; [`cli`] is `dyno model`. [`register`] is
//! the same for the agreement on memberships, by itself.
//!
//! ```
//! use model::{Budget, Scenario, Spec, check};
//!
//! let scenario = Scenario::of(Spec::new("p,g".parse()?));
//! let checked = check(&scenario, &Budget::NONE, &mut |_| ())?;
//! assert!(checked.report.complete && checked.report.as_expected);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cli;
mod properties;
mod reductions;
pub mod register;
mod scenarios;
mod search;
mod traces;
mod world;

pub use properties::{Kind, PROPERTIES, Property, property};
pub use scenarios::check::{
    Checked, Judgement, Keep, Report, Verdict, check, check_beside, check_kept,
};
pub use scenarios::mutants;
pub use scenarios::scenario::{Expected, Scenario, deep, defaults};
pub use search::checkpoint::CheckpointError;
pub use search::engine::{Budget, Compact, Outcome, Progress, Search};
pub use search::interrupt;
pub use traces::path::PathError;
pub use world::model::DynamoModel;
pub use world::script::{MAX_CLIENTS, MAX_PUTS, Op, Script, ScriptError, Versions};
pub use world::spec::{Durability, Faults, MAX_NODES, Reductions, Shift, Spec, SpecError};
pub use world::state::{Action, Reading, World};
