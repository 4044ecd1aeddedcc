//! JSON lines read as if they were in the compact form, so that what streams that streams them
//! too: packed on the way, and never held.

use std::io::{self, BufRead, Read};

use hashbrown::HashSet;

use super::compact::Writer;
use crate::history::Lines;
use crate::op::{Kind, Process};

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
}

impl<R: BufRead> Packed<R> {
    pub(crate) fn new(reader: R) -> io::Result<Self> {
        Ok(Self {
            lines: Lines::new(reader),
            writer: Some(Writer::new(Vec::new())?),
            ready: Vec::new(),
            at: 0,
            count: 0,
            retired: HashSet::new(),
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
                let retired = self.retired.contains(&process)
                    || op.kind == Kind::Info && !self.retired.insert(process);
                if retired {
                    return Err(io::Error::other("a process went on after `info`"));
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
