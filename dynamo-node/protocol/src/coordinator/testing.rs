//! What tests of operations have in common: homes A, B and C, fallback D, all believed alive.

use super::Origin;
use super::next::Terms;
use super::quorum::Tally;
use crate::detector::Detector;
use crate::id::{Identity, Key, NodeId, RequestId};
use crate::settings::Settings;
use crate::version::{Actor, Dot, DottedSet, Siblings, Version, VersionVector};

/// The node that coordinates.
pub(super) const A: NodeId = NodeId(1);
pub(super) const B: NodeId = NodeId(2);
pub(super) const C: NodeId = NodeId(3);
pub(super) const D: NodeId = NodeId(4);

pub(super) struct Given(Settings, Detector);

impl Given {
    pub(super) fn get(&self) -> Terms<'_> {
        Terms { me: A, settings: &self.0, peers: &self.1 }
    }
}

pub(super) fn terms() -> Given {
    terms_of(Settings::default())
}

pub(super) fn terms_of(settings: Settings) -> Given {
    Given(settings, Detector::default())
}

pub(super) fn client() -> Origin {
    Origin::Client(RequestId(1))
}

pub(super) fn key() -> Key {
    Key::from("k")
}

/// The homes are asked; nobody has answered.
pub(super) fn tally() -> Tally {
    let mut tally = Tally::new(&[A, B, C], &[D]);
    tally.claim(A, A);
    tally.assign(|_| true);
    tally
}

/// One version, written under an actor of its own.
pub(super) fn set(actor: u64) -> Siblings {
    let actor = Actor { identity: Identity(actor), birth: 0 };
    let version = Version { dot: Dot { actor, counter: 1 }, timestamp: 0, value: Some("v".into()) };
    let mut set = DottedSet::default();
    set.write(&VersionVector::default(), version);
    Siblings::Dotted(set)
}
