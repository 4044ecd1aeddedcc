//! A steady load while a node is killed, others take hints for it, and it comes back.

use dynamo_protocol::NodeId;
use serde_json::json;

use super::super::load::{self, LoadArgs};
use super::super::nodes::{Coordination, Deploy, Durability, Engine, Nodes};
use super::super::{Failure, broken};
use super::{ReachArgs, Table, most};

/// How many requests begin in a second, half of them puts.
const RATE: f64 = 500.0;
/// Who is killed: no client asks it alone, since they know the ring.
const VICTIM: u16 = 1;

pub(super) async fn measure(args: &ReachArgs, table: &mut Table) -> Result<(), Failure> {
    let kept = (Engine::Fjall, Durability::Sync);
    let nodes = args.of_nodes(args.killed_nodes);
    let mut nodes = Nodes::start(&nodes, kept, Deploy::default()).await?;
    let load = LoadArgs { put: 50, rate: Some(RATE), ..args.load() };
    let stores = nodes.clients(load.callers, Coordination::Driven)?;
    let survivors: Result<Vec<_>, _> =
        nodes.ids().filter(|id| *id != VICTIM).map(|id| nodes.pid(id)).collect();
    let survivors = survivors?;
    let quarter = load.time.0 / 4;
    let disturb = async {
        tokio::time::sleep(load.warm_up.0 + quarter).await;
        nodes.kill(&[VICTIM]).await;
        tokio::time::sleep(quarter).await;
        nodes.restart(VICTIM).await
    };
    let (measured, back) = futures::join!(load::run(&load, stores, &survivors), disturb);
    let measured = measured?;
    back?;
    let (mut hinted, mut delivered, mut exchanges) = (0, 0, 0);
    for id in nodes.ids() {
        let status = nodes.admin(id)?.status().await;
        let status = status.map_err(|error| broken(&format!("ask {}", NodeId(id)), &error))?;
        let counters = status.counters.unwrap_or_default();
        hinted += counters.hints_stored;
        delivered += counters.hints_delivered;
        exchanges += counters.exchanges;
    }
    let of = json!({
        "nodes": args.killed_nodes, "rate": RATE, "load": measured, "hints_stored": hinted,
        "hints_delivered": delivered, "exchanges": exchanges,
    });
    let what = ("p99.9 at 500 requests/s while a node is killed", " ms");
    table.add(what, measured.p999_ms, most(50.0, Some(20.0)), of);
    Ok(())
}
