//! Searches a scenario of the register and reports what came of it, as the other scenarios are.

use crate::properties::Kind;
use crate::register::model::{RegisterModel, Step};
use crate::register::properties::PROPERTIES;
use crate::register::scenarios::Scenario;
use crate::scenarios::check::{Judgement, Keep, Report, search_kept};
use crate::scenarios::scenario::Expected;
use crate::search::engine::{Budget, Outcome, Progress, Search};
use stateright::Model as _;

/// A scenario searched.
pub struct Checked {
    /// What the search came to.
    pub outcome: Outcome<Step>,
    /// How to report it.
    pub report: Report,
}

/// Searches `scenario` within `budget`.
#[must_use]
pub fn check(scenario: &Scenario, budget: &Budget, progress: &mut dyn FnMut(Progress)) -> Checked {
    let model = RegisterModel::new(scenario.bounds.clone());
    let outcome = Search::new(&model, PROPERTIES.len()).run(budget, progress);
    let report = report(scenario, &model, &outcome);
    Checked { outcome, report }
}

/// The same, of a search that is kept.
///
/// # Errors
/// If a checkpoint cannot be read or written.
pub(crate) fn check_kept(
    scenario: &Scenario,
    budget: &Budget,
    keep: Keep<'_>,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Checked> {
    let model = RegisterModel::new(scenario.bounds.clone());
    let what = scenario.bounds.label();
    let outcome = search_kept(&model, PROPERTIES.len(), &what, budget, keep, progress)?;
    let report = report(scenario, &model, &outcome);
    Ok(Checked { outcome, report })
}

fn report(scenario: &Scenario, model: &RegisterModel, outcome: &Outcome<Step>) -> Report {
    let judged = PROPERTIES.iter().zip(&outcome.found).map(|(property, path)| {
        let tell = |path: &Vec<Step>| path.iter().map(|step| model.format_action(step)).collect();
        let trace = path.as_ref().map_or_else(Vec::new, tell);
        let expected = match (property.kind, (property.promised)(&scenario.bounds)) {
            (Kind::Always, true) => Expected::Absent,
            (Kind::Sometimes, true) => Expected::Present(1),
            (Kind::Always | Kind::Sometimes, false) => Expected::Either,
        };
        let steps = path.as_ref().map(Vec::len);
        let judgement = Judgement::new(
            property.kind,
            expected,
            outcome.complete,
            steps,
            property.source,
            trace,
        );
        (property.name, judgement)
    });
    let judged = judged.collect();
    Report::new(scenario.name, scenario.bounds.label(), outcome, judged)
}
