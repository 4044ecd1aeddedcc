//! The register of memberships by itself: how members agree on the next epoch, in every order.
//!
//! A state is a handful of [`Registrar`](dynamo_protocol::membership::Registrar)s with their disks, what was
//! ever sent, and what an observer remembers. The network is as bad as can be: whatever was sent may arrive
//! at any time, again and again, or never, also at a later process of its receiver. So nothing is taken
//! from the flight when it arrives, and losses and duplicates need no budget. A write and what is sent
//! after it are one step: a crash between the two is a message that never arrives.
//!
//! The room holds no rule of the protocol; the engine that searches it is that of the other scenarios.

pub(crate) mod bounds;
mod check;
mod host;
mod inert;
mod model;
mod properties;
pub(crate) mod scenarios;

pub use bounds::{Ask, Bounds};
pub(crate) use check::check_kept;
pub use check::{Checked, check};
pub use model::{RegisterModel, State, Step};
pub use properties::{PROPERTIES, Property, property};
pub use scenarios::{Scenario, scenarios};
