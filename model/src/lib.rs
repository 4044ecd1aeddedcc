//! Exhaustive model checking of dynamo-protocol with stateright.
mod bench;
mod engine;
mod show;
mod ghost;
mod host;
mod monitor;
mod properties;
mod quiet;
mod rest;
mod script;
mod spec;
mod tables;
mod world;
pub use bench::*;
pub use engine::*;
pub use properties::*;
pub use script::*;
pub use spec::*;
