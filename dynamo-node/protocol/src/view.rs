//! What can change while nodes live: who the members are, and so who is home of what.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Key, NodeId};
use crate::membership::{Directory, History, HistoryError, Membership, Seat};
use crate::mutant::{Mutant, mutated};
use crate::ring::{Member, Ring, Span, Spans, Token};
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

/// The last membership of a history, and the ring it makes. It never changes: another one takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    history: Arc<History>,
    members: Vec<Member>,
    ring: Ring,
    /// All of the ring, in order.
    tenures: Vec<Tenure>,
    /// N of the settings it was made for.
    homes: usize,
}

/// Since when the keys of a stretch have had the homes that they have.
///
/// Epochs that leave the homes of a key as they are mean nothing to it. But it is not enough that two epochs
/// have the same homes for it: what was acknowledged between may be elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenure {
    /// It ends here, and begins behind the one before.
    last: Token,
    /// The epoch that gave it these homes, or one of them another directory.
    pub(crate) since: Epoch,
    /// Its homes in the epoch before that, by node. None at genesis: nothing was written before it.
    pub(crate) before: Vec<NodeId>,
}

/// Between which two nodes something is compared: what each is to the keys that are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Between {
    /// Keys of which both are homes.
    Homes,
    /// Keys of which the asker is no home any more, and who answers is.
    StrayAndHome,
    /// Keys of which the asker is a home, and who answers is none any more.
    HomeAndStray,
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
    /// Epochs that are no history.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl View {
    /// The view that a cluster of `members` begins with.
    ///
    /// # Errors
    /// If the settings will not do, or the members are no set of N or more that all own something.
    pub fn genesis(settings: &Settings, mut members: Vec<Member>) -> Result<Self, ViewError> {
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
        let genesis = Membership::genesis(settings.n, &members)?;
        let history = Arc::new(History::genesis(settings.n, genesis)?);
        let ring = Ring::new(&members, settings.partitioning, settings.n);
        let (since, before) = (Epoch::GENESIS, Vec::new());
        let tenures = vec![Tenure { last: Span::RING.last(), since, before }];
        let view = Self { history, members, ring, tenures, homes: settings.n };
        view.assert_covered(settings);
        Ok(view)
    }

    /// The view of the last of `epochs`, which are all from the genesis on, in a cluster with `settings`.
    ///
    /// # Errors
    /// If the settings will not do, or the epochs are no history.
    pub fn of(settings: &Settings, epochs: Vec<Membership>) -> Result<Self, ViewError> {
        settings.check()?;
        let all = History::new(settings.n, epochs)?;
        let members = all.epochs()[0].ring_members().map(Seat::member).collect();
        let mut view = Self::genesis(settings, members)?;
        for membership in &all.epochs()[1..] {
            view = view.followed_by(settings, membership);
        }
        Ok(view)
    }

    /// The view of `next`, the epoch after this one.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn followed_by(&self, settings: &Settings, next: &Membership) -> Self {
        let mut history = History::clone(&self.history);
        history.append(vec![next.clone()]);
        let members: Vec<_> = next.ring_members().map(Seat::member).collect();
        let ring = Ring::new(&members, settings.partitioning, settings.n);
        let tenures = self.tenures_after(&ring, next);
        let view = Self { history: Arc::new(history), members, ring, tenures, homes: self.homes };
        view.assert_covered(settings);
        view
    }

    /// Goes over both rings at once.
    fn tenures_after(&self, ring: &Ring, next: &Membership) -> Vec<Tenure> {
        let sorted = |list: &[NodeId]| {
            let mut homes = list[..self.homes].to_vec();
            homes.sort_unstable();
            homes
        };
        // A home with another directory is another home.
        let membership = self.history.latest();
        let is_renewed =
            |seat: &&Seat| next.seat(seat.node).is_some_and(|new| new.directory != seat.directory);
        let renewed: BTreeSet<_> =
            membership.seats().iter().filter(is_renewed).map(|seat| seat.node).collect();
        let mut tenures: Vec<Tenure> = Vec::new();
        for (span, list) in ring.ranges(Span::RING) {
            let homes = sorted(list);
            for (part, before) in self.ring.ranges(span) {
                let before = sorted(before);
                let stays = before == homes && homes.iter().all(|home| !renewed.contains(home));
                for (part, tenure) in self.tenures(part) {
                    let mut tenure = Tenure { last: part.last(), ..tenure.clone() };
                    if !stays {
                        (tenure.since, tenure.before) = (next.epoch(), before.clone());
                    }
                    match tenures.last_mut() {
                        Some(one) if (one.since, &one.before) == (tenure.since, &tenure.before) => {
                            one.last = tenure.last;
                        }
                        _ => tenures.push(tenure),
                    }
                }
            }
        }
        let ends = tenures.last().map(|tenure| tenure.last);
        assert_eq!(ends, Some(Span::RING.last()), "every key has had its homes since some epoch");
        tenures
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
        self.history.latest().epoch()
    }

    /// The memberships up to this one.
    #[must_use]
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// The members with a share of the ring, in the order of their ids.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Their ids, in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = NodeId> + Clone + '_ {
        self.members.iter().map(|member| member.id)
    }

    /// Whether `node` is a member, with a share of the ring or leaving.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.history.latest().seat(node).is_some()
    }

    /// Whether `directory` is that of the member `node`.
    pub(crate) fn has_directory(&self, node: NodeId, directory: Directory) -> bool {
        let seat = self.history.latest().seat(node);
        seat.is_some_and(|seat| seat.directory == directory)
    }

    /// All members, in the order of their ids: those with a share of the ring, and those that are leaving.
    pub fn everybody(&self) -> impl Iterator<Item = NodeId> + Clone + '_ {
        self.history.latest().seats().iter().map(|seat| seat.node)
    }

    /// All that ever were members, in the order of their ids.
    #[must_use]
    pub fn ever(&self) -> BTreeSet<NodeId> {
        let seats = self.history.epochs().iter().flat_map(Membership::seats);
        seats.map(|seat| seat.node).collect()
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
        self.between(Between::Homes, (one, other), within).iter().collect()
    }

    /// The stretches of `within` that are meant between `asker` and `other`, in ring order.
    pub(crate) fn between(
        &self,
        between: Between,
        (asker, other): (NodeId, NodeId),
        within: Span,
    ) -> Spans {
        let (home, its) = match between {
            Between::Homes => (true, true),
            Between::StrayAndHome => (false, true),
            Between::HomeAndStray => (true, false),
        };
        self.spans(within, |homes| homes.contains(&asker) == home && homes.contains(&other) == its)
    }

    /// The stretches of `within` of which `node` is no home, in ring order.
    pub(crate) fn foreign(&self, node: NodeId, within: Span) -> Spans {
        self.spans(within, |homes| !homes.contains(&node))
    }

    fn spans(&self, within: Span, is_meant: impl Fn(&[NodeId]) -> bool) -> Spans {
        let ranges = self.ring.ranges(within).filter(|(_, list)| is_meant(&list[..self.homes]));
        Spans::of(ranges.map(|(span, _)| span))
    }

    /// The stretches of `within` with one tenure each, in ring order.
    pub(crate) fn tenures(&self, within: Span) -> impl Iterator<Item = (Span, &Tenure)> {
        let from = self.tenures.partition_point(|tenure| tenure.last < within.first());
        let mut first = within.first();
        self.tenures[from..].iter().map_while(move |tenure| {
            let span = Span::new(first, tenure.last.min(within.last()))?;
            first = Token(tenure.last.0.saturating_add(1));
            Some((span, tenure))
        })
    }

    /// Since when the keys at `token` have had their homes.
    pub(crate) fn tenure(&self, token: Token) -> &Tenure {
        &self.tenures[self.tenures.partition_point(|tenure| tenure.last < token)]
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
    /// The rest is made of the history, and no cluster has two of one length.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.history.latest().hash(state);
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
                let token = Token::of_key(&key);
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
