//! What a search of the model came to, in the form it is kept in.

use std::collections::BTreeMap;

use dynamo_sim::trace::Trace;
use model::{
    Budget, DynamoModel, Kind, PROPERTIES, PathError, Progress, Scenario, Spec, check_beside,
};
use serde::{Deserialize, Serialize};

use crate::sources;

/// A search, and all that it found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The core's sources: a hash.
    pub core: String,
    /// Those of what searched it.
    pub model: String,
    /// What was searched: cluster, script, budgets of faults.
    pub bounds: String,
    /// What clients did.
    pub script: String,
    /// Every reachable state was seen.
    pub complete: bool,
    /// Different states.
    pub states: usize,
    /// Looked for within so many: with no more of them a search would not come further.
    #[serde(default)]
    pub bound: usize,
    /// The longest shortest path, in moves of the search.
    pub depth: usize,
    /// Wall time.
    pub seconds: f64,
    /// By the names of the model's properties: those that were found broken, or reached.
    pub found: BTreeMap<String, Found>,
}

/// A path to where a property was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// How many steps it has.
    pub steps: usize,
    /// Its steps in words; left out of what only had to be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub story: Vec<String>,
    /// The same for `dyno replay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untraceable: Option<String>,
}

/// Reached, and yet a counterexample to what a property says.
const COUNTEREXAMPLES: &[&str] = &["a-get-shows-siblings", "a-get-shows-three-siblings"];

impl Evidence {
    /// Searches `spec`.
    ///
    /// # Errors
    /// If the core refuses it.
    pub fn gather(
        spec: &Spec,
        budget: &Budget,
        progress: &mut dyn FnMut(Progress),
    ) -> anyhow::Result<Self> {
        Self::gather_beside(spec, None, budget, progress).map(|(evidence, _)| evidence)
    }

    /// The same, with what the model of an earlier search has computed; and the model, for the next one.
    ///
    /// # Errors
    /// If the core refuses it.
    pub(crate) fn gather_beside(
        spec: &Spec,
        kin: Option<&DynamoModel>,
        budget: &Budget,
        progress: &mut dyn FnMut(Progress),
    ) -> anyhow::Result<(Self, DynamoModel)> {
        let scenario = Scenario::of(spec.clone());
        let checked = check_beside(&scenario, kin, budget, progress)?;
        let gave_up = (budget.hopeless)(&checked.outcome.layers, budget.states);
        let (report, mut found) = (&checked.report, BTreeMap::new());
        for (property, path) in PROPERTIES.iter().zip(&checked.outcome.found) {
            let Some(path) = path else { continue };
            let mut it =
                Found { steps: path.len(), story: Vec::new(), trace: None, untraceable: None };
            if property.kind == Kind::Always || COUNTEREXAMPLES.contains(&property.name) {
                it.story = checked.model.trace(path);
                match checked.trace_of(property) {
                    Some(Ok(trace)) => it.trace = Some(trace),
                    Some(Err(PathError::NoWord(what))) => {
                        it.untraceable =
                            Some(format!("the format of traces has no word for {what}"));
                    }
                    // A gap of the model's, which finds the path all the same: the cell says so.
                    Some(Err(error)) => it.untraceable = Some(error.to_string()),
                    None => {}
                }
            }
            found.insert(property.name.to_owned(), it);
        }
        let evidence = Self {
            core: sources::core(),
            model: sources::model().to_owned(),
            bounds: report.bounds.clone(),
            script: spec.script.to_string(),
            complete: report.complete,
            states: report.states,
            bound: if gave_up { budget.states } else { report.states },
            depth: report.depth,
            seconds: report.seconds,
            found,
        };
        Ok((evidence, checked.model))
    }

    /// Whether it is of the core that this is built with, searched by the model that it is built with.
    #[must_use]
    pub fn is_of_this_core(&self) -> bool {
        self.core == sources::core() && self.model == sources::model()
    }

    /// Whether all of these were reached.
    pub(crate) fn reached(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.found.contains_key(*name))
    }

    /// The shortest path to any of these, with its name.
    pub(crate) fn shortest<'a>(&'a self, names: &[&'a str]) -> Option<(&'a str, &'a Found)> {
        let found = names.iter().filter_map(|name| Some((*name, self.found.get(*name)?)));
        found.min_by_key(|(_, found)| found.steps)
    }
}
