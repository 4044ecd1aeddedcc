//! Thousands of registers: told in batches, by another thread, while this one reads on.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::gather::FEW;
use super::register::{Event, Register, Take};
use crate::linearizable::zones::Conflict;

/// Registers are told in so many groups: those whose places are the same modulo this.
const GROUPS: usize = 128;
const _: () = assert!(FEW <= GROUPS, "the few are the first of their groups");

/// So many events are collected for a group: with ten thousand keys some 25 for each. All groups
/// together hold 8 MB of them.
const BATCH: usize = 2048;

/// So many batches may wait for the other thread, 64 kB each: it need not wait for this one to read
/// a block, nor hold more than is small.
const WAITING: usize = 16;

type Batch = (usize, Vec<Event>);

/// All registers, and what they have not been told yet.
pub(super) struct Groups<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    waiting: Vec<Vec<Event>>,
    /// The registers, until a thread takes them.
    told: Told,
    teller: Option<Teller<'scope>>,
}

/// The thread that tells, batches on the way to it, and emptied ones on the way back.
struct Teller<'scope> {
    batches: SyncSender<Batch>,
    emptied: Receiver<Vec<Event>>,
    thread: ScopedJoinHandle<'scope, Option<Vec<(u32, Conflict)>>>,
}

impl<'scope, 'env> Groups<'scope, 'env> {
    /// With the first registers, which have been told of what came before.
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, first: Vec<Register>) -> Self {
        let mut told = Told::default();
        for (group, register) in told.groups.iter_mut().zip(first) {
            group.push(register);
        }
        Self { scope, waiting: vec![Vec::new(); GROUPS], told, teller: None }
    }

    /// `false` when something before was beyond the zone check.
    #[inline(never)]
    fn hand_over(&mut self, group: usize) -> bool {
        let teller = self.teller.get_or_insert_with(|| {
            let (batches, waiting) = sync_channel(WAITING);
            let (back, emptied) = channel();
            let told = std::mem::take(&mut self.told);
            let thread = self.scope.spawn(move || tell(told, &waiting, &back));
            Teller { batches, emptied, thread }
        });
        let empty = teller.emptied.try_recv();
        let empty = empty.unwrap_or_else(|_| Vec::with_capacity(BATCH));
        let batch = std::mem::replace(&mut self.waiting[group], empty);
        // It stops taking batches when something was beyond it.
        teller.batches.send((group, batch)).is_ok()
    }

    /// The conflicts in the end, by place; `None` when something was beyond the zone check.
    pub(super) fn finish(mut self) -> Option<Vec<(u32, Conflict)>> {
        if self.teller.is_none() {
            let Self { waiting, mut told, .. } = self;
            let all = waiting.iter().enumerate().all(|(group, batch)| told.tell(group, batch));
            return all.then(|| told.conflicts());
        }
        for group in 0..GROUPS {
            if !self.hand_over(group) {
                return None;
            }
        }
        let Teller { batches, thread, .. } = self.teller.take()?;
        drop(batches);
        thread.join().expect("what tells registers does not panic")
    }
}

impl Take for Groups<'_, '_> {
    #[inline(always)]
    fn take(&mut self, event: Event) -> bool {
        let group = event.place as usize % GROUPS;
        self.waiting[group].push(event);
        self.waiting[group].len() < BATCH || self.hand_over(group)
    }
}

/// Tells batches until there are no more; `None` when something was beyond the zone check.
fn tell(
    mut told: Told,
    batches: &Receiver<Batch>,
    emptied: &Sender<Vec<Event>>,
) -> Option<Vec<(u32, Conflict)>> {
    for (group, mut batch) in batches {
        if !told.tell(group, &batch) {
            return None;
        }
        batch.clear();
        // Nobody takes it back when all has been read.
        let _ = emptied.send(batch);
    }
    Some(told.conflicts())
}

/// Registers by group.
struct Told {
    groups: Vec<Vec<Register>>,
}

impl Default for Told {
    fn default() -> Self {
        Self { groups: std::iter::repeat_with(Vec::new).take(GROUPS).collect() }
    }
}

impl Told {
    fn tell(&mut self, group: usize, batch: &[Event]) -> bool {
        let registers = &mut self.groups[group];
        batch.iter().all(|event| {
            let at = event.place as usize / GROUPS;
            if at >= registers.len() {
                registers.resize_with(at + 1, Register::default);
            }
            registers[at].take(*event)
        })
    }

    fn conflicts(self) -> Vec<(u32, Conflict)> {
        let mut conflicts = Vec::new();
        for (group, registers) in self.groups.into_iter().enumerate() {
            for (at, register) in registers.iter().enumerate() {
                let place = (at * GROUPS + group) as u32;
                conflicts.extend(register.zones.conflict().map(|conflict| (place, conflict)));
            }
        }
        conflicts.sort_unstable_by_key(|(place, _)| *place);
        conflicts
    }
}
