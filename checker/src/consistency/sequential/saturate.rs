//! What must come before what, in any sequentially consistent order of registers whose writes are
//! all different.
//!
//! Begun with program order and each write before the reads of its value, it is closed under: a
//! write w' of the key that comes before a read of w comes before w; one that comes after w comes
//! after all reads of w. A cycle is a contradiction. Without one an order need not exist, but what
//! was found holds in every order there is. (The saturation of causal memory, Bouajjani, Enea,
//! Guerraoui and Hamza 2017, with the search left to others.)

use hashbrown::{HashMap, HashSet};

use super::Joint;
use crate::consistency::linearizable::calls::Call;
use crate::judge::budget::{Exhausted, Meter};
use crate::spec::{RegisterOp, Values};

/// No write: that of the initial value.
const INITIAL: u32 = u32::MAX;

/// What saturation found.
pub(super) enum Saturated {
    /// There is no order; this call stands on a cycle, or reads what nobody wrote.
    Contradiction { around: u32 },
    /// Of each call those of other processes that must come first.
    Before(Vec<Vec<u32>>),
    /// A value is written twice, it is no register, or it is too large.
    NotApplicable,
}

pub(super) fn saturate<O>(
    programs: &[Vec<u32>],
    calls: &[Call<Joint<O>>],
    register: impl Fn(&Joint<O>) -> Option<RegisterOp>,
    meter: &mut Meter,
) -> Result<Saturated, Exhausted> {
    /// A clock has a number for every process, and every call has a clock.
    const LARGEST: usize = 64 << 20;
    if programs.len().saturating_mul(calls.len()) > LARGEST {
        return Ok(Saturated::NotApplicable);
    }
    let Some(registers) = Registers::new(programs, calls, register) else {
        return Ok(Saturated::NotApplicable);
    };
    let mut order = match Order::new(&registers) {
        Ok(order) => order,
        Err(around) => return Ok(Saturated::Contradiction { around }),
    };
    meter.reserve((programs.len() * calls.len() * size_of::<u32>()) as u64)?;
    loop {
        if let Some(around) = order.tell_clocks(meter)? {
            return Ok(Saturated::Contradiction { around });
        }
        if !order.add_edges(meter)? {
            return Ok(Saturated::Before(order.before));
        }
    }
}

struct Registers<'a> {
    programs: &'a [Vec<u32>],
    /// Of each call its program and place there.
    place: Vec<(u32, u32)>,
    /// Of each call its key and what it does.
    ops: Vec<(u32, RegisterOp)>,
    /// The write of each value of each key.
    writes: HashMap<(u32, u32), u32>,
    /// Of each program and key the places of its writes.
    places: HashMap<(u32, u32), Vec<u32>>,
}

impl<'a> Registers<'a> {
    fn new<O>(
        programs: &'a [Vec<u32>],
        calls: &[Call<Joint<O>>],
        register: impl Fn(&Joint<O>) -> Option<RegisterOp>,
    ) -> Option<Self> {
        let ops: Vec<(u32, RegisterOp)> = calls
            .iter()
            .map(|call| Some((call.op.0, register(&call.op)?)))
            .collect::<Option<_>>()?;
        let mut writes = HashMap::new();
        let mut read: HashSet<(u32, u32)> = HashSet::new();
        for (at, &(key, op)) in (0..).zip(&ops) {
            match op {
                RegisterOp::Write(Values::FIRST) => return None,
                RegisterOp::Write(value) => {
                    if writes.insert((key, value), at).is_some() {
                        return None;
                    }
                }
                RegisterOp::Read(value) => {
                    read.insert((key, value));
                }
            }
        }
        // A write that never returned and was never read need not have happened.
        let idle: Vec<bool> = calls
            .iter()
            .zip(&ops)
            .map(|(call, &(key, op))| match op {
                RegisterOp::Write(value) => {
                    call.returned.is_none() && !read.contains(&(key, value))
                }
                RegisterOp::Read(_) => false,
            })
            .collect();
        let mut place = vec![(0, 0); calls.len()];
        let mut places: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        for (program, its) in (0..).zip(programs) {
            for (position, &call) in (0..).zip(its) {
                place[call as usize] = (program, position);
                let (key, op) = ops[call as usize];
                if matches!(op, RegisterOp::Write(_)) && !idle[call as usize] {
                    places.entry((program, key)).or_default().push(position);
                }
            }
        }
        Some(Self { programs, place, ops, writes, places })
    }

    /// The reads, each with its key and the write it reads from.
    fn reads(&self) -> impl Iterator<Item = (u32, u32, Option<u32>)> {
        (0..).zip(&self.ops).filter_map(|(at, &(key, op))| match op {
            RegisterOp::Read(Values::FIRST) => Some((at, key, Some(INITIAL))),
            RegisterOp::Read(value) => Some((at, key, self.writes.get(&(key, value)).copied())),
            RegisterOp::Write(_) => None,
        })
    }

    fn at(&self, program: u32, position: u32) -> u32 {
        self.programs[program as usize][position as usize]
    }
}

struct Order<'a> {
    registers: &'a Registers<'a>,
    /// Of each call those of other programs that come first.
    before: Vec<Vec<u32>>,
    /// Of each call how much of each program comes before it, itself included.
    clocks: Vec<u32>,
    reads: Vec<(u32, u32, u32)>,
}

impl<'a> Order<'a> {
    /// Program order and reads after their writes; the read that has no write, if one has none.
    fn new(registers: &'a Registers<'a>) -> Result<Self, u32> {
        let mut before = vec![Vec::new(); registers.ops.len()];
        let mut reads = Vec::new();
        for (read, key, write) in registers.reads() {
            let write = write.ok_or(read)?;
            if write != INITIAL {
                before[read as usize].push(write);
            }
            reads.push((read, key, write));
        }
        let clocks = vec![0; registers.ops.len() * registers.programs.len()];
        Ok(Self { registers, before, clocks, reads })
    }

    fn clock(&self, call: u32) -> &[u32] {
        let width = self.registers.programs.len();
        &self.clocks[call as usize * width..][..width]
    }

    /// Tells the clocks in an order of the graph, or a call that a cycle keeps from its turn.
    fn tell_clocks(&mut self, meter: &mut Meter) -> Result<Option<u32>, Exhausted> {
        let registers = self.registers;
        let width = registers.programs.len();
        let mut after: Vec<Vec<u32>> = vec![Vec::new(); self.before.len()];
        let mut waits: Vec<u32> = vec![0; self.before.len()];
        for (call, before) in (0..).zip(&self.before) {
            waits[call as usize] = before.len() as u32;
            before.iter().for_each(|first| after[*first as usize].push(call));
        }
        for program in registers.programs {
            program[1..].iter().for_each(|call| waits[*call as usize] += 1);
        }
        let mut ready: Vec<u32> =
            (0..waits.len() as u32).filter(|call| waits[*call as usize] == 0).collect();
        let mut told = 0;
        while let Some(call) = ready.pop() {
            meter.tick()?;
            told += 1;
            let (program, position) = registers.place[call as usize];
            let mut clock = vec![0; width];
            let previous = position.checked_sub(1).map(|position| registers.at(program, position));
            for first in self.before[call as usize].iter().copied().chain(previous) {
                for (mine, its) in clock.iter_mut().zip(self.clock(first)) {
                    *mine = (*mine).max(*its);
                }
            }
            clock[program as usize] = position + 1;
            self.clocks[call as usize * width..][..width].copy_from_slice(&clock);
            let next = registers.programs[program as usize].get(position as usize + 1);
            for &later in after[call as usize].iter().chain(next) {
                waits[later as usize] -= 1;
                if waits[later as usize] == 0 {
                    ready.push(later);
                }
            }
        }
        if told == waits.len() {
            return Ok(None);
        }
        let kept = (0..waits.len()).find(|call| waits[*call] > 0).map(|call| call as u32);
        Ok(self.on_a_cycle(kept.unwrap_or(0), &waits))
    }

    /// Going back among calls that wait, one comes round to a cycle.
    fn on_a_cycle(&self, from: u32, waits: &[u32]) -> Option<u32> {
        let registers = self.registers;
        let mut seen = vec![false; waits.len()];
        let mut at = from;
        while !std::mem::replace(&mut seen[at as usize], true) {
            let (program, position) = registers.place[at as usize];
            let previous = position.checked_sub(1).map(|position| registers.at(program, position));
            let mut before = self.before[at as usize].iter().copied().chain(previous);
            at = before.find(|first| waits[*first as usize] > 0)?;
        }
        Some(at)
    }

    /// Is `first` known to come before `call`, or to be it?
    fn is_before(&self, first: u32, call: u32) -> bool {
        let (program, position) = self.registers.place[first as usize];
        self.clock(call)[program as usize] > position
    }

    /// Applies the two rules; was anything new?
    fn add_edges(&mut self, meter: &mut Meter) -> Result<bool, Exhausted> {
        let registers = self.registers;
        let mut new: HashSet<(u32, u32)> = HashSet::new();
        for &(read, key, write) in &self.reads {
            meter.tick()?;
            for program in 0..registers.programs.len() as u32 {
                let Some(places) = registers.places.get(&(program, key)) else { continue };
                // The last write of the program that comes before the read.
                let known = self.clock(read)[program as usize];
                let earlier = places[..places.partition_point(|place| *place < known)].last();
                if let Some(&place) = earlier
                    && write != INITIAL
                {
                    let other = registers.at(program, place);
                    if other != write && !self.is_before(other, write) {
                        new.insert((other, write));
                    }
                }
                // The first write of the program that comes after the one that was read.
                let is_later = |place: &u32| {
                    let other = registers.at(program, *place);
                    other != write && (write == INITIAL || self.is_before(write, other))
                };
                let at = match write {
                    INITIAL => 0,
                    _ => places.partition_point(|place| !is_later(place)),
                };
                if let Some(&place) = places.get(at) {
                    let other = registers.at(program, place);
                    if other != write && !self.is_before(read, other) {
                        new.insert((read, other));
                    }
                }
            }
        }
        for &(first, call) in &new {
            self.before[call as usize].push(first);
        }
        Ok(!new.is_empty())
    }
}
