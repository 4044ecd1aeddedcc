//! A register as rows tell of it.

use crate::formats::compact::{NO_VALUE, Row};
use crate::linearizable::zones::Zones;
use crate::op::Kind;
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
}

/// What a row tells a register: as much of it as matters. Half a cache line.
#[derive(Clone, Copy)]
pub(super) struct Event {
    deed: Deed,
    /// The register, by its place: that of rows without a key is the first.
    pub(super) place: u32,
    /// Among the values of its key.
    value: u32,
    /// The call, by the index of its invocation.
    call: u32,
    time: u64,
    /// When the call began.
    begun: u64,
}

/// Who takes events in.
pub(super) trait Take {
    /// `false` when that is beyond the zone check.
    fn take(&mut self, event: Event) -> bool;
}

impl Event {
    /// Tells `to` what a row tells, if anything; `false` when that is beyond the zone check.
    ///
    /// A deed is told of where it is known, and not made up first: so it is known to who takes it in, too.
    #[inline(always)]
    pub(super) fn told(row: &Row, does: Does, to: &mut impl Take) -> bool {
        // What begins and ends nothing is no sound history: whoever reads it in full says why. And
        // what erases writes the initial value again.
        if row.invoke.is_some() == (row.kind == Kind::Invoke) || does == Does::Erase {
            return false;
        }
        match row.kind {
            Kind::Invoke if does == Does::Read => true,
            Kind::Invoke => to.take(Self::of(Deed::WriteBegins, row, row.value)),
            Kind::Ok => {
                // What was written is what the invocation said. A put says so twice.
                let mut value = row.value;
                if (does != Does::Read) & (row.value != row.begun_value) {
                    if does == Does::Put {
                        return false;
                    }
                    value = row.begun_value;
                }
                to.take(Self::of(Deed::Returns, row, value))
            }
            Kind::Fail if does == Does::Read => true,
            Kind::Fail => to.take(Self::of(Deed::WriteFails, row, row.begun_value)),
            Kind::Info => true,
        }
    }

    #[inline(always)]
    fn of(deed: Deed, row: &Row, value: u32) -> Self {
        let (call, begun) = row.invoke.unwrap_or((row.index, row.time));
        let place = row.key.wrapping_add(1);
        Self { deed, place, value, call: call as u32, time: row.time, begun }
    }

    /// A value of the register is `null`.
    #[cold]
    pub(super) fn is_null(row: &Row) -> Self {
        Self::of(Deed::IsNull, row, row.value)
    }
}

/// A register in the making.
pub(super) struct Register {
    pub(super) zones: Zones,
    /// The number that `null` has among its values, if it has one.
    null: u32,
}

impl Default for Register {
    fn default() -> Self {
        Self { zones: Zones::new(), null: NO_VALUE }
    }
}

impl Take for Register {
    #[inline(always)]
    fn take(&mut self, event: Event) -> bool {
        let Event { deed, value, call, time, begun, .. } = event;
        // The register's own numbers: 0 for the initial null, which is also that of no value, then
        // the key's values in order.
        const { assert!(NO_VALUE.wrapping_add(1) == Values::FIRST) };
        let number = if value == self.null { Values::FIRST } else { value.wrapping_add(1) };
        let zones = &mut self.zones;
        match deed {
            Deed::Returns => zones.read_returns(number, call, begun, time),
            Deed::WriteBegins => {
                zones.write_begins(number, call, time);
                return zones.repeated().is_none();
            }
            // That a failed write did not happen takes its value out again.
            Deed::WriteFails => return zones.write_fails(number, call),
            Deed::IsNull => self.null = value,
        }
        true
    }
}
