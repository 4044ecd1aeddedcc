//! `dyno model check | list | explore`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use dynamo_protocol::{Quorum, ReadMode, Versioning};
use stateright::Model as _;

use crate::bench::Bench;
use crate::check::{Keep, Report, check_kept};
use crate::engine::Budget;
use crate::interrupt;
use crate::scenario::{Scenario, defaults};
use crate::script::Script;
use crate::spec::{Durability, Faults, Reductions, Spec};

/// Exhaustive checking of the protocol core.
#[derive(Debug, Args)]
pub struct ModelArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Search scenarios: the named ones, or with --script one of your own; without either, all.
    Check(CheckArgs),
    /// List the named scenarios and the claims.
    List,
    /// Walk through a scenario in a browser.
    Explore(ExploreArgs),
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Named scenarios; see `list`.
    scenarios: Vec<String>,
    #[command(flatten)]
    custom: Custom,
    /// Give up a scenario after this long: 60s, 5m, 1h.
    #[arg(long, value_parser = duration)]
    budget: Option<Duration>,
    /// Give up a scenario at so many states.
    #[arg(long)]
    states: Option<usize>,
    /// Give up a scenario when the process takes this much memory, in MiB.
    #[arg(long, default_value_t = 12 * 1024)]
    memory: usize,
    /// How many scenarios to search at a time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(usize))]
    jobs: usize,
    /// Write the search here every minute and at the end of its budget.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Go on with the search that --checkpoint wrote.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Write every path found into this directory, as traces for `dyno replay`.
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
    /// One JSON document a scenario, a line each.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ExploreArgs {
    /// A named scenario.
    scenario: Option<String>,
    #[command(flatten)]
    custom: Custom,
    /// The port on loopback; 0 for any that is free.
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

/// A configuration of one's own. Without --script the other options are refused.
#[derive(Debug, Args)]
struct Custom {
    /// Clients' steps: p put, g get, d delete; a comma separates clients.
    #[arg(long)]
    script: Option<Script>,
    /// How many nodes.
    #[arg(long, default_value_t = 3, requires = "script")]
    nodes: usize,
    /// N: homes of the key.
    #[arg(short, default_value_t = 3, requires = "script")]
    n: usize,
    /// R: slots a get waits for.
    #[arg(short, default_value_t = 2, requires = "script")]
    r: usize,
    /// W: slots a put waits for.
    #[arg(short, default_value_t = 2, requires = "script")]
    w: usize,
    /// Whether fallbacks stand in.
    #[arg(long, value_enum, default_value_t = QuorumArg::Strict, requires = "script")]
    quorum: QuorumArg,
    /// How versions are told apart.
    #[arg(long, value_enum, default_value_t = VersioningArg::Dotted, requires = "script")]
    versioning: VersioningArg,
    /// Gets write back before the reply.
    #[arg(long, requires = "script")]
    atomic: bool,
    /// When writes are durable.
    #[arg(long, value_enum, default_value_t = DurabilityArg::Step, requires = "script")]
    durability: DurabilityArg,
    /// Processes that end.
    #[arg(long, default_value_t = 0, requires = "script")]
    crashes: u8,
    /// Processes started again; as many as end, unless given.
    #[arg(long, requires = "script")]
    restarts: Option<u8>,
    /// Cuts of the network.
    #[arg(long, default_value_t = 0, requires = "script")]
    partitions: u8,
    /// Directories emptied.
    #[arg(long, default_value_t = 0, requires = "script")]
    wipes: u8,
    /// Home records gone.
    #[arg(long, default_value_t = 0, requires = "script")]
    forgotten: u8,
    /// Messages lost.
    #[arg(long, default_value_t = 0, requires = "script")]
    losses: u8,
    /// Hosts that lose power.
    #[arg(long, default_value_t = 0, requires = "script")]
    power_cuts: u8,
    /// Timers that run out without a fault.
    #[arg(long, default_value_t = 0, requires = "script")]
    hedges: u8,
    /// A wiped directory keeps its identity: a broken host.
    #[arg(long, requires = "script")]
    keep_identity: bool,
    /// Leave nothing out of the search.
    #[arg(long, requires = "script")]
    unreduced: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum QuorumArg {
    Sloppy,
    Strict,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VersioningArg {
    Dotted,
    Paper,
    Lww,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DurabilityArg {
    Step,
    Group,
    Buffered,
}

/// Carries the command out. The exit status: 0 as expected, 1 not, 2 not complete, 254 refused.
#[must_use]
pub fn run(args: &ModelArgs) -> u8 {
    carry_out(args).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        254
    })
}

fn carry_out(args: &ModelArgs) -> anyhow::Result<u8> {
    match &args.command {
        Command::Check(args) => check_all(args),
        Command::List => {
            list();
            Ok(0)
        }
        Command::Explore(args) => explore(args),
    }
}

fn check_all(args: &CheckArgs) -> anyhow::Result<u8> {
    let scenarios = args.custom.choose(&args.scenarios)?;
    if args.jobs == 0 {
        bail!("--jobs 0 would search nothing: give at least 1");
    }
    let budget = Budget {
        time: args.budget.unwrap_or(Duration::MAX),
        states: args.states.unwrap_or(Budget::NONE.states).min(Budget::NONE.states),
        memory: args.memory << 20,
        until: 0,
        stop: interrupt::asked,
    };
    interrupt::listen()?;
    if scenarios.len() != 1 && (args.checkpoint.is_some() || args.resume.is_some()) {
        bail!("--checkpoint and --resume keep one search: name one scenario, or give --script");
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let next = AtomicUsize::new(0);
    let (scenarios, budget, next) = (&scenarios, &budget, &next);
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.min(scenarios.len()) {
            let sender = sender.clone();
            scope.spawn(move || {
                // Longest first would end sooner; in order is what people read.
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = check_one(args, scenario, budget);
                    if sender.send((scenario, report)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut status = 0;
        for (scenario, report) in receiver {
            let report = report.with_context(|| scenario.name.clone())?;
            if args.json {
                println!("{}", serde_json::to_string(&report)?);
            } else {
                print!("{}", report.to_text());
            }
            if !report.as_expected {
                status = 1;
            } else if !report.complete && status == 0 {
                status = 2;
            }
        }
        Ok(status)
    })
}

fn check_one(args: &CheckArgs, scenario: &Scenario, budget: &Budget) -> anyhow::Result<Report> {
    let mut last = Instant::now();
    let mut progress = |progress: crate::engine::Progress| {
        if last.elapsed() >= Duration::from_secs(2) {
            last = Instant::now();
            eprintln!("{}: {progress}", scenario.name);
        }
    };
    let keep = Keep { checkpoint: args.checkpoint.as_deref(), resume: args.resume.as_deref() };
    let mut checked = check_kept(scenario, budget, keep, &mut progress)?;
    if let Some(folder) = &args.traces {
        checked.write_traces(folder)?;
    }
    Ok(checked.report)
}

fn list() {
    println!("scenarios:");
    for scenario in defaults() {
        println!("  {:18} {}", scenario.name, scenario.about);
        println!("  {:18} {}", "", scenario.spec.label());
    }
    println!("claims:");
    for claim in &crate::properties::CLAIMS {
        println!("  {:30} {}", claim.name, claim.source);
    }
}

fn explore(args: &ExploreArgs) -> anyhow::Result<u8> {
    let named: Vec<_> = args.scenario.iter().cloned().collect();
    if named.is_empty() && args.custom.script.is_none() {
        bail!("explore needs a scenario (see `dyno model list`) or --script");
    }
    let scenario = args.custom.choose(&named)?.swap_remove(0);
    let bench = Bench::new(scenario.spec)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    // stateright's server panics if the port is taken: look first. Port 0 is any that is free.
    let address = std::net::TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .with_context(|| format!("{address} is taken: pass another --port"))?;
    println!("explore {} at http://{address}/", scenario.name);
    crate::explore::Readable::new(bench).checker().serve(address);
    Ok(0)
}

impl Custom {
    fn choose(&self, names: &[String]) -> anyhow::Result<Vec<Scenario>> {
        if let Some(script) = &self.script {
            if !names.is_empty() {
                bail!("either name scenarios or give --script, not both");
            }
            return Ok(vec![Scenario::of(self.spec(script))]);
        }
        let all = defaults();
        if names.is_empty() {
            return Ok(all);
        }
        let named = names.iter().map(|name| {
            let found = all.iter().find(|scenario| scenario.name == *name).cloned();
            found.with_context(|| format!("no scenario {name:?}: see `dyno model list`"))
        });
        named.collect()
    }

    fn spec(&self, script: &Script) -> Spec {
        let ended = self.crashes + self.wipes + self.power_cuts;
        Spec {
            nodes: self.nodes,
            n: self.n,
            r: self.r,
            w: self.w,
            quorum: match self.quorum {
                QuorumArg::Sloppy => Quorum::Sloppy,
                QuorumArg::Strict => Quorum::Strict,
            },
            versioning: match self.versioning {
                VersioningArg::Dotted => Versioning::Dotted,
                VersioningArg::Paper => Versioning::Paper,
                VersioningArg::Lww => Versioning::Lww,
            },
            read: if self.atomic { ReadMode::Atomic } else { ReadMode::Plain },
            durability: match self.durability {
                DurabilityArg::Step => Durability::Step,
                DurabilityArg::Group => Durability::Group,
                DurabilityArg::Buffered => Durability::Buffered,
            },
            faults: Faults {
                crashes: self.crashes,
                restarts: self.restarts.unwrap_or(ended),
                partitions: self.partitions,
                wipes: self.wipes,
                forgotten: self.forgotten,
                losses: self.losses,
                power_cuts: self.power_cuts,
                hedges: self.hedges,
            },
            renew: !self.keep_identity,
            reductions: if self.unreduced { Reductions::NONE } else { Reductions::ALL },
            ..Spec::new(script.clone())
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3_600,
        unit => return Err(format!("unknown unit {unit:?}: use s, m or h, as in 60s")),
    };
    let count: u64 = digits.parse().map_err(|_| format!("{text:?} is no time: write 60s"))?;
    Ok(Duration::from_secs(count.saturating_mul(seconds)))
}
