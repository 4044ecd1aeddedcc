//! `dyno export`: the history of a stored run in the form of another tool.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use checker::formats::write_edn;
use checker::history::{History, Outcome};
use clap::{Args, ValueEnum};
use dyno_command::{document, output};
use dyno_page::bands;
use serde_json::{Value, json};

use super::store::Store;
use super::verdict::{BROKEN, REFUSED, VALID};

/// Arguments of `dyno export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The folder of a run.
    pub run: PathBuf,
    /// For whom.
    #[arg(long, value_name = "FORM")]
    pub to: Form,
    /// Where it goes: a file that is not there yet, or `-` for standard output; beside the history if not
    /// given.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print one line of JSON, last; on standard error where the history goes to standard output.
    #[arg(long)]
    pub json: bool,
}

/// The forms there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A history as Jepsen's checkers read it, an operation map a line.
    Edn,
    /// Events for ui.perfetto.dev and chrome://tracing: a track a process, one a node and one a fault.
    Perfetto,
}

impl Form {
    fn file(self) -> &'static str {
        match self {
            Self::Edn => "history.edn",
            Self::Perfetto => "perfetto.json",
        }
    }
}

/// Writes the history; the status to exit with.
#[must_use]
pub fn run(args: &ExportArgs) -> u8 {
    let store = Store::of(&args.run);
    let history = match History::read(store.path("history.jsonl")) {
        Ok(history) => history,
        Err(error) => {
            output::refuse(format_args!("{}: {error}", args.run.display()));
            return REFUSED;
        }
    };
    let to = args.out.clone().unwrap_or_else(|| store.path(args.to.file()));
    let is_standard = to == Path::new("-");
    let written = if is_standard {
        write(args.to, &history, &mut io::stdout().lock()).map_err(|error| {
            output::failed(&error);
            BROKEN
        })
    } else {
        into_file(args.to, &history, &to)
    };
    if let Err(status) = written {
        return status;
    }
    let body = json!({ "file": to.display().to_string(), "ops": history.pairs().count() });
    match (args.json, is_standard) {
        (true, false) => output::say(document("export", None, body)),
        (true, true) => output::note(document("export", None, body)),
        (false, false) => output::say(to.display()),
        (false, true) => {}
    }
    VALID
}

/// Into a file that is made for it: nothing is written over.
fn into_file(form: Form, history: &History, path: &Path) -> Result<(), u8> {
    let told = |status: u8| {
        move |error: io::Error| {
            output::refuse(format_args!("{}: {error}", path.display()));
            status
        }
    };
    let file = File::create_new(path).map_err(told(REFUSED))?;
    let mut file = BufWriter::new(file);
    write(form, history, &mut file).and_then(|()| file.flush()).map_err(told(BROKEN))
}

fn write(form: Form, history: &History, out: &mut impl Write) -> io::Result<()> {
    match form {
        Form::Edn => write_edn(history, &mut *out),
        Form::Perfetto => perfetto(history, out),
    }
}

/// Processes of the trace: what are processes there are groups of tracks here.
const CLIENTS: u32 = 1;
const NODES: u32 = 2;
const FAULTS: u32 = 3;

/// Trace events as JSON, one a line: <https://perfetto.dev/docs/getting-started/other-formats>. Times are in
/// microseconds, to the nanosecond.
fn perfetto(history: &History, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n")?;
    let mut nodes: BTreeMap<&str, u64> = BTreeMap::new();
    for (group, name) in [(CLIENTS, "clients"), (NODES, "nodes"), (FAULTS, "faults")] {
        let name = json!({ "name": name });
        let event = json!({ "ph": "M", "name": "process_name", "pid": group, "args": name });
        writeln!(out, "{event},")?;
    }
    for pair in history.pairs() {
        let (outcome, colour) = match pair.outcome() {
            Outcome::Ok => ("ok", "good"),
            Outcome::Fail => ("fail", "terrible"),
            Outcome::Info => ("info", "bad"),
        };
        let end = pair.completion.map_or(pair.invoke.time, |op| op.time);
        let error = pair.completion.and_then(|op| op.error.as_deref());
        let key = pair.key().map(|key| format!(" {key}")).unwrap_or_default();
        let mut event = json!({
            "ph": "X", "name": format!("{}{key}", pair.f()), "cat": outcome, "cname": colour,
            "ts": micros(pair.invoke.time), "dur": micros(end - pair.invoke.time), "pid": CLIENTS,
            "tid": history.process_shown(pair.invoke.process).parse::<u64>().unwrap_or(0),
            "args": {
                "op": pair.name(), "outcome": outcome, "node": pair.node(), "error": error,
                "value": pair.invoke.value, "result": pair.result(), "context": pair.invoke.context,
            },
        });
        writeln!(out, "{event},")?;
        if let Some(node) = pair.node() {
            let next = nodes.len() as u64 + 1;
            let track = *nodes.entry(node).or_insert(next);
            // Operations on a node overlap, which on one track only asynchronous events may.
            event["pid"] = NODES.into();
            event["tid"] = track.into();
            event["id"] = pair.name().into();
            event["args"] = json!({ "op": pair.name() });
            both_ends(out, &mut event, pair.invoke.time, end)?;
        }
    }
    for (number, band) in bands(history).iter().enumerate().filter(|(_, band)| band.is_proven) {
        let mut event = json!({
            "name": band.in_words(), "cat": "fault", "pid": FAULTS, "tid": 1, "id": number,
            "args": { "nodes": band.nodes, "links": band.links, "proof": band.proof },
        });
        both_ends(out, &mut event, band.from, band.to)?;
    }
    for (node, track) in nodes {
        let event = json!({
            "ph": "M", "name": "thread_name", "pid": NODES, "tid": track, "args": { "name": node },
        });
        writeln!(out, "{event},")?;
    }
    // The last one has no comma behind it.
    let name = json!({ "name": "in force" });
    let end = json!({ "ph": "M", "name": "thread_name", "pid": FAULTS, "tid": 1, "args": name });
    writeln!(out, "{end}\n]}}")
}

/// An event that others may overlap: its begin, and its end.
fn both_ends(out: &mut impl Write, event: &mut Value, from: u64, to: u64) -> io::Result<()> {
    for (phase, time) in [("b", from), ("e", to)] {
        event["ph"] = phase.into();
        event["ts"] = micros(time).into();
        if let Value::Object(fields) = event {
            fields.remove("dur");
        }
        writeln!(out, "{event},")?;
    }
    Ok(())
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use checker::budget::Budget;
    use checker::formats::{Options, from_reader};
    use checker::history::op::{Kind, Op, Process};

    use super::*;

    fn history() -> History {
        let op = |process, f: &'static str| Op::invoke(process, f).key("k").node("n\"1");
        let (put, get) = (op(0, "put").value("</script>").at(1_500), op(1, "get").at(2_000));
        let fault = |kind, step: &str| {
            let value = json!({ "fault": 1, "step": step, "nodes": ["n1"] });
            Op::new(Process::Nemesis, kind, "kill").value(value)
        };
        let lines = vec![
            put.clone(),
            get.clone(),
            fault(Kind::Ok, "inject").at(2_500),
            put.completed(Kind::Ok).at(3_000),
            get.completed(Kind::Info).error("timed out").at(4_000),
            fault(Kind::Invoke, "heal").at(5_000),
        ];
        History::numbered(lines).unwrap()
    }

    fn exported(form: Form) -> String {
        let mut out = Vec::new();
        write(form, &history(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_trace_has_every_operation_on_the_track_of_its_process_and_of_its_node() {
        let trace: Value = serde_json::from_str(&exported(Form::Perfetto)).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let of =
            |phase: &str| events.iter().filter(|event| event["ph"] == phase).collect::<Vec<_>>();
        let told: Vec<_> =
            of("X").iter().map(|event| (event["ts"].as_f64(), event["dur"].as_f64())).collect();
        assert_eq!(told, [(Some(1.5), Some(1.5)), (Some(2.0), Some(2.0))]);
        assert_eq!(of("X")[1]["args"]["error"], "timed out");
        assert_eq!(of("b").len(), 3, "two on the node, and the fault");
        assert_eq!(of("b").len(), of("e").len());
        let fault = of("b").into_iter().find(|event| event["pid"] == FAULTS).unwrap();
        assert_eq!((&fault["name"], &fault["ts"]), (&json!("kill of n1"), &json!(2.5)));
        assert!(of("M").iter().any(|event| event["args"]["name"] == "n\"1"));
    }

    #[test]
    fn what_is_written_for_jepsen_is_read_again_as_it_was() {
        let text = exported(Form::Edn);
        let options = Options::default();
        let mut meter = Budget::UNLIMITED.start();
        let read = from_reader(text.as_bytes(), &options, &mut meter).unwrap();
        let times =
            |history: &History| history.iter().map(|op| (op.time, op.kind)).collect::<Vec<_>>();
        assert_eq!(times(&read), times(&history()));
        assert_eq!(read.ops()[0].key.as_deref(), Some("k"));
    }
}
