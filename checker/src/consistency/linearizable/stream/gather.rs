//! From the pieces of a file to registers, on all cores.
//!
//! A piece is read by whoever has nothing better to do, into what it tells the registers: a batch of
//! events for each group of them. Of each register one worker is told, of piece after piece in
//! their order. To tell registers as rows are read would touch the memory of another one at every
//! row; in a batch there are a few for each.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::names::Names;
use super::register::{Does, Event, Register};
use crate::consistency::linearizable::zones::Conflict;
use crate::formats::compact::{
    CompactError, Dictionary, Listener, Literal, Piece, Pieces, Place, Refused, Row, Told,
};
use crate::history::op::Kind;
use crate::judge::budget::Meter;

/// Registers are told in so many groups: those whose places are the same modulo this. With ten
/// thousand keys a group's registers, as far as they are looked at, fit into a near cache.
const GROUPS: usize = 64;

/// No more workers than this: one at a time takes its piece from the file, and each has two batches
/// under way, of half a megabyte and, with ten thousand keys, of two.
const WORKERS: usize = 8;

/// After so many rows at the latest the meter is asked: they take less than a millisecond, and
/// what they introduce less than a megabyte.
const ROWS: u32 = 8192;

/// What is known of all registers at the end of a file.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) lines: u64,
    pub(super) calls: u64,
    /// Reads that were answered.
    pub(super) answers: u64,
    /// Registers that had a call.
    pub(super) used: usize,
    /// By place.
    pub(super) conflicts: Vec<(u32, Conflict)>,
    pub(super) names: Names,
    /// From where parts of the file can be read again.
    pub(super) places: Vec<Place>,
}

/// Gathers a history. `None` when something was beyond the zone check.
pub(super) fn gather<R: Read + Send>(
    reader: R,
    meter: &Meter,
) -> Result<Option<Gathered>, CompactError> {
    let mut others = Pieces::new(reader)?;
    let first = Some(others.next(Vec::new())?);
    // What is one piece is done before another thread has started.
    let workers = match others.has_ended() {
        true => 1,
        false => std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS),
    };
    let desk = Desk::new(Source { first, others }, workers);
    let done: Vec<Done> = std::thread::scope(|scope| {
        let desk = &desk;
        let others: Vec<_> = (1..workers)
            .map(|number| scope.spawn(move || Worker::new(number, workers).work(desk, meter)))
            .collect();
        let mut done = vec![Worker::new(0, workers).work(desk, meter)];
        let others = others.into_iter().map(|other| other.join().expect("no worker panics"));
        done.extend(others);
        done
    });
    desk.end(done)
}

/// What a piece tells.
struct Batch {
    /// By group.
    events: Vec<Vec<Event>>,
    /// Of the keys that it introduces.
    names: Names,
}

impl Batch {
    fn new() -> Self {
        Self { events: vec![Vec::new(); GROUPS], names: Names::default() }
    }

    /// Empties it, and keeps the memory.
    fn clear(&mut self) {
        self.events.iter_mut().for_each(Vec::clear);
        self.names.clear();
    }
}

/// Why no more is read.
enum Stopped {
    Beyond,
    Failed(CompactError),
    /// A worker has panicked: its thread tells.
    Lost,
}

/// Where workers meet.
struct Desk<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
}

struct State<R> {
    /// None while a worker takes a piece from it.
    source: Option<Box<Source<R>>>,
    /// Of each worker how many batches it has told its registers of.
    told: Vec<u32>,
    /// How many all have.
    past: u32,
    /// The batches of the pieces taken after those, as far as they are there.
    batches: VecDeque<Option<Arc<Batch>>>,
    /// What is empty again.
    spare: Vec<Batch>,
    buffers: Vec<Vec<u8>>,
    stopped: Option<Stopped>,
}

/// Where pieces come from.
struct Source<R> {
    /// Taken to see whether there are others.
    first: Option<Piece>,
    others: Pieces<R>,
}

impl<R: Read> Source<R> {
    fn has_ended(&self) -> bool {
        self.first.is_none() && self.others.has_ended()
    }

    fn next(&mut self, buffer: Vec<u8>) -> Result<Piece, CompactError> {
        self.first.take().map_or_else(|| self.others.next(buffer), Ok)
    }
}

/// What a worker does next.
enum Job<R> {
    /// Take the next piece, and read it into a batch.
    Read(Box<Source<R>>),
    Tell(Arc<Batch>),
    /// All has been told.
    End,
    Stop,
}

impl<R: Read> Desk<R> {
    fn new(source: Source<R>, workers: usize) -> Self {
        let state = State {
            source: Some(Box::new(source)),
            told: vec![0; workers],
            past: 0,
            batches: VecDeque::new(),
            spare: Vec::new(),
            buffers: Vec::new(),
            stopped: None,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().expect("no one panics with the lock held")
    }

    /// Waits until there is something to do for a worker. To tell comes first: it frees memory.
    fn job(&self, worker: usize) -> Job<R> {
        let mut state = self.state();
        loop {
            if state.stopped.is_some() {
                return Job::Stop;
            }
            let next = (state.told[worker] - state.past) as usize;
            if let Some(Some(batch)) = state.batches.get(next) {
                return Job::Tell(Arc::clone(batch));
            }
            // Two for each: while some are told of one, others are read. More are only memory.
            let has_room = state.batches.len() < 2 * state.told.len();
            match &state.source {
                Some(source) if source.has_ended() && next == state.batches.len() => {
                    return Job::End;
                }
                Some(source) if !source.has_ended() && has_room => {
                    if let Some(source) = state.source.take() {
                        state.batches.push_back(None);
                        return Job::Read(source);
                    }
                }
                _ => {}
            }
            state = self.changed.wait(state).expect("no one panics with the lock held");
        }
    }

    fn change(&self, change: impl FnOnce(&mut State<R>)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// No more is read. What stopped it first counts.
    fn stop(&self, why: Stopped) {
        self.change(|state| {
            state.stopped.get_or_insert(why);
        });
    }

    /// The batch of a piece is there.
    fn put(&self, piece: u32, batch: Batch, buffer: Vec<u8>) {
        self.change(|state| {
            let at = (piece - state.past) as usize;
            state.batches[at] = Some(Arc::new(batch));
            state.buffers.push(buffer);
        });
    }

    /// A worker has told its registers of one more batch, and holds it no more.
    fn told(&self, worker: usize) {
        self.change(|state| {
            state.told[worker] += 1;
            while state.told.iter().all(|told| *told > state.past) {
                state.past += 1;
                let batch = state.batches.pop_front().flatten().and_then(Arc::into_inner);
                state.spare.extend(batch.map(|mut batch| {
                    batch.clear();
                    batch
                }));
            }
        });
    }

    /// What all workers have found out.
    fn end(self, workers: Vec<Done>) -> Result<Option<Gathered>, CompactError> {
        let state = self.state.into_inner().expect("no one panics with the lock held");
        match state.stopped {
            Some(Stopped::Failed(error)) => return Err(error),
            Some(Stopped::Beyond | Stopped::Lost) => return Ok(None),
            None => {}
        }
        let Some(source) = state.source else { return Ok(None) };
        let (places, is_torn) = source.others.into_places();
        // A run that was cut short is for the ordinary way, which reports that.
        if is_torn {
            return Ok(None);
        }
        let mut gathered = Gathered { places, ..Gathered::default() };
        let mut used: Vec<bool> = Vec::new();
        for done in workers {
            gathered.lines = gathered.lines.max(done.lines);
            gathered.calls += done.calls;
            gathered.answers += done.answers;
            gathered.conflicts.extend(done.conflicts);
            gathered.names.extend(&done.names);
            if done.used.len() > used.len() {
                used.resize(done.used.len(), false);
            }
            used.iter_mut().zip(&done.used).for_each(|(used, also)| *used |= also);
        }
        gathered.used = used.iter().filter(|used| **used).count();
        gathered.conflicts.sort_unstable_by_key(|(place, _)| *place);
        Ok(Some(gathered))
    }
}

/// One of those who read pieces and tell registers.
struct Worker {
    number: usize,
    workers: usize,
    /// By group; its own are those whose numbers are the same as its own modulo the workers.
    groups: Vec<Vec<Register>>,
    done: Done,
}

/// What a worker has found out.
#[derive(Default)]
struct Done {
    /// In the pieces that it has read.
    calls: u64,
    answers: u64,
    lines: u64,
    /// By place: did the register have a call?
    used: Vec<bool>,
    /// Of all pieces; only the first worker keeps them.
    names: Names,
    /// Of its own registers, by place.
    conflicts: Vec<(u32, Conflict)>,
}

impl Worker {
    fn new(number: usize, workers: usize) -> Self {
        Self {
            number,
            workers,
            groups: std::iter::repeat_with(Vec::new).take(GROUPS).collect(),
            done: Done::default(),
        }
    }

    fn work<R: Read>(mut self, desk: &Desk<R>, meter: &Meter) -> Done {
        let _watch = Watch(desk);
        loop {
            match desk.job(self.number) {
                Job::Tell(batch) => {
                    let within = self.tell(&batch);
                    drop(batch);
                    if !within {
                        desk.stop(Stopped::Beyond);
                    }
                    desk.told(self.number);
                }
                Job::Read(source) => {
                    if let Err(why) = self.read(source, desk, meter) {
                        desk.stop(why);
                    }
                }
                Job::End => return self.done(),
                Job::Stop => return Done::default(),
            }
        }
    }

    fn read<R: Read>(
        &mut self,
        mut source: Box<Source<R>>,
        desk: &Desk<R>,
        meter: &Meter,
    ) -> Result<(), Stopped> {
        let buffer = desk.state().buffers.pop().unwrap_or_default();
        let piece = source.next(buffer).map_err(Stopped::Failed)?;
        if piece.leads() {
            let mut told = self.read_piece(piece, desk, meter)?;
            source.others.go_on(&mut told);
            desk.change(|state| state.source = Some(source));
        } else {
            desk.change(|state| state.source = Some(source));
            self.read_piece(piece, desk, meter)?;
        }
        Ok(())
    }

    /// Reads a piece into a batch.
    fn read_piece<R: Read>(
        &mut self,
        piece: Piece,
        desk: &Desk<R>,
        meter: &Meter,
    ) -> Result<Told, Stopped> {
        let number = piece.number;
        let spare = desk.state().spare.pop();
        let mut reading = Reading {
            batch: spare.unwrap_or_else(Batch::new),
            fs: piece.fs().iter().map(|f| Does::named(f)).collect(),
            is_null: false,
            calls: 0,
            answers: 0,
            used: std::mem::take(&mut self.done.used),
        };
        let told = piece.tell(&mut reading, ROWS, |ops| {
            meter.look().map_err(|exhausted| CompactError::Budget { exhausted, ops })
        });
        let Reading { batch, calls, answers, used, .. } = reading;
        self.done.calls += calls;
        self.done.answers += answers;
        self.done.used = used;
        let mut told = told.map_err(Stopped::Failed)?;
        // The calls of one process stand in turn even when they are of one instant: that is for a
        // closer look. So is what ends as another than it began as.
        if told.has_ties || told.has_others || !told.wanted {
            return Err(Stopped::Beyond);
        }
        self.done.lines = self.done.lines.max(told.count());
        desk.put(number, batch, std::mem::take(&mut told.bytes));
        Ok(told)
    }

    /// Tells its registers of a batch; `false` when something was beyond the zone check.
    fn tell(&mut self, batch: &Batch) -> bool {
        if self.number == 0 {
            self.done.names.extend(&batch.names);
        }
        let groups = self.groups.iter_mut().zip(&batch.events);
        let mut own = groups.skip(self.number).step_by(self.workers);
        own.all(|(registers, events)| {
            events.iter().all(|event| {
                let at = event.register();
                if at >= registers.len() {
                    registers.resize_with(at + 1, Register::default);
                }
                registers[at].take(*event)
            })
        })
    }

    /// Looks at its registers, and gives back their memory.
    fn done(mut self) -> Done {
        for (group, registers) in (0..).zip(self.groups) {
            for (at, register) in (0..).zip(registers) {
                let place = at * GROUPS as u32 + group;
                let conflict = register.zones.conflict();
                self.done.conflicts.extend(conflict.map(|conflict| (place, conflict)));
            }
        }
        self.done
    }
}

/// Sees to it that no worker waits for one that has panicked.
struct Watch<'a, R>(&'a Desk<R>);

impl<R> Drop for Watch<'_, R> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let state = self.0.state.lock();
            state.unwrap_or_else(PoisonError::into_inner).stopped = Some(Stopped::Lost);
            self.0.changed.notify_all();
        }
    }
}

#[cold]
fn tied(events: &mut Vec<Event>, tie: Event) {
    events.push(tie);
}

/// Reads rows into a batch.
struct Reading {
    batch: Batch,
    /// What the `f` of a number does.
    fs: Vec<Option<Does>>,
    /// The row at hand introduces `null`.
    is_null: bool,
    calls: u64,
    answers: u64,
    used: Vec<bool>,
}

impl Reading {
    #[cold]
    fn widen(&mut self, place: usize) {
        self.used.resize(place + 1, false);
        self.used[place] = true;
    }
}

impl Listener for Reading {
    #[inline(always)]
    fn row(&mut self, row: Row) -> bool {
        let place = row.key.wrapping_add(1) as usize;
        let events = &mut self.batch.events[place % GROUPS];
        let register = (place / GROUPS) as u32;
        if self.is_null {
            self.is_null = false;
            events.push(Event::is_null(register, row.value));
        }
        if !row.is_client {
            return true;
        }
        let Some(does) = self.fs[row.f as usize] else { return false };
        let told = Event::told(register, &row, does, |event, tie| {
            if let Some(tie) = tie {
                tied(events, tie);
            }
            events.push(event);
        });
        // Which rows are answered reads is as good as random: no branch.
        self.answers += u64::from((does == Does::Read) & (row.kind == Kind::Ok));
        if row.invoke.is_none() {
            self.calls += 1;
            match self.used.get_mut(place) {
                Some(used) => *used = true,
                None => self.widen(place),
            }
        }
        told
    }
}

impl Dictionary for Reading {
    #[inline(always)]
    fn value(&mut self, _: u32, value: Literal<'_>) -> Result<(), Refused> {
        // The text is that of the writer's JSON: null has one spelling.
        self.is_null = matches!(value, Literal::Json(b"null"));
        Ok(())
    }

    fn key(&mut self, text: &[u8]) -> Result<(), Refused> {
        self.batch.names.push(text);
        Ok(())
    }

    fn f(&mut self, text: &str) {
        self.fs.push(Does::named(text));
    }
}
