//! What a simulated run depends on, drawn from a seed or taken from a plan.

use std::collections::BTreeSet;
use std::time::Duration;

use dynamo_protocol::{NodeId, Partitioning, Quorum, ReadMode, Settings, Timing, Versioning};
use dynamo_sim::network::Network;
use dynamo_sim::trace::{Cluster, Sync};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::churn;
use super::twin::{Fault, Late, micros};
use super::weather::Weather;
use crate::nemesis::faults::clock;
use crate::nemesis::schedule::{Episode, schedule};
use crate::plan::seed::{Purpose, stream};
use crate::plan::{FaultName, Plan, Span, WorkloadName, WorkloadPlan};
use crate::run::judge::Grounds;
use crate::run::workers;

/// How old a copy of a disk is that a plan puts back, in microseconds.
const AGE: u64 = 1_000_000;

/// Everything a run does, but for the chances within it: those come from the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The cluster.
    pub cluster: Cluster,
    /// Its links.
    pub network: Network,
    /// A sync takes from so many microseconds to three times as many.
    pub sync: u64,
    /// Its clients.
    pub workload: WorkloadPlan,
    /// How long they work.
    pub time: Duration,
    /// What happens meanwhile.
    pub faults: Vec<Fault>,
    /// Of what kinds those are.
    pub kinds: BTreeSet<&'static str>,
    /// It was drawn: under lww and the paper's clocks it is held to what those promise.
    pub is_drawn: bool,
}

impl Scenario {
    /// The plan with this seed: its own faults, at the times and on the nodes that it has them on real
    /// clusters too. Links and disks are quick and well but for them.
    ///
    /// # Panics
    /// If the plan was not checked as one of a simulated cluster ([`Plan::check`]): nothing is put in the
    /// place of what cannot be simulated.
    #[must_use]
    pub fn of_plan(plan: &Plan, seed: u64) -> Self {
        let view = plan.view().expect("the plan was checked");
        let episodes = schedule(plan, seed, &view);
        let mut workload = plan.workload.clone();
        workload.concurrency = workers(plan);
        Self {
            cluster: cluster_of(plan),
            network: Network::quiet(),
            sync: 130,
            workload,
            time: plan.time.0,
            faults: episodes.iter().flat_map(|episode| twins(plan, episode)).collect(),
            kinds: plan.faults.iter().map(|fault| fault.as_str()).collect(),
            is_drawn: false,
        }
    }

    /// Everything drawn from the seed: sizes, quorums, modes, links, clients and faults. Small and
    /// wild, so that rare things meet.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut rng = stream(seed, Purpose::Nemesis);
        let mut cluster = draw_ring(draw_cluster(&mut rng), seed);
        cluster.settings.versioning = draw_versioning(seed);
        let time = rng.random_range(4_000_000..12_000_000);
        let weather = Weather::drawn(&cluster, &mut rng);
        let nodes: Vec<_> = cluster.ids().collect();
        let (mut faults, mut kinds) = weather.faults(&nodes, time, &mut rng);
        if cluster.spares > 0 {
            kinds.insert(churn::NAME);
            faults.extend(churn::drawn(time, &mut rng));
            faults.sort_by_key(|fault| fault.at);
        }
        Self {
            cluster,
            network: draw_network(&mut rng),
            sync: *[20, 130, 130, 1_000, 5_000].choose(&mut rng).unwrap_or(&130),
            workload: draw_workload(seed % 4 == 3 && !weather.puts_back(), &mut rng),
            time: Duration::from_micros(time),
            faults,
            kinds,
            is_drawn: true,
        }
    }

    /// Whether faults of its plan change the ring.
    #[must_use]
    pub fn changes_the_ring(&self) -> bool {
        let names = self.faults.iter().filter_map(|fault| fault.told.as_ref());
        let names = names.filter_map(|told| told.name.parse::<FaultName>().ok());
        names.into_iter().any(|name| name.nature().changes_the_ring)
    }

    /// How many copies of a key its faults may cost.
    #[must_use]
    pub fn losses(&self) -> usize {
        let all = self.faults.iter().map(|fault| fault.what.losses()).sum::<usize>();
        // Those of a plan with refilling wait for each other.
        let of_plan = self.faults.iter().any(|fault| fault.told.is_some());
        let most = self.cluster.settings.w.saturating_sub(1);
        if of_plan && self.cluster.settings.anti_entropy { all.min(most) } else { all }
    }

    /// What its store is held to.
    pub(crate) fn grounds(&self) -> Grounds {
        let (lost, clocks_differ) = (self.losses(), self.kinds.contains(clock::DRAWN.name));
        Grounds { lost, clocks_differ, only_its_own: self.is_drawn }
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.cluster.ids().collect()
    }
}

/// What an episode of a plan is in the simulator: its fault, and what has to go before it.
fn twins(plan: &Plan, episode: &Episode) -> Vec<Fault> {
    let everybody = plan.everybody();
    let fault = twin(&everybody, episode);
    let before = fault.at.saturating_sub(AGE);
    let preparation = fault.what.preparation().map(|what| Fault::new(before, before, what));
    let late = episode.aim.map(|aim| {
        let aimed = |node| Episode { fault: episode.fault.aimed_at(node), ..episode.clone() };
        let at = everybody.iter().map(|node| (*node, twin(&everybody, &aimed(*node))));
        Late { aim, at: at.collect() }
    });
    preparation.into_iter().chain([Fault { late, ..fault }]).collect()
}

fn twin(everybody: &[NodeId], episode: &Episode) -> Fault {
    let (at, what) = (micros(episode.at), episode.fault.twin(everybody));
    let (told, holds) = (Some(episode.told()), episode.fault.holds().to_vec());
    let holds_to_the_end = episode.fault.holds_to_the_end();
    Fault { told, holds, holds_to_the_end, ..Fault::new(at, at + micros(episode.hold), what) }
}

fn cluster_of(plan: &Plan) -> Cluster {
    let of = &plan.cluster;
    Cluster {
        nodes: of.nodes,
        tokens: of.tokens,
        zones: of.zones,
        settings: of.settings,
        spares: plan.spares(),
        sync: Sync::Explicit,
        counts: false,
        identities: 0,
    }
}

fn draw_cluster(rng: &mut ChaCha8Rng) -> Cluster {
    let quorums: &[(u16, [usize; 3])] = &[
        (3, [3, 2, 2]),
        (4, [3, 2, 2]),
        (5, [3, 2, 2]),
        (5, [3, 2, 2]),
        (5, [3, 1, 3]),
        (5, [3, 3, 1]),
        (5, [3, 1, 2]),
        (6, [3, 2, 2]),
        (6, [4, 2, 3]),
        (7, [5, 3, 3]),
    ];
    let (nodes, quorum) = *quorums.choose(rng).expect("there are some");
    let millis = Duration::from_millis;
    let settings = Settings {
        quorum: if rng.random_ratio(3, 10) { Quorum::Strict } else { Quorum::Sloppy },
        read: if rng.random_ratio(2, 10) { ReadMode::Atomic } else { ReadMode::Plain },
        anti_entropy: rng.random(),
        timing: Timing {
            hedge: millis(rng.random_range(5..=100)),
            deadline: millis(rng.random_range(200..=1_000)),
            ping: millis(rng.random_range(20..=100)),
            handoff: millis(rng.random_range(20..=200)),
            exchange: millis(rng.random_range(20..=500)),
        },
        ..Settings::new(quorum)
    };
    let spares = if rng.random_ratio(3, 10) { rng.random_range(1..=2) } else { 0 };
    Cluster { settings, spares, sync: Sync::Explicit, ..Cluster::new(nodes, quorum) }
}

/// The cluster with one ring of many: half of them are cut at tokens, and most are in one zone.
fn draw_ring(mut cluster: Cluster, seed: u64) -> Cluster {
    let mut rng = stream(seed, Purpose::Ring);
    let partitions = 1 << rng.random_range(4..=6);
    cluster.settings.partitioning = match rng.random_range(0..4) {
        0 => Partitioning::TokensOverEqual { partitions },
        1 => Partitioning::Equal { partitions },
        _ => Partitioning::Tokens,
    };
    cluster.zones = if rng.random_ratio(1, 4) { rng.random_range(2..=3) } else { 1 };
    cluster
}

/// One seed of eight has another versioning than dotted: of those neither has deletes.
fn draw_versioning(seed: u64) -> Versioning {
    match seed % 16 {
        5 => Versioning::Paper,
        13 => Versioning::Lww,
        _ => Versioning::Dotted,
    }
}

fn draw_network(rng: &mut ChaCha8Rng) -> Network {
    let quiet = Network::quiet();
    if rng.random_ratio(4, 10) {
        return quiet;
    }
    let latency = *[20, 80, 500, 2_000].choose(rng).unwrap_or(&80);
    Network {
        latency,
        jitter: rng.random_range(0..=4 * latency),
        loss: if rng.random() { rng.random_range(0..30_000) } else { 0 },
        duplicate: if rng.random() { rng.random_range(0..50_000) } else { 0 },
        reorder: if rng.random() { rng.random_range(0..400_000) } else { 0 },
        late: rng.random_range(0..=20 * latency),
        cut_holds: rng.random(),
        tells: rng.random_ratio(7, 10),
    }
}

/// Three of four are carts, in which more can be told; of the others tombstones come. Not where a directory
/// may be put back to what it was: it brings back what was deleted, and collected, since (docs/protocol.md,
/// rule 10).
fn draw_workload(deletes: bool, rng: &mut ChaCha8Rng) -> WorkloadPlan {
    let name = if deletes { WorkloadName::Versions } else { WorkloadName::Cart };
    WorkloadPlan {
        name,
        concurrency: rng.random_range(2..=10),
        think: Span::millis(rng.random_range(1..=20)),
        rate: Some(f64::from(rng.random_range(60..=200))),
        carts: rng.random_range(1..=8),
        puts_per_cart: rng.random_range(8..=40),
        timeout: Span::millis(1_500),
    }
}
