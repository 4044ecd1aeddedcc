//! Memberships, one an epoch, and the history of all of them.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Identity, NodeId};
use crate::membership::edit::Edit;
use crate::mutant::{Mutant, mutated};
use crate::ring::{Member, Zone};
use crate::view::Epoch;

/// A data directory, as memberships name it.
///
/// At genesis nobody knows the identities of all directories: each node draws its own. So the first epoch
/// names the directories by what made them. That names one directory a node, since the explicit genesis
/// makes one and refuses a directory that was made before; and nothing that comes later can claim the name:
/// a directory that was wiped, put back or made anew is `Drawn`, and what made a directory is on its disk
/// from the beginning. An operator who starts a genesis once more on an emptied disk lies to the cluster, and
/// does so already where such a directory answers gets as if nothing had been written before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Directory {
    /// The one that the genesis of the cluster made for this node.
    Founder(NodeId),
    /// One that was made later, by the identity that was drawn with it.
    Drawn(Identity),
}

/// Whether a member has a share of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// It has, and it votes on the next epoch.
    In,
    /// It has none any more, and still hands on what it holds.
    Leaving,
}

/// A member's place in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seat {
    /// The node.
    pub node: NodeId,
    /// The one directory that counts as this node.
    pub directory: Directory,
    /// Its virtual nodes while it is [`Standing::In`].
    pub tokens: u16,
    /// In or leaving.
    pub standing: Standing,
    /// Where it stands, if it said so at genesis or when it joined.
    pub zone: Option<Zone>,
}

/// The membership of one epoch. It never changes: an [`Edit`] of it makes the next one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Membership {
    epoch: Epoch,
    /// By node.
    seats: Vec<Seat>,
    /// Directories that were removed, in order. They never come back.
    gone: Vec<Directory>,
}

/// All memberships from genesis on, consecutive: none is lost, and it only grows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct History {
    /// N: fewer members than that are never in.
    homes: usize,
    /// The first is the genesis; never empty.
    epochs: Vec<Membership>,
}

/// Memberships that are no history, or not the history of this cluster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HistoryError {
    /// It does not begin with the genesis.
    #[error("a history begins with epoch 1, the genesis, and this one with {0}: ask for all of it")]
    Beginning(String),
    /// A node has two seats.
    #[error("epoch 1: member {0} is listed twice")]
    Twice(NodeId),
    /// A share out of bounds.
    #[error("epoch 1: member {node} has {tokens} tokens: from 1 to {}", Member::MOST_TOKENS)]
    Tokens {
        /// Whose.
        node: NodeId,
        /// How many.
        tokens: u16,
    },
    /// Fewer members than a key has homes.
    #[error("epoch 1: n = {homes}: from 1 to {members}, the number of members")]
    TooFew {
        /// N.
        homes: usize,
        /// How many there are.
        members: usize,
    },
    /// Epochs between are missing.
    #[error("epoch {told} does not follow epoch {have}: ask for the epochs between")]
    Gap {
        /// The last one that is known.
        have: Epoch,
        /// The one that was told.
        told: Epoch,
    },
    /// Another membership of an epoch that is known.
    #[error("there are two memberships of epoch {0}: these are two clusters, part them")]
    Fork(Epoch),
    /// Promises and votes about a number that does not follow the last epoch.
    #[error(
        "votes on epoch {voted} after epoch {have}: the directory lost some, and counts as wiped"
    )]
    Lost {
        /// The last one that is known.
        have: Epoch,
        /// The number.
        voted: Epoch,
    },
    /// No edit leads to it.
    #[error("epoch {0} is no single edit of the one before: whoever told it is broken")]
    NotOneEdit(Epoch),
}

impl Seat {
    /// Its share of the ring.
    #[must_use]
    pub fn member(&self) -> Member {
        Member::new(self.node, self.tokens).in_zone(self.zone)
    }
}

impl Membership {
    /// The first epoch of a cluster: every member has the directory that the genesis makes for it.
    ///
    /// # Errors
    /// If the members are no set of `homes` (N) or more that all own something.
    pub fn genesis(homes: usize, members: &[Member]) -> Result<Self, HistoryError> {
        let seat = |member: &Member| Seat {
            node: member.id,
            directory: Directory::Founder(member.id),
            tokens: member.tokens,
            standing: Standing::In,
            zone: member.zone,
        };
        let mut seats: Vec<_> = members.iter().map(seat).collect();
        seats.sort_unstable();
        let genesis = Self { epoch: Epoch::GENESIS, seats, gone: Vec::new() };
        genesis.check_genesis(homes)?;
        Ok(genesis)
    }

    /// As a peer or an operator's tool tells it; none if a node has two seats, or they are out of order.
    /// Whether there can be such an epoch only a [`History`] knows.
    #[must_use]
    pub fn from_parts(epoch: Epoch, seats: Vec<Seat>, gone: Vec<Directory>) -> Option<Self> {
        let sorted = seats.is_sorted_by(|one, other| one.node < other.node);
        sorted.then_some(Self { epoch, seats, gone })
    }

    pub(super) fn new(epoch: Epoch, seats: Vec<Seat>, gone: Vec<Directory>) -> Self {
        assert!(seats.is_sorted_by(|one, other| one.node < other.node), "a node has one seat");
        Self { epoch, seats, gone }
    }

    fn check_genesis(&self, homes: usize) -> Result<(), HistoryError> {
        if self.epoch != Epoch::GENESIS || !self.gone.is_empty() {
            return Err(HistoryError::Beginning(format!("epoch {}", self.epoch)));
        }
        if let Some(pair) = self.seats.windows(2).find(|pair| pair[0].node >= pair[1].node) {
            return Err(HistoryError::Twice(pair[1].node));
        }
        for Seat { node, directory, tokens, standing, zone: _ } in &self.seats {
            if *directory != Directory::Founder(*node) || *standing != Standing::In {
                return Err(HistoryError::Beginning(format!("{directory} as {node}")));
            }
            if !(1..=Member::MOST_TOKENS).contains(tokens) {
                return Err(HistoryError::Tokens { node: *node, tokens: *tokens });
            }
        }
        let members = self.seats.len();
        if homes == 0 || members < homes {
            return Err(HistoryError::TooFew { homes, members });
        }
        Ok(())
    }

    /// Its number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The members, by node.
    #[must_use]
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// The directories that were removed so far, in order.
    #[must_use]
    pub fn gone(&self) -> &[Directory] {
        &self.gone
    }

    /// The seat of `node`.
    #[must_use]
    pub fn seat(&self, node: NodeId) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.node == node)
    }

    /// Those with a share of the ring, by node. They are the voters on the next epoch.
    pub fn ring_members(&self) -> impl Iterator<Item = &Seat> + Clone {
        self.seats.iter().filter(|seat| seat.standing == Standing::In)
    }

    /// Whether a vote of this directory, at this node, counts for the next epoch. What was wiped forgot its
    /// votes: it has none until an epoch names its new directory.
    #[must_use]
    pub fn is_voter(&self, node: NodeId, directory: Directory) -> bool {
        self.ring_members().any(|seat| {
            let is_named = seat.directory == directory || mutated(Mutant::WipedVotes);
            seat.node == node && is_named
        })
    }

    /// How many votes decide on the next epoch.
    #[must_use]
    pub fn majority(&self) -> usize {
        let voters = self.ring_members().count();
        voters / 2 + 1 - usize::from(mutated(Mutant::MajorityLessOne))
    }
}

impl History {
    /// The history of a cluster that begins with `genesis`, in which a key has `homes` (N).
    ///
    /// # Errors
    /// As [`History::new`].
    pub fn genesis(homes: usize, genesis: Membership) -> Result<Self, HistoryError> {
        Self::new(homes, vec![genesis])
    }

    /// The history that `epochs` are, as a disk or a peer tells it.
    ///
    /// # Errors
    /// If it does not begin with a genesis, or an epoch is not one edit away from the one before.
    pub fn new(homes: usize, mut epochs: Vec<Membership>) -> Result<Self, HistoryError> {
        if epochs.is_empty() {
            return Err(HistoryError::Beginning("nothing".to_owned()));
        }
        let later = epochs.split_off(1);
        epochs[0].check_genesis(homes)?;
        let mut history = Self { homes, epochs };
        let news = history.news(&later)?;
        history.append(news);
        Ok(history)
    }

    /// N: how many homes a key has.
    #[must_use]
    pub fn homes(&self) -> usize {
        self.homes
    }

    /// The membership of the highest epoch that is known to be decided.
    #[must_use]
    pub fn latest(&self) -> &Membership {
        self.epochs.last().unwrap_or_else(|| unreachable!("a history begins with the genesis"))
    }

    /// The number that is decided on next.
    #[must_use]
    pub fn next(&self) -> Epoch {
        Epoch(self.latest().epoch.0 + 1)
    }

    /// All of it, from genesis on.
    #[must_use]
    pub fn epochs(&self) -> &[Membership] {
        &self.epochs
    }

    /// The membership of `epoch`, if that is known.
    #[must_use]
    pub fn at(&self, epoch: Epoch) -> Option<&Membership> {
        let place = epoch.0.checked_sub(Epoch::GENESIS.0)?;
        self.epochs.get(usize::try_from(place).ok()?)
    }

    /// The epochs after `epoch`: what somebody lacks who knows that one.
    #[must_use]
    pub fn after(&self, epoch: Epoch) -> &[Membership] {
        let known = (epoch.0 + 1).saturating_sub(Epoch::GENESIS.0);
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(self.epochs.len());
        &self.epochs[known..]
    }

    /// Those of the `told` epochs that are not known yet, checked one by one against what is.
    ///
    /// # Errors
    /// If they leave a gap, differ from what is known, or are no edits of each other.
    pub fn news(&self, told: &[Membership]) -> Result<Vec<Membership>, HistoryError> {
        let mut news: Vec<Membership> = Vec::new();
        for membership in told {
            let epoch = membership.epoch;
            if let Some(known) = self.at(epoch) {
                if known != membership {
                    return Err(HistoryError::Fork(epoch));
                }
                continue;
            }
            let before = news.last().unwrap_or_else(|| self.latest());
            if epoch.0 != before.epoch.0 + 1 {
                return Err(HistoryError::Gap { have: before.epoch, told: epoch });
            }
            if Edit::between(before, membership, self.homes).is_none() {
                return Err(HistoryError::NotOneEdit(epoch));
            }
            news.push(membership.clone());
        }
        Ok(news)
    }

    /// Goes on with `news`, which are durable by now.
    ///
    /// # Panics
    /// If they do not follow: [`History::news`] has looked at what comes from outside.
    pub(crate) fn append(&mut self, news: Vec<Membership>) {
        for membership in news {
            assert_eq!(membership.epoch, self.next(), "epoch_never_falls, and none is left out");
            let edit = Edit::between(self.latest(), &membership, self.homes);
            assert!(edit.is_some(), "one_edit between epoch {} and the last", membership.epoch);
            let members = membership.ring_members().count();
            assert!(members >= self.homes, "{members} members in are at least N = {}", self.homes);
            self.epochs.push(membership);
        }
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Founder(node) => write!(f, "the genesis directory of {node}"),
            Self::Drawn(identity) => write!(f, "directory {identity}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(shares: &[(u16, u16)]) -> Vec<Member> {
        shares.iter().map(|(id, tokens)| Member::new(NodeId(*id), *tokens)).collect()
    }

    fn history() -> History {
        let genesis = Membership::genesis(2, &members(&[(1, 8), (2, 8), (3, 8)])).unwrap();
        let mut history = History::genesis(2, genesis).unwrap();
        for edit in [
            Edit::Weigh { node: NodeId(1), tokens: 4 },
            Edit::Leave { node: NodeId(3) },
            Edit::Cancel { node: NodeId(3) },
        ] {
            let next = history.latest().edited(&edit, 2).unwrap();
            history.append(vec![next]);
        }
        history
    }

    fn refused(homes: usize, shares: &[(u16, u16)], expected: &str) {
        let error = Membership::genesis(homes, &members(shares)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_genesis_that_is_none_is_refused_with_its_bound() {
        refused(2, &[(1, 8)], "epoch 1: n = 2: from 1 to 1, the number of members");
        refused(1, &[(1, 8), (1, 4)], "epoch 1: member n1 is listed twice");
        refused(1, &[(1, 0)], "epoch 1: member n1 has 0 tokens: from 1 to 1024");
    }

    #[test]
    fn a_history_is_read_as_it_was_written() {
        let history = history();
        assert_eq!(History::new(2, history.epochs().to_vec()), Ok(history.clone()));
        assert_eq!(history.latest().epoch(), Epoch(4));
        assert_eq!(history.at(Epoch(4)), Some(history.latest()));
        assert_eq!((history.at(Epoch(0)), history.at(Epoch(5))), (None, None));
    }

    #[test]
    fn somebody_who_is_behind_is_told_what_is_missing_and_nothing_else() {
        let history = history();
        let told = history.after(Epoch(2));
        assert_eq!(told.iter().map(|it| it.epoch().0).collect::<Vec<_>>(), [3, 4]);
        assert!(history.after(Epoch(4)).is_empty() && history.after(Epoch(9)).is_empty());
        let behind = History::new(2, history.epochs()[..2].to_vec()).unwrap();
        assert_eq!(behind.news(told), Ok(told.to_vec()));
        assert_eq!(history.news(told), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_history_of_this_cluster_is_refused() {
        let history = history();
        let epochs = history.epochs();
        let error = |told: &[Membership]| history.news(told).unwrap_err().to_string();
        let mut other = epochs[1].clone();
        other.seats[0].tokens = 5;
        let fork = "there are two memberships of epoch 2: these are two clusters, part them";
        assert_eq!(error(&[other]), fork);
        let mut far = epochs[3].clone();
        far.epoch = Epoch(6);
        assert_eq!(error(&[far]), "epoch 6 does not follow epoch 4: ask for the epochs between");
        let mut two = epochs[3].clone();
        two.epoch = Epoch(5);
        (two.seats[0].tokens, two.seats[1].tokens) = (1, 1);
        let broken = "epoch 5 is no single edit of the one before: whoever told it is broken";
        assert_eq!(error(&[two]), broken);
        assert!(History::new(2, epochs[1..].to_vec()).is_err());
        assert!(History::new(2, Vec::new()).is_err());
        assert!(History::new(4, epochs.to_vec()).is_err(), "fewer members than homes");
    }

    #[test]
    #[should_panic(expected = "epoch_never_falls")]
    fn a_history_does_not_go_back() {
        let mut history = history();
        let old = history.epochs()[2].clone();
        history.append(vec![old]);
    }

    #[test]
    fn a_directory_that_no_epoch_names_has_no_vote() {
        let history = history();
        let genesis = &history.epochs()[0];
        let founder = Directory::Founder(NodeId(1));
        assert!(genesis.is_voter(NodeId(1), founder));
        assert!(!genesis.is_voter(NodeId(2), founder), "a directory votes as its own node");
        assert!(!genesis.is_voter(NodeId(1), Directory::Drawn(Identity(7))));
        let leaving = &history.epochs()[2];
        assert!(!leaving.is_voter(NodeId(3), Directory::Founder(NodeId(3))), "it leaves");
        assert_eq!((genesis.majority(), leaving.majority()), (2, 2));
    }
}
