//! What a run is to do: a TOML file, overridden by flags, checked before anything starts.
//!
//! The effective plan, with its seed, is written beside the results: it is the run, again.

mod arg;
mod check;
mod cluster;
pub mod seed;
mod source;
mod toml_error;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use dynamo_protocol::NodeId;
use serde::de::{self, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::nemesis::faults::kind::Needs;
use crate::nemesis::faults::table::catalogue;

pub use arg::PlanArg;
pub(crate) use check::{refuse_if, within};
pub use cluster::ClusterPlan;
pub use dyno_command::Span;
pub use source::{Source, Wrong};

/// Everything a run depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Names the folder of the results; that of the file, where a file does not say.
    #[serde(default)]
    pub name: String,
    /// Every random choice comes from it; drawn at the start of the run where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How long clients work while faults happen; the final phase comes after.
    pub time: Span,
    /// The faults that are to happen, each at least once or the run's coverage is unknown.
    pub faults: Vec<FaultName>,
    /// What is put on the bench.
    pub cluster: ClusterPlan,
    /// What its clients do.
    pub workload: WorkloadPlan,
    /// How faults behave.
    pub fault: FaultPlan,
}

/// What the clients do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkloadPlan {
    /// Which workload.
    pub name: WorkloadName,
    /// Closed-loop client processes at a time.
    pub concurrency: usize,
    /// Closed loop: how long a process thinks between two visits, on average.
    pub think: Span,
    /// Open loop instead: operations a second, whether or not earlier ones are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Carts open at a time; low ones are busier than high ones.
    pub carts: usize,
    /// Puts after which a cart is closed and a new one opened in its place.
    pub puts_per_cart: usize,
    /// How long a client waits for an answer; afterwards nobody knows.
    pub timeout: Span,
}

/// How faults behave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultPlan {
    /// How long a fault is held, on average.
    pub hold: Span,
    /// How long it is quiet between two faults, on average.
    pub gap: Span,
    /// How many faults of other kinds fall into each; 0, one in one of three.
    pub overlap: usize,
    /// Whom kill, pause and reset pick.
    pub targets: Vec<Target>,
    /// Shapes a partition takes in turn.
    pub shapes: Vec<Shape>,
    /// The links that the shape `cuts` cuts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<Cut>,
    /// What `delay` adds to a link, each way.
    pub delay: Span,
    /// What `delay` adds to that at random.
    pub jitter: Span,
    /// What `rate` lets pass on each connection, each way: bytes a second.
    pub rate: u64,
    /// Of the messages between nodes so many are lost, sent twice or overtaken, by `loss`, `duplicate` and
    /// `reorder`: a share of one.
    pub share: f64,
    /// By how much `slowdisk` makes every sync take longer.
    pub slow: Span,
    /// By how much `clock` sets a clock wrong, ahead or back.
    pub clock: Span,
}

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in plans, flags and results.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let known = [$($text),*];
                let found = Self::ALL.iter().copied().find(|name| name.as_str() == text);
                found.ok_or_else(|| unknown_name(text, &known))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let known = &[$($text),*];
                let unknown = |text: &_| de::value::Error::unknown_variant(text, known);
                of_text(deserializer, |text| text.parse().map_err(|_| unknown(text).to_string()))
            }
        }
    };
}

names! {
    /// Where a cluster runs.
    ClusterKind {
        /// Real processes on this machine.
        Local = "local",
        /// Real hosts, reached by SSH.
        Ssh = "ssh",
        /// Hosts made for the run on this machine, reached by SSH.
        Lab = "lab",
        /// The simulator, under virtual time.
        Sim = "sim",
    }
}

names! {
    /// A storage engine of the node.
    Engine {
        /// On disk, a log-structured merge tree.
        Fjall = "fjall",
        /// On disk, a B-tree.
        Redb = "redb",
        /// Gone with the process: for tests without kill.
        Memory = "memory",
    }
}

names! {
    /// When a put counts as kept.
    Durability {
        /// When W nodes have synced it.
        Sync = "sync",
        /// When its coordinator has, and W have it.
        One = "one",
        /// When W have it; they sync it soon.
        Buffered = "buffered",
    }
}

names! {
    /// A workload.
    WorkloadName {
        /// Shared carts: get, union of the siblings, put with the get's context.
        Cart = "cart",
        /// The same visits to plain values: put over what was read, put blindly, or deleted.
        Versions = "versions",
        /// Numbers that one client each writes: what quorums promise of a register.
        Register = "register",
        /// Carts that nothing is taken out of.
        Set = "set",
        /// Counts of each client, added up.
        Counter = "counter",
        /// Plain values, each operation through another node: what a client sees of its own past.
        Session = "session",
        /// Carts, nine of ten visits to the first.
        Hotkey = "hotkey",
        /// Carts whose puts carry up to 1 MiB each.
        Large = "large",
        /// Many carts, each visited seldom.
        Many = "many",
    }
}

macro_rules! fault_names {
    ($($(#[$doc:meta])* $file:ident: $Kind:ident,)*) => {
        names! {
            /// A fault, by its name in plans, flags and results.
            FaultName { $($(#[$doc])* $Kind = stringify!($file),)* }
        }
    };
}

catalogue!(fault_names);

names! {
    /// Whom a fault hits, by role.
    Role {
        /// Any one node.
        One = "one",
        /// Fewer than half of the nodes.
        Minority = "minority",
        /// More than half of the nodes.
        Majority = "majority",
        /// The first home of some key: whoever coordinates it when all is well.
        Coordinator = "coordinator",
        /// The coordinator of the key that is visited most.
        Hottest = "hottest",
        /// Who answered the newest acknowledged put, as the fault begins.
        Acknowledged = "acknowledged",
        /// Whom a hint is for, the moment it is stored.
        Hinted = "hinted",
        /// The first fallback of some key.
        Fallback = "fallback",
        /// All homes of some key.
        Homes = "homes",
    }
}

names! {
    /// How a partition cuts the cluster.
    Shape {
        /// The first half of the nodes from the rest.
        Halves = "halves",
        /// Two halves at random.
        RandomHalves = "random-halves",
        /// One node from all others.
        One = "one",
        /// Two halves that see each other only through one node.
        Bridge = "bridge",
        /// Every node sees a majority, no two the same.
        MajoritiesRing = "majorities-ring",
        /// One node's messages reach nobody, or nobody's reach it.
        OneWay = "one-way",
        /// The links listed under `cuts`.
        Cuts = "cuts",
    }
}

/// Whom a fault hits: a role, the i-th home of some key, or a node by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// By role.
    Role(Role),
    /// The i-th home of some key, from 1.
    Home(usize),
    /// This one.
    Node(NodeId),
}

/// A directed link to cut: what `from` sends does not reach `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cut {
    /// Who sends.
    pub from: NodeId,
    /// Who does not hear it.
    pub to: NodeId,
}

/// A plan that cannot be run, and what to write instead. One line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PlanError(pub String);

impl Plan {
    /// Reads a plan; everything it leaves out has its default, its name is that of the file.
    ///
    /// # Errors
    /// If the file cannot be read, or says something a plan cannot say.
    pub fn read(path: &Path) -> Result<Self, PlanError> {
        Source::read(path).map(|(plan, _)| plan)
    }

    /// Parses a plan; `origin` names it in errors.
    ///
    /// # Errors
    /// Names the line, the column and the mend.
    pub fn parse(text: &str, origin: &str) -> Result<Self, PlanError> {
        toml::from_str(text).map_err(|error| PlanError::of_toml(&error, text, origin))
    }

    /// The plan as a file.
    ///
    /// # Panics
    /// Never: a plan is plain data.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan is plain data")
    }

    /// The nodes' ids, from 1.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        (1..=self.cluster.nodes).map(NodeId).collect()
    }

    /// The same, and the ids of those that may join while it runs.
    #[must_use]
    pub fn everybody(&self) -> Vec<NodeId> {
        (1..=self.cluster.nodes + self.spares()).map(NodeId).collect()
    }

    /// How many disks may be lost at a time.
    #[must_use]
    pub fn most_lost(&self) -> usize {
        self.cluster.settings.w.saturating_sub(1)
    }

    /// Whether it has faults that lose a disk which is refilled.
    pub(crate) fn refills(&self) -> bool {
        let is_refilled = |fault: &FaultName| fault.nature().is_refilled;
        self.cluster.settings.anti_entropy && self.faults.iter().any(is_refilled)
    }

    /// Whether members come, go, or go on with another directory.
    #[must_use]
    pub fn changes_the_ring(&self) -> bool {
        self.faults.iter().any(|fault| fault.nature().changes_the_ring)
    }

    /// As many members stay in as a key has homes, and one to stand in for them if there was one.
    #[must_use]
    pub fn least_members(&self) -> usize {
        let (n, nodes) = (self.cluster.settings.n, usize::from(self.cluster.nodes));
        n + usize::from(nodes > n)
    }

    /// Whether nodes have to be started so that their world can be falsified.
    pub(crate) fn needs_hooks(&self) -> bool {
        let by_hooks = |fault: &FaultName| matches!(fault.nature().needs, Needs::Hooks(_));
        // Of those that may join they are told before there are any.
        self.spares() > 0 || self.faults.iter().any(by_hooks)
    }

    /// How many nodes more than at the genesis there may be at a time.
    #[must_use]
    pub fn spares(&self) -> u16 {
        if self.faults.contains(&FaultName::Join) { SPARES } else { 0 }
    }
}

impl WorkloadName {
    /// Whether its keys hold carts.
    #[must_use]
    pub fn is_of_carts(self) -> bool {
        match self {
            Self::Cart | Self::Set | Self::Hotkey | Self::Large | Self::Many => true,
            Self::Versions | Self::Register | Self::Counter | Self::Session => false,
        }
    }
}

impl FaultPlan {
    /// Whether the share is one.
    pub(crate) fn check_share(&self) -> Result<(), Wrong> {
        within(&["fault.share"], self.share, 0.001, 0.9)
    }

    /// The share of messages that are hit, of a million.
    #[must_use]
    pub fn of_a_million(&self) -> u32 {
        (self.share * 1e6).round() as u32
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            name: "cart".to_owned(),
            seed: None,
            time: Span::secs(30),
            faults: vec![FaultName::Kill, FaultName::Pause, FaultName::Partition],
            cluster: ClusterPlan::default(),
            workload: WorkloadPlan::default(),
            fault: FaultPlan::default(),
        }
    }
}

impl Default for WorkloadPlan {
    fn default() -> Self {
        Self {
            name: WorkloadName::Cart,
            concurrency: 10,
            think: Span::millis(10),
            rate: None,
            carts: 12,
            puts_per_cart: 60,
            timeout: Span::millis(1500),
        }
    }
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self {
            hold: Span::millis(1500),
            gap: Span::millis(500),
            overlap: 0,
            targets: vec![
                Target::Role(Role::One),
                Target::Role(Role::Coordinator),
                Target::Home(2),
                Target::Role(Role::Fallback),
                Target::Role(Role::Minority),
            ],
            shapes: Shape::ALL.iter().copied().filter(|shape| *shape != Shape::Cuts).collect(),
            cuts: Vec::new(),
            delay: Span::millis(50),
            jitter: Span::millis(20),
            rate: 64 << 10,
            share: 0.1,
            slow: Span::millis(30),
            clock: Span::secs(2),
        }
    }
}

/// How many nodes may be in beside as many as founded the cluster. One that left makes room for another.
const SPARES: u16 = 2;

/// The `name` nobody knows, the one probably meant, and those there are.
fn unknown_name(name: &str, known: &[&str]) -> String {
    let near = nearest(name, known).map(|near| format!("; is `{near}` meant?"));
    format!("`{name}` is not one of {}{}", known.join(", "), near.unwrap_or_default())
}

/// The known name that `name` is probably a misspelling of.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let score = |candidate: &str| strsim::damerau_levenshtein(name, candidate);
    let best = known.iter().copied().min_by_key(|candidate| score(candidate))?;
    (score(best) <= 1 + best.len() / 4).then_some(best)
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(index) = text.strip_prefix("home:") {
            return match index.parse() {
                Ok(index) if index >= 1 => Ok(Self::Home(index)),
                _ => Err(format!("`{text}`: homes are counted from 1, as in home:1")),
            };
        }
        if let Ok(node) = parse_node(text) {
            return Ok(Self::Node(node));
        }
        text.parse().map(Self::Role).map_err(|error: String| format!("{error}; or home:2, or n3"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => write!(f, "{role}"),
            Self::Home(index) => write!(f, "home:{index}"),
            Self::Node(node) => write!(f, "{node}"),
        }
    }
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("`{text}` is no cut: write n1->n2");
        let (from, to) = text.split_once("->").ok_or_else(error)?;
        let cut = Self { from: parse_node(from.trim())?, to: parse_node(to.trim())? };
        if cut.from == cut.to { Err(error()) } else { Ok(cut) }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}", self.from, self.to)
    }
}

pub(crate) fn parse_node(text: &str) -> Result<NodeId, String> {
    let id = text.strip_prefix('n').and_then(|digits| digits.parse().ok());
    id.map(NodeId).ok_or_else(|| format!("`{text}` is no node: write n1"))
}

/// What `parse` makes of a text. An error within has the place of this text, and not of all around it.
pub(crate) fn of_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    struct Text<P>(P);

    impl<T, P: Fn(&str) -> Result<T, String>> Visitor<'_> for Text<P> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(parse))
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                of_text(deserializer, str::parse)
            }
        }
    )*};
}

serde_as_text!(Target, Cut);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_own_file() {
        let mut plan = Plan { seed: Some(7), ..Plan::default() };
        plan.workload.rate = Some(250.0);
        plan.fault.cuts = vec!["n1->n2".parse().unwrap()];
        plan.fault.targets.push(Target::Node(NodeId(3)));
        assert_eq!(Plan::parse(&plan.to_toml(), "plan.toml"), Ok(plan));
    }

    #[test]
    fn an_empty_plan_is_the_default_without_a_name() {
        let plan = Plan::parse("", "plan.toml").unwrap();
        assert_eq!(plan, Plan { name: String::new(), ..Plan::default() });
    }

    #[test]
    fn every_plan_that_comes_with_dyno_can_be_run() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
        let plans: Vec<_> = std::fs::read_dir(dir).unwrap().flatten().collect();
        assert!(plans.len() >= 5);
        for entry in plans {
            let plan = Plan::read(&entry.path()).unwrap();
            assert_eq!(plan.check(), Ok(()), "{:?}", entry.path());
        }
    }

    #[test]
    fn the_plan_that_writes_everything_out_is_the_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/default.toml");
        assert_eq!(Plan::read(&path), Ok(Plan::default()));
    }

    #[test]
    fn targets_and_cuts_are_read_as_they_are_written() {
        for text in ["one", "coordinator", "home:2", "n3"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!("n1->n2".parse::<Cut>().unwrap().to_string(), "n1->n2");
        assert!("n1->n1".parse::<Cut>().is_err());
        assert!("home:0".parse::<Target>().is_err());
    }
}
