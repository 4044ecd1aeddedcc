//! Counting who answered.
//!
//! What is counted are *slots* of the preference list, each once, whether its home or a fallback
//! answers for it; and a host stands in for one slot only, so that W slots are W hosts. Counting
//! hosts alone lets a home and its own fallback both count, counting slots alone lets one fallback
//! count for two homes; both leave one copy where two were promised.

use std::collections::BTreeSet;

use crate::id::NodeId;
use crate::mutant::{Mutant, mutated};
use crate::storage::Role;

/// The slots of one operation and who was asked for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tally {
    slots: Vec<Slot>,
    /// Fallbacks nobody has asked yet, in preference order.
    spares: Vec<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Slot {
    home: NodeId,
    asked: Vec<(NodeId, Standing)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Standing {
    /// No answer yet.
    Asked,
    /// Its answer counts.
    Granted,
    /// It answered, but not so that it counts; or its link broke. A late grant still counts.
    Failed,
}

impl Tally {
    /// One slot a home; `spares` may stand in, in this order.
    pub(crate) fn new(homes: &[NodeId], spares: &[NodeId]) -> Self {
        let slots = homes.iter().map(|home| Slot { home: *home, asked: Vec::new() }).collect();
        let hosts = homes.iter().chain(spares).collect::<BTreeSet<_>>().len();
        assert!(!homes.is_empty(), "a key has a home");
        assert!(
            hosts == homes.len() + spares.len() || mutated(Mutant::HostTwice),
            "a preference list names every host once: {homes:?} {spares:?}"
        );
        Self { slots, spares: spares.to_vec() }
    }

    /// Nobody stands in for a home.
    pub(crate) fn homes_only(&mut self) {
        self.spares.clear();
    }

    /// The same slots and hosts, none of which has answered yet.
    pub(crate) fn anew(&self) -> Self {
        let mut anew = self.clone();
        for (_, standing) in anew.slots.iter_mut().flat_map(|slot| &mut slot.asked) {
            *standing = Standing::Asked;
        }
        anew
    }

    /// Gives every slot its first host: its home if that is believed alive, else the next spare that is;
    /// if there is none, the home all the same. Returns how many hosts so chosen are believed alive.
    pub(crate) fn assign(&mut self, is_alive: impl Fn(NodeId) -> bool) -> usize {
        let mut reachable = 0;
        for index in 0..self.slots.len() {
            if !self.slots[index].asked.is_empty() {
                reachable += 1;
                continue;
            }
            let home = self.slots[index].home;
            let host =
                if is_alive(home) { home } else { self.take_spare(&is_alive).unwrap_or(home) };
            reachable += usize::from(is_alive(host));
            self.ask(index, host);
        }
        let is_asked = |slot: &Slot| !slot.asked.is_empty();
        assert!(self.slots.iter().all(is_asked), "every slot has a host that is asked");
        assert!(reachable <= self.slots.len(), "a slot is reached once");
        reachable
    }

    /// Has `host` answer for the slot of `home`, before the others are assigned.
    pub(crate) fn claim(&mut self, home: NodeId, host: NodeId) {
        self.spares.retain(|spare| *spare != host);
        let index = self.slots.iter().position(|slot| slot.home == home);
        self.ask(index.expect("a slot is claimed by its home's name"), host);
    }

    fn ask(&mut self, index: usize, host: NodeId) {
        let twice =
            self.slots.iter().any(|slot| slot.asked.iter().any(|(asked, _)| *asked == host));
        let may_be = mutated(Mutant::HostTwice) || mutated(Mutant::FallbackTwice);
        assert!(!twice || may_be, "host {host} would stand for two slots");
        self.slots[index].asked.push((host, Standing::Asked));
    }

    fn take_spare(&mut self, is_alive: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        if mutated(Mutant::NobodyStandsIn) {
            return None;
        }
        let at = self.spares.iter().position(|spare| is_alive(*spare))?;
        let spare = self.spares[at];
        // For two slots and no more: one that fails and may be asked for ever keeps no run from ending.
        if !mutated(Mutant::FallbackTwice) || self.asked().any(|(asked, _)| asked == spare) {
            self.spares.remove(at);
        }
        Some(spare)
    }

    /// Gives a spare to every slot that has no grant and hopes for none; with `also_silent`, to
    /// those too whose hosts may yet answer. Returns whom to ask, and as what.
    pub(crate) fn hedge(
        &mut self,
        also_silent: bool,
        is_alive: impl Fn(NodeId) -> bool,
    ) -> Vec<(NodeId, Role)> {
        let mut asked = Vec::new();
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.is_granted() || (!also_silent && slot.is_hoped_for()) {
                continue;
            }
            let home = slot.home;
            if let Some(spare) = self.take_spare(&is_alive) {
                self.ask(index, spare);
                asked.push((spare, Role::Hint(home)));
            }
        }
        asked
    }

    /// Takes in an answer. One from a host that was not asked counts for nothing; a repeated one
    /// counts once, and a grant is never taken back.
    pub(crate) fn answered(&mut self, host: NodeId, granted: bool) {
        let is_granted = |slot: &Slot| slot.asked.contains(&(host, Standing::Granted));
        if granted
            && mutated(Mutant::DoubleAnswerCounts)
            && self.slots.iter().any(is_granted)
            && let Some(slot) = self.slots.iter_mut().find(|slot| !slot.is_granted())
        {
            slot.asked.iter_mut().for_each(|asked| asked.1 = Standing::Granted);
        }
        for slot in &mut self.slots {
            for (asked, standing) in &mut slot.asked {
                if *asked == host && *standing != Standing::Granted {
                    *standing = if granted { Standing::Granted } else { Standing::Failed };
                }
            }
        }
    }

    /// Whether there is a fallback nobody has asked yet.
    pub(crate) fn has_spares(&self) -> bool {
        !self.spares.is_empty()
    }

    /// The hosts that were asked, and as what: as home, or in place of one.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (NodeId, Role)> + '_ {
        self.slots.iter().flat_map(|slot| {
            let role = |host| if host == slot.home { Role::Home } else { Role::Hint(slot.home) };
            slot.asked.iter().map(move |(host, _)| (*host, role(*host)))
        })
    }

    /// Hosts that were asked for a slot without a grant, and have not answered.
    pub(crate) fn silent(&self) -> impl Iterator<Item = NodeId> + '_ {
        let open = self.slots.iter().filter(|slot| !slot.is_granted());
        let asked = open.flat_map(|slot| slot.asked.iter());
        asked.filter(|(_, standing)| *standing == Standing::Asked).map(|(host, _)| *host)
    }

    /// How many slots have a grant.
    pub(crate) fn granted(&self) -> usize {
        if mutated(Mutant::SlotTwice) {
            let asked = self.slots.iter().flat_map(|slot| &slot.asked);
            return asked.filter(|(_, standing)| *standing == Standing::Granted).count();
        }
        self.slots.iter().filter(|slot| slot.is_granted()).count()
    }

    /// One host for each granted slot: its home if that granted.
    pub(crate) fn holders(&self) -> Vec<NodeId> {
        let granted = |slot: &Slot| {
            let mut grants = slot.asked.iter().filter(|(_, s)| *s == Standing::Granted);
            grants.next().map(|(host, _)| *host)
        };
        let holders: Vec<_> = self.slots.iter().filter_map(granted).collect();
        let is_once = |(at, host): (usize, &NodeId)| !holders[..at].contains(host);
        let may_be = mutated(Mutant::HostTwice) || mutated(Mutant::FallbackTwice);
        assert!(
            holders.iter().enumerate().all(is_once) || may_be,
            "W slots are W hosts: {holders:?}"
        );
        holders
    }

    /// Whether no slot waits for anything any more.
    pub(crate) fn is_settled(&self) -> bool {
        self.slots.iter().all(|slot| slot.is_granted() || !slot.is_hoped_for())
    }
}

impl Slot {
    fn is_granted(&self) -> bool {
        self.asked.iter().any(|(_, standing)| *standing == Standing::Granted)
    }

    fn is_hoped_for(&self) -> bool {
        self.asked.iter().any(|(_, standing)| *standing == Standing::Asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);
    const D: NodeId = NodeId(4);
    const E: NodeId = NodeId(5);

    fn tally(down: &[NodeId]) -> (Tally, usize) {
        let mut tally = Tally::new(&[A, B, C], &[D, E]);
        let reachable = tally.assign(|host| !down.contains(&host));
        (tally, reachable)
    }

    #[test]
    fn a_home_and_its_own_fallback_count_once() {
        let (mut tally, _) = tally(&[]);
        assert_eq!(tally.hedge(true, |_| true)[0], (D, Role::Hint(A)));
        tally.answered(A, true);
        tally.answered(D, true);
        tally.answered(D, true);
        assert_eq!(tally.granted(), 1);
        assert_eq!(tally.holders(), [A]);
    }

    #[test]
    fn a_fallback_stands_for_one_slot_only() {
        let (mut tally, reachable) = tally(&[A, B, E]);
        assert_eq!(reachable, 2, "C, and D for A; nobody is left for B");
        tally.answered(D, true);
        assert_eq!(tally.granted(), 1);
        assert_eq!(tally.hedge(true, |host| host != E), []);
    }

    #[test]
    fn a_failed_host_is_replaced_at_once_and_may_still_grant_later() {
        let (mut tally, _) = tally(&[]);
        tally.answered(B, false);
        assert_eq!(tally.hedge(false, |_| true), [(D, Role::Hint(B))]);
        tally.answered(B, true);
        tally.answered(D, true);
        assert_eq!(tally.granted(), 1);
    }

    #[test]
    fn it_is_settled_when_nobody_can_change_it() {
        let (mut tally, _) = tally(&[]);
        tally.answered(A, true);
        tally.answered(B, false);
        assert!(!tally.is_settled());
        tally.answered(C, true);
        assert!(tally.is_settled());
    }
}
