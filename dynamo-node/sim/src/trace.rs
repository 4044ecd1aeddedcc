//! Traces: what happened to a cluster, step by step, as JSON.
//!
//! One format for a path of the model, a shrunk seed of the simulator, and a scenario written by
//! hand. A [`Trace`] is a cluster and the steps it takes, each with the digest of the touched host
//! after it; whoever replays it compares them.
//!
//! To make one, take the steps through a [`Recorder`](crate::Recorder): it carries them out on the bare
//! core and notes the digests.
//!
//! ```
//! use dynamo_sim::Recorder;
//! use dynamo_sim::trace::{Cluster, Op, Step};
//! use dynamo_protocol::{NodeId, RequestId};
//!
//! let mut recorder = Recorder::new(Cluster::new(3, [3, 2, 2]))?;
//! for id in 1..=3 {
//!     recorder.take(Step::Start { node: NodeId(id), incarnation: u64::from(id), spare: None })?;
//! }
//! let node = NodeId(1);
//! let op = Op::Put { key: "k".into(), value: Some("v".into()), read: None, made_up: None };
//! recorder.take(Step::Client { node, request: RequestId(1), op })?;
//! // What is under way has numbers, in the order of sending. A model that holds the message itself
//! // finds its number with `recorder.bench().find(&envelope)`.
//! let store = recorder.bench().flight().next().expect("the put was sent to the other homes").0;
//! recorder.take(Step::Deliver { message: store, again: false })?;
//! let trace = recorder.finish("one put, one copy");
//! dynamo_sim::replay::on_core(&trace)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;
use dynamo_protocol::membership::Edit;
use dynamo_protocol::{
    Context, Digest, Identity, Key, Member, NodeId, RequestId, Settings, Skew, Timer, View,
    ViewError, Zone,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::disk::DiskFault;

/// The format this build reads and writes.
pub const SCHEMA: u32 = 3;

/// A cluster and what happens to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What it shows, in a few words.
    pub name: String,
    /// What it is to be seen to break, if anything: the name of a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// The property of the model that its last step breaks or shows, if it is a path of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<Property>,
    /// The seeded bug it needs, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// Where the final phase begins, if the trace has one: its reads tell what was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
    /// The cluster.
    pub cluster: Cluster,
    /// What happens, in order.
    pub steps: Vec<Entry>,
}

/// A property and a path to where it is broken, or shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub source: String,
    /// Is it broken there (or only shown)?
    pub is_broken: bool,
    /// The configuration that was searched.
    pub settings: String,
    /// The path in words.
    pub story: Vec<String>,
}

/// The final phase of a run, once everything is healed and at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// Before this request the homes' own replicas are looked at.
    pub homes: RequestId,
    /// From this request on gets are final: they have to show all that was kept.
    pub finals: RequestId,
}

/// A cluster: what all nodes agree on. Its nodes are 1 to `nodes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// How many nodes it begins with.
    pub nodes: u16,
    /// Hosts beside them, with empty directories, for nodes that join: their names follow.
    #[serde(default, skip_serializing_if = "is_none")]
    pub spares: u16,
    /// Virtual nodes of each.
    pub tokens: u16,
    /// In how many zones they stand in turn.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub zones: u16,
    /// What all of them are told. A replay fires timers when the trace says so.
    pub settings: Settings,
    /// When changes become durable.
    #[serde(default)]
    pub sync: Sync,
    /// Disks count what is applied to them, so that others can tell that one was rolled back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counts: bool,
    /// The genesis identity of a node's directory is its number, counted from here: so that those of later
    /// directories are not always greater.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub identities: u64,
}

fn one() -> u16 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
fn is_one(zones: &u16) -> bool {
    *zones == 1
}

/// When a host's changes become durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    /// With the step that makes them: its outputs go out at once.
    #[default]
    EachStep,
    /// With a later [`Step::Synced`]: outputs are held until then.
    Explicit,
}

/// One step, when it happened, and what it left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Virtual time, in microseconds since the start; never goes back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at: u64,
    /// What happens.
    #[serde(rename = "do")]
    pub step: Step,
    /// Of the host it happens to, afterwards. A hand-written trace may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Step {
    /// The node's process starts on what its disk holds.
    Start {
        /// Which.
        node: NodeId,
        /// No other start of any node has the same.
        incarnation: u64,
        /// The identity under which a directory that was rolled back goes on: no other ever had it. None
        /// if it cannot have been.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spare: Option<Identity>,
    },
    /// A client asks.
    Client {
        /// Whom.
        node: NodeId,
        /// Names the request, and its answer, in the whole trace.
        request: RequestId,
        /// What.
        op: Op,
    },
    /// A message arrives.
    Deliver {
        /// Which: messages are numbered from 0 in the order in which they were sent.
        message: u64,
        /// It stays under way, to arrive again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// A message is lost. One that never arrives need not be said to be.
    Lose {
        /// Which.
        message: u64,
    },
    /// A timer runs out.
    Timer {
        /// Whose.
        node: NodeId,
        /// Which.
        timer: Timer,
    },
    /// A node hears that a link broke.
    Unreachable {
        /// Who hears it.
        node: NodeId,
        /// The other end.
        peer: NodeId,
    },
    /// An operator has a node forget what a key's context does not need.
    Prune {
        /// Whom.
        node: NodeId,
        /// The key.
        #[serde(with = "text")]
        key: Bytes,
    },
    /// An operator asks for a change of the membership.
    Propose {
        /// Whom.
        node: NodeId,
        /// For what.
        edit: Edit,
    },
    /// The host of a node that does not run asks another for the membership, and writes it down.
    Enrol {
        /// Whose.
        node: NodeId,
        /// Whom it asks.
        by: NodeId,
    },
    /// The disk has synced: outputs that rest on nothing later go out.
    Synced {
        /// Whose.
        node: NodeId,
        /// How many of the changes not yet durable, oldest first.
        changes: u64,
    },
    /// The process ends at once; of what was not durable some may be gone.
    Crash {
        /// Whose.
        node: NodeId,
        /// How many of the changes not yet durable survive, oldest first.
        #[serde(default, skip_serializing_if = "is_zero")]
        keep: u64,
    },
    /// The disk of a stopped node is emptied.
    Wipe {
        /// Whose.
        node: NodeId,
        /// Of the new directory: no other ever had it.
        identity: Identity,
    },
    /// A backup of the disk is taken, as a power cut would leave it now; it replaces an earlier one.
    BackUp {
        /// Whose.
        node: NodeId,
    },
    /// The disk of a stopped node is as it was when it was backed up: all of it, whatever it had noted of
    /// how far it was. What the process had said has arrived by now, or never will.
    Restore {
        /// Whose.
        node: NodeId,
    },
    /// The disk misbehaves.
    Disk {
        /// Whose.
        node: NodeId,
        /// How.
        fault: DiskFault,
    },
    /// The wall clock is off from now on.
    Clock {
        /// Whose.
        node: NodeId,
        /// How.
        #[serde(flatten)]
        skew: Skew,
    },
    /// Nothing arrives on this directed link from now on.
    Cut {
        /// Who sends.
        from: NodeId,
        /// Who does not hear it.
        to: NodeId,
    },
    /// The directed link works again.
    Heal {
        /// Who sends.
        from: NodeId,
        /// Who hears it again.
        to: NodeId,
    },
    /// The process stands still.
    Pause {
        /// Whose.
        node: NodeId,
    },
    /// It goes on.
    Resume {
        /// Whose.
        node: NodeId,
    },
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// All versions of a key.
    Get {
        /// The key.
        #[serde(with = "text")]
        key: Bytes,
    },
    /// A new version.
    Put {
        /// The key.
        #[serde(with = "text")]
        key: Bytes,
        /// What to write; none deletes.
        #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
        value: Option<Bytes>,
        /// The get whose answer's context goes with it. One that was not answered gives none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read: Option<RequestId>,
        /// What the client adds to that context although nobody told it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        made_up: Option<Context>,
    },
}

/// A trace that cannot be read.
#[derive(Debug, Error)]
pub enum TraceError {
    /// Not JSON, or not of this shape.
    #[error("not a trace: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Of another format.
    #[error("schema {0}: this build reads schema {SCHEMA}")]
    Schema(u32),
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// If it is not one, or of another schema.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        /// What every schema begins with.
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        match serde_json::from_str(text)? {
            Head { schema: SCHEMA } => Ok(serde_json::from_str(text)?),
            Head { schema } => Err(TraceError::Schema(schema)),
        }
    }

    /// The trace as JSON, one step a line.
    ///
    /// # Panics
    /// Never: a trace is plain data.
    #[must_use]
    pub fn to_json(&self) -> String {
        fn json(value: &impl Serialize) -> String {
            serde_json::to_string(value).expect("a trace is plain data")
        }
        let mut text = format!("{{\"schema\":{},\"name\":{}", self.schema, json(&self.name));
        for (name, value) in [("check", &self.check), ("mutant", &self.mutant)] {
            if let Some(value) = value {
                text += &format!(",\"{name}\":{}", json(value));
            }
        }
        if let Some(property) = &self.property {
            text += &format!(",\"property\":{}", json(property));
        }
        if let Some(closing) = &self.closing {
            text += &format!(",\"closing\":{}", json(closing));
        }
        text += &format!(",\n\"cluster\":{},\n\"steps\":[", json(&self.cluster));
        for (index, entry) in self.steps.iter().enumerate() {
            text += if index == 0 { "\n" } else { ",\n" };
            text += &json(entry);
        }
        text += "\n]}\n";
        text
    }
}

impl Cluster {
    /// So many nodes and N, R, W; everything else at its default.
    #[must_use]
    pub fn new(nodes: u16, quorums: [usize; 3]) -> Self {
        Self {
            nodes,
            spares: 0,
            tokens: 8,
            zones: 1,
            // What happens by itself happens where it is asked for.
            settings: Settings { anti_entropy: false, ..Settings::new(quorums) },
            sync: Sync::EachStep,
            counts: false,
            identities: 0,
        }
    }

    /// Its nodes.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.nodes + self.spares).map(NodeId)
    }

    /// The view it begins with.
    ///
    /// # Errors
    /// If there is no such cluster.
    pub fn view(&self) -> Result<View, ViewError> {
        View::genesis(&self.settings, self.members().collect())
    }

    /// Its members.
    pub fn members(&self) -> impl Iterator<Item = Member> + use<> {
        let of = *self;
        let founders = (1..=self.nodes).map(NodeId);
        founders.map(move |id| Member::new(id, of.tokens).in_zone(of.zone(id)))
    }

    /// The identity of a node's first directory.
    #[must_use]
    pub fn identity(&self, node: NodeId) -> Identity {
        Identity(self.identities + u64::from(node.0))
    }

    /// Where a node stands, also one that is to join.
    #[must_use]
    pub fn zone(&self, node: NodeId) -> Option<Zone> {
        Zone::in_turn(node, self.zones)
    }
}

impl Step {
    /// The host it happens to; none for what happens to links and messages alone.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::Start { node, .. }
            | Self::Client { node, .. }
            | Self::Timer { node, .. }
            | Self::Unreachable { node, .. }
            | Self::Prune { node, .. }
            | Self::Propose { node, .. }
            | Self::Enrol { node, .. }
            | Self::Synced { node, .. }
            | Self::Crash { node, .. }
            | Self::Wipe { node, .. }
            | Self::BackUp { node }
            | Self::Restore { node }
            | Self::Disk { node, .. }
            | Self::Clock { node, .. }
            | Self::Pause { node }
            | Self::Resume { node } => Some(*node),
            Self::Deliver { .. } | Self::Lose { .. } | Self::Cut { .. } | Self::Heal { .. } => None,
        }
    }
}

impl Op {
    /// The key it is about.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Get { key } | Self::Put { key, .. } => Key(key.clone()),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_none(number: &u16) -> bool {
    *number == 0
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Bytes as text: as they are where they are UTF-8, else `0x` and hexadecimal digits.
mod text {
    use std::fmt::Write;

    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with("0x") => to.serialize_str(text),
            _ => {
                let mut text = String::from("0x");
                for byte in bytes {
                    let _ = write!(text, "{byte:02x}");
                }
                to.serialize_str(&text)
            }
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        let Some(digits) = text.strip_prefix("0x") else { return Ok(text.into()) };
        let pairs = digits.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        });
        let bytes: Option<Vec<_>> = pairs.collect();
        let bytes = bytes.ok_or_else(|| D::Error::custom("after 0x come pairs of digits"))?;
        Ok(bytes.into())
    }

    pub(super) mod option {
        use super::{Bytes, Deserialize, Deserializer, Serializer};

        #[derive(Deserialize)]
        struct Text(#[serde(with = "super")] Bytes);

        #[allow(clippy::ref_option, reason = "the signature serde asks for")]
        pub(in super::super) fn serialize<S: Serializer>(
            bytes: &Option<Bytes>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match bytes {
                Some(bytes) => super::serialize(bytes, to),
                None => to.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Bytes>, D::Error> {
            Ok(Option::<Text>::deserialize(from)?.map(|text| text.0))
        }
    }
}
