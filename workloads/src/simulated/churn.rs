//! Changes of the membership, as an operator might ask for them at any time: what the simulator draws beside
//! faults where a cluster has hosts to spare.

use dynamo_protocol::NodeId;
use dynamo_protocol::membership::{Edit, Seat, Standing};
use dynamo_sim::World;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::twin::{Fault, Twin};

/// A change is asked for once in so many microseconds, about.
const GAP: u64 = 900_000;

/// Some change that the membership allows when its time comes.
#[derive(Debug)]
struct Churn {
    /// What kind, of whom, whom it is asked of, and with how many tokens: whatever these come to then.
    draws: [u32; 4],
}

/// The changes of a run of `time` microseconds.
pub(super) fn drawn(time: u64, rng: &mut ChaCha8Rng) -> Vec<Fault> {
    let mut changes = Vec::new();
    let mut at = rng.random_range(0..GAP);
    while at < time {
        changes.push(Fault::new(at, at, std::sync::Arc::new(Churn { draws: rng.random() })));
        at += rng.random_range(GAP / 10..=2 * GAP);
    }
    changes
}

impl Twin for Churn {
    fn begin(&self, world: &mut World) -> bool {
        let [kind, whose, asked, tokens] = self.draws;
        let seats = world.membership().seats().to_vec();
        let of = |draw: u32| seats[draw as usize % seats.len()];
        let (seat, asked) = (of(whose), of(asked).node);
        let tokens = u16::try_from(tokens % 12).unwrap_or_default() + 1;
        let Some(edit) = self.edit(world, kind, seat, tokens) else { return false };
        world.propose(asked, edit);
        true
    }

    fn end(&self, _world: &mut World) {}
}

impl Churn {
    fn edit(&self, world: &World, kind: u32, seat: Seat, tokens: u16) -> Option<Edit> {
        let membership = world.membership();
        let directory = |node: NodeId| world.bench().host(node).disk().meta().directory(node);
        let Seat { node, directory: named, standing, .. } = seat;
        if standing == Standing::Leaving {
            let host = world.bench().host(node);
            let is_drained = host.node().is_some_and(|of| {
                of.view().epoch() == membership.epoch()
                    && !of.has_strays()
                    && of.open_operations() == 0
            });
            return match kind % 2 {
                0 => Some(Edit::Cancel { node }),
                _ if is_drained && host.disk().records().next().is_none() => {
                    Some(Edit::Gone { node, directory: named, forced: false })
                }
                _ => None,
            };
        }
        if directory(node) != named {
            // Its disk was lost: it goes on with another.
            return Some(Edit::Replace { node, from: named, to: directory(node) });
        }
        let spare = world.bench().cluster().ids().find(|id| membership.seat(*id).is_none());
        match (kind % 4, spare) {
            (0 | 1, Some(node)) => Some(Edit::Join { node, directory: directory(node), tokens }),
            (2, _) => Some(Edit::Weigh { node, tokens }),
            _ => Some(Edit::Leave { node }),
        }
    }
}
