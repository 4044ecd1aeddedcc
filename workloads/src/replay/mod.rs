//! `dyno replay`: a trace on the core, in the simulator or on real processes; or the records of nodes
//! through the core.

pub mod local;
pub mod records;
mod stage;
pub mod told;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use dynamo_sim::replay::{ReplayError, Replayed, on_core};
use dynamo_sim::trace::{Property, Trace};
use dyno_command::{document, exit, output};
use serde_json::{Value, json};

use crate::cli::quoted;
use crate::run::page;
use crate::run::verdict::{BROKEN, INVALID, REFUSED, UNKNOWN, VALID};
use crate::simulated::cli::{enable, quietly, refuse};
use crate::simulated::replay::{Judged, judge};
use crate::simulated::run::Violation;
use local::{Compared, LocalError, Processes, Scratch, on_local};

/// Arguments of `dyno replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The trace, a JSON file.
    #[arg(required_unless_present = "record", conflicts_with = "record")]
    pub trace: Option<PathBuf>,
    /// On what.
    #[arg(long, value_enum, default_value_t = On::Sim, conflicts_with = "record")]
    pub on: On,
    /// Run the processes of --on local from this build of dyno instead of this program.
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    pub binary: Option<PathBuf>,
    /// Replay the records of nodes in this folder, or of the run in it.
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// With --on sim: write a page of what its clients saw, for a browser.
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    pub report: Option<PathBuf>,
    /// Print what was found as one line of JSON, last.
    #[arg(long)]
    pub json: bool,
}

/// What a trace is replayed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum On {
    /// The bare core: states are compared.
    Core,
    /// The simulator: states are compared, and invariants and checkers judge.
    Sim,
    /// Real processes, stepped by hand: states and outputs are compared with the core's.
    Local,
}

/// Replays a trace, or records; the status to exit with.
#[must_use]
pub fn replay(args: &ReplayArgs) -> u8 {
    match (&args.trace, &args.record) {
        (_, Some(folder)) => records::run(folder, args.json),
        (Some(_), None) if args.report.is_some() && args.on != On::Sim => {
            refuse("--report goes with --on sim: elsewhere there is no history of clients")
        }
        (Some(path), None) => {
            let trace = match read(path) {
                Ok(trace) => trace,
                Err(error) => return refuse(&error),
            };
            match args.on {
                On::Core => say(&trace, "core", quietly(|| on_core(&trace)), &[], args.json),
                On::Sim => match quietly(|| judge(&trace)) {
                    Ok(judged) => {
                        if let Some(page) = &args.report {
                            show(&trace, path, &judged, page);
                        }
                        say(&trace, "sim", Ok(judged.replayed), &judged.violations, args.json)
                    }
                    Err(error) => say(&trace, "sim", Err(error), &[], args.json),
                },
                On::Local => local(&trace, args),
            }
        }
        (None, None) => refuse("a trace, or --record DIR"),
    }
}

impl ReplayArgs {
    /// Reads the trace, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, or is no trace.
    pub fn check(&self) -> Result<(), String> {
        self.trace.as_deref().map_or(Ok(()), |path| parse(path).map(drop))
    }
}

fn read(path: &Path) -> Result<Trace, String> {
    let trace = parse(path)?;
    if let Some(name) = &trace.mutant {
        enable(name)?;
    }
    Ok(trace)
}

fn parse(path: &Path) -> Result<Trace, String> {
    let what = "a trace is a JSON file, as `dyno model check` and `dyno sim` write them";
    let text = dyno_command::read_text(path, what)?;
    Trace::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The page of a replay.
fn show(trace: &Trace, path: &Path, judged: &Judged, page: &Path) {
    let again = format!("dyno replay {} --on sim", quoted(&path.display().to_string()));
    page::of_simulated(&trace.name, &again, judged, page);
}

fn say(
    trace: &Trace,
    on: &str,
    judged: Result<Replayed, ReplayError>,
    violations: &[Violation],
    with_json: bool,
) -> u8 {
    let property = trace.property.as_ref();
    let broken = property.filter(|property| property.is_broken);
    let verdict = match &judged {
        // Every state is as it was where the model saw the property broken: it is broken.
        Ok(replayed) if broken.is_some() && replayed.compared == 0 => UNKNOWN,
        Ok(_) if broken.is_some() => INVALID,
        Ok(_) if violations.is_empty() => VALID,
        Ok(_) | Err(ReplayError::Diverged { .. }) => INVALID,
        // A trace that says what cannot be.
        Err(ReplayError::Cluster(_) | ReplayError::Step { .. }) => REFUSED,
    };
    match &judged {
        Ok(Replayed { steps, compared, .. }) => {
            let equal = format!("{steps} steps, {compared} states equal");
            output::say(format_args!("{}: {equal}", trace.name));
        }
        Err(error) => output::say(format_args!("{}: {error}", trace.name)),
    }
    if let (Some(property), Ok(_)) = (property, &judged) {
        tell(property, verdict);
    }
    for violation in violations {
        output::say(format_args!("{}: {}", violation.check, violation.what));
    }
    if with_json {
        let violations: Vec<_> = violations
            .iter()
            .map(|violation| json!({ "check": violation.check, "what": violation.what }))
            .collect();
        let steps = judged.as_ref().map(|replayed| replayed.steps).unwrap_or_default();
        let compared = judged.as_ref().map(|replayed| replayed.compared).unwrap_or_default();
        let error = judged.err().map(|error| error.to_string());
        let body = json!({
            "on": on, "steps": steps, "compared": compared,
            "violations": violations, "error": error, "property": property,
        });
        output::say(document("replay", Some(exit::verdict(verdict)), body));
    }
    verdict
}

/// What the trace is an example of, and its steps in words.
fn tell(property: &Property, verdict: u8) {
    let Property { name, source, is_broken, settings, story } = property;
    match (is_broken, verdict) {
        (true, UNKNOWN) => {
            output::say(format_args!("{name}: not known, no step has a state to compare"))
        }
        (true, _) => output::say(format_args!("{name} is broken, as recorded")),
        (false, _) => output::say(format_args!("{name} is reached, as recorded")),
    }
    output::say(format_args!("  source: {source}"));
    output::say(format_args!("  in: {settings}"));
    for (at, step) in (1..).zip(story) {
        output::say(format_args!("  {at:>2}. {step}"));
    }
}

fn local(trace: &Trace, args: &ReplayArgs) -> u8 {
    let replayed = replay_on_local(trace, args.binary.as_deref());
    let (status, error) = match &replayed {
        Ok(Compared { steps, states, outputs }) => {
            let nodes = trace.cluster.nodes;
            output::say(format_args!(
                "{}: {steps} steps on {nodes} real nodes, {states} states and {outputs} outputs equal",
                trace.name
            ));
            (VALID, Value::Null)
        }
        Err(error @ LocalError::Differs(_)) => {
            output::say(format_args!("{}: {error}", trace.name));
            (INVALID, Value::Null)
        }
        Err(error) => {
            output::refuse(format_args!("{}: {error}", trace.name));
            let refused = matches!(error, LocalError::Refused(_));
            (if refused { REFUSED } else { BROKEN }, error.to_string().into())
        }
    };
    if args.json {
        let Compared { steps, states, outputs } =
            *replayed.as_ref().unwrap_or(&Compared::default());
        let difference = match &replayed {
            Err(LocalError::Differs(difference)) => json!(difference),
            Ok(_) | Err(_) => Value::Null,
        };
        let body = json!({
            "on": "local", "steps": steps, "compared": states,
            "outputs": outputs, "difference": difference, "error": error,
        });
        output::say(document("replay", Some(exit::verdict(status)), body));
    }
    status
}

/// Replays a trace on processes in a folder that is gone afterwards.
pub(crate) fn replay_on_local(
    trace: &Trace,
    binary: Option<&Path>,
) -> Result<Compared, LocalError> {
    let broken = |error: std::io::Error| LocalError::Broken(error.to_string());
    let scratch = Scratch::new().map_err(broken)?;
    let program = binary.map_or_else(std::env::current_exe, |binary| Ok(binary.to_owned()));
    let processes =
        Processes { program: program.map_err(broken)?, folder: scratch.path().to_owned() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(broken)?.block_on(on_local(trace, processes))
}
