//! A register as rows tell of it.

use crate::consistency::linearizable::zones::Zones;
use crate::formats::compact::{NO_VALUE, Row};
use crate::history::op::Kind;
use crate::spec::Values;

/// What an operation does, by its `f`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    Read,
    Write,
    /// It writes, and says so once more when it is done.
    Put,
    Erase,
}

impl Does {
    pub(super) fn named(f: &str) -> Option<Self> {
        match f {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            "put" => Some(Self::Put),
            "delete" => Some(Self::Erase),
            // A `get` returns siblings: a list is not the value.
            _ => None,
        }
    }
}

/// What happens to a register.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    WriteBegins,
    WriteFails,
    /// A read or a write. Which of the two is as good as random, and so nothing is made of it: of a
    /// write its beginning is known, and to be told again changes nothing.
    Returns,
    /// The value is told of: it is `null`.
    IsNull,
    /// What comes next ends a call that began at an instant of which it was not the first row.
    Tie,
}

const WRITE_BEGINS: u32 = Deed::WriteBegins as u32;
const WRITE_FAILS: u32 = Deed::WriteFails as u32;
const RETURNS: u32 = Deed::Returns as u32;
const IS_NULL: u32 = Deed::IsNull as u32;

/// What a row tells a register: as much of it as matters. Calls and instants are numbers of rows;
/// of those there are less than 2^32, or what is made of them is thrown away in the end.
#[derive(Clone, Copy)]
pub(super) struct Event {
    /// The register's number in its group, and below that what happens to it.
    deed: u32,
    /// Among the values of its key.
    value: u32,
    /// The call, by the index of its invocation.
    call: u32,
    instant: u32,
}

const _: () = assert!(size_of::<Event>() == 16, "millions go through memory");

/// So many bits say what happens.
const DEED: u32 = 3;

impl Event {
    /// Tells `to` what a row tells a register, if anything, and the tie before it, if there is one;
    /// `false` when that is beyond the zone check.
    #[inline(always)]
    pub(super) fn told(
        register: u32,
        row: &Row,
        does: Does,
        to: impl FnOnce(Self, Option<Self>),
    ) -> bool {
        // What begins and ends nothing is no sound history: whoever reads it in full says why. And
        // what erases writes the initial value again.
        if row.invoke.is_some() == (row.kind == Kind::Invoke) || does == Does::Erase {
            return false;
        }
        let call = row.invoke.map_or(row.index, |(index, _)| index);
        let event = |deed, value| Self::new(register, deed, value, call, row.instant);
        match row.kind {
            Kind::Invoke if does == Does::Read => {}
            Kind::Invoke => to(event(Deed::WriteBegins, row.value), None),
            Kind::Ok => {
                // What was written is what the invocation said. A put says so twice.
                let mut value = row.value;
                if (does != Does::Read) & (row.value != row.begun_value) {
                    if does == Does::Put {
                        return false;
                    }
                    value = row.begun_value;
                }
                // It began at an instant of which it mostly is the first row.
                let tied = row.begun != call;
                let tie = tied.then(|| Self::new(register, Deed::Tie, value, call, row.begun));
                to(event(Deed::Returns, value), tie);
            }
            Kind::Fail if does == Does::Read => {}
            Kind::Fail => to(event(Deed::WriteFails, row.begun_value), None),
            Kind::Info => {}
        }
        true
    }

    /// A value of the register is `null`.
    #[cold]
    pub(super) fn is_null(register: u32, value: u32) -> Self {
        Self::new(register, Deed::IsNull, value, 0, 0)
    }

    #[inline(always)]
    fn new(register: u32, deed: Deed, value: u32, call: u64, instant: u64) -> Self {
        let deed = register << DEED | deed as u32;
        Self { deed, value, call: call as u32, instant: instant as u32 }
    }

    /// The register's number in its group.
    #[inline(always)]
    pub(super) fn register(&self) -> usize {
        (self.deed >> DEED) as usize
    }
}

/// A register in the making.
pub(super) struct Register {
    pub(super) zones: Zones,
    /// The number that `null` has among its values, if it has one.
    null: u32,
    /// The instant at which the call that ends next began, if another row is the first of that.
    tie: Option<u32>,
}

impl Default for Register {
    fn default() -> Self {
        Self { zones: Zones::new(), null: NO_VALUE, tie: None }
    }
}

impl Register {
    /// `false` when it is beyond the zone check.
    #[inline(always)]
    pub(super) fn take(&mut self, event: Event) -> bool {
        let Event { deed, value, call, instant } = event;
        // The register's own numbers: 0 for the initial null, which is also that of no value, then
        // the key's values in order.
        const { assert!(NO_VALUE.wrapping_add(1) == Values::FIRST) };
        let number = if value == self.null { Values::FIRST } else { value.wrapping_add(1) };
        let zones = &mut self.zones;
        match deed & ((1 << DEED) - 1) {
            RETURNS => {
                let begun = self.tie.take().unwrap_or(call);
                zones.read_returns(number, call, begun, instant);
            }
            WRITE_BEGINS => {
                zones.write_begins(number, call, instant);
                return zones.repeated().is_none();
            }
            // That a failed write did not happen takes its value out again.
            WRITE_FAILS => return zones.write_fails(number, call),
            IS_NULL => self.null = value,
            _ => self.tie = Some(instant),
        }
        true
    }
}
