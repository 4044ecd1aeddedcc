//! Puts: mint, store here, replicate the whole set, acknowledge at W slots.

use super::quorum::Tally;
use super::{Operation, Origin};
use crate::id::{Key, NodeId, OpId};
use crate::io::{Event, Reply};
use crate::message::Message;
use crate::mutant::{Mutant, mutated};
use crate::node::{Node, Step};
use crate::storage::{Place, Role, Store};
use crate::version::{Dot, Siblings};

/// A put that was minted and is being replicated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Put {
    /// None once it has its reply.
    origin: Option<Origin>,
    key: Key,
    /// The coordinator's whole set right after the mint.
    set: Siblings,
    tally: Tally,
}

impl Put {
    pub(super) fn origin(&self) -> Option<Origin> {
        self.origin
    }

    pub(super) fn origin_mut(&mut self) -> Option<&mut Origin> {
        self.origin.as_mut()
    }

    pub(super) fn silent(&self) -> Vec<NodeId> {
        self.tally.silent().collect()
    }

    /// It has its reply, and no spare is left to be asked in place of a host that fails.
    pub(crate) fn is_finished(&self, hosts_fail: bool) -> bool {
        self.origin.is_none() && !(hosts_fail && self.tally.has_spares())
    }
}

impl Node {
    /// From here on the put is never "refused": it is stored in the record it was minted from.
    pub(super) fn begin_put<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        origin: Origin,
        place: Place,
        (dot, set): (Option<Dot>, Siblings),
        mut tally: Tally,
    ) {
        let Place { role, key } = place;
        let op = self.open(step);
        self.coordinating(step, op, origin, role);
        step.event(Event::Minted { op, dot });
        for (host, role) in self.others(&tally) {
            self.send_store(step, op, host, role, &key, &set);
        }
        tally.answered(self.me, true);
        let put = Put { origin: Some(origin), key, set, tally };
        self.operations.insert(op.seq, Operation::Put(put));
        self.check_put(step, op);
    }

    pub(super) fn send_store<S: Store>(
        &self,
        step: &mut Step<'_, S>,
        op: OpId,
        host: NodeId,
        role: Role,
        key: &Key,
        set: &Siblings,
    ) {
        let (key, set) = (key.clone(), set.clone());
        self.send(step, host, Message::Store { op, role, key, set });
    }

    pub(super) fn put_answered<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        stored: bool,
    ) {
        let Some(Operation::Put(put)) = self.operations.get_mut(&op.seq) else { return };
        put.tally.answered(from, stored);
        if !stored {
            self.hedge_put(step, op, false);
        }
        self.check_put(step, op);
    }

    pub(super) fn hedge_put<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        op: OpId,
        also_silent: bool,
    ) -> bool {
        let Some(Operation::Put(put)) = self.operations.get_mut(&op.seq) else { return false };
        let asked = put.tally.hedge(also_silent, |host| self.detector.is_up(host));
        let (key, set) = (put.key.clone(), put.set.clone());
        for &(host, role) in &asked {
            self.send_store(step, op, host, role, &key, &set);
        }
        !asked.is_empty()
    }

    /// Acknowledges at W; ends when no slot waits for anything.
    fn check_put<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(Operation::Put(put)) = self.operations.get_mut(&op.seq) else { return };
        let settled = put.tally.is_settled();
        let needed = self.settings.w - usize::from(mutated(Mutant::AckBeforeW));
        if put.tally.granted() >= needed
            && let Some(origin) = put.origin.take()
        {
            step.event(Event::Acknowledged { op, holders: put.tally.holders() });
            self.reply(step, origin, Reply::Done);
        }
        if settled {
            self.end_put(step, op);
        }
    }

    /// A put that did not reach W may have been applied, and may yet be: it is never "refused".
    pub(super) fn end_put<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        if let Some(Operation::Put(Put { origin: Some(origin), .. })) = self.operations.get(&op.seq)
        {
            self.reply(step, *origin, Reply::TimedOut);
        }
        self.close(step, op);
    }
}
