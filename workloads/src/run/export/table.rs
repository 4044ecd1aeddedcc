//! A history as a Parquet table: a row an operation, in the order in which they ended, then those still open,
//! then the faults. `docs/queries.md` tells what the columns are.
//!
//! Rows are gathered to groups by one thread and written by another, so memory is that of a few groups.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use checker::history::op::{Kind, Op, Process};
use checker::history::{Ended, History, HistoryError, Outcome, Pair, Stream};
use dyno_page::{Band, bands};
use parquet::basic::{Compression, Encoding, GzipLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use serde_json::json;

use super::columns::{Flags, Integers, Texts};
use super::{ExportError, Exported, Store};

/// What a row has. Columns are written in this order.
const SCHEMA: &str = "message operation {
    optional int64 op;
    optional int64 process;
    required binary f (STRING);
    optional binary key (STRING);
    required binary type (STRING);
    required int64 sent_ns;
    optional int64 done_ns;
    optional binary node (STRING);
    optional binary error (STRING);
    optional int64 context;
    required boolean final;
    optional binary value (JSON);
    optional binary result (JSON);
}";

/// Numbers that grow from row to row: their differences are small, and nothing else of them packs well.
const GROWING: [&str; 4] = ["op", "sent_ns", "done_ns", "context"];

/// Large, and hardly ever the same twice.
const LARGE: [&str; 2] = ["value", "result"];

/// What is written, and how much of it at a time.
struct Shape {
    /// With what was written and read.
    with_values: bool,
    /// So many rows are a group, unless its values are large.
    rows: usize,
    /// At so many bytes of values a group is full.
    bytes: usize,
}

impl Default for Shape {
    fn default() -> Self {
        // So many rows DuckDB reads at a time.
        Self { with_values: true, rows: 122_880, bytes: 32 << 20 }
    }
}

/// Writes the history of a run.
pub(super) fn write(
    store: &Store,
    with_values: bool,
    out: impl Write + Send,
) -> Result<Exported, ExportError> {
    write_as(store, &Shape { with_values, ..Shape::default() }, out)
}

fn write_as(store: &Store, shape: &Shape, out: impl Write + Send) -> Result<Exported, ExportError> {
    let history = Stream::open(store.path("history.jsonl"))?;
    let verdict = std::fs::read_to_string(store.path("verdict.json")).ok();
    let schema = Arc::new(parse_message_type(SCHEMA).map_err(failed)?);
    let properties = Arc::new(properties(verdict));
    let mut file = SerializedFileWriter::new(out, schema, properties).map_err(failed)?;
    std::thread::scope(|scope| {
        let (send, groups) = sync_channel::<Group>(1);
        let gathered = scope.spawn(move || Gatherer { history, shape, send }.run());
        let written = groups.into_iter().try_for_each(|group| group.write(&mut file));
        let gathered = match gathered.join() {
            Ok(gathered) => gathered,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        written.map_err(failed)?;
        // Without its end the table of a history that is none cannot be read by mistake.
        let gathered = gathered?;
        file.close().map_err(failed)?;
        Ok(gathered)
    })
}

/// An error of what it was written to stays one of that kind.
fn failed(error: ParquetError) -> ExportError {
    let error = match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    };
    ExportError::Out(error)
}

/// How columns are kept, and the verdict of the run beside them.
fn properties(verdict: Option<String>) -> WriterProperties {
    let fastest = GzipLevel::try_new(1).expect("gzip has this level");
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("dyno {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::GZIP(fastest))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for name in GROWING {
        let column = || ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(column(), false)
            .set_column_encoding(column(), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(column(), Compression::UNCOMPRESSED);
    }
    for name in LARGE {
        let column = || ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(column(), false)
            .set_column_statistics_enabled(column(), EnabledStatistics::None);
    }
    let verdict = verdict.map(|verdict| vec![KeyValue::new("verdict".to_owned(), verdict)]);
    properties.set_key_value_metadata(verdict).build()
}

/// Rows that are written together, by column.
#[derive(Default)]
struct Group {
    rows: usize,
    op: Integers,
    process: Integers,
    f: Texts,
    key: Texts,
    outcome: Texts,
    sent: Integers,
    done: Integers,
    node: Texts,
    error: Texts,
    context: Integers,
    is_final: Flags,
    value: Texts,
    result: Texts,
}

impl Group {
    fn operation(&mut self, pair: &Pair<'_>, with_values: bool) {
        self.rows += 1;
        self.op.push(Some(pair.name()));
        self.process.push(match pair.invoke.process {
            Process::Client(process) => Some(process),
            Process::Nemesis => None,
        });
        self.f.push(Some(pair.f()));
        self.key.push(pair.key());
        self.outcome.push(Some(match pair.outcome() {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Info => "info",
        }));
        self.sent.push(Some(pair.invoke.time));
        self.done.push(pair.completion.map(|op| op.time));
        self.node.push(pair.node());
        self.error.push(pair.completion.and_then(|op| op.error.as_deref()));
        self.context.push(pair.invoke.context);
        self.is_final.push(pair.is_final());
        let value = pair.invoke.value.as_ref();
        self.value.push_json(value.filter(|_| with_values));
        let result = pair.result().filter(|result| Some(*result) != value);
        self.result.push_json(result.filter(|_| with_values));
    }

    fn fault(&mut self, band: &Band) {
        self.rows += 1;
        self.op.push(None);
        self.process.push(None);
        self.f.push(Some(&band.fault));
        self.key.push(None);
        self.outcome.push(Some(if band.is_proven { "ok" } else { "info" }));
        self.sent.push(Some(band.from));
        self.done.push(Some(band.to));
        self.node.push(match band.nodes.as_slice() {
            [node] => Some(node),
            _ => None,
        });
        self.error.push(None);
        self.context.push(None);
        self.is_final.push(false);
        let told = json!({
            "nodes": band.nodes, "links": band.links, "shape": band.shape, "proof": band.proof,
        });
        self.value.push_json(Some(&told));
        self.result.push_json(None);
    }

    fn is_full(&self, shape: &Shape) -> bool {
        self.rows >= shape.rows || self.value.bytes() + self.result.bytes() >= shape.bytes
    }

    fn write<W: Write + Send>(
        self,
        file: &mut SerializedFileWriter<W>,
    ) -> Result<(), ParquetError> {
        let mut group = file.next_row_group()?;
        self.op.write(&mut group)?;
        self.process.write(&mut group)?;
        self.f.write(&mut group)?;
        self.key.write(&mut group)?;
        self.outcome.write(&mut group)?;
        self.sent.write(&mut group)?;
        self.done.write(&mut group)?;
        self.node.write(&mut group)?;
        self.error.write(&mut group)?;
        self.context.write(&mut group)?;
        self.is_final.write(&mut group)?;
        self.value.write(&mut group)?;
        self.result.write(&mut group)?;
        group.close().map(|_| ())
    }
}

/// Reads a history into groups.
struct Gatherer<'a> {
    history: Stream<BufReader<File>>,
    shape: &'a Shape,
    send: SyncSender<Group>,
}

impl Gatherer<'_> {
    fn run(mut self) -> Result<Exported, HistoryError> {
        let mut group = Group::default();
        let mut nemesis = Vec::new();
        let mut ops = 0;
        while let Some(ended) = self.history.next_ended()? {
            if let Some(pair) = ended.pair() {
                ops += 1;
                group.operation(&pair, self.shape.with_values);
            }
            if let Ended::Nemesis(op) = ended {
                nemesis.push(op);
            }
            if group.is_full(self.shape) && self.send.send(std::mem::take(&mut group)).is_err() {
                // What reads them failed, and says why.
                return Ok(Exported { ops, torn: None });
            }
        }
        for band in faults(nemesis, self.history.ended_at())? {
            group.fault(&band);
        }
        if group.rows > 0 {
            _ = self.send.send(group);
        }
        Ok(Exported { ops, torn: self.history.torn() })
    }
}

/// The faults that the lines of the nemesis tell of, in a history that ended then.
fn faults(mut nemesis: Vec<Op>, ended_at: u64) -> Result<Vec<Band>, HistoryError> {
    // What was never healed was in force until the end, which this line tells: it is no fault itself.
    nemesis.push(Op::new(Process::Nemesis, Kind::Fail, "end").at(ended_at));
    Ok(bands(&History::numbered(nemesis)?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row};

    use super::super::tests::history;
    use super::*;

    /// A folder with this history.
    fn stored(lines: &str) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("history.jsonl"), lines).unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    fn lines() -> String {
        history().iter().map(|op| serde_json::to_string(op).unwrap() + "\n").collect()
    }

    fn table(store: &Store, of: &Shape) -> (SerializedFileReader<Bytes>, Exported) {
        let mut out = Vec::new();
        let exported = write_as(store, of, &mut out).unwrap();
        (SerializedFileReader::new(Bytes::from(out)).unwrap(), exported)
    }

    fn rows(table: &SerializedFileReader<Bytes>) -> Vec<Row> {
        table.get_row_iter(None).unwrap().map(Result::unwrap).collect()
    }

    /// The fields that are there.
    fn told(row: &Row) -> Vec<String> {
        let there = row.get_column_iter().filter(|(_, field)| **field != Field::Null);
        there.map(|(name, field)| format!("{name}={field}")).collect()
    }

    #[test]
    fn every_operation_and_every_fault_is_a_row() {
        let (_dir, store) = stored(&lines());
        let (table, exported) = table(&store, &Shape::default());
        assert_eq!((exported.ops, exported.torn), (2, None));
        let rows: Vec<Vec<String>> = rows(&table).iter().map(told).collect();
        let is = |row: usize, wanted: &[&str]| assert_eq!(rows[row], wanted);
        is(
            0,
            &[
                "op=3",
                "process=0",
                "f=\"put\"",
                "key=\"k\"",
                "type=\"ok\"",
                "sent_ns=1500",
                "done_ns=3000",
                "node=\"n\"1\"",
                "final=false",
                "value=\"\"</script>\"\"",
            ],
        );
        is(
            1,
            &[
                "op=4",
                "process=1",
                "f=\"get\"",
                "key=\"k\"",
                "type=\"info\"",
                "sent_ns=2000",
                "done_ns=4000",
                "node=\"n\"1\"",
                "error=\"timed out\"",
                "final=false",
            ],
        );
        assert_eq!(rows[2][..4], ["f=\"kill\"", "type=\"ok\"", "sent_ns=2500", "done_ns=5000"]);
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn what_is_more_than_a_group_is_in_the_next_one() {
        let (_dir, store) = stored(&lines());
        for shape in [Shape { rows: 1, ..Shape::default() }, Shape { bytes: 1, ..Shape::default() }]
        {
            let (table, _) = table(&store, &shape);
            assert_eq!(rows(&table).len(), 3);
            assert!(table.metadata().num_row_groups() > 1);
        }
    }

    #[test]
    fn values_can_be_left_out_and_the_verdict_goes_with_the_table() {
        let (dir, store) = stored(&lines());
        fs::write(dir.path().join("verdict.json"), "{\"seed\":7}").unwrap();
        let (table, _) = table(&store, &Shape { with_values: false, ..Shape::default() });
        let said = table.metadata().file_metadata().key_value_metadata().unwrap();
        assert_eq!(
            (said[0].key.as_str(), said[0].value.as_deref()),
            ("verdict", Some("{\"seed\":7}"))
        );
        let rows = rows(&table);
        assert!(
            rows[..2].iter().all(|row| !told(row).iter().any(|field| field.starts_with("value")))
        );
        assert!(
            told(&rows[2]).iter().any(|field| field.starts_with("value=")),
            "a fault's is small"
        );
    }

    #[test]
    fn a_history_that_is_none_makes_no_table_and_one_cut_short_is_told_of() {
        let whole = lines();
        let (_dir, store) = stored(&whole.replace("\"time\":4000", "\"time\":1"));
        let mut out = Vec::new();
        let Err(ExportError::History(error)) = write(&store, true, &mut out) else { panic!() };
        assert_eq!(error.to_string(), "op 4 (line 5): time goes back from 3000 ns to 1 ns");
        assert!(
            SerializedFileReader::new(Bytes::from(out)).is_err(),
            "it cannot be read by mistake"
        );
        let (_dir, store) = stored(&whole[..whole.len() - 20]);
        let (_, exported) = table(&store, &Shape::default());
        assert_eq!(exported.torn.map(|torn| torn.line), Some(6));
    }

    #[test]
    fn a_full_disk_is_an_error_of_the_file_that_is_written() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (_dir, store) = stored(&lines());
        let Err(ExportError::Out(error)) = write(&store, true, Full) else { panic!() };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
