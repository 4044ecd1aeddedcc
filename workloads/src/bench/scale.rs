//! `dyno bench scale`: what grows with the number of nodes, and how.
//!
//! Nothing here is a model of a node: gossip is told and heard by the protocol's own core, a refill runs in
//! the simulator, and rings are those that nodes make.

use std::collections::VecDeque;
use std::sync::Arc;

use clap::Args;
use dynamo_protocol::membership::Edit;
use dynamo_protocol::{
    Envelope, Identity, Input, Key, Member, MemoryStore, Meta, Node, NodeId, Outbox, Output,
    Partitioning, Ring, Settings, Start, Time, Timer, View,
};
use dynamo_sim::World;
use dynamo_sim::network::Network;
use dynamo_sim::trace::{Cluster, Op, Sync};
use dynamo_sim::world::Conditions;
use dyno_command::{document, output, within};
use serde::Serialize;

use super::rings::{HOMES, members, metadata, moved};
use super::{Failure, rounded};

/// Virtual nodes of each, of metadata and of what moves.
const TOKENS: u16 = 64;
/// The ring plays no part in gossip; a small one lets a thousand nodes have theirs in one process.
const GOSSIPS: Partitioning = Partitioning::TokensOverEqual { partitions: 64 };
/// More rounds than any gossip takes that works.
const MOST_ROUNDS: u32 = 1000;
/// Virtual nodes of each in the simulated refill.
const REFILL_TOKENS: u16 = 8;
/// How long a refill may take, in microseconds of simulated time.
const MOST_REFILL: u64 = 3_600_000_000;

/// Arguments of `dyno bench scale`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "rounds: beats of gossip until all nodes know an epoch that one of them knew, by gossip \
    alone. metadata: bytes that a node keeps of the ring (see `dyno bench partitioning`). moved: copies of \
    keys that get another home when one node joins, and the newcomer's share. refill: simulated seconds \
    until a node that lost its disk votes again, and the messages that took."
)]
pub(super) struct ScaleArgs {
    /// How many nodes, one row each.
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_values_t = [10_u16, 100, 1000],
          value_parser = within(4_u16, 2000))]
    nodes: Vec<u16>,
    /// How many keys there are for each node.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = within(1_usize, 10_000))]
    keys: usize,
    /// Simulate the refill up to so many nodes: it takes the longest.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = within(0_u16, 2000))]
    refill: u16,
    /// Where every draw comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print all of it as one line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    nodes: u16,
    rounds: u32,
    gossip_messages: u64,
    metadata_bytes: usize,
    moved: usize,
    must: f64,
    /// None where it was not simulated.
    refill_s: Option<f64>,
    refill_messages: Option<u64>,
}

impl ScaleArgs {
    pub(super) fn check(&self) -> Result<(), String> {
        match self.nodes.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => {
                Err(format!("--nodes: {} before {}: list them upwards", pair[0], pair[1]))
            }
            None => Ok(()),
        }
    }
}

pub(super) fn run(args: &ScaleArgs) -> Result<(), Failure> {
    args.check().map_err(Failure::Refused)?;
    let mut rows = Vec::new();
    if !args.json {
        output::say(
            "nodes  rounds  gossip messages  metadata bytes  copies moved  share  refill s  messages",
        );
    }
    for nodes in &args.nodes {
        let row = row(args, *nodes)?;
        if !args.json {
            let dash = || "-".to_owned();
            output::say(format_args!(
                "{:<6} {:>6}  {:>15}  {:>14}  {:>12}  {:>5.0}  {:>8}  {:>8}",
                row.nodes,
                row.rounds,
                row.gossip_messages,
                row.metadata_bytes,
                row.moved,
                row.must,
                row.refill_s.map_or_else(dash, |seconds| format!("{seconds:.1}")),
                row.refill_messages.map_or_else(dash, |count| count.to_string()),
            ));
        }
        rows.push(row);
    }
    let growth = growth(&rows);
    if args.json {
        let body = serde_json::json!({ "rows": rows, "growth": growth });
        output::say(document("bench scale", None, body));
    } else {
        for (what, exponent) in growth {
            output::say(format_args!(
                "{what} grows as the number of nodes to the power of {exponent:.2}"
            ));
        }
    }
    Ok(())
}

fn row(args: &ScaleArgs, nodes: u16) -> Result<Row, Failure> {
    let (rounds, gossip_messages) = Gossip::start(nodes)?.run()?;
    let count = usize::from(nodes);
    let all = members(nodes + 1, args.seed, TOKENS);
    let [before, after] =
        [&all[..count], &all].map(|members| Ring::new(members, Partitioning::Tokens, HOMES));
    let keys = args.keys * count;
    let refilled = if nodes <= args.refill { Some(refill(args, nodes)?) } else { None };
    Ok(Row {
        nodes,
        rounds,
        gossip_messages,
        metadata_bytes: metadata(&before, count, TOKENS, Partitioning::Tokens),
        moved: moved(&before, &after, keys),
        must: rounded((HOMES * keys) as f64 / f64::from(nodes + 1)),
        refill_s: refilled.map(|(micros, _)| rounded(micros as f64 / 1e6)),
        refill_messages: refilled.map(|(_, messages)| messages),
    })
}

/// Between the first row and the last: 1 if what grows does so as the number of nodes.
fn growth(rows: &[Row]) -> Vec<(&'static str, f64)> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Vec::new() };
    if first.nodes == last.nodes {
        return Vec::new();
    }
    let times = f64::from(last.nodes) / f64::from(first.nodes);
    let exponent = |one: f64, other: f64| rounded((other / one.max(1.0)).ln() / times.ln());
    vec![
        ("rounds", exponent(first.rounds.into(), last.rounds.into())),
        ("metadata_bytes", exponent(first.metadata_bytes as f64, last.metadata_bytes as f64)),
        ("moved", exponent(first.moved as f64, last.moved as f64)),
    ]
}

/// Nodes of which one knows of a change, and that say nothing but gossip.
struct Gossip {
    nodes: Vec<(Node, MemoryStore)>,
    /// Who tells somebody in the next round.
    beats: Vec<bool>,
    post: VecDeque<Envelope>,
    messages: u64,
}

impl Gossip {
    /// `count` nodes, the first of which knows that the weight of the last was changed.
    fn start(count: u16) -> Result<Self, Failure> {
        let broken = |error| super::broken("make a cluster", &error);
        let settings = Settings { partitioning: GOSSIPS, ..Settings::new([3, 2, 2]) };
        let founders = (1..=count).map(|id| Member::new(NodeId(id), 1)).collect();
        let genesis = View::genesis(&settings, founders).map_err(broken)?;
        let edit = Edit::Weigh { node: NodeId(count), tokens: 2 };
        let changed = genesis.history().latest().edited(&edit, settings.n);
        let changed = changed.map_err(|error| super::broken("change a weight", &error))?;
        let later = Arc::new(genesis.followed_by(&settings, &changed));
        let (genesis, settings) = (Arc::new(genesis), Arc::new(settings));
        let node = |id: u16| {
            let meta = Meta::genesis(Identity(id.into()));
            let view = if id == 1 { &later } else { &genesis };
            let start = Start::proven(meta, id.into());
            let node = Node::new(NodeId(id), Arc::clone(&settings), Arc::clone(view), start);
            (node, MemoryStore::new(meta))
        };
        let nodes = (1..=count).map(node).collect();
        let beats = vec![false; count.into()];
        let mut all = Self { nodes, beats, post: VecDeque::new(), messages: 0 };
        (0..count.into()).for_each(|node| all.handle(node, Input::Started));
        // What is said at a start is no gossip.
        all.post.clear();
        all.messages = 0;
        Ok(all)
    }

    fn handle(&mut self, node: usize, input: Input) {
        let mut outbox = Outbox::default();
        let (core, disk) = &mut self.nodes[node];
        core.handle(Time(0), input, disk, &mut outbox);
        for output in outbox.outputs {
            match output {
                Output::Send(envelope) => {
                    self.messages += 1;
                    self.post.push_back(envelope);
                }
                Output::SetTimer(Timer::Gossip, _) => self.beats[node] = true,
                Output::CancelTimer(Timer::Gossip) => self.beats[node] = false,
                _ => {}
            }
        }
    }

    fn all_know(&self) -> bool {
        let first = self.nodes[0].0.view().epoch();
        self.nodes.iter().all(|(node, _)| node.view().epoch() == first)
    }

    /// How many rounds it takes, and how many messages.
    fn run(mut self) -> Result<(u32, u64), Failure> {
        for round in 0..MOST_ROUNDS {
            if self.all_know() {
                return Ok((round, self.messages));
            }
            for node in 0..self.nodes.len() {
                if std::mem::take(&mut self.beats[node]) {
                    self.handle(node, Input::Timer(Timer::Gossip));
                }
            }
            while let Some(envelope) = self.post.pop_front() {
                let to = usize::from(envelope.to.0) - 1;
                self.handle(to, Input::Peer(envelope));
            }
        }
        Err(Failure::Broken(format!("not all know the epoch after {MOST_ROUNDS} rounds")))
    }
}

/// How long, in simulated microseconds, a node takes until it votes again that lost its disk, and how many
/// messages all nodes sent meanwhile.
fn refill(args: &ScaleArgs, nodes: u16) -> Result<(u64, u64), Failure> {
    let settings = Settings::default();
    let cluster = Cluster {
        nodes,
        spares: 0,
        tokens: REFILL_TOKENS,
        zones: 1,
        settings,
        sync: Sync::Explicit,
        counts: true,
        identities: 0,
    };
    let view = cluster.view().map_err(|error| super::broken("make a cluster", &error))?;
    let conditions = Conditions { cluster, network: Network::quiet(), sync: 130 };
    let mut world = World::new(conditions, Arc::new(view), args.seed);
    for number in 0..args.keys * usize::from(nodes) {
        let key = Key::from(format!("key-{number}").as_str());
        let asked = world.bench().view().homes(&key)[0];
        let op = Op::Put { key: key.0, value: Some("v".into()), read: None, made_up: None };
        let request = world.ask(asked, op);
        let end = world.now() + 5_000_000;
        match world.next(end) {
            Some((answered, _)) if answered == request => {}
            _ => return Err(Failure::Broken(format!("the simulated put {number} has no answer"))),
        }
    }
    let lost = NodeId(nodes);
    world.kill(lost);
    world.wipe(lost);
    world.start(lost);
    let (began, before) = (world.now(), world.bench().sent());
    let votes = |world: &World| {
        let of = world.bench().host(lost).node();
        of.is_some_and(|of| !of.meta().amnesiac && of.filling() == 0)
    };
    while !votes(&world) {
        if world.now() - began > MOST_REFILL {
            return Err(Failure::Broken("the refill does not end".to_owned()));
        }
        // In steps of ten milliseconds: nobody is answered meanwhile.
        let next = world.now() + 10_000;
        let _ = world.next(next);
    }
    Ok((world.now() - began, world.bench().sent() - before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gossip(nodes: u16) -> (u32, u64) {
        Gossip::start(nodes).unwrap().run().unwrap()
    }

    #[test]
    fn an_epoch_spreads_in_rounds_that_grow_as_the_logarithm_of_the_nodes() {
        let [few, many] = [8, 128].map(gossip);
        assert!(
            (2..=6).contains(&few.0),
            "three times as many know it each round, at best: {few:?}"
        );
        assert!((5..=12).contains(&many.0), "{many:?}");
        assert!(many.1 >= 127, "everybody has to be told: {many:?}");
    }

    #[test]
    fn a_node_that_lost_its_disk_votes_again() {
        let args = ScaleArgs { nodes: vec![5], keys: 4, refill: 5, seed: 1, json: false };
        let (micros, messages) = refill(&args, 5).unwrap();
        assert!(micros > 0 && messages > 4, "{micros} us, {messages} messages");
    }
}
