//! What is searched: who the members are, what is asked of whom, and the budgets.

use dynamo_protocol::membership::{Directory, Edit};
use dynamo_protocol::{Epoch, Identity, NodeId};

/// A bounded configuration.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How many members the genesis has: nodes 1 and up.
    pub members: u16,
    /// N: fewer are never in.
    pub homes: usize,
    /// What is asked, each once in the life of the process it is asked of.
    pub asks: Vec<Ask>,
    /// No ballot has a higher round.
    pub rounds: u64,
    /// Nothing is sent about a higher number.
    pub last: Epoch,
    /// Processes that end and start again.
    pub crashes: u8,
    /// Directories emptied and made anew, which then ask to take the place of the one before.
    pub wipes: u8,
    /// Epochs that an operator makes by one member's word, where the directories of so many are lost that no
    /// majority votes any more.
    pub forces: u8,
    /// Whether it is seen to in every state that somebody can still have something decided.
    pub drains: bool,
    /// Leave out of the flight what can never matter again.
    pub inert: bool,
}

/// An operator asks a node for a change.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Which node.
    pub node: NodeId,
    /// For what.
    pub edit: Edit,
    /// For which epoch alone, if that is said.
    pub expect: Option<Epoch>,
}

impl Bounds {
    /// Three members, N=2, one number, two rounds, no fault.
    #[must_use]
    pub fn new(asks: &[Ask]) -> Self {
        Self {
            members: 3,
            homes: 2,
            asks: asks.to_vec(),
            rounds: 2,
            last: Epoch(2),
            crashes: 0,
            wipes: 0,
            forces: 0,
            drains: true,
            inert: true,
        }
    }

    /// The configuration in a line.
    #[must_use]
    pub fn label(&self) -> String {
        let Self { members, homes, rounds, last, .. } = self;
        let asks = self.asks.iter().map(|ask| {
            let expect = ask.expect.map_or(String::new(), |epoch| format!(" (at {epoch})"));
            format!("{}: {}{expect}", ask.node, ask.edit)
        });
        let asks = asks.collect::<Vec<_>>().join("; ");
        let mut label = format!("members={members} N={homes} rounds={rounds} last={last}");
        let budgets = [("crashes", self.crashes), ("wipes", self.wipes), ("forces", self.forces)];
        for (name, count) in budgets {
            if count > 0 {
                label += &format!(" {name}={count}");
            }
        }
        format!("{label}; {asks}")
    }
}

impl Ask {
    /// Node `node` is asked for `edit`, whatever the epoch is by then.
    #[must_use]
    pub fn of(node: u16, edit: Edit) -> Self {
        Self { node: NodeId(node), edit, expect: None }
    }

    /// The same, for this epoch alone.
    #[must_use]
    pub fn at(self, epoch: u64) -> Self {
        Self { expect: Some(Epoch(epoch)), ..self }
    }
}

/// Node 3 leaves.
pub(crate) const LEAVE: Edit = Edit::Leave { node: NodeId(3) };

/// Node 3 is removed with what it holds.
pub(crate) const GONE: Edit =
    Edit::Gone { node: NodeId(3), directory: Directory::Founder(NodeId(3)), forced: true };

/// Node 3 comes back, with the directory it had.
pub(crate) const BACK: Edit =
    Edit::Join { node: NodeId(3), directory: Directory::Founder(NodeId(3)), tokens: 1, zone: None };

/// Node 4 joins. It is out of reach.
pub(crate) const JOIN: Edit =
    Edit::Join { node: NodeId(4), directory: Directory::Drawn(Identity(4)), tokens: 1, zone: None };

/// Node 1 gets another share.
pub(crate) const WEIGH: Edit = Edit::Weigh { node: NodeId(1), tokens: 2 };

/// Node 2 does.
pub(crate) const WEIGH_OTHER: Edit = Edit::Weigh { node: NodeId(2), tokens: 2 };
