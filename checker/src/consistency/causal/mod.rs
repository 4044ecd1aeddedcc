//! Causal consistency of unique-write registers, in its three strengths.
//!
//! After Bouajjani, Enea, Guerraoui and Hamza, "On verifying causal consistency" (POPL 2017): with
//! unique writes the causal order `co` is what session order and reads-from generate, and each
//! strength is the absence of bad patterns.
//!
//! - **CC**: no thin-air read, no cycle in `co`, no read of the initial value after a write of the
//!   key, no read of a write that another write of the key overwrote in the read's past.
//! - **CCv** (convergent): also no cycle in `co` and the conflict order: a write in a read's past
//!   comes before the write that was read.
//! - **CM** (causal memory): also, for each session, no cycle in the order saturated with the
//!   conflicts its own reads force, and no initial read after a write in that order.
//!
//! One pass in causal order with a vector clock a session: for each read only the last write of
//! each session in its past matters. O(n k) for n events and k sessions; most histories that are
//! valid are seen to be so in [less memory](quick). CM repeats it for each session until nothing
//! more is forced, and is only decided for histories it is affordable for.

use std::collections::{BTreeMap, HashMap};

use crate::consistency::graph::Graph;
use crate::consistency::registers::{Act, EventId, Registers};
use crate::history::History;
use crate::judge::budget::{Budget, Exhausted, Meter};
use crate::judge::finding::Findings;
use crate::judge::verdict::{CheckReport, Checker, Verdict};

mod quick;

/// How strong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Causal consistency.
    #[default]
    Causal,
    /// Causal convergence.
    Convergent,
    /// Causal memory.
    Memory,
}

/// The checker: judges one strength and reports, in `strengths`, on those that it could decide.
#[derive(Clone, Copy, Debug, Default)]
pub struct Causal {
    /// Which strength decides the verdict.
    pub strength: Strength,
}

impl Checker for Causal {
    fn name(&self) -> &str {
        match self.strength {
            Strength::Causal => "causal",
            Strength::Convergent => "causal-convergent",
            Strength::Memory => "causal-memory",
        }
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let registers = match Registers::readable(history, &meter) {
            Ok(registers) => registers,
            Err(report) => return report,
        };
        match self.judge(&registers, &mut meter) {
            Ok(report) => report.with("events", registers.events.len()),
            Err(exhausted) => CheckReport::unknown(exhausted.to_string()),
        }
    }
}

/// More steps than this and CM is not tried unless it was asked for.
const AFFORDABLE: usize = 20_000_000;

impl Causal {
    fn judge(
        &self,
        registers: &Registers<'_>,
        meter: &mut Meter,
    ) -> Result<CheckReport, Exhausted> {
        let mut strengths = BTreeMap::new();
        let said = |findings: &Findings| {
            if findings.is_empty() { Verdict::Valid } else { Verdict::Invalid }
        };
        let mut causal = Findings::default();
        let mut convergent = Findings::default();
        if !is_surely_convergent(registers, meter)?
            && let Some(pasts) = pasts(registers, &mut causal, meter)?
        {
            overwritten(registers, &pasts, &mut causal, meter)?;
            if causal.is_empty() {
                conflicts(registers, &pasts, &mut convergent, meter)?;
            }
        }
        strengths.insert("cc", said(&causal));
        if !causal.is_empty() {
            strengths.extend([("ccv", Verdict::Invalid), ("cm", Verdict::Invalid)]);
            return Ok(registers.report(&causal).with("strengths", strengths));
        }
        strengths.insert("ccv", said(&convergent));
        let k = registers.sessions.len();
        let mut memory = Findings::default();
        let asked = self.strength == Strength::Memory;
        if asked || registers.events.len() * k * k <= AFFORDABLE {
            memory_of_sessions(registers, &mut memory, meter)?;
            strengths.insert("cm", said(&memory));
        }
        let found = match self.strength {
            Strength::Causal => causal,
            Strength::Convergent => convergent,
            Strength::Memory => memory,
        };
        Ok(registers.report(&found).with("strengths", strengths))
    }
}

/// Of an event, for each session, how many of its events are in the past (itself included).
type Clock = Box<[u32]>;

/// Of one key, per session that wrote it, places and ids of its writes, in order.
type Writers = Vec<(u32, Vec<(u32, EventId)>)>;

/// What is in the past of each event, and of each key which sessions wrote it where.
struct Pasts {
    clocks: Vec<Clock>,
    /// By key.
    writers: Vec<Writers>,
}

impl Pasts {
    fn contains(&self, registers: &Registers<'_>, later: EventId, earlier: EventId) -> bool {
        let event = registers.event(earlier);
        later != earlier && event.at < self.clocks[later as usize][event.session as usize]
    }

    /// Of each session the last write of `key` in the past of `id`, `id` itself left out.
    fn last_writes(&self, key: u32, id: EventId) -> impl Iterator<Item = EventId> {
        let clock = &self.clocks[id as usize];
        self.writers[key as usize].iter().filter_map(move |(session, writes)| {
            let known = clock[*session as usize];
            let n = writes.partition_point(|(at, _)| *at < known);
            writes[..n].iter().rev().map(|(_, write)| *write).find(|write| *write != id)
        })
    }
}

fn writers(registers: &Registers<'_>) -> Vec<Writers> {
    let by_key = registers.writes.iter().map(|writes| {
        let mut by_session: BTreeMap<u32, Vec<(u32, EventId)>> = BTreeMap::new();
        for &write in writes {
            let event = registers.event(write);
            by_session.entry(event.session).or_default().push((event.at, write));
        }
        by_session.into_iter().collect()
    });
    by_key.collect()
}

/// Is it [quickly](quick) seen to be causally consistent and convergent?
pub(crate) fn is_surely_convergent(
    registers: &Registers<'_>,
    meter: &mut Meter,
) -> Result<bool, Exhausted> {
    match quick_order(registers) {
        Some(order) => quick::is_convergent_by(registers, order.into_iter(), meter),
        None => Ok(false),
    }
}

/// An order of the events in which session order and reads-from lead forward: most often that of
/// their invocations; none if there is a cycle.
fn quick_order(registers: &Registers<'_>) -> Option<Vec<EventId>> {
    let forward = (0..).zip(&registers.events).all(|(id, event)| match event.act {
        Act::Read(Some(write)) => write < id,
        Act::Read(None) | Act::Write => true,
    });
    match forward {
        true => Some((0..registers.events.len() as EventId).collect()),
        false => causal_order(registers).topological(),
    }
}

/// Session order and reads-from.
fn causal_order(registers: &Registers<'_>) -> Graph<()> {
    let mut order = Graph::new(registers.events.len());
    for session in &registers.sessions {
        for two in session.windows(2) {
            order.add(two[0], two[1], ());
        }
    }
    for (id, event) in (0..).zip(&registers.events) {
        if let Act::Read(Some(write)) = event.act {
            order.add(write, id, ());
        }
    }
    order
}

/// Clocks of all events; none, and a finding, if the order has a cycle.
fn pasts(
    registers: &Registers<'_>,
    findings: &mut Findings,
    meter: &mut Meter,
) -> Result<Option<Pasts>, Exhausted> {
    let order = causal_order(registers);
    let Some(sorted) = order.topological() else {
        cycle(registers, "cyclic_co", &order, findings);
        return Ok(None);
    };
    let clocks = clocks(registers, &sorted, &order, meter)?;
    Ok(Some(Pasts { clocks, writers: writers(registers) }))
}

/// What so many clocks of `k` sessions take.
fn clocks_bytes(clocks: usize, k: usize) -> u64 {
    (clocks as u64).saturating_mul(size_of::<u32>() as u64 * k as u64)
}

/// The vector clocks along an order of the graph, whose edges lead from past to future.
fn clocks<L: Copy>(
    registers: &Registers<'_>,
    sorted: &[u32],
    graph: &Graph<L>,
    meter: &mut Meter,
) -> Result<Vec<Clock>, Exhausted> {
    let k = registers.sessions.len();
    meter.reserve(clocks_bytes(registers.events.len(), k))?;
    let mut clocks: Vec<Clock> = vec![Box::default(); registers.events.len()];
    for &id in sorted {
        meter.tick()?;
        let mut own = std::mem::take(&mut clocks[id as usize]);
        if own.is_empty() {
            own = vec![0; k].into();
        }
        let event = registers.event(id);
        own[event.session as usize] = event.at + 1;
        for (later, _) in &graph.edges[id as usize] {
            let later = &mut clocks[*later as usize];
            if later.is_empty() {
                *later = own.clone();
            } else {
                for (theirs, ours) in later.iter_mut().zip(&own) {
                    *theirs = (*theirs).max(*ours);
                }
            }
        }
        clocks[id as usize] = own;
    }
    Ok(clocks)
}

/// WriteCOInitRead and WriteCORead.
fn overwritten(
    registers: &Registers<'_>,
    pasts: &Pasts,
    findings: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    for (id, event) in (0..).zip(&registers.events) {
        let Act::Read(returned) = event.act else { continue };
        meter.tick()?;
        let newer = pasts.last_writes(event.key, id).find(|&write| match returned {
            None => true,
            Some(returned) => write != returned && pasts.contains(registers, write, returned),
        });
        let Some(newer) = newer else { continue };
        let (rule, mut ops) = match returned {
            None => ("write_co_init_read", vec![]),
            Some(returned) => ("write_co_read", vec![registers.name(returned)]),
        };
        ops.extend([registers.name(newer), registers.name(id)]);
        let what = format!(
            "{} of {:?} came too late: {} was in its past{}",
            registers.in_words(id),
            registers.key_of(id),
            registers.in_words(newer),
            returned.map_or_else(String::new, |old| {
                format!(", and {} in the past of that", registers.in_words(old))
            }),
        );
        findings.add(rule, registers.key_of(id), ops, what);
    }
    Ok(())
}

/// CyclicCF.
fn conflicts(
    registers: &Registers<'_>,
    pasts: &Pasts,
    findings: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let mut order = causal_order(registers);
    for (id, event) in (0..).zip(&registers.events) {
        let Act::Read(Some(returned)) = event.act else { continue };
        for write in pasts.last_writes(event.key, id) {
            meter.tick()?;
            if write != returned && !pasts.contains(registers, returned, write) {
                order.add(write, returned, ());
            }
        }
    }
    if order.topological().is_none() {
        cycle(registers, "cyclic_cf", &order, findings);
    }
    Ok(())
}

/// WriteHBInitRead and CyclicHB, session by session: the happens-before of a session's last event
/// holds those of all its events.
fn memory_of_sessions(
    registers: &Registers<'_>,
    findings: &mut Findings,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let writers = writers(registers);
    for session in &registers.sessions {
        let mut order = causal_order(registers);
        let mut forced: HashMap<(EventId, EventId), ()> = HashMap::new();
        loop {
            let Some(sorted) = order.topological() else {
                cycle(registers, "cyclic_hb", &order, findings);
                break;
            };
            let clocks = clocks(registers, &sorted, &order, meter)?;
            let pasts = Pasts { clocks, writers: writers.clone() };
            let mut more = false;
            for &id in session {
                let event = registers.event(id);
                let Act::Read(returned) = event.act else { continue };
                let last: Vec<EventId> = pasts.last_writes(event.key, id).collect();
                for write in last {
                    meter.tick()?;
                    let Some(returned) = returned else {
                        let ops = vec![registers.name(write), registers.name(id)];
                        let what = format!(
                            "{} of {:?} returned the initial value, but in the order its session \
                             forces {} comes before it",
                            registers.in_words(id),
                            registers.key_of(id),
                            registers.in_words(write),
                        );
                        findings.add("write_hb_init_read", registers.key_of(id), ops, what);
                        return Ok(());
                    };
                    let new = write != returned
                        && !pasts.contains(registers, returned, write)
                        && forced.insert((write, returned), ()).is_none();
                    if new {
                        order.add(write, returned, ());
                        more = true;
                    }
                }
            }
            if !more {
                break;
            }
        }
    }
    Ok(())
}

fn cycle(
    registers: &Registers<'_>,
    rule: &'static str,
    order: &Graph<()>,
    findings: &mut Findings,
) {
    let cycle = order.cycle().expect("an order that is not topological has a cycle");
    let ops = cycle.iter().map(|(from, ..)| registers.name(*from)).collect();
    let steps: Vec<String> = cycle.iter().map(|(from, ..)| registers.in_words(*from)).collect();
    let key = registers.key_of(cycle[0].0);
    let what = format!(
        "each of these must come before the next, and the last before the first: {}",
        steps.join(", ")
    );
    findings.add(rule, key, ops, what);
}
