//! `dyno bench peers`: the same load on nodes, on Redis and on etcd, one after the other in one run.

use std::collections::BTreeMap;

use clap::Args;
use dyno_command::{document, output, within};
use serde::Serialize;

use super::load::{self, LoadArgs, Measured};
use super::nodes::{Coordination, Deploy, Durability, Engine, NodesArgs, folder};
use super::servers::{self, EtcdCaller, RedisCaller, is_installed};
use super::{Failure, block_on, broken, kv, rounded};

/// Arguments of `dyno bench peers`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Each has three servers. Redis: SET and WAIT 1 on a connection for each caller, so that two \
    of three servers hold a put, in memory. etcd: puts over gRPC, which a majority has synced. What is not \
    installed is left out (Debian: redis-server, etcd-server)."
)]
pub(super) struct PeersArgs {
    #[command(flatten)]
    nodes: NodesArgs,
    #[command(flatten)]
    load: LoadArgs,
    /// Who coordinates at the nodes: any of them, or the client, which asks a home of the key.
    #[arg(long, value_enum, default_value = "server")]
    client: Coordination,
    /// How often all are measured, in turn; ratios are of the medians.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = within(1_u32, 100))]
    runs: u32,
    /// Print all of it as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Who {
    #[serde(rename = "dynamo, memory")]
    Memory,
    #[serde(rename = "redis, WAIT 1")]
    Redis,
    #[serde(rename = "dynamo, fjall, synced")]
    Fjall,
    #[serde(rename = "etcd")]
    Etcd,
}

const ALL: [Who; 4] = [Who::Memory, Who::Redis, Who::Fjall, Who::Etcd];
/// Ours, and the peer that promises about the same.
const PAIRS: [(Who, Who); 2] = [(Who::Memory, Who::Redis), (Who::Fjall, Who::Etcd)];

#[derive(Serialize)]
struct Row {
    who: Who,
    run: u32,
    #[serde(flatten)]
    measured: Measured,
}

/// One over the other, of the medians of all runs.
#[derive(Debug, PartialEq, Serialize)]
struct Ratio {
    of: Who,
    over: Who,
    ops_per_s: f64,
    server_cpu_us_per_op: f64,
    p999_ms: f64,
}

#[derive(Serialize)]
struct Skipped {
    who: Who,
    why: String,
}

impl Who {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "dynamo, memory",
            Self::Redis => "redis, WAIT 1",
            Self::Fjall => "dynamo, fjall, synced",
            Self::Etcd => "etcd",
        }
    }

    /// Why it cannot be measured here, if it cannot.
    pub(super) fn lacks(self) -> Option<String> {
        let program = match self {
            Self::Memory | Self::Fjall => return None,
            Self::Redis => "redis-server",
            Self::Etcd => "etcd",
        };
        (!is_installed(program)).then(|| format!("{program} is not installed"))
    }

    /// Starts three of them, measures them, and ends them.
    pub(super) async fn measure(
        self,
        nodes: &NodesArgs,
        by: Coordination,
        load: &LoadArgs,
    ) -> Result<Measured, Failure> {
        let callers = load.callers;
        let dir = nodes.dir.as_deref();
        let ours =
            |engine| kv::measure(nodes, (engine, Durability::Sync), Deploy::default(), (by, load));
        match self {
            Self::Memory => ours(Engine::Memory).await,
            Self::Fjall => ours(Engine::Fjall).await,
            Self::Redis => {
                let folder = folder(dir)?;
                let servers = servers::redis(folder.path()).await?;
                let mut stores = Vec::new();
                for _ in 0..callers {
                    let store = RedisCaller::connect(servers.addresses[0]).await;
                    stores.push(store.map_err(|error| broken("connect to redis", &error))?);
                }
                load::run(load, stores, &servers.pids()?).await
            }
            Self::Etcd => {
                let folder = folder(dir)?;
                let servers = servers::etcd(folder.path()).await?;
                let mut connected = Vec::new();
                for address in &servers.addresses {
                    let store = EtcdCaller::connect(*address).await;
                    connected.push(store.map_err(|error| broken("connect to etcd", &error))?);
                }
                let stores = connected.iter().cycle().take(callers).cloned().collect();
                load::run(load, stores, &servers.pids()?).await
            }
        }
    }
}

impl PeersArgs {
    pub(super) fn check(&self) -> Result<(), String> {
        let settings = self.nodes.settings()?;
        if self.nodes.nodes != 3 || (settings.n, settings.w) != (3, 2) {
            return Err("three nodes with -n 3 -w 2 are measured beside three of the others: leave --nodes, \
                        -n and -w out"
                .to_owned());
        }
        Ok(())
    }
}

pub(super) fn run(args: &PeersArgs) -> Result<(), Failure> {
    args.check().map_err(Failure::Refused)?;
    let mut skipped = Vec::new();
    let mut there = Vec::new();
    for who in ALL {
        match who.lacks() {
            Some(why) => skipped.push(Skipped { who, why }),
            None => there.push(who),
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for run in 1..=args.runs {
        for who in &there {
            let measured = block_on(who.measure(&args.nodes, args.client, &args.load))?;
            if !args.json {
                output::say(format_args!("{:<22} {}", who.name(), measured.told()));
            }
            rows.push(Row { who: *who, run, measured });
        }
    }
    let ratios = ratios(&rows);
    if args.json {
        let body = serde_json::json!({ "rows": rows, "ratios": ratios, "skipped": skipped });
        output::say(document("bench peers", None, body));
        return Ok(());
    }
    for Ratio { of, over, ops_per_s, server_cpu_us_per_op, p999_ms } in ratios {
        output::say(format_args!(
            "{} over {}: {ops_per_s} x the rate, {server_cpu_us_per_op} x the processor time an op, \
             {p999_ms} x the p99.9",
            of.name(),
            over.name(),
        ));
    }
    for Skipped { who, why } in skipped {
        output::say(format_args!("{}: skipped: {why}", who.name()));
    }
    Ok(())
}

fn ratios(rows: &[Row]) -> Vec<Ratio> {
    let mut by_who: BTreeMap<Who, Vec<&Measured>> = BTreeMap::new();
    for row in rows {
        by_who.entry(row.who).or_default().push(&row.measured);
    }
    let ratio = |(of, over): (Who, Who)| {
        let (ours, theirs) = (by_who.get(&of)?, by_who.get(&over)?);
        let divided = |what: fn(&Measured) -> f64| {
            rounded(median(ours, what) / median(theirs, what).max(f64::MIN_POSITIVE))
        };
        Some(Ratio {
            of,
            over,
            ops_per_s: divided(|measured| measured.ops_per_s),
            server_cpu_us_per_op: divided(|measured| measured.server_cpu_us_per_op),
            p999_ms: divided(|measured| measured.p999_ms),
        })
    };
    PAIRS.into_iter().filter_map(ratio).collect()
}

/// The middle one; of two that which is lower.
pub(super) fn median(of: &[&Measured], what: fn(&Measured) -> f64) -> f64 {
    let mut all: Vec<_> = of.iter().map(|measured| what(measured)).collect();
    all.sort_by(f64::total_cmp);
    all[(all.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(who: Who, run: u32, ops_per_s: f64) -> Row {
        let measured = Measured {
            ops_per_s,
            p50_ms: 1.0,
            p99_ms: 1.0,
            p999_ms: 2.0,
            server_cpu_us_per_op: 1e6 / ops_per_s,
            rss_mb: 1.0,
            refused: 0,
            unanswered: 0,
            max_ms: 1.0,
            ops: 1,
            seconds: 1.0,
        };
        Row { who, run, measured }
    }

    #[test]
    fn ratios_are_of_medians_and_of_those_that_were_measured() {
        let rows = [
            row(Who::Memory, 1, 300.0),
            row(Who::Memory, 2, 9.0),
            row(Who::Memory, 3, 200.0),
            row(Who::Redis, 1, 100.0),
            row(Who::Fjall, 1, 100.0),
        ];
        let ratios = ratios(&rows);
        assert_eq!(ratios.len(), 1, "{ratios:?}");
        assert_eq!((ratios[0].of, ratios[0].over), (Who::Memory, Who::Redis));
        assert_eq!((ratios[0].ops_per_s, ratios[0].server_cpu_us_per_op), (2.0, 0.5));
    }
}
