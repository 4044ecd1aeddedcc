//! `dyno model check | list | explore`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use dynamo_protocol::{Quorum, ReadMode, Settings, Versioning};
use dyno_command::exit::{self, BROKEN, INVALID, REFUSED, UNKNOWN, VALID};
use dyno_command::{Jobs, Size, Span, document, output, within, word};
use serde_json::json;
use stateright::Model as _;

use crate::properties::{PROPERTIES, Property};
use crate::register;
use crate::scenarios::check::{Keep, Report, check_kept};
use crate::scenarios::scenario::{Scenario, deep, defaults};
use crate::search::engine::Budget;
use crate::search::interrupt;
use crate::world::model::DynamoModel;
use crate::world::script::Script;
use crate::world::spec::{Durability, Faults, MAX_NODES, Reductions, Spec};

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
    /// List the named scenarios and the properties.
    List(ListArgs),
    /// Walk through a scenario in a browser.
    Explore(ExploreArgs),
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Named scenarios, see `list`; `membership` is all of those in which the membership changes.
    scenarios: Vec<String>,
    #[command(flatten)]
    custom: Custom,
    /// Give up a scenario after this long.
    #[arg(long, value_name = "TIME")]
    budget: Option<Span>,
    /// Give up a scenario at so many states.
    #[arg(long)]
    states: Option<usize>,
    /// Give up a scenario when the process takes this much memory.
    #[arg(long, value_name = "SIZE", default_value = "12GiB")]
    memory: Size,
    /// How many scenarios to search at a time; 0 is one a core.
    #[arg(long, value_name = "COUNT", default_value = "2")]
    jobs: Jobs,
    /// Write the search here every minute and at the end of its budget.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Go on with the search that --checkpoint wrote.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Write every path found into this folder, as traces for `dyno replay`.
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print a line of JSON a scenario.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Print one line of JSON.
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
    /// Print where it is as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// A configuration of one's own. Without --script the other options are refused.
#[derive(Debug, Args)]
struct Custom {
    /// Clients' steps: p put, g get, d delete; a comma separates clients.
    #[arg(long)]
    script: Option<Script>,
    /// How many nodes. Three, and not the five of `dyno test`: every node more multiplies the states, and
    /// three homes show all that a quorum of two can do.
    #[arg(long, default_value_t = 3, value_parser = within(1, MAX_NODES), requires = "script")]
    nodes: usize,
    /// N: homes of the key.
    #[arg(short, default_value_t = 3, value_parser = within(1, MAX_NODES), requires = "script")]
    n: usize,
    /// R: slots a get waits for.
    #[arg(short, default_value_t = 2, value_parser = within(1, MAX_NODES), requires = "script")]
    r: usize,
    /// W: slots a put waits for.
    #[arg(short, default_value_t = 2, value_parser = within(1, MAX_NODES), requires = "script")]
    w: usize,
    /// Whether fallbacks stand in for homes. Strict, unlike in `dyno test`: where all nodes
    /// are homes there is no fallback, and strict mode promises more.
    #[arg(long, default_value = "strict", requires = "script",
          value_parser = word::<Quorum>(Quorum::WORDS))]
    quorum: Quorum,
    /// How versions are told apart: only dotted loses nothing.
    #[arg(long, default_value = "dotted", requires = "script",
          value_parser = word::<Versioning>(Versioning::WORDS))]
    versioning: Versioning,
    /// Whether gets write back before they answer: only atomic ones do.
    #[arg(long, default_value = "plain", requires = "script",
          value_parser = word::<ReadMode>(ReadMode::WORDS))]
    read: ReadMode,
    /// Whether homes exchange what they hold, once all is over and, out of --hedges, at any time before.
    #[arg(long, requires = "script")]
    anti_entropy: bool,
    /// When writes are durable.
    #[arg(long, value_enum, default_value_t = Durability::Step, requires = "script")]
    durability: Durability,
    /// Processes that end.
    #[arg(long, default_value_t = 0, value_parser = faults(), requires = "script")]
    crashes: u8,
    /// Processes started again; as many as end, unless given.
    #[arg(long, value_parser = faults(), requires = "script")]
    restarts: Option<u8>,
    /// Cuts of the network.
    #[arg(long, default_value_t = 0, value_parser = faults(), requires = "script")]
    partitions: u8,
    /// Directories emptied.
    #[arg(long, default_value_t = 0, value_parser = faults(), requires = "script")]
    wipes: u8,
    /// Home records gone.
    #[arg(long, default_value_t = 0, value_parser = faults(), requires = "script")]
    forgotten: u8,
    /// Messages lost.
    #[arg(long, default_value_t = 0, value_parser = faults(), requires = "script")]
    losses: u8,
    /// Hosts that lose power.
    #[arg(long, default_value_t = 0, value_parser = faults(), requires = "script")]
    power_cuts: u8,
    /// Timers that run out without a fault.
    #[arg(long, default_value_t = 0, value_parser = faults(), requires = "script")]
    hedges: u8,
    /// Directories put back to a backup.
    #[arg(long, default_value_t = 0, requires = "script")]
    rollbacks: u8,
    /// A wiped directory keeps its identity: a broken host.
    #[arg(long, requires = "script")]
    keep_identity: bool,
    /// Leave nothing out of the search.
    #[arg(long, requires = "script")]
    unreduced: bool,
}

/// More of one fault than this no search comes to the end of.
const MOST_FAULTS: u8 = 8;

fn faults() -> impl Fn(&str) -> Result<u8, String> + Clone + Send + Sync {
    within(0, MOST_FAULTS)
}

/// What is searched: whole nodes, or the register of memberships by itself.
#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "there are a few dozen of them")]
enum Chosen {
    Nodes(Scenario),
    Register(register::Scenario),
}

impl Chosen {
    fn name(&self) -> &str {
        match self {
            Self::Nodes(scenario) => &scenario.name,
            Self::Register(scenario) => scenario.name,
        }
    }

    fn about(&self) -> &str {
        match self {
            Self::Nodes(scenario) => &scenario.about,
            Self::Register(scenario) => scenario.about,
        }
    }

    fn label(&self) -> String {
        match self {
            Self::Nodes(scenario) => scenario.spec.label(),
            Self::Register(scenario) => scenario.bounds.label(),
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        match self {
            Self::Nodes(scenario) => Ok(scenario.spec.check()?),
            Self::Register(_) => Ok(()),
        }
    }
}

/// The default set.
fn all() -> Vec<Chosen> {
    let registers = register::scenarios().into_iter().map(Chosen::Register);
    defaults().into_iter().map(Chosen::Nodes).chain(registers).collect()
}

/// The name of all in which the membership changes, or is agreed on.
const MEMBERSHIP: &str = "membership";

fn changes_the_membership(chosen: &Chosen) -> bool {
    match chosen {
        Chosen::Nodes(scenario) => !scenario.spec.shifts.is_empty(),
        Chosen::Register(_) => true,
    }
}

/// All that has a name.
fn named() -> Vec<Chosen> {
    all().into_iter().chain(deep().into_iter().map(Chosen::Nodes)).collect()
}

/// Carries the command out. The exit status: 0 as expected, 1 not, 2 not complete, 254 refused, 255 if
/// the search did not work.
#[must_use]
pub fn run(args: &ModelArgs) -> u8 {
    if let Err(error) = check(args) {
        output::refuse(format_args!("{error:#}"));
        return REFUSED;
    }
    carry_out(args).unwrap_or_else(|error| {
        output::refuse(format_args!("{error:#}"));
        BROKEN
    })
}

/// Refuses what cannot be searched, before anything starts.
///
/// # Errors
/// What is wrong, and the mend.
pub fn check(args: &ModelArgs) -> anyhow::Result<()> {
    let scenarios = match &args.command {
        Command::List(_) => return Ok(()),
        Command::Explore(args) => vec![Chosen::Nodes(args.scenario()?)],
        Command::Check(args) => {
            let scenarios = args.custom.choose(&args.scenarios)?;
            if scenarios.len() != 1 && (args.checkpoint.is_some() || args.resume.is_some()) {
                bail!(
                    "--checkpoint and --resume keep one search: name one scenario, or give --script"
                );
            }
            if let Some(path) = &args.resume {
                std::fs::metadata(path).with_context(|| path.display().to_string())?;
            }
            scenarios
        }
    };
    scenarios.iter().try_for_each(Chosen::check)
}

fn carry_out(args: &ModelArgs) -> anyhow::Result<u8> {
    match &args.command {
        Command::Check(args) => check_all(args),
        Command::List(args) => {
            list(args.json);
            Ok(VALID)
        }
        Command::Explore(args) => explore(args),
    }
}

fn check_all(args: &CheckArgs) -> anyhow::Result<u8> {
    let scenarios = args.custom.choose(&args.scenarios)?;
    let budget = Budget {
        time: args.budget.map_or(Duration::MAX, |budget| budget.0),
        states: args.states.unwrap_or(Budget::NONE.states).min(Budget::NONE.states),
        memory: usize::try_from(args.memory.0).unwrap_or(usize::MAX),
        until: 0,
        stop: interrupt::asked,
        hopeless: |_, _| false,
    };
    interrupt::listen("what was searched")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let next = AtomicUsize::new(0);
    let (scenarios, budget, next) = (&scenarios, &budget, &next);
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.threads().min(scenarios.len()) {
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
        let mut status = VALID;
        for (scenario, report) in receiver {
            let report = report.with_context(|| scenario.name().to_owned())?;
            if args.json {
                let verdict = exit::verdict(status_of(&report));
                output::say(document("model check", Some(verdict), &report));
            } else {
                output::text(report.to_text());
            }
            match status_of(&report) {
                INVALID => status = INVALID,
                UNKNOWN if status == VALID => status = UNKNOWN,
                _ => {}
            }
        }
        Ok(status)
    })
}

fn status_of(report: &Report) -> u8 {
    match (report.as_expected, report.complete) {
        (false, _) => INVALID,
        (true, false) => UNKNOWN,
        (true, true) => VALID,
    }
}

fn check_one(args: &CheckArgs, scenario: &Chosen, budget: &Budget) -> anyhow::Result<Report> {
    let mut last = Instant::now();
    let mut progress = |progress: crate::search::engine::Progress| {
        if last.elapsed() >= Duration::from_secs(2) {
            last = Instant::now();
            output::note(format_args!("{}: {progress}", scenario.name()));
        }
    };
    let keep = Keep { checkpoint: args.checkpoint.as_deref(), resume: args.resume.as_deref() };
    match scenario {
        Chosen::Nodes(scenario) => {
            let mut checked = check_kept(scenario, budget, keep, &mut progress)?;
            if let Some(folder) = &args.out {
                checked.write_traces(folder)?;
            }
            Ok(checked.report)
        }
        Chosen::Register(scenario) => {
            if args.out.is_some() {
                let why = "no traces, no node runs the register yet";
                output::note(format_args!("{}: {why}", scenario.name));
            }
            Ok(register::check_kept(scenario, budget, keep, &mut progress)?.report)
        }
    }
}

fn list(as_json: bool) {
    let scenarios = named();
    let named = |property: &Property| (property.name, property.source);
    let registers = register::PROPERTIES.iter().map(|property| (property.name, property.source));
    let properties = PROPERTIES.iter().map(named).chain(registers);
    if as_json {
        let scenario =
            |it: &Chosen| json!({ "name": it.name(), "about": it.about(), "label": it.label() });
        let scenarios: Vec<_> = scenarios.iter().map(scenario).collect();
        let property = |(name, source)| json!({ "name": name, "source": source });
        let properties: Vec<_> = properties.map(property).collect();
        let body = json!({ "scenarios": scenarios, "properties": properties });
        return output::say(document("model list", None, body));
    }
    output::say("scenarios:");
    for scenario in scenarios {
        output::say(format_args!("  {:18} {}", scenario.name(), scenario.about()));
        output::say(format_args!("  {:18} {}", "", scenario.label()));
    }
    output::say(format_args!("  {MEMBERSHIP:18} all of these in which the membership changes"));
    output::say("properties:");
    for (name, source) in properties {
        output::say(format_args!("  {name:30} {source}"));
    }
}

impl ExploreArgs {
    fn scenario(&self) -> anyhow::Result<Scenario> {
        let named: Vec<_> = self.scenario.iter().cloned().collect();
        if named.is_empty() && self.custom.script.is_none() {
            bail!("explore needs a scenario (see `dyno model list`) or --script");
        }
        let mut chosen = self.custom.choose(&named)?;
        if chosen.len() > 1 {
            bail!("{named:?} are {} scenarios: name one to walk through", chosen.len());
        }
        match chosen.swap_remove(0) {
            Chosen::Nodes(scenario) => Ok(scenario),
            Chosen::Register(scenario) => {
                bail!("{0} has no page to walk through: `dyno model check {0}`", scenario.name)
            }
        }
    }
}

fn explore(args: &ExploreArgs) -> anyhow::Result<u8> {
    let scenario = args.scenario()?;
    let model = DynamoModel::new(scenario.spec)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    // stateright's server panics if the port is taken: look first. Port 0 is any that is free.
    let address = std::net::TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .with_context(|| format!("{address} is taken: pass another --port"))?;
    let url = format!("http://{address}/");
    if args.json {
        let body = json!({ "scenario": scenario.name, "url": url });
        output::say(document("model explore", None, body));
    } else {
        output::say(format_args!("explore {} at {url}", scenario.name));
    }
    crate::traces::explore::Readable::new(model).checker().serve(address);
    Ok(0)
}

impl Custom {
    fn choose(&self, names: &[String]) -> anyhow::Result<Vec<Chosen>> {
        if let Some(script) = &self.script {
            if !names.is_empty() {
                bail!("either name scenarios or give --script, not both");
            }
            return Ok(vec![Chosen::Nodes(Scenario::of(self.spec(script)))]);
        }
        if names.is_empty() {
            return Ok(all());
        }
        let known = named();
        let mut chosen = Vec::new();
        for name in names {
            if name == MEMBERSHIP {
                chosen.extend(all().into_iter().filter(changes_the_membership));
                continue;
            }
            let found = known.iter().find(|scenario| scenario.name() == name).cloned();
            chosen.push(
                found.with_context(|| format!("no scenario {name:?}: see `dyno model list`"))?,
            );
        }
        Ok(chosen)
    }

    fn spec(&self, script: &Script) -> Spec {
        let ended = self.crashes + self.wipes + self.power_cuts + self.rollbacks;
        Spec {
            nodes: self.nodes,
            settings: Settings {
                quorum: self.quorum,
                versioning: self.versioning,
                read: self.read,
                anti_entropy: self.anti_entropy,
                ..Settings::new([self.n, self.r, self.w])
            },
            durability: self.durability,
            faults: Faults {
                crashes: self.crashes,
                restarts: self.restarts.unwrap_or(ended),
                partitions: self.partitions,
                wipes: self.wipes,
                forgotten: self.forgotten,
                losses: self.losses,
                power_cuts: self.power_cuts,
                hedges: self.hedges,
                rollbacks: self.rollbacks,
                exchanges: 0,
            },
            renew: !self.keep_identity,
            reductions: if self.unreduced { Reductions::NONE } else { Reductions::ALL },
            ..Spec::new(script.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        check: CheckArgs,
    }

    fn chosen(line: &str) -> Vec<String> {
        let Line { check } = Line::parse_from(line.split(' '));
        let chosen = check.custom.choose(&check.scenarios).unwrap();
        chosen.iter().map(|scenario| scenario.name().to_owned()).collect()
    }

    #[test]
    fn membership_is_all_in_which_it_changes_or_is_agreed_on() {
        let chosen = chosen("check collect membership");
        assert_eq!(chosen[0], "collect");
        let has = |name: &str| chosen[1..].iter().any(|chosen| chosen == name);
        assert!(
            has("join") && has("strict-join-crash") && has("join-wipe") && has("register-race")
        );
        assert!(!has("strict-crash") && !has("refill") && !has("strict-join-three"));
    }
}
