//! Faults of a plan that take their time, under virtual time: they wait for their turn, are looked at until
//! they are seen to be in force, and until they are over. The others are at once what they are.

use dynamo_protocol::membership::Edit;
use dynamo_protocol::{Node, NodeId, Span};
use dynamo_sim::World;

use crate::nemesis::claims::Claims;
use crate::nemesis::faults::kind::Nature;
use crate::nemesis::restoring::{Restoring, Said};
use crate::nemesis::{CHANGE_PATIENCE, Terms};
use crate::plan::{Cut, FaultName, parse_node};
use crate::simulated::twin::{Fault, micros};

/// Between two looks, in microseconds.
pub(super) const LOOK_AGAIN: u64 = 20_000;

/// See the [module](self).
pub(super) struct Lasting<'a> {
    claims: Claims,
    changes: bool,
    deadline: u64,
    /// Those whose turn has not come.
    waiting: Vec<&'a Fault>,
    /// Those that are not seen yet to be in force, or over.
    open: Vec<Open<'a>>,
    /// How many are in force.
    held: usize,
    /// Disks whose loss is not over, from then on.
    filling: Vec<(u64, Restoring)>,
}

/// A step of a fault that is not proven yet.
#[derive(Clone, Copy)]
pub(super) struct Open<'a> {
    pub(super) fault: &'a Fault,
    /// Its end, and not its beginning.
    pub(super) ends: bool,
    /// When it is given up.
    until: u64,
    /// How many keys were moved before the fault.
    pub(super) moved: u64,
}

/// What became of a step that was looked at.
pub(super) struct Looked<'a> {
    pub(super) step: Open<'a>,
    pub(super) proven: bool,
}

impl<'a> Lasting<'a> {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            claims: Claims::new(terms.most_lost, terms.refills),
            changes: terms.changes,
            deadline: micros(terms.deadline),
            waiting: Vec::new(),
            open: Vec::new(),
            held: 0,
            filling: Vec::new(),
        }
    }

    /// The nature of a fault that takes its time, as far as one of a plan does.
    pub(super) fn nature(&self, fault: &Fault) -> Option<Nature> {
        let nature = name_of(fault)?.nature();
        let has_to_be_named = self.changes && nature.is_noticed;
        let is_slow = nature.changes_the_ring || nature.is_refilled || has_to_be_named;
        is_slow.then_some(nature)
    }

    /// Whether there is nothing to look at.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.open.is_empty() && self.filling.is_empty()
    }

    /// Whether some fault has begun that is not over.
    pub(super) fn goes_on(&self) -> bool {
        self.held > 0 || !self.open.is_empty()
    }

    /// A fault is due.
    pub(super) fn due(&mut self, fault: &'a Fault) {
        self.waiting.push(fault);
    }

    /// The next of them that is due, and for which there is room beside the others.
    pub(super) fn next(&mut self, is_due: impl Fn(&Fault) -> bool) -> Option<&'a Fault> {
        let claims = &mut self.claims;
        let mut may = |fault: &Fault| name_of(fault).is_some_and(|name| claims.take(name.nature()));
        let at = self.waiting.iter().position(|fault| is_due(fault) && may(fault))?;
        Some(self.waiting.remove(at))
    }

    /// No other begins any more.
    pub(super) fn close(&mut self) {
        self.waiting.clear();
    }

    /// A step of a fault begins.
    pub(super) fn begin(&mut self, fault: &'a Fault, ends: bool, now: u64, moved: u64) {
        let until = now + micros(CHANGE_PATIENCE);
        self.open.push(Open { fault, ends, until, moved });
        self.held -= usize::from(ends);
    }

    /// Looks at all steps; those that are proven or given up.
    pub(super) fn look(&mut self, world: &mut World) -> Vec<Looked<'a>> {
        let now = world.now();
        let mut looked = Vec::new();
        for step in std::mem::take(&mut self.open) {
            let named = !step.ends || !self.changes || is_named(step.fault, world);
            let proven = named && step.fault.is_proven(world, step.ends);
            if proven || now >= step.until {
                self.held += usize::from(!step.ends);
                if step.ends {
                    self.over(step.fault, now);
                }
                looked.push(Looked { step, proven });
            } else {
                step.fault.what.pursue(world, step.ends);
                self.open.push(step);
            }
        }
        if !self.claims.is_changing() {
            let claims = &mut self.claims;
            self.filling.retain_mut(|(from, restoring)| {
                let done = now >= *from && is_restored(restoring, world);
                if done {
                    claims.refilled();
                }
                !done
            });
        }
        looked
    }

    fn over(&mut self, fault: &Fault, now: u64) {
        let Some(nature) = self.nature(fault) else { return };
        if nature.changes_the_ring {
            self.claims.changed();
        }
        if self.claims.is_refilled(nature) {
            self.filling.push((now + self.deadline, Restoring::default()));
        }
    }
}

fn name_of(fault: &Fault) -> Option<FaultName> {
    fault.told.as_ref()?.name.parse().ok()
}

/// The nodes that a fault of a plan hits, as it is told.
fn hit(fault: &Fault) -> Vec<NodeId> {
    let whom = fault.told.as_ref().map(|told| &told.whom);
    let listed = |field: &str| whom.and_then(|whom| whom[field].as_array()).into_iter().flatten();
    let texts = |field: &str| listed(field).filter_map(|item| item.as_str()).collect::<Vec<_>>();
    let nodes = texts("nodes").into_iter().filter_map(|node| parse_node(node).ok());
    let cuts = texts("cuts").into_iter().filter_map(|cut| cut.parse::<Cut>().ok());
    nodes.chain(cuts.flat_map(|cut| [cut.from, cut.to])).collect()
}

/// Whether all nodes that a fault of a plan hits are members, but for one that is to become one.
pub(super) fn is_possible(fault: &Fault, world: &World) -> bool {
    let is_member = |node: &NodeId| world.membership().seat(*node).is_some();
    name_of(fault).is_none_or(|name| name == FaultName::Join || hit(fault).iter().all(is_member))
}

/// Whether the ring names the directories that the members have which were hit; it is asked to, if not. A
/// member that is not proven yet may have to go on with another: its peers can refute the one it came with.
fn is_named(fault: &Fault, world: &mut World) -> bool {
    if !name_of(fault).is_some_and(|name| name.nature().loses_a_disk) {
        return true;
    }
    let mut all = true;
    for node in hit(fault) {
        let to = world.directory(node);
        let Some(seat) = world.membership().seat(node).copied() else { continue };
        let is_named = seat.directory == to;
        all &= is_named && world.bench().host(node).node().is_some_and(Node::is_proven);
        if !is_named && world.runs(node) {
            world.ask_for(Edit::Replace { node, from: seat.directory, to });
        }
    }
    all
}

fn is_restored(restoring: &mut Restoring, world: &World) -> bool {
    let view = world.bench().view();
    let said = |node: NodeId| {
        let host = world.bench().host(node);
        let of = host.node()?;
        let is_home = of.is_proven() && !of.meta().amnesiac && of.filling() == 0;
        let is_clear = is_home && !of.has_strays() && host.disk().hints_left() == 0;
        Some(Said { life: host.starts(), is_clear, exchanged: world.exchanged(node) })
    };
    let named = view.everybody().all(|node| {
        let seat = view.history().latest().seat(node);
        seat.is_some_and(|seat| seat.directory == world.directory(node))
    });
    let members = view.everybody().map(|node| (node, said(node).filter(|_| named))).collect();
    let share = |one, other| !view.shared(one, other, Span::RING).is_empty();
    restoring.look(&members, share)
}
