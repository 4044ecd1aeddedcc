//! Directed links between nodes are cut: what goes over them is held until they are healed.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::World;
use rand::Rng;
use rand::seq::SliceRandom;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::hosts::agent::Means;
use crate::hosts::proxy::{self, Pair};
use crate::nemesis::draw::Draw;
use crate::nemesis::links::{self, Seen};
use crate::nemesis::proof::{Site, Unproven, until};
use crate::nemesis::shapes::{self, among, to_first};
use crate::plan::{Cut, Plan, Shape, Wrong, refuse_if};
use crate::simulated::twin::{Drawn, Luck, Twin, links_among};

/// These directed links are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// How they were drawn.
    pub shape: Shape,
    /// The links.
    pub cuts: Vec<Cut>,
}

impl Partition {
    /// Of just these links.
    #[must_use]
    pub fn of(cuts: Vec<Cut>) -> Self {
        Self { shape: Shape::Cuts, cuts }
    }
}

impl Kind for Partition {
    const NATURE: Nature = Nature::of_links(Means::Rules);

    fn check(plan: &Plan) -> Result<(), Wrong> {
        let fault = &plan.fault;
        refuse_if(&["fault.shapes"], fault.shapes.is_empty(), || {
            "fault.shapes names no shape".to_owned()
        })?;
        let (wanted, listed) = (fault.shapes.contains(&Shape::Cuts), !fault.cuts.is_empty());
        refuse_if(&["fault.shapes"], wanted && !listed, || {
            "shape cuts needs the links: cuts = [\"n1->n2\"]".to_owned()
        })?;
        refuse_if(&["fault.cuts", "fault.shapes"], listed && !wanted, || {
            "cuts are listed, but shapes has no \"cuts\"".to_owned()
        })?;
        fault.cuts.iter().try_for_each(|cut| {
            plan.check_node(&["fault.cuts"], cut.from)?;
            plan.check_node(&["fault.cuts"], cut.to)
        })
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let shape = draw.shape()?;
        let nodes = draw.nodes(at);
        let cuts = match shape {
            Shape::Cuts => draw.plan.fault.cuts.clone(),
            _ => shapes::cuts(shape, &nodes, &mut draw.rng),
        };
        Some(Self { shape, cuts })
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Links(self.shape, &self.cuts)
    }

    /// In force when every link between nodes that run shows exactly what it should: the cut ones hold, all
    /// others answer.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let cut = |cut: &Cut| (Pair::nodes(cut.from, cut.to), proxy::Shape::CUT);
        site.cluster.shape(site.id, self.cuts.iter().map(cut).collect()).await?;
        let links = links::all(site.cluster);
        Ok(until(async || {
            let seen = links::look(site.cluster, &links, 0).await;
            let of_this = seen.iter().filter(|link| link.is_held() && link.is_of(&self.cuts));
            let shows = of_this.count() > 0 && seen.iter().all(Seen::is_as_shaped);
            shows.then(|| links::summary(&seen))
        })
        .await)
    }

    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        links::heal(site, &links::of_cuts(&self.cuts)).await
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        Arc::new(self.clone())
    }
}

impl Twin for Partition {
    fn begin(&self, world: &mut World) -> bool {
        self.cuts.iter().for_each(|cut| world.cut(cut.from, cut.to));
        true
    }

    fn end(&self, world: &mut World) {
        self.cuts.iter().for_each(|cut| world.heal(cut.from, cut.to));
    }

    fn is_in_force(&self, world: &World) -> Option<bool> {
        Some(self.cuts.iter().all(|cut| world.bench().is_cut(cut.from, cut.to)))
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn =
    Drawn::new("partition", |luck| Some(Arc::new(Partition::of(cuts(luck)))));

/// One node, halves, a bridge, one way, or any set of links at all.
fn cuts(luck: &mut Luck<'_>) -> Vec<Cut> {
    let mut order = luck.nodes.to_vec();
    order.shuffle(luck.rng);
    let shape = luck.rng.random_range(0..6);
    let share = luck.rng.random_range(10..60);
    let cuts = match shape {
        0 => among(Shape::One, &order),
        1 => among(Shape::RandomHalves, &order),
        2 => among(Shape::Bridge, &order),
        3 => among(Shape::OneWay, &order),
        4 => to_first(&order),
        _ => {
            let links = links_among(luck.nodes).into_iter();
            let some = links.filter(|_| luck.rng.random_ratio(share, 100));
            return some.map(|(from, to)| Cut { from, to }).collect();
        }
    };
    cuts.into_iter().collect()
}
