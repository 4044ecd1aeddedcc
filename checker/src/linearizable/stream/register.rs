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
    Erase,
}

impl Does {
    pub(super) fn named(f: &str) -> Option<Self> {
        match f {
            "read" => Some(Self::Read),
            "write" | "put" => Some(Self::Write),
            "delete" => Some(Self::Erase),
            // A `get` returns siblings: a list is not the value.
            _ => None,
        }
    }
}

/// What a row tells a register: as much of it as matters.
#[derive(Clone, Copy)]
pub(super) struct Event {
    /// None where the value is told of: it is `null`.
    kind: Option<Kind>,
    does: Does,
    /// It completes an invocation.
    completes: bool,
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

impl Event {
    /// What a row tells.
    #[inline(always)]
    pub(super) fn of(row: &Row, does: Does) -> Self {
        let (call, begun) = row.invoke.unwrap_or((row.index, row.time));
        Self {
            kind: Some(row.kind),
            does,
            completes: row.invoke.is_some(),
            place: row.key.wrapping_add(1),
            value: row.value,
            call: call as u32,
            time: row.time,
            begun,
        }
    }

    /// A value of the register is `null`.
    pub(super) fn is_null(row: &Row) -> Self {
        Self {
            kind: None,
            does: Does::Read,
            completes: false,
            place: row.key.wrapping_add(1),
            value: row.value,
            call: 0,
            time: 0,
            begun: 0,
        }
    }
}

/// A register in the making.
pub(super) struct Register {
    pub(super) zones: Zones,
    pub(super) calls: u64,
    /// The number that `null` has among its values, if it has one.
    null: u32,
}

impl Default for Register {
    fn default() -> Self {
        Self { zones: Zones::new(), calls: 0, null: NO_VALUE }
    }
}

impl Register {
    /// Takes an event in; `false` when that is beyond the zone check.
    #[inline(always)]
    pub(super) fn take(&mut self, event: &Event) -> bool {
        let Event { kind, does, completes, value, call, time, begun, .. } = *event;
        // The register's own numbers: 0 for the initial null, then the key's values in order.
        let number = match value {
            NO_VALUE => Values::FIRST,
            value if value == self.null => Values::FIRST,
            value => value + 1,
        };
        let zones = &mut self.zones;
        let Some(kind) = kind else {
            self.null = value;
            return true;
        };
        // What begins and ends nothing is no sound history: whoever reads it in full says why.
        if completes == (kind == Kind::Invoke) {
            return false;
        }
        match (does, kind) {
            (Does::Read, Kind::Invoke) => self.calls += 1,
            (Does::Read, Kind::Ok) => zones.read_returns(number, call, begun, time),
            (Does::Write, Kind::Invoke) => {
                self.calls += 1;
                zones.write_begins(number, call, time);
                return zones.repeated().is_none();
            }
            (Does::Write, Kind::Ok) => zones.write_returns(number, call, time),
            // That a failed write did not happen takes its value out again.
            (Does::Write, Kind::Fail) => {
                return value != NO_VALUE && zones.write_fails(number, call);
            }
            (Does::Read, Kind::Fail) | (Does::Read | Does::Write, Kind::Info) => {}
            // What erases writes the initial value again.
            (Does::Erase, _) => return false,
        }
        true
    }
}
