//! The command line: flags over plan over defaults.

use std::ffi::OsString;
use std::path::PathBuf;

use checker::cli::CheckArgs;
use checker::cli::generate::GenerateArgs;
use clap::{Args, CommandFactory, Parser, Subcommand};
use dynamo_node::cli::{NodeCommand, SettingFlags};
use dyno_command::{help_or_refusal, in_one_line, output};
use dyno_serve::ServeArgs;
use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::bench::{self, BenchArgs};
use crate::claims::{self, ClaimsArgs};
use crate::hosts::agent::{self, AgentArgs};
use crate::hosts::doctor::{self, DoctorArgs};
use crate::hosts::lab::cli::LabArgs;
use crate::hosts::lab::{self, Lab, LabError};
use crate::hosts::remote::HostArgs;
use crate::interrupt::Interrupt;
use crate::log;
use crate::plan::{
    ClusterKind, Durability, Engine, FaultName, Plan, PlanArg, PlanError, Source, Span,
    WorkloadName,
};
use crate::replay::told::{self, RecordsArgs};
use crate::replay::{ReplayArgs, replay};
use crate::run::analyze::{self, AnalyzeArgs};
use crate::run::export::{self, ExportArgs};
use crate::run::page;
use crate::run::report;
use crate::run::setup;
use crate::run::show::{self, ShowArgs};
use crate::run::verdict::{BROKEN, REFUSED};
use crate::run::{Finished, Order, run};
use crate::simulated::cli::{SimArgs, sim};
use crate::suite;
use crate::suite::cli::SuiteArgs;

#[derive(Debug, Parser)]
#[command(name = "dyno", version = setup::VERSION)]
#[command(about = "A bench for Dynamo: runs it, breaks it, judges it.")]
struct CommandLine {
    /// How much to log, as in `debug` or `dyno=trace`; also DYNO_LOG. Logs go to standard error
    /// and into the folder of the run.
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a workload against a cluster while faults happen, and say what was lost.
    Test(Box<TestArgs>),
    /// Run many plans, seeds and clusters unattended, and say what comes of all of them.
    Suite(Box<SuiteArgs>),
    /// What this machine, and the hosts of a cluster, can do and why not.
    Doctor(DoctorArgs),
    /// Hosts on one machine, each with its own sshd.
    Lab(LabArgs),
    /// What runs on a host for the driver; nobody starts it by hand.
    #[command(hide = true)]
    Agent(AgentArgs),
    /// Check the node's own protocol code exhaustively.
    Model(Box<model::cli::ModelArgs>),
    /// What N, R and W promise: proven, refuted, or not known, and why.
    Claims(Box<ClaimsArgs>),
    /// What a cluster delivers, beside its peers, and how it grows.
    Bench(Box<BenchArgs>),
    /// Judge recorded histories, this bench's or others'.
    Check(CheckArgs),
    /// Judge a stored run again, and make its page anew.
    Analyze(AnalyzeArgs),
    /// Tell what was found in a stored run, as its page does.
    Show(ShowArgs),
    /// Write the history of a stored run for another tool.
    Export(ExportArgs),
    /// Show all stored runs in a browser on this machine.
    Serve(ServeArgs),
    /// Write a history to test checkers with.
    Generate(GenerateArgs),
    /// Run simulated clusters under virtual time, a seed each.
    Sim(SimArgs),
    /// Run a trace, or the records of nodes, again, and compare every state.
    Replay(ReplayArgs),
    /// Print what nodes were given and did in a run of `dyno test --record`.
    Records(RecordsArgs),
    /// Seed bugs, and see whether the bench catches them.
    #[cfg(feature = "mutants")]
    Mutants(crate::mutants::MutantsArgs),
    /// A node itself, and a plain client of one.
    #[command(subcommand)]
    Node(Box<NodeCommand>),
}

/// Arguments of `dyno test`. What is given overrides the plan.
#[derive(Debug, Args)]
struct TestArgs {
    #[command(flatten)]
    plan: PlanArg,
    /// Where the cluster runs: local, ssh, lab or sim.
    #[arg(long, value_name = "KIND")]
    cluster: Option<ClusterKind>,
    #[command(flatten)]
    at: HostArgs,
    /// Hosts heal and stop by themselves when the driver has been silent for this long.
    #[arg(long, value_name = "10s")]
    lease: Option<Span>,
    /// How many nodes.
    #[arg(long)]
    nodes: Option<u16>,
    /// What clients do: cart.
    #[arg(long, value_name = "NAME")]
    workload: Option<WorkloadName>,
    // Its help is the table's.
    #[arg(long, value_name = "LIST", help = faults_help())]
    faults: Option<String>,
    /// How long clients work.
    #[arg(long, value_name = "30s")]
    time: Option<Span>,
    /// How many client processes work at a time.
    #[arg(long)]
    concurrency: Option<usize>,
    /// Begin this many operations a second instead, whether or not earlier ones are done.
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    #[command(flatten)]
    settings: SettingFlags,
    /// The nodes' storage: fjall, redb or memory.
    #[arg(long)]
    engine: Option<Engine>,
    /// When a put counts as kept: sync, one or buffered.
    #[arg(long)]
    durability: Option<Durability>,
    /// Nodes and clients of a local cluster speak TLS, with certificates that are made for the run.
    #[arg(long)]
    tls: bool,
    /// Each node has a disk of its own, an image that its host mounts as root: power cuts are real ones.
    #[arg(long)]
    own_disks: bool,
    /// Run nodes from this build of dyno instead of this program.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Nodes record every step; after the run all of them are replayed through the core.
    #[arg(long)]
    record: bool,
    /// Where every random choice comes from; drawn if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Where results go.
    #[arg(long, short, default_value = "results", value_name = "DIR")]
    out: PathBuf,
    /// Leave out report.html.
    #[arg(long)]
    no_report: bool,
    /// Print verdict.json as the last line.
    #[arg(long)]
    json: bool,
}

/// The command line as clap has it, with all subcommands and their flags.
#[must_use]
pub fn command_line() -> clap::Command {
    CommandLine::command()
}

/// Reads a command line, the program's name first, and checks what it says as far as that goes without
/// starting anything: in one line why it would be refused. Help counts as refused: it runs nothing.
///
/// # Errors
/// Why it would be refused.
pub fn refusal(words: &[String]) -> Result<(), String> {
    let line = CommandLine::try_parse_from(words).map_err(|error| in_one_line(&error))?;
    let plan_error = |error: PlanError| error.0;
    match line.command {
        Command::Test(args) => args.plan().map(drop).map_err(plan_error),
        Command::Sim(args) => args.plan().map(drop).map_err(plan_error),
        Command::Suite(args) => suite::cli::check(&args).map_err(plan_error),
        Command::Model(args) => model::cli::check(&args).map_err(|error| format!("{error:#}")),
        Command::Claims(args) => args.check().map_err(plan_error),
        Command::Bench(args) => args.check().map_err(plan_error),
        Command::Generate(args) => args.check().map_err(|error| error.to_string()),
        Command::Replay(args) => args.check(),
        Command::Node(command) => dynamo_node::cli::check(&command),
        // What clap refuses is all that can be wrong before they look at the world.
        Command::Doctor(_)
        | Command::Lab(_)
        | Command::Agent(_)
        | Command::Check(_)
        | Command::Analyze(_)
        | Command::Show(_)
        | Command::Serve(_)
        | Command::Export(_)
        | Command::Records(_) => Ok(()),
        #[cfg(feature = "mutants")]
        Command::Mutants(_) => Ok(()),
    }
}

/// Parses `arguments`, the program's name first, and does what they say; the exit status.
pub fn main<I>(arguments: I) -> u8
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let arguments = arguments.into_iter().map(Into::into).collect();
    let arguments = match dynamo_node::cli::configured(arguments) {
        Ok(arguments) => arguments,
        Err(why) => return refuse(&PlanError(why)),
    };
    let CommandLine { log, command } = match CommandLine::try_parse_from(&arguments) {
        Ok(line) => line,
        Err(error) if is_missing_mutants(&error) => {
            return refuse(&PlanError(
                "mutants: this build has no seeded bugs; make one that has, in a folder of its own: \
                 cargo build --release --features mutants --target-dir target-mutants"
                    .to_owned(),
            ));
        }
        Err(error) => return help_or_refusal(&error),
    };
    // A node and an agent have logs of their own.
    if !matches!(command, Command::Node(_) | Command::Agent(_))
        && let Err(error) = log::start(log.as_deref())
    {
        return refuse(&PlanError(format!(
            "--log, or DYNO_LOG: {error}: say info, debug or trace"
        )));
    }
    if let Err(error) = suite::attempt::ends_with_its_suite() {
        output::refuse(error);
        return BROKEN;
    }
    output::status(carry_out(command, &arguments[1..]))
}

/// Does what a command says; the status to exit with.
fn carry_out(command: Command, given: &[OsString]) -> u8 {
    match command {
        Command::Doctor(args) => doctor::run(&args),
        Command::Lab(args) => lab::cli::run(args),
        Command::Agent(args) => agent::run(&args),
        Command::Node(command) => dynamo_node::cli::run(*command),
        Command::Check(args) => {
            let (out, err) = (&mut std::io::stdout(), &mut std::io::stderr());
            checker::cli::check(&args, out, err, &mut |seen| page::of_history(&args, seen))
        }
        Command::Analyze(args) => analyze::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Serve(args) => dyno_serve::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Generate(args) => checker::cli::generate::generate(&args),
        Command::Model(args) => model::cli::run(&args),
        Command::Claims(args) => claims::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Test(args) => test(&args, given),
        Command::Sim(args) => sim(&args),
        Command::Suite(args) => suite::cli::run(&args),
        Command::Replay(args) => replay(&args),
        Command::Records(args) => told::run(&args),
        #[cfg(feature = "mutants")]
        Command::Mutants(args) => crate::mutants::run(&args),
    }
}

/// Was `dyno mutants` asked of a build without it?
fn is_missing_mutants(error: &clap::Error) -> bool {
    let asked = error.get(clap::error::ContextKind::InvalidSubcommand);
    cfg!(not(feature = "mutants"))
        && matches!(asked, Some(clap::error::ContextValue::String(asked)) if asked == "mutants")
}

fn test(args: &TestArgs, given: &[OsString]) -> u8 {
    let mut plan = match args.plan() {
        Ok(plan) => plan,
        Err(error) => return refuse(&error),
    };
    // Before there is a second thread: only then can a process move to the lab's network.
    let _lab = match lab_for(&mut plan) {
        Ok(lab) => lab,
        Err(error) => {
            output::refuse(error);
            return BROKEN;
        }
    };
    let seed = plan.seed.unwrap_or_default();
    let command = again(given, args.seed.is_none().then_some(seed), within_lab().as_deref());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::refuse(format_args!("cannot start the runtime: {error}"));
            return BROKEN;
        }
    };
    let finished = runtime.block_on(async {
        // A simulated run does not wait for anything: a signal ends it as it ends any program.
        let listens = plan.cluster.kind != ClusterKind::Sim;
        let interrupt = match listens {
            true => Interrupt::listen(
                "asked to end: healing, reading what was kept and judging what there is; once more to end at \
                 once",
            ),
            false => Ok(Interrupt::never()),
        };
        let interrupt = interrupt.map_err(|error| PlanError(format!("no signals: {error}")))?;
        let page = !args.no_report;
        run(&Order { plan: &plan, seed, command: &command, out: &args.out, page, interrupt }).await
    });
    match finished {
        Err(error) => refuse(&error),
        Ok(finished) => conclude(&finished, args.json),
    }
}

/// The lab that a plan asks for: it ends with what is returned, or with this process.
fn lab_for(plan: &mut Plan) -> Result<Option<Lab>, LabError> {
    if plan.cluster.kind != ClusterKind::Lab {
        return Ok(None);
    }
    if plan.cluster.hosts.is_some() {
        let own = "--cluster lab makes its own hosts: --hosts goes with --cluster ssh";
        return Err(LabError(own.to_owned()));
    }
    let lab = Lab::for_one_run(plan.cluster.nodes + plan.spares())?;
    lab.enter()?;
    plan.cluster.hosts = Some(lab.hosts_file().display().to_string());
    Ok(Some(lab))
}

fn conclude(finished: &Finished, json: bool) -> u8 {
    output::text(report::summary(&finished.document, finished.store.dir()));
    if json {
        output::say(finished.document.to_json());
    }
    finished.document.exit()
}

fn refuse(error: &PlanError) -> u8 {
    output::refuse(error);
    REFUSED
}

/// The folder of the lab that `dyno lab exec` runs this in, if it does.
fn within_lab() -> Option<String> {
    Some(std::env::var_os(lab::cli::WITHIN)?.to_string_lossy().into_owned())
}

/// The command line that does this run again; `seed` if it did not name one.
fn again(given: &[OsString], seed: Option<u64>, lab: Option<&str>) -> String {
    let lab = lab.map(|dir| format!("dyno lab exec --dir {} --", quoted(dir)));
    let words = given.iter().map(|word| quoted(&word.to_string_lossy()));
    let words = lab.into_iter().chain(["dyno".to_owned()]).chain(words);
    let words = words.chain(seed.into_iter().flat_map(|seed| ["--seed".into(), seed.to_string()]));
    words.collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

impl TestArgs {
    /// The effective plan: it has a seed, and was checked.
    fn plan(&self) -> Result<Plan, PlanError> {
        let (mut plan, mut source) = match self.plan.file() {
            Some(path) => Source::read(path)?,
            None => (Plan::default(), Source::default()),
        };
        self.override_run(&mut plan)?;
        self.override_cluster(&mut plan);
        for (given, setting, flag) in self.given() {
            if given {
                source.overridden(setting, flag);
            }
        }
        source.check(&plan)?;
        Ok(plan)
    }

    /// Whether each flag was given, the setting that it overrides, and its name.
    fn given(&self) -> [(bool, &'static str, &'static str); 25] {
        [
            (self.faults.is_some(), "faults", "--faults"),
            (self.time.is_some(), "time", "--time"),
            (self.seed.is_some(), "seed", "--seed"),
            (self.workload.is_some(), "workload.name", "--workload"),
            (self.concurrency.is_some(), "workload.concurrency", "--concurrency"),
            (self.rate.is_some(), "workload.rate", "--rate"),
            (self.cluster.is_some(), "cluster.kind", "--cluster"),
            (self.nodes.is_some(), "cluster.nodes", "--nodes"),
            (self.lease.is_some(), "cluster.lease", "--lease"),
            (self.at.hosts.is_some(), "cluster.hosts", "--hosts"),
            (self.at.accept_new, "cluster.accept_new", "--accept-new"),
            (self.settings.n.is_some(), "cluster.n", "-n"),
            (self.settings.r.is_some(), "cluster.r", "-r"),
            (self.settings.w.is_some(), "cluster.w", "-w"),
            (self.settings.quorum.is_some(), "cluster.quorum", "--quorum"),
            (self.settings.versioning.is_some(), "cluster.versioning", "--versioning"),
            (self.settings.read.is_some(), "cluster.read", "--read"),
            (self.settings.anti_entropy.is_some(), "cluster.anti_entropy", "--anti-entropy"),
            (self.settings.partitioning.is_some(), "cluster.partitioning", "--partitioning"),
            (self.engine.is_some(), "cluster.engine", "--engine"),
            (self.durability.is_some(), "cluster.durability", "--durability"),
            (self.tls, "cluster.tls", "--tls"),
            (self.own_disks, "cluster.own_disks", "--own-disks"),
            (self.record, "cluster.record", "--record"),
            (self.binary.is_some(), "cluster.binary", "--binary"),
        ]
    }

    fn override_run(&self, plan: &mut Plan) -> Result<(), PlanError> {
        if let Some(faults) = &self.faults {
            plan.faults = parse_faults(faults)?;
        }
        set(&mut plan.time, self.time);
        set(&mut plan.workload.name, self.workload);
        set(&mut plan.workload.concurrency, self.concurrency);
        plan.workload.rate = self.rate.or(plan.workload.rate);
        plan.seed = Some(match self.seed.or(plan.seed) {
            Some(seed) => seed,
            None => drawn()?,
        });
        Ok(())
    }

    fn override_cluster(&self, plan: &mut Plan) {
        let cluster = &mut plan.cluster;
        set(&mut cluster.kind, self.cluster);
        set(&mut cluster.nodes, self.nodes);
        set(&mut cluster.lease, self.lease);
        cluster.accept_new |= self.at.accept_new;
        if self.at.hosts.is_some() {
            cluster.hosts.clone_from(&self.at.hosts);
        }
        self.settings.apply(&mut cluster.settings);
        set(&mut cluster.engine, self.engine);
        set(&mut cluster.durability, self.durability);
        cluster.tls |= self.tls;
        cluster.own_disks |= self.own_disks;
        cluster.record |= self.record;
        if self.binary.is_some() {
            cluster.binary.clone_from(&self.binary);
        }
    }
}

/// A seed that is short enough to be typed again.
fn drawn() -> Result<u64, PlanError> {
    let drawn = OsRng.try_next_u32();
    let refused =
        |error| PlanError(format!("the system gives no random seed ({error}): use --seed"));
    drawn.map(u64::from).map_err(refused)
}

fn set<T: Copy>(field: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *field = value;
    }
}

fn faults_help() -> String {
    let names: Vec<_> = FaultName::ALL.iter().map(|name| name.as_str()).collect();
    format!("The faults that happen, or none: {}", names.join(", "))
}

/// `kill,pause`, or `none`.
fn parse_faults(list: &str) -> Result<Vec<FaultName>, PlanError> {
    if list == "none" {
        return Ok(Vec::new());
    }
    let names = list.split(',').map(str::trim);
    let parsed = names.map(|name| name.parse().map_err(|error| format!("--faults: {error}")));
    parsed.collect::<Result<_, String>>().map_err(PlanError)
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::Settings;

    use super::*;

    fn parse(line: &str) -> Result<Plan, PlanError> {
        let words = ["dyno", "test"].into_iter().chain(line.split_whitespace());
        match CommandLine::try_parse_from(words).unwrap().command {
            Command::Test(args) => args.plan(),
            _ => unreachable!(),
        }
    }

    #[test]
    fn flags_override_the_defaults() {
        let line = "--nodes 7 -n 5 -r 3 -w 3 --faults kill,wipe --time 5s --quorum sloppy --seed 9";
        let plan = parse(line).unwrap();
        let Settings { n, r, w, .. } = plan.cluster.settings;
        assert_eq!([n, r, w], [5, 3, 3]);
        assert_eq!(plan.faults, [FaultName::Kill, FaultName::Wipe]);
        assert_eq!((plan.cluster.nodes, plan.seed), (7, Some(9)));
        assert_eq!(parse("--faults none").unwrap().faults, []);
    }

    #[test]
    fn flags_override_a_plan_and_the_rest_of_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nightly.toml");
        std::fs::write(&path, "time = \"7s\"\nseed = 3\n[cluster]\nnodes = 6\n").unwrap();
        let plan = parse(&format!("{} --time 2s", path.display())).unwrap();
        assert_eq!((plan.time, plan.seed, plan.cluster.nodes), (Span::secs(2), Some(3), 6));
        assert_eq!(plan.name, "nightly");
    }

    #[test]
    fn a_run_without_a_seed_draws_one() {
        assert!(parse("").unwrap().seed.is_some());
    }

    #[test]
    fn an_unknown_fault_is_refused_with_those_there_are() {
        let error = parse("--faults kil").unwrap_err().0;
        assert!(error.contains("`kil`") && error.contains("is `kill` meant?"), "{error}");
    }

    #[test]
    fn the_command_to_run_again_has_the_seed_and_can_be_pasted() {
        let given = ["test", "--out", "my results"].map(OsString::from);
        assert_eq!(again(&given, Some(4), None), "dyno test --out 'my results' --seed 4");
        assert_eq!(again(&given[..1], None, None), "dyno test");
        let within = "dyno lab exec --dir 'a lab' -- dyno test";
        assert_eq!(again(&given[..1], None, Some("a lab")), within);
    }
}
