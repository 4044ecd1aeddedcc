//! Ratios: two ways, measured in turn.

use serde_json::{Value, json};

use super::super::load::{LoadArgs, Measured};
use super::super::nodes::{Coordination, Deploy, Durability, Engine};
use super::super::peers::{Who, median};
use super::super::{Failure, kv};
use super::{ReachArgs, Table, least, most};

/// What two ways came to, run by run.
struct Both(Vec<Measured>, Vec<Measured>);

impl Both {
    /// The first over the second, of the medians.
    fn ratio(&self, what: fn(&Measured) -> f64) -> f64 {
        let of = |all: &[Measured]| median(&all.iter().collect::<Vec<_>>(), what);
        of(&self.0) / of(&self.1).max(f64::MIN_POSITIVE)
    }

    fn of(&self, names: [&str; 2]) -> Value {
        json!({ names[0]: self.0, names[1]: self.1 })
    }
}

/// Measures one and the other in turn, and each of them first as often, about.
async fn in_turn(
    runs: u32,
    mut one: impl AsyncFnMut() -> Result<Measured, Failure>,
    mut other: impl AsyncFnMut() -> Result<Measured, Failure>,
) -> Result<Both, Failure> {
    let mut both = Both(Vec::new(), Vec::new());
    for run in 0..runs {
        if run % 2 == 0 {
            both.0.push(one().await?);
            both.1.push(other().await?);
        } else {
            both.1.push(other().await?);
            both.0.push(one().await?);
        }
    }
    Ok(both)
}

/// Nodes beside a peer; nothing if that is not installed.
async fn beside(
    args: &ReachArgs,
    table: &mut Table,
    (ours, theirs): (Who, Who),
    what: &'static str,
) -> Result<Option<Both>, Failure> {
    if let Some(why) = theirs.lacks() {
        table.skip(what, why);
        return Ok(None);
    }
    let load = args.load();
    let measure = async |who: Who| who.measure(&args.nodes, Coordination::Server, &load).await;
    in_turn(args.runs, async || measure(ours).await, async || measure(theirs).await).await.map(Some)
}

pub(super) async fn memory(args: &ReachArgs, table: &mut Table) -> Result<(), Failure> {
    let rate = "memory puts against Redis + WAIT 1";
    let both = beside(args, table, (Who::Memory, Who::Redis), rate).await?;
    let Some(both) = both else { return Ok(()) };
    let of = both.of(["dynamo", "redis"]);
    table.add((rate, "x"), both.ratio(|it| it.ops_per_s), least(1.0, 1.5), of);
    let cost = ("server CPU a memory put, against Redis + WAIT 1", "x");
    let measured = both.ratio(|it| it.server_cpu_us_per_op);
    table.add(cost, measured, most(0.8, Some(0.5)), Value::Null);
    Ok(())
}

pub(super) async fn synced(args: &ReachArgs, table: &mut Table) -> Result<(), Failure> {
    let rate = "fsynced on two of three against a three-node etcd";
    let both = beside(args, table, (Who::Fjall, Who::Etcd), rate).await?;
    let Some(both) = both else { return Ok(()) };
    let of = both.of(["dynamo", "etcd"]);
    table.add((rate, "x"), both.ratio(|it| it.ops_per_s), least(4.0, 7.0), of);
    let cost = ("server CPU an fsynced put, against etcd", "x");
    let measured = both.ratio(|it| it.server_cpu_us_per_op);
    table.add(cost, measured, most(0.15, Some(0.08)), Value::Null);
    Ok(())
}

pub(super) async fn driven(args: &ReachArgs, table: &mut Table) -> Result<(), Failure> {
    let nodes = args.of_nodes(args.driven_nodes);
    let load = LoadArgs { put: 50, ..args.load() };
    let kept = (Engine::Fjall, Durability::Sync);
    let measure = async |by| kv::measure(&nodes, kept, Deploy::default(), (by, &load)).await;
    let server = async || measure(Coordination::Server).await;
    let both = in_turn(args.runs, server, async || measure(Coordination::Driven).await).await?;
    let of = both.of(["server", "driven"]);
    let what = ("p99.9 client-driven is lower than server-driven by", "x");
    table.add(what, both.ratio(|it| it.p999_ms), least(1.5, 2.3), of);
    Ok(())
}

pub(super) async fn tls(args: &ReachArgs, table: &mut Table) -> Result<(), Failure> {
    let load = args.load();
    let kept = (Engine::Memory, Durability::Sync);
    let measure = async |tls| {
        let deploy = Deploy { tls, ..Deploy::default() };
        kv::measure(&args.nodes, kept, deploy, (Coordination::Server, &load)).await
    };
    let both =
        in_turn(args.runs, async || measure(true).await, async || measure(false).await).await?;
    let of = both.of(["mtls", "plaintext"]);
    let what = ("mTLS against plaintext, throughput", "x");
    table.add(what, both.ratio(|it| it.ops_per_s), least(0.7, 0.85), of);
    Ok(())
}
