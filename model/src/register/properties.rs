//! What is held against every state of the register, with where it comes from: "membership" is
//! docs/membership.md.

use crate::properties::Kind;
use crate::register::bounds::Bounds;

/// A property of the register.
pub struct Property {
    /// Its name, in reports.
    pub name: &'static str,
    /// Always or sometimes.
    pub kind: Kind,
    /// Where it comes from.
    pub source: &'static str,
    /// Whether it must hold (always) or be seen (sometimes) within these bounds.
    pub promised: fn(&Bounds) -> bool,
}

/// What a step shows: the bits of [`PROPERTIES`], in their order.
pub(crate) mod flag {
    pub(crate) const FORK: u64 = 1;
    pub(crate) const FELL: u64 = 1 << 1;
    pub(crate) const MINORITY: u64 = 1 << 2;
    pub(crate) const UNASKED: u64 = 1 << 3;
    pub(crate) const BACK: u64 = 1 << 4;
    pub(crate) const BROKEN: u64 = 1 << 5;
    pub(crate) const STUCK: u64 = 1 << 6;
    pub(crate) const DECIDED: u64 = 1 << 7;
    pub(crate) const GOES_ON: u64 = 1 << 8;
    pub(crate) const BOTH: u64 = 1 << 9;
    pub(crate) const OVERTAKEN: u64 = 1 << 10;
    pub(crate) const SPLIT: u64 = 1 << 11;
    pub(crate) const REPLACED: u64 = 1 << 12;
    pub(crate) const VOTES_AGAIN: u64 = 1 << 13;
    pub(crate) const FORCED: u64 = 1 << 14;
}

/// All of them, in the order of their bits.
pub static PROPERTIES: &[Property] = &[
    Property {
        name: "one-ring-a-number",
        kind: Kind::Always,
        source: "membership, register: equal numbers, equal members; Lamport 2001, agreement",
        promised: |_| true,
    },
    Property {
        name: "epoch-never-falls",
        kind: Kind::Always,
        source: "membership, epochs: an epoch is durable before it is acted upon or told",
        promised: |_| true,
    },
    Property {
        name: "decided-by-a-majority",
        kind: Kind::Always,
        source: "membership, register: a majority of the voters voted for it, on disk, under one ballot",
        promised: |bounds| bounds.forces == 0,
    },
    Property {
        name: "only-what-was-asked",
        kind: Kind::Always,
        source: "Lamport 2001, validity: what is decided was proposed",
        promised: |_| true,
    },
    Property {
        name: "gone-stays-gone",
        kind: Kind::Always,
        source: "membership, edits: a removed identity is removed for ever",
        promised: |_| true,
    },
    Property {
        name: "register-assertions-hold",
        kind: Kind::Always,
        source: "the core's own assertions: one_edit, epoch_never_falls, N members in",
        promised: |_| true,
    },
    Property {
        name: "a-decision-stays-possible",
        kind: Kind::Always,
        source: "membership, register: left alone, a voter has something decided, also after a split vote",
        promised: |bounds| bounds.drains,
    },
    Property {
        name: "an-edit-is-decided",
        kind: Kind::Sometimes,
        source: "not vacuous",
        promised: |_| true,
    },
    Property {
        name: "a-loser-goes-on",
        kind: Kind::Sometimes,
        source: "membership, register: who loses proposes its edit on top of the winner's",
        promised: |bounds| bounds.asks.iter().filter(|ask| ask.expect.is_none()).count() > 1,
    },
    Property {
        name: "both-are-decided",
        kind: Kind::Sometimes,
        source: "membership, register: one edit an epoch, none undone",
        promised: |bounds| bounds.last.0 > 2 && bounds.asks.len() > 1,
    },
    Property {
        name: "a-loser-ends",
        kind: Kind::Sometimes,
        source: "membership, register: a proposal for one epoch is for no other",
        promised: |bounds| {
            bounds.asks.len() > 1 && bounds.asks.iter().any(|ask| ask.expect.is_some())
        },
    },
    Property {
        name: "a-split-vote-ends",
        kind: Kind::Sometimes,
        source: "membership, register: a higher ballot decides where two edits had votes",
        // Two members are no majority without each other.
        promised: |bounds| bounds.asks.len() > 1 && bounds.members > 2,
    },
    Property {
        name: "a-wiped-member-is-replaced",
        kind: Kind::Sometimes,
        source: "membership, register: a wiped directory asks for its own replacement",
        promised: |bounds| bounds.wipes > 0,
    },
    Property {
        name: "a-wiped-member-votes-again",
        kind: Kind::Sometimes,
        source: "membership, register: once an epoch names its new directory",
        promised: |bounds| bounds.wipes > 0 && bounds.last.0 > 2,
    },
    Property {
        name: "a-member-goes-on-alone",
        kind: Kind::Sometimes,
        source: "membership, operators: of two members with one lost, by an operator's word",
        promised: |bounds| bounds.forces > 0,
    },
];

/// The property called `name`.
#[must_use]
pub fn property(name: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.name == name)
}
