//! One node of the model: its registrar and its disk, and what both do on an input.

use std::convert::Infallible;

use dynamo_protocol::membership::{
    Ballots, Call, Directory, Durable, Edit, History, Membership, Notice, Registrar, Told, Vote,
};
use dynamo_protocol::{Epoch, Identity, Member, NodeId};

use crate::register::bounds::Bounds;
use crate::search::panics::catch;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    pub(crate) registrar: Registrar,
    /// On its disk.
    epochs: Vec<Membership>,
    ballots: Option<Ballots>,
    pub(crate) node: NodeId,
    pub(crate) identity: Identity,
    pub(crate) directory: Directory,
    /// The highest epoch that this directory acted upon.
    pub(crate) acted: Epoch,
}

/// What a host is told.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Propose(Edit, Option<Epoch>),
    /// By its word alone, after the last epoch that it knows.
    Force(Edit),
    Receive(NodeId, Call),
    Again,
    Crash,
    Wipe(Identity),
}

/// A disk that takes whatever it is given.
type Write<'a> = &'a mut dyn FnMut(&Durable) -> Result<(), Infallible>;

/// What came of it.
pub(crate) struct Stepped {
    pub(crate) host: Host,
    pub(crate) calls: Vec<(NodeId, Call)>,
    pub(crate) notices: Vec<Notice>,
    /// Votes that are on disk, with their numbers.
    pub(crate) votes: Vec<(Epoch, Vote)>,
    /// Epochs that are acted upon from now on.
    pub(crate) learned: Vec<Membership>,
    /// An assertion of the core failed, or it could not go on from its own disk.
    pub(crate) is_broken: bool,
}

/// The history that every node of the configuration begins with.
fn genesis(bounds: &Bounds) -> History {
    let members: Vec<_> = (1..=bounds.members).map(|id| Member::new(NodeId(id), 1)).collect();
    let genesis = Membership::genesis(bounds.homes, &members);
    let history = genesis.and_then(|genesis| History::genesis(bounds.homes, genesis));
    history.unwrap_or_else(|error| panic!("a configuration without a cluster: {error}"))
}

impl Host {
    /// A node of the genesis.
    pub(crate) fn founder(bounds: &Bounds, node: NodeId) -> Self {
        let identity = Identity(u64::from(node.0));
        Self::empty(genesis(bounds), node, identity, Directory::Founder(node))
    }

    fn empty(history: History, node: NodeId, identity: Identity, directory: Directory) -> Self {
        let epochs = history.epochs().to_vec();
        let acted = history.latest().epoch();
        let registrar = Registrar::new(node, (identity, directory), history, None)
            .unwrap_or_else(|error| panic!("nothing was lost of nothing: {error}"));
        Self { registrar, epochs, ballots: None, node, identity, directory, acted }
    }

    /// What it does on `input`.
    pub(crate) fn take(&self, bounds: &Bounds, input: Input) -> Stepped {
        let mut host = self.clone();
        let (mut told, mut written) = (Told::default(), Vec::new());
        let panic = catch(|| {
            told = match input {
                Input::Propose(edit, expect) => host.step(&mut written, |registrar, mut write| {
                    Ok(registrar.propose(edit, expect, &mut write).unwrap_or_default())
                }),
                Input::Force(edit) => host.step(&mut written, |registrar, mut write| {
                    let last = registrar.history().latest().epoch();
                    Ok(registrar.force(edit, last, &mut write).unwrap_or_default())
                }),
                Input::Receive(from, call) => host.step(&mut written, |registrar, mut write| {
                    registrar.receive(from, call, &mut write)
                }),
                Input::Again => {
                    host.step(&mut written, |registrar, mut write| registrar.again(&mut write))
                }
                Input::Crash => host.restart(),
                Input::Wipe(identity) => {
                    let (node, directory) = (host.node, Directory::Drawn(identity));
                    host = Self::empty(genesis(bounds), node, identity, directory);
                    Told::default()
                }
            };
        });
        let history = host.registrar.history();
        let learned = history.after(self.registrar.history().latest().epoch()).to_vec();
        host.acted = host.acted.max(history.latest().epoch());
        let votes = written.iter().filter_map(|durable: &Durable| {
            let Ballots { epoch, promised, voted } = durable.ballots;
            voted.filter(|vote| Some(vote.ballot) == promised).map(|vote| (epoch, vote))
        });
        let votes = votes.collect();
        let Told { calls, notices } = told;
        Stepped { host, calls, notices, votes, learned, is_broken: panic.is_some() }
    }

    fn restart(&mut self) -> Told {
        let homes = self.registrar.history().homes();
        let named = (self.identity, self.directory);
        let history = History::new(homes, self.epochs.clone());
        let registrar =
            history.and_then(|history| Registrar::new(self.node, named, history, self.ballots));
        self.registrar = registrar.unwrap_or_else(|error| panic!("the disk is broken: {error}"));
        Told::default()
    }

    fn step(
        &mut self,
        written: &mut Vec<Durable>,
        verb: impl FnOnce(&mut Registrar, Write<'_>) -> Result<Told, Infallible>,
    ) -> Told {
        let Self { registrar, epochs, ballots, .. } = self;
        let Ok(told) = verb(registrar, &mut |durable| {
            epochs.extend_from_slice(&durable.epochs);
            *ballots = Some(durable.ballots);
            written.push(durable.clone());
            Ok(())
        });
        told
    }

    /// The directory `to` of node number `lost` in the place of the one that is named.
    pub(crate) fn replaces(&self, lost: u8, to: Identity) -> Option<Edit> {
        let node = NodeId(u16::from(lost) + 1);
        let seat = self.registrar.history().latest().seat(node)?;
        Some(Edit::Replace { node, from: seat.directory, to: Directory::Drawn(to) })
    }

    /// What a directory asks for that took the place of another, once it is up.
    pub(crate) fn mend(&self) -> Option<Edit> {
        let seat = self.registrar.history().latest().seat(self.node)?;
        let Directory::Drawn(_) = self.directory else { return None };
        let (node, from, to) = (self.node, seat.directory, self.directory);
        (from != to).then_some(Edit::Replace { node, from, to })
    }
}
