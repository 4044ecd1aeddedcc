//! Per read: how long and by how many versions it was stale. O(n log n).

use super::{acknowledged, returned};
use crate::consistency::registers::{EventId, Registers};
use crate::judge::budget::{Exhausted, Meter};

/// How stale one read was.
pub(super) struct ReadLag {
    pub(super) id: EventId,
    /// Nanoseconds since the first newer write was acknowledged; 0 when fresh.
    pub(super) staleness: u64,
    /// Newer writes that were acknowledged before it began.
    pub(super) lag: u64,
    /// How long before it began the latest write was acknowledged.
    pub(super) age: Option<u64>,
}

pub(super) fn reads(
    registers: &Registers<'_>,
    meter: &mut Meter,
) -> Result<Vec<ReadLag>, Exhausted> {
    let mut by_key: Vec<Vec<(EventId, Option<EventId>)>> = vec![Vec::new(); registers.keys.len()];
    for id in 0..registers.events.len() as EventId {
        if let Some(returned) = returned(registers, id) {
            by_key[registers.event(id).key as usize].push((id, returned));
        }
    }
    let mut all = Vec::new();
    for (writes, reads) in registers.writes.iter().zip(by_key) {
        of_key(registers, writes, reads, &mut all, meter)?;
    }
    Ok(all)
}

fn of_key(
    registers: &Registers<'_>,
    writes: &[EventId],
    mut reads: Vec<(EventId, Option<EventId>)>,
    all: &mut Vec<ReadLag>,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    // Writes stand in order of invocation. From each on: the earliest acknowledgement.
    let begun: Vec<u64> = writes.iter().map(|&w| registers.event(w).pair.invoke.time).collect();
    let mut earliest = vec![u64::MAX; writes.len() + 1];
    for at in (0..writes.len()).rev() {
        earliest[at] = earliest[at + 1].min(acknowledged(registers, writes[at]));
    }
    // Sweep reads by their beginning; a write counts once it is acknowledged.
    let mut done: Vec<(u64, usize)> =
        (0..writes.len()).map(|at| (acknowledged(registers, writes[at]), at)).collect();
    done.sort_unstable();
    reads.sort_by_key(|(read, _)| registers.event(*read).pair.invoke.time);
    let mut counted = Fenwick::new(writes.len());
    let mut next = 0;
    for (id, returned) in reads {
        meter.tick()?;
        let at = registers.event(id).pair.invoke.time;
        while next < done.len() && done[next].0 < at {
            counted.add(done[next].1);
            next += 1;
        }
        // Newer than what it returned: begun after that was acknowledged.
        let newer = match returned {
            None => 0,
            Some(write) => {
                let known = acknowledged(registers, write);
                begun.partition_point(|begun| *begun <= known)
            }
        };
        all.push(ReadLag {
            id,
            staleness: at.saturating_sub(earliest[newer]),
            lag: counted.total - counted.below(newer),
            age: next.checked_sub(1).map(|last| at - done[last].0),
        });
    }
    Ok(())
}

/// Counts at places, summed from the front (Fenwick 1994).
struct Fenwick {
    tree: Vec<u64>,
    total: u64,
}

impl Fenwick {
    fn new(places: usize) -> Self {
        Self { tree: vec![0; places + 1], total: 0 }
    }

    fn add(&mut self, place: usize) {
        self.total += 1;
        let mut at = place + 1;
        while at < self.tree.len() {
            self.tree[at] += 1;
            at += at & at.wrapping_neg();
        }
    }

    /// How many at places before `end`.
    fn below(&self, end: usize) -> u64 {
        let (mut at, mut sum) = (end, 0);
        while at > 0 {
            sum += self.tree[at];
            at &= at - 1;
        }
        sum
    }
}
