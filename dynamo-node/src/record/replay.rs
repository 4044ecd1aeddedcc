//! Runs a record through the core and reports the first output that differs.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dynamo_protocol::{
    Input, MemoryStore, Node, Outbox, Output, Place, Record, StoreError, Time, ViewError,
};
use serde::Deserialize;
use thiserror::Error;

use super::life::Life;
use super::watch::Scripted;
use super::{EXTENSION, Frame, OLD, STEP, Start, Step, extend};

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    /// How many files were replayed.
    pub records: usize,
    /// How many steps were taken.
    pub steps: u64,
    /// How many of the files end in the middle of a frame: their node was killed.
    pub cut_short: usize,
    /// The first step whose outputs differ.
    pub difference: Option<Difference>,
    /// What the records tell of the rules that they have to keep [together](super::Together), up to there.
    pub lives: Vec<Life>,
}

/// A step that did not come out as recorded.
#[derive(Debug)]
pub struct Difference {
    /// The record.
    pub file: PathBuf,
    /// Which of its steps, counted from 0.
    pub step: u64,
    /// What the step was given.
    pub input: Input,
    /// The first output that differs, as recorded; `None` if there was none.
    pub recorded: Option<Output>,
    /// The first output that differs, as replayed; `None` if there was none.
    pub replayed: Option<Output>,
}

/// Why a record cannot be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There is none.
    #[error("{0}: no file in it ends in .{EXTENSION}")]
    None(PathBuf),
    /// It is damaged.
    #[error("{path}: the frame at byte {at} is damaged: {why}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        at: u64,
        /// How.
        why: String,
    },
}

/// Replays every record in `folder`, in the order of their names, up to the first difference.
///
/// # Errors
/// If there is none, or one is damaged.
pub fn replay(folder: &Path) -> Result<Replayed, ReplayError> {
    let mut all = Replayed::default();
    for file in files(folder)? {
        let one = replay_file(&file)?;
        all.records += one.records;
        all.steps += one.steps;
        all.cut_short += one.cut_short;
        all.lives.extend(one.lives);
        if one.difference.is_some() {
            all.difference = one.difference;
            break;
        }
    }
    Ok(all)
}

/// The records in `folder`, in the order of their names: those of one node are in the order of its starts.
///
/// # Errors
/// If there is none.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, ReplayError> {
    let io = |error| ReplayError::Io { path: folder.to_owned(), error };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(ReplayError::None(folder.to_owned()));
    }
    files.sort();
    Ok(files)
}

/// Replays one record up to its first difference.
///
/// # Errors
/// If it is damaged.
pub fn replay_file(path: &Path) -> Result<Replayed, ReplayError> {
    let file =
        File::open(path).map_err(|error| ReplayError::Io { path: path.to_owned(), error })?;
    let input = BufReader::with_capacity(1 << 20, file);
    let mut frames = Frames::new(input, path);
    let mut replayed = Replayed { records: 1, ..Replayed::default() };
    let Some(first) = frames.next()? else {
        // Killed before its first frame was whole: nothing to compare.
        replayed.cut_short = 1;
        return Ok(replayed);
    };
    let (mut life, (mut node, mut store)) = match first {
        Read::Start(start) => {
            (Life::new(&start), begin(*start).map_err(|error| frames.damaged(&error))?)
        }
        Read::Stored(..) | Read::Step(_) => {
            return Err(frames.damaged("the record does not begin with its settings"));
        }
    };
    let (mut outbox, mut encoded) = (Outbox::default(), Vec::new());
    while let Some(frame) = frames.next()? {
        let Given { now, input, positions, errors } = match frame {
            Read::Start(_) => return Err(frames.damaged("a second start")),
            Read::Stored(place, record) => {
                life.found(&place, &record);
                store.records.insert(place, record);
                continue;
            }
            Read::Step(given) => given,
        };
        outbox.outputs.clear();
        life.given(&input, positions, &store);
        let mut scripted = Scripted::new(&mut store, positions, &errors);
        node.handle(Time(now), input, &mut scripted, &mut outbox);
        let changes = scripted.changes;
        life.came(&outbox.outputs, changes, &store);
        // Equal outputs are equal bytes: to write them again costs less than to read what was recorded.
        encoded.clear();
        encoded = extend(encoded, &outbox.outputs);
        if encoded != frames.buffer[frames.outputs.clone()] {
            replayed.difference =
                Some(frames.difference(replayed.steps, std::mem::take(&mut outbox.outputs))?);
            replayed.lives.push(life);
            return Ok(replayed);
        }
        replayed.steps += 1;
    }
    replayed.cut_short = usize::from(frames.cut_short);
    replayed.lives.push(life);
    Ok(replayed)
}

/// Reads a record; `visit` is given every step in order, until it says no.
pub(super) fn read_steps(
    path: &Path,
    mut visit: impl FnMut(u64, Step) -> bool,
) -> Result<(), ReplayError> {
    let file =
        File::open(path).map_err(|error| ReplayError::Io { path: path.to_owned(), error })?;
    let mut frames = Frames::new(BufReader::with_capacity(1 << 20, file), path);
    let mut number = 0;
    while let Some(read) = frames.next()? {
        if matches!(read, Read::Step(_)) {
            if !visit(number, frames.step()?) {
                break;
            }
            number += 1;
        }
    }
    Ok(())
}

fn begin(start: Start) -> Result<(Node, MemoryStore), ViewError> {
    let view = Arc::new(start.view()?);
    let Start { me, settings, start, .. } = start;
    if !view.contains(me) {
        return Err(ViewError::NotAMember(me));
    }
    let store = MemoryStore::new(start.meta);
    Ok((Node::new(me, Arc::new(settings), view, start), store))
}

/// A frame, and how many bytes at its end are a step's outputs.
fn parse(body: &[u8]) -> Result<(Read, usize), postcard::Error> {
    if let Some((&STEP, step)) = body.split_first() {
        let (given, outputs) = postcard::take_from_bytes(step)?;
        return Ok((Read::Step(given), outputs.len()));
    }
    match postcard::from_bytes(body)? {
        Frame::Start(start) => Ok((Read::Start(Box::new(start)), 0)),
        Frame::Stored(place, record) => Ok((Read::Stored(place, record), 0)),
        // A step begins with its number, and was read above; so does what nothing reads any more.
        Frame::Step(_)
        | Frame::Old
        | Frame::OldStart
        | Frame::StartWithoutEra
        | Frame::StartWithoutForced => Err(postcard::Error::SerdeDeCustom),
    }
}

/// The bytes of a frame's length, before it, and of its checksum, after it.
const LENGTH: usize = 4;
const SUM: usize = 4;

struct Frames<'a> {
    input: BufReader<File>,
    path: &'a Path,
    /// Where the frame under way begins.
    at: u64,
    buffer: Vec<u8>,
    /// Where in it the outputs of the step are.
    outputs: Range<usize>,
    cut_short: bool,
}

/// A frame, but for the outputs of a step.
enum Read {
    Start(Box<Start>),
    Stored(Place, Record),
    Step(Given),
}

/// What a step was given: a [`Step`] up to its outputs.
#[derive(Deserialize)]
struct Given {
    now: u64,
    input: Input,
    positions: [u64; 2],
    errors: Vec<(u32, StoreError)>,
}

impl<'a> Frames<'a> {
    fn new(input: BufReader<File>, path: &'a Path) -> Self {
        Self { input, path, at: 0, buffer: Vec::new(), outputs: 0..0, cut_short: false }
    }

    /// The next frame; `None` at the end, and at a frame that is cut short.
    fn next(&mut self) -> Result<Option<Read>, ReplayError> {
        self.at += self.buffer.len() as u64;
        let mut length = [0; LENGTH];
        if !self.fill(&mut length)? {
            self.buffer.clear();
            return Ok(None);
        }
        let length = u32::from_le_bytes(length) as usize;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        // Read as far as there is something: a damaged length must not make us ask for 4 GiB.
        let wanted = (length + SUM) as u64;
        let read = self.input.by_ref().take(wanted).read_to_end(&mut buffer);
        let read = read.map_err(|error| self.io(error))?;
        if (read as u64) < wanted {
            self.cut_short = true;
            return Ok(None);
        }
        let (body, sum) = buffer.split_at(length);
        if crc32c::crc32c(body).to_le_bytes() != sum {
            return Err(self.damaged("its checksum is wrong"));
        }
        if body.first().is_some_and(|kind| OLD.contains(kind)) {
            return Err(self.damaged("an earlier build wrote it, in another format"));
        }
        let (parsed, left) = parse(body).map_err(|error| self.damaged(&error))?;
        self.outputs = length - left..length;
        self.at += LENGTH as u64;
        self.buffer = buffer;
        Ok(Some(parsed))
    }

    /// The step that was read last, with its outputs.
    fn step(&self) -> Result<Step, ReplayError> {
        let body = &self.buffer[..self.outputs.end];
        match postcard::from_bytes(body).map_err(|error| self.damaged(&error))? {
            Frame::Step(step) => Ok(step),
            Frame::Start(_)
            | Frame::Stored(..)
            | Frame::Old
            | Frame::OldStart
            | Frame::StartWithoutEra
            | Frame::StartWithoutForced => Err(self.damaged("it is no step")),
        }
    }

    /// The step that was read last, of which `replayed` came now.
    fn difference(&self, step: u64, replayed: Vec<Output>) -> Result<Difference, ReplayError> {
        let Step { input, outputs: recorded, .. } = self.step()?;
        let at = recorded.iter().zip(&replayed).take_while(|(a, b)| a == b).count();
        let file = self.path.to_owned();
        let (recorded, replayed) = (recorded.into_iter().nth(at), replayed.into_iter().nth(at));
        Ok(Difference { file, step, input, recorded, replayed })
    }

    /// Whether `bytes` could be filled; not at the end.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<bool, ReplayError> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) => {
                    self.cut_short = filled > 0;
                    return Ok(false);
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io(error)),
            }
        }
        Ok(true)
    }

    fn io(&self, error: io::Error) -> ReplayError {
        ReplayError::Io { path: self.path.to_owned(), error }
    }

    fn damaged(&self, why: impl fmt::Display) -> ReplayError {
        ReplayError::Damaged { path: self.path.to_owned(), at: self.at, why: why.to_string() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, step, input, recorded, replayed } = self;
        writeln!(f, "{}: step {step} differs", file.display())?;
        writeln!(f, "  input:    {input:?}")?;
        let output = |output: &Option<Output>| match output {
            Some(output) => format!("{output:?}"),
            None => "no further output".to_owned(),
        };
        writeln!(f, "  recorded: {}", output(recorded))?;
        write!(f, "  replayed: {}", output(replayed))
    }
}
