//! Claims that people make, as they write them in a file, held against the table.

use std::collections::BTreeSet;

use dynamo_protocol::{Quorum, ReadMode, Versioning};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::cells::cell::Known;
use crate::cells::table::Table;
use crate::column::Column;
use crate::observed::Observed;
use crate::pbs::wilson;
use crate::property::Property;
use crate::setting::Setting;

/// A file of claims.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    claim: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    says: String,
    #[serde(default)]
    source: String,
    given: Given,
    #[serde(default)]
    faults: Vec<Spanned<String>>,
    #[serde(default)]
    session: Session,
    property: Spanned<String>,
    #[serde(default)]
    bound: Bound,
    expect: Expect,
}

/// A cluster, or several: each list fans out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    n: Spanned<OneOrMore<usize>>,
    r: OneOrMore<usize>,
    w: OneOrMore<usize>,
    quorum: OneOrMore<Quorum>,
    #[serde(default = "dotted")]
    versions: OneOrMore<Versioning>,
    #[serde(default = "asynchronous")]
    repair: OneOrMore<Repair>,
}

fn dotted() -> OneOrMore<Versioning> {
    OneOrMore::One(Versioning::Dotted)
}

fn asynchronous() -> OneOrMore<Repair> {
    OneOrMore::One(Repair::Async)
}

/// One, or a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: Copy> OneOrMore<T> {
    fn all(&self) -> Vec<T> {
        match self {
            Self::One(one) => vec![*one],
            Self::Many(many) => many.clone(),
        }
    }
}

/// What a get does with stale answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Repair {
    /// Stale homes are mended some time later: plain gets.
    Async,
    /// W slots are mended before it answers: atomic gets.
    WriteBack,
    /// Those that answered are mended before it answers.
    Responders,
}

/// Whom a client asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Session {
    #[default]
    AnyCoordinator,
    Sticky,
}

/// Of the staleness properties alone.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    #[serde(default)]
    t_ms: Option<f64>,
    #[serde(default)]
    p: Option<f64>,
    #[serde(default)]
    k: Option<u32>,
}

/// What its author expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// It holds.
    Holds,
    /// It holds with a condition, and not without.
    HoldsIf,
    /// It does not.
    Refuted,
}

/// One claim about one setting.
#[derive(Clone, Debug)]
pub struct Claim {
    /// In the words of whoever made it.
    pub says: String,
    /// Where it was found.
    pub source: String,
    /// Of which cluster.
    pub setting: Setting,
    /// What.
    pub property: Property,
    /// What its author expects.
    pub expect: Expect,
    columns: Columns,
    /// Why the model can refute it and never prove it.
    outside: Option<&'static str>,
    /// A share of gets, where it is one that is claimed.
    share: Option<Share>,
    /// Why the core cannot run it.
    not_applicable: Option<&'static str>,
}

/// A share of gets that is claimed to be fresh, after a wait or within puts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Share {
    p: f64,
    t_ms: Option<f64>,
    k: Option<u32>,
}

/// The columns a claim is about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Columns {
    /// In each of these a counterexample is one.
    all: Vec<Column>,
    /// The one that is just what the claim allows, if there is one.
    exact: Option<Column>,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As its author expects.
    AsExpected,
    /// The contrary.
    Contradicted,
    /// Not known.
    Undecided,
}

/// A claim, held against the table.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// In a word.
    pub outcome: Outcome,
    /// The cell, or why there is none.
    pub because: String,
}

/// Reads a file of claims; `origin` is its name, for errors.
///
/// # Errors
/// One line: the place, what is wrong, what there is.
pub fn read(text: &str, origin: &str) -> Result<Vec<Claim>, String> {
    let at = |offset: usize, why: &str| {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{origin}:{line}:{column}: {why}")
    };
    let file: File = toml::from_str(text).map_err(|error| {
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        at(error.span().map_or(0, |span| span.start), &message)
    })?;
    if file.claim.is_empty() {
        return Err(at(0, "there is no claim: write [[claim]]"));
    }
    let mut claims = Vec::new();
    for written in &file.claim {
        let property: Property = written.property.get_ref().parse().map_err(
            |error: crate::property::UnknownProperty| {
                at(written.property.span().start, &error.to_string())
            },
        )?;
        let columns = columns(&written.faults).map_err(|(offset, why)| at(offset, &why))?;
        for claim in fan_out(written, property, &columns) {
            let settings = claim.setting.settings();
            let refused = settings.check().err().map(|error| error.to_string());
            if let Some(why) = refused {
                return Err(at(written.given.n.span().start, &why));
            }
            claims.push(claim);
        }
    }
    Ok(claims)
}

fn fan_out(written: &Written, property: Property, columns: &Columns) -> Vec<Claim> {
    let Given { n, r, w, quorum, versions, repair } = &written.given;
    let mut claims = Vec::new();
    for n in n.get_ref().all() {
        for (r, w) in r.all().into_iter().flat_map(|r| w.all().into_iter().map(move |w| (r, w))) {
            for quorum in quorum.all() {
                for versioning in versions.all() {
                    for repair in repair.all() {
                        let read = match repair {
                            Repair::WriteBack => ReadMode::Atomic,
                            Repair::Async | Repair::Responders => ReadMode::Plain,
                        };
                        claims.push(Claim {
                            says: written.says.clone(),
                            source: written.source.clone(),
                            setting: Setting { n, r, w, quorum, versioning, read },
                            property,
                            expect: written.expect,
                            columns: columns.clone(),
                            outside: outside(written, property),
                            share: share(written, property),
                            not_applicable: (repair == Repair::Responders).then_some(
                                "the core mends those that answered later, or W slots before it answers",
                            ),
                        });
                    }
                }
            }
        }
    }
    claims
}

fn outside(written: &Written, property: Property) -> Option<&'static str> {
    if written.session == Session::Sticky {
        return Some(
            "clients of the model ask any node: what holds for them holds for sticky ones",
        );
    }
    let Bound { t_ms, p, k } = written.bound;
    let is_share = p.is_some_and(|p| p < 1.0);
    let is_of_staleness = matches!(property, Property::TStale | Property::KStale);
    if is_of_staleness && (is_share || k.is_some() && t_ms.is_none()) {
        return Some("how often it is stale, or by how many puts, is measured: give `--runs`");
    }
    None
}

fn share(written: &Written, property: Property) -> Option<Share> {
    let Bound { t_ms, p, k } = written.bound;
    let is_one = matches!(
        (property, t_ms, k),
        (Property::TStale, Some(_), _) | (Property::KStale, _, Some(_))
    );
    p.filter(|_| is_one).map(|p| Share { p, t_ms, k })
}

/// What faults come to: `crash:1`, `partition:any`, `wipe:0`.
fn columns(faults: &[Spanned<String>]) -> Result<Columns, (usize, String)> {
    let mut all = BTreeSet::new();
    let mut is_exact = true;
    for fault in faults {
        let (word, budget) = fault.get_ref().split_once(':').unwrap_or((fault.get_ref(), "1"));
        let column: Column = word.parse().map_err(|why| (fault.span().start, why))?;
        match budget {
            "0" => {}
            "1" | "any" => drop(all.insert(column)),
            more if more.parse::<u32>().is_ok() => {
                all.insert(column);
                is_exact = false;
            }
            _ => {
                let why = format!("`{budget}` is no budget: a number, or any");
                return Err((fault.span().start, why));
            }
        }
    }
    all.remove(&Column::None);
    let all: Vec<_> = all.into_iter().collect();
    let exact = match all[..] {
        [] => Some(Column::None),
        [one] => Some(one),
        [Column::Crash, Column::Partition] => Some(Column::TwoAtOnce),
        _ => None,
    };
    let exact = exact.filter(|_| is_exact);
    let all = all.into_iter().chain(exact).chain([Column::None]).collect();
    Ok(Columns { all, exact })
}

impl Claim {
    /// The columns that have to be searched for it.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns.all
    }

    /// The wait that it speaks of, in ms.
    #[must_use]
    pub fn wait(&self) -> Option<f64> {
        self.share.and_then(|share| share.t_ms)
    }

    /// The puts that it speaks of.
    #[must_use]
    pub fn puts(&self) -> Option<u32> {
        self.share.and_then(|share| share.k)
    }

    /// Decides a share by what runs measured, where Wilson's interval lies on one side of it.
    fn by_runs(&self, runs: &[Observed]) -> Option<Held> {
        let Share { p, t_ms, k } = self.share?;
        let is_own = |run: &&Observed| {
            let is_column = run.column.is_some_and(|column| self.columns.all.contains(&column));
            run.setting == self.setting && run.is_covered && is_column
        };
        let own: Vec<_> = runs.iter().filter(is_own).collect();
        let (good, all) = own.iter().fold((0, 0), |sum: (u64, u64), run| {
            let at = match (self.property, t_ms, k) {
                (Property::TStale, Some(t), _) => {
                    run.fresh.iter().find(|it| it.t_ms == t).map(|it| (it.good, it.all))
                }
                (Property::KStale, _, Some(k)) => {
                    run.within.iter().find(|it| it.k == k).map(|it| (it.good, it.all))
                }
                _ => None,
            };
            at.map_or(sum, |(good, all)| (sum.0 + good, sum.1 + all))
        });
        if all == 0 {
            return None;
        }
        let [low, high] = wilson(good, all);
        let told = format!(
            "MEASURED {:.2} % [{:.2}, {:.2}] of {all} gets in {} runs",
            good as f64 / all as f64 * 100.0,
            low * 100.0,
            high * 100.0,
            own.len()
        );
        Some(if low >= p {
            self.judged(Expect::Holds, told)
        } else if high < p {
            self.judged(Expect::Refuted, told)
        } else {
            let because = format!("{told}: that is on neither side of {:.2} %", p * 100.0);
            Held { outcome: Outcome::Undecided, because }
        })
    }

    /// Holds it against the table of its setting, and a share against runs.
    #[must_use]
    pub fn held(&self, table: &Table, runs: &[Observed]) -> Held {
        let undecided = |because: String| Held { outcome: Outcome::Undecided, because };
        if let Some(why) = self.not_applicable {
            return undecided(format!("NOT APPLICABLE: {why}"));
        }
        let cells = self.columns.all.iter().map(|column| table.cell(self.property, *column));
        let fresh = cells.filter(|cell| cell.stale.is_none());
        let exact = self.columns.exact.map(|column| table.cell(self.property, column));
        let refuted = |cell: &&&crate::cells::cell::Cell| matches!(cell.known, Known::Refuted(_));
        let all: Vec<_> = fresh.collect();
        let found = exact.filter(|cell| cell.stale.is_none());
        let proven = found.filter(|cell| matches!(cell.known, Known::Proven(_)));
        if let Some(cell) = proven {
            return self.judged(Expect::Holds, format!("{} {}", cell.name(), cell.wording()));
        }
        if let Some(held) = self.by_runs(runs) {
            return held;
        }
        if let Some(why) = self.outside {
            return undecided(format!("NOT SEARCHED: {why}"));
        }
        if let Some(cell) = all.iter().find(refuted) {
            return self.judged(Expect::Refuted, format!("{} {}", cell.name(), cell.wording()));
        }
        match found {
            Some(cell) if matches!(cell.known, Known::HoldsIf { .. }) => {
                self.judged(Expect::HoldsIf, format!("{} {}", cell.name(), cell.wording()))
            }
            Some(cell) => undecided(format!("{} {}", cell.name(), cell.wording())),
            None => {
                let why = "no column of the table has all of these faults, and none with fewer refutes it";
                undecided(format!("NOT SEARCHED: {why}"))
            }
        }
    }

    fn judged(&self, found: Expect, because: String) -> Held {
        let is_expected = match self.expect {
            // What holds with a condition alone does not hold as it was said.
            Expect::Refuted => found != Expect::Holds,
            expected => found == expected,
        };
        let outcome = if is_expected { Outcome::AsExpected } else { Outcome::Contradicted };
        Held { outcome, because }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "[[claim]]\nsays = \"s\"\nproperty = \"fresh\"\nexpect = \"holds\"\n\
                       faults = [\"crash:1\", \"wipe:0\"]\n\
                       given = { n = 3, r = [1, 2], w = 2, quorum = \"strict\" }\n";

    #[test]
    fn lists_fan_out_and_a_budget_of_nothing_is_no_fault() {
        let claims = read(ONE, "c.toml").unwrap();
        let labels: Vec<_> = claims.iter().map(|claim| claim.setting.label()).collect();
        assert_eq!(labels, ["3/1/2 strict dotted plain", "3/2/2 strict dotted plain"]);
        assert_eq!(claims[0].columns.exact, Some(Column::Crash));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_there_is() {
        let told = |from: &str, to: &str| read(&ONE.replace(from, to), "c.toml").unwrap_err();
        let property = told("\"fresh\"", "\"strong\"");
        assert!(
            property.starts_with("c.toml:3:12: `strong` is no property; there are no-lost-ack")
        );
        assert!(
            told("crash:1", "crahs:1").starts_with("c.toml:5:11: `crahs` is no class of faults")
        );
        assert!(told("crash:1", "crash:x").starts_with("c.toml:5:11: `x` is no budget"));
        assert!(told("w = 2", "w = 9").contains("w = 9: from 1 to 3"));
        assert!(told("says", "sayz").starts_with("c.toml:2:1: unknown field `sayz`"));
        assert!(read("", "c.toml").unwrap_err().contains("there is no claim"));
    }

    #[test]
    fn faults_that_no_column_has_together_can_refute_and_not_prove() {
        let claims = read(&ONE.replace("wipe:0", "wipe:1"), "c.toml").unwrap();
        assert_eq!(claims[0].columns.exact, None);
        assert_eq!(claims[0].columns(), [Column::Crash, Column::Wipe, Column::None]);
        let two = read(&ONE.replace("wipe:0", "partition:any"), "c.toml").unwrap();
        assert_eq!(two[0].columns.exact, Some(Column::TwoAtOnce));
    }
}
