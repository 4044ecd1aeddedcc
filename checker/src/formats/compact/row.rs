//! A row: names by number and no text, so that a checker that needs no text is not slowed. And who is told of
//! the texts, and of rows.

use super::CompactError;
use crate::history::op::Kind;
use crate::judge::budget::Exhausted;

/// The slot of the nemesis.
pub(crate) const NEMESIS: u32 = u32::MAX;

/// The number of no key, value or string.
pub(crate) const NO_VALUE: u32 = u32::MAX;

/// One line of a history, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) index: u64,
    pub(crate) time: u64,
    /// The index of the first row of the same time: numbers in the order of times, and as equal.
    pub(crate) instant: u64,
    pub(crate) kind: Kind,
    /// Its `f`, among those of [`Rows::f`](super::rows::Rows::f).
    pub(crate) f: u32,
    /// It is none of the nemesis.
    pub(crate) is_client: bool,
    pub(crate) slot: u32,
    pub(crate) process: u64,
    pub(crate) key: u32,
    /// Among the values of its key.
    pub(crate) value: u32,
    pub(crate) context: Option<u64>,
    pub(crate) error: u32,
    pub(crate) node: u32,
    pub(crate) extra: u32,
    pub(crate) is_final: bool,
    /// The invocation that it completes: its index and time.
    pub(crate) invoke: Option<(u64, u64)>,
    /// The instant of that.
    pub(crate) begun: u64,
    /// The value with which that began; without one there is nothing to be learnt from it.
    pub(crate) begun_value: u32,
}

impl Row {
    /// With nothing in it.
    pub(super) const NONE: Self = Self {
        index: 0,
        time: 0,
        instant: 0,
        kind: Kind::Invoke,
        f: 0,
        is_client: false,
        slot: NEMESIS,
        process: 0,
        key: NO_VALUE,
        value: NO_VALUE,
        context: None,
        error: NO_VALUE,
        node: NO_VALUE,
        extra: NO_VALUE,
        is_final: false,
        invoke: None,
        begun: 0,
        begun_value: NO_VALUE,
    };
}

/// A value as it is introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Literal<'a> {
    Integer(i64),
    Json(&'a [u8]),
}

/// Who keeps the texts that rows name by number; numbers are given in order from 0.
pub(crate) trait Dictionary {
    /// A value of a key; the key is [`NO_VALUE`] for rows without one.
    fn value(&mut self, key: u32, value: Literal<'_>) -> Result<(), Refused>;
    fn key(&mut self, text: &[u8]) -> Result<(), Refused>;
    /// A new `f`.
    fn f(&mut self, _name: &str) {}
    fn error(&mut self, _text: &[u8]) -> Result<(), Refused> {
        Ok(())
    }
    fn node(&mut self, _text: &[u8]) -> Result<(), Refused> {
        Ok(())
    }
    fn extra(&mut self, _text: &[u8]) -> Result<(), Refused> {
        Ok(())
    }
}

/// Who is told of rows as they are read.
pub(crate) trait Listener: Dictionary {
    /// Takes a row in; `false` when it wants no more.
    fn row(&mut self, row: Row) -> bool;
}

/// Why a text is not kept.
pub(crate) enum Refused {
    Damaged(&'static str),
    Exhausted(Exhausted),
}

impl Refused {
    /// At about this byte of the file, after so many rows.
    #[cold]
    pub(super) fn at(self, at: u64, ops: u64) -> CompactError {
        match self {
            Self::Damaged(what) => CompactError::Damaged { at, what },
            Self::Exhausted(exhausted) => CompactError::Budget { exhausted, ops },
        }
    }
}
