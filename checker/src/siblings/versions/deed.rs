//! An operation as the rules for versions need it: small, and the same whatever it was read from.

use crate::history::op::{Kind, Process};
use crate::history::{Outcome, Pair};

/// A time that never comes.
const NEVER: u64 = u64::MAX;

/// The number of no node.
pub(crate) const NO_NODE: u32 = u32::MAX;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Get,
    Home,
    Put,
    Delete,
}

impl Does {
    pub(crate) fn named(f: &str) -> Option<Self> {
        Some(match f {
            "get" => Self::Get,
            "home" => Self::Home,
            "put" => Self::Put,
            "delete" => Self::Delete,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Home => "home",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }

    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Put | Self::Delete)
    }
}

/// An operation on one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deed {
    /// Its name: see [`Pair::name`].
    pub(crate) name: u64,
    pub(crate) begun: u64,
    /// When it was acknowledged; [`NEVER`] if it was not.
    pub(crate) ended: u64,
    pub(crate) process: u64,
    /// Where the request went, among the [`Nodes`].
    pub(crate) node: u32,
    pub(crate) does: Does,
    pub(crate) outcome: Outcome,
    pub(crate) is_final: bool,
}

impl Deed {
    pub(crate) fn of<'a>(pair: &Pair<'a>, nodes: &mut Nodes<'a>) -> Self {
        let process = match pair.invoke.process {
            Process::Client(process) => process,
            Process::Nemesis => unreachable!("pairs are the clients'"),
        };
        Self {
            name: pair.name(),
            begun: pair.invoke.time,
            ended: pair.acknowledged_at().unwrap_or(NEVER),
            process,
            node: pair.node().map_or(NO_NODE, |node| nodes.number(node)),
            does: Does::named(pair.f()).unwrap_or(Does::Get),
            outcome: pair.outcome(),
            is_final: pair.is_final(),
        }
    }

    /// One that was begun, of unknown outcome until it is [`completed`](Self::completed).
    pub(crate) fn begun(does: Does, name: u64, time: u64, process: u64) -> Self {
        Self {
            name,
            begun: time,
            ended: NEVER,
            process,
            node: NO_NODE,
            does,
            outcome: Outcome::Info,
            is_final: false,
        }
    }

    /// Takes its end in.
    pub(crate) fn completed(&mut self, kind: Kind, name: u64, time: u64) {
        self.name = name;
        self.outcome = match kind {
            Kind::Ok => Outcome::Ok,
            Kind::Fail => Outcome::Fail,
            Kind::Info | Kind::Invoke => Outcome::Info,
        };
        if kind == Kind::Ok {
            self.ended = time;
        }
    }

    /// When it returned, if it returned `ok`.
    pub(crate) fn acknowledged_at(&self) -> Option<u64> {
        (self.outcome == Outcome::Ok).then_some(self.ended)
    }
}

/// The names of nodes, by number.
#[derive(Default)]
pub(crate) struct Nodes<'a> {
    names: Vec<&'a str>,
}

impl<'a> Nodes<'a> {
    /// There are few: a search is as fast as a table.
    fn number(&mut self, name: &'a str) -> u32 {
        let known = self.names.iter().position(|known| *known == name);
        let at = known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        at as u32
    }

    pub(crate) fn name(&self, node: u32) -> Option<&'a str> {
        self.names.get(node as usize).copied()
    }
}
