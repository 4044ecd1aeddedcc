//! The zone check: linearizability of a register whose writes are all different, in linear time.
//!
//! A *cluster* is a write with the reads of its value; in any legal order its calls stand
//! together. Of each cluster only two instants matter: `first`, at which the first of its calls
//! has returned, and `last`, at which the last of them begins. Where `first` comes before `last`
//! the register must hold the value all that while (a forward zone); else there is an instant
//! between `last` and `first` at which all of the cluster can happen (a backward zone). Cluster A
//! cannot stand before cluster B if a call of B has returned before one of A begins: so two
//! clusters are in conflict iff each has returned something before the other has begun
//! everything. Without conflicts, and with every read after the beginning of its write, there is
//! a legal order: Gibbons and Korach (1997), as restated by Golab, Li and Shah (2011).
//!
//! The initial value is a write before all time. A write that may have happened counts iff it was
//! read. Equal times overlap, so all comparisons are strict.
//!
//! Times matter by their order alone, so they are told as *instants*: numbers in that order, and
//! equal where the times are. Half the memory of times is half the time of a large history.

use std::hint::select_unpredictable;

use super::calls::{Call, Event, events};
use crate::spec::{RegisterOp, Values};

/// No call.
const NO_CALL: u32 = u32::MAX;

/// One value: what is known of the calls that write and read it.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    first: u32,
    last: u32,
    first_call: u32,
    last_call: u32,
    write: u32,
    /// When the write began.
    written: u32,
    /// Nothing of this value: the value that was the n-th of all to return, this being the n-th
    /// cluster. The order has as many places as there are clusters, and with thousands of registers
    /// most of the time would go to letting lists grow.
    nth: u32,
}

/// Before every instant of a history; those are moved up by one.
const BEFORE_ALL: u32 = 0;

impl Cluster {
    const EMPTY: Self = Self {
        first: u32::MAX,
        last: BEFORE_ALL,
        first_call: NO_CALL,
        last_call: NO_CALL,
        write: NO_CALL,
        written: BEFORE_ALL,
        nth: NO_CALL,
    };

    #[inline(always)]
    fn begins(&mut self, call: u32, instant: u32) {
        let later = instant > self.last;
        self.last = select_unpredictable(later, instant, self.last);
        self.last_call = select_unpredictable(later, call, self.last_call);
    }

    /// Is it the first to return?
    #[inline(always)]
    fn returns(&mut self, call: u32, instant: u32) -> bool {
        let first = self.first_call == NO_CALL;
        self.first = select_unpredictable(first, instant, self.first);
        self.first_call = select_unpredictable(first, call, self.first_call);
        first
    }

    /// Was it read before its write began?
    fn is_early(&self) -> bool {
        self.first < self.written
    }
}

/// The check of one register. Calls are told in the order of their beginnings and returns, so a
/// history can stream through; memory is that of the values, 28 bytes each.
///
/// Calls and instants are numbers below `u32::MAX`: the index of the line with which a call begins
/// will do for the one, and the index of the first line of the same time for the other.
#[derive(Clone, Debug)]
pub struct Zones {
    /// Of each value; the initial one first.
    clusters: Vec<Cluster>,
    /// So many values have returned; in the order in which they first have they are the `nth` of
    /// the first so many clusters.
    returned: u32,
    repeated: Option<(u32, u32)>,
}

/// What is wrong with a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// A read returned what nobody wrote.
    NobodyWrote {
        /// The value.
        value: u32,
        /// The first such read to return.
        read: u32,
    },
    /// A read returned before its write began.
    FromTheFuture {
        /// The write.
        write: u32,
        /// The read.
        read: u32,
    },
    /// Of two values, each has returned something before the other has begun everything.
    Overlap {
        /// The two values.
        values: [u32; 2],
        /// Of each the first to return, the last to begin, and the write; for the initial value,
        /// which has none, `u32::MAX` stands in the place of a call.
        calls: [[u32; 3]; 2],
    },
}

impl Default for Zones {
    fn default() -> Self {
        Self::new()
    }
}

impl Zones {
    /// A register that holds the value 0 ([`Values::FIRST`]) from before all time.
    pub fn new() -> Self {
        let initial = Cluster { first: BEFORE_ALL, ..Cluster::EMPTY };
        Self { clusters: vec![initial], returned: 0, repeated: None }
    }

    #[inline(always)]
    fn cluster(&mut self, value: u32) -> &mut Cluster {
        if value as usize >= self.clusters.len() {
            self.grow(value);
        }
        &mut self.clusters[value as usize]
    }

    #[inline(never)]
    fn grow(&mut self, value: u32) {
        // Of thousands of registers each grows from nothing, and to grow takes longer than to check.
        const FEW: usize = 256;
        let capacity = self.clusters.capacity();
        if self.clusters.len() == capacity && capacity < FEW {
            self.clusters.reserve_exact((3 * capacity).max(15));
        }
        // Values mostly come one by one.
        if value as usize == self.clusters.len() {
            self.clusters.push(Cluster::EMPTY);
        } else {
            self.clusters.resize(value as usize + 1, Cluster::EMPTY);
        }
    }

    /// A write begins.
    #[inline(always)]
    pub fn write_begins(&mut self, value: u32, call: u32, instant: u32) {
        let instant = instant.saturating_add(1);
        let cluster = self.cluster(value);
        let before = cluster.write;
        cluster.write = call;
        cluster.written = instant;
        cluster.begins(call, instant);
        // The initial value has been written before.
        if before != NO_CALL || value == Values::FIRST {
            let before = if before == NO_CALL { call } else { before };
            self.repeated = self.repeated.or(Some((before, call)));
        }
    }

    /// A write has surely not happened: its value may be written again. `false` when it is not the
    /// write that is known of the value.
    pub fn write_fails(&mut self, value: u32, call: u32) -> bool {
        let cluster = self.cluster(value);
        let known = cluster.write == call;
        if known {
            (cluster.write, cluster.written) = (NO_CALL, BEFORE_ALL);
        }
        known
    }

    /// A write has surely happened.
    #[inline(always)]
    pub fn write_returns(&mut self, value: u32, call: u32, instant: u32) {
        self.returns(value, call, instant);
    }

    /// A read that began at `begun` has returned the value.
    #[inline(always)]
    pub fn read_returns(&mut self, value: u32, call: u32, begun: u32, instant: u32) {
        self.cluster(value).begins(call, begun.saturating_add(1));
        self.returns(value, call, instant);
    }

    #[inline(always)]
    fn returns(&mut self, value: u32, call: u32, instant: u32) {
        let cluster = self.cluster(value);
        if value == Values::FIRST {
            // It was there before all else: nothing of it returns earlier.
            return;
        }
        let first = cluster.returns(call, instant.saturating_add(1));
        // Whether it is the first is as good as random: so it is no jump, but a step that is taken
        // or not. There is always one place more, since the initial value takes none.
        self.clusters[self.returned as usize].nth = value;
        self.returned += u32::from(first);
    }

    /// Two calls that write the same value, which makes the check inapplicable.
    pub fn repeated(&self) -> Option<(u32, u32)> {
        self.repeated
    }

    /// A conflict, if there is one. Only to be asked when no value was written twice.
    ///
    /// First come reads of what was not written then, then forward zones that overlap, and then
    /// backward ones within a forward one: of those there is only to be asked when all forward
    /// zones are apart. Then only the last that came before can hold a backward zone: those before
    /// that one end before it starts, and it starts before the backward zone ends.
    pub fn conflict(&self) -> Option<Conflict> {
        debug_assert!(self.repeated.is_none(), "the check needs unique writes");
        // The last forward zone so far: its value, where it starts and where it ends.
        let mut forward = (Values::FIRST, u32::MAX, BEFORE_ALL);
        let (mut overlap, mut within) = (None, None);
        for (value, zone) in self.zones() {
            let Cluster { first, last, write, first_call: read, .. } = *zone;
            if value != Values::FIRST && write == NO_CALL {
                return Some(Conflict::NobodyWrote { value, read });
            }
            if zone.is_early() {
                return Some(Conflict::FromTheFuture { write, read });
            }
            let (other, start, end) = forward;
            let ends_within = first < end;
            if first < last {
                if ends_within {
                    overlap = overlap.or(Some([other, value]));
                }
                forward = (value, first, last);
            } else if ends_within && start < last {
                within = within.or(Some([other, value]));
            }
        }
        let [a, b] = overlap.or(within)?;
        Some(self.overlap(a, b))
    }

    /// The clusters with a zone, by `first`: the initial value, if it was read, leads. (A write
    /// gives it a last call too, but then the check does not apply.)
    fn zones(&self) -> impl Iterator<Item = (u32, &Cluster)> {
        let initial = (self.clusters[0].last_call != NO_CALL).then_some(Values::FIRST);
        initial
            .into_iter()
            .chain(self.clusters[..self.returned as usize].iter().map(|cluster| cluster.nth))
            .map(|value| (value, &self.clusters[value as usize]))
    }

    fn overlap(&self, a: u32, b: u32) -> Conflict {
        let ends = |value: u32| {
            let cluster = &self.clusters[value as usize];
            [cluster.first_call, cluster.last_call, cluster.write]
        };
        Conflict::Overlap { values: [a, b], calls: [ends(a), ends(b)] }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.clusters.capacity() * size_of::<Cluster>()
    }
}

impl Conflict {
    /// The same, its calls by other numbers.
    pub(crate) fn renumbered(&self, number: impl Fn(u32) -> u32) -> Self {
        let number = |call: u32| if call == NO_CALL { NO_CALL } else { number(call) };
        match *self {
            Self::NobodyWrote { value, read } => Self::NobodyWrote { value, read: number(read) },
            Self::FromTheFuture { write, read } => {
                Self::FromTheFuture { write: number(write), read: number(read) }
            }
            Self::Overlap { values, calls } => {
                Self::Overlap { values, calls: calls.map(|ends| ends.map(number)) }
            }
        }
    }

    /// The calls that show it: at most two ends of each of two zones, and the writes of the two
    /// values, so that the witness can be checked alone.
    pub fn calls(&self) -> Vec<u32> {
        let mut calls = match *self {
            Self::NobodyWrote { read, .. } => vec![read],
            Self::FromTheFuture { write, read } => vec![write, read],
            Self::Overlap { calls, .. } => calls.as_flattened().to_vec(),
        };
        calls.retain(|call| *call != NO_CALL);
        calls.sort_unstable();
        calls.dedup();
        calls
    }
}

/// Checks the calls of a register, in order of invocation: `Err` if a value is written twice, or
/// the initial value is.
pub fn check<O>(
    calls: &[Call<O>],
    register: impl Fn(&O) -> Option<RegisterOp>,
) -> Result<Option<Conflict>, NotApplicable> {
    let mut zones = Zones::new();
    let mut begun = vec![0; calls.len()];
    let (mut instant, mut now) = (0, 0);
    for event in events(calls) {
        let (Event::Begin(at) | Event::Return(at)) = event;
        let call = &calls[at as usize];
        let time = match event {
            Event::Begin(_) => call.invoked,
            Event::Return(_) => call.returned.unwrap_or(u64::MAX),
        };
        if time > now {
            (instant, now) = (instant + 1, time);
        }
        match (register(&call.op).ok_or(NotApplicable)?, event) {
            (RegisterOp::Write(value), Event::Begin(_)) => zones.write_begins(value, at, instant),
            // A read that never returned says nothing.
            (RegisterOp::Read(_), Event::Begin(_)) => begun[at as usize] = instant,
            (RegisterOp::Write(value), Event::Return(_)) => zones.write_returns(value, at, instant),
            (RegisterOp::Read(value), Event::Return(_)) => {
                zones.read_returns(value, at, begun[at as usize], instant);
            }
        }
    }
    if zones.repeated().is_some() { Err(NotApplicable) } else { Ok(zones.conflict()) }
}

/// The zone check does not apply: a value is written twice, or it is no register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotApplicable;
