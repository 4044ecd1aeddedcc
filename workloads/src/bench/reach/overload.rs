//! Many times as much as nodes can do: all of them on one core, the callers on another.

use std::cell::Cell;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

use super::super::load::{self, Ending, LoadArgs, Store};
use super::super::nodes::{Caller, Coordination, Deploy, Durability, Engine, Nodes};
use super::super::servers::is_installed;
use super::super::usage::Usage;
use super::super::{Failure, block_on, broken, rounded};
use super::graph::Watch;
use super::{ReachArgs, Table, least, most};

/// Between two looks at the nodes' memory.
const LOOK: Duration = Duration::from_millis(100);
/// Between two tries whether nodes are themselves again, how soon each has to be answered, and how many
/// in a row.
const TRY: Duration = Duration::from_millis(20);
const PROMPT: Duration = Duration::from_millis(100);
const IN_A_ROW: u32 = 10;
/// After that they never will be.
const NEVER: Duration = Duration::from_secs(60);
/// How long nodes are watched when it is over.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// What a node may have in memory under any load: what it holds for clients, peers and the disk by its bounds
/// (docs/operations.md), and as much again for what allocators and engines keep.
const BOUND_MB: f64 = 512.0;

/// What came of it.
struct Overloaded {
    graph: Option<String>,
    peak: load::Measured,
    over: load::Measured,
    /// Of the largest node, in MB: up to the middle, and at all.
    memory: (f64, f64),
    recovery: Duration,
}

pub(super) fn measure(args: &ReachArgs, table: &mut Table) -> Result<(), Failure> {
    let goodput = "goodput under overload, of peak";
    let cores = match cores() {
        Ok(cores) if is_installed("taskset") => cores,
        Ok(_) => {
            table.skip(goodput, "taskset is not installed".to_owned());
            return Ok(());
        }
        Err(why) => {
            table.skip(goodput, why);
            return Ok(());
        }
    };
    // A thread of its own: it stays on its core, and so do those that it starts.
    let measured =
        std::thread::scope(|scope| scope.spawn(|| block_on(overloaded(args, cores))).join());
    let measured = measured.map_err(|_| Failure::Broken("the callers panicked".to_owned()))?;
    let Overloaded { graph, peak, over, memory, recovery } = measured?;
    let asked = over.ops + over.refused + over.unanswered;
    let offered = asked as f64 / over.seconds / peak.ops_per_s.max(1.0);
    let of = json!({
        "peak": peak, "overload": over, "times_peak_offered": rounded(offered),
        "generator_core": cores.0, "nodes_core": cores.1,
    });
    table.add((goodput, "x"), over.ops_per_s / peak.ops_per_s.max(1.0), least(0.8, 0.95), of);
    let of = json!({ "first_half_mb": memory.0, "whole_mb": memory.1 });
    let what = ("memory of the largest node under overload", " MB");
    table.add(what, memory.1, most(BOUND_MB, None), of);
    let what = ("recovery after overload", " s");
    table.add(what, recovery.as_secs_f64(), most(10.0, Some(2.0)), Value::Null);
    // Last: what was measured is told whether it can be drawn or not.
    if let (Some(file), Some(graph)) = (&args.graph, graph) {
        let written = std::fs::write(file, graph);
        written.map_err(|error| broken(&format!("write {}", file.display()), &error))?;
    }
    Ok(())
}

/// The first two cores that this process may use.
fn cores() -> Result<(usize, usize), String> {
    let may = sched_getaffinity(None).map_err(|error| format!("which cores there are: {error}"))?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| may.is_set(*core));
    match (cores.next(), cores.next()) {
        (Some(one), Some(other)) => Ok((one, other)),
        _ => Err("there is one core alone: nodes and callers would share it".to_owned()),
    }
}

async fn overloaded(
    args: &ReachArgs,
    (own, theirs): (usize, usize),
) -> Result<Overloaded, Failure> {
    let is_watched = args.graph.is_some();
    let deploy = Deploy { core: Some(theirs), metrics: is_watched, ..Deploy::default() };
    let nodes = Nodes::start(&args.nodes, (Engine::Fjall, Durability::Sync), deploy).await?;
    // Not before: whoever starts processes for others stays where it is.
    let mut set = CpuSet::new();
    set.set(own);
    sched_setaffinity(None, &set).map_err(|error| broken("stay on one core", &error))?;
    let pids = nodes.pids()?;
    let load = args.load();
    let by = Coordination::Server;
    let mut watch = Watch::begin(nodes.metrics());
    let peak = watch.during(load::run(&load, nodes.clients(load.callers, by)?, &pids)).await?;
    let peak_ended = watch.now();
    let load = LoadArgs {
        callers: args.overload_callers,
        rate: Some((peak.ops_per_s * args.overload).max(1.0)),
        time: args.overload_time,
        ..load
    };
    let stores = nodes.clients(load.callers, by)?;
    let probes = nodes.clients(usize::from(args.nodes.nodes), by)?;
    let end = Instant::now() + load.warm_up.0 + load.time.0;
    let begun = watch.now();
    let measured = async {
        futures::join!(
            load::run(&load, stores, &pids),
            largest(&pids, end, load.time.0 / 2),
            recovers(&probes, end),
        )
    };
    let (over, memory, recovery) = watch.during(measured).await;
    let ended = begun + (load.warm_up.0 + load.time.0).as_secs_f64();
    if is_watched {
        watch.during(tokio::time::sleep(AFTERWARDS)).await;
    }
    let asked = (format!("{} callers", args.callers), 0.0, peak_ended);
    let graph = is_watched.then(|| {
        watch.drawn(&[asked, (format!("{} times as much as that", args.overload), begun, ended)])
    });
    Ok(Overloaded { graph, peak, over: over?, memory: memory?, recovery: recovery? })
}

/// How much memory the largest of these has had in core up to `end`, and up to so long before it; in MB.
async fn largest(pids: &[u32], end: Instant, before: Duration) -> Result<(f64, f64), Failure> {
    let (mut first, mut all) = (0_u64, 0_u64);
    while Instant::now() < end {
        for pid in pids {
            let resident = Usage::of([*pid]).map_err(Failure::Broken)?.resident;
            all = all.max(resident);
        }
        if Instant::now() < end - before {
            first = all;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok((rounded(first as f64 / 1e6), rounded(all as f64 / 1e6)))
}

/// How long after `end` puts through all nodes are answered promptly again.
async fn recovers(probes: &[Caller], end: Instant) -> Result<Duration, Failure> {
    tokio::time::sleep_until(end.into()).await;
    let (since, in_a_row) = (Cell::new(end), Cell::new(0));
    for number in 0.. {
        let begun = Instant::now();
        let at = number % probes.len();
        let key = format!("probe-{number}");
        let put = probes[at].put(&key, Bytes::from_static(b"v"));
        let answered = tokio::time::timeout(PROMPT, put).await;
        if answered == Ok(Ending::Done) {
            if in_a_row.get() == 0 {
                since.set(begun);
            }
            in_a_row.set(in_a_row.get() + 1);
        } else {
            in_a_row.set(0);
        }
        if in_a_row.get() == IN_A_ROW {
            return Ok(since.get() - end);
        }
        if end.elapsed() > NEVER {
            break;
        }
        tokio::time::sleep(TRY).await;
    }
    Err(Failure::Broken(format!("nodes were not themselves again {NEVER:?} after the overload")))
}
