//! Named scenarios: a configuration and what the search of it must find.

use dynamo_protocol::{Quorum, ReadMode, Settings, Versioning};

use crate::properties::{Kind, PROPERTIES, Property};
use crate::world::spec::{Durability, Shift, Spec};

/// A configuration with a name and expectations.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: String,
    /// What it shows, in a line.
    pub about: String,
    /// The configuration.
    pub spec: Spec,
    /// Always-propertys that must be found broken, and in how many steps at the least. What is promised
    /// and not named here must hold.
    pub breaks: Vec<(&'static str, usize)>,
}

/// What is expected of one property in one scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No state may be found.
    Absent,
    /// One must be found; nearer than so many steps is a surprise, too.
    Present(usize),
    /// Either is fine.
    Either,
}

impl Scenario {
    /// A scenario without a name: a configuration from the command line.
    #[must_use]
    pub fn of(spec: Spec) -> Self {
        let name = spec.label();
        Self { name, about: String::new(), spec, breaks: Vec::new() }
    }

    /// What is expected of `property`.
    #[must_use]
    pub fn expects(&self, property: &Property) -> Expected {
        if let Some((_, steps)) = self.breaks.iter().find(|(name, _)| *name == property.name) {
            return Expected::Present(*steps);
        }
        match (property.kind, (property.promised)(&self.spec)) {
            (Kind::Always, true) if !self.spoils(property) => Expected::Absent,
            (Kind::Sometimes, true) => Expected::Present(1),
            _ => Expected::Either,
        }
    }

    /// A scenario that is there to break one promise says nothing of what breaks with it.
    fn spoils(&self, property: &Property) -> bool {
        let promised =
            |name: &str| PROPERTIES.iter().any(|c| c.name == name && (c.promised)(&self.spec));
        self.breaks.iter().any(|(name, _)| promised(name)) && property.name != "assertions-hold"
    }
}

impl Spec {
    /// The configuration in a line.
    #[must_use]
    pub fn label(&self) -> String {
        let Settings { n, r, w, quorum, versioning, read, anti_entropy, .. } = self.settings;
        let mut label = format!("{} {quorum} nodes={} N={n} R={r} W={w}", self.script, self.nodes);
        if versioning != Versioning::Dotted {
            label += &format!(" {versioning}");
        }
        if read != ReadMode::Plain {
            label += &format!(" {read}");
        }
        if anti_entropy {
            label += " anti-entropy";
        }
        match self.durability {
            Durability::Step => {}
            Durability::Group => label += " group-commit",
            Durability::One => label += " one",
            Durability::Buffered => label += " buffered",
        }
        if !self.renew {
            label += " identity-kept";
        }
        for shift in &self.shifts {
            label += &match shift {
                Shift::Join(at) => format!(" join=n{}", at + 1),
                Shift::Leave(at) => format!(" leave=n{}", at + 1),
                Shift::Cancel(at) => format!(" cancel=n{}", at + 1),
            };
        }
        let faults = &self.faults;
        for (name, count) in [
            ("crashes", faults.crashes),
            ("restarts", faults.restarts),
            ("partitions", faults.partitions),
            ("wipes", faults.wipes),
            ("forgotten", faults.forgotten),
            ("losses", faults.losses),
            ("power-cuts", faults.power_cuts),
            ("hedges", faults.hedges),
            ("rollbacks", faults.rollbacks),
            ("exchanges", faults.exchanges),
        ] {
            if count > 0 {
                label += &format!(" {name}={count}");
            }
        }
        label
    }
}

/// Searched when they are named: each takes minutes, and gigabytes.
#[must_use]
pub fn deep() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    let join = strictly("p,g", 4, [3, 2, 2], &[Shift::Join(0)]);
    let about = "one of three homes gives way, and the newcomer is filled";
    adder(&mut scenarios)("strict-join-three", about, join, &[]);
    let mut wipe = strictly("p,g", 3, [2, 2, 2], &[Shift::Join(0)]);
    (wipe.faults.wipes, wipe.faults.restarts) = (1, 1);
    let about = "one of two homes gives way while a directory is lost";
    adder(&mut scenarios)("strict-join-wipe", about, wipe, &[]);
    scenarios
}

/// The default set, in the order in which it is checked.
///
/// # Panics
/// Never: the scripts are constants.
#[must_use]
pub fn defaults() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    strict_quorums(&mut scenarios);
    sloppy_quorums(&mut scenarios);
    versions_and_disks(&mut scenarios);
    exchanges(&mut scenarios);
    collections(&mut scenarios);
    ring_changes(&mut scenarios);
    strict_ring_changes(&mut scenarios);
    scenarios
}

fn spec(script: &str) -> Spec {
    Spec::new(script.parse().expect("a constant script is well formed"))
}

fn sloppy(script: &str) -> Spec {
    spec(script).sloppy()
}

fn adder(scenarios: &mut Vec<Scenario>) -> impl FnMut(&str, &str, Spec, &[(&'static str, usize)]) {
    |name, about, spec, breaks| {
        let (name, about, breaks) = (name.to_owned(), about.to_owned(), breaks.to_vec());
        scenarios.push(Scenario { name, about, spec, breaks });
    }
}

/// Homes alone answer.
fn strict_quorums(scenarios: &mut Vec<Scenario>) {
    let mut add = adder(scenarios);
    add(
        "strict",
        "R+W > N: gets are regular, and a later get may see less than an earlier one",
        spec("p,gg"),
        &[("no-inversion", 5), ("monotonic-reads", 5)],
    );
    add("strict-siblings", "two blind puts are both kept", spec("p,p,g"), &[]);
    add("strict-overwrite", "what was put alone is overwritten without a get", spec("po,p,g"), &[]);
    add("strict-rmw", "read, then write over what was read", spec("pgp,p"), &[]);
    let mut crash = spec("pg,g");
    (crash.faults.crashes, crash.faults.restarts) = (1, 1);
    add("strict-crash", "one process dies and comes back", crash, &[]);
    let mut cut = spec("pg,g");
    cut.faults.partitions = 1;
    add("strict-partition", "one cut: strict gets stay regular", cut, &[]);
    let mut weak = spec("p,g");
    (weak.settings.r, weak.settings.w) = (1, 1);
    add("weak", "R=W=1: a get misses an acknowledged put", weak, &[("regular-gets", 2)]);
    let mut lopsided = spec("p,gg");
    (lopsided.settings.r, lopsided.settings.w) = (1, 3);
    add("read-one", "R=1 W=3 is regular, not atomic", lopsided, &[("no-inversion", 3)]);
    let mut all = spec("p,gg");
    (all.settings.r, all.settings.w) = (3, 1);
    add("read-all", "R=3 W=1 is atomic on this script", all, &[]);
    let mut atomic = spec("p,gg");
    atomic.settings.read = ReadMode::Atomic;
    add("atomic", "write-back before the reply: no inversion", atomic, &[]);
    let mut atomic = spec("p,p,g");
    atomic.settings.read = ReadMode::Atomic;
    add("atomic-siblings", "the same with concurrent puts", atomic, &[]);
}

/// Fallbacks stand in, disks are lost.
fn sloppy_quorums(scenarios: &mut Vec<Scenario>) {
    let mut add = adder(scenarios);
    let mut stale = sloppy("p,g");
    (stale.faults.crashes, stale.faults.restarts) = (1, 1);
    add("sloppy-crash", "a fallback stands in: kept, and stale", stale, &[("regular-gets", 4)]);
    let mut stale = sloppy("p,g");
    stale.faults.partitions = 1;
    add(
        "sloppy-partition",
        "the same across a cut; hints alone do not make homes equal",
        stale,
        &[("regular-gets", 4)],
    );
    let mut wiped = sloppy("p,p");
    (wiped.faults.wipes, wiped.faults.restarts) = (1, 1);
    add("sloppy-wipe", "one directory is lost, its identity renewed", wiped, &[]);
    let mut forgotten = sloppy("pp,p");
    forgotten.faults.forgotten = 1;
    add("forgotten", "one record gone: a fresh birth", forgotten, &[]);
    let mut kept = spec("pp,p");
    (kept.faults.wipes, kept.faults.restarts, kept.renew) = (1, 1, false);
    add(
        "identity-kept",
        "a wiped directory that keeps its identity mints old dots again",
        kept,
        &[("dots-unique", 4)],
    );
    let mut back = spec("pp");
    (back.faults.rollbacks, back.faults.restarts) = (1, 1);
    add("rollback", "one directory is put back to its backup, and its peers tell", back, &[]);
    let mut back = spec("p,g");
    (back.faults.rollbacks, back.faults.restarts) = (1, 1);
    add("rollback-votes", "a home that may lack what it acknowledged does not vote", back, &[]);
    let mut unasked = spec("pp");
    (unasked.faults.rollbacks, unasked.faults.restarts, unasked.renew) = (1, 1, false);
    add(
        "rollback-unasked",
        "a host that swears its directory cannot have been rolled back: a dot names two values",
        unasked,
        &[("dots-unique", 4)],
    );
    let mut over = sloppy("po,p");
    over.faults.partitions = 1;
    add("sloppy-overwrite", "the same across a cut, where a fallback may coordinate", over, &[]);
    let mut slow = sloppy("p,p");
    slow.faults.hedges = 1;
    add("hedge", "a home that is only slow, and its fallback: one slot", slow, &[]);
}

/// Ways of telling versions apart, and what a disk keeps.
fn versions_and_disks(scenarios: &mut Vec<Scenario>) {
    let mut add = adder(scenarios);
    let mut paper = spec("p,p");
    paper.settings.versioning = Versioning::Paper;
    add(
        "paper-clocks",
        "the paper's clocks lose an acknowledged put",
        paper,
        &[("acknowledged-kept", 3)],
    );
    let mut lww = spec("p,p,gp");
    lww.settings.versioning = Versioning::Lww;
    (lww.settings.r, lww.settings.w) = (1, 1);
    add(
        "last-writer-wins",
        "a put over the newest version drops one its client never read",
        lww,
        &[("contexts-closed", 3), ("acknowledged-kept", 4)],
    );
    let mut group = spec("p");
    (group.durability, group.faults.power_cuts, group.faults.restarts) = (Durability::Group, 1, 1);
    add("power-cut", "what was acknowledged was synced", group, &[]);
    let mut buffered = spec("p");
    (buffered.settings.w, buffered.faults.power_cuts) = (1, 1);
    buffered.durability = Durability::Buffered;
    add(
        "buffered",
        "the paper's buffered writes: one power cut and an acknowledged put is gone",
        buffered,
        &[("acknowledged-kept", 1)],
    );
    let mut one = spec("p");
    (one.durability, one.faults.power_cuts) = (Durability::One, 3);
    add("one-power-cut", "one durable copy outlives a power cut of all", one.clone(), &[]);
    (one.faults.power_cuts, one.faults.wipes) = (1, 1);
    add(
        "one-disk",
        "and does not outlive its disk, if a power cut took the others",
        one,
        &[("acknowledged-kept", 4)],
    );
    add("delete", "a delete over what was read stays one", spec("pgd,g"), &[]);
}

/// Homes compare what they hold, once at any time and then until all have.
fn exchanges(scenarios: &mut Vec<Scenario>) {
    let mut add = adder(scenarios);
    let mut exchange = spec("p,p");
    (exchange.settings.anti_entropy, exchange.faults.hedges) = (true, 1);
    add("exchange", "homes exchange while two puts are under way", exchange, &[]);
    let mut lost = spec("p,p");
    lost.settings.anti_entropy = true;
    (lost.faults.losses, lost.faults.hedges) = (1, 1);
    add("exchange-loss", "a home that a put never reached gets it without a read", lost, &[]);
    let mut cut = sloppy("p");
    (cut.settings.anti_entropy, cut.faults.partitions, cut.faults.hedges) = (true, 1, 1);
    add("exchange-partition", "a home that was cut off gets all without a read", cut, &[]);
    let mut refill = spec("p,g");
    (refill.settings.anti_entropy, refill.faults.hedges) = (true, 2);
    (refill.faults.wipes, refill.faults.restarts) = (1, 1);
    add("refill", "a lost directory votes again once it had an exchange with each", refill, &[]);
    let mut forgotten = spec("p,p");
    forgotten.settings.anti_entropy = true;
    (forgotten.faults.forgotten, forgotten.faults.hedges) = (1, 1);
    add("exchange-forgotten", "a record that is gone comes back from another home", forgotten, &[]);
}

/// Tombstones go, once nothing is left that they deleted.
fn collections(scenarios: &mut Vec<Scenario>) {
    let mut add = adder(scenarios);
    add("collect", "a tombstone goes; a put is under way all the while", collect("pgd", 2), &[]);
    add("collect-read", "the same while another client reads", collect("pgd,g", 2), &[]);
    add("collect-write", "the same while another client writes", collect("pgd,p", 2), &[]);
    let mut late = collect("pgd", 2);
    late.faults.hedges = 3;
    add("collect-late", "a put is given up, and may arrive when its tombstone is gone", late, &[]);
    let mut slow = collect("pgd", 3);
    slow.faults.hedges = 2;
    add("collect-hint", "the same with a fallback, which may hold a hint", slow, &[]);
    let mut crash = collect("pgd", 2);
    (crash.faults.crashes, crash.faults.restarts) = (1, 1);
    add("collect-crash", "the same while a process dies and comes back", crash, &[]);
    let mut wipe = collect("pgd", 2);
    (wipe.faults.wipes, wipe.faults.restarts) = (1, 1);
    add("collect-wipe", "the same while a directory is lost", wipe, &[]);
    add("forget", "a context forgets an actor of which nothing is left", forget("pgpgp"), &[]);
    let mut late = forget("pgpgp");
    late.faults.hedges = 3;
    add("forget-late", "a put is given up, and may arrive when its actor is forgotten", late, &[]);
    let mut wipe = forget("pgpgp");
    (wipe.faults.wipes, wipe.faults.restarts) = (1, 1);
    add("forget-wipe", "the same while a directory is lost", wipe, &[]);
}

/// The same, where a context may name few actors.
fn forget(script: &str) -> Spec {
    let mut spec = collect(script, 2);
    spec.settings.limits.actors = 4;
    spec
}

/// Two homes that compare what they hold, at a time of the search's choice, and then look for tombstones.
pub(crate) fn collect(script: &str, nodes: usize) -> Spec {
    let mut spec = sloppy(script);
    (spec.nodes, spec.settings.anti_entropy) = (nodes, true);
    (spec.settings.n, spec.settings.r, spec.settings.w) = (2, 1, 1);
    (spec.faults.exchanges, spec.faults.hedges) = (1, 1);
    spec
}

/// The ring changes under puts: `shifts` are decided, and every host learns of each at any time. N=1 and N=2,
/// so that few nodes make a ring with other homes.
fn changing(script: &str, nodes: usize, n: usize, w: usize, shifts: &[Shift]) -> Spec {
    let mut spec = sloppy(script);
    (spec.nodes, spec.shifts) = (nodes, shifts.to_vec());
    (spec.settings.n, spec.settings.r, spec.settings.w) = (n, 1, w);
    spec
}

/// The same in a strict cluster: gets stay regular.
fn strictly(script: &str, nodes: usize, nrw: [usize; 3], shifts: &[Shift]) -> Spec {
    let mut spec = changing(script, nodes, nrw[0], nrw[2], shifts);
    (spec.settings.quorum, spec.settings.r) = (Quorum::Strict, nrw[1]);
    // As many as a newcomer needs.
    spec.faults.exchanges = (nrw[0] - nrw[1].min(nrw[2]) + 1) as u8;
    spec
}

/// Nodes join and leave.
fn ring_changes(scenarios: &mut Vec<Scenario>) {
    use Shift::{Cancel, Join, Leave};
    let mut add = adder(scenarios);
    add("join", "a home gives way to a newcomer", changing("p", 2, 1, 1, &[Join(0)]), &[]);
    add("leave", "a home leaves", changing("p", 2, 1, 1, &[Leave(0)]), &[]);
    let both = changing("p,p", 2, 1, 1, &[Join(0), Leave(0)]);
    add("there-and-back", "a newcomer joins and leaves again", both, &[]);
    let pair = changing("p,p", 3, 2, 2, &[Join(0)]);
    add("join-pair", "one of two homes gives way to a newcomer, under two puts", pair, &[]);
    let mut cut = changing("p", 3, 2, 2, &[Join(0)]);
    cut.faults.partitions = 1;
    add("join-partition", "the same while the network is cut", cut, &[]);
    let mut crash = changing("p", 3, 2, 2, &[Join(0)]);
    (crash.faults.crashes, crash.faults.restarts) = (1, 1);
    add("join-crash", "the same while a process dies and comes back", crash, &[]);
    let mut wipe = changing("p", 3, 2, 2, &[Join(0)]);
    (wipe.faults.wipes, wipe.faults.restarts, wipe.settings.r) = (1, 1, 2);
    add("join-wipe", "the same while a directory is lost", wipe, &[]);
    let leave = changing("p,p", 3, 2, 2, &[Leave(0)]);
    add("leave-pair", "one of two homes leaves, under two puts", leave, &[]);
    let two = changing("p", 4, 2, 2, &[Join(0), Leave(1)]);
    add("join-and-leave", "a newcomer joins, another home leaves, in a row", two, &[]);
    let mut late = changing("p", 2, 1, 1, &[Leave(0), Cancel(0), Leave(0)]);
    late.reductions.prompt = false;
    add("back-and-forth", "a home leaves, stays and leaves; answers come late", late, &[]);
    let mut late = changing("p", 3, 2, 2, &[Leave(0), Cancel(0)]);
    late.reductions.prompt = false;
    add("back-and-forth-pair", "the same with two homes", late, &[]);
    let mut early = changing("p", 2, 1, 1, &[Leave(0), Cancel(0)]);
    (early.reductions.prompt, early.faults.hedges) = (false, 2);
    add("leave-early", "what is offered across two epochs is not compared", early, &[]);
    let mut early = changing("p,p", 3, 2, 2, &[Join(0)]);
    early.faults.hedges = 1;
    add("join-early", "a stray is offered to homes that go by another epoch", early, &[]);
}

/// The same in strict clusters.
fn strict_ring_changes(scenarios: &mut Vec<Scenario>) {
    use Shift::{Join, Leave};
    let mut add = adder(scenarios);
    let join = |n: [usize; 3]| strictly("p,g", n[0] + 1, n, &[Join(0)]);
    add("strict-join", "a newcomer counts once it is filled: W=2", join([2, 1, 2]), &[]);
    add("strict-join-read-all", "the same with R=2 W=1", join([2, 2, 1]), &[]);
    add("strict-join-pair", "the same with R=W=2 of two homes", join([2, 2, 2]), &[]);
    let mut crash = join([2, 2, 2]);
    (crash.faults.crashes, crash.faults.restarts) = (1, 1);
    add("strict-join-crash", "the same while a process dies and comes back", crash, &[]);
    let mut cut = join([2, 2, 2]);
    cut.faults.partitions = 1;
    add("strict-join-partition", "the same while the network is cut", cut, &[]);
    let leave = strictly("p,g", 3, [2, 1, 2], &[Leave(0)]);
    add("strict-leave", "a home leaves", leave, &[]);
    let both = strictly("p,g", 3, [2, 2, 2], &[Join(0), Leave(0)]);
    add("strict-there-and-back", "a newcomer joins and leaves again", both, &[]);
    let mut three = join([3, 2, 2]);
    three.faults.exchanges = 0;
    add(
        "strict-join-unfilled",
        "one of three homes gives way; the newcomer is not filled",
        three,
        &[],
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::property;

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_names_properties_there_are() {
        let scenarios = defaults();
        for (at, scenario) in scenarios.iter().enumerate() {
            assert!(scenarios[..at].iter().all(|other| other.name != scenario.name));
            for (name, _) in &scenario.breaks {
                assert!(property(name).is_some(), "{}: {name}", scenario.name);
            }
        }
    }
}
