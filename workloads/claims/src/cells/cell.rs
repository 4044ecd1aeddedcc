//! A cell of the table: what is known of one property under one class of faults, and by what evidence.
//!
//! A cell is never blank. What is proven can be made of complete searches alone ([`Proof::of`]): there is
//! no other way to make a [`Proof`].

use serde::Serialize;

use crate::column::Column;
use crate::property::Property;
use crate::search::evidence::{Evidence, Found};
use crate::sources::short;

/// Complete searches that found nothing against a property, and each of which came to where it could have
/// been broken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proof {
    /// Most hosts of any of them.
    hosts: usize,
    /// What clients did, a script each.
    scripts: Vec<String>,
    /// What might go wrong.
    faults: String,
    /// Different states of all of them.
    states: usize,
    /// The event, reached in each, without which the property holds of nothing.
    witness: Vec<String>,
    /// The core's sources: a hash.
    core: String,
}

/// A path to where a property is broken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refutation {
    /// How many steps it has.
    pub steps: usize,
    /// The property of the model that its last step breaks.
    pub shows: String,
    /// What was searched.
    pub bounds: String,
    /// What clients did.
    pub script: String,
    /// Its steps in words.
    pub story: Vec<String>,
    /// Whether it is told as a trace, too, and if not why.
    pub untraceable: Option<String>,
    /// The core's sources: a hash.
    pub core: String,
    /// The same for `dyno replay`.
    #[serde(skip)]
    pub trace: Option<Box<dynamo_sim::trace::Trace>>,
}

/// A search that found nothing and did not come to its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bounded {
    /// What was searched.
    pub bounds: String,
    /// Different states.
    pub states: usize,
    /// How deep.
    pub depth: usize,
}

/// A share that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// What gets did: "fresh at 10 ms".
    pub what: String,
    /// Of the gets, how many did so.
    pub good: u64,
    /// How many gets there were.
    pub all: u64,
    /// Wilson's interval, 95 %.
    pub interval: [f64; 2],
    /// Where.
    pub of: String,
    /// The least and the most of what is predicted, if anything is.
    pub predicted: Option<[f64; 2]>,
}

/// What is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Known {
    /// Within bounds that are spelt out.
    Proven(Proof),
    /// By a path.
    Refuted(Refutation),
    /// Proven with a condition, refuted without.
    HoldsIf {
        /// The condition.
        condition: String,
        /// With it.
        proof: Proof,
        /// Without it.
        without: Refutation,
    },
    /// In runs.
    Measured {
        /// A share each.
        shares: Vec<Measured>,
    },
    /// Nothing was found, and not all was searched.
    Unrefuted {
        /// Where searches ended.
        searches: Vec<Bounded>,
        /// Simulated runs that found nothing either.
        #[serde(skip_serializing_if = "Option::is_none")]
        seeds: Option<u64>,
    },
    /// In simulated runs, where searches found nothing.
    Broken {
        /// In how many.
        count: u64,
        /// Of how many.
        of: u64,
        /// The command that runs the first of them.
        again: String,
    },
    /// It is about something that is not there.
    NotApplicable {
        /// What.
        reason: String,
    },
    /// Nobody has looked.
    NotSearched {
        /// Why not.
        reason: String,
    },
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Whose row.
    #[serde(serialize_with = "word")]
    pub property: Property,
    /// Whose column.
    #[serde(serialize_with = "word")]
    pub column: Column,
    /// What is known.
    #[serde(flatten)]
    pub known: Known,
    /// The cell it was filled from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The other core that the evidence is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<String>,
    /// What is known beside it, of another kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
}

fn word<S: serde::Serializer>(it: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(it)
}

/// Why searches prove nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoProof {
    /// There are none.
    Nothing,
    /// One did not come to its end.
    Open,
    /// One found it broken.
    Broken,
    /// One never came to where it could have been broken.
    Vacuous,
    /// They are of several cores.
    Cores,
}

impl Proof {
    /// Of searches, each with how many hosts it has.
    ///
    /// # Errors
    /// Why they prove nothing of `property`.
    pub fn of(
        property: Property,
        column: Column,
        searches: &[(&Evidence, usize)],
    ) -> Result<Self, NoProof> {
        let witness = property.witnesses();
        let (first, _) = searches.first().ok_or(NoProof::Nothing)?;
        for (search, _) in searches {
            if !search.complete {
                return Err(NoProof::Open);
            }
            if search.shortest(property.refuted_by()).is_some() {
                return Err(NoProof::Broken);
            }
            if witness.is_empty() || !search.reached(witness) || !meets(column, search) {
                return Err(NoProof::Vacuous);
            }
            if (&search.core, &search.model) != (&first.core, &first.model) {
                return Err(NoProof::Cores);
            }
        }
        let struck = struck(column).map(str::to_owned);
        Ok(Self {
            hosts: searches.iter().map(|(_, hosts)| *hosts).max().unwrap_or_default(),
            scripts: searches.iter().map(|(search, _)| search.script.clone()).collect(),
            faults: column.says().to_owned(),
            states: searches.iter().map(|(search, _)| search.states).sum(),
            witness: witness.iter().map(|name| (*name).to_owned()).chain(struck).collect(),
            core: first.core.clone(),
        })
    }

    /// All of several properties at once: what they have in common bounds it.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn all(proofs: &[&Self]) -> Self {
        let least = proofs.iter().min_by_key(|proof| proof.states);
        (*least.expect("several properties are some")).clone()
    }

    /// Within what bounds.
    #[must_use]
    pub fn bounds(&self) -> String {
        let Self { hosts, scripts, faults, states, .. } = self;
        let scripts = scripts.join(" ");
        format!("<= {hosts} hosts, 1 key; {scripts}; {faults} ({states} states, complete)")
    }

    /// Whether clients did the same in one of its searches as on a path that refutes: then both cannot be
    /// right, wherever less can happen on the path's side.
    #[must_use]
    pub fn covers(&self, refutation: &Refutation) -> bool {
        self.scripts.contains(&refutation.script)
    }

    /// What was reached.
    #[must_use]
    pub fn witness(&self) -> &[String] {
        &self.witness
    }

    /// The core's sources: a hash.
    #[must_use]
    pub fn core(&self) -> &str {
        &self.core
    }

    /// Different states.
    #[must_use]
    pub fn states(&self) -> usize {
        self.states
    }
}

/// What shows that a fault of the column came before an answer.
fn struck(column: Column) -> Option<&'static str> {
    match column {
        Column::None | Column::Clock => None,
        Column::Membership => Some("a-record-moves"),
        _ => Some("a-client-is-served-after-a-fault"),
    }
}

fn meets(column: Column, search: &Evidence) -> bool {
    struck(column).is_none_or(|name| search.reached(&[name]))
}

impl Refutation {
    /// By what `search` found.
    #[must_use]
    pub fn of(search: &Evidence, shows: &str, found: &Found) -> Self {
        Self {
            steps: found.steps,
            shows: shows.to_owned(),
            bounds: search.bounds.clone(),
            script: search.script.clone(),
            story: found.story.clone(),
            untraceable: found.untraceable.clone(),
            core: search.core.clone(),
            trace: found.trace.clone().map(Box::new),
        }
    }
}

impl Measured {
    /// The share itself.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.good as f64 / self.all.max(1) as f64
    }

    /// In full.
    #[must_use]
    pub fn wording(&self) -> String {
        let percent = |share: f64| format!("{:.2}", share * 100.0);
        let [low, high] = self.interval.map(percent);
        let predicted = match self.predicted.map(|ends| ends.map(percent)) {
            None => String::new(),
            Some([low, high]) if low == high => format!(", predicted {low} %"),
            Some([low, high]) => format!(", predicted {low}-{high} %"),
        };
        let Self { what, all, of, .. } = self;
        let share = percent(self.share());
        format!("MEASURED {share} % [{low}, {high}] of {all} gets {what}, {of}{predicted}")
    }
}

impl Known {
    /// The kind, where there is little room.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Self::Proven(_) => "PROVEN".to_owned(),
            Self::Refuted(it) => format!("REFUTED {}", it.steps),
            Self::HoldsIf { .. } => "HOLDS IF".to_owned(),
            Self::Measured { shares } => shares
                .first()
                .map_or("MEASURED".to_owned(), |it| format!("M {:.2} %", it.share() * 100.0)),
            Self::Unrefuted { .. } => "no c.ex.".to_owned(),
            Self::Broken { .. } => "REFUTED sim".to_owned(),
            Self::NotApplicable { .. } => "n/a".to_owned(),
            Self::NotSearched { .. } => "not run".to_owned(),
        }
    }

    /// One word, for classes and filters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Proven(_) => "proven",
            Self::Refuted(_) => "refuted",
            Self::HoldsIf { .. } => "holds-if",
            Self::Measured { .. } => "measured",
            Self::Unrefuted { .. } => "unrefuted",
            Self::Broken { .. } => "refuted",
            Self::NotApplicable { .. } => "not-applicable",
            Self::NotSearched { .. } => "not-searched",
        }
    }

    /// In full.
    #[must_use]
    pub fn wording(&self) -> String {
        match self {
            Self::Proven(proof) => format!("PROVEN {}", proof.bounds()),
            Self::Refuted(it) => format!("REFUTED in {} steps ({})", it.steps, it.bounds),
            Self::HoldsIf { condition, proof, without } => format!(
                "HOLDS IF {condition}: PROVEN {}; without, REFUTED in {} steps ({})",
                proof.bounds(),
                without.steps,
                without.bounds
            ),
            Self::Measured { shares } => {
                shares.iter().map(Measured::wording).collect::<Vec<_>>().join("; ")
            }
            Self::Unrefuted { searches, seeds } => unrefuted(searches, *seeds),
            Self::Broken { count, of, again } => {
                format!("REFUTED in {count} of {of} simulated runs, not by a search: {again}")
            }
            Self::NotApplicable { reason } => format!("NOT APPLICABLE: {reason}"),
            Self::NotSearched { reason } => format!("NOT SEARCHED: {reason}"),
        }
    }

    /// The path of what is refuted, with or without a condition.
    #[must_use]
    pub fn refutation(&self) -> Option<&Refutation> {
        match self {
            Self::Refuted(it) | Self::HoldsIf { without: it, .. } => Some(it),
            _ => None,
        }
    }

    /// What is proven, with or without a condition.
    #[must_use]
    pub fn proof(&self) -> Option<&Proof> {
        match self {
            Self::Proven(it) | Self::HoldsIf { proof: it, .. } => Some(it),
            _ => None,
        }
    }
}

fn unrefuted(searches: &[Bounded], seeds: Option<u64>) -> String {
    let told = searches.first().map(|it| {
        let Bounded { bounds, states, depth } = it;
        let more = match searches.len() {
            1 => String::new(),
            count => format!("; and {} more searches", count - 1),
        };
        format!("({bounds}: {states} states, ended at depth {depth}{more})")
    });
    match (seeds, told) {
        (None, told) => format!("NO COUNTEREXAMPLE, not proven {}", told.unwrap_or_default()),
        (Some(seeds), None) => format!("NO COUNTEREXAMPLE in {seeds} seeds, not proven"),
        (Some(seeds), Some(told)) => {
            format!("NO COUNTEREXAMPLE in {seeds} seeds, not proven {told}")
        }
    }
}

impl Cell {
    /// What is known of a property in a column.
    #[must_use]
    pub fn new(property: Property, column: Column, known: Known) -> Self {
        Self { property, column, known, by: None, stale: None, beside: None }
    }

    /// Its name: `fresh/crash`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.property, self.column)
    }

    /// The kind, where there is little room.
    #[must_use]
    pub fn short(&self) -> String {
        if self.stale.is_some() { "STALE".to_owned() } else { self.known.short() }
    }

    /// In full, with where it is from.
    #[must_use]
    pub fn wording(&self) -> String {
        let mut text = self.known.wording();
        if let Some(core) = &self.stale {
            text = format!("STALE, of core {}: {text}", short(core));
        }
        if let Some(by) = &self.by {
            text += &format!(", by {by}");
        }
        if let Some(beside) = &self.beside {
            text += &format!("; {beside}");
        }
        text
    }
}
