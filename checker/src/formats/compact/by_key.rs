//! Rows by key: what streams a file keeps something for each key, and takes its rows in turn.

use std::io::Read;

use super::{CompactError, Dictionary, Literal, NEMESIS, Refused, Row, Rows};
use crate::budget::Meter;

/// What is gathered of a key.
pub(crate) trait OfKey: Default {
    /// What operations do, by their `f`.
    type Does: Copy;

    /// What one with this `f` does; none if it is not of this kind of history.
    fn does(f: &str) -> Option<Self::Does>;

    /// Takes in the value that the next row of the key introduces.
    fn introduce(&mut self, value: Literal<'_>);

    /// Takes a client's row in. `None` when that is beyond what can be judged by rows.
    fn take(&mut self, row: &Row, does: Option<Self::Does>) -> Option<()>;
}

/// Gathers a history; rows without a key come first, then key by key. `None` when a row was beyond
/// it.
pub(crate) fn gather<R: Read, K: OfKey>(
    rows: &mut Rows<R>,
    meter: &mut Meter,
) -> Result<Option<Vec<K>>, CompactError> {
    let mut gathered = Gathered { keys: vec![K::default()] };
    let mut fs: Vec<Option<K::Does>> = Vec::new();
    while let Some(row) = rows.next_row(&mut gathered)? {
        let ops = row.index;
        meter.tick().map_err(|exhausted| CompactError::Budget { exhausted, ops })?;
        if row.slot == NEMESIS {
            continue;
        }
        while fs.len() <= row.f as usize {
            fs.push(K::does(rows.f(fs.len() as u32)));
        }
        let key = &mut gathered.keys[row.key.wrapping_add(1) as usize];
        if key.take(&row, fs[row.f as usize]).is_none() {
            return Ok(None);
        }
    }
    Ok(Some(gathered.keys))
}

struct Gathered<K> {
    keys: Vec<K>,
}

impl<K: OfKey> Dictionary for Gathered<K> {
    #[inline(always)]
    fn value(&mut self, key: u32, value: Literal<'_>) -> Result<(), Refused> {
        self.keys[key.wrapping_add(1) as usize].introduce(value);
        Ok(())
    }

    fn key(&mut self, _: &[u8]) -> Result<(), Refused> {
        self.keys.push(K::default());
        Ok(())
    }
}
