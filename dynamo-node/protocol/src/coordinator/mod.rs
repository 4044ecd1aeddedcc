//! Coordinating: one operation from a client's request to its reply and what follows it.

mod forward;
mod forwarded;
mod get;
mod held;
mod operations;
mod put;
mod quorum;

use std::sync::Arc;

pub(crate) use forwarded::Forwarded;
pub(crate) use held::Held;
pub(crate) use operations::Operations;

use crate::coordinator::forward::Forward;
use crate::coordinator::get::Get;
use crate::coordinator::put::Put;
use crate::coordinator::quorum::Tally;
use crate::handoff::Delivery;
use crate::id::{NodeId, OpId, RequestId};
use crate::io::{ClientOp, Discard, Event, Refusal, Reply, Timer};
use crate::message::Answer;
use crate::mode::Quorum;
use crate::mutant::{Mutant, mutated};
use crate::node::{Node, Step};
use crate::storage::{Place, Role, Store, StoreError};

/// Who waits for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// A client of this node.
    Client(RequestId),
    /// A node that forwarded its client's request, under its operation.
    Peer(NodeId, OpId),
}

/// Something open at this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Put(Put),
    Get(Get),
    Forward(Forward),
    Delivery(Delivery),
    Held(Held),
}

/// Where a request is coordinated.
enum Venue {
    Here(Role),
    At(NodeId),
    Nowhere,
}

impl Node {
    /// A client of this node asks: a home coordinates; another node forwards to a home; and only
    /// if no home is held up does a fallback coordinate itself (paper, section 4.5).
    pub(crate) fn accept<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        origin: Origin,
        request: ClientOp,
    ) {
        if let Err(refusal) = self.check_size(&request) {
            return self.reply(step, origin, Reply::Refused(refusal));
        }
        let view = Arc::clone(&self.view);
        let homes = view.homes(request.key());
        match self.venue(homes) {
            Venue::Here(role) => self.coordinate(step, origin, request, role),
            Venue::At(home) => self.forward(step, origin, request, home),
            Venue::Nowhere => {
                let needed = self.slots_needed(&request);
                let refusal = Refusal::Unavailable { needed, reachable: 0 };
                self.reply(step, origin, Reply::Refused(refusal));
            }
        }
    }

    fn venue(&self, homes: &[NodeId]) -> Venue {
        if homes.contains(&self.me) {
            return Venue::Here(Role::Home);
        }
        match homes.iter().find(|home| self.detector.is_up(**home)) {
            Some(home) => Venue::At(*home),
            None if self.settings.quorum == Quorum::Sloppy => Venue::Here(Role::Hint(homes[0])),
            None => Venue::Nowhere,
        }
    }

    /// A peer forwards its client's request: it is not forwarded a second time, and a put of which a
    /// copy came before is not coordinated a second time.
    pub(crate) fn take_over<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        request: ClientOp,
    ) {
        let is_put = matches!(request, ClientOp::Put { .. });
        if is_put && !self.forwarded.is_first(from, op) && !mutated(Mutant::CopyMints) {
            return step.event(Event::Discarded(from, Discard::Repeated));
        }
        let origin = Origin::Peer(from, op);
        if let Err(refusal) = self.check_size(&request) {
            return self.reply(step, origin, Reply::Refused(refusal));
        }
        let view = Arc::clone(&self.view);
        let homes = view.homes(request.key());
        if !homes.contains(&self.me) {
            return self.reply(step, origin, Reply::Refused(Refusal::NotHome(self.me)));
        }
        self.coordinate(step, origin, request, Role::Home);
    }

    /// Claims this node's own slot, gives every other one a host, and begins if enough of them are
    /// held up.
    pub(crate) fn coordinate<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        origin: Origin,
        request: ClientOp,
        role: Role,
    ) {
        if matches!(request, ClientOp::Put { .. }) && self.is_held(step, role, request.key()) {
            return self.hold(step, origin, request, role);
        }
        let view = Arc::clone(&self.view);
        let (homes, fallbacks) = view.preference_list(request.key());
        let mut tally = Tally::new(homes, fallbacks);
        if self.settings.quorum == Quorum::Strict && !mutated(Mutant::SloppyAsStrict) {
            tally.homes_only();
        }
        match role {
            Role::Home => tally.claim(self.me, self.me),
            Role::Hint(target) => tally.claim(target, self.me),
        }
        let reachable = tally.assign(|host| self.detector.is_up(host));
        let needed = self.slots_needed(&request);
        if reachable < needed {
            let refusal = Refusal::Unavailable { needed, reachable };
            return self.reply(step, origin, Reply::Refused(refusal));
        }
        match request {
            ClientOp::Get { key } => self.begin_get(step, origin, key, role, tally),
            ClientOp::Put { key, context, value } => {
                let place = Place { role, key };
                match self.mint(step, &place, &context, value) {
                    Ok(minted) => self.begin_put(step, origin, place, minted, tally),
                    Err(refusal) => self.reply(step, origin, Reply::Refused(refusal)),
                }
            }
        }
    }

    fn slots_needed(&self, request: &ClientOp) -> usize {
        match request {
            ClientOp::Get { .. } => self.settings.r,
            ClientOp::Put { .. } => self.settings.w,
        }
    }

    fn check_size(&self, request: &ClientOp) -> Result<(), Refusal> {
        let limits = &self.settings.limits;
        let (bytes, limit) = (request.key().as_bytes().len(), limits.key_bytes);
        if bytes > limit {
            return Err(Refusal::KeyTooLong { bytes, limit });
        }
        match request {
            ClientOp::Put { value: Some(value), .. } if value.len() > limits.value_bytes => {
                let (bytes, limit) = (value.len(), limits.value_bytes);
                Err(Refusal::ValueTooLong { bytes, limit })
            }
            ClientOp::Get { .. } | ClientOp::Put { .. } => Ok(()),
        }
    }

    /// The hosts of `tally` other than this one, and as what each was asked.
    fn others(&self, tally: &Tally) -> Vec<(NodeId, Role)> {
        tally.asked().filter(|(host, _)| *host != self.me).collect()
    }

    fn coordinating<S>(&self, step: &mut Step<'_, S>, op: OpId, origin: Origin, role: Role) {
        let request = match origin {
            Origin::Client(request) => Some(request),
            Origin::Peer(..) => None,
        };
        step.event(Event::Coordinating { op, request, role });
    }

    pub(crate) fn store_answered<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        result: Result<(), StoreError>,
    ) {
        if !self.is_mine(op) {
            return;
        }
        match self.operations.get(&op.seq) {
            Some(Operation::Put(_)) => self.put_answered(step, from, op, result.is_ok()),
            Some(Operation::Get(_)) => self.written_back(step, from, op, result.is_ok()),
            Some(Operation::Delivery(_)) => self.delivered(step, op, result),
            Some(Operation::Forward(_) | Operation::Held(_)) | None => {}
        }
    }

    pub(crate) fn fetch_answered<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        answer: Answer,
    ) {
        if self.is_mine(op) {
            self.get_answered(step, from, op, answer);
        }
    }

    /// Some of those asked are slow: they are held down, and others are asked in their place.
    pub(crate) fn patience_ended<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(operation) = self.operations.get(&op.seq).filter(|_| self.is_mine(op)) else {
            return;
        };
        let is_held = matches!(operation, Operation::Held(_));
        for host in operation.silent() {
            self.suspect(step, host);
        }
        if is_held {
            self.give_up_on_proof(step);
        } else if self.ask_others(step, op) {
            step.set_timer(Timer::Patience(op), self.settings.timing.patience);
        }
    }

    /// Asks spares for the slots that lack a grant. Says whether anyone new was asked.
    fn ask_others<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) -> bool {
        match self.operations.get(&op.seq) {
            Some(Operation::Put(_)) => self.hedge_put(step, op, true),
            Some(Operation::Get(_)) => self.hedge_get(step, op, true),
            Some(Operation::Forward(_)) => {
                self.forward_silent(step, op);
                false
            }
            Some(Operation::Delivery(_) | Operation::Held(_)) | None => false,
        }
    }

    /// The link to `host` broke: operation `seq` hardly gets an answer from it.
    pub(crate) fn host_lost<S: Store>(&mut self, step: &mut Step<'_, S>, seq: u64, host: NodeId) {
        let op = self.op(seq);
        match self.operations.get(&seq) {
            Some(Operation::Put(put)) if put.silent().contains(&host) => {
                self.put_answered(step, host, op, false);
            }
            Some(Operation::Get(get)) if get.waits_for(host) => self.get_host_lost(step, host, op),
            Some(Operation::Forward(forward)) if forward.home() == host => {
                self.forward_silent(step, op);
            }
            _ => {}
        }
    }

    pub(crate) fn deadline_passed<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        if !self.is_mine(op) {
            return;
        }
        match self.operations.get(&op.seq) {
            Some(Operation::Put(_)) => self.end_put(step, op),
            Some(Operation::Get(_)) => self.get_deadline(step, op),
            Some(Operation::Forward(_)) => self.forward_timed_out(step, op),
            Some(Operation::Held(_)) => self.held_too_long(step, op),
            Some(Operation::Delivery(_)) | None => {}
        }
    }
}

impl Operation {
    /// Who waits for it, if anybody still does.
    pub(crate) fn origin(&self) -> Option<Origin> {
        match self {
            Self::Put(put) => put.origin(),
            Self::Get(get) => get.origin(),
            Self::Forward(forward) => Some(forward.origin()),
            Self::Held(held) => Some(held.origin()),
            Self::Delivery(_) => None,
        }
    }

    pub(crate) fn origin_mut(&mut self) -> Option<&mut Origin> {
        match self {
            Self::Put(put) => put.origin_mut(),
            Self::Get(get) => get.origin_mut(),
            Self::Forward(forward) => Some(forward.origin_mut()),
            Self::Held(held) => Some(held.origin_mut()),
            Self::Delivery(_) => None,
        }
    }

    /// Hosts that were asked, have not answered, and are still needed.
    fn silent(&self) -> Vec<NodeId> {
        match self {
            Self::Put(put) => put.silent(),
            Self::Get(get) => get.silent(),
            Self::Forward(forward) => vec![forward.home()],
            // Sent again by the handoff timer; a slow delivery says nothing of its target.
            Self::Delivery(_) => Vec::new(),
            // It asks nobody: the node itself does.
            Self::Held(_) => Vec::new(),
        }
    }
}
