//! `dyno generate`: writes test histories.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dyno_command::exit::{BROKEN, REFUSED, VALID};
use dyno_command::{document, output, within};
use serde_json::json;

use crate::formats::compact;
use crate::generate::{self, GenerateError, Planted, SPECS, Settings};

/// Writes a history that is linearizable by construction, or has violations planted in it. What
/// was planted, and where, goes to standard error.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// The object the history is of.
    #[arg(long, default_value = "register", value_parser = SPECS)]
    pub spec: String,
    /// How many operations.
    #[arg(long, default_value_t = 1000, value_parser = within(0, MOST_OPS))]
    pub ops: u64,
    /// How many clients, each always busy.
    #[arg(long, default_value_t = 5, value_parser = within(1, MOST_PROCESSES))]
    pub processes: u32,
    /// Over how many keys the operations are spread.
    #[arg(long, default_value_t = 1, value_parser = within(1, MOST_KEYS))]
    pub keys: u32,
    /// From how many values writes are drawn; 0 makes every value new.
    #[arg(long, default_value_t = 0)]
    pub values: u64,
    /// How many violations to plant.
    #[arg(long, default_value_t = 0)]
    pub violations: u64,
    /// The share of operations that are indeterminate, from 0 to 1.
    #[arg(long, default_value_t = 0.0, value_parser = within(0.0, 1.0))]
    pub indeterminate: f64,
    /// Everything random comes from it: one seed, one history.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The form of the file.
    #[arg(long, value_enum, default_value_t = Form::Jsonl)]
    pub format: Form,
    /// Where to write it; standard output if not said.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Say what was planted as one line of JSON: on standard output, or on standard error where the
    /// history itself goes to standard output.
    #[arg(long)]
    pub json: bool,
}

/// More operations than this fill any disk.
const MOST_OPS: u64 = 10_000_000_000;
/// Each holds memory, and its turn comes once in as many operations.
const MOST_PROCESSES: u32 = 100_000;
/// Each holds memory.
const MOST_KEYS: u32 = 10_000_000;

/// The form of a generated file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// JSON lines.
    Jsonl,
    /// The compact form.
    Compact,
}

/// `dyno generate`; the status to exit with.
#[must_use]
pub fn generate(args: &GenerateArgs) -> u8 {
    if let Err(error) = args.check() {
        output::refuse(error);
        return REFUSED;
    }
    match run(args) {
        Ok(planted) => {
            said(args, &planted);
            if (planted.len() as u64) < args.violations {
                let (got, asked) = (planted.len(), args.violations);
                output::refuse(format_args!(
                    "{got} of {asked} violations found a place: give more --ops for each"
                ));
                return BROKEN;
            }
            VALID
        }
        // Whoever reads the history has read enough.
        Err(GenerateError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => VALID,
        Err(error) => {
            output::refuse(&error);
            if matches!(error, GenerateError::Io(_)) { BROKEN } else { REFUSED }
        }
    }
}

/// Says what was planted, and where.
fn said(args: &GenerateArgs, planted: &[Planted]) {
    if args.json {
        let body = json!({ "seed": args.seed, "asked": args.violations, "planted": planted });
        let text = document("generate", None, body);
        if args.out.is_some() {
            output::say(text)
        } else {
            output::note(text)
        }
        return;
    }
    for Planted { index, key, what } in planted {
        let of = key.as_ref().map_or_else(String::new, |key| format!(" of {key}"));
        output::note(format_args!("planted at line {index}{of}: {what}"));
    }
}

impl GenerateArgs {
    /// Refuses what no history can be.
    ///
    /// # Errors
    /// What is wrong, and the mend.
    pub fn check(&self) -> Result<(), GenerateError> {
        if self.violations > self.ops {
            return Err(GenerateError::Range(
                "--violations: there can be no more than there are --ops",
            ));
        }
        Ok(())
    }
}

/// Writes the history.
///
/// # Errors
/// If it cannot be made or written.
pub fn run(args: &GenerateArgs) -> Result<Vec<Planted>, GenerateError> {
    let out: Box<dyn Write> = match &args.out {
        Some(path) => Box::new(File::create_new(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?),
        None => Box::new(io::stdout().lock()),
    };
    write(args, BufWriter::with_capacity(1 << 16, out))
}

fn write(args: &GenerateArgs, mut out: impl Write) -> Result<Vec<Planted>, GenerateError> {
    let settings = Settings {
        spec: args.spec.clone(),
        ops: args.ops,
        processes: args.processes,
        keys: args.keys,
        values: args.values,
        violations: args.violations,
        indeterminate: args.indeterminate,
        seed: args.seed,
    };
    match args.format {
        Form::Jsonl => {
            let planted = generate::generate(&settings, |op| {
                serde_json::to_writer(&mut out, op)?;
                out.write_all(b"\n")
            })?;
            out.flush()?;
            Ok(planted)
        }
        Form::Compact => {
            let mut writer = compact::Writer::new(out)?;
            let planted = generate::generate(&settings, |op| writer.append(op))?;
            writer.finish()?;
            Ok(planted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;
    use crate::judge::budget::Budget;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: GenerateArgs,
    }

    #[test]
    fn both_forms_hold_the_same_history() {
        let dir = tempfile::tempdir().unwrap();
        let write = |format: &str| {
            let path = dir.path().join(format);
            let mut words =
                vec!["generate", "--ops", "300", "--violations", "1", "--format", format];
            words.extend(["--indeterminate", "0.1", "--out", path.to_str().unwrap()]);
            let args = Command::try_parse_from(words).unwrap().args;
            assert_eq!(run(&args).unwrap().len(), 1);
            path
        };
        let lines = History::read(write("jsonl")).unwrap();
        let file = File::open(write("compact")).unwrap();
        let compact = compact::read(file, &mut Budget::UNLIMITED.start()).unwrap();
        assert_eq!(lines.ops(), compact.ops());
    }

    #[test]
    fn an_unknown_object_is_refused() {
        assert!(Command::try_parse_from(["generate", "--spec", "stack"]).is_err());
    }

    #[test]
    fn more_violations_than_a_history_can_hold_are_not_passed_over() {
        let status = |line: &str| {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("history.jsonl");
            let words = line.split_whitespace().chain(["--out", file.to_str().unwrap()]);
            generate(&Command::try_parse_from(["generate"].into_iter().chain(words)).unwrap().args)
        };
        assert_eq!(status("--ops 10 --violations 100"), REFUSED);
        assert_eq!(status("--ops 10 --violations 10"), BROKEN);
        assert_eq!(status("--ops 1000 --violations 2"), VALID);
    }
}
