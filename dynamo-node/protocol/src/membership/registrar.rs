//! A node's part in the membership: what it knows, what it has promised and voted, what it proposes.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Identity, NodeId};
use crate::membership::edit::{Edit, EditError};
use crate::membership::history::{Directory, History, HistoryError, Membership};
use crate::membership::register::{Ballot, Ballots, Call, Next, Proposer, Unsaved, Vote};
use crate::mutant::{Mutant, mutated};
use crate::view::Epoch;

/// A node's part. All but the proposal is on its disk: every verb that changes that hands what is new to
/// `write` first, and says nothing if that fails.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Registrar {
    node: NodeId,
    identity: Identity,
    directory: Directory,
    /// It is not known whether the directory was rolled back (docs/protocol.md, rule 11).
    in_doubt: bool,
    history: Arc<History>,
    ballots: Ballots,
    proposal: Option<Proposal>,
}

/// What is being proposed. Volatile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Proposal {
    proposer: Proposer,
    expect: Option<Epoch>,
}

/// What has to be on disk, in one atomic piece, before anything that comes with it is said.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Durable {
    /// Epochs after those that are there.
    pub epochs: Vec<Membership>,
    /// In place of those that are there.
    pub ballots: Ballots,
}

/// What is to be sent and told, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// To other nodes. Never to oneself.
    pub calls: Vec<(NodeId, Call)>,
    /// To the host.
    pub notices: Vec<Notice>,
}

/// What a host is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Epochs up to this one are known, decided and durable.
    Learned(Epoch),
    /// What became of the proposal. There is none any more.
    Ended {
        /// What was proposed.
        edit: Edit,
        /// What came of it.
        outcome: Outcome,
    },
    /// The proposal gets nowhere under its ballot: [`Registrar::again`] begins another one. How long to wait
    /// until then is the host's; proposers that wait for different times do not get in each other's way.
    Outbid,
    /// A peer told what cannot be: another cluster, or a broken one.
    Broken {
        /// Which peer.
        from: NodeId,
        /// What is wrong.
        why: HistoryError,
    },
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is this epoch.
    Decided(Epoch),
    /// This epoch is another's, and the proposal was for no other: look at the ring and propose again.
    Overtaken {
        /// The epoch.
        epoch: Epoch,
        /// What was decided.
        by: Edit,
    },
    /// The membership refuses it after what was decided first.
    Refused(EditError),
}

/// A proposal that is not begun.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProposeError<E> {
    /// The membership refuses it.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// It was meant for an earlier epoch.
    #[error("the membership is at epoch {latest}, not {expect}: look at the ring again")]
    Overtaken {
        /// The last epoch.
        latest: Epoch,
        /// The one that was expected.
        expect: Epoch,
    },
    /// One at a time.
    #[error("{node} proposes already to {edit}: wait until that has ended, or ask another member")]
    Busy {
        /// Who.
        node: NodeId,
        /// What.
        edit: Edit,
    },
    /// It is not known whether the directory was rolled back, and with it the ballots it used.
    #[error(
        "{0} started and waits for the other members to tell what they remember: ask another one"
    )]
    InDoubt(NodeId),
    /// The disk.
    #[error("the disk refuses to keep it: {0}")]
    Disk(E),
}

impl Registrar {
    /// The part of `node`, whose directory has `identity` and calls itself `directory`, going on from what is
    /// on disk: `ballots` are none if nothing was written since the last epoch was.
    ///
    /// # Errors
    /// If the ballots are of a number beyond the history: the directory lost something.
    pub fn new(
        node: NodeId,
        (identity, directory): (Identity, Directory),
        history: impl Into<Arc<History>>,
        ballots: Option<Ballots>,
    ) -> Result<Self, HistoryError> {
        let history = history.into();
        let next = history.next();
        let ballots = match ballots {
            Some(ballots) if ballots.epoch > next => {
                let (have, voted) = (history.latest().epoch(), ballots.epoch);
                return Err(HistoryError::Lost { have, voted });
            }
            Some(ballots) if ballots.epoch == next => ballots,
            _ => Ballots::none(next),
        };
        let (in_doubt, proposal) = (false, None);
        Ok(Self { node, identity, directory, in_doubt, history, ballots, proposal })
    }

    /// Its directory goes on as this one: it was rolled back, or is in doubt or not any more.
    pub(crate) fn goes_on_as(&mut self, identity: Identity, directory: Directory, in_doubt: bool) {
        (self.identity, self.directory) = (identity, directory);
        self.set_in_doubt(in_doubt);
    }

    /// Says whether it is in doubt if the directory was rolled back. Until it is not it neither promises nor
    /// votes nor proposes. It learns.
    pub fn set_in_doubt(&mut self, in_doubt: bool) {
        self.in_doubt = in_doubt;
    }

    /// The memberships that are known.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What is promised and voted about the next one.
    #[must_use]
    pub fn ballots(&self) -> &Ballots {
        &self.ballots
    }

    /// What is being proposed, and under which ballot.
    #[must_use]
    pub fn proposes(&self) -> Option<(Edit, Ballot)> {
        let proposer = &self.proposal.as_ref()?.proposer;
        Some((proposer.edit(), proposer.ballot()))
    }

    /// Whether its vote counts for the next epoch.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        !self.in_doubt && self.history.latest().is_voter(self.node, self.directory)
    }

    /// Proposes `edit`. If another one is decided first it is proposed on top of that, for as long as it
    /// takes; not so if `expect` names the epoch it is meant for, or if it is an edit that does not go on.
    ///
    /// # Errors
    /// If it cannot be begun; nothing of it was sent.
    pub fn propose<E>(
        &mut self,
        edit: Edit,
        expect: Option<Epoch>,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<Told, ProposeError<E>> {
        if self.in_doubt {
            return Err(ProposeError::InDoubt(self.node));
        }
        if let Some((edit, _)) = self.proposes() {
            return Err(ProposeError::Busy { node: self.node, edit });
        }
        let latest = self.history.latest();
        let overtaken = |expect: &Epoch| *expect != latest.epoch();
        if let Some(expect) = expect.filter(overtaken) {
            return Err(ProposeError::Overtaken { latest: latest.epoch(), expect });
        }
        latest.edited(&edit, self.history.homes())?;
        let mut told = Told::default();
        self.open(edit, expect, &mut told, write).map_err(|error| {
            // Who is told that it was not begun tries it again: it is not to be in the way then.
            self.give_up();
            ProposeError::Disk(error)
        })?;
        Ok(told)
    }

    /// Makes an epoch by this member's word alone: for when no majority will ever vote again, since the
    /// directories of too many are lost. It is `edit`, unless this member has voted for another one: that may
    /// have been decided by its vote and those of the lost, so it comes first, and whoever asked asks again.
    ///
    /// What the lost had decided among themselves is lost with them. If one of them is not lost after all,
    /// there may be two memberships of one number, and so two clusters: only an operator can know.
    ///
    /// # Errors
    /// If `expect` is not the last epoch, or the membership refuses the edit; nothing happened then.
    pub fn force<E>(
        &mut self,
        edit: Edit,
        expect: Epoch,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<Told, ProposeError<E>> {
        let latest = self.history.latest();
        if expect != latest.epoch() {
            return Err(ProposeError::Overtaken { latest: latest.epoch(), expect });
        }
        latest.edited(&edit, self.history.homes())?;
        let voted = self.ballots.voted.filter(|_| !mutated(Mutant::ForcedOverVote));
        let made = voted.map_or(edit, |vote| vote.edit);
        // If the same was proposed, it is told once what became of it.
        if self.proposes().is_some_and(|(proposed, _)| proposed == edit) {
            self.give_up();
        }
        let mut told = Told::default();
        self.decide(&made, &mut told, write).map_err(ProposeError::Disk)?;
        let epoch = Epoch(expect.0 + 1);
        let outcome = if made == edit {
            Outcome::Decided(epoch)
        } else {
            Outcome::Overtaken { epoch, by: made }
        };
        told.notices.push(Notice::Ended { edit, outcome });
        Ok(told)
    }

    /// Gives up what is being proposed. It may be decided all the same: others may have voted for it.
    pub fn give_up(&mut self) {
        self.proposal = None;
    }

    /// Begins a higher ballot for what is being proposed: after [`Notice::Outbid`], or when those that were
    /// asked have been silent for too long.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn again<E>(
        &mut self,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<Told, E> {
        let mut told = Told::default();
        if let Some(Proposal { proposer, expect }) = self.proposal.clone()
            && !self.in_doubt
        {
            self.open(proposer.edit(), expect, &mut told, write)?;
        }
        Ok(told)
    }

    /// Takes in what `from` says.
    ///
    /// # Errors
    /// Those of `write`. Whatever was not written did not happen, and what was is as good as a lost answer.
    pub fn receive<E>(
        &mut self,
        from: NodeId,
        call: Call,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<Told, E> {
        let mut told = Told::default();
        match call {
            Call::Prepare { epoch, ballot } => {
                if self.is_asked(from, epoch, &mut told) {
                    self.promise(from, ballot, &mut told, write)?;
                }
            }
            Call::Accept { epoch, vote } => {
                if self.is_asked(from, epoch, &mut told) && self.is_possible(&vote) {
                    self.vote(from, vote, &mut told, write)?;
                }
            }
            Call::Promise { epoch, ballot, voter, voted } => {
                if voted.as_ref().is_none_or(|vote| self.is_possible(vote)) {
                    let next = self.count(epoch, |proposer, last| {
                        proposer.promised(last, (from, voter), ballot, voted)
                    });
                    self.follow(next, &mut told, write)?;
                }
            }
            Call::Accepted { epoch, ballot, voter } => {
                let next = self
                    .count(epoch, |proposer, last| proposer.accepted(last, (from, voter), ballot));
                self.follow(next, &mut told, write)?;
            }
            Call::Refused { epoch, ballot, promised } => {
                let next = self.count(epoch, |proposer, _| proposer.refused(ballot, promised));
                self.follow(next, &mut told, write)?;
            }
            Call::Membership { epochs } => self.learn(from, &epochs, &mut told, write)?,
            Call::Behind { epoch } => self.tell(from, epoch, &mut told),
        }
        Ok(told)
    }

    /// Whether it has to answer for the number `epoch`. If not it tells what the other one lacks, or asks for
    /// what itself does.
    fn is_asked(&self, from: NodeId, epoch: Epoch, told: &mut Told) -> bool {
        let known = self.history.latest().epoch();
        if epoch <= known {
            self.tell(from, Epoch(epoch.0.saturating_sub(1)), told);
        } else if epoch > self.ballots.epoch {
            told.calls.push((from, Call::Behind { epoch: known }));
        }
        epoch == self.ballots.epoch && self.is_voter()
    }

    fn tell(&self, to: NodeId, known: Epoch, told: &mut Told) {
        let epochs = self.history.after(known).to_vec();
        if !epochs.is_empty() {
            told.calls.push((to, Call::Membership { epochs }));
        }
    }

    /// Nobody who keeps the rules votes for what the last epoch refuses.
    fn is_possible(&self, vote: &Vote) -> bool {
        self.history.latest().edited(&vote.edit, self.history.homes()).is_ok()
    }

    fn promise<E>(
        &mut self,
        from: NodeId,
        ballot: Ballot,
        told: &mut Told,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<(), E> {
        let (epoch, voter) = (self.ballots.epoch, self.directory);
        let call = match self.ballots.prepare(ballot) {
            Ok(promise) => {
                let voted = self.keep(promise, write)?;
                Call::Promise { epoch, ballot, voter, voted }
            }
            Err(promised) => Call::Refused { epoch, ballot, promised },
        };
        told.calls.push((from, call));
        Ok(())
    }

    fn vote<E>(
        &mut self,
        from: NodeId,
        vote: Vote,
        told: &mut Told,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<(), E> {
        let (epoch, voter, ballot) = (self.ballots.epoch, self.directory, vote.ballot);
        let call = match self.ballots.accept(vote) {
            Ok(voting) => {
                self.keep(voting, write)?;
                Call::Accepted { epoch, ballot, voter }
            }
            Err(promised) => Call::Refused { epoch, ballot, promised },
        };
        told.calls.push((from, call));
        Ok(())
    }

    fn keep<A, E>(
        &mut self,
        unsaved: Unsaved<A>,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<A, E> {
        let durable = |ballots: &Ballots| Durable { epochs: Vec::new(), ballots: *ballots };
        let (ballots, answer) = unsaved.save(|ballots| write(&durable(ballots)))?;
        self.ballots = ballots;
        Ok(answer)
    }

    /// Begins a ballot that this directory has not used.
    fn open<E>(
        &mut self,
        edit: Edit,
        expect: Option<Epoch>,
        told: &mut Told,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<(), E> {
        let outbid_by = self.proposal.as_ref().and_then(|it| it.proposer.outbid_by());
        let above = self.ballots.promised.max(outbid_by);
        let ballot = Ballot::above(above, self.node, self.identity);
        let Ok(promise) = self.ballots.prepare(ballot) else {
            told.notices.push(Notice::Outbid);
            return Ok(());
        };
        // On disk before anybody hears of the ballot, also where it has no vote: it is used once.
        let voted = self.keep(promise, write)?;
        let epoch = self.ballots.epoch;
        let proposer = Proposer::new(epoch, ballot, edit);
        self.proposal = Some(Proposal { proposer, expect });
        self.ask_voters(&Call::Prepare { epoch, ballot }, told);
        let me = (self.node, self.directory);
        let next = if self.is_voter() {
            self.count(epoch, |proposer, last| proposer.promised(last, me, ballot, voted))
        } else {
            Next::Wait
        };
        self.follow(next, told, write)
    }

    fn ask_voters(&self, call: &Call, told: &mut Told) {
        let voters = self.history.latest().ring_members().map(|seat| seat.node);
        let others = voters.filter(|node| *node != self.node);
        told.calls.extend(others.map(|node| (node, call.clone())));
    }

    /// Has the proposer for `epoch` count something, if there is one.
    fn count(
        &mut self,
        epoch: Epoch,
        verb: impl FnOnce(&mut Proposer, &Membership) -> Next,
    ) -> Next {
        match &mut self.proposal {
            Some(Proposal { proposer, .. }) if proposer.epoch() == epoch => {
                assert_eq!(
                    epoch,
                    self.history.next(),
                    "nothing is proposed for a number that is decided"
                );
                verb(proposer, self.history.latest())
            }
            _ => Next::Wait,
        }
    }

    fn follow<E>(
        &mut self,
        next: Next,
        told: &mut Told,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<(), E> {
        match next {
            Next::Wait => Ok(()),
            Next::Outbid => {
                told.notices.push(Notice::Outbid);
                Ok(())
            }
            Next::Ask(vote) => {
                let epoch = self.ballots.epoch;
                self.ask_voters(&Call::Accept { epoch, vote }, told);
                if !self.is_voter() {
                    return Ok(());
                }
                // Its own vote is one among others: it may have promised a higher ballot meanwhile.
                let Ok(voting) = self.ballots.accept(vote) else { return Ok(()) };
                self.keep(voting, write)?;
                let me = (self.node, self.directory);
                let next =
                    self.count(epoch, |proposer, last| proposer.accepted(last, me, vote.ballot));
                self.follow(next, told, write)
            }
            Next::Decided(edit) => self.decide(&edit, told, write),
        }
    }

    /// A majority voted for `edit`: all who are or were members are told.
    fn decide<E>(
        &mut self,
        edit: &Edit,
        told: &mut Told,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.history.latest().clone();
        let made = match before.edited(edit, self.history.homes()) {
            Ok(made) => made,
            Err(why) => unreachable!("a vote for what the epoch refuses is not counted: {why}"),
        };
        let seats = before.seats().iter().chain(made.seats());
        let nodes: BTreeSet<_> = seats.map(|seat| seat.node).collect();
        let epochs = vec![made];
        let others = nodes.into_iter().filter(|node| *node != self.node);
        let call = |node| (node, Call::Membership { epochs: epochs.clone() });
        told.calls.extend(others.map(call));
        self.learn(self.node, &epochs, told, write)
    }

    /// Goes on to the last of `epochs`, which are decided, whatever is open.
    fn learn<E>(
        &mut self,
        from: NodeId,
        epochs: &[Membership],
        told: &mut Told,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<(), E> {
        let epochs = match self.history.news(epochs) {
            Ok(news) => news,
            Err(HistoryError::Gap { have: epoch, .. }) => {
                told.calls.push((from, Call::Behind { epoch }));
                return Ok(());
            }
            Err(why) => {
                told.notices.push(Notice::Broken { from, why });
                return Ok(());
            }
        };
        let Some(last) = epochs.last().map(Membership::epoch) else { return Ok(()) };
        let durable = Durable { epochs, ballots: Ballots::none(Epoch(last.0 + 1)) };
        if !mutated(Mutant::EpochUnsaved) {
            write(&durable)?;
        }
        self.ballots = durable.ballots;
        Arc::make_mut(&mut self.history).append(durable.epochs);
        told.notices.push(Notice::Learned(last));
        self.settle(told, write)
    }

    /// The number that something was proposed for is decided: was it that, and if not, does it go on?
    fn settle<E>(
        &mut self,
        told: &mut Told,
        write: &mut impl FnMut(&Durable) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(Proposal { proposer, expect }) = self.proposal.take() else { return Ok(()) };
        let (edit, epoch, homes) = (proposer.edit(), proposer.epoch(), self.history.homes());
        let before = epoch.0.checked_sub(1).and_then(|before| self.history.at(Epoch(before)));
        let (Some(before), Some(made)) = (before, self.history.at(epoch)) else {
            unreachable!("what was proposed for a number is settled once that is decided")
        };
        let outcome = if before.edited(&edit, homes).as_ref() == Ok(made) {
            Outcome::Decided(epoch)
        } else if let Some(by) = Edit::between(before, made, homes)
            && (expect.is_some() || !edit.goes_on())
        {
            Outcome::Overtaken { epoch, by }
        } else if let Err(why) = self.history.latest().edited(&edit, homes) {
            Outcome::Refused(why)
        } else {
            return self.open(edit, expect, told, write);
        };
        told.notices.push(Notice::Ended { edit, outcome });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Member;

    const LEAVE: Edit = Edit::Leave { node: NodeId(3) };
    const WEIGH: Edit = Edit::Weigh { node: NodeId(1), tokens: 4 };

    /// A node and its disk.
    struct Host {
        registrar: Registrar,
        epochs: Vec<Membership>,
        ballots: Option<Ballots>,
    }

    /// Nodes 1, 2, ... and what is under way.
    struct Cluster {
        hosts: Vec<Host>,
        calls: Vec<(NodeId, NodeId, Call)>,
        notices: Vec<(NodeId, Notice)>,
    }

    fn genesis(members: u16) -> History {
        let members: Vec<_> = (1..=members).map(|id| Member::new(NodeId(id), 8)).collect();
        History::genesis(2, Membership::genesis(2, &members).unwrap()).unwrap()
    }

    impl Host {
        fn new(node: u16, directory: Directory, history: &History) -> Self {
            let named = (Identity(u64::from(node)), directory);
            let registrar = Registrar::new(NodeId(node), named, history.clone(), None).unwrap();
            Self { registrar, epochs: history.epochs().to_vec(), ballots: None }
        }

        fn step<T>(
            &mut self,
            verb: impl FnOnce(&mut Registrar, &mut dyn FnMut(&Durable) -> Result<(), ()>) -> T,
        ) -> T {
            let Self { registrar, epochs, ballots } = self;
            verb(registrar, &mut |durable| {
                epochs.extend_from_slice(&durable.epochs);
                *ballots = Some(durable.ballots);
                Ok(())
            })
        }

        fn restart(&mut self) {
            let Registrar { node, identity, directory, .. } = self.registrar;
            let history = History::new(2, self.epochs.clone()).unwrap();
            let named = (identity, directory);
            self.registrar = Registrar::new(node, named, history, self.ballots).unwrap();
        }
    }

    impl Cluster {
        fn new(members: u16) -> Self {
            let history = genesis(members);
            let host = |node| Host::new(node, Directory::Founder(NodeId(node)), &history);
            let hosts = (1..=members).map(host).collect();
            Self { hosts, calls: Vec::new(), notices: Vec::new() }
        }

        fn host(&mut self, node: NodeId) -> Option<&mut Host> {
            self.hosts.iter_mut().find(|host| host.registrar.node == node)
        }

        fn take(&mut self, node: NodeId, told: Told) {
            self.calls.extend(told.calls.into_iter().map(|(to, call)| (node, to, call)));
            self.notices.extend(told.notices.into_iter().map(|notice| (node, notice)));
        }

        fn propose(&mut self, node: u16, edit: Edit, expect: Option<Epoch>) {
            let node = NodeId(node);
            let host = self.host(node).unwrap();
            let told =
                host.step(|registrar, mut write| registrar.propose(edit, expect, &mut write));
            self.take(node, told.unwrap());
        }

        fn again(&mut self, node: u16) {
            let node = NodeId(node);
            let host = self.host(node).unwrap();
            let told = host.step(|registrar, mut write| registrar.again(&mut write)).unwrap();
            self.take(node, told);
        }

        /// Delivers what is wanted, in order, until nothing of it is left.
        fn deliver(&mut self, is_wanted: impl Fn(NodeId, NodeId, &Call) -> bool) {
            while let Some(at) =
                self.calls.iter().position(|(from, to, call)| is_wanted(*from, *to, call))
            {
                let (from, to, call) = self.calls.remove(at);
                let Some(host) = self.host(to) else { continue };
                let told =
                    host.step(|registrar, mut write| registrar.receive(from, call, &mut write));
                self.take(to, told.unwrap());
            }
        }

        fn deliver_all(&mut self) {
            self.deliver(|_, _, _| true);
        }

        fn outcomes(&self, node: u16) -> Vec<&Outcome> {
            let ended = self.notices.iter().filter_map(|(at, notice)| match notice {
                Notice::Ended { outcome, .. } if *at == NodeId(node) => Some(outcome),
                _ => None,
            });
            ended.collect()
        }

        fn epochs(&self) -> Vec<u64> {
            self.hosts.iter().map(|host| host.registrar.history.latest().epoch().0).collect()
        }
    }

    #[test]
    fn an_edit_is_decided_and_all_are_told() {
        let mut cluster = Cluster::new(3);
        cluster.propose(1, LEAVE, None);
        cluster.deliver_all();
        assert_eq!(cluster.epochs(), [2, 2, 2]);
        assert_eq!(cluster.outcomes(1), [&Outcome::Decided(Epoch(2))]);
        let [one, two, three] = &cluster.hosts[..] else { unreachable!() };
        assert_eq!(one.registrar.history, two.registrar.history);
        assert_eq!(one.epochs, three.epochs, "durable everywhere");
        assert!(two.registrar.is_voter() && !three.registrar.is_voter(), "it leaves");
    }

    #[test]
    fn of_two_proposals_one_is_decided_and_the_other_goes_on_to_the_next_number() {
        let mut cluster = Cluster::new(3);
        cluster.propose(1, LEAVE, None);
        cluster.propose(2, WEIGH, None);
        cluster.deliver_all();
        cluster.again(1);
        cluster.deliver_all();
        cluster.again(2);
        cluster.deliver_all();
        assert_eq!(cluster.epochs(), [3, 3, 3]);
        let decided = [cluster.outcomes(1), cluster.outcomes(2)].concat();
        assert_eq!(decided.len(), 2);
        for epoch in [2, 3] {
            assert!(decided.contains(&&Outcome::Decided(Epoch(epoch))), "{decided:?}");
        }
    }

    #[test]
    fn what_a_disk_did_not_let_begin_is_not_in_the_way_of_the_next_try() {
        let alone = Membership::genesis(1, &[Member::new(NodeId(1), 8)]).unwrap();
        let history = History::genesis(1, alone).unwrap();
        let mut host = Host::new(1, Directory::Founder(NodeId(1)), &history);
        let mut left = 1;
        let refused = host.registrar.propose(WEIGH, None, &mut |_| {
            left -= 1;
            if left < 0 { Err("full") } else { Ok(()) }
        });
        assert_eq!(
            refused,
            Err(ProposeError::Disk("full")),
            "its promise is kept, its vote is not"
        );
        assert_eq!(host.registrar.proposes(), None);
        let told = host.step(|registrar, mut write| registrar.propose(WEIGH, None, &mut write));
        let decided = Notice::Ended { edit: WEIGH, outcome: Outcome::Decided(Epoch(2)) };
        assert!(told.unwrap().notices.contains(&decided));
    }

    #[test]
    fn a_proposal_for_one_epoch_is_for_no_other() {
        for (edit, expect) in [
            (WEIGH, Some(Epoch(1))),
            // It was drained under epoch 2, and is not known to be under epoch 3.
            (
                Edit::Gone {
                    node: NodeId(3),
                    directory: Directory::Founder(NodeId(3)),
                    forced: false,
                },
                None,
            ),
        ] {
            let mut cluster = Cluster::new(4);
            let mut number = 2;
            if expect.is_none() {
                cluster.propose(1, LEAVE, None);
                cluster.deliver_all();
                number = 3;
            }
            cluster.propose(1, Edit::Weigh { node: NodeId(2), tokens: 2 }, None);
            cluster.propose(2, edit, expect);
            cluster.again(1);
            cluster.deliver(|from, to, _| from.0 != 2 && to.0 != 2);
            cluster.deliver_all();
            let [Outcome::Overtaken { epoch, .. }] = cluster.outcomes(2)[..] else {
                unreachable!("{:?}", cluster.notices)
            };
            assert_eq!(epoch.0, number);
            assert!(cluster.hosts[1].registrar.proposes().is_none());
        }
    }

    #[test]
    fn what_cannot_be_begun_is_refused_and_nothing_is_sent() {
        let mut cluster = Cluster::new(3);
        let registrar = &mut cluster.hosts[0].registrar;
        let mut write = |_: &Durable| Ok::<_, String>(());
        let mut refused = |edit, expect| registrar.propose(edit, expect, &mut write).unwrap_err();
        assert_eq!(
            refused(WEIGH, Some(Epoch(4))).to_string(),
            "the membership is at epoch 1, not 4: look at the ring again"
        );
        assert_eq!(
            refused(Edit::Cancel { node: NodeId(9) }, None).to_string(),
            "epoch 1: n9 is no member: `join` it"
        );
        registrar.propose(WEIGH, None, &mut write).unwrap();
        assert_eq!(
            registrar.propose(LEAVE, None, &mut write).unwrap_err().to_string(),
            "n1 proposes already to weigh n1 with 4 tokens: wait until that has ended, or ask another member"
        );
    }

    #[test]
    fn nothing_is_said_that_the_disk_refused() {
        let mut cluster = Cluster::new(3);
        cluster.propose(1, LEAVE, None);
        let host = &mut cluster.hosts[1];
        let before = host.registrar.clone();
        for call in cluster.calls.iter().filter(|call| call.1 == NodeId(2)) {
            let refused = host.registrar.receive(NodeId(1), call.2.clone(), &mut |_| Err("full"));
            assert_eq!(refused, Err("full"));
        }
        assert_eq!(host.registrar, before);
    }

    #[test]
    fn a_wiped_member_does_not_vote_until_an_epoch_names_its_new_directory() {
        let mut cluster = Cluster::new(3);
        let drawn = Directory::Drawn(Identity(93));
        cluster.hosts[2] = Host::new(3, drawn, &genesis(3));
        cluster.hosts[2].registrar.identity = Identity(93);
        cluster.propose(1, WEIGH, None);
        cluster.deliver(|_, to, _| to.0 != 2);
        assert_eq!(cluster.epochs(), [1, 1, 1], "n1 alone is no majority");
        cluster.deliver_all();
        assert_eq!(cluster.epochs(), [2, 2, 2]);
        let from = Directory::Founder(NodeId(3));
        cluster.propose(3, Edit::Replace { node: NodeId(3), from, to: drawn }, None);
        cluster.deliver_all();
        assert_eq!(cluster.epochs(), [3, 3, 3]);
        assert!(cluster.hosts[2].registrar.is_voter());
    }

    #[test]
    fn in_doubt_a_member_learns_and_does_nothing_else() {
        let mut cluster = Cluster::new(3);
        cluster.hosts[2].registrar.set_in_doubt(true);
        let told = cluster.hosts[2].registrar.propose(WEIGH, None, &mut |_| Ok::<_, String>(()));
        assert_eq!(told, Err(ProposeError::InDoubt(NodeId(3))));
        cluster.propose(1, LEAVE, None);
        cluster.deliver(|_, to, _| to.0 != 2);
        assert_eq!(cluster.epochs(), [1, 1, 1], "n3 neither promises nor votes");
        cluster.deliver_all();
        assert_eq!(cluster.epochs(), [2, 2, 2]);
    }

    #[test]
    fn whoever_is_behind_is_told_all_that_it_lacks() {
        let mut cluster = Cluster::new(3);
        for edit in [WEIGH, Edit::Weigh { node: NodeId(2), tokens: 2 }] {
            cluster.propose(1, edit, None);
            cluster.deliver(|from, to, _| from.0 != 3 && to.0 != 3);
            cluster.calls.clear();
        }
        assert_eq!(cluster.epochs(), [3, 3, 1]);
        // As a proposer,
        cluster.propose(3, LEAVE, None);
        cluster.deliver(|from, to, _| from.0 != 1 && to.0 != 1);
        assert_eq!(cluster.epochs(), [3, 4, 4], "it went on from there");
        assert_eq!(cluster.outcomes(3), [&Outcome::Decided(Epoch(4))]);
        // and as a voter.
        let mut cluster = Cluster::new(3);
        cluster.propose(1, WEIGH, None);
        cluster.deliver(|from, to, _| from.0 != 3 && to.0 != 3);
        cluster.calls.clear();
        cluster.propose(1, LEAVE, None);
        cluster.deliver(|from, to, _| from.0 != 2 && to.0 != 2);
        assert_eq!(cluster.epochs(), [2, 2, 2]);
        cluster.again(1);
        cluster.deliver(|from, to, _| from.0 != 2 && to.0 != 2);
        assert_eq!(cluster.epochs(), [3, 2, 3]);
    }

    #[test]
    fn a_ballot_is_used_once_also_by_a_node_that_started_again() {
        let mut cluster = Cluster::new(3);
        cluster.propose(1, LEAVE, None);
        let (_, first) = cluster.hosts[0].registrar.proposes().unwrap();
        cluster.hosts[0].restart();
        assert_eq!(cluster.hosts[0].registrar.proposes(), None, "that is volatile");
        cluster.propose(1, WEIGH, None);
        let (_, second) = cluster.hosts[0].registrar.proposes().unwrap();
        assert!(second > first);
        cluster.deliver_all();
        assert_eq!(cluster.outcomes(1), [&Outcome::Decided(Epoch(2))]);
    }

    #[test]
    fn what_a_dead_proposer_may_have_decided_is_decided_by_the_next() {
        let mut cluster = Cluster::new(3);
        cluster.propose(1, LEAVE, None);
        // All but what tells n1 that its edit has a majority.
        cluster.deliver(|_, _, call| !matches!(call, Call::Accepted { .. }));
        cluster.hosts[0].restart();
        cluster.calls.clear();
        cluster.propose(2, WEIGH, None);
        cluster.deliver_all();
        let history = &cluster.hosts[1].registrar.history;
        let [first, second, third] = history.epochs() else { unreachable!("{history:?}") };
        assert_eq!(Edit::between(first, second, 2), Some(LEAVE));
        assert_eq!(Edit::between(second, third, 2), Some(WEIGH));
    }

    #[test]
    fn a_member_decides_alone_where_it_is_alone() {
        let members = [Member::new(NodeId(1), 8)];
        let history = History::genesis(1, Membership::genesis(1, &members).unwrap()).unwrap();
        let named = (Identity(1), Directory::Founder(NodeId(1)));
        let mut registrar = Registrar::new(NodeId(1), named, history, None).unwrap();
        let told = registrar.propose(WEIGH, None, &mut |_| Ok::<_, String>(())).unwrap();
        let ended = Notice::Ended { edit: WEIGH, outcome: Outcome::Decided(Epoch(2)) };
        assert_eq!(told.notices, [Notice::Learned(Epoch(2)), ended]);
    }

    #[test]
    fn another_cluster_and_a_directory_that_lost_epochs_are_found() {
        let mut cluster = Cluster::new(3);
        let stranger = genesis(4).epochs().to_vec();
        cluster.calls.push((NodeId(2), NodeId(1), Call::Membership { epochs: stranger }));
        cluster.deliver_all();
        let (from, why) = (NodeId(2), HistoryError::Fork(Epoch(1)));
        assert_eq!(cluster.notices, [(NodeId(1), Notice::Broken { from, why })]);
        let named = (Identity(1), Directory::Founder(NodeId(1)));
        let lost = Registrar::new(NodeId(1), named, genesis(3), Some(Ballots::none(Epoch(3))));
        assert_eq!(
            lost.unwrap_err().to_string(),
            "votes on epoch 3 after epoch 1: the directory lost some, and counts as wiped"
        );
    }
}
