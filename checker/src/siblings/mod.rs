//! A store that keeps siblings: puts with contexts, gets that return sets.
//!
//! A put made with a get's context covers what that get returned ([`crate::siblings::versions`]). From that
//! alone these rules follow for a get that returned the set `S`:
//!
//! - **V0** integrity: every value was written by a put that had begun and had not failed; none twice.
//! - **V1** antichain: no value of `S` covers another.
//! - **V2** no lost update: every acknowledged put required of the get is in `S`, covered from it,
//!   or deleted by a delete that can have happened. Where the homes were read themselves, a put that a
//!   final get lacks and a home accounts for is not lost but **unreadable**; and where a home was not to
//!   be read, it may be there, and is neither.
//! - **V3** convergence: final gets of one key, through whatever node, return equal sets.
//! - **V4** sessions: a get accounts for its session's own acknowledged writes and for what the
//!   session saw before.
//! - **V5** deletes: no value returned is covered by an acknowledged delete.
//!
//! V1, V2 and V5 of a final get hold together exactly if some set of applied writes, holding all
//! the acknowledged ones, has `S` as its maximal values (fuzzed against that definition).
//!
//! An *indeterminate* delete excuses what it covers only if it can have happened: if it covers
//! something the get returned, it has not. An indeterminate put is free: it may be there or not,
//! and without anti-entropy it may sit on one replica and be seen through one quorum and not
//! through another. So final gets may differ by indeterminate writes, unless the history is said
//! to have [`converged`](Siblings::converged).

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{History, Outcome};
use crate::judge::budget::{Budget, Exhausted, Meter};
use crate::judge::finding::{Findings, counted, shown, shown_all, time};
use crate::judge::parallel::in_ranges;
use crate::judge::verdict::{CheckReport, Checker, Verdict};
use crate::siblings::versions::{
    Deed, Does, Key, Keys, Nodes, Read, Strange, Strangeness, Version, VersionId, keys,
};

pub mod cart;
pub mod fates;
mod log;
pub mod measure;
mod online;
pub mod stream;
pub(crate) mod versions;
pub mod weaker;

/// The checker. The default judges the final reads of an eventually consistent store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Siblings {
    /// The final reads were made after replicas were brought to agree (anti-entropy ran to its
    /// end and no replica was lost since): then all final gets of a key must be equal, and what
    /// was observed once must still be there, acknowledged or not.
    pub converged: bool,
    /// Every quorum get must account for every write acknowledged before it began (R + W > N, no
    /// sloppy quorum, no change of membership). Otherwise those that do not are only counted.
    pub strict: bool,
    /// V4 must hold. Otherwise breaches are only counted.
    pub sessions: bool,
}

impl Siblings {
    /// A judge of every get: strict, with sessions, and no need of final reads.
    pub fn strict() -> Self {
        Self { converged: false, strict: true, sessions: true }
    }
}

impl Checker for Siblings {
    fn name(&self) -> &str {
        "siblings"
    }

    fn operations(&self) -> Option<&'static [&'static str]> {
        Some(&["get", "put", "delete", "home"])
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let meter = budget.start();
        match meter.reserve(BYTES_A_LINE * history.len() as u64) {
            Ok(()) => self.judge(&keys(history), &meter),
            Err(exhausted) => CheckReport::unknown(exhausted.to_string()),
        }
    }
}

/// Half a version or read, its row of the chain cover, and its value in a table.
const BYTES_A_LINE: u64 = 128;

/// With fewer operations it is not worth while to start threads.
const FEW: usize = 20_000;

impl Siblings {
    fn judge(&self, Keys { keys, nodes }: &Keys<'_>, meter: &Meter) -> CheckReport {
        let ops: usize = keys.iter().map(|(_, key)| key.versions.len() + key.reads.len()).sum();
        let parts = in_ranges(keys.len(), ops < FEW, |range| {
            let mut part = Part::new(self, meter);
            for (name, key) in &keys[range] {
                part.judge(name, key, nodes);
                if part.exhausted.is_some() {
                    break;
                }
            }
            part
        });
        self.report(parts, keys.len())
    }

    fn report(&self, parts: Vec<Part<'_>>, keys: usize) -> CheckReport {
        let mut tally = Tally::default();
        let (mut judged, mut exhausted) = (0, None);
        for part in parts {
            tally.add(part.tally);
            judged += part.judged;
            exhausted = exhausted.or(part.exhausted);
        }
        match exhausted {
            None => tally.report(self, keys),
            Some(_) if !tally.findings.is_empty() => tally.found(self),
            Some(why) => {
                CheckReport::unknown(format!("{why}: {judged} of {keys} keys were judged"))
            }
        }
    }
}

/// Some of the keys, as far as they have been judged.
struct Part<'r> {
    rules: &'r Siblings,
    meter: Meter,
    tally: Tally,
    judged: usize,
    exhausted: Option<Exhausted>,
}

impl<'r> Part<'r> {
    fn new(rules: &'r Siblings, meter: &Meter) -> Self {
        let meter = meter.clone();
        Self { rules, meter, tally: Tally::default(), judged: 0, exhausted: None }
    }

    fn judge(&mut self, name: &str, key: &Key<'_>, nodes: &Nodes<'_>) {
        let Self { rules, tally, .. } = self;
        let first_seen = if rules.converged { first_seen(key) } else { Vec::new() };
        let deletes = deletes(key);
        let mut judge = KeyJudge { name, key, nodes, first_seen, deletes, rules, tally };
        match judge.judge(&mut self.meter) {
            Ok(()) => self.judged += 1,
            Err(exhausted) => self.exhausted = Some(exhausted),
        }
    }
}

#[derive(Default)]
struct Tally {
    findings: Findings,
    acknowledged: usize,
    gets: usize,
    final_gets: usize,
    /// Keys whose final gets differ by indeterminate writes only.
    unsettled: usize,
    /// Acknowledged writes on keys that no final get answered for.
    unverified: usize,
    /// Acknowledged writes that may be on a home that was not read.
    undecided: usize,
    widest: usize,
    /// Gets that did not account for what was acknowledged before they began.
    stale_gets: usize,
    session_violations: usize,
    /// Of these the ones that missed a write of their own session.
    own_missed: u64,
    /// The most siblings any get returned.
    most_siblings: usize,
}

impl Tally {
    /// Takes in that of the keys which follow.
    fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.acknowledged += other.acknowledged;
        self.gets += other.gets;
        self.final_gets += other.final_gets;
        self.unsettled += other.unsettled;
        self.unverified += other.unverified;
        self.undecided += other.undecided;
        self.widest = self.widest.max(other.widest);
        self.stale_gets += other.stale_gets;
        self.session_violations += other.session_violations;
        self.own_missed += other.own_missed;
        self.most_siblings = self.most_siblings.max(other.most_siblings);
    }

    /// What was found, of the gets that were judged. Where every get is judged for what it promised,
    /// that is proof without final reads.
    fn found(&self, rules: &Siblings) -> CheckReport {
        let (judged, nothing) = match (self.acknowledged, rules.strict) {
            (0, _) => (0, "no put or delete was acknowledged"),
            (_, true) => (self.gets, "no get was answered"),
            (_, false) => {
                (self.final_gets, "no final get was answered, what was kept is not known")
            }
        };
        self.findings.report(judged, nothing)
    }

    fn report(&self, rules: &Siblings, keys: usize) -> CheckReport {
        let mut report = self.found(rules);
        let is_valid = report.verdict() == Verdict::Valid;
        if is_valid && self.undecided > 0 {
            let writes = counted(self.undecided, "acknowledged write");
            report = report.doubted(format!(
                "{writes} that final gets lack, on keys of which a home was not read"
            ));
        } else if is_valid && !rules.strict && self.unverified > 0 {
            let writes = counted(self.unverified, "acknowledged write");
            report = report.doubted(format!("{writes} on keys that no final get answered for"));
        }
        // The same history under other claims has another number of violations.
        report
            .with("converged", rules.converged)
            .with("strict", rules.strict)
            .with("sessions", rules.sessions)
            .with("keys", keys)
            .with("acknowledged", self.acknowledged)
            .with("gets", self.gets)
            .with("final_gets", self.final_gets)
            .with("stale_gets", self.stale_gets)
            .with("session_violations", self.session_violations)
            .with("unsettled_keys", self.unsettled)
            .with("most_siblings", self.most_siblings)
            .with("most_chains", self.widest)
    }
}

struct KeyJudge<'a, 'h> {
    name: &'a str,
    key: &'a Key<'h>,
    nodes: &'a Nodes<'h>,
    /// Of each version the time by which a read had returned it: asked for where replicas have
    /// converged.
    first_seen: Vec<u64>,
    deletes: Vec<VersionId>,
    rules: &'a Siblings,
    tally: &'a mut Tally,
}

impl KeyJudge<'_, '_> {
    fn judge(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        let key = self.key;
        let acknowledged = key.versions.iter().filter(|version| version.is_acknowledged());
        let acknowledged = acknowledged.count();
        let gets = key.reads.iter().filter(|read| !read.is_home());
        let finals: Vec<_> = gets.clone().filter(|read| read.op.is_final).collect();
        self.tally.acknowledged += acknowledged;
        self.tally.gets += gets.count();
        self.tally.final_gets += finals.len();
        self.tally.widest = self.tally.widest.max(key.chains());
        if finals.is_empty() {
            self.tally.unverified += acknowledged;
        }
        for strange in &key.strange {
            let (ops, what) = strange_in_words(self.name, key, strange);
            self.tally.findings.add("V0", self.name, ops, what);
        }
        for read in &key.reads {
            meter.tick()?;
            self.tally.most_siblings = self.tally.most_siblings.max(read.returned.len());
            self.antichain(read);
        }
        self.final_reads(&finals, meter)?;
        self.homes(meter)?;
        self.agreement(&finals);
        self.freshness(meter)?;
        self.sessions(meter)
    }

    fn value(&self, id: VersionId) -> String {
        self.key.versions[id as usize].value.map_or_else(|| "a delete".to_owned(), shown)
    }

    fn name_of(&self, id: VersionId) -> u64 {
        self.key.versions[id as usize].op.name
    }

    fn set(&self, set: &[VersionId]) -> String {
        shown_all(set.iter().filter_map(|&id| self.key.versions[id as usize].value))
    }

    /// V1.
    fn antichain(&mut self, read: &Read) {
        let Some((above, below)) = self.key.dominated(&read.returned) else { return };
        let get = read.op.name;
        let what = format!(
            "{} #{get} of {:?} returned {} and {} as siblings, but put #{} of {} was made from a \
             get that had seen {}",
            read.op.does.name(),
            self.name,
            self.value(above),
            self.value(below),
            self.name_of(above),
            self.value(above),
            self.value(below),
        );
        let ops = vec![self.name_of(below), self.name_of(above), get];
        self.tally.findings.add("V1", self.name, ops, what);
    }

    /// V2 and V5 of every final get; equal answers are judged once.
    fn final_reads(&mut self, finals: &[&Read], meter: &mut Meter) -> Result<(), Exhausted> {
        let mut missing: BTreeMap<VersionId, Vec<&Read>> = BTreeMap::new();
        let mut answers: BTreeMap<&[VersionId], Vec<&Read>> = BTreeMap::new();
        for read in finals {
            answers.entry(&read.returned).or_default().push(read);
        }
        for (returned, reads) in answers {
            meter.look()?;
            let below = self.key.below(returned);
            for read in reads {
                let deleted = self.key.below(&self.deletes_possible_with(read));
                self.resurrections(read);
                for id in self.missing_from(read, &below, &deleted) {
                    missing.entry(id).or_default().push(read);
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let homes = Homes::of(self.key);
        for (id, reads) in missing {
            let rule = match &homes {
                Homes::Unasked => "V2",
                Homes::Hold(held) if !self.accounts_for(held, id) => "V2",
                Homes::Hold(_) => "unreadable",
                Homes::Silent => {
                    self.tally.undecided += 1;
                    continue;
                }
            };
            let mut what = self.lost_in_words(id, &reads);
            if rule == "unreadable" {
                what += "; it is not lost: its homes account for it";
            }
            let mut ops = vec![self.name_of(id)];
            ops.extend(reads.iter().map(|read| read.op.name));
            self.tally.findings.add(rule, self.name, ops, what);
        }
        Ok(())
    }

    /// Is a version in a set, covered from it, or deleted?
    fn accounts_for(&self, held: &[VersionId], id: VersionId) -> bool {
        self.key.is_below(id, held)
            || self.deletes.iter().any(|delete| self.key.covers(*delete, id))
    }

    /// The deletes that can have happened by a get: those acknowledged before it, and of the others
    /// those that cover nothing it returned.
    fn deletes_possible_with(&self, read: &Read) -> Vec<VersionId> {
        let begun = read.op.begun;
        let possible = self.deletes.iter().copied().filter(|&delete| {
            let op = &self.key.versions[delete as usize].op;
            op.acknowledged_at().is_some_and(|at| at < begun)
                || !read.returned.iter().any(|&kept| self.key.covers(delete, kept))
        });
        possible.collect()
    }

    /// The required writes a read does not account for, only the topmost of those that cover one
    /// another.
    fn missing_from(&self, read: &Read, below: &[bool], deleted: &[bool]) -> Vec<VersionId> {
        let begun = read.op.begun;
        let versions = (0..).zip(&self.key.versions);
        let missing: Vec<VersionId> = versions
            .filter(|(_, version)| !version.is_delete())
            .filter(|(id, version)| {
                version.op.acknowledged_at().is_some_and(|at| at < begun)
                    || self.rules.converged && self.first_seen[*id as usize] < begun
            })
            .map(|(id, _)| id)
            .filter(|&id| !below[id as usize] && !deleted[id as usize])
            .collect();
        self.topmost(missing)
    }

    fn topmost(&self, set: Vec<VersionId>) -> Vec<VersionId> {
        let covered: Vec<VersionId> = set
            .iter()
            .flat_map(|&id| self.key.versions[id as usize].covers.iter().copied())
            .collect();
        let covered = self.key.below(&covered);
        set.into_iter().filter(|&id| !covered[id as usize]).collect()
    }

    fn lost_in_words(&self, id: VersionId, reads: &[&Read]) -> String {
        let op = &self.key.versions[id as usize].op;
        let first = reads[0];
        let known = match op.acknowledged_at() {
            Some(at) => format!("was acknowledged at {}", time(at)),
            None => "had been observed".to_owned(),
        };
        format!(
            "final get #{} of {:?} returned {}, but put #{} of {} {known} and nothing returned \
             covers it; {} show this",
            first.op.name,
            self.name,
            self.set(&first.returned),
            op.name,
            self.value(id),
            counted(reads.len(), "final get"),
        )
    }

    /// V5: an acknowledged delete covers what a final get returned.
    fn resurrections(&mut self, read: &Read) {
        let begun = read.op.begun;
        let deletes = self.deletes.iter().copied().filter(|&delete| {
            let acknowledged = self.key.versions[delete as usize].op.acknowledged_at();
            acknowledged.is_some_and(|at| at < begun)
        });
        let found = deletes.into_iter().find_map(|delete| {
            let back = read.returned.iter().find(|&&kept| self.key.covers(delete, kept));
            back.map(|&kept| (delete, kept))
        });
        if let Some((delete, kept)) = found {
            self.resurrected(delete, kept, read);
        }
    }

    fn resurrected(&mut self, delete: VersionId, kept: VersionId, read: &Read) {
        let what = format!(
            "get #{} of {:?} returned {}, which delete #{} had seen and, acknowledged, took away",
            read.op.name,
            self.name,
            self.value(kept),
            self.name_of(delete),
        );
        let ops = vec![self.name_of(kept), self.name_of(delete), read.op.name];
        self.tally.findings.add("V5", self.name, ops, what);
    }

    /// V2 of all the homes together: what no home holds, no quorum can find.
    fn homes(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        meter.look()?;
        let Some(homes) = last_home_reads(self.key) else { return Ok(()) };
        let begun = homes.iter().map(|read| read.op.begun).min().unwrap_or(0);
        let held: BTreeSet<VersionId> =
            homes.iter().flat_map(|read| read.returned.iter().copied()).collect();
        let held: Vec<VersionId> = held.into_iter().collect();
        let below = self.key.below(&held);
        // One home may know of a delete that another has not heard of.
        let deleted = self.key.below(&self.deletes);
        let versions = (0..).zip(&self.key.versions);
        let missing: Vec<VersionId> = versions
            .filter(|(id, version)| {
                !version.is_delete()
                    && version.op.acknowledged_at().is_some_and(|at| at < begun)
                    && !below[*id as usize]
                    && !deleted[*id as usize]
            })
            .map(|(id, _)| id)
            .collect();
        for id in self.topmost(missing) {
            let what = format!(
                "put #{} of {} to {:?} was acknowledged, but none of {} holds it or what covers it",
                self.name_of(id),
                self.value(id),
                self.name,
                counted(homes.len(), "home"),
            );
            let mut ops = vec![self.name_of(id)];
            ops.extend(homes.iter().map(|read| read.op.name));
            self.tally.findings.add("V2", self.name, ops, what);
        }
        Ok(())
    }

    /// V3.
    fn agreement(&mut self, finals: &[&Read]) {
        let Some((first, rest)) = finals.split_first() else { return };
        let Some(other) = rest.iter().find(|read| read.returned != first.returned) else { return };
        let begun = finals.iter().map(|read| read.op.begun).min().unwrap_or(0);
        // A write that was not over when the final gets began may show in one and not in another.
        let free = |version: &Version<'_>| match version.op.outcome {
            Outcome::Ok => version.op.acknowledged_at().is_some_and(|at| at >= begun),
            Outcome::Info => true,
            Outcome::Fail => false,
        };
        if !self.rules.converged && self.key.versions.iter().any(free) {
            self.tally.unsettled += 1;
            return;
        }
        let at = |read: &Read| match self.nodes.name(read.op.node) {
            Some(node) => format!(" through {node}"),
            None => String::new(),
        };
        let what = format!(
            "the final gets of {:?} differ: #{}{} returned {}, #{}{} returned {}",
            self.name,
            first.op.name,
            at(first),
            self.set(&first.returned),
            other.op.name,
            at(other),
            self.set(&other.returned),
        );
        let ops = vec![first.op.name, other.op.name];
        self.tally.findings.add("V3", self.name, ops, what);
    }
}

/// The deletes that may have happened.
fn deletes(key: &Key<'_>) -> Vec<VersionId> {
    let versions = (0..).zip(&key.versions);
    let deletes =
        versions.filter(|(_, version)| version.is_delete() && version.may_have_happened());
    deletes.map(|(id, _)| id).collect()
}

fn first_seen(key: &Key<'_>) -> Vec<u64> {
    let mut first = vec![u64::MAX; key.versions.len()];
    for read in &key.reads {
        let at = read.op.acknowledged_at().unwrap_or(u64::MAX);
        for &id in &read.returned {
            first[id as usize] = at.min(first[id as usize]);
        }
    }
    first
}

/// The last final read of each home; none if there were none, or one home never answered: then
/// what the homes hold together is not known.
pub(crate) fn last_home_reads<'a>(key: &'a Key<'_>) -> Option<Vec<&'a Read>> {
    last_of_each_home(key, |read| read.op.is_final)
}

fn last_of_each_home<'a>(key: &'a Key<'_>, which: impl Fn(&Read) -> bool) -> Option<Vec<&'a Read>> {
    let reads = key.reads.iter().filter(|read| read.is_home() && which(read));
    let last: BTreeMap<u32, &Read> = reads.map(|read| (read.op.node, read)).collect();
    let silent = |op: &Deed| op.does == Does::Home && op.is_final && !last.contains_key(&op.node);
    let silent = key.unanswered.iter().any(silent);
    (!last.is_empty() && !silent).then(|| last.into_values().collect())
}

/// What is known of what the homes of a key hold themselves.
#[derive(Debug)]
pub(crate) enum Homes {
    /// No home was ever read: gets are all there is.
    Unasked,
    /// Some home did not answer: what is on no other may be there.
    Silent,
    /// All that they hold together, by the last read of each.
    Hold(Vec<VersionId>),
}

impl Homes {
    pub(crate) fn of(key: &Key<'_>) -> Self {
        let asked = |op: &Deed| op.does == Does::Home && op.is_final;
        let asked = key.unanswered.iter().any(asked)
            || key.reads.iter().any(|read| read.is_home() && read.op.is_final);
        match last_of_each_home(key, |_| true) {
            _ if !asked => Self::Unasked,
            None => Self::Silent,
            Some(reads) => {
                let held: BTreeSet<VersionId> =
                    reads.iter().flat_map(|read| read.returned.iter().copied()).collect();
                Self::Hold(held.into_iter().collect())
            }
        }
    }
}

/// V0: the ops and the sentence.
pub(crate) fn strange_in_words(
    key_name: &str,
    key: &Key<'_>,
    strange: &Strange<'_>,
) -> (Vec<u64>, String) {
    let name = strange.op.name;
    let returned = format!("{} #{name} of {key_name:?} returned", strange.op.does.name());
    let writer = |id: VersionId| key.versions[id as usize].op.name;
    match &strange.why {
        Strangeness::NeverWritten(value) => {
            (vec![name], format!("{returned} {}, which nobody wrote", shown(value)))
        }
        Strangeness::Failed(value, id) => {
            let put = writer(*id);
            let what = format!("{returned} {} of put #{put}, which had failed", shown(value));
            (vec![put, name], what)
        }
        Strangeness::Future(value, id) => {
            let put = writer(*id);
            let what = format!("{returned} {} before put #{put} of it began", shown(value));
            (vec![put, name], what)
        }
        Strangeness::Twice(value) => (vec![name], format!("{returned} {} twice", shown(value))),
        Strangeness::NoList => (vec![name], format!("{returned} no list of siblings")),
    }
}
