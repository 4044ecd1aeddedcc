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
//! order for all are judged as `together`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::budget::{Budget, Exhausted, Meter};
use crate::finding::Findings;
use crate::graph::Graph;
use crate::history::History;
use crate::registers::{Act, EventId, Registers};
use crate::verdict::{CheckReport, Checker, Verdict};

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

/// The checker: each guarantee gets a verdict of its own, the report is invalid if one is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sessions;

impl Checker for Sessions {
    fn name(&self) -> &str {
        "sessions"
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let registers = match Registers::readable(history) {
            Ok(registers) => registers,
            Err(report) => return report,
        };
        let all = Guarantee::ALL.map(|guarantee| (guarantee.name(), vec![guarantee]));
        let together = ("together", Guarantee::ALL.to_vec());
        let mut verdicts = BTreeMap::new();
        let mut findings = Findings::default();
        for (name, guarantees) in all.into_iter().chain([together]) {
            // What breaks one guarantee breaks all together: not to be told twice.
            if name == "together" && !findings.is_empty() {
                verdicts.insert(name, Verdict::Invalid);
                continue;
            }
            let before = findings.total();
            if let Err(exhausted) = judge(&registers, name, &guarantees, &mut findings, &mut meter)
            {
                if findings.is_empty() {
                    return CheckReport::unknown(format!("{exhausted}, at {name}"))
                        .with("guarantees", verdicts);
                }
                break;
            }
            let holds = findings.total() == before;
            verdicts.insert(name, if holds { Verdict::Valid } else { Verdict::Invalid });
        }
        findings.report().with("events", registers.events.len()).with("guarantees", verdicts)
    }
}

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
    let mut forced = Graph::new(registers.events.len());
    let must = Must::new(registers, guarantees, meter)?;
    must.order_of_writes(&mut forced);
    let mut unseen = Vec::new();
    for session in &registers.sessions {
        let mut seen = Seen::default();
        for &id in session {
            meter.tick()?;
            seen.note(registers, id);
            let Act::Read(returned) = registers.event(id).act else { continue };
            for (write, through) in must.see(&seen, id) {
                meter.tick()?;
                match returned {
                    Some(returned) if returned == write => {}
                    Some(returned) => forced.add(write, returned, Why { read: id, through }),
                    None => unseen.push((write, Why { read: id, through })),
                }
            }
        }
    }
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
    /// Of each other session how far it is known: the furthest of its writes that was read.
    known: BTreeMap<u32, EventId>,
}

impl Seen {
    fn note(&mut self, registers: &Registers<'_>, id: EventId) {
        let event = registers.event(id);
        match event.act {
            Act::Write => self.own.entry(event.key).or_default().push(id),
            Act::Read(None) => {}
            Act::Read(Some(write)) => {
                let read = self.read.entry(event.key).or_default();
                if !read.contains(&write) {
                    read.push(write);
                }
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
}

impl<'a, 'h> Must<'a, 'h> {
    fn new(
        registers: &'a Registers<'h>,
        guarantees: &'a [Guarantee],
        meter: &mut Meter,
    ) -> Result<Self, Exhausted> {
        let mut writes: HashMap<_, Vec<EventId>> = HashMap::new();
        let mut read: HashMap<_, Vec<(EventId, EventId)>> = HashMap::new();
        for &id in registers.sessions.iter().flatten() {
            meter.tick()?;
            let event = registers.event(id);
            let place = (event.session, event.key);
            match event.act {
                Act::Write => writes.entry(place).or_default().push(id),
                Act::Read(None) => {}
                Act::Read(Some(write)) => {
                    let read = read.entry(place).or_default();
                    if !read.iter().any(|(known, _)| *known == write) {
                        read.push((write, id));
                    }
                }
            }
        }
        Ok(Self { registers, guarantees, writes, read })
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
                let writes = self.writes.get(&(session, key)).into_iter().flatten();
                let last = writes.copied().take_while(|&write| before(write)).last();
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
}
