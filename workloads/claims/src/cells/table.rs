//! The table of a setting: every property under every class of faults.

use model::Spec;

use super::cell::{Bounded, Cell, Known, Proof, Refutation};
use crate::column::{Column, Outside};
use crate::property::Property;
use crate::search::evidence::Evidence;
use crate::search::query::{Query, queries};
use crate::search::work::Gathered;
use crate::setting::Setting;

/// A setting with all its cells.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Table {
    /// The setting.
    pub setting: Setting,
    /// R + W - N.
    pub margin: isize,
    /// Row by row.
    pub cells: Vec<Cell>,
}

/// Two cells that cannot both be right: a bug of the model, of a reduction, or of this table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction(pub String);

/// All searches of a setting, in these columns.
#[must_use]
pub fn specs(setting: &Setting, columns: &[Column]) -> Vec<Spec> {
    let all = columns.iter().flat_map(|column| queries(setting, *column).unwrap_or_default());
    all.map(|query| query.spec).collect()
}

impl Table {
    /// Of what was gathered for `setting`.
    #[must_use]
    pub fn of(setting: &Setting, gathered: &Gathered) -> Self {
        let mut cells = Vec::new();
        for property in Property::ALL {
            for column in Column::ALL {
                cells.push(judge(setting, *property, *column, gathered));
            }
        }
        let mut table = Self { setting: *setting, margin: setting.margin(), cells };
        table.fill();
        table.derive();
        table
    }

    /// The cell of a property under a class of faults.
    ///
    /// # Panics
    /// Never: a table has all cells.
    #[must_use]
    pub fn cell(&self, property: Property, column: Column) -> &Cell {
        let mut cells = self.cells.iter();
        let found = cells.find(|cell| cell.property == property && cell.column == column);
        found.expect("a table has all cells")
    }

    fn set(&mut self, property: Property, column: Column, cell: Cell) {
        let mut cells = self.cells.iter_mut();
        if let Some(old) = cells.find(|cell| cell.property == property && cell.column == column) {
            *old = cell;
        }
    }

    /// What is refuted stays so with more faults; what is proven stays so with fewer.
    fn fill(&mut self) {
        for property in Property::ALL {
            for column in Column::ALL {
                for less in column.includes() {
                    let (small, large) =
                        (self.cell(*property, *less), self.cell(*property, *column));
                    if tells_more(&small.known, &large.known) {
                        let filled = small.filled(*column);
                        self.set(*property, *column, filled);
                    }
                }
            }
            for column in Column::ALL.iter().rev() {
                for less in column.includes() {
                    let (small, large) =
                        (self.cell(*property, *less), self.cell(*property, *column));
                    if matches!(large.known, Known::Proven(_)) && is_open(&small.known) {
                        let filled = large.filled(*less);
                        self.set(*property, *less, filled);
                    }
                }
            }
        }
    }

    /// Rows that follow from others.
    fn derive(&mut self) {
        for column in Column::ALL {
            let causal = self.causal(*column);
            self.set(Property::Causal, *column, causal);
            let fresh = self.cell(Property::Fresh, *column).clone();
            for property in [Property::TStale, Property::KStale] {
                let cell = staleness(property, &fresh);
                self.set(property, *column, cell);
            }
        }
    }

    fn causal(&self, column: Column) -> Cell {
        let parts: Vec<_> =
            Property::SESSION.iter().map(|property| self.cell(*property, column)).collect();
        let broken = parts.iter().filter(|cell| matches!(cell.known, Known::Refuted(_)));
        let shortest = broken.min_by_key(|cell| cell.known.refutation().map(|it| it.steps));
        let from = |cell: &Cell| Cell { property: Property::Causal, ..cell.filled(column) };
        if let Some(cell) = shortest {
            return from(cell);
        }
        let proofs: Vec<_> = parts.iter().filter_map(|cell| cell.known.proof()).collect();
        match parts.iter().find(|cell| !matches!(cell.known, Known::Proven(_))) {
            Some(cell) => from(cell),
            None => {
                let by = parts.iter().map(|cell| cell.name()).collect::<Vec<_>>().join(" and ");
                let known = Known::Proven(Proof::all(&proofs));
                let stale = parts.iter().find_map(|cell| cell.stale.clone());
                Cell { by: Some(by), ..Cell::new(Property::Causal, column, known) }.staled(stale)
            }
        }
    }

    /// Pairs of cells that cannot both be right.
    #[must_use]
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        for cell in &self.cells {
            for less in cell.column.includes() {
                let small = self.cell(cell.property, *less);
                if contradict(&cell.known, &small.known) {
                    found.push(contradiction(&self.setting, small, &self.setting, cell));
                }
            }
        }
        found
    }

    /// The same across settings that differ in R and W alone.
    #[must_use]
    pub fn against(&self, other: &Self) -> Vec<Contradiction> {
        let (a, b) = (&self.setting, &other.setting);
        let is_less = Setting { r: b.r, w: b.w, ..*a } == *b && a.r <= b.r && a.w <= b.w && a != b;
        if !is_less {
            return Vec::new();
        }
        let grows = |cell: &&Cell| cell.property.grows_with_quorums(a.versioning);
        let own = self.cells.iter().filter(grows);
        let pairs = own.map(|cell| (cell, other.cell(cell.property, cell.column)));
        let wrong = pairs.filter(|(less, more)| contradict(&less.known, &more.known));
        wrong.map(|(less, more)| contradiction(b, more, a, less)).collect()
    }
}

/// Fills open cells of `tables` by those of settings that differ in R and W alone: what is refuted stays so
/// with less of both, what is proven stays so with more.
pub fn fill_across(tables: &mut [Table]) {
    let mut filled = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        for (place, cell) in table.cells.iter().enumerate() {
            let s = &table.setting;
            if !is_open(&cell.known) || !cell.property.grows_with_quorums(s.versioning) {
                continue;
            }
            let kin = tables.iter().filter(|other| {
                let o = &other.setting;
                Setting { r: s.r, w: s.w, ..*o } == *s && o != s
            });
            let tells = kin.filter_map(|other| {
                let o = &other.setting;
                let it = other.cell(cell.property, cell.column);
                let is_more = o.r >= s.r && o.w >= s.w;
                let is_less = o.r <= s.r && o.w <= s.w;
                let tells = match it.known {
                    Known::Refuted(_) => is_more,
                    Known::Proven(_) => is_less,
                    _ => false,
                };
                let far = o.r.abs_diff(s.r) + o.w.abs_diff(s.w);
                (tells && it.stale.is_none()).then_some((far, o, it))
            });
            if let Some((_, other, it)) = tells.min_by_key(|(far, ..)| *far) {
                let by = Some(format!("{} of {other}", it.source().unwrap_or_default()));
                filled.push((at, place, Cell { by, ..it.clone() }));
            }
        }
    }
    for (at, place, cell) in filled {
        tables[at].cells[place] = cell;
    }
    tables.iter_mut().for_each(Table::derive);
}

fn contradiction(s1: &Setting, refuted: &Cell, s2: &Setting, proven: &Cell) -> Contradiction {
    let (refuted_is, proven_is) = (refuted.wording(), proven.wording());
    Contradiction(format!(
        "{} of {s1} is {refuted_is}, and yet {} of {s2} is {proven_is}",
        refuted.name(),
        proven.name()
    ))
}

/// Whether what is refuted with less says more of a cell than the cell itself: that is open, or was proven by
/// searches in which clients did something else.
fn tells_more(less: &Known, more: &Known) -> bool {
    match (less, more) {
        (Known::Refuted(_), Known::Unrefuted { .. } | Known::NotSearched { .. }) => true,
        (Known::Refuted(path), Known::Proven(proof) | Known::HoldsIf { proof, .. }) => {
            !proof.covers(path)
        }
        _ => false,
    }
}

/// Whether one is proven where more can happen than on the path that refutes the other.
fn contradict(proven: &Known, refuted: &Known) -> bool {
    match (proven, refuted) {
        (Known::Proven(proof), Known::Refuted(path)) => proof.covers(path),
        _ => false,
    }
}

/// Whether another cell may tell more.
fn is_open(known: &Known) -> bool {
    matches!(known, Known::Unrefuted { .. } | Known::NotSearched { .. })
}

impl Cell {
    /// The same, of another column, by this one.
    fn filled(&self, column: Column) -> Self {
        Self { column, by: self.source(), ..self.clone() }
    }

    /// The cell that another one is filled from; what is not applicable is so by itself.
    fn source(&self) -> Option<String> {
        match self.known {
            Known::NotApplicable { .. } => None,
            _ => self.by.clone().or_else(|| Some(self.name())),
        }
    }

    fn staled(self, stale: Option<String>) -> Self {
        Self { stale, ..self }
    }
}

/// A fresh store is not stale by any t or k. Where it is not fresh no t is short enough: the message that a
/// get missed may be later than that; and how many puts it may miss the model does not tell.
fn staleness(property: Property, fresh: &Cell) -> Cell {
    let by = fresh.source();
    let known = match (&fresh.known, property) {
        (Known::Refuted(_), Property::KStale) => {
            let reason =
                "the model tells stale from fresh, not by how many puts: `dyno claims predict`";
            return Cell::new(
                property,
                fresh.column,
                Known::NotSearched { reason: reason.to_owned() },
            );
        }
        (known, _) => known.clone(),
    };
    Cell { by, ..Cell::new(property, fresh.column, known) }.staled(fresh.stale.clone())
}

fn judge(setting: &Setting, property: Property, column: Column, gathered: &Gathered) -> Cell {
    let queries = match queries(setting, column) {
        Ok(queries) => queries,
        Err(Outside::NotApplicable(reason)) => {
            let reason = reason.to_owned();
            return Cell::new(property, column, Known::NotApplicable { reason });
        }
        Err(Outside::NotSearched(reason)) => {
            let reason = reason.to_owned();
            return Cell::new(property, column, Known::NotSearched { reason });
        }
    };
    let searched: Vec<(&Query, &Evidence)> = queries
        .iter()
        .filter_map(|query| Some((query, gathered.get(&query.spec.label())?)))
        .collect();
    let known = known(property, column, &searched);
    let stale = searched.iter().find(|(_, evidence)| !evidence.is_of_this_core());
    Cell::new(property, column, known).staled(stale.map(|(_, evidence)| evidence.core.clone()))
}

/// What searches tell of a property.
fn known(property: Property, column: Column, searched: &[(&Query, &Evidence)]) -> Known {
    let condition = |query: &Query| query.breaks_condition(property);
    let (without, with): (Vec<_>, Vec<_>) =
        searched.iter().partition(|(query, _)| condition(query).is_some());
    if let Some(refutation) = shortest(property, &with) {
        return Known::Refuted(refutation);
    }
    let is_whole = |(query, evidence): &&(&Query, &Evidence)| {
        Proof::of(property, column, &[(evidence, query.spec.nodes)]).is_ok()
    };
    let whole: Vec<_> =
        with.iter().filter(is_whole).map(|(query, it)| (*it, query.spec.nodes)).collect();
    let Ok(proof) = Proof::of(property, column, &whole) else {
        return unproven(searched, &with);
    };
    for (query, evidence) in &without {
        let (Some(condition), Some((shows, found))) =
            (condition(query), evidence.shortest(property.refuted_by()))
        else {
            continue;
        };
        let without = Refutation::of(evidence, shows, found);
        return Known::HoldsIf { condition: condition.to_owned(), proof, without };
    }
    Known::Proven(proof)
}

fn shortest(property: Property, searched: &[(&Query, &Evidence)]) -> Option<Refutation> {
    let paths = searched.iter().filter_map(|(_, evidence)| {
        let (shows, found) = evidence.shortest(property.refuted_by())?;
        Some((evidence, shows, found))
    });
    let (evidence, shows, found) = paths.min_by_key(|(_, _, found)| found.steps)?;
    Some(Refutation::of(evidence, shows, found))
}

fn unproven(searched: &[(&Query, &Evidence)], with: &[(&Query, &Evidence)]) -> Known {
    let open = with.iter().filter(|(_, evidence)| !evidence.complete);
    let searches: Vec<_> = open
        .map(|(_, evidence)| Bounded {
            bounds: evidence.bounds.clone(),
            states: evidence.states,
            depth: evidence.depth,
        })
        .collect();
    if !searches.is_empty() {
        return Known::Unrefuted { searches, seeds: None };
    }
    let reason = if searched.is_empty() {
        "no evidence is kept, and none was looked for"
    } else {
        "no search came to where it could be broken"
    };
    Known::NotSearched { reason: reason.to_owned() }
}
