//! The four session guarantees (Terry et al., "Session guarantees for weakly consistent replicated
//! data", 1994), each by itself, over unique-write registers.
//!
//! A store that keeps a guarantee can order the writes of each key so that every read returns the
//! latest of the writes it *must* see. What a read `r` must see, by guarantee, are the writes `w`
//! of its key with
//!
//! - **read your writes**: `w` before `r` in its session;
//! - **monotonic reads**: `w` was read before `r` in its session;
//! - **monotonic writes**: `w` before `w'` in a session, and `w'` was read at or before `r` in its
//!   session;
//! - **writes follow reads**: `w` was read before `w'` in a session, and `w'` was read at or before
//!   `r` in its session.
//!
//! So `r`, returning `v`, forces `w` before `v`; the last two also order the writes of one session
//! as it made them, and after what it had read. The guarantee holds if what is forced has no cycle,
//! and nothing must be seen by a read that returned the initial value. All four together with one
//! order for all are judged as `together`. A guarantee by which no read had to see anything is unknown.
//!
//! Whatever a read must see is in its causal past. So a history that is quickly seen to be
//! [causally convergent](crate::consistency::causal) keeps all guarantees: an order by which no read knows a
//! write of its key after the one it returned is one that all that is forced follows. For another
//! history the same is tried with each guarantee by itself and the order of invocations. Only what
//! that leaves open is decided by the graph of all that is forced, which is large.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::{HashMap, HashSet};

use crate::consistency::causal::is_surely_convergent;
use crate::consistency::graph::Graph;
use crate::consistency::registers::{Act, EventId, Registers};
use crate::history::History;
use crate::judge::budget::{Budget, Exhausted, Meter};
use crate::judge::finding::Findings;
use crate::judge::verdict::{CheckReport, Checker, Verdict};

/// The guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guarantee {
    /// A session sees its own writes.
    ReadYourWrites,
    /// A session sees what it has seen.
    MonotonicReads,
    /// The writes of a session are seen in its order.
    MonotonicWrites,
    /// A write is seen after what its session had read.
    WritesFollowReads,
}

impl Guarantee {
    const ALL: [Self; 4] = [
        Self::ReadYourWrites,
        Self::MonotonicReads,
        Self::MonotonicWrites,
        Self::WritesFollowReads,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::ReadYourWrites => "read_your_writes",
            Self::MonotonicReads => "monotonic_reads",
            Self::MonotonicWrites => "monotonic_writes",
            Self::WritesFollowReads => "writes_follow_reads",
        }
    }
}

/// The checker: each guarantee gets a verdict of its own, and the report has the worst of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sessions;

impl Checker for Sessions {
    fn name(&self) -> &str {
        "sessions"
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let registers = match Registers::readable(history, &meter) {
            Ok(registers) => registers,
            Err(report) => return report,
        };
        let mut each = BTreeMap::new();
        let mut findings = Findings::default();
        let outcome = judge_all(&registers, &mut each, &mut findings, &mut meter);
        let report = match outcome {
            Err((exhausted, name)) if findings.is_empty() => {
                CheckReport::unknown(format!("{exhausted}, at {name}"))
            }
            _ => {
                let report = registers.report(&findings).with("events", registers.events.len());
                let open = each.iter().find(|(_, report)| report.verdict() == Verdict::Unknown);
                match open {
                    Some((name, why)) if report.verdict() == Verdict::Valid => {
                        let why = why.reason.as_deref().unwrap_or_default();
                        report.doubted(format!("{}: {why}", name.replace('_', " ")))
                    }
                    _ => report,
                }
            }
        };
        let verdicts: BTreeMap<_, _> =
            each.iter().map(|(name, report)| (name, report.verdict())).collect();
        let judged: BTreeMap<_, _> =
            each.iter().map(|(name, report)| (name, report.judged())).collect();
        report.with("guarantees", verdicts).with("judged_by_guarantee", judged)
    }
}

/// Judges each guarantee and all together; out of budget it says at which.
fn judge_all(
    registers: &Registers<'_>,
    each: &mut BTreeMap<&'static str, CheckReport>,
    findings: &mut Findings,
    meter: &mut Meter,
) -> Result<(), (Exhausted, &'static str)> {
    const TOGETHER: &str = "together";
    let all_hold =
        is_surely_convergent(registers, meter).map_err(|exhausted| (exhausted, TOGETHER))?;
    let bound = bound(registers, meter).map_err(|exhausted| (exhausted, TOGETHER))?;
    let alone = Guarantee::ALL.map(|guarantee| (guarantee.name(), vec![guarantee]));
    let together = (TOGETHER, Guarantee::ALL.to_vec());
    for ((name, guarantees), bound) in alone.into_iter().chain([together]).zip(bound) {
        // What breaks one guarantee breaks all together: not to be told twice.
        let before = if name == TOGETHER { 0 } else { findings.total() };
        if !all_hold && findings.total() == before {
            judge(registers, name, &guarantees, findings, meter)
                .map_err(|exhausted| (exhausted, name))?;
        }
        let report = if findings.total() == before {
            CheckReport::valid_if_judged(bound, NOTHING_FORCED)
        } else {
            CheckReport::invalid("see the findings").judging(bound)
        };
        each.insert(name, report);
    }
    Ok(())
}

/// How many reads had to see something: by each guarantee, and by any.
fn bound(registers: &Registers<'_>, meter: &mut Meter) -> Result<[usize; 5], Exhausted> {
    let must = Must::new(registers, &Guarantee::ALL, meter)?;
    let mut bound = [0; 5];
    every_read(registers, meter, |seen, id, _, _| {
        let [a, b, c, d] = Guarantee::ALL.map(|guarantee| must.binds(guarantee, seen, id));
        let binds = [a, b, c, d, a || b || c || d];
        bound.iter_mut().zip(binds).for_each(|(bound, binds)| *bound += usize::from(binds));
        Ok(true)
    })?;
    Ok(bound)
}

/// Why a guarantee is not judged.
const NOTHING_FORCED: &str = "no read had to see anything by it";

/// Why `w` must be seen by `r`: the ops that say so, `w` and `r` left out.
#[derive(Clone, Copy)]
struct Why {
    read: EventId,
    through: [Option<EventId>; 2],
}

fn judge(
    registers: &Registers<'_>,
    rule: &'static str,
    guarantees: &[Guarantee],
    findings: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let must = Must::new(registers, guarantees, meter)?;
    if holds_by_invocation(registers, &must, meter)? {
        return Ok(());
    }
    let mut forced = Graph::new(registers.events.len());
    must.order_of_writes(&mut forced);
    let mut unseen = Vec::new();
    every_read(registers, meter, |seen, id, returned, meter| {
        for (write, through) in must.see(seen, id) {
            meter.tick()?;
            match returned {
                Some(returned) if returned == write => {}
                Some(returned) => forced.add(write, returned, Why { read: id, through }),
                None => unseen.push((write, Why { read: id, through })),
            }
        }
        Ok(true)
    })?;
    if let Some((write, why)) = unseen.first() {
        report(registers, rule, &[(*write, None, *why)], findings);
    }
    if let Some(cycle) = forced.cycle() {
        let edges: Vec<_> =
            cycle.into_iter().map(|(from, to, why)| (from, Some(to), why)).collect();
        report(registers, rule, &edges, findings);
    }
    Ok(())
}

/// Does all that is forced follow the order of invocations, which is that of event ids?
fn holds_by_invocation(
    registers: &Registers<'_>,
    must: &Must<'_, '_>,
    meter: &mut Meter,
) -> Result<bool, Exhausted> {
    let forward = (0..).zip(&registers.events).all(|(id, event)| match event.act {
        Act::Read(Some(write)) => write < id,
        Act::Read(None) | Act::Write => true,
    });
    if !forward {
        return Ok(false);
    }
    every_read(registers, meter, |seen, id, returned, _| Ok(must.latest(seen, id) <= returned))
}

/// Whether `judge` says yes to every read, told what its session has seen before it and what it
/// returned. The first no is the last read told.
fn every_read(
    registers: &Registers<'_>,
    meter: &mut Meter,
    mut judge: impl FnMut(&Seen, EventId, Option<EventId>, &mut Meter) -> Result<bool, Exhausted>,
) -> Result<bool, Exhausted> {
    for session in &registers.sessions {
        let mut seen = Seen::default();
        for &id in session {
            meter.tick()?;
            seen.note(registers, id);
            let Act::Read(returned) = registers.event(id).act else { continue };
            if !judge(&seen, id, returned, meter)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn report(
    registers: &Registers<'_>,
    rule: &'static str,
    edges: &[(EventId, Option<EventId>, Why)],
    findings: &mut Findings,
) {
    let mut ops = BTreeSet::new();
    let mut said = Vec::new();
    for (from, to, why) in edges {
        ops.extend([registers.name(*from), registers.name(why.read)]);
        ops.extend(to.map(|to| registers.name(to)));
        ops.extend(why.through.into_iter().flatten().map(|id| registers.name(id)));
        let is_read = matches!(registers.event(why.read).act, Act::Read(_));
        said.push(match (to, is_read) {
            (None, _) => {
                format!("{} had to see {}", registers.in_words(why.read), registers.in_words(*from))
            }
            (Some(to), true) => format!(
                "{} had to see {}, so that must come before {}",
                registers.in_words(why.read),
                registers.in_words(*from),
                registers.in_words(*to)
            ),
            (Some(to), false) => format!(
                "{} comes before {} by its session",
                registers.in_words(*from),
                registers.in_words(*to)
            ),
        });
    }
    let key = registers.key_of(edges[0].0);
    let what = format!("{} is broken on {key:?}: {}", rule.replace('_', " "), said.join("; "));
    findings.add(rule, key, ops.into_iter().collect(), what);
}

/// What a session has done up to some event, that event included.
#[derive(Default)]
struct Seen {
    /// Own writes and what was read, by key.
    own: HashMap<u32, Vec<EventId>>,
    read: HashMap<u32, Vec<EventId>>,
    ever_read: HashSet<EventId>,
    /// Of what was read the latest, by key.
    latest_read: HashMap<u32, EventId>,
    /// The latest event read of a key of which something had been read before.
    reads_again: bool,
    /// Of each other session how far it is known: the furthest of its writes that was read.
    known: BTreeMap<u32, EventId>,
}

impl Seen {
    fn note(&mut self, registers: &Registers<'_>, id: EventId) {
        let event = registers.event(id);
        match event.act {
            Act::Write => self.own.entry(event.key).or_default().push(id),
            Act::Read(None) => self.reads_again = self.latest_read.contains_key(&event.key),
            Act::Read(Some(write)) => {
                self.reads_again = self.latest_read.contains_key(&event.key);
                if self.ever_read.insert(write) {
                    self.read.entry(event.key).or_default().push(write);
                }
                let latest = self.latest_read.entry(event.key).or_insert(write);
                *latest = write.max(*latest);
                let source = registers.event(write);
                let known = self.known.entry(source.session).or_insert(write);
                if registers.event(*known).at < source.at {
                    *known = write;
                }
            }
        }
    }
}

/// What reads must see under some of the guarantees.
struct Must<'a, 'h> {
    registers: &'a Registers<'h>,
    guarantees: &'a [Guarantee],
    /// Per session and key its writes, in order.
    writes: HashMap<(u32, u32), Vec<EventId>>,
    /// Per session and key each write first read by it, with the read.
    read: HashMap<(u32, u32), Vec<(EventId, EventId)>>,
    /// Beside each of those the latest write up to it.
    latest: HashMap<(u32, u32), Vec<EventId>>,
}

impl<'a, 'h> Must<'a, 'h> {
    fn new(
        registers: &'a Registers<'h>,
        guarantees: &'a [Guarantee],
        meter: &mut Meter,
    ) -> Result<Self, Exhausted> {
        let mut writes: HashMap<_, Vec<EventId>> = HashMap::new();
        let mut read: HashMap<_, Vec<(EventId, EventId)>> = HashMap::new();
        let mut ever_read = HashSet::new();
        for &id in registers.sessions.iter().flatten() {
            meter.tick()?;
            let event = registers.event(id);
            let place = (event.session, event.key);
            match event.act {
                Act::Write => writes.entry(place).or_default().push(id),
                Act::Read(None) => {}
                Act::Read(Some(write)) => {
                    if ever_read.insert((event.session, write)) {
                        read.entry(place).or_default().push((write, id));
                    }
                }
            }
        }
        let latest = read.iter().map(|(place, read)| {
            let up_to = read.iter().scan(0, |latest, (write, _)| {
                *latest = (*write).max(*latest);
                Some(*latest)
            });
            (*place, up_to.collect())
        });
        let latest = latest.collect();
        Ok(Self { registers, guarantees, writes, read, latest })
    }

    fn asks(&self, guarantee: Guarantee) -> bool {
        self.guarantees.contains(&guarantee)
    }

    /// The order of the writes themselves: as sessions made them, and after what they had read.
    fn order_of_writes(&self, forced: &mut Graph<Why>) {
        for (place, writes) in &self.writes {
            if self.asks(Guarantee::MonotonicWrites) {
                for two in writes.windows(2) {
                    forced.add(two[0], two[1], Why { read: two[1], through: [None; 2] });
                }
            }
            if self.asks(Guarantee::WritesFollowReads) {
                for &write in writes {
                    for &(before, read) in self.read.get(place).into_iter().flatten() {
                        let at = |id| self.registers.event(id).at;
                        if at(read) < at(write) && before != write {
                            let why = Why { read: write, through: [Some(read), None] };
                            forced.add(before, write, why);
                        }
                    }
                }
            }
        }
    }

    /// The writes of the read's key that it must see, and through which ops.
    fn see(&self, seen: &Seen, read: EventId) -> Vec<(EventId, [Option<EventId>; 2])> {
        let key = self.registers.event(read).key;
        let mut must = Vec::new();
        if self.asks(Guarantee::ReadYourWrites) {
            let own = seen.own.get(&key).into_iter().flatten();
            must.extend(own.map(|&write| (write, [None; 2])));
        }
        if self.asks(Guarantee::MonotonicReads) {
            let before = seen.read.get(&key).into_iter().flatten();
            must.extend(before.map(|&write| (write, [None; 2])));
        }
        for (&session, &upto) in &seen.known {
            let before = |id: EventId| self.registers.event(id).at < self.registers.event(upto).at;
            if self.asks(Guarantee::MonotonicWrites) {
                // They are ordered as the session made them: the last one stands for all.
                let writes = self.writes.get(&(session, key)).map_or(&[][..], Vec::as_slice);
                let last = last_before(writes, before);
                must.extend(last.map(|write| (write, [Some(upto), None])));
            }
            if self.asks(Guarantee::WritesFollowReads) {
                let read = self.read.get(&(session, key)).into_iter().flatten();
                let read = read.take_while(|(_, read)| before(*read));
                must.extend(read.map(|&(write, read)| (write, [Some(read), Some(upto)])));
            }
        }
        must
    }

    /// Must the read see anything by the guarantee, what it returned itself apart?
    fn binds(&self, guarantee: Guarantee, seen: &Seen, read: EventId) -> bool {
        let key = self.registers.event(read).key;
        let from_others = |first: &dyn Fn(u32) -> Option<EventId>| {
            seen.known.iter().any(|(&session, &upto)| {
                let at = |id| self.registers.event(id).at;
                first(session).is_some_and(|first| at(first) < at(upto))
            })
        };
        match guarantee {
            Guarantee::ReadYourWrites => seen.own.contains_key(&key),
            Guarantee::MonotonicReads => seen.reads_again,
            Guarantee::MonotonicWrites => from_others(&|session| {
                self.writes.get(&(session, key)).and_then(|writes| writes.first().copied())
            }),
            Guarantee::WritesFollowReads => from_others(&|session| {
                let first = self.read.get(&(session, key)).and_then(|read| read.first());
                first.map(|(_, read)| *read)
            }),
        }
    }

    /// The latest in the order of invocations of the writes that the read must see.
    fn latest(&self, seen: &Seen, read: EventId) -> Option<EventId> {
        let key = self.registers.event(read).key;
        let mut latest = None;
        if self.asks(Guarantee::ReadYourWrites) {
            latest = latest.max(seen.own.get(&key).and_then(|own| own.last().copied()));
        }
        if self.asks(Guarantee::MonotonicReads) {
            latest = latest.max(seen.latest_read.get(&key).copied());
        }
        let (writes, follow) =
            (self.asks(Guarantee::MonotonicWrites), self.asks(Guarantee::WritesFollowReads));
        if !writes && !follow {
            return latest;
        }
        for (&session, &upto) in &seen.known {
            let before = |id: EventId| self.registers.event(id).at < self.registers.event(upto).at;
            if let (true, Some(writes)) = (writes, self.writes.get(&(session, key))) {
                latest = latest.max(last_before(writes, before));
            }
            if let (true, Some(read)) = (follow, self.read.get(&(session, key))) {
                let n = read.partition_point(|(_, read)| before(*read));
                let up_to = n.checked_sub(1).map(|last| self.latest[&(session, key)][last]);
                latest = latest.max(up_to);
            }
        }
        latest
    }
}

/// The last of events, which are in the order of their session, that comes before.
fn last_before(events: &[EventId], before: impl Fn(EventId) -> bool) -> Option<EventId> {
    events[..events.partition_point(|event| before(*event))].last().copied()
}
