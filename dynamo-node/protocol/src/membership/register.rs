//! The register for the number after the last epoch: single-decree Paxos, its two roles as plain values.
//!
//! [`Ballots`] is what a voter has promised and voted. It is immutable: each verb returns the next one
//! together with the answer, as [`Unsaved`], which gives neither away until the first is written.
//! [`Proposer`] counts, and says what is to be done [`Next`].

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Identity, NodeId};
use crate::membership::edit::Edit;
use crate::membership::history::{Directory, Membership};
use crate::mutant::{Mutant, mutated};
use crate::view::Epoch;

/// One attempt of one proposer. The identity tells a node from what it was before its directory was wiped:
/// the rounds it had used went with that. Rounds that a directory used are on its disk, as promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// From 1. Higher ballots win, so this comes first.
    pub round: u64,
    /// Whose.
    pub node: NodeId,
    /// Under which identity.
    pub identity: Identity,
}

/// For what a voter has voted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vote {
    /// Under which ballot.
    pub ballot: Ballot,
    /// For which change of the last epoch.
    pub edit: Edit,
}

/// What a directory has promised and voted about one number. Durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballots {
    /// The number.
    pub epoch: Epoch,
    /// Nothing is promised or voted under a lower one any more.
    pub promised: Option<Ballot>,
    /// The last vote.
    pub voted: Option<Vote>,
}

/// What may be said once `ballots` are on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "nothing of it is true before it is saved"]
pub struct Unsaved<A> {
    ballots: Ballots,
    answer: A,
}

/// What nodes say to each other to agree on the next epoch. The link may lose, delay, repeat and reorder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Call {
    /// Promise to take no lower ballot for this number.
    Prepare {
        /// The number.
        epoch: Epoch,
        /// The sender's.
        ballot: Ballot,
    },
    /// Promised.
    Promise {
        /// The number.
        epoch: Epoch,
        /// The asker's.
        ballot: Ballot,
        /// The directory that promised.
        voter: Directory,
        /// Its last vote: whoever goes on must go on with the highest of these.
        voted: Option<Vote>,
    },
    /// Vote for this.
    Accept {
        /// The number.
        epoch: Epoch,
        /// What for, and under which ballot.
        vote: Vote,
    },
    /// Voted.
    Accepted {
        /// The number.
        epoch: Epoch,
        /// The asker's.
        ballot: Ballot,
        /// The directory that voted.
        voter: Directory,
    },
    /// Neither: a higher ballot has the voter's promise.
    Refused {
        /// The number.
        epoch: Epoch,
        /// The asker's.
        ballot: Ballot,
        /// The higher one.
        promised: Ballot,
    },
    /// These are decided, and durable where they come from: for somebody who is behind, or who may be.
    Membership {
        /// Consecutive.
        epochs: Vec<Membership>,
    },
    /// This is the last epoch I know, and you know a later one.
    Behind {
        /// The last known.
        epoch: Epoch,
    },
}

/// A proposer's count for one number. Volatile: a node that starts again begins a new ballot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposer {
    epoch: Epoch,
    ballot: Ballot,
    edit: Edit,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Who has promised, and the highest vote that was told.
    Asking { promised: BTreeSet<NodeId>, highest: Option<Vote> },
    /// Who has voted for it.
    Voting { vote: Vote, accepted: BTreeSet<NodeId> },
    /// It is over for this ballot.
    Outbid { by: Ballot },
}

/// What a proposer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It waits for more answers.
    Wait,
    /// It asks all voters for this vote.
    Ask(Vote),
    /// A majority voted for this.
    Decided(Edit),
    /// It can get nowhere under this ballot: wait a while and begin a higher one.
    Outbid,
}

impl Ballot {
    /// The least of this directory that is above `other`.
    #[must_use]
    pub fn above(other: Option<Self>, node: NodeId, identity: Identity) -> Self {
        // Of a round that cannot be counted up nothing comes but refusals.
        let round = other.map_or(1, |other| other.round.saturating_add(1));
        let identity = if mutated(Mutant::BallotReused) { Identity(0) } else { identity };
        Self { round, node, identity }
    }
}

impl Ballots {
    /// Of a directory that has promised nothing about this number.
    #[must_use]
    pub fn none(epoch: Epoch) -> Self {
        Self { epoch, promised: None, voted: None }
    }

    /// Promises to take no ballot below this one; the answer is the last vote. A promise that was given is
    /// given again.
    ///
    /// # Errors
    /// The higher ballot that was promised.
    pub fn prepare(&self, ballot: Ballot) -> Result<Unsaved<Option<Vote>>, Ballot> {
        self.is_bound(ballot)?;
        Ok(Unsaved { ballots: Self { promised: Some(ballot), ..*self }, answer: self.voted })
    }

    /// Votes.
    ///
    /// # Errors
    /// The higher ballot that was promised.
    pub fn accept(&self, vote: Vote) -> Result<Unsaved<()>, Ballot> {
        self.is_bound(vote.ballot)?;
        if let Some(voted) = self.voted.filter(|_| mutated(Mutant::VotesOnce)) {
            return if voted.edit == vote.edit { Ok(self.voting(vote)) } else { Err(voted.ballot) };
        }
        Ok(self.voting(vote))
    }

    fn voting(&self, vote: Vote) -> Unsaved<()> {
        let (promised, voted) = (Some(vote.ballot), Some(vote));
        Unsaved { ballots: Self { promised, voted, ..*self }, answer: () }
    }

    fn is_bound(&self, ballot: Ballot) -> Result<(), Ballot> {
        match self.promised {
            Some(promised) if promised > ballot => Err(promised),
            _ => Ok(()),
        }
    }
}

impl<A> Unsaved<A> {
    /// Writes it, and gives away what is true then: what the directory has promised and voted from now on,
    /// and the answer.
    ///
    /// # Errors
    /// Those of `write`: nothing was promised or voted.
    pub fn save<E>(self, write: impl FnOnce(&Ballots) -> Result<(), E>) -> Result<(Ballots, A), E> {
        let Self { ballots, answer } = self;
        let votes = ballots.voted.is_some_and(|vote| Some(vote.ballot) == ballots.promised);
        let forgotten = if votes { Mutant::VoteUnsaved } else { Mutant::PromiseUnsaved };
        if !mutated(forgotten) {
            write(&ballots)?;
        }
        Ok((ballots, answer))
    }
}

impl Proposer {
    /// One that asks for promises under `ballot`, which nobody has used before, to have `edit` decided as
    /// number `epoch`.
    #[must_use]
    pub fn new(epoch: Epoch, ballot: Ballot, edit: Edit) -> Self {
        let stage = Stage::Asking { promised: BTreeSet::new(), highest: None };
        Self { epoch, ballot, edit, stage }
    }

    /// The number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The ballot.
    #[must_use]
    pub fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// What it wants. What it asks votes for may be another's.
    #[must_use]
    pub fn edit(&self) -> Edit {
        self.edit
    }

    /// The ballot that it was refused for.
    #[must_use]
    pub fn outbid_by(&self) -> Option<Ballot> {
        match self.stage {
            Stage::Outbid { by } => Some(by),
            Stage::Asking { .. } | Stage::Voting { .. } => None,
        }
    }

    /// `node`, with the directory `voter`, has promised under `ballot`. `last` is the epoch before this one.
    pub fn promised(
        &mut self,
        last: &Membership,
        (node, voter): (NodeId, Directory),
        ballot: Ballot,
        voted: Option<Vote>,
    ) -> Next {
        let Stage::Asking { promised, highest } = &mut self.stage else { return Next::Wait };
        if ballot != self.ballot || !last.is_voter(node, voter) {
            return Next::Wait;
        }
        promised.insert(node);
        // `None` is below every vote, and votes are in the order of their ballots.
        *highest = voted.max(*highest);
        let enough = if mutated(Mutant::VotesOnce) { 1 } else { last.majority() };
        if promised.len() < enough {
            return Next::Wait;
        }
        // What a majority may have voted for, any majority tells of: nothing else may be decided.
        let told = highest.filter(|_| !mutated(Mutant::HighestVoteIgnored));
        let vote = Vote { ballot, edit: told.map_or(self.edit, |vote| vote.edit) };
        self.stage = Stage::Voting { vote, accepted: BTreeSet::new() };
        Next::Ask(vote)
    }

    /// `node`, with the directory `voter`, has voted under `ballot`.
    pub fn accepted(
        &mut self,
        last: &Membership,
        (node, voter): (NodeId, Directory),
        ballot: Ballot,
    ) -> Next {
        let Stage::Voting { vote, accepted } = &mut self.stage else { return Next::Wait };
        if ballot != self.ballot || !last.is_voter(node, voter) {
            return Next::Wait;
        }
        accepted.insert(node);
        if accepted.len() < last.majority() { Next::Wait } else { Next::Decided(vote.edit) }
    }

    /// Somebody has promised a higher ballot than `ballot`.
    pub fn refused(&mut self, ballot: Ballot, promised: Ballot) -> Next {
        let is_over = matches!(self.stage, Stage::Outbid { by } if by >= promised);
        if ballot != self.ballot || promised <= ballot || is_over {
            return Next::Wait;
        }
        self.stage = Stage::Outbid { by: promised };
        Next::Outbid
    }
}

impl Call {
    /// The name of its kind, for logs and counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Prepare { .. } => "prepare",
            Self::Promise { .. } => "promise",
            Self::Accept { .. } => "accept",
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::Membership { .. } => "membership",
            Self::Behind { .. } => "behind",
        }
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.node)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Prepare { epoch, ballot } | Self::Accepted { epoch, ballot, .. } => {
                write!(f, "{name} {epoch}@{ballot}")
            }
            Self::Promise { epoch, ballot, voted, .. } => match voted {
                None => write!(f, "{name} {epoch}@{ballot}"),
                Some(vote) => {
                    write!(f, "{name} {epoch}@{ballot}, voted {} @{}", vote.edit, vote.ballot)
                }
            },
            Self::Accept { epoch, vote } => {
                write!(f, "{name} {epoch}@{}: {}", vote.ballot, vote.edit)
            }
            Self::Refused { epoch, ballot, promised } => {
                write!(f, "{name} {epoch}@{ballot} for {promised}")
            }
            Self::Membership { epochs } => {
                let last = epochs.last().map_or(Epoch(0), Membership::epoch);
                write!(f, "{name} up to epoch {last}")
            }
            Self::Behind { epoch } => write!(f, "{name}: knows epoch {epoch}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Member;

    const NUMBER: Epoch = Epoch(2);
    const MINE: Edit = Edit::Leave { node: NodeId(3) };
    const OTHER: Edit = Edit::Weigh { node: NodeId(1), tokens: 4 };

    fn ballot(round: u64, node: u16) -> Ballot {
        Ballot { round, node: NodeId(node), identity: Identity(u64::from(node)) }
    }

    fn vote(round: u64, node: u16, edit: Edit) -> Vote {
        Vote { ballot: ballot(round, node), edit }
    }

    fn saved<A>(unsaved: Unsaved<A>) -> (Ballots, A) {
        unsaved.save(|_| Ok::<_, ()>(())).unwrap()
    }

    fn voter(node: u16) -> (NodeId, Directory) {
        (NodeId(node), Directory::Founder(NodeId(node)))
    }

    fn members(count: u16) -> Membership {
        let members: Vec<_> = (1..=count).map(|id| Member::new(NodeId(id), 8)).collect();
        Membership::genesis(2, &members).unwrap()
    }

    #[test]
    fn a_promise_binds_against_lower_ballots_alone() {
        let (ballots, voted) = saved(Ballots::none(NUMBER).prepare(ballot(1, 2)).unwrap());
        assert_eq!(voted, None);
        assert_eq!(ballots.prepare(ballot(1, 1)), Err(ballot(1, 2)));
        assert_eq!(ballots.accept(vote(1, 1, MINE)), Err(ballot(1, 2)));
        assert!(ballots.prepare(ballot(1, 2)).is_ok() && ballots.prepare(ballot(2, 1)).is_ok());
        assert!(ballots.accept(vote(1, 2, MINE)).is_ok());
        // A vote without a promise before it binds as well.
        let (ballots, ()) = saved(ballots.accept(vote(3, 1, MINE)).unwrap());
        assert_eq!(ballots.prepare(ballot(2, 2)), Err(ballot(3, 1)));
    }

    #[test]
    fn a_vote_is_told_with_the_next_promise() {
        let (ballots, ()) = saved(Ballots::none(NUMBER).accept(vote(1, 1, MINE)).unwrap());
        let (_, voted) = saved(ballots.prepare(ballot(1, 2)).unwrap());
        assert_eq!(voted, Some(vote(1, 1, MINE)));
    }

    #[test]
    fn nothing_is_answered_that_could_not_be_written() {
        let unsaved = Ballots::none(NUMBER).prepare(ballot(1, 1)).unwrap();
        assert_eq!(unsaved.save(|_| Err("full")), Err("full"));
        let mut written = None;
        let unsaved = Ballots::none(NUMBER).accept(vote(1, 1, MINE)).unwrap();
        let saved = unsaved.save(|ballots| {
            written = Some(*ballots);
            Ok::<_, ()>(())
        });
        assert_eq!(saved.unwrap().0, written.unwrap());
    }

    #[test]
    fn a_majority_promises_then_a_majority_votes() {
        let last = members(5);
        let mut proposer = Proposer::new(NUMBER, ballot(1, 1), MINE);
        let mine = ballot(1, 1);
        assert_eq!(proposer.promised(&last, voter(1), mine, None), Next::Wait);
        assert_eq!(proposer.promised(&last, voter(2), mine, None), Next::Wait);
        assert_eq!(proposer.promised(&last, voter(2), mine, None), Next::Wait, "each counts once");
        let ask = Next::Ask(vote(1, 1, MINE));
        assert_eq!(proposer.promised(&last, voter(3), mine, None), ask);
        assert_eq!(proposer.promised(&last, voter(4), mine, None), Next::Wait, "it has asked");
        assert_eq!(proposer.accepted(&last, voter(1), mine), Next::Wait);
        assert_eq!(proposer.accepted(&last, voter(1), mine), Next::Wait, "each counts once");
        assert_eq!(proposer.accepted(&last, voter(5), mine), Next::Wait);
        assert_eq!(proposer.accepted(&last, voter(4), mine), Next::Decided(MINE));
    }

    #[test]
    fn the_highest_vote_that_is_told_is_gone_on_with() {
        let last = members(5);
        let mine = ballot(4, 1);
        let mut proposer = Proposer::new(NUMBER, mine, MINE);
        proposer.promised(&last, voter(1), mine, None);
        proposer.promised(&last, voter(2), mine, Some(vote(3, 2, OTHER)));
        let next = proposer.promised(&last, voter(3), mine, Some(vote(2, 3, MINE)));
        assert_eq!(next, Next::Ask(vote(4, 1, OTHER)));
        assert_eq!(proposer.edit(), MINE, "it still wants its own");
    }

    #[test]
    fn answers_of_another_ballot_and_of_no_voter_do_not_count() {
        let last = members(3);
        let mine = ballot(2, 1);
        let mut proposer = Proposer::new(NUMBER, mine, MINE);
        proposer.promised(&last, voter(1), mine, None);
        let wiped = (NodeId(2), Directory::Drawn(Identity(9)));
        assert_eq!(proposer.promised(&last, wiped, mine, None), Next::Wait);
        assert_eq!(proposer.promised(&last, voter(4), mine, None), Next::Wait);
        assert_eq!(proposer.promised(&last, voter(2), ballot(1, 1), None), Next::Wait);
        assert_ne!(proposer.promised(&last, voter(3), mine, None), Next::Wait);
    }

    #[test]
    fn whoever_is_refused_is_told_by_what_and_counts_no_more() {
        let last = members(3);
        let mut proposer = Proposer::new(NUMBER, ballot(1, 1), MINE);
        assert_eq!(proposer.refused(ballot(1, 1), ballot(2, 3)), Next::Outbid);
        assert_eq!(proposer.refused(ballot(1, 1), ballot(1, 2)), Next::Wait, "it knows of more");
        assert_eq!(proposer.outbid_by(), Some(ballot(2, 3)));
        for node in 1..=3 {
            assert_eq!(proposer.promised(&last, voter(node), ballot(1, 1), None), Next::Wait);
        }
    }

    /// Four voters, two for each of two edits: no majority, and nobody may take a vote back. Under a higher
    /// ballot all of them vote again.
    #[test]
    fn a_split_vote_ends_with_the_next_ballot() {
        let last = members(4);
        let split = [(1, MINE), (1, MINE), (2, OTHER), (2, OTHER)];
        let mut voters: Vec<_> = split
            .into_iter()
            .map(|(by, edit)| saved(Ballots::none(NUMBER).accept(vote(1, by, edit)).unwrap()).0)
            .collect();
        let mine = ballot(2, 1);
        let mut proposer = Proposer::new(NUMBER, mine, MINE);
        let mut decided = None;
        for (node, ballots) in (1..).zip(&mut voters) {
            let (next, voted) = saved(ballots.prepare(mine).unwrap());
            *ballots = next;
            proposer.promised(&last, voter(node), mine, voted);
        }
        for (node, ballots) in (1..).zip(&mut voters) {
            let Ok(unsaved) = ballots.accept(Vote { ballot: mine, edit: OTHER }) else { continue };
            *ballots = saved(unsaved).0;
            if let Next::Decided(edit) = proposer.accepted(&last, voter(node), mine) {
                decided = Some(edit);
            }
        }
        assert_eq!(decided, Some(OTHER), "the highest vote was n2's");
    }
}
