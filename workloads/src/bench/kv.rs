//! `dyno bench kv`: a load on node processes of this program.

use clap::Args;
use dyno_command::{document, output};
use serde::Serialize;

use super::load::{self, LoadArgs, Measured};
use super::nodes::{Coordination, Deploy, Durability, Engine, Nodes, NodesArgs};
use super::{Failure, block_on};

/// Arguments of `dyno bench kv`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Everything runs on this machine: the nodes and the callers share its cores. A put \
    overwrites what was last read of its key; a key that was put 8 times since is read before it is put \
    again, and that counts as part of the put."
)]
pub(super) struct KvArgs {
    #[command(flatten)]
    nodes: NodesArgs,
    #[command(flatten)]
    load: LoadArgs,
    /// What keeps the records.
    #[arg(long, value_enum, default_value = "fjall")]
    engine: Engine,
    /// When a put counts as kept.
    #[arg(long, value_enum, default_value = "sync")]
    durability: Durability,
    /// Who coordinates: any node, or the client, which asks a home of the key.
    #[arg(long, value_enum, default_value = "server")]
    client: Coordination,
    /// Have nodes and callers speak TLS, both ends with certificates that are made for it.
    #[arg(long)]
    tls: bool,
    /// Print what was measured as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// What was measured, and of what.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    measured: &'a Measured,
    engine: Engine,
    durability: Durability,
    client: Coordination,
    tls: bool,
    nodes: u16,
    callers: usize,
    rate: Option<f64>,
}

impl KvArgs {
    pub(super) fn check(&self) -> Result<(), String> {
        self.nodes.settings().map(drop)
    }
}

pub(super) fn run(args: &KvArgs) -> Result<(), Failure> {
    args.check().map_err(Failure::Refused)?;
    let (kept, deploy) =
        ((args.engine, args.durability), Deploy { tls: args.tls, ..Deploy::default() });
    let measured = block_on(measure(&args.nodes, kept, deploy, (args.client, &args.load)))?;
    if args.json {
        let KvArgs { engine, durability, client, tls, .. } = *args;
        let (nodes, callers, rate) = (args.nodes.nodes, args.load.callers, args.load.rate);
        let measured = &measured;
        let told = Told { measured, engine, durability, client, tls, nodes, callers, rate };
        output::say(document("bench kv", None, told));
    } else {
        output::say(measured.told());
    }
    Ok(())
}

/// Starts a cluster, measures it, and ends it.
pub(super) async fn measure(
    args: &NodesArgs,
    kept: (Engine, Durability),
    deploy: Deploy,
    (by, load): (Coordination, &LoadArgs),
) -> Result<Measured, Failure> {
    let nodes = Nodes::start(args, kept, deploy).await?;
    let pids = nodes.pids()?;
    load::run(load, nodes.clients(load.callers, by)?, &pids).await
}
