//! The model layer of the mutant matrix: for each seeded bug the scenario that should find it.
//!
//! Who runs a trial switches the bug on in the core first, for the whole process (that takes the
//! core's feature `mutants`, which no manifest enables), and off again afterwards.

use dynamo_protocol::{Epoch, Quorum, ReadMode};

use crate::properties::{Kind, PROPERTIES};
use crate::register;
use crate::register::bounds::{Ask, BACK, Bounds, GONE, LEAVE, WEIGH};
use crate::register::scenarios::forced;
use crate::scenarios::check::{Judgement, Report, Verdict, check};
use crate::scenarios::scenario::{Scenario, collect};
use crate::search::engine::Budget;
use crate::world::spec::Shift::{self, Cancel, Join, Leave};
use crate::world::spec::{Durability, Spec, SpecError};

/// One seeded bug and where the model looks for it.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The bug, as the core names it.
    pub mutant: &'static str,
    /// The configuration that should find it, and in which the unmutated core must be clean.
    pub searched: Searched,
    /// The properties of which any broken one kills it. Others may break as well; these name the cause.
    pub killers: &'static [&'static str],
}

/// A configuration of nodes, or of the register of memberships by itself.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are a few dozen of them")]
pub enum Searched {
    /// Nodes.
    Nodes(Spec),
    /// Registers.
    Registers(Bounds),
}

/// What became of a trial.
#[derive(Clone, Debug)]
pub struct Trialled {
    /// The named property that broke first.
    pub killed_by: Option<&'static str>,
    /// In how many steps.
    pub steps: usize,
    /// How many states were seen.
    pub states: usize,
    /// The whole space was seen.
    pub complete: bool,
    /// Wall time, in seconds.
    pub seconds: f64,
    /// A path to it.
    pub trace: Vec<String>,
}

const LOST: &[&str] = &[
    "acknowledged-kept",
    "w-copies",
    "converges",
    "dots-closed",
    "dots-unique",
    "assertions-hold",
];
const HELD: &[&str] = &["held-by-w-at-acknowledgement", "w-copies", "acknowledged-kept"];
const FRESH: &[&str] = &["regular-gets", "read-your-writes"];
const SHOWN: &[&str] = &["regular-gets", "acknowledged-kept", "contexts-closed"];
const ORDER: &[&str] = &[
    "no-false-siblings",
    "no-dominated-sibling",
    "contexts-closed",
    "bounded-versions",
    "acknowledged-kept",
    "converges",
];
const HINTS: &[&str] =
    &["hint-kept-until-held", "acknowledged-kept", "w-copies", "a-hint-is-delivered"];

const FORK: &[&str] = &["one-ring-a-number"];

/// Where the one disk that must not be lost is.
const KEPT: &[&str] = &["hint-kept-until-held"];

fn forgets(mut spec: Spec) -> Spec {
    spec.faults.forgotten = 1;
    spec
}

fn wipes(mut spec: Spec) -> Spec {
    (spec.faults.wipes, spec.faults.restarts) = (1, 1);
    spec
}

fn puts_back(mut spec: Spec) -> Spec {
    spec.faults.rollbacks = 1;
    spec.faults.restarts += 1;
    spec
}

fn crashes(mut spec: Spec) -> Spec {
    (spec.faults.crashes, spec.faults.restarts) = (1, 1);
    spec
}

fn cuts(mut spec: Spec) -> Spec {
    spec.faults.partitions = 1;
    spec
}

fn hedges(mut spec: Spec) -> Spec {
    spec.faults.hedges = 1;
    spec
}

fn unsynced(mut spec: Spec) -> Spec {
    spec.durability = Durability::Group;
    (spec.faults.power_cuts, spec.faults.restarts) = (1, 1);
    spec
}

/// An acknowledgement is under way on its own, and its sender may be wiped meanwhile.
fn late_acks(mut spec: Spec) -> Spec {
    spec.reductions.prompt = false;
    spec
}

fn all_writes(mut spec: Spec) -> Spec {
    (spec.settings.r, spec.settings.w) = (1, 3);
    spec
}

fn strict(mut spec: Spec) -> Spec {
    spec.settings.quorum = Quorum::Strict;
    spec
}

/// Two nodes, one home.
fn pair(mut spec: Spec) -> Spec {
    spec.nodes = 2;
    (spec.settings.n, spec.settings.r, spec.settings.w) = (1, 1, 1);
    spec
}

/// Three nodes, two homes, W=2.
fn twins(mut spec: Spec) -> Spec {
    spec.nodes = 3;
    (spec.settings.n, spec.settings.r, spec.settings.w) = (2, 1, 2);
    spec
}

/// The ring changes.
fn changes(mut spec: Spec, shifts: &[Shift]) -> Spec {
    spec.shifts = shifts.to_vec();
    spec
}

/// A strict cluster, whose newcomers are filled while clients ask.
fn fills(spec: Spec, [n, r, w]: [usize; 3], shifts: &[Shift]) -> Spec {
    let mut spec = changes(spec, shifts);
    (spec.settings.n, spec.settings.r, spec.settings.w) = (n, r, w);
    spec.nodes = n + shifts.len();
    spec.faults.exchanges = u8::try_from(n - r.min(w) + 1).unwrap_or(u8::MAX);
    spec
}

/// A home leaves and stays, and what is offered meanwhile crosses.
fn crossed(spec: Spec) -> Spec {
    let mut spec = late_acks(changes(spec, &[Leave(0), Cancel(0)]));
    spec.faults.hedges = 2;
    spec
}

fn loses(mut spec: Spec) -> Spec {
    spec.faults.losses = 1;
    spec
}

/// Homes exchange what they hold once all is over, and once at any time before.
fn exchanges(mut spec: Spec) -> Spec {
    spec.settings.anti_entropy = true;
    hedges(spec)
}

/// A directory is lost, and had from the other homes what they held: an exchange with each.
fn refills(spec: Spec) -> Spec {
    let mut spec = exchanges(wipes(spec));
    spec.faults.hedges = 2;
    spec
}

fn atomic(mut spec: Spec) -> Spec {
    spec.settings.read = ReadMode::Atomic;
    spec
}

/// The trials, by mutant.
///
/// # Panics
/// Never: the scripts are constants.
#[must_use]
pub fn trials() -> Vec<Trial> {
    let spec = |script: &str| Spec::new(script.parse().expect("a constant script is well formed"));
    let sloppy = |script: &str| spec(script).sloppy();
    [
        ("actor-reused", forgets(spec("pp,p")), LOST),
        ("forgotten-goes-on", forgets(spec("pp,gp")), LOST),
        ("plain-clocks", spec("p,gp"), ORDER),
        ("context-ignored", spec("pgp"), ORDER),
        ("blind-overwrite", spec("p,p"), LOST),
        // The loser is dropped at the reply: it is lost when a put covers what was not shown.
        ("last-writer-wins", spec("p,pgp"), SHOWN),
        ("merge-drops-values", spec("p,p"), LOST),
        ("retry-mints", crashes(sloppy("p")), LOST),
        ("ack-before-w", spec("p"), HELD),
        ("host-twice", all_writes(sloppy("p")), HELD),
        ("sloppy-as-strict", cuts(strict(sloppy("p,g"))), FRESH),
        ("done-claims-siblings", spec("po,p"), LOST),
        ("first-reply", spec("p,g"), FRESH),
        ("coordinator-unsynced", unsynced(spec("p")), HELD),
        ("ack-unsynced", unsynced(spec("p")), HELD),
        ("amnesiac-votes", wipes(spec("p,g")), FRESH),
        ("hints-volatile", crashes(cuts(sloppy("p"))), HINTS),
        ("hint-gone-at-send", cuts(sloppy("p")), HINTS),
        ("handoff-not-resumed", crashes(cuts(sloppy("p"))), &["converges"]),
        ("store-overwrites", spec("p,p"), LOST),
        // A fallback that keeps no record forwards: the gap needs a record that is gone.
        ("node-wide-counter", forgets(spec("pp,p")), LOST),
        ("slot-twice", all_writes(hedges(sloppy("p"))), HELD),
        ("fallback-twice", all_writes(cuts(sloppy("p"))), HELD),
        // The get before finds the home out of reach, the one after hears of its new directory.
        ("dead-identity-acks", late_acks(wipes(cuts(pair(sloppy("gpg"))))), KEPT),
        // The fallback has to suspect the target: it learns so by asking it for somebody's get.
        ("hints-expire", cuts(sloppy("p,g")), HINTS),
        ("rollback-ignored", puts_back(spec("pp")), LOST),
        // The first to answer has not heard of what the others know, and they cannot tell before a put is
        // minted: while all are up the pings of a start are answered within its step.
        ("proof-of-one", puts_back(crashes(spec("pp"))), LOST),
        // Who has heard of it crashes.
        ("memory-volatile", puts_back(crashes(spec("pp"))), LOST),
        // Who could tell is down.
        ("doubt-mints", puts_back(crashes(spec("pp"))), LOST),
        ("sync-copies", exchanges(spec("p,p")), LOST),
        // One that lacks a version holds as many keys.
        ("false-match", exchanges(loses(spec("p,p"))), &["converges-unread"]),
        ("refill-of-one", refills(spec("p,g")), FRESH),
        ("hint-not-adopted", changes(pair(sloppy("p")), &[Leave(0)]), LOST),
        ("stray-unconfirmed", changes(pair(sloppy("p")), &[Leave(0)]), LOST),
        ("stray-to-one", changes(twins(sloppy("p")), &[Leave(0)]), HELD),
        // It grows by a put that goes on under the epoch before.
        ("grown-stray-dropped", changes(twins(sloppy("p,p")), &[Leave(0)]), HELD),
        // Each of two nodes takes the other for a home, and both drop what the other confirmed.
        ("compared-in-any-epoch", crossed(pair(sloppy("p"))), LOST),
        (
            "offer-outlives-epoch",
            late_acks(changes(pair(sloppy("p")), &[Leave(0), Cancel(0), Leave(0)])),
            LOST,
        ),
        ("atomic-control", atomic(spec("p,gg")), &["no-inversion"]),
    ]
    .into_iter()
    .chain(strict_ring_trials(&spec("p,g")))
    .chain(tombstone_trials())
    .map(|(mutant, mut spec, killers)| {
        // It rests on merges that commute, which is what some bugs break.
        spec.reductions.ample = false;
        Trial { mutant, searched: Searched::Nodes(spec), killers }
    })
    .chain(register_trials())
    .collect()
}

/// The ring of a strict cluster changes under a put and a get.
fn strict_ring_trials(spec: &Spec) -> [(&'static str, Spec, &'static [&'static str]); 5] {
    let fills = |nrw, shifts: &[Shift]| fills(spec.clone(), nrw, shifts);
    [
        ("old-epoch-served", fills([3, 2, 2], &[Join(0)]), FRESH),
        ("newcomer-votes", fills([2, 1, 2], &[Join(0)]), FRESH),
        ("newcomer-acks", fills([2, 1, 2], &[Join(0)]), FRESH),
        ("filled-by-fewer", fills([3, 2, 2], &[Join(0)]), FRESH),
        ("filled-by-uncounted", fills([1, 1, 1], &[Join(1), Join(0)]), FRESH),
    ]
}

/// Tombstones are collected too early.
fn tombstone_trials() -> [(&'static str, Spec, &'static [&'static str]); 4] {
    const GONE: &[&str] = &["collected-stays-gone", "no-resurrection"];
    // The put that is under way is given up.
    let mut slow = collect("pgd", 2);
    slow.faults.hedges = 3;
    let with_a_fallback = || {
        let mut spec = collect("pgd", 3);
        spec.faults.hedges = 2;
        spec
    };
    [
        ("tombstone-unasked", collect("pgd", 2), GONE),
        ("settled-at-homes", with_a_fallback(), GONE),
        ("settled-while-open", collect("pgd,g", 2), GONE),
        ("old-era-stored", slow, GONE),
    ]
}

/// The same of the register of memberships.
fn register_trials() -> impl Iterator<Item = Trial> {
    let two = Bounds { rounds: 1, ..Bounds::new(&[Ask::of(1, LEAVE), Ask::of(2, WEIGH)]) };
    let wipe = Bounds { wipes: 1, ..two.clone() };
    let again = Bounds { rounds: 2, ..two.clone() };
    let even = Bounds { members: 4, ..two.clone() };
    let returns = Bounds { last: Epoch(3), ..Bounds::new(&[Ask::of(1, GONE), Ask::of(1, BACK)]) };
    // What is left out of the flight rests on promises and epochs that only rise, and on ballots used once.
    let forgets = Bounds { crashes: 1, inert: false, ..two.clone() };
    let one = Bounds::new(&[Ask::of(1, WEIGH)]);
    let alone = Bounds { wipes: 1, forces: 1, rounds: 1, ..forced() };
    let reborn = Bounds { wipes: 1, rounds: 1, inert: false, ..one };
    [
        ("promise-unsaved", forgets.clone(), FORK),
        ("vote-unsaved", forgets.clone(), FORK),
        ("wiped-votes", wipe, FORK),
        ("highest-vote-ignored", again, FORK),
        ("majority-less-one", two, FORK),
        ("epoch-unsaved", forgets, &["epoch-never-falls"]),
        ("votes-once", even, &["a-decision-stays-possible"]),
        ("ballot-reused", reborn, FORK),
        ("gone-joins", returns, &["gone-stays-gone"]),
        ("forced-over-vote", alone, FORK),
    ]
    .into_iter()
    .map(|(mutant, bounds, killers)| Trial {
        mutant,
        searched: Searched::Registers(bounds),
        killers,
    })
}

impl Searched {
    /// The configuration in a line.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Nodes(spec) => spec.label(),
            Self::Registers(bounds) => bounds.label(),
        }
    }
}

impl Trial {
    /// Searches until one of the killers is found.
    ///
    /// # Errors
    /// If the core refuses the configuration.
    pub fn run(&self, budget: &Budget) -> Result<Trialled, SpecError> {
        match &self.searched {
            Searched::Nodes(spec) => {
                let until = self.bits(PROPERTIES.iter().map(|it| (it.name, it.kind)));
                let budget = Budget { until, ..*budget };
                let checked = check(&Scenario::of(spec.clone()), &budget, &mut |_| ())?;
                Ok(self.judge(checked.report))
            }
            Searched::Registers(bounds) => {
                let until = self.bits(register::PROPERTIES.iter().map(|it| (it.name, it.kind)));
                let budget = Budget { until, ..*budget };
                let (name, about, bounds) = (self.mutant, "", bounds.clone());
                let scenario = register::Scenario { name, about, bounds };
                Ok(self.judge(register::check(&scenario, &budget, &mut |_| ()).report))
            }
        }
    }

    fn is_killer(&self, name: &str, kind: Kind) -> bool {
        kind == Kind::Always && self.killers.contains(&name)
    }

    /// The killers' places among `properties`.
    fn bits(&self, properties: impl Iterator<Item = (&'static str, Kind)>) -> u64 {
        let killers =
            properties.enumerate().filter(|(_, (name, kind))| self.is_killer(name, *kind));
        killers.fold(0, |bits, (at, _)| bits | 1 << at)
    }

    fn judge(&self, report: Report) -> Trialled {
        let Report { states, complete, seconds, properties, .. } = report;
        let is_broken = |judgement: &Judgement| judgement.verdict == Verdict::Violated;
        let found = properties
            .into_iter()
            .filter(|(name, judgement)| self.killers.contains(name) && is_broken(judgement));
        let nearest = found.min_by_key(|(_, judgement)| judgement.steps);
        let killed_by = nearest.as_ref().map(|(name, _)| *name);
        let steps = nearest.as_ref().and_then(|(_, judgement)| judgement.steps).unwrap_or(0);
        let trace = nearest.map_or_else(Vec::new, |(_, judgement)| judgement.trace);
        Trialled { killed_by, steps, states, complete, seconds, trace }
    }
}
