//! Links of a node lose some of what goes over them. The simulator's alone, so far.

use dynamo_sim::network::Shape;
use rand::Rng;

use crate::simulated::twin::{Drawn, Shaped};

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("loss", |luck| {
    let loss = luck.rng.random_range(10_000..600_000);
    Some(Shaped::links_of(&[luck.one], luck.nodes, Shape { loss, ..Shape::default() }))
});
