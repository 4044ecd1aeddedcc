//! What a night comes to: its verdict, why, and what was tried how often.

use std::collections::BTreeMap;

use dyno_command::{document, exit};
use serde::Serialize;

use super::night::{Night, Standing};
use super::outcome::{Found, Ops, Outcome, Proven};
use super::shard::Shard;
use super::unit::{Build, Mode, Role, Unit};

/// As many units of a kind are named in a reason.
const MOST_NAMED: usize = 3;

/// A night in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The suite's name.
    pub suite: String,
    /// What it is a suite of.
    pub digest: String,
    /// The program that ran it.
    pub build: Build,
    /// How many shards there are.
    pub shards: u32,
    /// The only one that this is about, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Why it is not valid, in sentences.
    pub reasons: Vec<String>,
    /// How many units became what.
    pub units: Counts,
    /// Seeds that were run.
    pub seeds: u64,
    /// Clients' operations.
    pub ops: Ops,
    /// What all units took together, in milliseconds.
    pub ms: u64,
    /// Of every shard: was its canary caught?
    pub canaries: Vec<Canary>,
    /// What does not hold.
    pub findings: Vec<Finding>,
    /// What cannot be told, and what did not work.
    pub doubts: Vec<Finding>,
    /// Every fault that was to happen.
    pub faults: BTreeMap<String, Fault>,
    /// How often each fault was tried in each mode.
    pub cells: Vec<Cell>,
    /// What this night went without.
    pub skipped: Vec<Skipped>,
    /// The names of units that had to be run and were not.
    pub missing: Vec<String>,
    #[serde(skip)]
    verdict: u8,
}

/// Units, canaries not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub total: u64,
    /// All holds.
    pub valid: u64,
    /// Something does not.
    pub invalid: u64,
    /// It cannot be told.
    pub unknown: u64,
    /// The run did not work.
    pub broken: u64,
    /// The machine lacks something.
    pub skipped: u64,
    /// Run more than once, with different results.
    pub doubled: u64,
    /// They had to be run, and were not.
    pub missing: u64,
    /// They are run only if there is time, and there was none.
    pub left_out: u64,
}

/// A canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Canary {
    /// Of this shard.
    pub shard: Shard,
    /// Its name.
    pub name: String,
    /// Whether it was found invalid.
    pub caught: bool,
    /// What became of it instead, or that it was caught, in a word.
    pub found: &'static str,
}

/// A unit that somebody has to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its shard.
    pub shard: Shard,
    /// Its id.
    pub unit: String,
    /// Its name.
    pub name: String,
    /// What was found.
    pub found: Found,
    /// Why, in sentences.
    pub why: Vec<String>,
    /// How many runs of its seed found it.
    pub times: usize,
    /// Of how many.
    pub runs: usize,
    /// What became of the same without faults, if there is that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<&'static str>,
    /// Where it lies.
    pub folder: String,
    /// The command that shows it again.
    pub again: String,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Units in which it was to happen.
    pub units: u64,
    /// Of those, the ones that were run.
    pub run: u64,
    /// What is known of it.
    #[serde(flatten)]
    pub proven: Proven,
}

/// A fault in a mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The modes.
    #[serde(flatten)]
    pub mode: Mode,
    /// The fault, or `none`.
    pub fault: String,
    /// Units.
    pub units: u64,
    /// Of those, the valid ones.
    pub valid: u64,
    /// Those that found something.
    pub invalid: u64,
    /// How often the fault was in force.
    pub proven: u64,
    /// Gets and puts of keys it touches that were done meanwhile; all that were done, without a fault.
    pub ok_ops: u64,
}

/// A unit that was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// What is lacking.
    pub lacks: String,
    /// Whether the night counts without it.
    pub allowed: bool,
}

impl Summary {
    /// Of a night.
    #[must_use]
    pub fn of(night: &Night) -> Self {
        let head = &night.head;
        let mut summary = Self {
            suite: head.name.clone(),
            digest: head.digest.clone(),
            build: head.build.clone(),
            shards: head.shards,
            shard: night.only,
            reasons: Vec::new(),
            units: Counts::default(),
            seeds: 0,
            ops: Ops::default(),
            ms: 0,
            canaries: Vec::new(),
            findings: Vec::new(),
            doubts: Vec::new(),
            faults: BTreeMap::new(),
            cells: Vec::new(),
            skipped: Vec::new(),
            missing: Vec::new(),
            verdict: exit::UNKNOWN,
        };
        let mut cells = BTreeMap::new();
        for (shard, unit, standing) in night.units() {
            if unit.role == Role::Canary {
                summary.canary(shard, unit, standing);
                if let Standing::Ended(outcome) = standing {
                    summary.ms += outcome.ms;
                }
            } else {
                summary.unit(night, shard, unit, standing);
                count(&mut cells, unit, standing);
            }
        }
        summary.cells = cells.into_values().collect();
        summary.reasons = reasons(night, &summary);
        summary.verdict = match (summary.units.invalid, summary.reasons.is_empty()) {
            (0, true) => exit::VALID,
            (0, false) => exit::UNKNOWN,
            _ => exit::INVALID,
        };
        summary
    }

    /// What it exits with: 0 valid, 1 invalid, 2 unknown.
    #[must_use]
    pub fn status(&self) -> u8 {
        self.verdict
    }

    /// In a word.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        exit::verdict(self.verdict)
    }

    /// As one line of JSON, of this command.
    #[must_use]
    pub fn to_json(&self, command: &str) -> String {
        document(command, Some(self.verdict()), self)
    }

    fn canary(&mut self, shard: Shard, unit: &Unit, standing: Standing<'_>) {
        let found = match standing {
            Standing::Missing => "missing",
            Standing::Doubled(..) => "doubled",
            Standing::Ended(outcome) => outcome.found.as_str(),
        };
        if let Standing::Ended(Outcome { found: Found::Skipped, lacks, .. }) = standing {
            self.skip(unit, lacks.as_deref());
        }
        let (name, caught) = (unit.name.clone(), standing.is_caught());
        self.canaries.push(Canary { shard, name, caught, found });
    }

    fn unit(&mut self, night: &Night, shard: Shard, unit: &Unit, standing: Standing<'_>) {
        self.units.total += 1;
        for fault in &unit.faults {
            self.faults.entry(fault.to_string()).or_default().units += 1;
        }
        let outcome = match standing {
            Standing::Missing if unit.optional => return self.units.left_out += 1,
            Standing::Missing => {
                self.units.missing += 1;
                return self.missing.push(unit.name.clone());
            }
            Standing::Doubled(first, other) => {
                self.units.doubled += 1;
                self.doubts.push(doubled(night, shard, first, other));
                first
            }
            Standing::Ended(outcome) => {
                let count = match outcome.found {
                    Found::Valid => &mut self.units.valid,
                    Found::Invalid => &mut self.units.invalid,
                    Found::Unknown => &mut self.units.unknown,
                    Found::Broken => &mut self.units.broken,
                    Found::Skipped => &mut self.units.skipped,
                };
                *count += 1;
                match outcome.found {
                    Found::Invalid => self.findings.push(finding(night, shard, outcome)),
                    Found::Unknown | Found::Broken => {
                        self.doubts.push(finding(night, shard, outcome));
                    }
                    Found::Skipped => return self.skip(unit, outcome.lacks.as_deref()),
                    Found::Valid => {}
                }
                outcome
            }
        };
        self.seeds += outcome.seeds;
        self.ms += outcome.ms;
        self.ops.add(&outcome.ops);
        for fault in &unit.faults {
            let row = self.faults.entry(fault.to_string()).or_default();
            row.run += 1;
            row.proven.add(&outcome.faults.get(fault.as_str()).copied().unwrap_or_default());
        }
    }

    fn skip(&mut self, unit: &Unit, lacks: Option<&str>) {
        let lacks = lacks.unwrap_or("it does not say what").to_owned();
        self.skipped.push(Skipped { name: unit.name.clone(), lacks, allowed: unit.where_able });
    }
}

/// Counts a unit in every cell that it is of.
fn count(cells: &mut BTreeMap<(Mode, String), Cell>, unit: &Unit, standing: Standing<'_>) {
    let Some(mode) = &unit.mode else { return };
    let Standing::Ended(outcome) = standing else { return };
    if outcome.found == Found::Skipped {
        return;
    }
    let faults = unit.faults.iter().map(ToString::to_string);
    let none = unit.faults.is_empty().then(|| "none".to_owned());
    for fault in faults.chain(none) {
        let known = outcome.faults.get(&fault).copied().unwrap_or_default();
        let cell = cells.entry((mode.clone(), fault.clone())).or_insert_with(|| Cell {
            mode: mode.clone(),
            fault,
            units: 0,
            valid: 0,
            invalid: 0,
            proven: 0,
            ok_ops: 0,
        });
        cell.units += 1;
        cell.valid += u64::from(outcome.found == Found::Valid);
        cell.invalid += u64::from(outcome.found == Found::Invalid);
        cell.proven += known.proven;
        cell.ok_ops += match unit.faults.is_empty() {
            true => outcome.ops.ok,
            false => known.ok_gets_during + known.ok_puts_during,
        };
    }
}

fn finding(night: &Night, shard: Shard, outcome: &Outcome) -> Finding {
    let telling = outcome.telling();
    let folder = night.place(&outcome.unit.id).display().to_string();
    let again = telling.map(|attempt| attempt.again.as_str()).unwrap_or_default();
    let control = outcome.unit.control.as_deref().map(|control| match night.standing(control) {
        Standing::Missing => "missing",
        Standing::Doubled(..) => "doubled",
        Standing::Ended(outcome) => outcome.found.as_str(),
    });
    Finding {
        shard,
        unit: outcome.unit.id.clone(),
        name: outcome.unit.name.clone(),
        found: outcome.found,
        why: telling.map(|attempt| attempt.why.clone()).unwrap_or_default(),
        times: outcome.times(),
        runs: outcome.attempts.len(),
        control,
        again: format!("cd {} && {again}", crate::cli::quoted(&folder)),
        folder,
    }
}

fn doubled(night: &Night, shard: Shard, first: &Outcome, other: &Outcome) -> Finding {
    let (one, two) = (first.found.as_str(), other.found.as_str());
    let (here, there) = (&first.host, &other.host);
    let why = format!("it was run more than once, {one} on {here} and {two} on {there}");
    Finding { why: vec![why], found: Found::Unknown, ..finding(night, shard, first) }
}

/// Why a night is not valid, apart from what was found.
fn reasons(night: &Night, summary: &Summary) -> Vec<String> {
    let mut reasons = Vec::new();
    let names = |of: Found| {
        let doubts = summary.doubts.iter().chain(&summary.findings);
        doubts.filter(move |doubt| doubt.found == of).map(|doubt| doubt.name.as_str())
    };
    let counts = &summary.units;
    let missing: Vec<_> = summary.missing.iter().map(String::as_str).collect();
    reasons.extend(some(counts.invalid, "invalid", names(Found::Invalid)));
    for canary in summary.canaries.iter().filter(|canary| !canary.caught) {
        // A canary that is allowed to be skipped is of units that were skipped, too.
        if canary.found == "skipped"
            && summary.skipped.iter().any(|skipped| skipped.name == canary.name && skipped.allowed)
        {
            continue;
        }
        let Canary { shard, name, found, .. } = canary;
        reasons.push(format!(
            "the canary of shard {shard} is {found}, not invalid: what this shard calls valid says nothing \
             ({name})"
        ));
    }
    reasons.extend(some(counts.missing, "missing", missing.into_iter()));
    reasons.extend(some(counts.unknown + counts.doubled, "unknown", names(Found::Unknown)));
    reasons.extend(some(counts.broken, "broken", names(Found::Broken)));
    let lacking = || summary.skipped.iter().filter(|skipped| !skipped.allowed);
    let lacking_names = lacking().map(|skipped| skipped.name.as_str());
    let lacking_count = lacking().count().try_into().unwrap_or(u64::MAX);
    reasons.extend(some(lacking_count, "skipped and had to be run", lacking_names));
    for (name, fault) in &summary.faults {
        if fault.run > 0 && fault.proven.proven == 0 && faults_are_counted(night, name) {
            reasons.push(format!("the fault {name} was never proven to be in force"));
        }
    }
    if counts.valid + counts.invalid == 0 {
        reasons.push("nothing was judged".to_owned());
    }
    reasons.extend(night.strangers().cloned());
    reasons
}

/// Whether some unit that was run counts how often it was in force: simulated days do not.
fn faults_are_counted(night: &Night, fault: &str) -> bool {
    night.units().any(|(_, unit, standing)| {
        matches!(standing, Standing::Ended(outcome) if !outcome.faults.is_empty())
            && unit.faults.iter().any(|name| name.as_str() == fault)
    })
}

/// `3 units are invalid: a; b; c`, if there are any.
fn some<'a>(count: u64, are: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let units = if count == 1 { "unit is" } else { "units are" };
    let named: Vec<_> = names.take(MOST_NAMED).collect();
    let more = if count > named.len() as u64 { "; ..." } else { "" };
    (count > 0).then(|| format!("{count} {units} {are}: {}{more}", named.join("; ")))
}
