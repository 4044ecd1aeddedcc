//! How a node sees the ring, and how far it is with its part in a change of it.

use std::collections::BTreeMap;

use dynamo_protocol::membership::{Directory, Edit, Membership};
use dynamo_protocol::{Epoch, NodeId, Settings, Span, Store, StoreError, View};

/// What a node says of the membership when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingReport {
    /// Who says it.
    pub id: NodeId,
    /// The cluster's name.
    pub cluster: String,
    /// What all members agree on.
    pub settings: Settings,
    /// All memberships that it knows, from the genesis on; never empty.
    pub epochs: Vec<Membership>,
    /// Its directory, as memberships name it.
    pub directory: Directory,
    /// Its answers to gets do not count, wherever it is a home.
    pub amnesiac: bool,
    /// Every other member has told what it remembers of the directory: until then it proposes nothing and has
    /// no vote.
    pub proven: bool,
    /// Of how many ranges of the ring it is a home.
    pub ranges: u64,
    /// In how many of them it does not count yet.
    pub filling: u64,
    /// From whom it is still to be filled there.
    pub sources: Vec<NodeId>,
    /// How many keys it holds of which it is no home; none if its storage cannot tell.
    pub strays: Option<u64>,
    /// It has not found yet that there is none.
    pub expects_strays: bool,
    /// How many hints it holds.
    pub hints: u64,
    /// Requests and deliveries under way.
    pub open_operations: u64,
    /// The peers it suspects.
    pub suspected: Vec<NodeId>,
    /// What it is proposing.
    pub proposes: Option<Edit>,
    /// Where members say that they are reached.
    pub addresses: BTreeMap<NodeId, String>,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposed {
    /// It is this epoch.
    Decided(Epoch),
    /// It will not be, or not because of this proposal: why, and what to do.
    Refused(String),
    /// Not decided in time. It is proposed on.
    Undecided,
}

impl RingReport {
    /// Why it does not count, in `epoch`, wherever it is a home.
    #[must_use]
    pub fn keeps_from_counting(&self, epoch: Epoch) -> Option<String> {
        if self.latest().epoch() < epoch {
            Some(format!("has not learned of epoch {epoch}"))
        } else if self.amnesiac {
            Some("lost its directory: it has to be refilled, or replaced".to_owned())
        } else if self.filling > 0 {
            Some(format!(
                "is being filled: {} of its {} ranges are left",
                self.filling, self.ranges
            ))
        } else {
            None
        }
    }

    /// The last membership that it knows.
    #[must_use]
    pub fn latest(&self) -> &Membership {
        self.epochs.last().unwrap_or_else(|| unreachable!("a report without a membership is none"))
    }

    /// Whether nothing is left at this node that others may lack.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let nothing = self.strays == Some(0) && self.hints == 0 && self.open_operations == 0;
        nothing && !self.expects_strays
    }
}

/// Of how many ranges of the ring `node` is a home, and in how many of them there is something of `filling`.
pub(crate) fn ranges(view: &View, node: NodeId, filling: &[Span]) -> [u64; 2] {
    let [mut all, mut open] = [0, 0];
    for (span, list) in view.ring().ranges(Span::RING) {
        if list[..view.homes_of_a_key()].contains(&node) {
            all += 1;
            open += u64::from(filling.iter().any(|filling| filling.and(&span).is_some()));
        }
    }
    [all, open]
}

/// How many keys `store` holds of which `node` is no home.
pub(crate) fn strays(store: &impl Store, view: &View, node: NodeId) -> Result<u64, StoreError> {
    let mut strays = store.fingerprint(Span::RING)?.keys;
    for span in view.shared(node, node, Span::RING) {
        strays = strays.saturating_sub(store.fingerprint(span)?.keys);
    }
    Ok(strays)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dynamo_protocol::{
        Actor, Change, Dot, DottedSet, Identity, Key, Member, MemoryStore, Meta, Place, Record,
        Siblings, Token, Version, VersionVector,
    };

    use super::*;

    #[test]
    fn strays_and_ranges_are_those_of_the_preference_lists() {
        let settings = Settings::new([2, 1, 1]);
        let members = (1..=4).map(|id| Member::new(NodeId(id), 8)).collect();
        let view = View::genesis(&settings, members).unwrap();
        let node = NodeId(3);
        let mut store = MemoryStore::new(Meta::genesis(Identity(1)));
        let (mut expected, mut ranges_hit) = (0, BTreeSet::new());
        for n in 0..2000_u64 {
            let key = Key::from(format!("{n}").as_str());
            let dot = Dot { actor: Actor { identity: Identity(1), birth: n }, counter: 1 };
            let mut set = DottedSet::default();
            set.write(&VersionVector::default(), Version { dot, timestamp: 0, value: None });
            let set = Siblings::Dotted(set);
            let record = Record { set, minter: None, amnesiac: false };
            if view.homes(&key).contains(&node) {
                let token = Token::of_key(&key);
                let mut ranges = view.ring().ranges(Span::RING);
                ranges_hit.insert(ranges.position(|(span, _)| span.contains(token)));
            } else {
                expected += 1;
            }
            store.apply(vec![Change::Put(Place::home(key), record)]).unwrap();
        }
        assert_eq!(strays(&store, &view, node), Ok(expected));
        // Small ranges may have none of the keys.
        let [ranges, open] = ranges(&view, node, &[]);
        assert_eq!(open, 0);
        assert!(ranges_hit.len() as u64 <= ranges && ranges <= 33, "{ranges}");
        assert!(ranges_hit.len() as u64 + 4 >= ranges, "{ranges}, {}", ranges_hit.len());
        assert_eq!(super::ranges(&view, node, &[Span::RING]), [ranges; 2]);
    }
}
