//! The whole surface of the core on one page: what goes in, what comes out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::continuity::Heard;
use crate::id::{Identity, Key, NodeId, OpId, RequestId};
use crate::membership::Edit;
use crate::message::{Envelope, Message};
use crate::request::{ClientOp, Reply};
use crate::storage::{Role, StoreError};
use crate::version::Dot;
use crate::view::Epoch;

/// Everything that can happen to a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Input {
    /// The process has started on its store. The first input, once.
    Started,
    /// A client asks.
    Client {
        /// The host's name for the request.
        request: RequestId,
        /// What it asks.
        op: ClientOp,
    },
    /// A peer's message has arrived.
    Peer(Envelope),
    /// A timer set earlier has run out.
    Timer(Timer),
    /// The link to a peer broke or cannot be made: a hint, it may be wrong or late.
    Unreachable(NodeId),
    /// An operator asks that what a key's context does not need be forgotten here: told of by
    /// [`Event::Pruned`], or by [`Event::StoreFailed`] if nothing was.
    Prune(Key),
    /// An operator accepts that what this directory may have lost is lost, since nobody is left to refill it
    /// from: told of by [`Event::LossAccepted`], or by [`Event::StoreFailed`].
    AcceptLoss,
    /// An operator asks for a change of the membership: told of by [`Event::ChangeDecided`] or
    /// [`Event::ChangeRefused`]. One at a time.
    Propose {
        /// Which.
        edit: Edit,
        /// For this epoch alone: if another change is decided first, this one is refused.
        expect: Option<Epoch>,
    },
    /// An operator makes an epoch without a vote, since no majority of the members is left: told of by
    /// [`Event::EpochForced`] and [`Event::ChangeDecided`], or by [`Event::ChangeRefused`]. If a member lives
    /// on that is taken for lost, there may be two clusters afterwards.
    ForceEpoch {
        /// The change.
        edit: Edit,
        /// The epoch that it follows.
        expect: Epoch,
    },
}

/// What a node may say early: see [`Input::early`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Early {
    to: NodeId,
    op: OpId,
}

impl Input {
    /// What may be said before it is durable where a put need be durable on one of its W hosts alone, its
    /// coordinator (docs/protocol.md, rule 13): to a put's coordinator, that its versions were taken in. It
    /// has them on its disk, and keeps them.
    ///
    /// Who delivers a hint, or hands over what it is no home of, drops it for such an answer: that has to
    /// wait.
    #[must_use]
    pub fn early(&self) -> Option<Early> {
        match self {
            Self::Peer(Envelope {
                from, message: Message::Store { op, lasts: true, .. }, ..
            }) => Some(Early { to: *from, op: *op }),
            _ => None,
        }
    }
}

impl Early {
    /// Whether `output` of that input's step is it. The identity under which it is said has to be
    /// `durable`: one that a power cut takes would be forgotten by its node, and what was said under it
    /// by all.
    #[must_use]
    pub fn is(&self, output: &Output, durable: Identity) -> bool {
        match output {
            Output::Send(Envelope {
                to, identity, message: Message::Stored { op, .. }, ..
            }) => (*to, *op, *identity) == (self.to, self.op, durable),
            _ => false,
        }
    }
}

/// What a node wants done, in this order, once everything it applied to its store is durable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Output {
    /// Send this; it may be lost.
    Send(Envelope),
    /// Answer a client. Each request is answered once at most; a crash leaves it unanswered.
    Reply(RequestId, Reply),
    /// Hand in [`Input::Timer`] after a while. Setting a timer that runs starts it anew.
    SetTimer(Timer, Duration),
    /// Not any more.
    CancelTimer(Timer),
    /// For counters, logs and white-box checks; nothing depends on it.
    Event(Event),
}

/// Timers, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// Ask fallbacks in place of those that have not answered this operation.
    Hedge(OpId),
    /// Give this operation up.
    Deadline(OpId),
    /// Ask a peer that is suspected whether it is back, or one that has not told what it remembers.
    Ping(NodeId),
    /// Look for hints for this target.
    Handoff(NodeId),
    /// Compare what is held with the next partner.
    Exchange,
    /// Look for records of which this node is no home.
    Strays,
    /// Tell a member that is behind.
    Gossip,
    /// Begin another ballot for what is proposed.
    Proposal,
}

/// What happened inside, told as it happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// A request was coordinated here.
    Coordinating {
        /// The operation it became.
        op: OpId,
        /// The request, if a client of this node made it.
        request: Option<RequestId>,
        /// As home, or as hint for a home.
        role: Role,
    },
    /// A put got its dot (none under plain clocks).
    Minted {
        /// The coordinating operation.
        op: OpId,
        /// The dot.
        dot: Option<Dot>,
    },
    /// Its key has other homes by now: in a strict cluster they are asked, and counted from the beginning.
    CountedAnew(OpId),
    /// A request went to a home.
    ForwardedTo(NodeId),
    /// Slot by slot, who holds the put when it is acknowledged.
    Acknowledged {
        /// The coordinating operation.
        op: OpId,
        /// The hosts that hold it durably, one for each acknowledged slot.
        holders: Vec<NodeId>,
    },
    /// A hint became durable here.
    HintStored(NodeId),
    /// A hint's target has it; the hint is gone.
    HintDelivered(NodeId),
    /// A get found a stale home and wrote the merged set back to it.
    ReadRepair(NodeId),
    /// A key that two homes held differently was brought up to date at both.
    Synced(NodeId),
    /// An exchange came to its end.
    Exchanged {
        /// The partner.
        with: NodeId,
        /// How many keys the two held differently.
        keys: u64,
    },
    /// All that every other home held is held here again: the directory votes again, or its record of this
    /// key.
    Refilled(Option<Key>),
    /// By an operator's word the directory counts wherever it is a home: in so many ranges more than before.
    LossAccepted {
        /// In how many; none if it counted in all.
        ranges: usize,
    },
    /// A peer is suspected.
    Suspected(NodeId),
    /// A peer is alive again.
    Alive(NodeId),
    /// A message was thrown away, and why.
    Discarded(NodeId, Discard),
    /// A record could not be used.
    StoreFailed(Role, StoreError),
    /// So many entries of a key's contexts were forgotten.
    Pruned(usize),
    /// It goes by this membership from now on.
    Entered(Epoch),
    /// What was proposed is this epoch.
    ChangeDecided {
        /// What.
        edit: Edit,
        /// Which.
        epoch: Epoch,
    },
    /// This epoch was made by an operator's word.
    EpochForced(Epoch),
    /// What was proposed will not be, or not because of this proposal.
    ChangeRefused {
        /// What.
        edit: Edit,
        /// Why, and what to do.
        why: String,
    },
    /// Its directory is no member's any more, for good: the host ends.
    Removed,
    /// A peer tells a membership that cannot be.
    AnotherCluster {
        /// Which peer.
        from: NodeId,
        /// What is wrong.
        why: String,
    },
    /// It counts in more of the ranges it is a home of.
    Filled {
        /// In how many it does not yet.
        left: u64,
    },
    /// A hint for a node that is no home of its key any more is part of the holder's own record.
    HintAdopted,
    /// A record of which this node is no home any more is with all that are; it is gone here.
    StrayDropped,
    /// Nothing is left of what was deleted, anywhere; its tombstone is gone here.
    TombstoneDropped,
    /// Nothing is left of what so many actors wrote of a key, anywhere: its record here does not name them
    /// any more.
    IdleForgotten(usize),
    /// All other members have told what they remember: the directory is all that it ever was.
    Proven,
    /// The directory is not all that it was: it goes on under another identity, amnesiac.
    RolledBack {
        /// Who remembers more.
        told_by: NodeId,
        /// What.
        remembered: Heard,
        /// What it holds.
        position: u64,
    },
}

/// Why a peer's message was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Discard {
    /// Its sender's directory has been replaced: what was delivered to the earlier one is void.
    DeadIdentity,
    /// A forwarded put that was taken over before, or may have been.
    Repeated,
    /// Its versions are malformed, or of another versioning.
    BadVersions,
    /// It is not addressed to this node, or not by a member.
    Misaddressed,
    /// In a strict cluster: its key has had other homes since.
    OldEpoch,
    /// It was sent two eras ago, or earlier: what it brings may be of a put that was deleted, and of whose
    /// tombstone nothing is left.
    OldEra,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::Answer;
    use crate::request::Refusal;
    use crate::{
        Context, Member, MemoryStore, Meta, Node, Outbox, Settings, Siblings, Start, Time, View,
    };

    const OTHER: NodeId = NodeId(2);
    const OP: OpId = OpId { incarnation: 7, seq: 3 };

    fn envelope(from: NodeId, identity: u64, to: NodeId, message: Message) -> Envelope {
        let (identity, epoch) = (Identity(identity), Epoch::GENESIS);
        Envelope { from, identity, position: 0, epoch, era: 0, to, heard: None, message }
    }

    fn store(lasts: bool) -> Input {
        let (role, key) = (Role::Home, Key::from("k"));
        let set = Siblings::empty(Settings::default().versioning);
        let store = Message::Store { op: OP, role, key, set, lasts };
        Input::Peer(envelope(OTHER, 2, NodeId(1), store))
    }

    fn stored(op: OpId, to: NodeId) -> Output {
        Output::Send(envelope(
            NodeId(1),
            1,
            to,
            Message::Stored { op, result: Ok(()), counts: true },
        ))
    }

    #[test]
    fn a_puts_coordinator_alone_is_told_early_and_nothing_but_that_its_versions_are_there() {
        assert_eq!(store(false).early(), None);
        assert_eq!(Input::Started.early(), None);
        let (early, me) = (store(true).early().unwrap(), Identity(1));
        assert!(early.is(&stored(OP, OTHER), me));
        assert!(!early.is(&stored(OP, NodeId(3)), me), "nobody else");
        assert!(!early.is(&stored(OpId { seq: 4, ..OP }, OTHER), me), "of nothing else");
        assert!(!early.is(&stored(OP, OTHER), Identity(9)), "under no name that may be forgotten");
        let answer = Answer::Failed(StoreError::Corrupt);
        let others = [Message::Fetched { op: OP, answer }, Message::Ping { nonce: None }];
        for message in others {
            assert!(!early.is(&Output::Send(envelope(NodeId(1), 1, OTHER, message)), me));
        }
        let refused = Reply::Refused(Refusal::NotHome(OTHER));
        assert!(!early.is(&Output::Reply(RequestId(1), refused), me));
    }

    #[test]
    fn what_a_coordinator_sends_of_its_put_lasts_with_it() {
        let settings = Settings::default();
        let members = (1..=3).map(|id| Member::new(NodeId(id), 4)).collect();
        let view = View::genesis(&settings, members).unwrap();
        let mut store = MemoryStore::new(Meta::genesis(Identity(1)));
        let start = Start::proven(store.meta, 1);
        let mut node = Node::new(NodeId(1), Arc::new(settings), Arc::new(view), start);
        let mut outbox = Outbox::default();
        let op = ClientOp::Put { key: Key::from("k"), context: Context::default(), value: None };
        for input in [Input::Started, Input::Client { request: RequestId(1), op }] {
            node.handle(Time(0), input, &mut store, &mut outbox);
        }
        let sent = outbox.outputs.iter().filter_map(|output| match output {
            Output::Send(Envelope { message: Message::Store { lasts, .. }, .. }) => Some(*lasts),
            _ => None,
        });
        assert_eq!(sent.collect::<Vec<_>>(), [true, true]);
    }
}
