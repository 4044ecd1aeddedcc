//! Shopping carts: was anything that was put into one lost?
//!
//! A put's value is the whole cart as its client made it: `{"id": unique, "items": [...]}` with
//! `"add": item` or `"remove": item` for what it changed. A read shows the union of the items of
//! the siblings it returned.
//!
//! An acknowledged add must be shown by every final read, unless the item was taken out. *Taken
//! out* is told from what clients saw, not from time: a remove takes out an add if it covers it
//! (its client had seen the add, or what covers the add), and if the read shows the remove's
//! effect: the remove is among the returned siblings or covered by them. A remove that had not
//! seen the add leaves it, as siblings merge; and a remove that may or may not have happened
//! excuses an absence only where it is seen to have happened, for whatever it wrote would be there
//! otherwise. A delete of the whole cart is invisible: any that may have happened excuses what it
//! covers. Where no put of a key says what it builds on, time has to serve: then any remove of the
//! item that may have happened, and did not end before the add began, excuses it.
//!
//! Where the homes were read themselves, *lost* is what none of them holds. An add that a final read
//! lacks and a home holds is *unreadable*; one that may be on a home that was not read is neither, and
//! the verdict is unknown.
//!
//! The numbers beside the verdict (stale, never read, time to stable) follow Jepsen's set-full.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use serde::Serialize;
use serde_json::Value;

use crate::history::History;
use crate::judge::budget::{Budget, Exhausted, Meter};
use crate::judge::finding::{Findings, counted};
use crate::judge::stats::distribution;
use crate::judge::verdict::{CheckReport, Checker, Verdict};
use crate::siblings::Homes;
use crate::siblings::versions::{Key, Read, VersionId, keys};

mod elements;
mod fates;
mod lost;

pub(super) use fates::CartFates;
use lost::Lost;

/// As many lost or badly kept items are listed; all are counted.
const MOST_LISTED: usize = 1000;

/// The checker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cart {
    /// On how many homes' own replicas an acknowledged add must be at the end: the copies the
    /// store promised, less the disks wiped. None where nothing is promised.
    pub copies: Option<usize>,
    /// Is an add on fewer homes a violation (or a number in the report only)?
    pub enforce_copies: bool,
}

/// Of each add that is gone the reads that lack it and the final reads that do not.
type Missing = BTreeMap<(u32, VersionId), (Vec<u64>, Vec<u64>)>;

/// An acknowledged add on fewer homes than promised.
#[derive(Debug, Serialize)]
struct UnderReplicated {
    key: String,
    item: Value,
    add: u64,
    homes: usize,
    promised: usize,
    reads: Vec<u64>,
}

impl Checker for Cart {
    fn name(&self) -> &str {
        "cart"
    }

    fn operations(&self) -> Option<&'static [&'static str]> {
        Some(&["get", "put", "delete", "home"])
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let keys = keys(history).keys;
        let mut tally = Tally::default();
        for (done, (name, key)) in keys.iter().enumerate() {
            if let Err(exhausted) = self.judge(name, key, &mut tally, &mut meter) {
                let far = format!("{exhausted}: {done} of {} carts were judged", keys.len());
                tally.unknown.get_or_insert(far);
                break;
            }
        }
        tally.report(self)
    }
}

impl Cart {
    fn judge(
        &self,
        name: &str,
        key: &Key<'_>,
        tally: &mut Tally,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        let carts = Carts::of(name, key, tally);
        carts.integrity(tally);
        let mut missing = Missing::new();
        carts.final_reads(&mut missing, tally, meter)?;
        carts.unreadable(&mut missing, tally);
        carts.homes(self, &mut missing, tally, meter)?;
        let room = MOST_LISTED.saturating_sub(tally.lost.len());
        tally.lost_count += missing.len();
        tally.lost.extend(lost::listed(&carts, missing, room));
        elements::measure(&carts, tally, meter)
    }
}

#[derive(Default)]
struct Tally {
    acknowledged: usize,
    final_reads: usize,
    lost: Vec<Lost>,
    lost_count: usize,
    unreadable: Vec<Lost>,
    unreadable_count: usize,
    /// Adds that may be on a home that was not read.
    undecided: usize,
    under_replicated: Vec<UnderReplicated>,
    under_replicated_count: usize,
    resurfaced: usize,
    stale: usize,
    never_read: usize,
    duplicates: usize,
    /// Acknowledged adds to carts that no final read answered for.
    unverified: usize,
    /// Milliseconds from known to stable, an add each.
    stable_ms: Vec<f64>,
    findings: Findings,
    unknown: Option<String>,
}

impl Tally {
    fn report(mut self, rules: &Cart) -> CheckReport {
        // Adds that some final read answered for.
        let judged = self.acknowledged.saturating_sub(self.unverified);
        let judged = if self.final_reads > 0 { judged } else { 0 };
        let nothing = match self.acknowledged {
            0 => "no add was acknowledged",
            _ => "no final read was answered, what was kept is not known",
        };
        // The first loss is the one to look at.
        self.lost.sort_by_key(|lost| lost.add);
        self.unreadable.sort_by_key(|lost| lost.add);
        let mut report = self.findings.report(judged, nothing);
        if let Some(first) = self.lost.first() {
            let items = counted(self.lost_count, "acknowledged add");
            let reason = format!("{items} lost: {}", first.in_words());
            report = report.refuted(reason).with("witness", first.witness());
        } else if let Some(first) = self.unreadable.first() {
            let items = counted(self.unreadable_count, "acknowledged add");
            let first_in_words = first.in_words();
            let reason = format!("{items} unreadable: {first_in_words}, though a home holds it");
            report = report.refuted(reason).with("witness", first.witness());
        } else if self.under_replicated_count > 0 && rules.enforce_copies {
            let first = &self.under_replicated[0];
            let reason = format!(
                "{} on fewer homes than promised: {} of op {} in {:?} is on {} of {}",
                counted(self.under_replicated_count, "acknowledged add"),
                first.item,
                first.add,
                first.key,
                first.homes,
                first.promised
            );
            let found = (!self.findings.is_empty()).then(|| report.reason.take()).flatten();
            report = report.refuted(found.unwrap_or(reason));
        }
        if report.verdict() != Verdict::Invalid
            && let Some(reason) = self.doubt()
        {
            report = report.doubted(reason);
        }
        report
            .with("acknowledged", self.acknowledged)
            .with("final_reads", self.final_reads)
            .with("lost", &self.lost)
            .with("lost_count", self.lost_count)
            .with("lost_truncated", self.lost.len() < self.lost_count)
            .with("unreadable", &self.unreadable)
            .with("unreadable_count", self.unreadable_count)
            .with("under_replicated", &self.under_replicated)
            .with("under_replicated_count", self.under_replicated_count)
            .with("resurfaced", self.resurfaced)
            .with("stale", self.stale)
            .with("never_read", self.never_read)
            .with("duplicates", self.duplicates)
            .with("stable_ms", distribution(&mut self.stable_ms))
    }

    /// Why a history without violations is no proof.
    fn doubt(&mut self) -> Option<String> {
        if let Some(reason) = self.unknown.take() {
            return Some(reason);
        }
        if self.undecided > 0 && self.final_reads > 0 {
            let adds = counted(self.undecided, "acknowledged add");
            return Some(format!(
                "{adds} not in final reads, to carts of which a home was not read: they may be there"
            ));
        }
        if self.unverified > 0 && self.final_reads > 0 {
            let adds = counted(self.unverified, "acknowledged add");
            return Some(format!("{adds} to carts that no final read answered for"));
        }
        None
    }
}

/// One cart: its puts as adds and removes, its items numbered.
struct Carts<'a, 'h> {
    name: &'a str,
    key: &'a Key<'h>,
    items: Vec<&'h Value>,
    numbers: HashMap<&'h Value, u32>,
    /// Of each version its items, by number.
    contents: Vec<Vec<u32>>,
    /// Of each item the puts that add it and those that remove it.
    adds: Vec<Vec<VersionId>>,
    removes: Vec<Vec<VersionId>>,
    /// The deletes of the whole cart that may have happened.
    deletes: Vec<VersionId>,
}

/// Of each item whether a read shows it.
struct Shown(Vec<bool>);

impl Shown {
    fn has(&self, item: u32) -> bool {
        self.0[item as usize]
    }
}

impl<'a, 'h> Carts<'a, 'h> {
    fn of(name: &'a str, key: &'a Key<'h>, tally: &mut Tally) -> Self {
        let mut carts = Self {
            name,
            key,
            items: Vec::new(),
            numbers: HashMap::new(),
            contents: Vec::with_capacity(key.versions.len()),
            adds: Vec::new(),
            removes: Vec::new(),
            deletes: Vec::new(),
        };
        for (id, version) in (0..).zip(&key.versions) {
            let contents = version.value.and_then(|cart| cart.get("items")?.as_array());
            if contents.is_none() && !version.is_delete() {
                let op = version.op.name;
                tally.unknown.get_or_insert(format!("put #{op} carries no cart with `items`"));
            }
            if version.is_delete() && version.may_have_happened() {
                carts.deletes.push(id);
            }
            let contents = contents.into_iter().flatten().map(|item| carts.number(item)).collect();
            carts.contents.push(contents);
            if let Some(item) = version.value.and_then(|cart| cart.get("add")) {
                let item = carts.number(item);
                carts.adds[item as usize].push(id);
                tally.acknowledged += usize::from(version.is_acknowledged());
            }
            if let Some(item) = version.value.and_then(|cart| cart.get("remove")) {
                let item = carts.number(item);
                carts.removes[item as usize].push(id);
            }
        }
        carts
    }

    fn number(&mut self, item: &'h Value) -> u32 {
        *self.numbers.entry(item).or_insert_with(|| {
            self.items.push(item);
            self.adds.push(Vec::new());
            self.removes.push(Vec::new());
            self.items.len() as u32 - 1
        })
    }

    fn name_of(&self, id: VersionId) -> u64 {
        self.key.versions[id as usize].op.name
    }

    /// What a read shows: every item of every sibling.
    fn shown(&self, read: &Read) -> Shown {
        let mut shown = vec![false; self.items.len()];
        for &id in &read.returned {
            for &item in &self.contents[id as usize] {
                shown[item as usize] = true;
            }
        }
        Shown(shown)
    }

    /// Every sibling was written, whole, by a put that had not failed; every item shown was added.
    fn integrity(&self, tally: &mut Tally) {
        for strange in &self.key.strange {
            let (ops, what) = crate::siblings::strange_in_words(self.name, self.key, strange);
            if matches!(strange.why, crate::siblings::versions::Strangeness::Twice(_)) {
                tally.duplicates += 1;
            } else {
                tally.findings.add("integrity", self.name, ops, what);
            }
        }
        let mut reported = BTreeSet::new();
        let ids = 0..self.contents.len() as VersionId;
        let flaws: Vec<_> = ids.map(|id| self.flaws(id)).collect();
        for read in &self.key.reads {
            for &id in &read.returned {
                let (repeated, never_added) = &flaws[id as usize];
                tally.duplicates += repeated;
                for &item in never_added {
                    if reported.insert(item) {
                        let item = self.items[item as usize];
                        let op = read.op.name;
                        let what = format!(
                            "read #{op} of {:?} shows {item}, which no put that may have happened \
                             added",
                            self.name
                        );
                        tally.findings.add("unknown_item", self.name, vec![op], what);
                    }
                }
            }
        }
    }

    /// Of a version how many of its items stand in it once more, and which no put added.
    fn flaws(&self, id: VersionId) -> (usize, Vec<u32>) {
        let contents = &self.contents[id as usize];
        let mut distinct = contents.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let repeated = contents.len() - distinct.len();
        distinct.retain(|&item| !self.was_added(item));
        (repeated, distinct)
    }

    fn was_added(&self, item: u32) -> bool {
        let adds = &self.adds[item as usize];
        adds.iter().any(|&add| self.key.versions[add as usize].may_have_happened())
    }

    /// Every acknowledged add is in every final read, or was taken out.
    fn final_reads(
        &self,
        missing: &mut Missing,
        tally: &mut Tally,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        let key = self.key;
        let reads = key.reads.iter();
        let finals: Vec<&Read> = reads.filter(|read| read.op.is_final && !read.is_home()).collect();
        tally.final_reads += finals.len();
        let shown: Vec<Shown> = finals.iter().map(|read| self.shown(read)).collect();
        for item in 0..self.items.len() as u32 {
            for &add in &self.adds[item as usize] {
                meter.tick()?;
                let version = &key.versions[add as usize];
                let Some(acknowledged) = version.op.acknowledged_at() else { continue };
                let due = finals.iter().zip(&shown);
                let due = due.filter(|(read, _)| acknowledged < read.op.begun);
                if due.clone().count() > 0 && due.clone().all(|(_, shown)| shown.has(item)) {
                    continue;
                }
                let (with, without): (Vec<_>, Vec<_>) = due.partition(|(_, shown)| shown.has(item));
                tally.unverified += usize::from(with.is_empty() && without.is_empty());
                let without = without.into_iter().map(|(read, _)| *read);
                let lacking: Vec<u64> = without
                    .filter(|read| !self.taken_out(item, add, &read.returned))
                    .map(|read| read.op.name)
                    .collect();
                if !lacking.is_empty() {
                    let seen = with.iter().map(|(read, _)| read.op.name).collect();
                    missing.insert((item, add), (lacking, seen));
                }
            }
            let back = shown.iter().any(|shown| shown.has(item));
            tally.resurfaced += usize::from(back && self.was_removed_for_good(item));
        }
        Ok(())
    }

    /// Takes out of what final reads lack that which homes account for.
    fn unreadable(&self, missing: &mut Missing, tally: &mut Tally) {
        if missing.is_empty() {
            return;
        }
        let held = match Homes::of(self.key) {
            Homes::Unasked => return,
            Homes::Silent => {
                tally.undecided += std::mem::take(missing).len();
                return;
            }
            Homes::Hold(held) => held,
        };
        let is_held = |item: u32, add| {
            let shown = held.iter().any(|&id| self.contents[id as usize].contains(&item));
            shown || self.taken_out(item, add, &held)
        };
        let (unreadable, lost) =
            std::mem::take(missing).into_iter().partition(|((item, add), _)| is_held(*item, *add));
        *missing = lost;
        let unreadable: Missing = unreadable;
        let room = MOST_LISTED.saturating_sub(tally.unreadable.len());
        tally.unreadable_count += unreadable.len();
        tally.unreadable.extend(lost::listed(self, unreadable, room));
    }

    /// Was this add of the item taken out, as far as a read that returned `returned` can show?
    fn taken_out(&self, item: u32, add: VersionId, returned: &[VersionId]) -> bool {
        let key = self.key;
        let removed = self.removes[item as usize].iter().any(|&remove| {
            key.versions[remove as usize].may_have_happened()
                && if key.has_contexts {
                    key.covers(remove, add) && key.is_below(remove, returned)
                } else {
                    !self.ended_before(remove, add)
                }
        });
        removed || self.deleted(add)
    }

    /// Did a delete of the whole cart, that may have happened, cover the add?
    fn deleted(&self, add: VersionId) -> bool {
        self.deletes.iter().any(|&delete| {
            if self.key.has_contexts {
                self.key.covers(delete, add)
            } else {
                !self.ended_before(delete, add)
            }
        })
    }

    fn ended_before(&self, first: VersionId, second: VersionId) -> bool {
        let ended = self.key.versions[first as usize].op.acknowledged_at();
        ended.is_some_and(|at| at < self.key.versions[second as usize].op.begun)
    }

    /// Does an acknowledged remove cover every add of the item?
    fn was_removed_for_good(&self, item: u32) -> bool {
        let (adds, removes) = (&self.adds[item as usize], &self.removes[item as usize]);
        !adds.is_empty()
            && adds.iter().all(|&add| {
                removes.iter().any(|&remove| {
                    self.key.versions[remove as usize].is_acknowledged()
                        && self.key.covers(remove, add)
                })
            })
    }

    /// Every acknowledged add is held by a home, and by as many as were promised.
    fn homes(
        &self,
        rules: &Cart,
        missing: &mut Missing,
        tally: &mut Tally,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        let Some(homes) = crate::siblings::last_home_reads(self.key) else { return Ok(()) };
        let begun = homes.iter().map(|read| read.op.begun).min().unwrap_or(0);
        let held: Vec<Shown> = homes.iter().map(|read| self.shown(read)).collect();
        let all: BTreeSet<VersionId> =
            homes.iter().flat_map(|read| read.returned.iter().copied()).collect();
        let all: Vec<VersionId> = all.into_iter().collect();
        for item in 0..self.items.len() as u32 {
            for &add in &self.adds[item as usize] {
                meter.tick()?;
                let acknowledged = self.key.versions[add as usize].op.acknowledged_at();
                if acknowledged.is_none_or(|at| at >= begun) || self.taken_out(item, add, &all) {
                    continue;
                }
                let copies = held.iter().filter(|held| held.has(item)).count();
                let reads: Vec<u64> = homes.iter().map(|read| read.op.name).collect();
                if copies == 0 {
                    missing.entry((item, add)).or_default().0.extend(&reads);
                }
                if let Some(promised) = rules.copies
                    && copies < promised
                {
                    tally.under_replicated_count += 1;
                    if tally.under_replicated.len() < MOST_LISTED {
                        tally.under_replicated.push(UnderReplicated {
                            key: self.name.to_owned(),
                            item: self.items[item as usize].clone(),
                            add: self.name_of(add),
                            homes: copies,
                            promised,
                            reads,
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::history::op::{Kind, Op};

    fn cart(id: u64, items: &[&str], add: &str) -> Value {
        json!({ "id": id, "items": items, "add": add })
    }

    /// Two adds at a time, of which one replaced the other; then a third on top of that one.
    fn overwritten() -> History {
        let (milk, eggs) = (cart(1, &["milk"], "milk"), cart(2, &["eggs"], "eggs"));
        let both = cart(3, &["eggs", "tea"], "tea");
        let put = |process, value: &Value| Op::invoke(process, "put").key("c").value(value.clone());
        let get = |process| Op::invoke(process, "get").key("c");
        let shows = |get: &Op, value: &Value| get.completed(Kind::Ok).value(json!([value]));
        let (first, second, last) = (put(0, &milk), put(1, &eggs), get(2).finally());
        let mut third = put(0, &both);
        third.context = Some(5);
        let lines = vec![
            first.clone(),
            second.clone(),
            first.completed(Kind::Ok),
            second.completed(Kind::Ok),
            get(0),
            shows(&get(0), &eggs),
            third.clone(),
            third.completed(Kind::Ok),
            last.clone(),
            shows(&last, &both),
        ];
        let lines = lines.into_iter().zip(0..).map(|(op, time)| op.at(time)).collect();
        History::numbered(lines).unwrap()
    }

    #[test]
    fn the_witness_of_a_loss_names_the_add_what_took_its_place_and_the_read() {
        let report = Cart::default().check(&overwritten(), &Budget::default());
        assert_eq!(report.verdict(), Verdict::Invalid);
        assert_eq!(report.witness(), [2, 3, 9]);
        let reason = report.reason.unwrap();
        assert!(reason.contains("is overwritten by op 3 and is not in read 9"), "{reason}");
        assert_eq!(report.details["lost_truncated"], false);
    }
}
