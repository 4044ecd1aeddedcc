//! What a node is told at its start and keeps for life.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Key, NodeId};
use crate::ring::{Member, Ring};
use crate::version::Versioning;

/// Who may answer for a home that is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quorum {
    /// The next healthy host of the preference list (paper, section 4.6): always writable.
    Sloppy,
    /// Nobody: refuses while too few homes answer.
    Strict,
}

/// When a get whose answers differ writes the merged set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadMode {
    /// After the reply: read repair (paper, section 5).
    Plain,
    /// To W homes before the reply, one more round when the R answers differ: no get sees less than one
    /// that ended before it.
    Atomic,
}

/// What a put is refused for. Peers' messages and merges are never refused: what was accepted
/// once has to be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest key, in bytes.
    pub key_bytes: usize,
    /// Longest value, in bytes.
    pub value_bytes: usize,
    /// Most live versions of one key, the new one included.
    pub siblings: usize,
    /// Most actors a key's context may name.
    pub actors: usize,
    /// Most bytes of all live values of one key together, the new one included. Merges may exceed it, by
    /// what nodes took in that did not hear of each other.
    #[serde(default = "set_bytes")]
    pub set_bytes: usize,
}

/// How long the node waits for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// After this a silent replica is held down, and in sloppy mode a fallback is asked.
    pub patience: Duration,
    /// After this a request is answered "timed out", whatever is still open.
    pub deadline: Duration,
    /// Between two pings of a peer that is held down.
    pub ping: Duration,
    /// Between two looks at the hints for one target.
    pub handoff: Duration,
}

/// A node's settings. All nodes of one cluster have to agree on everything but `me`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// N: how many homes a key has.
    pub n: usize,
    /// R: how many slots answer before a get does.
    pub r: usize,
    /// W: how many slots hold a put durably before it is acknowledged.
    pub w: usize,
    /// Sloppy or strict.
    pub quorum: Quorum,
    /// How versions are told apart.
    pub versioning: Versioning,
    /// Plain or atomic gets.
    pub read: ReadMode,
    /// What puts are refused for.
    pub limits: Limits,
    /// How long to wait.
    pub timing: Timing,
    members: Vec<Member>,
    ring: Ring,
}

/// Settings that no cluster can run with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// N, R or W out of range.
    #[error("{name} = {value} must be from 1 to {most} ({bound})")]
    Quorum {
        /// Which of the three.
        name: &'static str,
        /// What was asked for.
        value: usize,
        /// The most it can be.
        most: usize,
        /// Where that bound comes from.
        bound: &'static str,
    },
    /// `me` is not a member.
    #[error("node {0} is not among the members")]
    NotAMember(NodeId),
    /// A member twice.
    #[error("member {0} is listed twice")]
    Twice(NodeId),
    /// A member that owns nothing.
    #[error("member {0} has no tokens: give it at least one")]
    NoTokens(NodeId),
}

impl Config {
    /// A node `me` of `members` with N, R, W and everything else at its default: sloppy, dotted,
    /// plain gets.
    ///
    /// # Errors
    /// If N exceeds the members, R or W exceeds N, one of them is 0, or the members are not a set
    /// that contains `me`.
    pub fn new(
        me: NodeId,
        mut members: Vec<Member>,
        [n, r, w]: [usize; 3],
    ) -> Result<Self, ConfigError> {
        members.sort_unstable();
        if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(ConfigError::Twice(pair[0].id));
        }
        if let Some(member) = members.iter().find(|member| member.tokens == 0) {
            return Err(ConfigError::NoTokens(member.id));
        }
        if !members.iter().any(|member| member.id == me) {
            return Err(ConfigError::NotAMember(me));
        }
        for (name, value, most, bound) in
            [("N", n, members.len(), "the number of nodes"), ("R", r, n, "N"), ("W", w, n, "N")]
        {
            if !(1..=most).contains(&value) {
                return Err(ConfigError::Quorum { name, value, most, bound });
            }
        }
        let ring = Ring::new(&members);
        Ok(Self {
            me,
            n,
            r,
            w,
            quorum: Quorum::Sloppy,
            versioning: Versioning::Dotted,
            read: ReadMode::Plain,
            limits: Limits::default(),
            timing: Timing::default(),
            members,
            ring,
        })
    }

    /// The members, in the order of their ids.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The ring of the members.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The key's homes, in the order of their slots, and its fallbacks, in the order in which they
    /// stand in.
    #[must_use]
    pub fn preference_list(&self, key: &Key) -> (&[NodeId], &[NodeId]) {
        self.ring.preference_list(key).split_at(self.n)
    }
}

impl Default for Limits {
    /// Key 1 KiB, value 1 MiB, 256 siblings, 256 actors, 16 MiB for a key's values together.
    fn default() -> Self {
        let set_bytes = set_bytes();
        Self { key_bytes: 1 << 10, value_bytes: 1 << 20, siblings: 256, actors: 256, set_bytes }
    }
}

/// Sixteen of the largest values. A get carries a key's whole set from R homes to its client within one
/// deadline, a put carries it to all of them: at three times as much, gets that came together were answered
/// too late, and the puts of other keys refused.
const fn set_bytes() -> usize {
    16 << 20
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            patience: Duration::from_millis(100),
            deadline: Duration::from_secs(1),
            ping: Duration::from_millis(100),
            handoff: Duration::from_millis(200),
        }
    }
}

impl Hash for Config {
    /// Settings never change while a node lives: the states of one run are told apart without
    /// reading them.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.me.hash(state);
    }
}
