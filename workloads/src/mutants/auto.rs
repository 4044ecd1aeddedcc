//! `dyno mutants --auto`: which lines would nobody miss? [cargo-mutants](https://mutants.rs) changes the
//! core, or the shell around it, in one place at a time, and what judges each change is the bench.
//!
//! The part's own tests come first. What they let live is built into `dyno`, whose seeds then judge it: two
//! passes of cargo-mutants, because most changes die of the first and the second builds much more. Nothing
//! here is a seeded bug: what survives may be a change that changes nothing, and is listed until somebody
//! says so.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};
use dyno_command::{document, exit, output};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::report;
use crate::run::verdict::{BROKEN, INVALID, REFUSED, VALID};
use crate::suite::shard::Shard;

/// What is said of survivors: by the name of the change, without its line.
const EXPLAINED: &str = include_str!("auto.toml");
/// How many seeds judge what the tests let live, if nobody says so.
const SEEDS: u64 = 300;
/// The variable by which the test of `workloads/tests/drawn.rs` is told.
const TOLD: &str = "DYNO_SEEDS";
/// How many times longer than the unchanged tests those of a change may take, until it counts as one that
/// hangs: two cores that are shared with others are noisy.
const PATIENCE: &str = "5";

/// Arguments of `dyno mutants --auto`.
#[derive(Debug, Args)]
pub(super) struct AutoArgs {
    /// Changes the source in one place at a time, with cargo-mutants, in place of seeding the table's bugs.
    #[arg(long, conflicts_with_all = ["layer", "only"])]
    pub(super) auto: bool,
    /// Of which part.
    #[arg(long, value_enum, default_value = "core", requires = "auto")]
    of: Part,
    /// This share of the changes, from 1: each of so many runs tries its own.
    #[arg(long, value_name = "I/N", requires = "auto")]
    shard: Option<Shard>,
    /// The changes whose name this regular expression finds, and no others.
    #[arg(long, value_name = "REGEX", requires = "auto")]
    named: Option<String>,
    /// The folder of Dynamometer's source.
    #[arg(long, value_name = "DIR", default_value = ".", requires = "auto")]
    source: PathBuf,
}

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// The protocol: what model, simulator and nodes run.
    Core,
    /// The process around it.
    Shell,
}

impl Part {
    fn package(self) -> &'static str {
        match self {
            Self::Core => "dynamo-protocol",
            Self::Shell => "dynamo-node",
        }
    }

    /// The packages whose tests judge it first.
    fn tests(self) -> &'static str {
        match self {
            Self::Core => "dynamo-protocol,dynamo-sim",
            Self::Shell => "dynamo-node",
        }
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    /// No test failed, and no seed.
    Survives,
    /// A test failed.
    Tests,
    /// A seed failed, or several.
    Seeds,
    /// The tests, or the seeds, did not come to an end.
    Hangs,
    /// It cannot be built: it says nothing.
    Unviable,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::Survives => "**survives**",
            Self::Tests => "tests",
            Self::Seeds => "seeds",
            Self::Hangs => "hangs",
            Self::Unviable => "cannot be built",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Change {
    /// With its place, as cargo-mutants has it.
    name: String,
    fate: Fate,
    /// Of one that survives, and was looked at.
    why: Option<String>,
}

/// What a run found.
#[derive(Clone, Debug, Serialize)]
struct Found {
    of: Part,
    shard: String,
    seeds: u64,
    changes: Vec<Change>,
}

impl Found {
    fn count(&self, is_meant: impl Fn(&Change) -> bool) -> usize {
        self.changes.iter().filter(|change| is_meant(change)).count()
    }

    fn survivors(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.fate == Fate::Survives)
    }

    fn markdown(&self) -> String {
        let viable = self.count(|change| change.fate != Fate::Unviable);
        let survive = self.survivors().count();
        let explained = self.survivors().filter(|change| change.why.is_some()).count();
        let caught = viable - survive;
        let mut text = format!(
            "# Lines that nobody would miss\n\n\
             `dyno mutants --auto --of {}`, share {}: {caught} of {viable} changes caught ({} %), {} by \
             tests, {} by {} drawn seeds, {} did not come to an end; {} more cannot be built. {survive} \
             survive, of which {explained} are explained.\n\n",
            self.of
                .to_possible_value()
                .map_or_else(String::new, |value| value.get_name().to_owned()),
            self.shard,
            caught * 100 / viable.max(1),
            self.count(|change| change.fate == Fate::Tests),
            self.count(|change| change.fate == Fate::Seeds),
            self.seeds,
            self.count(|change| change.fate == Fate::Hangs),
            self.count(|change| change.fate == Fate::Unviable),
        );
        text += "| change | fate | why |\n|---|---|---|\n";
        for Change { name, fate, why } in &self.changes {
            let why = match (fate, why) {
                (Fate::Survives, None) => "not explained yet",
                (_, why) => why.as_deref().unwrap_or_default(),
            };
            // A type's bars would end the cell.
            text += &format!("| `{}` | {} | {why} |\n", name.replace('|', "\\|"), fate.word());
        }
        text
    }
}

/// Why there is nothing to tell.
#[derive(Debug, Error)]
enum AutoError {
    #[error("--source {0}: there is no Dynamometer: give the folder that has dynamo-node in it")]
    NoSource(PathBuf),
    #[error("cargo mutants: {0}: install it with `cargo install cargo-mutants --locked`")]
    NoTool(io::Error),
    #[error("cargo mutants: {0}")]
    Failed(String),
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    #[error("{0}: {1}: another version of cargo-mutants may have written it")]
    Unread(PathBuf, serde_json::Error),
    #[error("no change to try: this share has none, or `--named` finds none")]
    Nothing,
    #[error("mutants/auto.toml: {0}")]
    Explained(#[from] toml::de::Error),
}

/// Tries the changes; the status to exit with.
pub(super) fn run(args: &AutoArgs, seeds: Option<u64>, out: &Path, json: bool) -> u8 {
    let seeds = seeds.unwrap_or(SEEDS);
    let found = match find(args, seeds, &out.join("auto")) {
        Ok(found) => found,
        Err(error) => {
            output::refuse(&error);
            return match error {
                AutoError::NoSource(_) | AutoError::NoTool(_) => REFUSED,
                _ => BROKEN,
            };
        }
    };
    let text = found.markdown();
    output::text(&text);
    if let Err(error) = report::write_as(out, "auto", &text, &found) {
        output::refuse(format_args!("{}: {error}", out.display()));
        return BROKEN;
    }
    let status = if found.survivors().all(|change| change.why.is_some()) { VALID } else { INVALID };
    if json {
        output::say(document("mutants", Some(exit::verdict(status)), &found));
    }
    status
}

fn find(args: &AutoArgs, seeds: u64, out: &Path) -> Result<Found, AutoError> {
    if !args.source.join("dynamo-node/protocol/Cargo.toml").is_file() {
        return Err(AutoError::NoSource(args.source.clone()));
    }
    let explained: BTreeMap<String, String> = toml::from_str(EXPLAINED)?;
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    fs::create_dir_all(out).map_err(|error| AutoError::Io(out.to_owned(), error))?;

    let mut first = changes(args, &out.join("tests"));
    // Theirs are numbered from 0, and a share is as good as any other of its size only if it is spread.
    first.args(["--sharding", "round-robin", "--shard"]);
    first.arg(format!("{}/{}", shard.index() - 1, shard.total()));
    first.args(args.named.iter().flat_map(|named| ["--re", named]));
    first.args(["--test-package", args.of.tests()]);
    let by_tests = outcomes(first, &out.join("tests"))?;
    if by_tests.is_empty() {
        return Err(AutoError::Nothing);
    }

    let left = by_tests.iter().filter(|(_, summary)| **summary == Summary::MissedMutant);
    let left: Vec<_> = left.map(|(name, _)| format!("^{}$", regex_of(name))).collect();
    let mut by_seeds = BTreeMap::new();
    if !left.is_empty() {
        let mut second = changes(args, &out.join("seeds"));
        second.args(left.iter().flat_map(|name| ["--re", name]));
        second.args(["--test-package", "dyno", "--cargo-test-arg=--test=drawn"]);
        second.env(TOLD, seeds.to_string());
        by_seeds = outcomes(second, &out.join("seeds"))?;
    }
    let change = |(name, summary): (String, Summary)| {
        let fate = fate(summary, by_seeds.get(&name).copied());
        let why = explained.get(&without_place(&name)).filter(|_| fate == Fate::Survives).cloned();
        Change { name, fate, why }
    };
    let mut changes: Vec<_> = by_tests.into_iter().map(change).collect();
    changes.sort_by(|one, other| (one.fate, &one.name).cmp(&(other.fate, &other.name)));
    Ok(Found { of: args.of, shard: shard.to_string(), seeds, changes })
}

/// What both passes are told.
fn changes(args: &AutoArgs, out: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.arg("mutants").arg("--dir").arg(&args.source).arg("--output").arg(out);
    command.args(["--package", args.of.package(), "--no-shuffle", "--colors", "never"]);
    command.args(["--timeout-multiplier", PATIENCE, "--build-timeout-multiplier", PATIENCE]);
    command
}

/// As cargo-mutants has it of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Summary {
    CaughtMutant,
    MissedMutant,
    Timeout,
    Unviable,
    /// Of the unchanged source.
    Success,
    /// Neither built nor tried: the tool itself failed.
    Failure,
}

#[derive(Deserialize)]
struct Outcomes {
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    scenario: Scenario,
    summary: Summary,
}

#[derive(Deserialize)]
enum Scenario {
    Baseline,
    Mutant { name: String },
}

/// Runs a pass, and reads what it says of each change.
fn outcomes(mut pass: Command, out: &Path) -> Result<BTreeMap<String, Summary>, AutoError> {
    // What an earlier pass left is no result of this one, which writes nothing if it has nothing to try.
    let folder = out.join("mutants.out");
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(AutoError::Io(folder, error));
        }
        _ => {}
    }
    // What it prints is progress; what is printed here is the result.
    let status = pass.stdin(Stdio::null()).stdout(io::stderr()).status();
    let status = match status {
        Ok(status) => status,
        Err(error) => return Err(AutoError::NoTool(error)),
    };
    // Found all, missed some, some hang: https://mutants.rs/exit-codes.html. Cargo has no such command: 101.
    match status.code() {
        Some(0 | 2 | 3) => {}
        Some(101) => return Err(AutoError::NoTool(io::Error::other("cargo does not know it"))),
        Some(4) => return Err(AutoError::Failed("the tests fail without any change".to_owned())),
        _ => return Err(AutoError::Failed(status.to_string())),
    }
    let file = folder.join("outcomes.json");
    let text = match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read.map_err(|error| AutoError::Io(file.clone(), error))?,
    };
    let read: Outcomes =
        serde_json::from_slice(&text).map_err(|error| AutoError::Unread(file, error))?;
    let of_change = |outcome: Outcome| match outcome.scenario {
        Scenario::Mutant { name } => Some((name, outcome.summary)),
        Scenario::Baseline => None,
    };
    Ok(read.outcomes.into_iter().filter_map(of_change).collect())
}

/// Of the two passes; the second has only those that the first let live.
fn fate(by_tests: Summary, by_seeds: Option<Summary>) -> Fate {
    match (by_tests, by_seeds) {
        (Summary::CaughtMutant, _) => Fate::Tests,
        (Summary::MissedMutant, Some(Summary::CaughtMutant)) => Fate::Seeds,
        (Summary::Timeout, _) | (Summary::MissedMutant, Some(Summary::Timeout)) => Fate::Hangs,
        (Summary::Unviable, _) => Fate::Unviable,
        // Whatever else it says: nobody has caught it.
        _ => Fate::Survives,
    }
}

/// A regular expression that finds this text.
fn regex_of(text: &str) -> String {
    let mut regex = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        if letter.is_ascii_punctuation()
            && !matches!(letter, '/' | ':' | '_' | '<' | '>' | '"' | '\'' | '=' | ',')
        {
            regex.push('\\');
        }
        regex.push(letter);
    }
    regex
}

/// The name of a change without its line and column, which move: `file: what`.
fn without_place(name: &str) -> String {
    let mut parts = name.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(line), Some(column), Some(what))
            if [line, column].iter().all(|at| at.bytes().all(|byte| byte.is_ascii_digit())) =>
        {
            format!("{file}:{what}")
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str =
        "core/src/ring/span.rs:41:9: replace <impl Span>::and -> Option<Span> with None";

    #[test]
    fn a_change_is_caught_by_whoever_catches_it_first() {
        use Summary::{CaughtMutant, Failure, MissedMutant, Success, Timeout, Unviable};
        assert_eq!(fate(CaughtMutant, None), Fate::Tests);
        assert_eq!(fate(MissedMutant, Some(CaughtMutant)), Fate::Seeds);
        assert_eq!(fate(MissedMutant, Some(MissedMutant)), Fate::Survives);
        assert_eq!(fate(MissedMutant, Some(Timeout)), Fate::Hangs);
        assert_eq!(fate(Timeout, None), Fate::Hangs);
        assert_eq!(fate(Unviable, None), Fate::Unviable);
        // Nothing that the tool could not do is a catch.
        assert_eq!(fate(MissedMutant, None), Fate::Survives);
        assert_eq!(fate(MissedMutant, Some(Unviable)), Fate::Survives);
        assert_eq!(fate(Failure, None), Fate::Survives);
        assert_eq!(fate(Success, None), Fate::Survives);
    }

    #[test]
    fn explanations_outlive_lines_that_move() {
        let known = "core/src/ring/span.rs: replace <impl Span>::and -> Option<Span> with None";
        assert_eq!(without_place(NAME), known);
        assert_eq!(without_place("no place"), "no place");
        let explained: BTreeMap<String, String> = toml::from_str(EXPLAINED).unwrap();
        for (name, why) in explained {
            assert_eq!(without_place(&name), name, "names no line");
            assert!(why.len() > 20, "{name}: {why}");
        }
    }

    #[test]
    fn a_name_is_found_by_its_expression_and_no_other_is() {
        assert_eq!(
            regex_of("a.rs:1:2: replace + with - in f"),
            r"a\.rs:1:2: replace \+ with \- in f"
        );
        assert_eq!(regex_of("replace f -> (u8, [u8; 2])"), r"replace f \-> \(u8, \[u8\; 2\]\)");
    }

    #[test]
    fn what_cargo_mutants_writes_is_read() {
        let text = r#"{"outcomes": [
            {"scenario": "Baseline", "summary": "Success", "phase_results": []},
            {"scenario": {"Mutant": {"name": "a.rs:1:2: x", "package": "p"}}, "summary": "MissedMutant"}
        ], "total_mutants": 1}"#;
        let read: Outcomes = serde_json::from_str(text).unwrap();
        assert!(matches!(&read.outcomes[0].scenario, Scenario::Baseline));
        assert!(
            matches!(&read.outcomes[1].scenario, Scenario::Mutant { name } if name == "a.rs:1:2: x")
        );
        assert_eq!(read.outcomes[1].summary, Summary::MissedMutant);
    }

    #[test]
    fn survivors_are_counted_and_those_that_nobody_explained_are_called_so() {
        let change = |name: &str, fate, why: Option<&str>| Change {
            name: name.to_owned(),
            fate,
            why: why.map(str::to_owned),
        };
        let changes = vec![
            change("a", Fate::Survives, None),
            change("b || c", Fate::Survives, Some("it is the same")),
            change("d", Fate::Tests, None),
            change("e", Fate::Unviable, None),
        ];
        let found = Found { of: Part::Core, shard: "1/1".to_owned(), seeds: 3, changes };
        let text = found.markdown();
        assert!(text.contains("--of core`, share 1/1: 1 of 3 changes caught (33 %)"), "{text}");
        assert!(text.contains("2 survive, of which 1 are explained"), "{text}");
        assert!(text.contains("| `a` | **survives** | not explained yet |"), "{text}");
        assert!(text.contains(r"| `b \|\| c` | **survives** | it is the same |"), "{text}");
    }
}
