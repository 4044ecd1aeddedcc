//! `dyno generate`: writes test histories.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::formats::compact;
use crate::generate::{GenerateError, Planted, SPECS, Settings, generate};

/// Writes a history that is linearizable by construction, or has violations planted in it. What
/// was planted, and where, goes to standard error as one JSON line.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// The object the history is of.
    #[arg(long, default_value = "register", value_parser = SPECS)]
    pub spec: String,
    /// How many operations.
    #[arg(long, default_value_t = 1000)]
    pub ops: u64,
    /// How many clients, each always busy.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub processes: u32,
    /// Over how many keys the operations are spread.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub keys: u32,
    /// Draw written values from so many; 0 makes every one new.
    #[arg(long, default_value_t = 0)]
    pub values: u64,
    /// How many violations to plant.
    #[arg(long, default_value_t = 0)]
    pub violations: u64,
    /// The share of operations of which nobody learns whether they happened, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub indeterminate: f64,
    /// Everything random comes from it: one seed, one history.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The form of the file.
    #[arg(long, value_enum, default_value_t = Form::Jsonl)]
    pub format: Form,
    /// Where to write it; standard output if not said.
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

/// The form of a generated file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// JSON lines.
    Jsonl,
    /// The compact form.
    Compact,
}

/// Writes the history; what was planted goes to `notes` as a JSON line.
pub fn run(args: &GenerateArgs, notes: &mut impl Write) -> Result<Vec<Planted>, GenerateError> {
    let out: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(File::create_new(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?),
        None => Box::new(io::stdout().lock()),
    };
    let planted = write(args, BufWriter::with_capacity(1 << 16, out))?;
    let asked = args.violations;
    let note = json!({ "schema": 1, "seed": args.seed, "asked": asked, "planted": planted });
    writeln!(notes, "{note}")?;
    Ok(planted)
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
            let planted = generate(&settings, |op| {
                serde_json::to_writer(&mut out, op)?;
                out.write_all(b"\n")
            })?;
            out.flush()?;
            Ok(planted)
        }
        Form::Compact => {
            let mut writer = compact::Writer::new(out)?;
            let planted = generate(&settings, |op| writer.append(op))?;
            writer.finish()?;
            Ok(planted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::history::History;
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
            words.extend(["--indeterminate", "0.1", "--output", path.to_str().unwrap()]);
            let args = Command::try_parse_from(words).unwrap().args;
            let mut notes = Vec::new();
            let planted = run(&args, &mut notes).unwrap();
            let note: serde_json::Value = serde_json::from_slice(&notes).unwrap();
            assert_eq!(note["planted"][0]["index"], planted[0].index);
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
}
