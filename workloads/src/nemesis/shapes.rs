//! The shapes of a partition, as directed links to cut.

use std::collections::BTreeSet;

use dynamo_protocol::NodeId;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::plan::{Cut, Shape};

/// Those of the shapes that so many nodes can take; at least one of two nodes from the other.
pub(super) fn possible(shapes: &[Shape], nodes: usize) -> Vec<Shape> {
    let least = |shape: &Shape| match shape {
        Shape::Halves | Shape::RandomHalves | Shape::One | Shape::OneWay | Shape::Cuts => 2,
        Shape::Bridge => 3,
        // With four nodes or fewer, a majority around a ring is everyone.
        Shape::MajoritiesRing => 5,
    };
    let fitting: Vec<_> = shapes.iter().copied().filter(|shape| least(shape) <= nodes).collect();
    if fitting.is_empty() { vec![Shape::One] } else { fitting }
}

/// The links a shape cuts among `nodes`; the choice is the rng's. None for [`Shape::Cuts`], whose
/// links the plan lists.
pub(super) fn cuts(shape: Shape, nodes: &[NodeId], rng: &mut ChaCha8Rng) -> Vec<Cut> {
    let mut order = nodes.to_vec();
    if shape != Shape::Halves {
        order.shuffle(rng);
    }
    let cuts = match shape {
        Shape::OneWay => one_way(&order, rng),
        shape => among(shape, &order),
    };
    cuts.into_iter().collect()
}

/// The links that a shape cuts among nodes in this order, where chance has no more to say.
pub(crate) fn among(shape: Shape, order: &[NodeId]) -> BTreeSet<Cut> {
    let half = order.len() / 2;
    match shape {
        Shape::Halves | Shape::RandomHalves => between(&order[..half], &order[half..]),
        Shape::One => between(&order[..1], &order[1..]),
        // The bridge is in neither half.
        Shape::Bridge => between(&order[1..=half], &order[half + 1..]),
        Shape::MajoritiesRing => majorities_ring(order),
        Shape::OneWay => from_first(order),
        Shape::Cuts => BTreeSet::new(),
    }
}

/// The first node's messages reach nobody.
fn from_first(order: &[NodeId]) -> BTreeSet<Cut> {
    let Some((one, others)) = order.split_first() else { return BTreeSet::new() };
    others.iter().map(|other| Cut { from: *one, to: *other }).collect()
}

/// Nobody's messages reach the first node.
pub(crate) fn to_first(order: &[NodeId]) -> BTreeSet<Cut> {
    from_first(order).into_iter().map(|Cut { from, to }| Cut { from: to, to: from }).collect()
}

/// Every link between the two sides, both ways.
fn between(left: &[NodeId], right: &[NodeId]) -> BTreeSet<Cut> {
    let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b)));
    pairs.flat_map(|(a, b)| [Cut { from: a, to: b }, Cut { from: b, to: a }]).collect()
}

/// On a ring of the nodes, each sees only its nearest, itself included just a majority of all. No
/// two see the same (Jepsen's `majorities-ring`).
fn majorities_ring(nodes: &[NodeId]) -> BTreeSet<Cut> {
    let count = nodes.len();
    let reach = count / 2 / 2 + (count / 2) % 2;
    let apart = |a: usize, b: usize| a.abs_diff(b).min(count - a.abs_diff(b));
    let mut cuts = BTreeSet::new();
    for (a, from) in nodes.iter().enumerate() {
        for (b, to) in nodes.iter().enumerate() {
            if apart(a, b) > reach {
                cuts.insert(Cut { from: *from, to: *to });
            }
        }
    }
    cuts
}

/// One node's messages reach nobody, or nobody's reach it, or one link is deaf one way.
fn one_way(nodes: &[NodeId], rng: &mut ChaCha8Rng) -> BTreeSet<Cut> {
    match rng.random_range(0..3) {
        0 => from_first(nodes),
        1 => to_first(nodes),
        _ => {
            let cut = nodes[1..].choose(rng).map(|other| Cut { from: nodes[0], to: *other });
            cut.into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::seed::{Purpose, stream};

    fn nodes(count: u16) -> Vec<NodeId> {
        (1..=count).map(NodeId).collect()
    }

    /// Whom each node hears and is heard by, itself included.
    fn views(count: u16, cuts: &[Cut]) -> Vec<BTreeSet<NodeId>> {
        let whole = |a: NodeId, b: NodeId| {
            let cut = |from, to| cuts.contains(&Cut { from, to });
            !cut(a, b) && !cut(b, a)
        };
        let view = |a: NodeId| nodes(count).into_iter().filter(|b| whole(a, *b)).collect();
        nodes(count).into_iter().map(view).collect()
    }

    fn drawn(shape: Shape, count: u16, seed: u64) -> Vec<Cut> {
        cuts(shape, &nodes(count), &mut stream(seed, Purpose::Nemesis))
    }

    #[test]
    fn halves_see_themselves_and_nobody_else() {
        for (shape, seed) in
            [(Shape::Halves, 1), (Shape::RandomHalves, 1), (Shape::RandomHalves, 2)]
        {
            let mut sizes: Vec<_> =
                views(5, &drawn(shape, 5, seed)).iter().map(BTreeSet::len).collect();
            sizes.sort_unstable();
            assert_eq!(sizes, [2, 2, 3, 3, 3]);
        }
    }

    #[test]
    fn one_is_alone() {
        let sizes: Vec<_> = views(5, &drawn(Shape::One, 5, 3)).iter().map(BTreeSet::len).collect();
        assert_eq!(sizes.iter().filter(|size| **size == 1).count(), 1);
        assert_eq!(sizes.iter().filter(|size| **size == 4).count(), 4);
    }

    #[test]
    fn only_the_bridge_sees_both_halves() {
        for count in [3, 4, 5, 7] {
            let views = views(count, &drawn(Shape::Bridge, count, 9));
            let whole = views.iter().filter(|view| view.len() == usize::from(count)).count();
            assert_eq!(whole, 1, "{count} nodes");
        }
    }

    #[test]
    fn on_the_ring_everyone_sees_a_majority_and_no_two_the_same() {
        for count in [5, 7, 9] {
            let views = views(count, &drawn(Shape::MajoritiesRing, count, 2));
            assert!(views.iter().all(|view| view.len() > usize::from(count) / 2), "{views:?}");
            assert!(views.iter().all(|view| view.len() < usize::from(count)), "{views:?}");
            let distinct: BTreeSet<_> = views.iter().collect();
            assert_eq!(distinct.len(), views.len());
        }
    }

    #[test]
    fn one_way_cuts_one_direction_only() {
        for seed in 0..20 {
            let cuts = drawn(Shape::OneWay, 5, seed);
            assert!(!cuts.is_empty());
            for cut in &cuts {
                assert!(!cuts.contains(&Cut { from: cut.to, to: cut.from }));
            }
        }
    }

    #[test]
    fn every_shape_cuts_something_in_every_cluster_it_fits() {
        for count in 2..=9 {
            for shape in possible(Shape::ALL, usize::from(count)) {
                assert!(
                    shape == Shape::Cuts || !drawn(shape, count, 1).is_empty(),
                    "{shape} {count}"
                );
            }
        }
    }
}
