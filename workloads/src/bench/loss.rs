//! `dyno bench loss`: what power cuts take of what was acknowledged, and how old it was.
//!
//! A power cut is SIGKILL, and before it nothing that a node had not synced was in any file: a hook of
//! the node keeps it from there. That is the worst that a machine may do that keeps what it said it had
//! synced, done each time; what a system writes by itself in time, and what a disk loses that it said it
//! has, is not tried.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use dynamo_node::{Hooks, ReplicaState};
use dyno_command::{document, output, within};
use futures::StreamExt;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::task::JoinSet;

use super::load::{Ending, Store};
use super::nodes::{Caller, Coordination, Deploy, Durability, Engine, Nodes, NodesArgs};
use super::{Failure, block_on, broken, rounded};

/// How long clients put before the power fails, at least and at most, in milliseconds: some syncs long.
const BEFORE: std::ops::Range<u64> = 300..900;
/// How many keys are looked for at a time.
const LOOKS: usize = 16;

/// Arguments of `dyno bench loss`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Each cut is of a new cluster. Clients put, every key once; then nodes are killed at the \
    same time, with nothing in their files that they had not synced; they start again on what is left, \
    and all nodes are asked for every key that was acknowledged. It is lost if none holds it. Its age is \
    how long before the cut it was acknowledged: the oldest is the loss window."
)]
pub(super) struct LossArgs {
    #[command(flatten)]
    nodes: NodesArgs,
    /// How many puts are under way at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = within(1_usize, 1000))]
    callers: usize,
    /// How long values are, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = within(0_usize, 1 << 20))]
    value: usize,
    /// How often the power is cut in each way.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = within(1_u32, 1000))]
    cuts: u32,
    /// What keeps the records.
    #[arg(long, value_enum, default_value = "fjall")]
    engine: Engine,
    /// When a put counts as kept; all three, if none is given.
    #[arg(long, value_enum, value_delimiter = ',')]
    durability: Vec<Durability>,
    /// Where every draw comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print all of it as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Whose power fails, and what else is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Cut {
    /// W-1 machines.
    Fewer,
    /// All machines.
    All,
    /// All machines, and one disk with it.
    AllAndADisk,
}

/// What came of the cuts of one kind.
#[derive(Clone, Debug, Serialize)]
struct Row {
    durability: Durability,
    cut: Cut,
    cuts: u32,
    acknowledged: usize,
    lost: usize,
    /// How old what was lost was, of the median and of the oldest; none if nothing was.
    median_ms: Option<f64>,
    oldest_ms: Option<f64>,
}

/// Puts that were acknowledged: the key, and when.
type Acknowledged = Rc<RefCell<Vec<(String, Instant)>>>;

impl LossArgs {
    pub(super) fn check(&self) -> Result<(), String> {
        self.nodes.settings()?;
        if self.engine == Engine::Memory {
            return Err(
                "--engine memory: nothing of it survives a process: give fjall or redb".into()
            );
        }
        Ok(())
    }
}

pub(super) fn run(args: &LossArgs) -> Result<(), Failure> {
    args.check().map_err(Failure::Refused)?;
    let all = [Durability::Sync, Durability::One, Durability::Buffered];
    let each = if args.durability.is_empty() { &all[..] } else { &args.durability };
    let mut rows = Vec::new();
    for durability in each {
        for cut in [Cut::Fewer, Cut::All, Cut::AllAndADisk] {
            let row = block_on(measure(args, *durability, cut))?;
            if !args.json {
                output::say(row.told());
            }
            rows.push(row);
        }
    }
    if args.json {
        output::say(document("bench loss", None, serde_json::json!({ "rows": rows })));
    }
    Ok(())
}

async fn measure(args: &LossArgs, durability: Durability, cut: Cut) -> Result<Row, Failure> {
    let (mut acknowledged, mut ages) = (0, Vec::new());
    for number in 0..args.cuts {
        let seed = args.seed ^ u64::from(number) << 8 ^ durability as u64;
        let (puts, lost) = once(args, durability, cut, ChaCha8Rng::seed_from_u64(seed)).await?;
        acknowledged += puts;
        ages.extend(lost);
    }
    ages.sort();
    let millis = |age: &Duration| rounded(age.as_secs_f64() * 1e3);
    Ok(Row {
        durability,
        cut,
        cuts: args.cuts,
        acknowledged,
        lost: ages.len(),
        median_ms: ages.get(ages.len() / 2).map(millis),
        oldest_ms: ages.last().map(millis),
    })
}

/// One cut: how many puts were acknowledged before it, and how old those were that it took.
async fn once(
    args: &LossArgs,
    durability: Durability,
    cut: Cut,
    mut rng: ChaCha8Rng,
) -> Result<(usize, Vec<Duration>), Failure> {
    let deploy = Deploy { hooks: true, ..Deploy::default() };
    let mut nodes = Nodes::start(&args.nodes, (args.engine, durability), deploy).await?;
    let cuts = Hooks { unsynced: true, ..Hooks::default() };
    for id in nodes.ids() {
        let told = nodes.admin(id)?.hooks(1, Some(cuts.clone())).await;
        told.map_err(|error| broken("ready a node for a power cut", &error))?;
    }
    let acknowledged = Acknowledged::default();
    let mut callers = JoinSet::new();
    let value = Bytes::from(vec![b'v'; args.value]);
    for (number, store) in
        nodes.clients(args.callers, Coordination::Server)?.into_iter().enumerate()
    {
        callers.spawn_local(put(store, number, value.clone(), Rc::clone(&acknowledged)));
    }
    tokio::time::sleep(Duration::from_millis(rng.random_range(BEFORE))).await;
    let mut whose: Vec<_> = nodes.ids().collect();
    if cut == Cut::Fewer {
        let w = args.nodes.settings().map_err(Failure::Refused)?.w;
        let first = rng.random_range(0..whose.len());
        whose.rotate_left(first);
        whose.truncate(w - 1);
    }
    // What is acknowledged from now on may have been when the power had failed already, somewhere.
    let at = Instant::now();
    nodes.kill(&whose).await;
    callers.shutdown().await;
    if cut == Cut::AllAndADisk {
        nodes.wipe(*nodes.ids().collect::<Vec<_>>().first().unwrap_or(&1))?;
    }
    for id in whose {
        nodes.restart(id).await?;
    }
    let mut before = acknowledged.take();
    before.retain(|(_, when)| *when <= at);
    let lost = missing(&nodes, &before).await?;
    Ok((before.len(), lost.into_iter().map(|when| at - when).collect()))
}

/// Puts one key after the other.
async fn put(store: Caller, number: usize, value: Bytes, acknowledged: Acknowledged) {
    for at in 0_u64.. {
        let key = format!("key-{number}-{at}");
        if store.put(&key, value.clone()).await == Ending::Done {
            acknowledged.borrow_mut().push((key, Instant::now()));
        }
    }
}

/// When those were acknowledged of which no node holds anything.
async fn missing(nodes: &Nodes, all: &[(String, Instant)]) -> Result<Vec<Instant>, Failure> {
    let admins = nodes.ids().map(|id| nodes.admin(id)).collect::<Result<Vec<_>, _>>()?;
    let look = async |(key, when): &(String, Instant)| {
        for admin in &admins {
            let read = admin.read_replica(key.clone()).await;
            match read.map_err(|error| broken("read a record", &error))? {
                ReplicaState::Found(_) => return Ok(None),
                ReplicaState::Absent(_) => {}
                other => return Err(Failure::Broken(format!("{key} cannot be read: {other:?}"))),
            }
        }
        Ok(Some(*when))
    };
    let looks = futures::stream::iter(all.iter().map(look)).buffer_unordered(LOOKS);
    let found: Vec<Result<_, Failure>> = looks.collect().await;
    found.into_iter().filter_map(Result::transpose).collect()
}

impl Row {
    fn told(&self) -> String {
        let Self { durability, cut, cuts, acknowledged, lost, median_ms, oldest_ms } = self;
        let whose = match cut {
            Cut::Fewer => "of W-1 machines",
            Cut::All => "of all machines",
            Cut::AllAndADisk => "of all, and a disk",
        };
        let ages = match (median_ms, oldest_ms) {
            (Some(median), Some(oldest)) => format!(": {median} ms old, the oldest {oldest} ms"),
            _ => String::new(),
        };
        let word = durability.word();
        format!(
            "{word:<8}  {cuts} power cuts {whose:<18}  {lost} of {acknowledged} acknowledged puts lost{ages}"
        )
    }
}
