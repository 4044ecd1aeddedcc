//! Columns of numbers, packed: each a few byte planes, all of them deflated together and written in base64.
//!
//! A column of which every value fits in two bytes is a plane of all low bytes and then one of all high
//! bytes: what is alike stands together, and deflates well. Values that rise are told as differences. The
//! page's script does the same backwards (`assets/data.js`).

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::Serialize;

/// How a column stands among the planes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Layout {
    /// Its name.
    pub name: &'static str,
    /// How many planes it has.
    pub bytes: u8,
    /// Is each value the difference to the one before?
    pub rises: bool,
}

/// Columns of one length.
#[derive(Debug, Default)]
pub(crate) struct Planes {
    layouts: Vec<Layout>,
    bytes: Vec<u8>,
    length: Option<usize>,
}

impl Planes {
    /// Adds a column.
    ///
    /// # Panics
    /// If it is not as long as those before, or `rises` and does not: its maker is broken.
    pub(crate) fn add(&mut self, name: &'static str, values: &[u32], rises: bool) {
        assert_eq!(
            *self.length.get_or_insert(values.len()),
            values.len(),
            "{name} is as long as all"
        );
        let mut before = 0;
        let told: Vec<u32> = values
            .iter()
            .map(|&value| {
                let value =
                    if rises { value.checked_sub(before).expect("it rises") } else { value };
                before += if rises { value } else { 0 };
                value
            })
            .collect();
        let most = told.iter().copied().max().unwrap_or(0);
        let bytes = (32 - most.leading_zeros()).div_ceil(8).max(1) as u8;
        for plane in 0..bytes {
            self.bytes.extend(told.iter().map(|value| (value >> (8 * plane)) as u8));
        }
        self.layouts.push(Layout { name, bytes, rises });
    }

    /// How the columns stand.
    #[must_use]
    pub(crate) fn layouts(&self) -> &[Layout] {
        &self.layouts
    }

    /// All planes, deflated, in base64.
    #[must_use]
    pub(crate) fn packed(&self) -> String {
        packed(&self.bytes)
    }
}

/// Bytes deflated (without a head), in base64.
#[must_use]
pub(crate) fn packed(bytes: &[u8]) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).expect("memory takes what is written");
    STANDARD.encode(encoder.finish().expect("memory takes what is written"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;
    use rand::prelude::*;

    use super::*;

    /// What the script does, by its letter: value by value.
    fn unpacked(planes: &Planes, length: usize) -> Vec<Vec<u32>> {
        let packed = STANDARD.decode(planes.packed()).unwrap();
        let mut bytes = Vec::new();
        DeflateDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        let mut at = 0;
        let mut columns = Vec::new();
        for layout in planes.layouts() {
            let mut column = vec![0_u32; length];
            for (row, value) in column.iter_mut().enumerate() {
                for plane in 0..usize::from(layout.bytes) {
                    *value += u32::from(bytes[at + plane * length + row]) << (8 * plane);
                }
            }
            at += usize::from(layout.bytes) * length;
            if layout.rises {
                (1..length).for_each(|row| column[row] += column[row - 1]);
            }
            columns.push(column);
        }
        assert_eq!(at, bytes.len());
        columns
    }

    #[test]
    fn columns_come_back_as_they_were() {
        let mut rng = StdRng::seed_from_u64(1);
        for length in [0, 1, 2, 255, 1000] {
            let mut planes = Planes::default();
            let mut columns = Vec::new();
            for most in [0, 1, 255, 256, 65_535, 65_536, u32::MAX] {
                let mut column: Vec<u32> =
                    (0..length).map(|_| rng.random_range(0..=most)).collect();
                planes.add("plain", &column, false);
                columns.push(column.clone());
                column.sort_unstable();
                planes.add("rising", &column, true);
                columns.push(column);
            }
            assert_eq!(unpacked(&planes, length), columns);
        }
    }

    #[test]
    fn a_column_has_as_many_planes_as_its_largest_value_needs() {
        let mut planes = Planes::default();
        planes.add("flat", &[0, 0], false);
        planes.add("wide", &[0, 1 << 16], false);
        planes.add("rising", &[1 << 16, (1 << 16) + 3], true);
        let bytes: Vec<u8> = planes.layouts().iter().map(|layout| layout.bytes).collect();
        assert_eq!(bytes, [1, 3, 3]);
        let mut planes = Planes::default();
        planes.add("slow", &[0, 200, 400, 600], true);
        assert_eq!(planes.layouts()[0].bytes, 1);
    }
}
