//! Changes of the membership, as an operator might ask for them at any time.

use dynamo_protocol::NodeId;
use dynamo_protocol::membership::{Edit, Seat, Standing};

use super::World;

impl World {
    /// Asks a member for some change that the last membership allows: what kind, of whom, whom it is asked of
    /// and with how many tokens is what `draws` come to now. Says whether there was anything to ask for.
    pub fn churn(&mut self, draws: [u32; 4]) -> bool {
        let [kind, whose, asked, tokens] = draws;
        let seats = self.membership().seats();
        let of = |draw: u32| seats[draw as usize % seats.len()];
        let (seat, asked) = (of(whose), of(asked).node);
        let tokens = u16::try_from(tokens % 12).unwrap_or_default() + 1;
        let Some(edit) = self.possible_change(kind, seat, tokens) else { return false };
        let lost = matches!(edit, Edit::Replace { .. }).then_some(seat.node);
        if self.bench.cluster().settings.quorums_meet() && !self.all_count_but(lost) {
            return false;
        }
        self.propose(asked, edit);
        true
    }

    fn possible_change(&self, kind: u32, seat: Seat, tokens: u16) -> Option<Edit> {
        let directory = |node: NodeId| self.bench.host(node).disk().meta().directory(node);
        let Seat { node, directory: named, standing, .. } = seat;
        if standing == Standing::Leaving {
            return match kind % 2 {
                0 => Some(Edit::Cancel { node }),
                _ if self.is_drained(node) => {
                    Some(Edit::Gone { node, directory: named, forced: false })
                }
                _ => None,
            };
        }
        if directory(node) != named {
            // Its disk was lost: it goes on with another.
            return Some(Edit::Replace { node, from: named, to: directory(node) });
        }
        let membership = self.membership();
        let spare = self.bench.cluster().ids().find(|id| membership.seat(*id).is_none());
        match (kind % 4, spare) {
            (0 | 1, Some(node)) => Some(Edit::Join { node, directory: directory(node), tokens }),
            (2, _) => Some(Edit::Weigh { node, tokens }),
            _ => Some(Edit::Leave { node }),
        }
    }

    /// Whether all members but the one that is `lost` are up, know the last membership, and count wherever they are homes. In a
    /// strict cluster an operator waits for that: who is to be filled takes what homes have that counted before.
    fn all_count_but(&self, lost: Option<NodeId>) -> bool {
        let membership = self.membership();
        let others = membership.seats().iter().filter(|seat| Some(seat.node) != lost);
        others.map(|seat| self.bench.host(seat.node)).all(|host| {
            host.node().is_some_and(|of| {
                let is_settled = of.view().epoch() == membership.epoch() && of.proposes().is_none();
                is_settled && of.filling() == 0 && !of.meta().amnesiac
            })
        })
    }

    /// Whether a member that leaves has handed on all that it held, under the last membership.
    fn is_drained(&self, node: NodeId) -> bool {
        let host = self.bench.host(node);
        let is_at_rest = host.node().is_some_and(|of| {
            of.view().epoch() == self.membership().epoch()
                && !of.has_strays()
                && of.open_operations() == 0
        });
        is_at_rest && host.disk().records().next().is_none()
    }
}
