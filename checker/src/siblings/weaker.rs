//! What stores do promise that do not keep every concurrent version: the newest, or those without a rival.
//!
//! Such a store loses acknowledged puts by design, so [`Siblings`](super::Siblings) accuses it whatever it
//! does. These tell one that does what it says from one that does not.

use std::time::Duration;

use crate::history::History;
use crate::judge::budget::{Budget, Exhausted, Meter};
use crate::judge::finding::{Findings, shown};
use crate::judge::verdict::{CheckReport, Checker};
use crate::siblings::versions::{Key, Read, Rivals, Version, VersionId, keys};
use crate::siblings::{BYTES_A_LINE, deletes, strange_in_words};

/// Last writer wins: of all writes the one with the newest stamp of a wall clock is kept, and no other.
///
/// A write is stamped between its invocation and its acknowledgement. So if one was acknowledged, and
/// another began later than by how much clocks may differ, the other one is newer; then no read that has to
/// know of the other returns the first (`newest`), and none returns two values (`one`). Which of two is newer
/// that are closer together a history does not tell.
///
/// Judged are final gets, which have to know of every acknowledged write, and with `strict` all gets, which
/// have to know of those acknowledged before they began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Newest {
    /// By how much clocks of any two nodes may differ.
    pub skew: Duration,
    /// Every get has to know of what was acknowledged before it began (R + W > N, no sloppy quorum).
    pub strict: bool,
}

/// A clock a version (the paper, section 4.4): two writes through one coordinator of which neither read the
/// other may pass for one after the other, and the earlier is lost.
///
/// So an acknowledged put is kept, or overwritten by what read it, if it has no *rival*: no other write, that
/// may have happened, that neither read it nor was read by it, each directly or through others (`lost`). And
/// no read returns a value beside one that read it (`dominated`). A history does not tell who coordinated, so
/// of puts with rivals nothing is said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unrivalled;

const OPERATIONS: Option<&'static [&'static str]> = Some(&["get", "put", "delete", "home"]);

impl Checker for Newest {
    fn name(&self) -> &str {
        "newest"
    }

    fn operations(&self) -> Option<&'static [&'static str]> {
        OPERATIONS
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let nothing = "no get that had to know of a write was answered";
        judge(history, budget, nothing, |key, findings, meter| self.judge(key, findings, meter))
            .with("skew_ms", self.skew.as_secs_f64() * 1e3)
            .with("strict", self.strict)
    }
}

impl Checker for Unrivalled {
    fn name(&self) -> &str {
        "unrivalled"
    }

    fn operations(&self) -> Option<&'static [&'static str]> {
        OPERATIONS
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let nothing = "no put without a rival was acknowledged on a key with an answered final get";
        judge(history, budget, nothing, unrivalled)
    }
}

/// A key and its name.
type Named<'a, 'h> = (&'a str, &'a Key<'h>);

/// Judges key by key; `judge_key` says how much it judged.
fn judge(
    history: &History,
    budget: &Budget,
    nothing: &str,
    judge_key: impl Fn(Named<'_, '_>, &mut Findings, &mut Meter) -> Result<usize, Exhausted>,
) -> CheckReport {
    let mut meter = budget.start();
    if let Err(exhausted) = meter.reserve(BYTES_A_LINE * history.len() as u64) {
        return CheckReport::unknown(exhausted.to_string());
    }
    let (keys, mut findings, mut judged) = (keys(history).keys, Findings::default(), 0);
    for (name, key) in &keys {
        for strange in &key.strange {
            let (ops, what) = strange_in_words(name, key, strange);
            findings.add("integrity", name, ops, what);
        }
        match judge_key((name, key), &mut findings, &mut meter) {
            Ok(more) => judged += more,
            Err(exhausted) if findings.is_empty() => {
                return CheckReport::unknown(exhausted.to_string());
            }
            Err(_) => break,
        }
    }
    findings.report(judged, nothing)
}

impl Newest {
    /// By how much clocks of processes on one host differ at most: they do not, but one that reads its clock
    /// may wait for its turn.
    pub const ONE_HOST: Duration = Duration::from_millis(10);

    fn judge(
        &self,
        (name, key): Named<'_, '_>,
        findings: &mut Findings,
        meter: &mut Meter,
    ) -> Result<usize, Exhausted> {
        let acknowledged = Acknowledged::of(key);
        let gets = key.reads.iter().filter(|read| !read.is_home());
        let mut judged = 0;
        for get in gets.filter(|get| self.strict || get.op.is_final) {
            meter.tick()?;
            let written = |id: VersionId| &key.versions[id as usize];
            if let [one, other, ..] = get.returned[..] {
                let ops = vec![written(one).op.name, written(other).op.name, get.op.name];
                let all = get.returned.len();
                let what = format!("get #{} of {name:?} returned {all} values", get.op.name);
                findings.add("one", name, ops, what);
                continue;
            }
            let Some(latest) = acknowledged.latest_before(get.op.begun) else { continue };
            judged += 1;
            let latest = written(latest);
            let is_older = |version: &Version<'_>| {
                version.op.ended.saturating_add(self.skew.as_nanos() as u64) < latest.op.begun
            };
            let deleted = || {
                let begun = |version: &&Version<'_>| version.op.begun <= get.op.ended;
                let deletes =
                    key.versions.iter().filter(|v| v.is_delete() && v.may_have_happened());
                deletes.filter(begun).any(|delete| !is_older(delete))
            };
            let (is_stale, returned) = match get.returned.first() {
                Some(id) => (is_older(written(*id)), Some(written(*id))),
                None => (!deleted(), None),
            };
            if is_stale {
                self.stale((name, get), returned, latest, findings);
            }
        }
        Ok(judged)
    }

    fn stale(
        &self,
        (name, get): (&str, &Read),
        returned: Option<&Version<'_>>,
        latest: &Version<'_>,
        findings: &mut Findings,
    ) {
        let told = |version: &Version<'_>| {
            let value = version.value.map_or_else(|| "nothing".to_owned(), shown);
            format!("{} #{} of {value}", version.op.does.name(), version.op.name)
        };
        let skew = self.skew;
        let found = match returned {
            Some(version) => format!("what {} had written", told(version)),
            None => "nothing".to_owned(),
        };
        let what = format!(
            "get #{} of {name:?} returned {found}, but {} began later, by more than the {skew:?} that clocks \
             may differ, and was acknowledged before the get began",
            get.op.name,
            told(latest),
        );
        let ops = returned.iter().map(|version| version.op.name);
        let ops = ops.chain([latest.op.name, get.op.name]).collect();
        findings.add("newest", name, ops, what);
    }
}

/// The acknowledged writes of a key by when that was, each with the one among it and those before that began
/// last.
struct Acknowledged(Vec<(u64, VersionId)>);

impl Acknowledged {
    fn of(key: &Key<'_>) -> Self {
        let all = key.versions.iter().enumerate().filter(|(_, version)| version.is_acknowledged());
        let mut all: Vec<_> =
            all.map(|(id, version)| (version.op.ended, id as VersionId)).collect();
        all.sort_unstable();
        let mut latest = None::<VersionId>;
        for (_, id) in &mut all {
            // Versions are numbered in the order in which they began.
            let later = latest.map_or(*id, |latest| latest.max(*id));
            (*id, latest) = (later, Some(later));
        }
        Self(all)
    }

    fn latest_before(&self, at: u64) -> Option<VersionId> {
        let known = self.0.partition_point(|(ended, _)| *ended < at);
        Some(self.0[known.checked_sub(1)?].1)
    }
}

fn unrivalled(
    (name, key): Named<'_, '_>,
    findings: &mut Findings,
    meter: &mut Meter,
) -> Result<usize, Exhausted> {
    let finals: Vec<_> =
        key.reads.iter().filter(|read| !read.is_home() && read.op.is_final).collect();
    if finals.is_empty() {
        return Ok(0);
    }
    for read in &key.reads {
        meter.tick()?;
        dominated((name, key), read, findings);
    }
    let below: Vec<_> = finals.iter().map(|get| key.below(&get.returned)).collect();
    let deleted = key.below(&deletes(key));
    let rivals = Rivals::of(key, |id| key.versions[id as usize].may_have_happened());
    let mut judged = 0;
    for (at, version) in key.versions.iter().enumerate() {
        if version.is_delete() || !version.is_acknowledged() {
            continue;
        }
        meter.look()?;
        if rivals.has(at as VersionId) {
            continue;
        }
        judged += 1;
        let lacking = finals.iter().zip(&below).find(|(_, below)| !below[at] && !deleted[at]);
        if let Some((get, _)) = lacking {
            let (put, get) = (version.op.name, get.op.name);
            let value = version.value.map_or_else(String::new, shown);
            let what = format!(
                "final get #{get} of {name:?} returned nothing that covers put #{put} of {value}, which was \
                 acknowledged, and every other write had read it or was read by it"
            );
            findings.add("lost", name, vec![put, get], what);
        }
    }
    Ok(judged)
}

fn dominated((name, key): Named<'_, '_>, read: &Read, findings: &mut Findings) {
    let Some((above, below)) = key.dominated(&read.returned) else { return };
    let [above, below] = [above, below].map(|id| &key.versions[id as usize]);
    let shown = |version: &Version<'_>| version.value.map_or_else(String::new, shown);
    let what = format!(
        "{} #{} of {name:?} returned {} beside {}, which was put by who had read it",
        read.op.does.name(),
        read.op.name,
        shown(below),
        shown(above),
    );
    findings.add("dominated", name, vec![below.op.name, above.op.name, read.op.name], what);
}
