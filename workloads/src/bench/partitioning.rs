//! `dyno bench partitioning`: the three strategies of the paper's section 6.2.

use clap::Args;
use dynamo_protocol::{Partitioning, Ring};
use dyno_command::{Jobs, document, output, within};
use serde::Serialize;

use super::rings::{HOMES, efficiency, members, metadata, moved, summed};
use super::rounded;

/// What joins: one more than so many.
const BEFORE_A_JOIN: u16 = 5;
/// Virtual nodes of each then.
const TOKENS: u16 = 64;
/// Of how many rings what moves is the mean.
const JOINS: u64 = 20;

/// Arguments of `dyno bench partitioning`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Efficiency is the mean load over the largest. Metadata is what a node keeps of the ring: \
    16 bytes of where each range ends, 2 of each place in its preference list and, under strategy 2, 18 of \
    each token. The paper (section 6.2, figure 8) has strategy 3 best and 2 worst at equal metadata."
)]
pub(super) struct PartitioningArgs {
    /// How many nodes; the paper has 30.
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = within(3_u16, 1000))]
    nodes: u16,
    /// Of how many rings the mean is taken.
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = within(1_u64, 1_000_000))]
    rings: u64,
    /// How many keys there are when another node joins.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000,
          value_parser = within(1_usize, 10_000_000))]
    keys: usize,
    /// How many rings are made at a time; 0 is one a core.
    #[arg(long, value_name = "COUNT", default_value = "0")]
    jobs: Jobs,
    /// Print all of it as one line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Balance {
    /// As the paper numbers it.
    strategy: u8,
    partitioning: Partitioning,
    /// Virtual nodes of each; they mean nothing to strategy 3, where all weigh the same.
    tokens: u16,
    efficiency: f64,
    metadata_bytes: usize,
}

#[derive(Debug, Serialize)]
struct Join {
    strategy: u8,
    partitioning: Partitioning,
    /// Copies of keys, the mean of several rings.
    moved: f64,
    /// The newcomer's share: fewer cannot.
    must: f64,
}

fn strategy(by: Partitioning) -> u8 {
    match by {
        Partitioning::Tokens => 1,
        Partitioning::TokensOverEqual { .. } => 2,
        Partitioning::Equal { .. } => 3,
    }
}

/// Cheap ones to costly ones, so that some of each strategy keep about as much.
const SETTINGS: [(Partitioning, u16); 9] = [
    (Partitioning::Tokens, 4),
    (Partitioning::Tokens, 16),
    (Partitioning::Tokens, 64),
    (Partitioning::TokensOverEqual { partitions: 1024 }, 4),
    (Partitioning::TokensOverEqual { partitions: 1024 }, 16),
    (Partitioning::TokensOverEqual { partitions: 1024 }, 64),
    (Partitioning::Equal { partitions: 128 }, 1),
    (Partitioning::Equal { partitions: 512 }, 1),
    (Partitioning::Equal { partitions: 1024 }, 1),
];

pub(super) fn run(args: &PartitioningArgs) {
    let balances: Vec<_> =
        SETTINGS.iter().map(|(by, tokens)| balance(args, *by, *tokens)).collect();
    let partitions = Partitioning::USUAL;
    let strategies = [
        Partitioning::Tokens,
        Partitioning::TokensOverEqual { partitions },
        Partitioning::Equal { partitions },
    ];
    let joins: Vec<_> = strategies.iter().map(|by| join(args, *by)).collect();
    let ordering = ordering(&balances);
    if args.json {
        let body = serde_json::json!({
            "nodes": args.nodes, "rings": args.rings, "balance": balances, "ordering": ordering,
            "paper": "3 > 1 > 2", "keys": args.keys, "join": joins,
        });
        return output::say(document("bench partitioning", None, body));
    }
    let (nodes, rings) = (args.nodes, args.rings);
    output::say(format_args!("{nodes} nodes, N = {HOMES}, mean of {rings} rings"));
    output::say("strategy  partitioning            tokens  efficiency  metadata bytes");
    for Balance { strategy, partitioning, tokens, efficiency, metadata_bytes } in &balances {
        let name = partitioning.to_string();
        output::say(format_args!(
            "{strategy:<9} {name:<23} {tokens:>6}  {efficiency:>10.3}  {metadata_bytes:>14}"
        ));
    }
    output::say(format_args!("at about equal metadata: {ordering}; the paper: 3 > 1 > 2"));
    let (keys, after) = (args.keys, BEFORE_A_JOIN + 1);
    output::say(format_args!("a sixth node joins: of {keys} keys, {HOMES} copies each"));
    for Join { strategy, partitioning, moved, must } in &joins {
        output::say(format_args!(
            "strategy {strategy} ({partitioning}): {moved:.0} copies move; its share is {must:.0} (1/{after})"
        ));
    }
}

fn balance(args: &PartitioningArgs, by: Partitioning, tokens: u16) -> Balance {
    let count = usize::from(args.nodes);
    let of = |round| {
        let ring = Ring::new(&members(args.nodes, round, tokens), by, HOMES);
        [efficiency(&ring, count), metadata(&ring, count, tokens, by) as f64]
    };
    let [efficiency, bytes] = summed(args.rings, args.jobs, of).map(|sum| sum / args.rings as f64);
    Balance {
        strategy: strategy(by),
        partitioning: by,
        tokens,
        efficiency: rounded(efficiency),
        metadata_bytes: bytes.round() as usize,
    }
}

fn join(args: &PartitioningArgs, by: Partitioning) -> Join {
    let of = |round| {
        let all = members(BEFORE_A_JOIN + 1, round, TOKENS);
        let [before, after] =
            [&all[..usize::from(BEFORE_A_JOIN)], &all].map(|members| Ring::new(members, by, HOMES));
        [moved(&before, &after, args.keys) as f64]
    };
    let [moved] = summed(JOINS, args.jobs, of).map(|sum| sum / JOINS as f64);
    let must = (HOMES * args.keys) as f64 / f64::from(BEFORE_A_JOIN + 1);
    Join { strategy: strategy(by), partitioning: by, moved: rounded(moved), must: rounded(must) }
}

/// Who is best, by the efficiency of each strategy where it keeps no more bytes than the most frugal of the
/// three has to: what fits there best counts.
fn ordering(balances: &[Balance]) -> String {
    let of = |strategy: u8| balances.iter().filter(move |balance| balance.strategy == strategy);
    let least = (1..=3_u8).filter_map(|one| of(one).map(|balance| balance.metadata_bytes).min());
    let room = least.max().unwrap_or_default();
    let best = |strategy: u8| {
        let fits = of(strategy).filter(|balance| balance.metadata_bytes <= room);
        fits.map(|balance| balance.efficiency).fold(0.0, f64::max)
    };
    let mut order: Vec<_> = (1..=3_u8).map(|strategy| (strategy, best(strategy))).collect();
    order.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let told = order.iter().map(|(strategy, best)| format!("{strategy} ({best:.3})"));
    told.collect::<Vec<_>>().join(" > ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> PartitioningArgs {
        PartitioningArgs {
            nodes: 30,
            rings: 10,
            keys: 1000,
            jobs: "2".parse().unwrap(),
            json: false,
        }
    }

    /// The figures of docs/partitions.md, as far as ten rings tell them.
    #[test]
    fn more_tokens_balance_better_and_strategy_3_best_for_what_it_keeps() {
        let of = |by, tokens| balance(&args(), by, tokens);
        let few = of(Partitioning::Tokens, 4);
        let many = of(Partitioning::Tokens, 64);
        let equal = of(Partitioning::Equal { partitions: 128 }, 1);
        assert!(few.efficiency < many.efficiency - 0.1, "{few:?} {many:?}");
        assert!(equal.efficiency > few.efficiency + 0.1, "{equal:?} {few:?}");
        assert_eq!((few.metadata_bytes, equal.metadata_bytes), (9_120, 9_728));
    }

    #[test]
    fn a_sixth_node_moves_about_what_it_must() {
        let Join { moved, must, .. } = join(&args(), Partitioning::Tokens);
        assert_eq!(must, 500.0);
        assert!((0.8..1.2).contains(&(moved / must)), "{moved}");
    }
}
