//! The node: all protocol state, and the one place inputs enter.
//!
//! It does not retry a put, ever: a put is minted once, and what a client hears after a timeout is
//! "timed out". It does not decide when something is durable: its host holds back the outputs.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::continuity::{Continuity, Heard, Memory, Start};
use crate::coordinator::{Asker, Forwarded, Origin};
use crate::detector::Detector;
use crate::handoff::Handoff;
use crate::id::{Identity, NodeId, OpId};
use crate::io::{Discard, Event, Input, Output, Timer};
use crate::membership::{Call, Registrar};
use crate::merkle::AntiEntropy;
use crate::message::{Envelope, Message};
use crate::mutant::{Mutant, mutated};
use crate::operations::{Operation, Operations};
use crate::request::Reply;
use crate::settings::Settings;
use crate::settle::Settling;
use crate::step::{Outbox, Step, Time};
use crate::storage::{Meta, Role, Store};
use crate::transfer::{Ahead, Counted, Filling, Gossip, Strays};
use crate::view::{Epoch, View};

/// One Dynamo node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub(crate) me: NodeId,
    pub(crate) settings: Arc<Settings>,
    pub(crate) view: Arc<View>,
    /// As in the store; written there before it is relied on.
    pub(crate) meta: Meta,
    incarnation: u64,
    next_seq: u64,
    /// By [`OpId::seq`]: an operation of another incarnation is not found, so a late answer to an
    /// earlier life counts nowhere.
    pub(crate) operations: Operations,
    pub(crate) detector: Detector,
    pub(crate) handoff: Handoff,
    pub(crate) anti_entropy: AntiEntropy,
    pub(crate) forwarded: Forwarded,
    pub(crate) memory: Memory,
    pub(crate) continuity: Continuity,
    pub(crate) registrar: Registrar,
    pub(crate) gossip: Gossip,
    /// As in the store; written there before it is relied on.
    pub(crate) counted: Counted,
    pub(crate) filling: Filling,
    pub(crate) strays: Strays,
    pub(crate) ahead: Ahead,
    pub(crate) settling: Settling,
}

impl Node {
    /// Node `me` of `view`, which starts.
    ///
    /// # Panics
    /// If the view does not know it: who starts a node asks first.
    #[must_use]
    pub fn new(me: NodeId, settings: Arc<Settings>, view: Arc<View>, mut start: Start) -> Self {
        assert!(view.contains(me), "{me} runs in a view that does not know it");
        assert_eq!(view.homes_of_a_key(), settings.n, "the view was made for other settings");
        if mutated(Mutant::DoubtForgotten) {
            start.meta.doubted = None;
        }
        let continuity = start.continuity(view.everybody().filter(|id| *id != me));
        let counted = start.counted.take().unwrap_or_else(|| match start.meta.amnesiac {
            true => Counted::nowhere(),
            false => Counted::everywhere(view.epoch()),
        });
        let directory = (start.meta.identity, start.meta.directory(me));
        let registrar = Registrar::new(me, directory, Arc::clone(view.history()), start.ballots);
        let registrar =
            registrar.unwrap_or_else(|why| panic!("who starts a node asks first: {why}"));
        Self {
            registrar,
            gossip: Gossip::default(),
            counted,
            filling: Filling::default(),
            strays: Strays::default(),
            ahead: Ahead::default(),
            settling: Settling::default(),
            memory: start.memory(),
            continuity,
            me,
            settings,
            view,
            meta: start.meta,
            incarnation: start.incarnation,
            next_seq: 0,
            operations: Operations::default(),
            detector: Detector::default(),
            handoff: Handoff::default(),
            anti_entropy: AntiEntropy::default(),
            forwarded: Forwarded::default(),
        }
    }

    /// Takes one step: changes the node and its store, and leaves in `outbox` what the host is to do
    /// once the store's changes are durable.
    ///
    /// # Panics
    /// If an invariant of the protocol is broken; the message says which.
    pub fn handle<S: Store>(
        &mut self,
        now: Time,
        input: Input,
        store: &mut S,
        outbox: &mut Outbox,
    ) {
        let step = &mut Step { now, store, outbox };
        match input {
            Input::Started => {
                assert!(self.next_seq == 0, "a node starts once, before anything else");
                self.resume_handoff(step);
                self.ask_for_proof(step);
                if self.view.epoch() > Epoch::GENESIS {
                    self.fill_anew(step);
                    self.expect_strays(step);
                }
                self.begin_gossip(step);
                self.settling.walk();
                self.begin_anti_entropy(step);
            }
            Input::Client { request, op } => {
                self.settling.touch(op.key());
                self.accept(step, Asker::new(Origin::Client(request)), op);
            }
            Input::Peer(envelope) => self.receive(step, envelope),
            Input::Timer(Timer::Hedge(op)) => self.hedge_due(step, op),
            Input::Timer(Timer::Deadline(op)) => self.deadline_passed(step, op),
            Input::Timer(Timer::Ping(peer)) => self.ping(step, peer),
            Input::Timer(Timer::Handoff(target)) => self.handoff_due(step, target),
            Input::Timer(Timer::Exchange) => self.exchange_due(step),
            Input::Timer(Timer::Strays) => self.strays_due(step),
            Input::Timer(Timer::Gossip) => self.gossip_due(step),
            Input::Timer(Timer::Proposal) => self.proposal_due(step),
            Input::Unreachable(peer) => self.lost(step, peer),
            Input::Prune(key) => self.prune(step, &key),
            Input::AcceptLoss => self.accept_loss(step),
            Input::Propose { edit, expect } => self.propose(step, edit, expect),
            Input::ForceEpoch { edit, expect } => self.force_epoch(step, edit, expect),
        }
    }

    /// How many requests, repairs and deliveries are open: 0 when the node is at rest. That homes compare
    /// what they hold is no work as long as nothing differs.
    #[must_use]
    pub fn open_operations(&self) -> usize {
        let is_work = |operation: &Operation| {
            !matches!(operation, Operation::Comparison(_) | Operation::Settling)
        };
        self.operations.iter().filter(|(_, operation)| is_work(operation)).count()
    }

    /// The peers this node suspects now.
    pub fn suspected(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.detector.suspected()
    }

    /// The identity under which `peer` was last heard, if it was.
    #[must_use]
    pub fn heard(&self, peer: NodeId) -> Option<Identity> {
        self.detector.heard(peer)
    }

    /// Who it is.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// What it was told for life.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The membership it goes by now.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The directory it runs on.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    fn receive<S: Store>(&mut self, step: &mut Step<'_, S>, envelope: Envelope) {
        let Envelope { from, identity, position, epoch, era, to, heard, message } = envelope;
        let is_later = epoch > self.view.epoch();
        if to == self.me && from != to && !self.view.contains(from) && !is_later {
            return self.receive_from_outside(step, from, epoch, message);
        }
        if let Err(why) = self.admit((from, is_later), to, &message) {
            return step.event(Event::Discarded(from, why));
        }
        let by_order = mutated(Mutant::LowerIdentityIgnored) || mutated(Mutant::RenewedIfGreater);
        let is_lower = by_order && self.detector.heard(from).is_some_and(|heard| identity < heard);
        if is_lower && mutated(Mutant::LowerIdentityIgnored) {
            return;
        }
        // Calls are the registrar's to answer: who cannot learn would ask again for being told, for ever.
        if !matches!(message, Message::Register(_)) {
            self.compare_epochs(step, from, epoch);
        }
        if self.detector.is_renewed(from, identity)
            && !(is_lower && mutated(Mutant::RenewedIfGreater))
        {
            self.void_deliveries(step, from);
            self.exchange_lost(from);
            self.stray_home_renewed(step, from);
            self.ahead.forget(from);
            self.may_be_behind(step, from);
        }
        self.heard_epoch(from, epoch);
        self.heard_era(step, era);
        self.note_positions(step, from, Heard { identity, position }, heard);
        self.answers(step, from);
        if let Message::Pong { nonce } = message {
            self.recalled(step, from, nonce, heard);
        } else if self.is_void(era, &message) {
            step.event(Event::Discarded(from, Discard::OldEra));
        } else {
            self.handle_message(step, from, epoch, message);
        }
    }

    /// What a member says under `epoch`, once it is known what that says of the member itself.
    pub(crate) fn handle_message<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        epoch: Epoch,
        message: Message,
    ) {
        message.key().into_iter().for_each(|key| self.settling.touch(key));
        if self.holds_back(step, from, epoch, &message) {
            return;
        }
        match message {
            Message::Forward { op, request } => self.take_over(step, from, op, request),
            Message::Forwarded { op, reply } => self.forward_answered(step, op, reply),
            Message::Store { op, role, key, set, lasts: _ } => {
                let counts = self.acknowledges(&key);
                let result = self.take_in(step, Some(from), role, key, &set);
                self.send(step, from, Message::Stored { op, result, counts });
            }
            Message::Stored { op, result, counts } => {
                self.store_answered(step, from, op, (result, counts));
            }
            Message::Fetch { op, role, key } => {
                let answer = self.answer(step, role, &key);
                self.send(step, from, Message::Fetched { op, answer });
            }
            Message::Fetched { op, answer } => self.fetch_answered(step, from, op, answer),
            Message::Compare { op, epoch, between, asked } => {
                let found = self.answer_compare(step, from, (epoch, between), &asked);
                let counts = self.counts_in(&asked);
                self.send(step, from, Message::Compared { op, found, counts });
            }
            Message::Compared { op, found, counts } => {
                self.compared(step, from, op, found, &counts);
            }
            Message::Settle { op, stage, era, keys } => {
                self.settle_asked(step, (from, epoch, op), (stage, era), keys);
            }
            Message::Settled { op, stage, keys } => self.settled(step, from, op, stage, &keys),
            Message::Register(call) => self.called(step, from, call),
            Message::Ping { nonce } => self.send(step, from, Message::Pong { nonce }),
            Message::Pong { .. } => unreachable!("what a peer remembers was heard with it"),
        }
    }

    /// Who is no member by what it knows itself either, or was one, and is told that it is none any more.
    /// What it says of the membership is heard, and all else is lost.
    fn receive_from_outside<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        epoch: Epoch,
        message: Message,
    ) {
        match message {
            Message::Register(call @ (Call::Membership { .. } | Call::Behind { .. })) => {
                return self.called(step, from, call);
            }
            _ => step.event(Event::Discarded(from, Discard::Misaddressed)),
        }
        if epoch < self.view.epoch() {
            self.tell_epochs(step, from, epoch);
        }
    }

    /// A message from outside is checked before anything of it is believed.
    fn admit(
        &self,
        (from, is_later): (NodeId, bool),
        to: NodeId,
        message: &Message,
    ) -> Result<(), Discard> {
        if to != self.me || from == to || !(self.view.contains(from) || is_later) {
            return Err(Discard::Misaddressed);
        }
        // Nobody keeps hints for itself: as their target it is the home.
        if message.role() == Some(Role::Hint(self.me)) {
            return Err(Discard::Misaddressed);
        }
        match message.set() {
            Some(set) if !set.fits(self.settings.versioning) => Err(Discard::BadVersions),
            _ => Ok(()),
        }
    }

    pub(crate) fn open<S>(&mut self, step: &mut Step<'_, S>) -> OpId {
        let op = self.next_op();
        step.set_timer(Timer::Hedge(op), self.settings.timing.hedge);
        step.set_timer(Timer::Deadline(op), self.settings.timing.deadline);
        op
    }

    /// An operation without timers of its own: [`Timer::Handoff`] watches over deliveries.
    pub(crate) fn next_op(&mut self) -> OpId {
        let op = self.op(self.next_seq);
        self.next_seq += 1;
        op
    }

    pub(crate) fn op(&self, seq: u64) -> OpId {
        OpId { incarnation: self.incarnation, seq }
    }

    pub(crate) fn close<S>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let open = self.operations.remove(op.seq);
        assert!(open.is_some(), "{op} is closed once");
        self.cancel_timers(step, op);
    }

    pub(crate) fn cancel_timers<S>(&self, step: &mut Step<'_, S>, op: OpId) {
        step.output(Output::CancelTimer(Timer::Hedge(op)));
        step.output(Output::CancelTimer(Timer::Deadline(op)));
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// As if it were of this incarnation and had opened so many operations.
    pub(crate) fn set_names(&mut self, incarnation: u64, next_seq: u64) {
        (self.incarnation, self.next_seq) = (incarnation, next_seq);
    }

    pub(crate) fn is_mine(&self, op: OpId) -> bool {
        op.incarnation == self.incarnation
    }

    pub(crate) fn send<S: Store>(&self, step: &mut Step<'_, S>, to: NodeId, message: Message) {
        assert_ne!(to, self.me, "what a node asks of itself it does at once");
        let (from, identity) = (self.me, self.meta.identity);
        let (position, heard) = (self.position(step), self.memory.of(to));
        let (epoch, era) = (self.view.epoch(), self.meta.era);
        step.output(Output::Send(Envelope {
            from,
            identity,
            position,
            epoch,
            era,
            to,
            heard,
            message,
        }));
    }

    pub(crate) fn reply<S: Store>(&self, step: &mut Step<'_, S>, origin: Origin, reply: Reply) {
        match origin {
            Origin::Client(request) => step.output(Output::Reply(request, reply)),
            Origin::Peer(node, op) => self.send(step, node, Message::Forwarded { op, reply }),
        }
    }
}

impl Hash for Node {
    /// All but the settings, which are the same for all nodes of a run and never change: states are told
    /// apart without reading them.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            me,
            settings: _,
            view,
            meta,
            incarnation,
            next_seq,
            operations,
            detector,
            handoff,
            anti_entropy,
            forwarded,
            memory,
            continuity,
            registrar,
            gossip,
            counted,
            filling,
            strays,
            ahead,
            settling,
        } = self;
        (me, view, meta, incarnation, next_seq).hash(state);
        (operations, detector, handoff, anti_entropy, forwarded, memory, continuity).hash(state);
        if view.epoch() > Epoch::GENESIS || registrar.proposes().is_some() {
            (registrar.ballots(), registrar.proposes(), gossip, counted, filling, strays)
                .hash(state);
        }
        if !ahead.is_empty() {
            ahead.hash(state);
        }
        if !settling.is_idle() {
            settling.hash(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Member};

    fn node(members: u16, tokens: u16) -> Node {
        let settings = Settings::new([1, 1, 1]);
        let members = (1..=members).map(|id| Member::new(NodeId(id), tokens)).collect();
        let view = View::genesis(&settings, members).unwrap();
        let start = Start::proven(Meta::genesis(Identity(1)), 1);
        Node::new(NodeId(1), Arc::new(settings), Arc::new(view), start)
    }

    fn digest(node: &Node) -> Digest {
        Digest::of_host(Some(node), node.meta(), [])
    }

    #[test]
    fn nodes_that_differ_in_their_view_alone_differ_in_hash_digest_and_equality() {
        let one = node(3, 8);
        let same = node(3, 8);
        assert_eq!(
            (&one, Digest::of(&one), digest(&one)),
            (&same, Digest::of(&same), digest(&same))
        );
        for (members, tokens) in [(2, 8), (4, 8), (3, 9)] {
            // Who owes an answer depends on the members too: the view alone is to tell them apart.
            let other = Node { view: node(members, tokens).view, ..one.clone() };
            assert_ne!(one, other);
            assert_ne!(Digest::of(&one), Digest::of(&other));
            assert_ne!(digest(&one), digest(&other));
        }
    }

    #[test]
    #[should_panic(expected = "n1 runs in a view that does not know it")]
    fn a_node_does_not_run_in_a_view_that_does_not_know_it() {
        let settings = Settings::new([1, 1, 1]);
        let members = vec![Member::new(NodeId(2), 8)];
        let view = View::genesis(&settings, members).unwrap();
        let start = Start::proven(Meta::genesis(Identity(1)), 1);
        let _ = Node::new(NodeId(1), Arc::new(settings), Arc::new(view), start);
    }
}
