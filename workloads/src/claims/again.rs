//! `dyno claims replay`: every path that is kept and refutes something, run again on the bare core, in the
//! simulator or on real nodes.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use dynamo_sim::replay::on_core;
use dynamo_sim::trace::Trace;
use dyno_claims::{Evidence, Property};
use dyno_command::{Jobs, document, exit, output};
use model::interrupt;
use serde_json::json;

use super::{Searched, broken};
use crate::replay::local::LocalError;
use crate::replay::{On, replay_on_local};
use crate::run::verdict::{INVALID, UNKNOWN, VALID};
use crate::simulated::cli::quietly;
use crate::simulated::replay::judge;

/// Arguments of `dyno claims replay`.
#[derive(Debug, Args)]
pub(super) struct AgainArgs {
    /// On what; may be given several times.
    #[arg(long, value_enum, value_name = "ON", default_values_t = [On::Core, On::Sim])]
    on: Vec<On>,
    /// Replay so many paths on each, taken evenly from all of them; all if not given.
    #[arg(long, value_name = "COUNT")]
    most: Option<usize>,
    /// How many go on at a time; 0 is one a core.
    #[arg(long = "replays", value_name = "COUNT", default_value = "2")]
    replays: Jobs,
    #[command(flatten)]
    searched: Searched,
    /// Print the rates as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// A path that refutes something.
struct Path {
    /// What of: the bounds of its search, and the property.
    name: String,
    trace: Result<Box<Trace>, String>,
}

/// How many were replayed on something, and why the others were not.
#[derive(Default)]
struct Rate {
    again: usize,
    of: usize,
    others: BTreeMap<String, Vec<String>>,
}

/// As many of those that did not replay are named.
const MOST_NAMED: usize = 3;

pub(super) fn run(args: &AgainArgs) -> u8 {
    let Some(cache) = args.searched.cache() else {
        output::refuse("--no-cache: it is what is kept that is replayed");
        return UNKNOWN;
    };
    let paths = paths(&cache.all());
    if paths.is_empty() {
        let folder = cache.folder().display();
        output::refuse(format_args!(
            "{folder}: no path is kept of this core; `dyno claims` finds some"
        ));
        return UNKNOWN;
    }
    if let Err(error) = interrupt::listen("what was replayed") {
        return broken(&error);
    }
    let mut rates = Vec::new();
    for on in &args.on {
        let paths = some(&paths, args.most);
        rates.push((*on, quietly(|| rate(&paths, *on, args.replays.threads()))));
    }
    // What cannot be told as a trace, or not be done to a real disk, is named; what comes out otherwise is
    // wrong.
    let is_wrong = rates.iter().any(|(_, rate)| rate.others.keys().any(|why| why == DIFFERS));
    let status = match (is_wrong, interrupt::asked()) {
        (true, _) => INVALID,
        (false, true) => UNKNOWN,
        (false, false) => VALID,
    };
    if args.json {
        let rates: Vec<_> = rates.iter().map(as_json).collect();
        let body = json!({ "paths": paths.len(), "rates": rates });
        output::say(document("claims replay", Some(exit::verdict(status)), body));
        return status;
    }
    output::say(format_args!("{} paths are kept that refute something", paths.len()));
    for (on, rate) in &rates {
        let share = rate.again as f64 / rate.of.max(1) as f64 * 100.0;
        output::say(format_args!(
            "{}: {} of {} replay, {share:.1} %",
            word(*on),
            rate.again,
            rate.of
        ));
        for (why, names) in &rate.others {
            output::say(format_args!("  {} do not: {why}", names.len()));
            for name in names.iter().take(MOST_NAMED) {
                output::say(format_args!("    {name}"));
            }
        }
    }
    status
}

/// Of every search that is kept, those that a row of the table is refuted by.
fn paths(kept: &[Evidence]) -> Vec<Path> {
    let refuting: BTreeSet<&str> =
        Property::ALL.iter().flat_map(|property| property.refuted_by()).copied().collect();
    let of = |evidence: &Evidence| {
        let found = evidence.found.iter().filter(|(name, _)| refuting.contains(name.as_str()));
        let paths = found.map(|(property, found)| Path {
            name: format!("{} ({property})", evidence.bounds),
            trace: match (&found.trace, &found.untraceable) {
                (Some(trace), _) => Ok(Box::new(trace.clone())),
                (None, Some(why)) => Err(why.clone()),
                (None, None) => Err("no trace was kept".to_owned()),
            },
        });
        paths.collect::<Vec<_>>()
    };
    kept.iter().flat_map(of).collect()
}

/// So many of them, evenly.
fn some(paths: &[Path], most: Option<usize>) -> Vec<&Path> {
    let most = most.unwrap_or(paths.len()).min(paths.len());
    (0..most).map(|at| &paths[at * paths.len() / most]).collect()
}

const DIFFERS: &str = "IT COMES OUT OTHERWISE";

fn rate(paths: &[&Path], on: On, threads: usize) -> Rate {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let one_after_another = || {
        let mut rate = Rate::default();
        while let Some(path) = paths.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            if interrupt::asked() {
                break;
            }
            rate.of += 1;
            match again(path, on) {
                Ok(()) => rate.again += 1,
                Err((why, more)) => {
                    rate.others.entry(why).or_default().push(format!("{}{more}", path.name))
                }
            }
        }
        rate
    };
    let mut sum = Rate::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(one_after_another)).collect();
        for thread in threads {
            let Ok(rate) = thread.join() else { continue };
            sum.again += rate.again;
            sum.of += rate.of;
            for (why, names) in rate.others {
                sum.others.entry(why).or_default().extend(names);
            }
        }
    });
    sum
}

/// Why it does not come out the same, and what of it is its own.
fn again(path: &Path, on: On) -> Result<(), (String, String)> {
    let trace = path.trace.as_ref().map_err(|why| (why.clone(), String::new()))?;
    let differs = |what: String| (DIFFERS.to_owned(), format!(": {what}"));
    match on {
        On::Core => on_core(trace).map(drop).map_err(|error| differs(error.to_string())),
        On::Sim => judge(trace).map(drop).map_err(|error| differs(error.to_string())),
        On::Local => replay_on_local(trace, None).map(drop).map_err(|error| match error {
            LocalError::Refused(why) => (without_step(&why), String::new()),
            LocalError::Differs(what) => differs(what.to_string()),
            LocalError::Broken(why) => ("it could not be run".to_owned(), format!(": {why}")),
        }),
    }
}

/// The same reason at another step is the same reason.
fn without_step(why: &str) -> String {
    let rest = why.strip_prefix("step ").and_then(|rest| rest.split_once(": "));
    rest.map_or(why, |(_, rest)| rest).to_owned()
}

fn word(on: On) -> &'static str {
    match on {
        On::Core => "core",
        On::Sim => "simulator",
        On::Local => "real nodes",
    }
}

fn as_json((on, rate): &(On, Rate)) -> serde_json::Value {
    json!({ "on": word(*on), "again": rate.again, "of": rate.of, "others": rate.others })
}
