//! `dyno export`: the history of a stored run in the form of another tool.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use checker::formats::write_edn;
use checker::history::{History, HistoryError, Torn};
use clap::{Args, ValueEnum};
use dyno_command::{document, output};
use serde_json::json;

use super::store::Store;
use super::verdict::{BROKEN, REFUSED, VALID};

mod columns;
mod perfetto;
mod table;

/// Arguments of `dyno export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The folder of a run.
    pub run: PathBuf,
    /// For whom.
    #[arg(long, value_name = "FORM")]
    pub to: Form,
    /// Of Parquet: leave out what was written and read, which is most of it.
    #[arg(long)]
    pub without_values: bool,
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
    /// A table for DuckDB and others, a row an operation: docs/queries.md.
    Parquet,
    /// A history as Jepsen's checkers read it, an operation map a line.
    Edn,
    /// Events for ui.perfetto.dev and chrome://tracing: a track a process, one a node and one a fault.
    Perfetto,
}

impl Form {
    fn file(self) -> &'static str {
        match self {
            Self::Parquet => "history.parquet",
            Self::Edn => "history.edn",
            Self::Perfetto => "perfetto.json",
        }
    }
}

/// What was written.
struct Exported {
    /// How many operations of clients.
    ops: u64,
    /// The last line of the history, if it was cut short.
    torn: Option<Torn>,
}

/// Why nothing was written, or not all.
#[derive(Debug)]
enum ExportError {
    /// The history is none.
    History(HistoryError),
    /// It cannot be written.
    Out(io::Error),
}

impl From<HistoryError> for ExportError {
    fn from(error: HistoryError) -> Self {
        Self::History(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Out(error)
    }
}

/// Writes the history; the status to exit with.
#[must_use]
pub fn run(args: &ExportArgs) -> u8 {
    let store = match Store::open(&args.run) {
        Ok(store) => store,
        Err(error) => {
            output::refuse(error);
            return REFUSED;
        }
    };
    if args.without_values && args.to != Form::Parquet {
        output::refuse("--without-values is for --to parquet");
        return REFUSED;
    }
    let to = args.out.clone().unwrap_or_else(|| store.path(args.to.file()));
    let is_standard = to == Path::new("-");
    let written = if is_standard {
        write(args, &store, io::stdout())
    } else {
        match File::create_new(&to) {
            Ok(file) => write(args, &store, file).inspect_err(|_| _ = std::fs::remove_file(&to)),
            // Nothing is written over.
            Err(error) => {
                output::refuse(format_args!("{}: {error}", to.display()));
                return REFUSED;
            }
        }
    };
    match written {
        Ok(exported) => {
            say(args, &to, &exported);
            VALID
        }
        Err(ExportError::History(error)) => {
            output::refuse(format_args!("{}: {error}", args.run.display()));
            REFUSED
        }
        Err(ExportError::Out(error)) if is_standard => {
            output::failed(&error);
            BROKEN
        }
        Err(ExportError::Out(error)) => {
            output::refuse(format_args!("{}: {error}", to.display()));
            BROKEN
        }
    }
}

fn write(
    args: &ExportArgs,
    store: &Store,
    out: impl Write + Send,
) -> Result<Exported, ExportError> {
    let path = store.path("history.jsonl");
    if args.to == Form::Parquet {
        return table::write(store, !args.without_values, out);
    }
    let history = History::read(path)?;
    let mut out = io::BufWriter::new(out);
    match args.to {
        Form::Perfetto => perfetto::write(&history, &mut out)?,
        Form::Edn | Form::Parquet => write_edn(&history, &mut out)?,
    }
    out.flush()?;
    Ok(Exported { ops: history.pairs().count() as u64, torn: history.torn() })
}

fn say(args: &ExportArgs, to: &Path, exported: &Exported) {
    if let Some(torn) = exported.torn {
        output::note(format_args!("{}", super::stored::cut_short(torn)));
    }
    let is_standard = to == Path::new("-");
    let mut body = json!({ "file": to.display().to_string(), "ops": exported.ops });
    if let Some(torn) = exported.torn {
        body["torn"] = super::stored::torn(torn);
    }
    match (args.json, is_standard) {
        (true, false) => output::say(document("export", None, body)),
        (true, true) => output::note(document("export", None, body)),
        (false, false) => output::say(to.display()),
        (false, true) => {}
    }
}

#[cfg(test)]
mod tests {
    use checker::budget::Budget;
    use checker::formats::{Options, from_reader};
    use checker::history::op::{Kind, Op, Process};

    use serde_json::json;

    use super::*;

    /// Two operations, of which one timed out, and a fault.
    pub(super) fn history() -> History {
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

    #[test]
    fn what_is_written_for_jepsen_is_read_again_as_it_was() {
        let mut text = Vec::new();
        write_edn(&history(), &mut text).unwrap();
        let options = Options::default();
        let mut meter = Budget::UNLIMITED.start();
        let read = from_reader(text.as_slice(), &options, &mut meter).unwrap();
        let times =
            |history: &History| history.iter().map(|op| (op.time, op.kind)).collect::<Vec<_>>();
        assert_eq!(times(&read), times(&history()));
        assert_eq!(read.ops()[0].key.as_deref(), Some("k"));
    }
}
