//! From rows to registers.
//!
//! A few registers are told of each row as it is read. To do so with thousands of them would touch
//! the memory of another one at every row: what they are told is collected, for some of them
//! together, and told to them a few thousand rows at a time (see [`groups`](super::groups)).

use std::io::Read;

use super::groups::Groups;
use super::register::{Does, Event, Register, Take};
use crate::budget::Meter;
use crate::formats::compact::{
    CompactError, Dictionary, Listener, Literal, Mark, Refused, Row, Rows,
};
use crate::linearizable::zones::Conflict;

/// So many registers are few.
pub(super) const FEW: usize = 64;

/// After so many rows at the latest the meter is asked: they take less than a millisecond, and
/// what they introduce less than a megabyte.
const ROWS: u32 = 8192;

/// What is known of all registers at the end of a file.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) calls: u64,
    /// Registers that had a call.
    pub(super) used: usize,
    /// By place.
    pub(super) conflicts: Vec<(u32, Conflict)>,
}

/// Gathers a history, with marks from which parts of it can be read again. `None` when something
/// was beyond the zone check.
pub(super) fn gather<R: Read>(
    rows: &mut Rows<R>,
    marks: &mut Marks,
    names: &mut Names,
    meter: &mut Meter,
) -> Result<Option<Gathered>, CompactError> {
    let mut reading = Reading { rows, marks, meter };
    let mut few = Few {
        seen: Seen { names, calls: 0, used: vec![false; FEW], beyond: false },
        registers: std::iter::repeat_with(Register::default).take(FEW).collect(),
        other: None,
    };
    reading.tell_few(&mut few)?;
    let Few { seen, registers, other } = few;
    if seen.beyond {
        return Ok(None);
    }
    let Some(other) = other else {
        let conflicts = (0..).zip(&registers).filter_map(|(place, register)| {
            register.zones.conflict().map(|conflict| (place, conflict))
        });
        return Ok(Some(seen.gathered(conflicts.collect())));
    };
    std::thread::scope(|scope| {
        let mut many = Many { seen, groups: Groups::new(scope, registers) };
        if many.row(other) {
            reading.tell_many(&mut many)?;
        }
        let Many { seen, groups } = many;
        let conflicts = if seen.beyond { None } else { groups.finish() };
        Ok(conflicts.map(|conflicts| seen.gathered(conflicts)))
    })
}

struct Reading<'a, R> {
    rows: &'a mut Rows<R>,
    marks: &'a mut Marks,
    meter: &'a mut Meter,
}

// Two functions, and neither a part of another: what is in a loop is the faster the less it is.
impl<R: Read> Reading<'_, R> {
    #[inline(never)]
    fn tell_few(&mut self, few: &mut Few<'_>) -> Result<(), CompactError> {
        self.tell(few)
    }

    #[inline(never)]
    fn tell_many(&mut self, many: &mut Many<'_, '_, '_>) -> Result<(), CompactError> {
        self.tell(many)
    }

    /// Tells of rows until there are no more, or no more are wanted.
    #[inline(always)]
    fn tell(&mut self, listener: &mut impl Listener) -> Result<(), CompactError> {
        let Self { rows, marks, meter } = self;
        loop {
            if rows.is_between_blocks() {
                marks.pass(rows);
            }
            let ops = rows.count();
            meter.look().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
            if !rows.tell(listener, ROWS)? {
                return Ok(());
            }
        }
    }
}

/// What is kept of rows beside the registers.
struct Seen<'a> {
    names: &'a mut Names,
    calls: u64,
    /// By place: did the register have a call?
    used: Vec<bool>,
    /// Was something beyond the zone check?
    beyond: bool,
}

impl Seen<'_> {
    /// Takes a row in, and tells what it tells its register; `false` when that is beyond the zone
    /// check.
    #[inline(always)]
    fn tell(&mut self, row: &Row, to: &mut impl Take) -> bool {
        if self.names.is_null {
            self.names.is_null = false;
            to.take(Event::is_null(row));
        }
        if !row.is_client {
            return true;
        }
        if row.invoke.is_none() {
            self.calls += 1;
            let place = row.key.wrapping_add(1) as usize;
            match self.used.get_mut(place) {
                Some(used) => *used = true,
                None => self.widen(place),
            }
        }
        let does = self.names.fs[row.f as usize];
        let taken = does.is_some_and(|does| Event::told(row, does, to));
        if !taken {
            self.beyond = true;
        }
        taken
    }

    #[cold]
    fn widen(&mut self, place: usize) {
        self.used.resize(place + 1, false);
        self.used[place] = true;
    }

    fn gathered(self, conflicts: Vec<(u32, Conflict)>) -> Gathered {
        let used = self.used.iter().filter(|used| **used).count();
        Gathered { calls: self.calls, used, conflicts }
    }
}

/// Tells few registers, as long as there are no more.
struct Few<'a> {
    seen: Seen<'a>,
    registers: Vec<Register>,
    /// The first row of another.
    other: Option<Row>,
}

impl Few<'_> {
    #[cold]
    fn other(&mut self, row: Row) -> bool {
        self.other = Some(row);
        false
    }
}

impl Listener for Few<'_> {
    #[inline(always)]
    fn row(&mut self, row: Row) -> bool {
        let Some(register) = self.registers.get_mut(row.key.wrapping_add(1) as usize) else {
            return self.other(row);
        };
        self.seen.tell(&row, register)
    }
}

/// Tells any number of registers.
struct Many<'a, 'scope, 'env> {
    seen: Seen<'a>,
    groups: Groups<'scope, 'env>,
}

impl Listener for Many<'_, '_, '_> {
    #[inline(always)]
    fn row(&mut self, row: Row) -> bool {
        self.seen.tell(&row, &mut self.groups)
    }
}

macro_rules! with_names {
    ($($listener:ty),*) => {$(
        impl Dictionary for $listener {
            #[inline(always)]
            fn value(&mut self, key: u32, value: Literal<'_>) -> Result<(), Refused> {
                self.seen.names.value(key, value)
            }

            fn key(&mut self, text: &[u8]) -> Result<(), Refused> {
                self.seen.names.key(text)
            }

            fn f(&mut self, name: &str) {
                self.seen.names.f(name);
            }
        }
    )*};
}

with_names!(Few<'_>, Many<'_, '_, '_>);

/// The names of keys. Of the values only this is kept: that the last one introduced is `null`.
#[derive(Default)]
pub(super) struct Names {
    is_null: bool,
    /// What the `f` of a number does.
    fs: Vec<Option<Does>>,
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

    fn f(&mut self, text: &str) {
        self.fs.push(Does::named(text));
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
