//! The canaries of a shard: stores that truly lose acknowledged writes. Last writer wins drops one of two
//! concurrent adds, faults or not, so clients that share few carts lose some in every run; whoever finds
//! nothing there finds nothing anywhere.

use std::collections::BTreeSet;

use dynamo_protocol::Versioning;

use super::shard::Shard;
use super::unit::{Build, Role, Unit, Work, hash};
use crate::plan::{ClusterKind, Engine, Plan, Span};

/// Names canaries.
const PART: &str = "canary";
/// The way of whole nodes under virtual time.
const SHELL: &str = "sim --shell";

/// One for each way in which the units of a shard are run: `dyno test` on each kind of cluster, `dyno sim`
/// and `dyno sim --shell`.
/// A shard without units has one as well.
pub(super) fn of(
    units: &[(Unit, Work)],
    index: u32,
    total: u32,
    build: &Build,
) -> Vec<(Unit, Work)> {
    let Ok(shard) = Shard::new(index, total) else { return Vec::new() };
    let ways: BTreeSet<_> = units.iter().map(|(_, work)| way(work)).collect();
    let usual = ways.is_empty().then_some(("test", ClusterKind::Sim));
    let canary = |(command, kind)| {
        let like = units.iter().find(|(_, work)| way(work) == (command, kind));
        let seed = seed(shard);
        let mut plan = plan(kind, like.and_then(|(_, work)| work.plan()));
        let work = match command {
            "sim" => Work::Sim(Some(Box::new(plan)), seed..seed + 1),
            // Some seeds, of which one may write too little for any to be lost.
            SHELL => Work::Shell(Versioning::Lww, seed..seed + 4),
            _ => {
                plan.seed = Some(seed);
                Work::Test(Box::new(plan))
            }
        };
        let mut unit = Unit::new(PART, Role::Canary, &work, build);
        unit.name = format!("{}, shard {shard}", unit.cell);
        unit.shard = Some(shard);
        // Where no unit of this way has to be run, neither has its canary.
        let mut alike = units.iter().filter(|(_, work)| way(work) == (command, kind)).peekable();
        unit.where_able = alike.peek().is_some() && alike.all(|(unit, _)| unit.where_able);
        (unit, work)
    };
    ways.into_iter().chain(usual).map(canary).collect()
}

fn way(work: &Work) -> (&'static str, ClusterKind) {
    let kind = work.plan().map_or(ClusterKind::Sim, |plan| plan.cluster.kind);
    match work {
        Work::Shell(..) | Work::Crashes(_) => (SHELL, kind),
        _ => (work.command(), kind),
    }
}

/// Every shard has its own, so that no two have the same canary.
fn seed(shard: Shard) -> u64 {
    let hash = hash(&[PART, &shard.to_string()]);
    u64::from_str_radix(&hash[..8], 16).unwrap_or(1)
}

/// A store that loses, on hosts and by the program of a plan that is run there.
fn plan(kind: ClusterKind, like: Option<&Plan>) -> Plan {
    let mut plan =
        Plan { name: PART.to_owned(), time: Span::secs(3), faults: Vec::new(), ..Plan::default() };
    if let Some(like) = like {
        plan.cluster.hosts.clone_from(&like.cluster.hosts);
        plan.cluster.accept_new = like.cluster.accept_new;
        plan.cluster.binary.clone_from(&like.cluster.binary);
        plan.cluster.nodes = like.cluster.nodes.max(3);
    }
    plan.cluster.kind = kind;
    plan.cluster.engine = Engine::Memory;
    plan.cluster.settings.versioning = Versioning::Lww;
    plan.workload.carts = 2;
    plan
}
