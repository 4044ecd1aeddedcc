//! Local failure detection (paper, section 4.8.3): a peer that does not answer what it is asked is
//! suspected by the node that asked, and by no other; one that is suspected is pinged until it
//! answers. A pair that has nothing to say to each other asks nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{Identity, NodeId};
use crate::io::{Event, Output, Timer};
use crate::message::Message;
use crate::node::Node;
use crate::step::Step;
use crate::storage::Store;

/// What a node believes of its peers. Beliefs steer who is asked; no safety rests on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Detector {
    suspected: BTreeSet<NodeId>,
    identities: BTreeMap<NodeId, Identity>,
}

impl Detector {
    pub(crate) fn is_alive(&self, peer: NodeId) -> bool {
        !self.suspected.contains(&peer)
    }

    /// The identity under which `peer` was last heard.
    pub(crate) fn heard(&self, peer: NodeId) -> Option<Identity> {
        self.identities.get(&peer).copied()
    }

    pub(crate) fn suspected(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.suspected.iter().copied()
    }

    /// Nothing is believed of `peer` any more: it is no member.
    fn forget(&mut self, peer: NodeId) -> bool {
        self.identities.remove(&peer);
        self.suspected.remove(&peer)
    }

    /// Notes the identity a peer speaks under; says whether it last spoke under another. Which of the
    /// two is the later one cannot be told: they are random, and messages overtake each other.
    pub(crate) fn is_renewed(&mut self, peer: NodeId, identity: Identity) -> bool {
        let before = self.identities.insert(peer, identity);
        before.is_some_and(|before| before != identity)
    }
}

impl Node {
    /// Suspects `peer` from now on: it is believed to be down.
    pub(crate) fn suspect<S>(&mut self, step: &mut Step<'_, S>, peer: NodeId) {
        assert_ne!(peer, self.me, "a node does not suspect itself");
        if !self.view.contains(peer) {
            // What it was asked under an earlier epoch is as open as before; nobody asks it anything now.
            return;
        }
        if self.detector.suspected.insert(peer) {
            step.event(Event::Suspected(peer));
            step.set_timer(Timer::Ping(peer), self.settings.timing.ping);
        }
    }

    /// `peer` has said something: it is alive, and its hints go out.
    pub(crate) fn answers<S: Store>(&mut self, step: &mut Step<'_, S>, peer: NodeId) {
        assert_ne!(peer, self.me, "a node hears others");
        if self.detector.suspected.remove(&peer) {
            step.event(Event::Alive(peer));
            if !self.continuity.is_owed(peer) {
                step.output(Output::CancelTimer(Timer::Ping(peer)));
            }
            self.deliver_hints(step, peer);
        }
    }

    pub(crate) fn ping<S: Store>(&mut self, step: &mut Step<'_, S>, peer: NodeId) {
        let is_owed = self.continuity.is_owed(peer);
        if is_owed || !self.detector.is_alive(peer) {
            let nonce = is_owed.then(|| self.incarnation());
            self.send(step, peer, Message::Ping { nonce });
            step.set_timer(Timer::Ping(peer), self.settings.timing.ping);
        }
    }

    /// `peer` is no member any more.
    pub(crate) fn part_with<S: Store>(&mut self, step: &mut Step<'_, S>, peer: NodeId) {
        let pinged = self.continuity.is_owed(peer) || !self.detector.is_alive(peer);
        self.detector.forget(peer);
        if pinged {
            step.output(Output::CancelTimer(Timer::Ping(peer)));
        }
        self.owes_nothing(step, peer);
    }

    /// The link to `peer` broke: what it was asked will hardly be answered.
    pub(crate) fn lost<S: Store>(&mut self, step: &mut Step<'_, S>, peer: NodeId) {
        self.suspect(step, peer);
        self.exchange_lost(peer);
        for seq in self.operations.seqs().collect::<Vec<_>>() {
            self.host_lost(step, seq, peer);
        }
        self.release_held(step);
    }
}
