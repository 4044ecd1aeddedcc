//! The page of a run, `report.html` in its folder: made last, of the verdict and the history. That it could
//! not be made is told, and changes no verdict.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use checker::cli::{CheckArgs, Seen, Spec};
use checker::history::History;
use checker::verdict::{CheckReport, Verdict};
use dynamo_protocol::{Settings, Versioning};
use dyno_command::output;
use dyno_page::{FaultRow, Part, Subject};

use crate::cli::quoted;
use crate::run::nodes;
use crate::run::report::said;
use crate::run::setup::Setup;
use crate::run::verdict::Document;
use crate::simulated::replay::Judged;
use crate::simulated::run::Violation;

/// Its name in the folder of a run.
pub const NAME: &str = "report.html";

/// The three verdicts of a run, and what each answers.
pub(super) const THREE: [(&str, &str); 3] = [
    ("property", "did the store keep its promises?"),
    ("coverage", "was it tried hard enough?"),
    ("harness", "did the run itself work?"),
];

/// Writes the page of a run into its folder, or says why there is none.
pub fn write(document: &Document, history: &History, dir: &Path, notes: Vec<String>) {
    let witness = dyno_page::witness(&document.checks, history);
    let messages = nodes::messages(dir, &document.setup, history, &witness);
    let subject = Subject { notes, messages, ..subject(document, dir) };
    put(&subject, history, &dir.join(NAME));
}

/// Writes a page, or says why there is none; whether there is one.
pub fn put(subject: &Subject, history: &History, path: &Path) -> bool {
    let made = catch_unwind(AssertUnwindSafe(|| dyno_page::html(subject, history)));
    let written = match made {
        Ok(html) => std::fs::write(path, html).map_err(|error| error.to_string()),
        Err(_) => Err("making it failed".to_owned()),
    };
    if let Err(error) = &written {
        output::refuse(format_args!("no page: {}: {error}", path.display()));
    }
    written.is_ok()
}

/// The page of a history of which `dyno check` was told to make one.
pub fn of_history(args: &CheckArgs, seen: &Seen<'_>) {
    let Some(path) = &args.report else { return };
    let verdict = seen.report.verdict();
    let spec = seen.spec.map_or("no spec", Spec::name);
    let headline = match verdict {
        Verdict::Valid => format!("the history keeps what {spec} asks"),
        Verdict::Invalid => format!("the history breaks what {spec} asks"),
        Verdict::Unknown => "this cannot be told".to_owned(),
    };
    let reasons = seen.report.reason.iter().filter(|_| verdict != Verdict::Valid).cloned();
    let file = seen.file.display().to_string();
    let again = seen.spec.map_or_else(String::new, |spec| format!(" --spec {}", spec.name()));
    let question = seen.spec.map_or_else(String::new, |spec| spec.what().to_owned());
    let lines = seen.history.len();
    let facts = [
        ("history", file.clone()),
        ("spec", spec.to_owned()),
        ("lines", lines.to_string()),
        ("judged", seen.report.judged().to_string()),
    ];
    let subject = Subject {
        name: seen.file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        verdict: Some(verdict),
        headline,
        verdicts: vec![Part {
            name: spec.to_owned(),
            question,
            verdict,
            reasons: reasons.collect(),
        }],
        facts: facts.map(|(name, what)| (name.to_owned(), what)).to_vec(),
        again: Some(format!("dyno check {}{again}", quoted(&file))),
        checks: [(spec.to_owned(), seen.report.clone())].into(),
        notes: seen.notes.to_vec(),
        ..Subject::default()
    };
    put(&subject, seen.history, path);
}

/// The page of a simulated run that was kept, or of a trace that was replayed.
pub fn of_simulated(name: &str, again: &str, judged: &Judged, path: &Path) -> bool {
    let Judged { violations, reports, history, messages, .. } = judged;
    let mut all: BTreeMap<String, CheckReport> = reports.iter().cloned().collect();
    for Violation { check, what, .. } in violations {
        // What only the simulator sees is no checker's report.
        all.entry(check.clone()).or_insert_with(|| CheckReport::invalid(what.clone()));
    }
    let verdict = match (&violations[..], all.is_empty()) {
        ([], true) => Verdict::Unknown,
        ([], false) => Verdict::all(all.values().map(CheckReport::verdict)),
        (_, _) => Verdict::Invalid,
    };
    let reasons = violations.iter().map(|found| format!("{}: {}", found.check, found.what));
    let question = "did the simulated store keep its promises?".to_owned();
    let reasons = reasons.collect();
    let subject = Subject {
        name: name.to_owned(),
        verdict: Some(verdict),
        headline: said(verdict).to_owned(),
        verdicts: vec![Part { name: "property".to_owned(), question, verdict, reasons }],
        facts: vec![("time".to_owned(), "virtual: that of the simulator".to_owned())],
        again: Some(again.to_owned()),
        messages: messages.of(history, &dyno_page::witness(&all, history)),
        checks: all,
        ..Subject::default()
    };
    put(&subject, history, path)
}

/// What the page of a run says beside its history.
fn subject(document: &Document, dir: &Path) -> Subject {
    Subject {
        name: format!("{}, seed {}", document.plan, document.seed),
        verdict: Some(document.verdict),
        headline: said(document.verdict).to_owned(),
        verdicts: verdicts(document),
        facts: facts(document),
        hint: hint(&document.setup.cluster.settings),
        again: Some(document.again.clone()),
        checks: document.checks.clone(),
        faults: document.faults.iter().map(|(name, fault)| row(name.as_str(), fault)).collect(),
        messages: Vec::new(),
        counters: document.counters.iter().map(|(name, n)| (name.clone(), *n)).collect(),
        links: links(dir),
        notes: Vec::new(),
    }
}

fn verdicts(document: &Document) -> Vec<Part> {
    let reasons = &document.reasons;
    let said = [
        (document.property, &reasons.property),
        (document.coverage, &reasons.coverage),
        (document.harness, &reasons.harness),
    ];
    let parts = THREE.iter().zip(said);
    parts.map(|((name, _), (verdict, reasons))| part(name, verdict, reasons.clone())).collect()
}

/// One of the [`THREE`] verdicts.
pub(super) fn part(name: &str, verdict: Verdict, reasons: Vec<String>) -> Part {
    let question = THREE.iter().find(|(of, _)| *of == name).map_or("", |(_, question)| question);
    Part { name: name.to_owned(), question: question.to_owned(), verdict, reasons }
}

fn facts(document: &Document) -> Vec<(String, String)> {
    let cluster = &document.setup.cluster;
    let Settings { n, r, w, quorum, versioning, read, .. } = cluster.settings;
    let (ops, latency) = (document.ops, document.latency_ms);
    let faults: Vec<_> = document.setup.faults.iter().map(|name| name.as_str()).collect();
    let faults = if faults.is_empty() { "none".to_owned() } else { faults.join(", ") };
    let facts = [
        ("plan", document.plan.clone()),
        ("cluster", format!("{} nodes, {}", cluster.nodes, cluster.kind)),
        ("N / R / W", format!("{n} / {r} / {w}")),
        ("modes", format!("{quorum} quorum, {versioning} versions, {read} reads")),
        ("faults", faults),
        ("seed", document.seed.to_string()),
        ("by", by(&document.setup)),
        ("ran", format!("{:.1} s, from {}", document.seconds, document.setup.began)),
        ("operations", format!("{} ok, {} failed, {} unknown", ops.ok, ops.fail, ops.info)),
        ("latency", format!("p50 {:.1} ms, p99 {:.1} ms", latency.p50, latency.p99)),
    ];
    facts.map(|(name, what)| (name.to_owned(), what)).to_vec()
}

/// The program, as far as it is known.
fn by(setup: &Setup) -> String {
    let commit: Option<String> =
        setup.commit.as_ref().map(|commit| commit.chars().take(10).collect());
    let commit = commit.map(|commit| format!(", commit {commit}")).unwrap_or_default();
    let changed = if setup.changed { " and changes" } else { "" };
    format!("dyno {}{commit}{changed}", setup.dyno)
}

/// What explains losses to who does not know the modes.
pub(super) fn hint(settings: &Settings) -> Option<String> {
    let hint = match settings.versioning {
        Versioning::Dotted => return None,
        Versioning::Lww => {
            "These nodes keep the last writer only (--versioning lww): of two puts made at a time, without \
             knowledge of each other, one replaces the other, and both are acknowledged."
        }
        Versioning::Paper => {
            "These nodes keep plain vector clocks (--versioning paper): of two puts that the same node \
             coordinates for clients that saw the same, the second looks like a successor of the first."
        }
    };
    Some(hint.to_owned())
}

fn row(name: &str, fault: &crate::run::coverage::FaultCoverage) -> FaultRow {
    FaultRow {
        name: name.to_owned(),
        injected: fault.installed,
        proven: fault.proven,
        healed: fault.healed,
        skipped: fault.skipped,
        gets_ok: fault.ok_gets_during,
        puts_ok: fault.ok_puts_during,
    }
}

/// What lies beside the page.
fn links(dir: &Path) -> Vec<(String, String)> {
    let files = [
        ("verdict.json", "the verdicts, why, and all numbers"),
        ("history.jsonl", "everything clients and the nemesis did, a line each"),
        ("plan.toml", "the plan with every setting and the seed"),
        ("trace.json", "every step of the simulated cluster"),
    ];
    let files = files.iter().filter(|(name, _)| dir.join(name).exists());
    let mut links: Vec<(String, String)> =
        files.map(|(name, what)| ((*what).to_owned(), (*name).to_owned())).collect();
    let logs = std::fs::read_dir(dir.join("logs")).into_iter().flatten().flatten();
    let mut logs: Vec<PathBuf> = logs.map(|entry| PathBuf::from(entry.file_name())).collect();
    logs.sort();
    let logs = logs.iter().filter_map(|name| name.to_str());
    links.extend(logs.map(|name| ("log".to_owned(), format!("logs/{name}"))));
    links
}
