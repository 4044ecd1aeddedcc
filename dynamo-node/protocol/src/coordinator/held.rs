//! Puts that wait for the proof of continuity before they are minted.

use super::{Asker, Origin, Request};
use crate::id::{Key, OpId};
use crate::node::Node;
use crate::operations::Operation;
use crate::request::{ClientOp, Refusal, Reply};
use crate::step::Step;
use crate::storage::{Place, Role, Store};

/// A put that is not minted yet. Nothing of it has left: until then it can be refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    origin: Origin,
    request: ClientOp,
    role: Role,
}

impl Held {
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    pub(super) fn origin_mut(&mut self) -> &mut Origin {
        &mut self.origin
    }
}

impl Node {
    /// Whether a put has to wait: its record would take a fresh birth for doubt alone, and those who can
    /// end the doubt may be about to.
    pub(super) fn is_held<S: Store>(&self, step: &Step<'_, S>, role: Role, key: &Key) -> bool {
        let minter = || {
            let record = step.store.record(&Place { role, key: key.clone() });
            record.ok().flatten()?.minter
        };
        self.awaits_proof()
            && minter().is_none_or(|minter| !self.continuity.is_spare(minter.actor.identity))
    }

    pub(super) fn hold<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        asker: Asker,
        request: ClientOp,
        role: Role,
    ) {
        assert!(matches!(request, ClientOp::Put { .. }), "a get mints nothing: it need not wait");
        assert!(self.awaits_proof(), "a put waits only while there is something to wait for");
        let (op, origin) = (self.begin(step, asker), asker.origin);
        self.open_request(op, Request::Held(Held { origin, request, role }));
    }

    /// Has what was held coordinated, unless it still has to wait.
    pub(crate) fn release_held<S: Store>(&mut self, step: &mut Step<'_, S>) {
        if self.awaits_proof() {
            return;
        }
        let held = |(seq, operation): (u64, &Operation)| {
            matches!(operation, Operation::Request(Request::Held(_))).then_some(seq)
        };
        let held: Vec<_> = self.operations.iter().filter_map(held).collect();
        for seq in held {
            let op = self.op(seq);
            if let Some(Request::Held(held)) = self.operations.request(seq).cloned() {
                let asker = self.suspend(op, held.origin);
                // The membership may be another by now.
                match self.role_of(self.view.clone().homes(held.request.key())) {
                    Some(role) => self.coordinate(step, asker, held.request, role),
                    None => self.refuse(step, asker, Refusal::NotHome(self.me)),
                }
            }
        }
    }

    /// Only where nodes wait for each other for longer than for an operation.
    pub(super) fn held_too_long<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        if let Some(origin) = self.operations.request(op.seq).and_then(Request::origin) {
            self.reply(step, origin, Reply::TimedOut);
        }
        self.close(step, op);
    }
}
