//! Searches a scenario and reports what came of it, human-readable and as JSON.

use std::path::Path;
use std::time::Duration;

use dynamo_sim::trace::Trace;
use serde::Serialize;

use crate::properties::{Kind, PROPERTIES, Property};
use crate::scenarios::scenario::{Expected, Scenario};
use crate::search::engine::{Budget, Compact, Outcome, Progress, Search};
use crate::traces::path::PathError;
use crate::world::model::DynamoModel;
use crate::world::spec::SpecError;
use crate::world::state::Action;

/// What a search came to, in the form it is reported in.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// What was searched: the cluster, the script and the budgets of faults.
    pub bounds: String,
    /// Every reachable state was seen.
    pub complete: bool,
    /// As expected: nothing that must hold is broken, all that must be found was.
    pub as_expected: bool,
    /// Different states.
    pub states: usize,
    /// Generated, repeated ones included.
    pub generated: u64,
    /// The longest shortest path.
    pub depth: usize,
    /// Wall time.
    pub seconds: f64,
    /// Kept for each state for good.
    pub bytes_per_state: f64,
    /// By name.
    pub properties: std::collections::BTreeMap<&'static str, Judgement>,
}

/// What became of one property.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// In a word.
    pub verdict: Verdict,
    /// Whether that was expected.
    pub as_expected: bool,
    /// Where the property comes from.
    pub source: &'static str,
    /// How many steps the path that was found has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// A path to it, without steps it does not need.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
    /// The file with the same as a trace that `dyno replay` takes, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// A property's verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No state breaks it.
    Holds,
    /// One does.
    Violated,
    /// Some state shows it.
    Reached,
    /// None does.
    NotReached,
}

/// A scenario searched.
pub struct Checked {
    /// The model.
    pub model: DynamoModel,
    /// What the search came to.
    pub outcome: Outcome<Action>,
    /// How to report it.
    pub report: Report,
}

/// Where a search is kept, so that it can go on another day.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep<'a> {
    /// Write a checkpoint here every so often, and at the end of the budget.
    pub checkpoint: Option<&'a Path>,
    /// Go on from this one.
    pub resume: Option<&'a Path>,
}

/// Between two checkpoints: a search that is killed loses no more than this.
const EVERY: Duration = Duration::from_secs(60);

/// Searches `scenario` within `budget`.
///
/// # Errors
/// If the core refuses the configuration.
pub fn check(
    scenario: &Scenario,
    budget: &Budget,
    progress: &mut dyn FnMut(Progress),
) -> Result<Checked, SpecError> {
    check_beside(scenario, None, budget, progress)
}

/// The same, with what the model of an earlier search has computed, where the two differ in what may go wrong
/// alone.
///
/// # Errors
/// If the core refuses the configuration.
pub fn check_beside(
    scenario: &Scenario,
    kin: Option<&DynamoModel>,
    budget: &Budget,
    progress: &mut dyn FnMut(Progress),
) -> Result<Checked, SpecError> {
    let model = DynamoModel::beside(scenario.spec.clone(), kin)?;
    let outcome = Search::new(&model, PROPERTIES.len()).run(budget, progress);
    let outcome = shortened(&model, outcome);
    let report = report(scenario, &model, &outcome);
    Ok(Checked { model, outcome, report })
}

/// The same, of a search that is kept. The budget's time is that of this run alone.
///
/// # Errors
/// If the core refuses the configuration, or a checkpoint cannot be read or written.
pub fn check_kept(
    scenario: &Scenario,
    budget: &Budget,
    keep: Keep<'_>,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Checked> {
    let model = DynamoModel::new(scenario.spec.clone())?;
    let what = scenario.spec.label();
    let outcome = search_kept(&model, PROPERTIES.len(), &what, budget, keep, progress)?;
    let outcome = shortened(&model, outcome);
    let report = report(scenario, &model, &outcome);
    Ok(Checked { model, outcome, report })
}

/// Searches any model so; `what` says which search the checkpoints are of.
pub(crate) fn search_kept<M: Compact>(
    model: &M,
    properties: usize,
    what: &str,
    budget: &Budget,
    keep: Keep<'_>,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Outcome<M::Action>> {
    let mut search = match keep.resume {
        Some(path) => Search::resume(model, properties, path, what)?,
        None => Search::new(model, properties),
    };
    let end = search.before.saturating_add(budget.time);
    loop {
        let slice = if keep.checkpoint.is_some() { EVERY } else { Duration::MAX };
        let time = search.before.saturating_add(slice).min(end);
        let outcome = search.run(&Budget { time, ..*budget }, progress);
        if let Some(path) = keep.checkpoint {
            search.save(path, what)?;
        }
        let spent = outcome.progress.elapsed >= end
            || outcome.progress.states >= budget.states
            || outcome.progress.memory >= budget.memory
            || (budget.stop)();
        if outcome.complete || spent {
            return Ok(outcome);
        }
    }
}

fn shortened(model: &DynamoModel, mut outcome: Outcome<Action>) -> Outcome<Action> {
    for (property, path) in outcome.found.iter_mut().enumerate() {
        *path = path.take().map(|path| model.shorten(path, property));
    }
    outcome
}

/// What `outcome` means for `scenario`.
pub(crate) fn report(
    scenario: &Scenario,
    model: &DynamoModel,
    outcome: &Outcome<Action>,
) -> Report {
    let judged = PROPERTIES.iter().zip(&outcome.found).map(|(property, path)| {
        let trace = path.as_ref().map_or_else(Vec::new, |path| model.trace(path));
        let (kind, expected) = (property.kind, scenario.expects(property));
        let steps = path.as_ref().map(Vec::len);
        let judgement =
            Judgement::new(kind, expected, outcome.complete, steps, property.source, trace);
        (property.name, judgement)
    });
    Report::new(&scenario.name, scenario.spec.label(), outcome, judged.collect())
}

impl Judgement {
    /// Of a property that was found in so many steps, or not at all in a search that is complete or not.
    pub(crate) fn new(
        kind: Kind,
        expected: Expected,
        complete: bool,
        steps: Option<usize>,
        source: &'static str,
        trace: Vec<String>,
    ) -> Self {
        let verdict = match (kind, steps) {
            (Kind::Always, None) => Verdict::Holds,
            (Kind::Always, Some(_)) => Verdict::Violated,
            (Kind::Sometimes, Some(_)) => Verdict::Reached,
            (Kind::Sometimes, None) => Verdict::NotReached,
        };
        let as_expected = match (expected, steps) {
            (Expected::Absent, steps) => steps.is_none(),
            (Expected::Present(least), Some(steps)) => steps >= least,
            // What was not found may lie in the part that was not searched.
            (Expected::Present(_), None) => !complete,
            (Expected::Either, _) => true,
        };
        Self { verdict, as_expected, source, steps, trace, file: None }
    }
}

fn seconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}

impl Checked {
    /// The path on which `property` was found, if it was, as a trace that says which property it is of.
    ///
    /// # Errors
    /// If the path has no trace.
    #[must_use]
    pub fn trace_of(&self, property: &Property) -> Option<Result<Trace, PathError>> {
        let at = PROPERTIES.iter().position(|other| other.name == property.name)?;
        let path = self.outcome.found[at].as_ref()?;
        let name = format!("{}: {}", self.report.scenario, property.name);
        Some(self.model.to_trace(path, &name).map(|mut trace| {
            trace.property = Some(dynamo_sim::trace::Property {
                name: property.name.to_owned(),
                source: property.source.to_owned(),
                is_broken: property.kind == Kind::Always,
                settings: self.report.bounds.clone(),
                story: self.model.trace(path),
            });
            trace
        }))
    }

    /// Writes every path that was found as a trace into `folder`: `SCENARIO-PROPERTY.json`.
    ///
    /// # Errors
    /// If a path has no trace, or the file system refuses.
    pub fn write_traces(&mut self, folder: &Path) -> anyhow::Result<()> {
        use anyhow::Context as _;
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        for property in PROPERTIES {
            let name = format!("{}: {}", self.report.scenario, property.name);
            let trace = match self.trace_of(property) {
                None => continue,
                Some(Ok(trace)) => trace,
                Some(Err(PathError::NoWord(what))) => {
                    let why = format!("{name}: no trace, the format has no word for {what}");
                    dyno_command::output::note(why);
                    continue;
                }
                Some(Err(error)) => return Err(error).context(name),
            };
            let scenario = self.report.scenario.replace([' ', ',', '='], "-");
            let file = folder.join(format!("{scenario}-{}.json", property.name));
            std::fs::write(&file, trace.to_json()).with_context(|| file.display().to_string())?;
            if let Some(judgement) = self.report.properties.get_mut(property.name) {
                judgement.file = Some(file.display().to_string());
            }
        }
        Ok(())
    }
}

impl Report {
    /// Of the search of `scenario` within `bounds`.
    pub(crate) fn new<A>(
        scenario: &str,
        bounds: String,
        outcome: &Outcome<A>,
        properties: std::collections::BTreeMap<&'static str, Judgement>,
    ) -> Self {
        Self {
            scenario: scenario.to_owned(),
            bounds,
            complete: outcome.complete,
            as_expected: properties.values().all(|judgement| judgement.as_expected),
            states: outcome.progress.states,
            generated: outcome.progress.generated,
            depth: outcome.progress.depth,
            seconds: seconds(outcome.progress.elapsed),
            bytes_per_state: (outcome.bytes_per_state * 10.0).round() / 10.0,
            properties,
        }
    }

    /// Human-readable: what came of it in a word, what holds within which bounds, and a line for each
    /// thing that was found or is not as expected.
    #[must_use]
    pub fn to_text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let end = if self.complete { "complete" } else { "NOT complete" };
        let _ = writeln!(
            text,
            "{:7} {}: {} states of {} generated, depth {}, {:.1} s, {end}",
            self.word(),
            self.scenario,
            self.states,
            self.generated,
            self.depth,
            self.seconds
        );
        let _ = writeln!(text, "        searched: {}", self.bounds);
        let holds = self.properties.iter().filter(|(_, it)| it.verdict == Verdict::Holds);
        let holds: Vec<&str> = holds.map(|(name, _)| *name).collect();
        let how = if self.complete { "holds" } else { "not broken so far" };
        let _ = writeln!(text, "        {how}: {}", holds.join(", "));
        for (name, judgement) in &self.properties {
            let steps = judgement.steps.map_or(String::new(), |steps| format!(" in {steps} steps"));
            let word = match judgement.verdict {
                Verdict::Holds => continue,
                Verdict::NotReached if judgement.as_expected => continue,
                Verdict::Violated => "violated",
                Verdict::Reached => "reached",
                Verdict::NotReached => "not reached",
            };
            let surprise = if judgement.as_expected { "" } else { "  <- not as it must be" };
            let _ = writeln!(text, "        {name}: {word}{steps}{surprise}");
            if judgement.verdict == Verdict::Violated {
                for (at, step) in judgement.trace.iter().enumerate() {
                    let _ = writeln!(text, "          {:>2}. {step}", at + 1);
                }
            }
        }
        text
    }

    /// `ok` only where all was searched and nothing is broken.
    fn word(&self) -> &'static str {
        let broken = self.properties.values().any(|it| it.verdict == Verdict::Violated);
        match (self.as_expected, self.complete, broken) {
            (false, ..) => "FAIL",
            (true, _, true) => "broken",
            (true, false, false) => "unknown",
            (true, true, false) => "ok",
        }
    }
}
