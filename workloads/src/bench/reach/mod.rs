//! `dyno bench reach`: what nodes have to reach, row by row, each a ratio or a bound of one run, beside
//! its bar and its aim.

mod graph;
mod killed;
mod overload;
mod pairs;
mod unread;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use dyno_command::{Span, document, output, span_within, within};
use serde::Serialize;
use serde_json::Value;

use super::load::LoadArgs;
use super::nodes::NodesArgs;
use super::{Failure, block_on, rounded};

/// Arguments of `dyno bench reach`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Everything runs on this machine, row after row: nothing else should. `overload` has all \
    nodes on one core and the callers on another, by taskset. What is not installed is skipped (Debian: \
    redis-server, etcd-server). The exit status says whether it was measured, not whether a bar was met."
)]
pub(super) struct ReachArgs {
    #[command(flatten)]
    nodes: NodesArgs,
    /// Which rows; all, if none is given.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROWS")]
    rows: Vec<Which>,
    /// How often each side of a ratio is measured, in turn; ratios are of the medians.
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = within(1_u32, 99))]
    runs: u32,
    /// How long each is measured.
    #[arg(long, value_name = "TIME", default_value = "10s",
          value_parser = span_within(Span::millis(100), Span::secs(3600)))]
    time: Span,
    /// How many requests are under way at a time, but for overload.
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = within(1_usize, 10_000))]
    callers: usize,
    /// Of how many keys one is drawn for each request.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000,
          value_parser = within(1_usize, 10_000_000))]
    keys: usize,
    /// How many nodes the row `driven` has: with more than N some requests have to be forwarded, if the
    /// client does not know the ring.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = within(3_u16, 25))]
    driven_nodes: u16,
    /// How many nodes the row `killed` has: with more than N there is one that takes hints.
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = within(3_u16, 25))]
    killed_nodes: u16,
    /// How many times as much as they can do nodes are asked for.
    #[arg(long, value_name = "TIMES", default_value_t = 10.0, value_parser = within(1.0, 1000.0))]
    overload: f64,
    /// For how long.
    #[arg(long, value_name = "TIME", default_value = "60s",
          value_parser = span_within(Span::millis(500), Span::secs(3600)))]
    overload_time: Span,
    /// How many requests may then be under way.
    #[arg(long, value_name = "COUNT", default_value_t = 4000, value_parser = within(1_usize, 10_000))]
    overload_callers: usize,
    /// Draw what nodes measure of themselves under overload into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    graph: Option<PathBuf>,
    /// Where every draw comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print all of it as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Puts in memory beside Redis with WAIT 1: rate, and processor time of the servers.
    Memory,
    /// Puts that two of three have synced beside etcd: the same.
    Synced,
    /// The slowest of a thousand requests: clients that know the ring beside clients that do not.
    Driven,
    /// The same at 500 requests a second while a node is killed and comes back.
    Killed,
    /// Many times as much as nodes can do.
    Overload,
    /// A client that never reads 4,096 answers of 1 MiB.
    Unread,
    /// Certificates beside none.
    Tls,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
struct Row {
    what: &'static str,
    measured: f64,
    unit: &'static str,
    bar: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<f64>,
    /// Whether less is better.
    at_most: bool,
    met: bool,
    /// What it comes of.
    of: Value,
}

/// A row that was not measured.
#[derive(Clone, Debug, Serialize)]
struct Skipped {
    what: &'static str,
    why: String,
}

/// What came of it all.
#[derive(Default)]
struct Table {
    rows: Vec<Row>,
    skipped: Vec<Skipped>,
    aloud: bool,
}

impl Table {
    /// Something that has to be `bar` at least, or at most.
    fn add(
        &mut self,
        (what, unit): (&'static str, &'static str),
        measured: f64,
        (at_most, bar, aim): (bool, f64, Option<f64>),
        of: Value,
    ) {
        let met = if at_most { measured <= bar } else { measured >= bar };
        let row = Row { what, measured: rounded(measured), unit, bar, aim, at_most, met, of };
        if self.aloud {
            output::say(row.told());
        }
        self.rows.push(row);
    }

    fn skip(&mut self, what: &'static str, why: String) {
        if self.aloud {
            output::say(format_args!("{what}: skipped: {why}"));
        }
        self.skipped.push(Skipped { what, why });
    }
}

/// The least that is good enough.
const fn least(bar: f64, aim: f64) -> (bool, f64, Option<f64>) {
    (false, bar, Some(aim))
}

/// The most that is.
const fn most(bar: f64, aim: Option<f64>) -> (bool, f64, Option<f64>) {
    (true, bar, aim)
}

impl ReachArgs {
    pub(super) fn check(&self) -> Result<(), String> {
        let settings = self.nodes.settings()?;
        if self.nodes.nodes != 3 || (settings.n, settings.r, settings.w) != (3, 2, 2) {
            return Err("what is to be reached is said of three nodes with -n 3 -r 2 -w 2: leave --nodes, -n, \
                        -r and -w out"
                .to_owned());
        }
        let is_overloaded = self.rows.is_empty() || self.rows.contains(&Which::Overload);
        if self.graph.is_some() && !is_overloaded {
            return Err("--graph: it shows the row overload: add that to --rows".to_owned());
        }
        let folder = self.graph.as_deref().and_then(Path::parent);
        if let Some(folder) = folder.filter(|it| !it.as_os_str().is_empty() && !it.is_dir()) {
            return Err(format!("--graph: there is no folder {}: make it first", folder.display()));
        }
        Ok(())
    }

    /// The load of the table: so many callers, 100 bytes, puts alone.
    fn load(&self) -> LoadArgs {
        LoadArgs {
            callers: self.callers,
            put: 100,
            value: 100,
            keys: self.keys,
            zipf: 0.0,
            rate: None,
            time: self.time,
            warm_up: Span(self.time.0.min(Duration::from_secs(1))),
            seed: self.seed,
        }
    }

    fn of_nodes(&self, nodes: u16) -> NodesArgs {
        NodesArgs { nodes, ..self.nodes.clone() }
    }
}

pub(super) fn run(args: &ReachArgs) -> Result<(), Failure> {
    args.check().map_err(Failure::Refused)?;
    let all = Which::value_variants();
    let rows = if args.rows.is_empty() { all } else { &args.rows };
    let mut table = Table { aloud: !args.json, ..Table::default() };
    let mut broken = Vec::new();
    for which in rows {
        // What others came to is not lost with one that does not work.
        match which.measure(args, &mut table) {
            Err(Failure::Broken(why)) => {
                table.skip(which.name(), format!("it did not work: {why}"));
                broken.push(which.name());
            }
            measured => measured?,
        }
    }
    if args.json {
        let Table { rows, skipped, .. } = table;
        let body = serde_json::json!({ "rows": rows, "skipped": skipped });
        output::say(document("bench reach", None, body));
    }
    match broken.is_empty() {
        true => Ok(()),
        false => Err(Failure::Broken(format!("not measured: {}", broken.join(", ")))),
    }
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Synced => "synced",
            Self::Driven => "driven",
            Self::Killed => "killed",
            Self::Overload => "overload",
            Self::Unread => "unread",
            Self::Tls => "tls",
        }
    }

    fn measure(self, args: &ReachArgs, table: &mut Table) -> Result<(), Failure> {
        match self {
            Self::Memory => block_on(pairs::memory(args, table)),
            Self::Synced => block_on(pairs::synced(args, table)),
            Self::Driven => block_on(pairs::driven(args, table)),
            Self::Killed => block_on(killed::measure(args, table)),
            Self::Overload => overload::measure(args, table),
            Self::Unread => block_on(unread::measure(args, table)),
            Self::Tls => block_on(pairs::tls(args, table)),
        }
    }
}

impl Row {
    fn told(&self) -> String {
        let Self { what, measured, unit, bar, aim, at_most, met, .. } = self;
        let bound = if *at_most { "at most" } else { "at least" };
        let aim = aim.map_or_else(String::new, |aim| format!(", aim {aim}{unit}"));
        let met = if *met { "met" } else { "NOT MET" };
        format!("{what:<58} {measured}{unit}  ({bound} {bar}{unit}{aim}: {met})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_from_its_own_side() {
        let mut table = Table::default();
        table.add(("rate", "x"), 0.9, least(1.0, 1.5), Value::Null);
        table.add(("rate", "x"), 1.0, least(1.0, 1.5), Value::Null);
        table.add(("cost", "x"), 0.9, most(0.8, Some(0.5)), Value::Null);
        table.add(("cost", "x"), 0.8, most(0.8, None), Value::Null);
        let met: Vec<_> = table.rows.iter().map(|row| row.met).collect();
        assert_eq!(met, [false, true, false, true]);
        assert!(table.rows[0].told().contains("0.9x  (at least 1x, aim 1.5x: NOT MET)"));
    }
}
