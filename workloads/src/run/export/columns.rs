//! Columns of a table on their way into Parquet: rows are gathered, then written column by column.

use std::io::Write;

use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::Result;
use parquet::file::writer::SerializedRowGroupWriter;
use serde_json::Value;

/// Integers, some of which may not be there.
#[derive(Default)]
pub(super) struct Integers {
    values: Vec<i64>,
    there: Vec<i16>,
}

impl Integers {
    pub(super) fn push(&mut self, value: Option<u64>) {
        self.there.push(value.is_some().into());
        // A history's times and indices are below 2^63: those are 292 years.
        self.values.extend(value.map(|value| i64::try_from(value).unwrap_or(i64::MAX)));
    }

    pub(super) fn write<W: Write + Send>(
        &self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        next::<Int64Type, W>(group, &self.values, &self.there)
    }
}

/// Yes or no.
#[derive(Default)]
pub(super) struct Flags(Vec<bool>);

impl Flags {
    pub(super) fn push(&mut self, value: bool) {
        self.0.push(value);
    }

    pub(super) fn write<W: Write + Send>(
        &self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        next::<BoolType, W>(group, &self.0, &vec![1; self.0.len()])
    }
}

/// Texts, one behind the other, some of which may not be there.
#[derive(Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    /// Where each that is there ends.
    ends: Vec<usize>,
    there: Vec<i16>,
}

impl Texts {
    pub(super) fn push(&mut self, text: Option<&str>) {
        self.there.push(text.is_some().into());
        if let Some(text) = text {
            self.bytes.extend_from_slice(text.as_bytes());
            self.ends.push(self.bytes.len());
        }
    }

    /// A value as JSON text.
    pub(super) fn push_json(&mut self, value: Option<&Value>) {
        self.there.push(value.is_some().into());
        if let Some(value) = value {
            serde_json::to_writer(&mut self.bytes, value).expect("memory takes plain data");
            self.ends.push(self.bytes.len());
        }
    }

    /// How many bytes of text there are.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn write<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        let bytes = bytes::Bytes::from(self.bytes);
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let places = starts.zip(&self.ends);
        let values: Vec<_> =
            places.map(|(start, end)| ByteArray::from(bytes.slice(start..*end))).collect();
        next::<ByteArrayType, W>(group, &values, &self.there)
    }
}

/// Writes the next column of a group.
fn next<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    there: &[i16],
) -> Result<()> {
    let mut column = group.next_column()?.expect("the schema has this column");
    let typed: &mut ColumnWriterImpl<'_, T> = column.typed::<T>();
    // A column in which nothing may be missing has no levels.
    let levels = (typed.get_descriptor().max_def_level() > 0).then_some(there);
    typed.write_batch(values, levels, None)?;
    column.close()
}
