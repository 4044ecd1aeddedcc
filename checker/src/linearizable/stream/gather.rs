//! From rows to registers.
//!
//! The first keys are told of each row as it is read. To do so with thousands of keys would touch
//! the memory of another one at every row. So what the others are told is collected, for some of
//! the keys together, and told to them a few thousand rows at a time: by another thread, while this
//! one reads on.

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::register::{Does, Event, Register};
use crate::budget::Meter;
use crate::formats::compact::{
    CompactError, Dictionary, Literal, Mark, NEMESIS, Refused, Row, Rows,
};
use crate::linearizable::zones::Conflict;

/// So many places are told at once.
const FIRST: usize = 64;

/// The other places are told in so many groups: those that are the same modulo this.
const GROUPS: usize = 128;

/// So many events are collected for a group: with ten thousand keys some 25 for each. All groups
/// together hold 8 MB of them.
const BATCH: usize = 2048;

/// So many batches may wait for the other thread, 64 kB each: it need not wait for this one to read
/// a block, nor hold more than is small.
const WAITING: usize = 16;

/// What is known of all registers at the end of a file.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) calls: u64,
    /// Registers that had a call.
    pub(super) used: usize,
    /// By place.
    pub(super) conflicts: Vec<(u32, Conflict)>,
}

impl Gathered {
    /// Of registers from the first place on.
    fn of(registers: &[Register]) -> Self {
        let mut gathered = Self::default();
        for (place, register) in (0..).zip(registers) {
            gathered.add(place, register);
        }
        gathered
    }

    fn add(&mut self, place: u32, register: &Register) {
        self.calls += register.calls;
        self.used += usize::from(register.calls > 0);
        self.conflicts.extend(register.zones.conflict().map(|conflict| (place, conflict)));
    }
}

/// Gathers a history, with marks from which parts of it can be read again. `None` when something
/// was beyond the zone check.
pub(super) fn gather<R: Read>(
    rows: &mut Rows<R>,
    marks: &mut Marks,
    names: &mut Names,
    meter: &mut Meter,
) -> Result<Option<Gathered>, CompactError> {
    let mut reading = Reading { rows, marks, names, meter, fs: Vec::new() };
    let mut first: Vec<Register> = std::iter::repeat_with(Register::default).take(FIRST).collect();
    match reading.first(&mut first)? {
        Told::All => Ok(Some(Gathered::of(&first))),
        Told::Beyond => Ok(None),
        Told::Until(row) => std::thread::scope(|scope| {
            let mut registers = Registers { first, others: Others::new(scope) };
            let all = reading.many(row, &mut registers)?;
            Ok(all.then(|| registers.finish()).flatten())
        }),
    }
}

/// How far the first registers could be told all.
enum Told {
    All,
    /// Something was beyond the zone check.
    Beyond,
    /// Until this row, which is of another.
    Until(Row),
}

struct Reading<'a, R> {
    rows: &'a mut Rows<R>,
    marks: &'a mut Marks,
    names: &'a mut Names,
    meter: &'a mut Meter,
    /// What the `f` of a number does.
    fs: Vec<Option<Does>>,
}

impl<R: Read> Reading<'_, R> {
    /// Tells the first registers. By itself, since it is the faster the less there is in it.
    #[inline(never)]
    fn first(&mut self, registers: &mut [Register]) -> Result<Told, CompactError> {
        let Self { rows, marks, names, meter, fs } = self;
        let (rows, names) = (&mut **rows, &mut **names);
        loop {
            if rows.is_between_blocks() {
                marks.pass(rows);
            }
            let Some(row) = rows.next_row(names)? else { return Ok(Told::All) };
            let ops = row.index;
            meter.tick().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
            let Some(register) = registers.get_mut(row.key.wrapping_add(1) as usize) else {
                return Ok(Told::Until(row));
            };
            if names.is_null {
                names.is_null = false;
                register.take(&Event::is_null(&row));
            }
            if row.slot == NEMESIS {
                continue;
            }
            let does = does(fs, rows, row.f);
            if !does.is_some_and(|does| register.take(&Event::of(&row, does))) {
                return Ok(Told::Beyond);
            }
        }
    }

    /// Tells all registers, from a row on that has been read; `false` when something was beyond the
    /// zone check.
    #[inline(never)]
    fn many(&mut self, row: Row, registers: &mut Registers<'_, '_>) -> Result<bool, CompactError> {
        let Self { rows, marks, names, meter, fs } = self;
        let (rows, names) = (&mut **rows, &mut **names);
        let mut next = Some(row);
        while let Some(row) = next {
            let ops = row.index;
            meter.tick().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
            if names.is_null {
                names.is_null = false;
                registers.take(Event::is_null(&row));
            }
            if row.slot != NEMESIS {
                let does = does(fs, rows, row.f);
                if !does.is_some_and(|does| registers.take(Event::of(&row, does))) {
                    return Ok(false);
                }
            }
            if rows.is_between_blocks() {
                marks.pass(rows);
            }
            next = rows.next_row(names)?;
        }
        Ok(true)
    }
}

/// What the `f` of a number does.
#[inline(always)]
fn does<R: Read>(fs: &mut Vec<Option<Does>>, rows: &Rows<R>, f: u32) -> Option<Does> {
    while fs.len() <= f as usize {
        fs.push(Does::named(rows.f(fs.len() as u32)));
    }
    fs[f as usize]
}

/// The names of keys. Of the values only this is kept: that the last one introduced is `null`.
#[derive(Default)]
pub(super) struct Names {
    is_null: bool,
    texts: Vec<u8>,
    /// Of each key where its name ends.
    ends: Vec<usize>,
}

impl Names {
    /// The name of the key of a place.
    pub(super) fn at(&self, place: u32) -> Option<std::borrow::Cow<'_, str>> {
        let key = place.checked_sub(1)? as usize;
        let begin = key.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(String::from_utf8_lossy(&self.texts[begin..self.ends[key]]))
    }
}

impl Dictionary for Names {
    #[inline(always)]
    fn value(&mut self, _: u32, value: Literal<'_>) -> Result<(), Refused> {
        // The text is that of the writer's JSON: null has one spelling.
        self.is_null = matches!(value, Literal::Json(b"null"));
        Ok(())
    }

    fn key(&mut self, text: &[u8]) -> Result<(), Refused> {
        self.texts.extend_from_slice(text);
        self.ends.push(self.texts.len());
        Ok(())
    }
}

/// All registers.
struct Registers<'scope, 'env> {
    first: Vec<Register>,
    others: Others<'scope, 'env>,
}

impl Registers<'_, '_> {
    /// `false` when something was beyond the zone check.
    #[inline(always)]
    fn take(&mut self, event: Event) -> bool {
        match self.first.get_mut(event.place as usize) {
            Some(register) => register.take(&event),
            None => self.others.take(event),
        }
    }

    fn finish(self) -> Option<Gathered> {
        let others = self.others.finish()?;
        let mut gathered = Gathered::of(&self.first);
        gathered.calls += others.calls;
        gathered.used += others.used;
        gathered.conflicts.extend(others.conflicts);
        gathered.conflicts.sort_unstable_by_key(|(place, _)| *place);
        Some(gathered)
    }
}

type Batch = (usize, Vec<Event>);

/// The registers past the first, and what they have not been told yet.
struct Others<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    groups: Vec<Vec<Event>>,
    teller: Option<Teller<'scope>>,
}

/// The thread that tells, batches on the way to it, and emptied ones on the way back.
struct Teller<'scope> {
    batches: SyncSender<Batch>,
    emptied: Receiver<Vec<Event>>,
    thread: ScopedJoinHandle<'scope, Option<Gathered>>,
}

impl<'scope, 'env> Others<'scope, 'env> {
    fn new(scope: &'scope Scope<'scope, 'env>) -> Self {
        Self { scope, groups: vec![Vec::new(); GROUPS], teller: None }
    }

    /// `false` when something before was beyond the zone check.
    #[inline(always)]
    fn take(&mut self, event: Event) -> bool {
        let group = event.place as usize % GROUPS;
        self.groups[group].push(event);
        self.groups[group].len() < BATCH || self.hand_over(group)
    }

    #[inline(never)]
    fn hand_over(&mut self, group: usize) -> bool {
        let teller = self.teller.get_or_insert_with(|| {
            let (batches, waiting) = sync_channel(WAITING);
            let (back, emptied) = channel();
            let thread = self.scope.spawn(move || tell(&waiting, &back));
            Teller { batches, emptied, thread }
        });
        let empty = teller.emptied.try_recv().unwrap_or_default();
        let batch = std::mem::replace(&mut self.groups[group], empty);
        // It stops taking batches when something was beyond it.
        teller.batches.send((group, batch)).is_ok()
    }

    /// What is known in the end; `None` when something was beyond the zone check.
    fn finish(mut self) -> Option<Gathered> {
        if self.teller.is_none() {
            let mut told = ByGroup::default();
            let all = self.groups.iter().enumerate().all(|(group, batch)| told.tell(group, batch));
            return all.then(|| told.gathered());
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

/// Tells batches until there are no more; `None` when something was beyond the zone check.
fn tell(batches: &Receiver<Batch>, emptied: &Sender<Vec<Event>>) -> Option<Gathered> {
    let mut told = ByGroup::default();
    for (group, mut batch) in batches {
        if !told.tell(group, &batch) {
            return None;
        }
        batch.clear();
        // Nobody takes it back when all has been read.
        let _ = emptied.send(batch);
    }
    Some(told.gathered())
}

/// Registers by group.
struct ByGroup {
    groups: Vec<Vec<Register>>,
}

impl Default for ByGroup {
    fn default() -> Self {
        Self { groups: std::iter::repeat_with(Vec::new).take(GROUPS).collect() }
    }
}

impl ByGroup {
    fn tell(&mut self, group: usize, batch: &[Event]) -> bool {
        let registers = &mut self.groups[group];
        batch.iter().all(|event| {
            let at = event.place as usize / GROUPS;
            if at >= registers.len() {
                registers.resize_with(at + 1, Register::default);
            }
            registers[at].take(event)
        })
    }

    fn gathered(self) -> Gathered {
        let mut gathered = Gathered::default();
        for (group, registers) in self.groups.into_iter().enumerate() {
            for (at, register) in registers.iter().enumerate() {
                gathered.add((at * GROUPS + group) as u32, register);
            }
        }
        gathered
    }
}

/// Marks all over a file, so that any part of it can be read again without what comes before.
#[derive(Default)]
pub(super) struct Marks {
    marks: Vec<Mark>,
    /// Blocks passed since the last mark.
    passed: usize,
    /// A mark is made after so many blocks.
    every: usize,
}

impl Marks {
    /// No more marks than this are kept, each of so many bytes at most: 2 MB in all, and nothing of
    /// what reading takes.
    const MOST: usize = 32;
    const LONGEST: usize = 64 << 10;

    #[inline(never)]
    fn pass<R: Read>(&mut self, rows: &Rows<R>) {
        self.passed += 1;
        if self.passed <= self.every {
            return;
        }
        self.passed = 0;
        self.marks.extend(rows.mark(Self::LONGEST));
        if self.marks.len() > Self::MOST {
            // Every other one goes, and from now on they are made as far apart.
            self.every = 2 * self.every + 1;
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// The last mark before a row.
    pub(super) fn before(&self, row: u64) -> Option<&Mark> {
        let after = self.marks.partition_point(|mark| mark.index() <= row);
        self.marks[..after].last()
    }
}
