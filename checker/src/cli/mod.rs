//! `dyno check`: judges history files and prints a line a file.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dyno_command::{Size, Span, document, output};
use serde_json::{Value, json};

use crate::consistency::staleness::{Quorum, Staleness};
use crate::formats::{Loaded, ReadError, Source};
use crate::history::History;
use crate::history::wellformed::WellFormed;
use crate::judge::budget::{Budget, Meter, peak_bytes};
use crate::judge::compose::check_safe;
use crate::judge::explain;
use crate::judge::minimize::minimize_found;
use crate::judge::verdict::{CheckReport, Checker, Verdict};

pub mod generate;
mod guess;
mod input;
mod specs;
mod stream;

use guess::listed;
pub use guess::{Guess, guess};
pub use input::{FormatArg, InputArgs, KeyedArg};
pub use specs::Spec;

pub use dyno_command::exit::{BROKEN, REFUSED};

/// Arguments of `dyno check`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// History files or folders of runs; `-` is standard input, and gzip is unpacked
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// What to judge by; told by the operations when not given
    #[arg(long, value_name = "SPEC", value_parser = specs::parse)]
    pub spec: Option<Spec>,
    /// How to read the histories of others
    #[command(flatten)]
    pub input: InputArgs,
    /// Time for each file
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub budget: Span,
    /// Memory the whole process may hold
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    pub memory: Size,
    /// Print a JSON object a file
    #[arg(long)]
    pub json: bool,
    /// Sizes of the quorum, for what --spec staleness predicts
    #[arg(long, value_name = "N,R,W", value_parser = parse_quorum)]
    pub quorum: Option<Quorum>,
    /// What registers, cas-registers, kv and counters hold before the first write: JSON, or a text
    #[arg(long, value_name = "VALUE")]
    pub initial: Option<String>,
    /// Shrink what is invalid to operations none of which can go, and show them
    #[arg(long)]
    pub minimize: bool,
    /// Write a page that shows what was found, for a browser; the history is read in full
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// What was judged, for who shows it.
pub struct Seen<'a> {
    /// The file, or the folder, as it was named.
    pub file: &'a Path,
    /// The history.
    pub history: &'a History,
    /// What it was judged by; none where nothing fits.
    pub spec: Option<Spec>,
    /// What was found.
    pub report: &'a CheckReport,
    /// What should be known of how it was read and judged.
    pub notes: &'a [String],
}

/// Shows what was judged, somewhere.
pub type Show<'a> = &'a mut dyn FnMut(&Seen<'_>);

fn parse_quorum(text: &str) -> Result<Quorum, String> {
    let numbers: Option<Vec<u64>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[n, r, w]) if (1..=n).contains(&r) && (1..=n).contains(&w) && n <= 100 => {
            Ok(Quorum { n, r, w })
        }
        _ => Err("copies, answers and acknowledgements, as 3,2,2; 100 copies at most".to_owned()),
    }
}

/// Judges the files; gives the exit status of the worst: invalid 1, no history that can be judged 254,
/// unknown 2, valid 0. With `--report`, what was judged is shown by `show`.
pub fn check(args: &CheckArgs, out: &mut dyn Write, err: &mut dyn Write, show: Show<'_>) -> u8 {
    if args.report.is_some() && args.files.len() > 1 {
        let _ = writeln!(err, "--report FILE is the page of one history: name one");
        return REFUSED;
    }
    for file in &args.files {
        if file.as_os_str() != "-"
            && let Err(error) = std::fs::metadata(file)
        {
            let _ = writeln!(err, "{}: {error}", file.display());
            return REFUSED;
        }
    }
    let statuses = args.files.iter().map(|file| {
        let checked = check_file(args, file, show);
        let said = if args.json {
            writeln!(out, "{}", checked.json(file))
        } else {
            write!(out, "{}", checked.text(file))
        };
        if let Err(error) = said {
            output::failed(&error);
        }
        checked.status
    });
    let severity =
        |status: &u8| [0, 2, REFUSED, BROKEN, 1].iter().position(|known| known == status);
    // Every file is judged, whatever came before it.
    statuses.collect::<Vec<_>>().into_iter().max_by_key(severity).unwrap_or(0)
}

struct Checked {
    spec: Option<Spec>,
    report: CheckReport,
    status: u8,
    ops: usize,
    seconds: f64,
    minimal: Option<String>,
    /// What should be known of how it was read and judged.
    notes: Vec<String>,
    /// The operations of the witness.
    shown: Vec<String>,
}

fn check_file(args: &CheckArgs, file: &Path, show: Show<'_>) -> Checked {
    let started = Instant::now();
    let budget = Budget { time: Some(args.budget.0), memory: Some(args.memory.0) };
    let mut meter = budget.start();
    let opened = Source::open(file, &args.input.options(), &mut meter);
    let checked = opened.and_then(|source| match &args.report {
        None => check_source(args, &source, &mut meter),
        Some(_) => check_in_full(args, &source, &mut meter).map(|(checked, history)| {
            let Checked { spec, report, notes, .. } = &checked;
            show(&Seen { file, history: &history, spec: *spec, report, notes });
            checked
        }),
    });
    let mut checked = checked.unwrap_or_else(|error| {
        let over = matches!(error, ReadError::Budget { .. });
        let report = CheckReport::unknown(error.to_string());
        let status = if over { 2 } else { REFUSED };
        Checked::new(args.spec, report, status, 0)
    });
    checked.seconds = started.elapsed().as_secs_f64();
    checked
}

fn check_source(
    args: &CheckArgs,
    source: &Source,
    meter: &mut Meter,
) -> Result<Checked, ReadError> {
    if let Some((spec, report)) = stream::check(args, source, meter) {
        let ops = report.details.get("lines").and_then(Value::as_u64).unwrap_or(0) as usize;
        let status = status_of(&report);
        let shown = stream::witness(source, &report, meter);
        let mut checked = Checked { shown, ..Checked::new(Some(spec), report, status, ops) };
        if args.spec.is_none() {
            checked
                .notes
                .push("judged as register, for its first operations are read and write".to_owned());
        }
        checked.notes.extend(source.note_of_cut());
        return Ok(checked);
    }
    Ok(check_in_full(args, source, meter)?.0)
}

/// With the history in hand.
fn check_in_full(
    args: &CheckArgs,
    source: &Source,
    meter: &mut Meter,
) -> Result<(Checked, History), ReadError> {
    let Loaded { history, by_time, notes } = source.load(&args.input.options(), meter)?;
    let mut checked = judge(args, &history, &meter.left());
    checked.notes.splice(0..0, notes);
    if let Some(by_time) = by_time {
        checked.agree(&judge(args, &by_time, &meter.left()));
    }
    Ok((checked, history))
}

fn judge(args: &CheckArgs, history: &History, budget: &Budget) -> Checked {
    let meter = budget.start();
    let mut notes = Vec::new();
    let spec =
        match args.spec.map_or_else(|| guess(history), |spec| Guess::Spec(spec, String::new())) {
            Guess::Spec(spec, why) => {
                notes.extend(Some(why).filter(|why| !why.is_empty()));
                spec
            }
            Guess::None(why) => {
                // It may be a sound history of something that is not judged here.
                let is_some = history.pairs().next().is_some();
                let report = CheckReport::unknown(why);
                let status = if is_some { status_of(&report) } else { REFUSED };
                return Checked::new(None, report, status, history.len());
            }
        };
    let mut checked = Checked::new(Some(spec), CheckReport::unknown(""), REFUSED, history.len());
    checked.notes = notes;
    if spec.needs_unique_values() {
        // A torn end is fine: what is there can be judged.
        let rules = WellFormed { whole: false, ..WellFormed::default() };
        let sound = check_safe(&rules, history, &meter.left());
        if sound.verdict() == Verdict::Invalid {
            let reason = sound.reason.clone().unwrap_or_default();
            checked.report = sound.doubted(format!("the history is not well-formed: {reason}"));
            return checked;
        }
    }
    let checker = match (spec.name(), args.quorum, &args.initial) {
        ("staleness", quorum, None) => Box::new(Staleness { quorum, ..Staleness::default() }),
        (_, _, None) => spec.checker(),
        (_, _, Some(initial)) => match spec.beginning_with(&value_of(initial)) {
            Ok(checker) => checker,
            Err(why) => {
                checked.report = CheckReport::unknown(format!("--initial {initial}: {why}"));
                return checked;
            }
        },
    };
    checked.report = none_of_its_own(&*checker, history)
        .unwrap_or_else(|| check_safe(&*checker, history, &meter.left()));
    if checked.report.verdict() == Verdict::Invalid && !args.minimize {
        checked.shown = explain::witness_in_words(history, &checked.report.witness());
    } else if checked.report.verdict() == Verdict::Invalid {
        let within = meter.within((2 * meter.elapsed()).max(SHRINKING));
        let budget = Budget { time: within.remaining(), ..meter.left() };
        checked.minimal = shrink(history, &*checker, &checked.report, &budget);
    }
    checked.status = status_of(&checked.report);
    checked
}

/// The refusal of a history that has operations, and none that is the checker's.
fn none_of_its_own(checker: &dyn Checker, history: &History) -> Option<CheckReport> {
    let own = checker.operations()?;
    let has: BTreeSet<&str> = history.pairs().map(|pair| pair.f()).collect();
    if has.is_empty() || own.iter().any(|f| has.contains(f)) {
        return None;
    }
    let (name, own, has) = (checker.name(), listed(own.iter().copied()), listed(has));
    Some(CheckReport::refused(format!("{name} judges {own}, and there is none: it has {has}")))
}

/// A value as people give it: JSON, or else a text.
fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn status_of(report: &CheckReport) -> u8 {
    match report.verdict() {
        _ if report.is_refused() => REFUSED,
        Verdict::Valid => 0,
        Verdict::Invalid => 1,
        Verdict::Unknown => 2,
    }
}

/// What is wrong may be shrunk for twice as long as it took to find, and for so long at least.
const SHRINKING: Duration = Duration::from_secs(1);

fn shrink(
    history: &History,
    checker: &dyn Checker,
    report: &CheckReport,
    budget: &Budget,
) -> Option<String> {
    let minimal = minimize_found(history, checker, report, budget)?;
    let mut text = explain::minimal_in_words(&minimal);
    if !minimal.is_minimal {
        text.push_str("(out of budget: it may be possible to make it smaller)\n");
    }
    Some(text)
}

impl Checked {
    fn new(spec: Option<Spec>, report: CheckReport, status: u8, ops: usize) -> Self {
        Self {
            spec,
            report,
            status,
            ops,
            seconds: 0.0,
            minimal: None,
            notes: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// The same history in the order of times must be judged the same, or nothing is known.
    fn agree(&mut self, by_time: &Self) {
        if self.status == by_time.status {
            return;
        }
        let reason = format!(
            "the lines go back in time, and no :index tells the order of events: {} in the order of \
             the lines (--order lines), {} in that of the times (--order time)",
            self.report.verdict(),
            by_time.report.verdict()
        );
        self.report = CheckReport::unknown(reason);
        self.minimal = None;
        self.shown.clear();
        self.status = BROKEN;
    }

    fn json(&self, file: &Path) -> String {
        let body = json!({
            "file": file.to_string_lossy(),
            "spec": self.spec.map(Spec::name),
            "judged": self.report.judged(),
            "ops": self.ops,
            "seconds": self.seconds,
            "peak_bytes": peak_bytes(),
            "witness": self.report.witness(),
            "reason": self.report.reason,
            "minimal": self.minimal,
            "notes": self.notes,
            "operations": self.shown,
            "details": self.report.details,
        });
        document("check", Some(self.report.verdict().as_str()), body)
    }

    fn text(&self, file: &Path) -> String {
        let spec = self.spec.map_or("no spec", Spec::name);
        let mut text = format!(
            "{}: {} ({spec}, {} lines, {} judged, {:.3} s)\n",
            file.display(),
            self.report.verdict(),
            self.ops,
            self.report.judged(),
            self.seconds
        );
        if let Some(reason) = &self.report.reason {
            text.push_str(&format!("  {reason}\n"));
        }
        for note in &self.notes {
            text.push_str(&format!("  note: {note}\n"));
        }
        if let Some(Value::Object(left_out)) = self.report.details.get("left_out") {
            let counts = left_out.iter().map(|(what, n)| format!("{n} {}", what.replace('_', " ")));
            text.push_str(&format!("  left out: {}\n", counts.collect::<Vec<_>>().join(", ")));
        }
        let minimal = self.minimal.iter().flat_map(|minimal| minimal.lines());
        for line in minimal.chain(self.shown.iter().map(String::as_str)) {
            text.push_str(&format!("  {line}\n"));
        }
        text
    }
}
