//! Requests that wait for a home to coordinate them.

use super::{Asker, Origin, Request};
use crate::id::{NodeId, OpId};
use crate::io::{Event, Timer};
use crate::message::Message;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::request::{ClientOp, Reply};
use crate::step::Step;
use crate::storage::Store;

/// A request sent on to a home.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Forward {
    origin: Origin,
    request: ClientOp,
    home: NodeId,
}

impl Forward {
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    pub(super) fn origin_mut(&mut self) -> &mut Origin {
        &mut self.origin
    }

    pub(super) fn home(&self) -> NodeId {
        self.home
    }
}

/// A home that coordinates has to wait for its own peers, fallbacks included, before it answers: it gets
/// this many times the hedging delay.
const FORWARD_HEDGES: u32 = 3;

impl Node {
    pub(super) fn forward<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        asker: Asker,
        request: ClientOp,
        home: NodeId,
    ) {
        assert_ne!(home, self.me, "a home coordinates what is its own");
        assert!(
            self.detector.is_alive(home),
            "a request is sent to a home that is believed alive: {home}"
        );
        let (op, origin) = (self.begin(step, asker), asker.origin);
        step.set_timer(Timer::Hedge(op), self.settings.timing.hedge * FORWARD_HEDGES);
        step.event(Event::ForwardedTo(home));
        self.send(step, home, Message::Forward { op, request: request.clone() });
        self.open_request(op, Request::Forward(Forward { origin, request, home }));
    }

    pub(crate) fn forward_answered<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        op: OpId,
        reply: Reply,
    ) {
        if self.is_mine(op)
            && let Some(Request::Forward(forward)) = self.operations.request(op.seq)
        {
            self.reply(step, forward.origin, reply);
            self.close(step, op);
        }
    }

    /// The home is suspected by now. It may have coordinated the request, or may yet: a put goes to no
    /// other, since a second home would mint it a second time; a get may be asked anywhere.
    pub(super) fn forward_silent<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(Request::Forward(forward)) = self.operations.request(op.seq) else { return };
        if matches!(forward.request, ClientOp::Get { .. }) || mutated(Mutant::RetryMints) {
            let Forward { origin, request, .. } = forward.clone();
            let asker = self.suspend(op, origin);
            self.accept(step, asker, request);
        }
    }

    pub(super) fn forward_timed_out<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        if let Some(Request::Forward(forward)) = self.operations.request(op.seq) {
            self.reply(step, forward.origin, Reply::TimedOut);
            self.close(step, op);
        }
    }
}
