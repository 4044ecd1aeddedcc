//! What can change while nodes live: who the members are, and so who is home of what.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Key, NodeId};
use crate::mutant::{Mutant, mutated};
use crate::ring::{Member, Ring, Span};
use crate::settings::{Settings, SettingsError};

/// The number of a view: each follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Of the view a cluster begins with.
    pub const GENESIS: Self = Self(1);
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One membership, and the ring it makes. It never changes: another one takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    epoch: Epoch,
    members: Vec<Member>,
    ring: Ring,
    /// N of the settings it was made for.
    homes: usize,
}

/// A membership that makes no view.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ViewError {
    /// Of a cluster that cannot run.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Fewer members than a key has homes.
    #[error("n = {n}: from 1 to {members}, the number of nodes")]
    TooFew {
        /// N.
        n: usize,
        /// How many members there are.
        members: usize,
    },
    /// A member twice.
    #[error("member {0} is listed twice")]
    Twice(NodeId),
    /// A member whose share is out of bounds.
    #[error("member {} has {} tokens: from 1 to {}", .0.id, .0.tokens, Member::MOST_TOKENS)]
    Tokens(Member),
    /// A node that is to run in a view that does not know it.
    #[error("node {0} is not among the members")]
    NotAMember(NodeId),
}

impl View {
    /// The view that a cluster of `members` begins with.
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn genesis(settings: &Settings, members: Vec<Member>) -> Result<Self, ViewError> {
        Self::new(Epoch::GENESIS, settings, members)
    }

    /// The view of `epoch`, in a cluster with `settings`.
    ///
    /// # Errors
    /// If the settings will not do, or the members are no set of N or more that all own something.
    pub fn new(
        epoch: Epoch,
        settings: &Settings,
        mut members: Vec<Member>,
    ) -> Result<Self, ViewError> {
        settings.check()?;
        members.sort_unstable();
        if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(ViewError::Twice(pair[0].id));
        }
        let tokens = 1..=Member::MOST_TOKENS;
        if let Some(member) = members.iter().find(|member| !tokens.contains(&member.tokens)) {
            return Err(ViewError::Tokens(*member));
        }
        if settings.n > members.len() {
            return Err(ViewError::TooFew { n: settings.n, members: members.len() });
        }
        let ring = Ring::new(&members, settings.partitioning, settings.n);
        let view = Self { epoch, members, ring, homes: settings.n };
        view.assert_covered(settings);
        Ok(view)
    }

    /// What coordination relies on, and no check of what an operator said can promise.
    fn assert_covered(&self, Settings { n, r, w, .. }: &Settings) {
        assert!(r <= n && w <= n, "R = {r} and W = {w} slots are among the N = {n} of a key");
        assert!(*n <= self.members.len(), "N = {n} homes are distinct members");
        for list in self.ring.lists() {
            let mut hosts = list.to_vec();
            hosts.sort_unstable();
            let all = self.members.iter().map(|member| member.id);
            // The seeded bug is to be found by what it does.
            assert!(
                hosts.into_iter().eq(all) || mutated(Mutant::HostTwice),
                "every preference list names every member once"
            );
        }
    }

    /// Its number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The members, in the order of their ids.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Their ids, in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = NodeId> + Clone + '_ {
        self.members.iter().map(|member| member.id)
    }

    /// Whether `node` is a member.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.members.iter().any(|member| member.id == node)
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
        self.ring.preference_list(key).split_at(self.homes)
    }

    /// The stretches of `within` of whose keys both nodes are homes, in ring order.
    #[must_use]
    pub fn shared(&self, one: NodeId, other: NodeId, within: Span) -> Vec<Span> {
        let mut shared: Vec<Span> = Vec::new();
        for (span, list) in self.ring.ranges(within) {
            let homes = &list[..self.homes];
            if !homes.contains(&one) || !homes.contains(&other) {
                continue;
            }
            match shared.last_mut().and_then(|last| last.joined(&span).map(|joined| (last, joined)))
            {
                Some((last, joined)) => *last = joined,
                None => shared.push(span),
            }
        }
        shared
    }

    /// N: how many homes each key has.
    #[must_use]
    pub fn homes_of_a_key(&self) -> usize {
        self.homes
    }

    /// The key's homes, in the order of their slots.
    #[must_use]
    pub fn homes(&self, key: &Key) -> &[NodeId] {
        self.preference_list(key).0
    }
}

impl Hash for View {
    /// The ring is made of these and nothing else; N and how the ring is cut belong to the
    /// settings, which never change.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { epoch, members, ring: _, homes: _ } = self;
        (epoch, members).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(shares: &[(u16, u16)]) -> Vec<Member> {
        shares.iter().map(|(id, tokens)| Member::new(NodeId(*id), *tokens)).collect()
    }

    fn check(shares: &[(u16, u16)], expected: &str) {
        let error = View::genesis(&Settings::new([2, 1, 1]), members(shares)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_membership_that_makes_no_view_is_refused_with_its_bound() {
        check(&[(1, 8)], "n = 2: from 1 to 1, the number of nodes");
        check(&[(1, 8), (2, 8), (1, 4)], "member n1 is listed twice");
        check(&[(1, 8), (2, 0)], "member n2 has 0 tokens: from 1 to 1024");
        check(&[(1, 8), (2, 1025)], "member n2 has 1025 tokens: from 1 to 1024");
        let error = View::genesis(&Settings::new([2, 3, 1]), members(&[(1, 8), (2, 8)]));
        assert_eq!(error.unwrap_err().to_string(), "r = 3: from 1 to 2, which is n");
    }

    #[test]
    fn two_nodes_share_the_keys_of_which_both_are_homes() {
        let settings = Settings::new([2, 1, 1]);
        let view = View::genesis(&settings, members(&[(1, 8), (2, 8), (3, 8)])).unwrap();
        let (one, other) = (NodeId(1), NodeId(3));
        let part = Span::RING.parts()[4];
        for within in [Span::RING, part] {
            let shared = view.shared(one, other, within);
            assert!(shared.windows(2).all(|pair| pair[0].last().0 + 1 < pair[1].first().0));
            for index in 0..300 {
                let key = Key::from(format!("{index}").as_str());
                let token = crate::Token::of_key(&key);
                let homes = view.homes(&key);
                let both = homes.contains(&one) && homes.contains(&other) && within.contains(token);
                assert_eq!(shared.iter().any(|span| span.contains(token)), both);
            }
        }
        let all = View::genesis(&Settings::new([3, 1, 1]), members(&[(1, 8), (2, 8), (3, 8)]));
        assert_eq!(all.unwrap().shared(one, other, part), [part]);
    }

    #[test]
    fn the_order_in_which_members_are_told_makes_no_difference() {
        let settings = Settings::new([2, 1, 1]);
        let one = View::genesis(&settings, members(&[(1, 8), (2, 4), (3, 2)])).unwrap();
        let other = View::genesis(&settings, members(&[(3, 2), (1, 8), (2, 4)])).unwrap();
        assert_eq!(one, other);
    }
}
