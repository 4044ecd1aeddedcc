//! JSON lines read as if they were in the compact form, so that what streams that streams them
//! too: packed on the way, and never held.

use std::io::{self, BufRead, Read};

use hashbrown::HashSet;

use super::compact::{Room, Writer};
use crate::history::Lines;
use crate::history::op::{Kind, Process};
use crate::judge::budget::Meter;

/// The compact form of the JSON lines that a reader gives. What is no sound line ends in an error
/// that does not say where: the ordinary reader does.
pub(crate) struct Packed<R> {
    lines: Lines<R>,
    /// None once the end is written.
    writer: Option<Writer<Vec<u8>>>,
    ready: Vec<u8>,
    at: usize,
    count: u64,
    /// The processes that no line may name any more.
    retired: HashSet<u64>,
    room: Room,
}

impl<R: BufRead> Packed<R> {
    /// It takes no more memory than the meter has.
    pub(crate) fn new(reader: R, meter: &Meter) -> io::Result<Self> {
        Ok(Self {
            lines: Lines::new(reader),
            writer: Some(Writer::new(Vec::new())?.within(Room::within(meter.clone()))),
            ready: Vec::new(),
            at: 0,
            count: 0,
            retired: HashSet::new(),
            room: Room::within(meter.clone()),
        })
    }

    /// Packs lines until a block is full, or all are.
    fn refill(&mut self) -> io::Result<()> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        self.ready.clear();
        self.at = 0;
        while writer.out().is_empty() {
            let Some(op) = self.lines.next_op().map_err(io::Error::other)? else {
                // What was cut short stays without its end, as it is.
                self.ready = match self.lines.torn() {
                    Some(_) => std::mem::take(writer.out()),
                    None => writer.finish()?,
                };
                return Ok(());
            };
            if op.index != self.count {
                return Err(io::Error::other("a line was lost, repeated or moved"));
            }
            self.count += 1;
            if let Process::Client(process) = op.process {
                if self.retired.contains(&process) {
                    return Err(io::Error::other("a process went on after `info`"));
                }
                if op.kind == Kind::Info {
                    let (count, capacity) = (self.retired.len(), self.retired.capacity());
                    self.room.for_one_more::<u64>(count, capacity)?;
                    self.retired.insert(process);
                }
            }
            writer.append(&op)?;
        }
        std::mem::swap(&mut self.ready, writer.out());
        self.writer = Some(writer);
        Ok(())
    }
}

impl<R: BufRead> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            self.refill()?;
        }
        let length = buffer.len().min(self.ready.len() - self.at);
        buffer[..length].copy_from_slice(&self.ready[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::budget::Budget;

    #[test]
    fn what_is_kept_of_lines_stays_within_the_budget() {
        let lines = |count: u64| {
            let op = |index: u64, kind: &str| {
                let process = index / 2;
                let head = format!(r#"{{"index":{index},"time":{index},"process":{process}"#);
                format!(r#"{head},"type":"{kind}","f":"write","value":{process}}}"#)
            };
            let both = |at: u64| [op(2 * at, "invoke"), op(2 * at + 1, "info")];
            (0..count).flat_map(both).collect::<Vec<String>>().join("\n")
        };
        let read = |lines: &str, memory| {
            let meter = Budget { time: None, memory }.start();
            io::copy(&mut Packed::new(lines.as_bytes(), &meter).unwrap(), &mut io::sink())
        };
        // A small table is taken whatever the budget says; a large one is not.
        assert!(read(&lines(1000), Some(1)).is_ok());
        let many = lines(120_000);
        let error = read(&many, Some(1)).unwrap_err().to_string();
        assert!(error.contains("out of memory"), "{error}");
        assert!(read(&many, None).is_ok());
    }
}
