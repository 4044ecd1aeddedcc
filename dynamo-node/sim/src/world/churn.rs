//! Changes of the membership, as an operator might ask for them at any time, and how far they are.

use dynamo_protocol::NodeId;
use dynamo_protocol::membership::{Directory, Edit, Membership, Seat, Standing};

use super::World;

/// How long the same member is asked for a change before another is, in microseconds.
const ASKED: u64 = 1_000_000;

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
        if self.has_to_wait(&edit) {
            return false;
        }
        self.propose(asked, edit);
        true
    }

    /// Asks some member for this change, another one after a while; not the node itself that it is about.
    pub fn ask_for(&mut self, edit: Edit) {
        if self.has_to_wait(&edit) {
            return;
        }
        let able = |node: &NodeId| {
            let host = self.bench.host(*node);
            *node != edit.node()
                && !host.is_paused()
                && host
                    .node()
                    .is_some_and(|of| of.is_proven() && of.view().ids().any(|id| id == *node))
        };
        let members: Vec<_> = self.membership().seats().iter().map(|seat| seat.node).collect();
        let able: Vec<_> = members.into_iter().filter(able).collect();
        let turn = usize::try_from(self.now / ASKED).unwrap_or_default();
        if let Some(asked) = able.get(turn % able.len().max(1)) {
            self.propose(*asked, edit);
        }
    }

    /// The directory of a host, as memberships name it.
    #[must_use]
    pub fn directory(&self, node: NodeId) -> Directory {
        self.bench.host(node).disk().meta().directory(node)
    }

    /// Whether all members whose process runs go by a membership of which this is true.
    pub fn is_known(&self, holds: impl Fn(&Membership) -> bool) -> bool {
        let members = self.membership().seats().iter().map(|seat| seat.node);
        let mut running = members.filter_map(|node| self.bench.host(node).node());
        running.all(|of| holds(of.view().history().latest()))
    }

    /// Whether the last change is finished: every member runs under it, counts wherever it is a home, and
    /// holds nothing that is another's.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let membership = self.membership();
        membership.seats().iter().all(|seat| {
            let runs = self.bench.host(seat.node).node();
            runs.is_some_and(|of| {
                of.view().epoch() == membership.epoch()
                    && self.directory(seat.node) == seat.directory
                    && of.is_proven()
                    && !of.meta().amnesiac
                    && of.filling() == 0
                    && !of.has_strays()
            })
        })
    }

    fn possible_change(&self, kind: u32, seat: Seat, tokens: u16) -> Option<Edit> {
        let directory = |node: NodeId| self.directory(node);
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
            (0 | 1, Some(node)) => {
                let zone = self.bench.cluster().zone(node);
                Some(Edit::Join { node, directory: directory(node), tokens, zone })
            }
            (2, _) => Some(Edit::Weigh { node, tokens }),
            _ => Some(Edit::Leave { node }),
        }
    }

    /// Whether an operator of a strict cluster waits with this change, as that of real nodes does: until all
    /// members are up, know the last membership, and count wherever they are homes, since who is to be filled
    /// takes what homes have that counted before. A lost directory is not waited for in order to replace one.
    fn has_to_wait(&self, edit: &Edit) -> bool {
        let replaces = matches!(edit, Edit::Replace { .. });
        let is_lost = |seat: &Seat| replaces && self.directory(seat.node) != seat.directory;
        self.bench.cluster().settings.quorums_meet() && !self.all_count_but(is_lost)
    }

    fn all_count_but(&self, is_lost: impl Fn(&Seat) -> bool) -> bool {
        let membership = self.membership();
        let others = membership.seats().iter().filter(|seat| !is_lost(seat));
        others.map(|seat| self.bench.host(seat.node)).all(|host| {
            // What is not on its disk yet a member has not told anybody.
            let is_durable = host.disk().applied() == host.disk().synced();
            is_durable
                && host.node().is_some_and(|of| {
                    let is_settled =
                        of.view().epoch() == membership.epoch() && of.proposes().is_none();
                    is_settled && of.filling() == 0 && !of.meta().amnesiac
                })
        })
    }

    /// Whether a member that leaves has handed on all that it held, under the last membership.
    #[must_use]
    pub fn is_drained(&self, node: NodeId) -> bool {
        let host = self.bench.host(node);
        let is_at_rest = host.node().is_some_and(|of| {
            of.view().epoch() == self.membership().epoch()
                && !of.has_strays()
                && of.open_operations() == 0
        });
        is_at_rest && host.disk().readable().next().is_none()
    }
}
