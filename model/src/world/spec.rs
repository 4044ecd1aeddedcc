//! A bounded configuration: the cluster, the script, how many faults, and what the model may skip.

use std::sync::Arc;

use clap::ValueEnum;
use dynamo_protocol::membership::{Directory, Edit};
use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{
    Identity, Key, Member, NodeId, OpId, Partitioning, Quorum, Settings, Versioning, View,
    ViewError,
};
use thiserror::Error;

use crate::world::script::Script;

/// Most nodes a world has.
pub const MAX_NODES: usize = 5;

/// Virtual nodes of each member: enough that some key has the members in any order.
pub(crate) const TOKENS: u16 = 16;

/// When a host makes what it applied durable, and when it lets the outputs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Durability {
    /// Durable before the step ends: one step is one synced write.
    Step,
    /// Group commit: outputs are held until a later sync. A power cut loses both.
    Group,
    /// One durable copy of a put is enough (section 6.1): as group commit, but what a put's coordinator
    /// is told goes at once.
    One,
    /// The paper's buffered writes (section 6.1): outputs go at once, the sync comes later.
    Buffered,
}

/// How many of each fault may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Processes that end; disks stay.
    pub crashes: u8,
    /// Processes started again, of those that ended.
    pub restarts: u8,
    /// Cuts of the network in two; each may heal.
    pub partitions: u8,
    /// Directories emptied.
    pub wipes: u8,
    /// Home records gone without a trace, the rest of the directory intact.
    pub forgotten: u8,
    /// Messages lost.
    pub losses: u8,
    /// Hosts whose unsynced writes are lost.
    pub power_cuts: u8,
    /// Timers that run out although no fault excuses it: hedges against hosts that are only slow.
    pub hedges: u8,
    /// Directories put back to what they were at some time before; the environment takes a backup for each.
    pub rollbacks: u8,
    /// Exchanges begun while a host of a strict cluster is being filled: no fault, but each is another state.
    pub exchanges: u8,
}

impl Faults {
    /// All counts, in the order of the fields.
    pub(crate) fn counts(self) -> [u8; 10] {
        let Self {
            crashes,
            restarts,
            partitions,
            wipes,
            forgotten,
            losses,
            power_cuts,
            hedges,
            rollbacks,
            exchanges,
        } = self;
        [
            crashes, restarts, partitions, wipes, forgotten, losses, power_cuts, hedges, rollbacks,
            exchanges,
        ]
    }

    /// The other way round.
    pub(crate) fn of(counts: [u8; 10]) -> Self {
        let [
            crashes,
            restarts,
            partitions,
            wipes,
            forgotten,
            losses,
            power_cuts,
            hedges,
            rollbacks,
            exchanges,
        ] = counts;
        Self {
            crashes,
            restarts,
            partitions,
            wipes,
            forgotten,
            losses,
            power_cuts,
            hedges,
            rollbacks,
            exchanges,
        }
    }

    /// A hash of what was spent, which goes into the fingerprint of a state.
    pub(crate) fn word(self) -> u64 {
        let [head @ .., rollbacks, exchanges] = self.counts();
        // Small numbers: the upper halves of two bytes are free.
        u64::from_le_bytes(head) ^ u64::from(rollbacks) << 60 ^ u64::from(exchanges) << 52
    }

    /// All that are less, in no component more. Losses are left alone: only where a message was
    /// lost may a hedge be due.
    pub(crate) fn lesser(self) -> impl Iterator<Item = Self> {
        let most = Self { losses: 0, ..self }.counts();
        let count = most.iter().map(|most| usize::from(*most) + 1).product::<usize>();
        (0..count - 1).map(move |mut number| {
            let digits = most.map(|most| {
                let base = usize::from(most) + 1;
                let digit = number % base;
                number /= base;
                u8::try_from(digit).expect("less than a byte")
            });
            Self { losses: self.losses, ..Self::of(digits) }
        })
    }
}

/// A change of the membership that was decided. Who decided it, and how, is not asked here (`register/`):
/// hosts learn of it at any time, the newcomer from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shift {
    /// Node i of the model is a member from then on.
    Join(u8),
    /// It gives up its share of the ring.
    Leave(u8),
    /// It stays after all.
    Cancel(u8),
}

/// What the search leaves out because it cannot change a verdict. Each is compared with the model
/// that leaves nothing out by `tests/reductions.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reductions {
    /// Answers, pings and forwarded requests are taken in within the step that sends them.
    pub prompt: bool,
    /// Answers and fetches that change nothing any more are forgotten.
    pub inert: bool,
    /// Peers know each other's identities from the start.
    pub warm: bool,
    /// Of nodes and clients that are alike so far, the first is taken.
    pub alike: bool,
    /// The monitor forgets what no later step asks it.
    pub monitor: bool,
    /// A fetch that no reply waits for any more is answered at once: it serves read repair alone.
    pub late: bool,
    /// A host that has something under way to a peer learns at once that it is out of reach, and
    /// pings at once when it is back. Only with `prompt`: the pings are answered within the step.
    pub notice: bool,
    /// Operations are named by their place among those that are open, not by their history.
    pub renaming: bool,
    /// Operations that have answered and will send nothing any more are closed.
    pub finished: bool,
    /// A store whose acknowledgement nobody waits for is put off until its receiver is read. Only
    /// with `prompt`, `notice`, `renaming`, `finished` and `direct`.
    pub unread: bool,
    /// A fault that nothing would notice yet is put off until something does.
    pub lazy: bool,
    /// Once no client asks any more and no fault ends anything, what commutes has one order.
    pub ample: bool,
    /// A client does not ask a node that would pass its request on, for good, to another.
    pub direct: bool,
    /// A state that another one is like, but for having more of its fault budget left, is that one.
    pub dominated: bool,
    /// States that differ in which of several clients with one script is which are one.
    pub symmetry: bool,
    /// What only properties that were found broken would ask the monitor tells no states apart.
    pub told: bool,
}

/// One bounded configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What the clients do.
    pub script: Script,
    /// How many nodes there are.
    pub nodes: usize,
    /// What they are told for life.
    pub settings: Settings,
    /// When writes are durable.
    pub durability: Durability,
    /// Fault budgets.
    pub faults: Faults,
    /// The epochs after the genesis.
    pub shifts: Vec<Shift>,
    /// A wiped directory gets a new identity and knows that it began empty, and a start on one that may
    /// have been rolled back says so. False is a broken host.
    pub renew: bool,
    /// What the search leaves out.
    pub reductions: Reductions,
    /// The seeded bug of the core that is switched on.
    pub mutant: Option<String>,
}

/// A configuration that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    /// The core refuses it.
    #[error(transparent)]
    View(#[from] ViewError),
    /// Too many nodes.
    #[error("{0} nodes; the model carries from 1 to {MAX_NODES}: pass --nodes in that range")]
    Nodes(usize),
}

/// What a [`Spec`] comes to: the key, and the settings and the view that all nodes share. Node `i` of the
/// model is the `i`-th of the key's preference list: the first N are its homes.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) key: Key,
    pub(crate) ids: Vec<NodeId>,
    pub(crate) settings: Arc<Settings>,
    /// Those of all epochs, from the genesis on.
    pub(crate) views: Vec<Arc<View>>,
    pub(crate) script: Script,
    pub(crate) durability: Durability,
    pub(crate) renew: bool,
    /// Directories may be rolled back: they tell how far they have come, and a start is in doubt.
    pub(crate) counts: bool,
}

impl Reductions {
    /// Everything that is sound to leave out.
    pub const ALL: Self = Self {
        prompt: true,
        inert: true,
        warm: true,
        alike: true,
        monitor: true,
        late: true,
        notice: true,
        renaming: true,
        finished: true,
        unread: true,
        lazy: true,
        ample: true,
        direct: true,
        dominated: true,
        symmetry: true,
        told: true,
    };
    /// Nothing left out.
    pub const NONE: Self = Self {
        prompt: false,
        inert: false,
        warm: false,
        alike: false,
        monitor: false,
        late: false,
        notice: false,
        renaming: false,
        finished: false,
        unread: false,
        lazy: false,
        ample: false,
        direct: false,
        dominated: false,
        symmetry: false,
        told: false,
    };

    /// Those that hold where a directory may be rolled back, and where homes exchange what they hold. The
    /// others were argued for messages that do nothing but what they say, and for stores that only a get can
    /// come to see: but every message may also tell how far its sender has come, and an exchange sees all.
    pub(crate) fn for_messages_that_do_more(self) -> Self {
        let none = Self::NONE;
        let Self { prompt, warm, alike, monitor, notice, renaming, dominated, told, .. } = self;
        Self { prompt, warm, alike, monitor, notice, renaming, dominated, told, ..none }
    }

    /// Their names.
    pub const NAMES: [&str; 16] = [
        "prompt",
        "inert",
        "warm",
        "alike",
        "monitor",
        "late",
        "notice",
        "renaming",
        "finished",
        "unread",
        "lazy",
        "ample",
        "direct",
        "dominated",
        "symmetry",
        "told",
    ];

    /// Everything but the one named.
    #[must_use]
    pub fn without(name: &str) -> Self {
        let mut reductions = Self::ALL;
        reductions.set(name, false);
        reductions
    }

    /// Nothing but the one named.
    #[must_use]
    pub fn only(name: &str) -> Self {
        let mut reductions = Self::NONE;
        reductions.set(name, true);
        reductions
    }

    fn set(&mut self, name: &str, on: bool) {
        let switch = match name {
            "prompt" => &mut self.prompt,
            "inert" => &mut self.inert,
            "warm" => &mut self.warm,
            "alike" => &mut self.alike,
            "monitor" => &mut self.monitor,
            "late" => &mut self.late,
            "notice" => &mut self.notice,
            "renaming" => &mut self.renaming,
            "finished" => &mut self.finished,
            "unread" => &mut self.unread,
            "lazy" => &mut self.lazy,
            "ample" => &mut self.ample,
            "direct" => &mut self.direct,
            "dominated" => &mut self.dominated,
            "symmetry" => &mut self.symmetry,
            "told" => &mut self.told,
            _ => return,
        };
        *switch = on;
    }
}

impl Spec {
    /// `script` on three nodes, strict, N=3, R=W=2, dotted, plain gets, no fault, reduced.
    #[must_use]
    pub fn new(script: Script) -> Self {
        Self {
            script,
            nodes: 3,
            settings: Settings {
                quorum: Quorum::Strict,
                anti_entropy: false,
                ..Settings::default()
            },
            durability: Durability::Step,
            faults: Faults::default(),
            shifts: Vec::new(),
            renew: true,
            reductions: Reductions::ALL,
            mutant: None,
        }
    }

    /// The same with four nodes, one of them a fallback that may stand in.
    #[must_use]
    pub fn sloppy(mut self) -> Self {
        (self.nodes, self.settings.quorum) = (4, Quorum::Sloppy);
        self
    }

    /// Whether it differs from `other` in what may go wrong alone.
    #[must_use]
    pub fn is_kin(&self, other: &Self) -> bool {
        let rolls_back = |spec: &Self| spec.faults.rollbacks > 0;
        let same = Self { faults: other.faults, ..self.clone() };
        same == *other && rolls_back(self) == rolls_back(other)
    }

    /// How many copies the faults may destroy.
    #[must_use]
    pub fn copies_lost(&self) -> u8 {
        self.faults.wipes + self.faults.forgotten + self.faults.rollbacks
    }

    /// Refuses what cannot be built.
    ///
    /// # Errors
    /// If there are too many nodes, or the core refuses the configuration.
    pub fn check(&self) -> Result<(), SpecError> {
        self.setup().map(drop)
    }

    /// Builds every node's settings.
    pub(crate) fn setup(&self) -> Result<Setup, SpecError> {
        if !(1..=MAX_NODES).contains(&self.nodes) {
            return Err(SpecError::Nodes(self.nodes));
        }
        let (members, key) = ordered(self.nodes);
        let ids: Vec<_> = members.iter().map(|member| member.id).collect();
        let mut settings = self.settings;
        settings.versioning = match settings.versioning {
            _ if mutated(Mutant::PlainClocks) => Versioning::Paper,
            _ if mutated(Mutant::LastWriterWins) => Versioning::Lww,
            versioning => versioning,
        };
        let views = views(&settings, &members, &self.shifts)?;
        let settings = Arc::new(settings);
        let (script, durability, renew) = (self.script.clone(), self.durability, self.renew);
        let counts = self.faults.rollbacks > 0;
        Ok(Setup { key, ids, settings, views, script, durability, renew, counts })
    }
}

/// The views of all epochs. Nodes that are to join are no members of the first.
fn views(
    settings: &Settings,
    members: &[Member],
    shifts: &[Shift],
) -> Result<Vec<Arc<View>>, ViewError> {
    let node = |at: u8| members[usize::from(at)];
    let joins = |member: &Member| {
        shifts.iter().any(|shift| matches!(shift, Shift::Join(at) if node(*at) == *member))
    };
    let founders = members.iter().filter(|member| !joins(member)).copied().collect();
    let mut views = vec![Arc::new(View::genesis(settings, founders)?)];
    for shift in shifts {
        let edit = match *shift {
            Shift::Join(at) => Edit::Join {
                node: node(at).id,
                directory: Directory::Drawn(Setup::identity(at, 0)),
                tokens: TOKENS,
                zone: None,
            },
            Shift::Leave(at) => Edit::Leave { node: node(at).id },
            Shift::Cancel(at) => Edit::Cancel { node: node(at).id },
        };
        let last = &views[views.len() - 1];
        let next = last.history().latest().edited(&edit, settings.n);
        let next = next.unwrap_or_else(|why| panic!("a scenario's changes can be made: {why}"));
        views.push(Arc::new(last.followed_by(settings, &next)));
    }
    Ok(views)
}

impl Setup {
    /// The last of its views.
    pub(crate) fn last_view(&self) -> &Arc<View> {
        &self.views[self.views.len() - 1]
    }

    /// Whether the ring changes.
    pub(crate) fn changes(&self) -> bool {
        self.views.len() > 1
    }

    /// The places of the key's homes in the end.
    pub(crate) fn last_homes(&self) -> Vec<usize> {
        self.last_view().homes(&self.key).iter().map(|home| self.index(*home)).collect()
    }

    pub(crate) fn index(&self, id: NodeId) -> usize {
        usize::from(id.0) - 1
    }

    /// The identity of node `me`'s directory after `wipes` renewals.
    pub(crate) fn identity(me: u8, wipes: u8) -> Identity {
        Identity(u64::from(me + 1) | u64::from(wipes) << 8)
    }

    /// The spare identity of a start: no directory has it before.
    pub(crate) fn spare(me: u8, starts: u8) -> Identity {
        Identity(u64::from(me + 1) | u64::from(starts) << 16)
    }

    /// The node whose operation it is.
    pub(crate) fn owner(op: OpId) -> u8 {
        u8::try_from((op.incarnation >> 8) - 1).expect("there are few nodes")
    }

    /// A nonce that no other start of any node has.
    pub(crate) fn incarnation(me: u8, starts: u8) -> u64 {
        u64::from(me + 1) << 8 | u64::from(starts)
    }
}

/// Members n1, n2, ... and a key whose preference list is in that order, so that a trace can be
/// read: n1 is always the first home.
fn ordered(nodes: usize) -> (Vec<Member>, Key) {
    let ids = 1..=u16::try_from(nodes).expect("there are few nodes");
    let members: Vec<_> = ids.map(|id| Member::new(NodeId(id), TOKENS)).collect();
    let ring = dynamo_protocol::Ring::new(&members, Partitioning::Tokens, 1);
    let mut keys = (0..100_000).map(|index| Key::from(format!("k{index}").as_str()));
    // A bug that lists a host twice strikes the keys where it does: one of those, then.
    let strikes = |list: &[NodeId]| !mutated(Mutant::HostTwice) || list[0] == list[1];
    let key = keys.find(|key| {
        let list = ring.preference_list(key);
        list.is_sorted() && (nodes == 1 || strikes(list))
    });
    (members, key.expect("sixteen virtual nodes a member give every order of up to five"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_i_is_the_ith_of_the_preference_list() {
        for nodes in 1..=MAX_NODES {
            let mut spec = Spec::new("pg".parse().unwrap());
            (spec.nodes, spec.settings) = (nodes, Settings::new([1, 1, 1]));
            let setup = spec.setup().unwrap();
            let (homes, fallbacks) = setup.views[0].preference_list(&setup.key);
            let list: Vec<_> = homes.iter().chain(fallbacks).copied().collect();
            assert_eq!(list, setup.ids);
        }
    }

    #[test]
    fn what_no_cluster_can_run_with_is_refused_by_name() {
        let mut spec = Spec::new("pg".parse().unwrap());
        spec.settings.w = 4;
        assert!(spec.setup().unwrap_err().to_string().contains("w = 4"));
        spec.nodes = 9;
        assert!(spec.setup().unwrap_err().to_string().contains("--nodes"));
    }
}
