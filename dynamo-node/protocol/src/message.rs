//! What nodes say to each other.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::continuity::Heard;
use crate::id::{Identity, Key, NodeId, OpId};
use crate::membership::Call;
use crate::merkle::{Compared, Fingerprint, Leaf};
use crate::request::{ClientOp, Reply};
use crate::ring::Span;
use crate::settle::Stage;
use crate::storage::{Role, StoreError};
use crate::version::Siblings;
use crate::view::{Between, Epoch};

/// A message and its two ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Envelope {
    /// Who sends.
    pub from: NodeId,
    /// Under which identity: what it acknowledges is on that directory's disk and on no other.
    pub identity: Identity,
    /// How far that directory had come ([`Store::position`](crate::Store::position)): all that the message
    /// rests on is in it. As long as the directory is in doubt, how far it was when its node started.
    pub position: u64,
    /// The membership by which it speaks.
    pub epoch: Epoch,
    /// The era by which it speaks ([`Meta::era`](crate::Meta)).
    #[serde(default)]
    pub era: u64,
    /// To whom.
    pub to: NodeId,
    /// What the sender remembers of the receiver's directory; none if nothing.
    pub heard: Option<Heard>,
    /// What.
    pub message: Message,
}

impl Hash for Envelope {
    /// Where nothing is counted, what is not there costs nothing.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.from, self.identity, self.to, &self.message).hash(state);
        if self.position > 0 {
            (self.position, self.heard).hash(state);
        }
        if self.epoch > Epoch::GENESIS {
            self.epoch.hash(state);
        }
        if self.era > 0 {
            self.era.hash(state);
        }
    }
}

/// One message. The link may lose, delay, duplicate and reorder them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Message {
    /// A client's request, from a node that is not a home of its key, to one that is.
    Forward {
        /// The forwarder's operation.
        op: OpId,
        /// The request.
        request: ClientOp,
    },
    /// What became of a forwarded request.
    Forwarded {
        /// The forwarder's operation.
        op: OpId,
        /// The answer, to be passed on.
        reply: Reply,
    },
    /// Take in these versions: from a put, a read repair or a handoff alike.
    Store {
        /// The sender's operation.
        op: OpId,
        /// As home, or as hint for a home.
        role: Role,
        /// The key.
        key: Key,
        /// The sender's whole set, never the new version alone (docs/protocol.md, rule 3).
        set: Siblings,
        /// The sender has it on its disk, and keeps it until others have it on theirs: it coordinates the put
        /// that wrote it. See [`Input::early`](crate::Input::early).
        #[serde(default)]
        lasts: bool,
    },
    /// What became of a [`Message::Store`]: if all went well, the versions are durable here.
    Stored {
        /// The sender's operation.
        op: OpId,
        /// `Err` if they were not taken in.
        result: Result<(), StoreError>,
        /// False from a home of a strict cluster that is being filled: they are good there, and no put counts
        /// them.
        counts: bool,
    },
    /// Say what you hold of this key.
    Fetch {
        /// The sender's operation.
        op: OpId,
        /// As home, or in place of one.
        role: Role,
        /// The key.
        key: Key,
    },
    /// What a node holds of a key.
    Fetched {
        /// The asker's operation.
        op: OpId,
        /// The answer.
        answer: Answer,
    },
    /// Compare what you hold in these spans, as far as we are to each other what `between` says.
    Compare {
        /// The asker's operation.
        op: OpId,
        /// The view by which it says what both are homes of.
        epoch: Epoch,
        /// Which keys are meant.
        between: Between,
        /// What it holds in each.
        asked: Vec<(Span, Fingerprint)>,
    },
    /// What came out, span by span as they were asked; nothing if that cannot be said.
    Compared {
        /// The asker's operation.
        op: OpId,
        /// One a span.
        found: Vec<Compared>,
        /// Stretches of what was asked in which the answering node counts, or did before it was a home no
        /// more: what it lacks there it never acknowledged. None of an amnesiac, and of one in doubt.
        counts: Vec<Span>,
    },
    /// Say of which of these keys nothing is left with you but the tombstones that are named.
    Settle {
        /// The asker's operation.
        op: OpId,
        /// How far it is.
        stage: Stage,
        /// Nobody answers who goes by an earlier era than this.
        era: u64,
        /// Each key, and what its homes hold of it: a tombstone, and nothing else.
        keys: Vec<(Key, Leaf)>,
    },
    /// Of these, and nothing about them was heard since it was asked first.
    Settled {
        /// The asker's operation.
        op: OpId,
        /// As it was asked.
        stage: Stage,
        /// Which.
        keys: Vec<Key>,
    },
    /// About the membership.
    Register(Call),
    /// Are you there? Asked of a peer that is suspected, and of one that has yet to tell what it
    /// remembers of this node.
    Ping {
        /// In the latter case the asker's incarnation.
        nonce: Option<u64>,
    },
    /// I am; what I remember of you is in the envelope.
    Pong {
        /// As it was asked with.
        nonce: Option<u64>,
    },
}

/// A replica's answer to a fetch: three cases that are never mixed up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// What is held; an empty set is a sure "nothing".
    Known {
        /// The versions.
        set: Siblings,
        /// False from an amnesiac: the versions are good, their absence proves nothing.
        votes: bool,
    },
    /// The record is there and cannot be used.
    Failed(StoreError),
}

impl Message {
    /// The versions it carries, if it carries any.
    #[must_use]
    pub fn set(&self) -> Option<&Siblings> {
        match self {
            Self::Store { set, .. } | Self::Fetched { answer: Answer::Known { set, .. }, .. } => {
                Some(set)
            }
            Self::Forward { .. }
            | Self::Forwarded { .. }
            | Self::Stored { .. }
            | Self::Fetch { .. }
            | Self::Fetched { answer: Answer::Failed(_), .. }
            | Self::Compare { .. }
            | Self::Compared { .. }
            | Self::Settle { .. }
            | Self::Settled { .. }
            | Self::Register(_)
            | Self::Ping { .. }
            | Self::Pong { .. } => None,
        }
    }

    /// The key of which it brings or asks something.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Forward { request, .. } => Some(request.key()),
            Self::Store { key, .. } | Self::Fetch { key, .. } => Some(key),
            Self::Forwarded { .. }
            | Self::Stored { .. }
            | Self::Fetched { .. }
            | Self::Compare { .. }
            | Self::Compared { .. }
            | Self::Settle { .. }
            | Self::Settled { .. }
            | Self::Register(_)
            | Self::Ping { .. }
            | Self::Pong { .. } => None,
        }
    }

    /// As what its receiver is asked, if it is asked to store something or what it holds.
    #[must_use]
    pub(crate) fn role(&self) -> Option<Role> {
        match self {
            Self::Store { role, .. } | Self::Fetch { role, .. } => Some(*role),
            Self::Forward { .. }
            | Self::Forwarded { .. }
            | Self::Stored { .. }
            | Self::Fetched { .. }
            | Self::Compare { .. }
            | Self::Compared { .. }
            | Self::Settle { .. }
            | Self::Settled { .. }
            | Self::Register(_)
            | Self::Ping { .. }
            | Self::Pong { .. } => None,
        }
    }

    /// The name of its kind, for logs and counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forward { .. } => "forward",
            Self::Forwarded { .. } => "forwarded",
            Self::Store { .. } => "store",
            Self::Stored { .. } => "stored",
            Self::Fetch { .. } => "fetch",
            Self::Fetched { .. } => "fetched",
            Self::Compare { .. } => "compare",
            Self::Compared { .. } => "compared",
            Self::Settle { .. } => "settle",
            Self::Settled { .. } => "settled",
            Self::Register(call) => call.name(),
            Self::Ping { .. } => "ping",
            Self::Pong { .. } => "pong",
        }
    }
}
