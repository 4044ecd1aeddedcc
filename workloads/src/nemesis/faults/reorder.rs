//! On links of nodes some of what is sent is overtaken by what is sent after it.

use dynamo_node::{Hooked, Hooks};
use dynamo_sim::network::Shape;

use super::meddled::{Meddled, Meddling};

/// A message is overtaken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overtaken;

/// Links of these nodes do it.
pub type Reorder = Meddled<Overtaken>;

impl Meddling for Overtaken {
    const HOW: &'static str = "nodes' link hooks send the next one first";
    const WHAT: &'static str = "a message was overtaken";

    fn hooks(share: u32) -> Hooks {
        Hooks { reorder: share, ..Hooks::default() }
    }

    fn done(hooked: &Hooked) -> u64 {
        hooked.reordered
    }

    fn shape(share: u32) -> Shape {
        Shape { reorder: share, ..Shape::default() }
    }
}
