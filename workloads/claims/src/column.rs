//! Classes of faults: the columns of the table, and what each is in the model.

use std::fmt;
use std::str::FromStr;

use dynamo_protocol::{Quorum, Versioning};
use model::{Faults, MAX_NODES, Shift};

use crate::setting::Setting;

/// What may go wrong while clients work. In all of them messages take any time and arrive in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// Nothing; and nobody loses patience.
    None,
    /// A host is slow: one timer runs out on it.
    SlowLink,
    /// A process ends, and may start again.
    Crash,
    /// The network is cut in two, and may be whole again.
    Partition,
    /// A process stands still: two timers run out on it.
    Pause,
    /// A directory is emptied.
    Wipe,
    /// A host loses power, and what was not synced.
    PowerCut,
    /// Wall clocks are wrong.
    Clock,
    /// A home of the key gives way to a newcomer.
    Membership,
    /// A crash and a cut.
    TwoAtOnce,
}

/// What a column is for a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Nodes that are no homes.
    pub(crate) more_nodes: usize,
    /// What may happen, how often.
    pub(crate) faults: Faults,
    /// How the ring changes.
    pub(crate) shifts: Vec<Shift>,
    /// The exchanges that fill a newcomer, where it has to be filled to count.
    pub(crate) filled: u8,
}

/// Why a column cannot be searched for a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    /// It is about something that this setting does not have.
    NotApplicable(&'static str),
    /// The model cannot hold it.
    NotSearched(&'static str),
}

impl Column {
    /// All of them, in the order of the table.
    pub const ALL: &[Self] = &[
        Self::None,
        Self::SlowLink,
        Self::Crash,
        Self::Partition,
        Self::Pause,
        Self::Wipe,
        Self::PowerCut,
        Self::Clock,
        Self::Membership,
        Self::TwoAtOnce,
    ];

    /// Its word, on the command line and in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SlowLink => "slow-link",
            Self::Crash => "crash",
            Self::Partition => "partition",
            Self::Pause => "pause",
            Self::Wipe => "wipe",
            Self::PowerCut => "power-cut",
            Self::Clock => "clock",
            Self::Membership => "membership",
            Self::TwoAtOnce => "two-at-once",
        }
    }

    /// The same where there is little room.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::SlowLink => "slow",
            Self::PowerCut => "power",
            Self::Membership => "members",
            Self::TwoAtOnce => "two",
            other => other.word(),
        }
    }

    /// What it is, in words.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            Self::None => "no fault; messages take any time and arrive in any order",
            Self::SlowLink => "one timer runs out on a host that is only slow",
            Self::Crash => "one process ends, and may start again on its disk",
            Self::Partition => "one cut of the network in two, which may heal",
            Self::Pause => "two timers run out on hosts that only stand still",
            Self::Wipe => "one directory is emptied, its process may start again",
            Self::PowerCut => "one host loses power and what was not synced, and may start again",
            Self::Clock => "wall clocks stand in any order to each other",
            Self::Membership => "one home of the key gives way to a newcomer",
            Self::TwoAtOnce => "one crash and one cut, at any times",
        }
    }

    /// The columns of which all that can happen can happen in this one, too.
    #[must_use]
    pub fn includes(self) -> &'static [Self] {
        match self {
            Self::None => &[],
            Self::Pause => &[Self::None, Self::SlowLink],
            Self::TwoAtOnce => &[Self::None, Self::Crash, Self::Partition],
            _ => &[Self::None],
        }
    }

    /// What it is for `setting`.
    pub(crate) fn bounds(self, setting: &Setting) -> Result<Bounds, Outside> {
        let faults = match self {
            Self::None => Faults::default(),
            Self::Clock if setting.versioning != Versioning::Lww => {
                return Err(Outside::NotApplicable(
                    "no wall clock is read: versions are told apart by counters",
                ));
            }
            // There clocks show what they show: one order of stamps, and puts in all orders.
            Self::Clock => Faults::default(),
            Self::SlowLink => Faults { hedges: 1, ..Faults::default() },
            Self::Crash => Faults { crashes: 1, restarts: 1, ..Faults::default() },
            Self::Partition => Faults { partitions: 1, ..Faults::default() },
            Self::Pause => Faults { hedges: 2, ..Faults::default() },
            Self::Wipe => Faults { wipes: 1, restarts: 1, ..Faults::default() },
            Self::PowerCut => Faults { power_cuts: 1, restarts: 1, ..Faults::default() },
            Self::Membership => return newcomer(setting),
            Self::TwoAtOnce => {
                Faults { crashes: 1, restarts: 1, partitions: 1, ..Faults::default() }
            }
        };
        if setting.quorum == Quorum::Sloppy && setting.fallbacks() == 0 && self != Self::None {
            return Err(Outside::NotSearched(
                "the model has no room for a fallback beside so many homes",
            ));
        }
        let more_nodes = setting.fallbacks();
        Ok(Bounds { more_nodes, faults, shifts: Vec::new(), filled: 0 })
    }

    /// How much of the margin it may cost, and what that is.
    #[must_use]
    pub fn eats(self, setting: &Setting) -> (isize, &'static str) {
        let is_sloppy = setting.quorum == Quorum::Sloppy;
        match self {
            Self::None => (0, "nothing: messages may be late, homes alone answer"),
            Self::Clock => (0, "nothing: clocks decide what is shown, not who answers"),
            Self::PowerCut if is_sloppy => (1, "a fallback that is counted while the host is down"),
            Self::PowerCut => (0, "nothing: what was acknowledged was synced"),
            Self::Wipe if is_sloppy => (1, "a fallback that is counted while the host is down"),
            Self::Wipe => {
                (0, "nothing: a replica that lost its disk is amnesiac, and does not vote")
            }
            Self::Membership if is_sloppy => {
                (1, "a newcomer's place, taken by a fallback until it is filled")
            }
            Self::Membership => (0, "nothing: nothing counts across epochs, newcomers once filled"),
            _ if is_sloppy => (1, "a fallback that is counted"),
            _ => (0, "nothing: strict, homes alone are counted"),
        }
    }
}

/// The first home of the key is a newcomer. How it is filled is left out where there are three homes, but for
/// the shortest scripts: that search takes minutes and gigabytes (`dyno model check strict-join-three`).
fn newcomer(setting: &Setting) -> Result<Bounds, Outside> {
    let is_strict = setting.quorum == Quorum::Strict;
    if setting.n + 1 > MAX_NODES {
        return Err(Outside::NotSearched(
            "the model has no room for a newcomer beside so many homes",
        ));
    }
    if setting.versioning != Versioning::Dotted {
        return Err(Outside::NotSearched("the ring changes in searches of dotted clusters alone"));
    }
    let needed = setting.n - setting.r.min(setting.w) + 1;
    let filled = if is_strict { u8::try_from(needed).unwrap_or(u8::MAX) } else { 0 };
    let exchanges = if setting.n < 3 { filled } else { 0 };
    let faults = Faults { exchanges, ..Faults::default() };
    Ok(Bounds { more_nodes: 1, faults, shifts: vec![Shift::Join(0)], filled })
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Column {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|column| column.word() == word);
        found.ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|column| column.word()).collect();
            format!("`{word}` is no class of faults; there are {}", known.join(", "))
        })
    }
}
