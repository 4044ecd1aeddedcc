//! The quick way to `valid`: one pass in causal order, in which no read knows a write of its key
//! that comes after the one it returned.
//!
//! Then nothing that was read had been overwritten in its past, and all conflicts lead forward in
//! the order of the pass: the history is causally consistent and convergent. Most histories of
//! stores that work are so in the order of their invocations; for the others the long way decides.
//!
//! Every session carries a vector clock; a write's clock is kept until its last reader has joined
//! it. So memory is a clock for each session and each value still to be read, and not one for each
//! event. O(n (k + w)) for n events, k sessions and w writes of one key at most.

use super::clocks_bytes;
use crate::consistency::registers::{Act, EventId, Registers};
use crate::judge::budget::{Exhausted, Meter};

/// Of one key its writes so far, each by its session and place in that.
type Writes = Vec<(u32, u32)>;

/// Is it convergent by this order, in which session order and reads-from lead forward? If not, it
/// may be by another.
pub(super) fn is_convergent_by(
    registers: &Registers<'_>,
    order: impl Iterator<Item = EventId>,
    meter: &mut Meter,
) -> Result<bool, Exhausted> {
    let sessions = registers.sessions.len();
    meter.reserve(clocks_bytes(sessions, sessions))?;
    let mut readers = vec![0_u32; registers.events.len()];
    for event in &registers.events {
        if let Act::Read(Some(write)) = event.act {
            readers[write as usize] += 1;
        }
    }
    let mut clocks: Vec<Vec<u32>> = vec![vec![0; sessions]; sessions];
    let mut kept: Vec<Option<Box<[u32]>>> = vec![None; registers.events.len()];
    let mut keys: Vec<Writes> = vec![Vec::new(); registers.keys.len()];
    // Of each write its place among those of its key.
    let mut rank = vec![0_u32; registers.events.len()];
    for id in order {
        meter.tick()?;
        let event = registers.event(id);
        let clock = &mut clocks[event.session as usize];
        clock[event.session as usize] = event.at + 1;
        let writes = &mut keys[event.key as usize];
        match event.act {
            Act::Write => {
                rank[id as usize] = writes.len() as u32;
                writes.push((event.session, event.at));
                if readers[id as usize] > 0 {
                    kept[id as usize] = Some(clock.as_slice().into());
                }
            }
            Act::Read(returned) => {
                if let Some(write) = returned {
                    join(clock, &mut kept[write as usize], &mut readers[write as usize]);
                }
                let later = returned.map_or(0, |write| rank[write as usize] as usize + 1);
                let knows = |(session, at): &(u32, u32)| clock[*session as usize] > *at;
                if writes[later..].iter().any(knows) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// Joins what a write knew; its last reader lets it go.
fn join(clock: &mut [u32], kept: &mut Option<Box<[u32]>>, readers: &mut u32) {
    if let Some(theirs) = kept {
        for (ours, theirs) in clock.iter_mut().zip(theirs) {
            *ours = (*ours).max(*theirs);
        }
    }
    *readers -= 1;
    if *readers == 0 {
        *kept = None;
    }
}
