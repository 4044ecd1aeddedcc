//! The cluster as a state machine: nodes, messages in flight, scripted clients, budgets of faults.
//!
//! [`spec`] says what is to be searched and [`state`] what a state is; [`step`] says which actions a state
//! has and what each does; [`host`] runs the core, and [`tables`] remembers what it did.
//! [`history`] is what an observer would have to remember. [`model`] is all of it under stateright's trait.

pub(crate) mod history;
pub(crate) mod host;
pub(crate) mod model;
pub(crate) mod script;
pub(crate) mod spec;
pub(crate) mod state;
pub(crate) mod step;
pub(crate) mod tables;
