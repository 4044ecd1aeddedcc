//! Links of nodes lose some of what goes over them.

use dynamo_node::{Hooked, Hooks};
use dynamo_sim::network::Shape;
use rand::Rng;

use super::meddled::{Meddled, Meddling};
use crate::simulated::twin::{Drawn, Shaped};

/// A message is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost;

/// Links of these nodes do it.
pub type Loss = Meddled<Lost>;

impl Meddling for Lost {
    const HOW: &'static str = "nodes' link hooks do not send";
    const WHAT: &'static str = "a message was lost";

    fn hooks(share: u32) -> Hooks {
        Hooks { lose: share, ..Hooks::default() }
    }

    fn done(hooked: &Hooked) -> u64 {
        hooked.lost
    }

    fn shape(share: u32) -> Shape {
        Shape { loss: share, ..Shape::default() }
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("loss", |luck| {
    let loss = luck.rng.random_range(10_000..600_000);
    Some(Shaped::links_of(&[luck.one], luck.nodes, Shape { loss, ..Shape::default() }))
});
