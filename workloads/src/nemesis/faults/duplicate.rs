//! Links of nodes carry some of what goes over them twice.

use dynamo_node::{Hooked, Hooks};
use dynamo_sim::network::Shape;

use super::meddled::{Meddled, Meddling};

/// A message is sent twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubled;

/// Links of these nodes do it.
pub type Duplicate = Meddled<Doubled>;

impl Meddling for Doubled {
    const HOW: &'static str = "nodes' link hooks send again";
    const WHAT: &'static str = "a message was sent twice";

    fn hooks(share: u32) -> Hooks {
        Hooks { duplicate: share, ..Hooks::default() }
    }

    fn done(hooked: &Hooked) -> u64 {
        hooked.duplicated
    }

    fn shape(share: u32) -> Shape {
        Shape { duplicate: share, ..Shape::default() }
    }
}
