//! Records of a node's life: its settings, a snapshot of its store, then every step: the time, the
//! input, the errors its storage gave, and the outputs. [`replay`] runs a record through the core again
//! and compares.
//!
//! A record is one file of frames, appended to as the node runs:
//! `length (u32), postcard(Frame), crc32c of that (u32)`, little endian. A node that is killed leaves
//! a last frame that is cut short; replay stops there.

mod life;
mod replay;
mod steps;
mod together;
mod watch;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use dynamo_protocol::membership::Membership;
use dynamo_protocol::{
    Input, Node, NodeId, Outbox, Output, Place, Record, Settings, Store, StoreError, Time, View,
    ViewError,
};
use serde::{Deserialize, Serialize};

use crate::clock::since_1970;

pub use life::Life;
pub use replay::{Difference, ReplayError, Replayed, files, replay, replay_file};
pub use steps::{Carried, ToldStep, steps};
pub use together::{Breach, Together};
use watch::Watched;

/// How the name of a record ends.
const EXTENSION: &str = "record";

/// What a record is made of: one [`Frame::Start`], any number of [`Frame::Stored`], then steps.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Frame {
    /// How records began before there was [`Frame::Start`]; nothing reads them any more.
    Old,
    /// A record that lay in the store at the start.
    Stored(Place, Record),
    Step(Step),
    /// How records began before memberships had a history.
    OldStart,
    /// How they began before there were eras.
    StartWithoutEra,
    /// How they began before epochs could be made without a vote.
    StartWithoutForced,
    Start(Start),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    me: NodeId,
    settings: Settings,
    /// The memberships it started with, from the genesis on.
    epochs: Vec<Membership>,
    start: dynamo_protocol::Start,
}

/// One call of `handle`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    now: u64,
    input: Input,
    /// How far the directory had come before the step, and after what it applied, if it applied anything: how
    /// many steps share a batch is chance.
    positions: [u64; 2],
    /// Which calls of the store failed, counted within the step, and how.
    errors: Vec<(u32, StoreError)>,
    outputs: Vec<Output>,
}

/// The numbers that stand for [`Frame::Old`], [`Frame::OldStart`], [`Frame::StartWithoutEra`] and
/// [`Frame::StartWithoutForced`] in a frame.
const OLD: [u8; 4] = [0, 3, 4, 5];
/// That of [`Frame::Step`].
const STEP: u8 = 2;

/// Writes a record.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: BufWriter<File>,
    path: PathBuf,
    frame: Vec<u8>,
    /// Set when a write failed: what would follow makes no sense without it.
    broken: bool,
}

impl Recorder {
    /// Begins a record in `folder`, for a start of a node.
    pub(crate) fn create(
        folder: &Path,
        (me, settings, view): (NodeId, &Settings, &View),
        start: dynamo_protocol::Start,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        // Sorted by name, the records of one node are sorted by time.
        let micros = since_1970().as_micros();
        let name = format!("{}-{micros:020}-{:016x}.{EXTENSION}", me, start.incarnation);
        let path = folder.join(name);
        let file = BufWriter::new(File::create_new(&path)?);
        let mut recorder = Self { file, path, frame: Vec::new(), broken: false };
        let epochs = view.history().epochs().to_vec();
        recorder.write(&Frame::Start(Start { me, settings: *settings, epochs, start }));
        Ok(recorder)
    }

    /// A record of the store as it is at the start.
    pub(crate) fn stored(&mut self, place: Place, record: Record) {
        self.write(&Frame::Stored(place, record));
    }

    /// Takes a step of `node` and records it.
    pub(crate) fn step<S: Store>(
        &mut self,
        node: &mut Node,
        now: Time,
        input: Input,
        store: &mut S,
        outbox: &mut Outbox,
    ) {
        let before = outbox.outputs.len();
        let frame = std::mem::take(&mut self.frame);
        // The fields of a `Step` one after the other are a `Step`: the input is gone when the outputs come.
        let mut frame = extend(frame, &(STEP, now.0, &input));
        let position = store.position();
        let mut watched = Watched::new(store);
        node.handle(now, input, &mut watched, outbox);
        let errors = watched.into_errors();
        let positions = [position, store.position()];
        frame = extend(frame, &(positions, errors, &outbox.outputs[before..]));
        self.append(frame);
    }

    /// Hands what was recorded to the system, so that it survives the process.
    pub(crate) fn flush(&mut self) {
        if !self.broken {
            let flushed = self.file.flush();
            self.check(flushed);
        }
    }

    fn write(&mut self, frame: &Frame) {
        let buffer = std::mem::take(&mut self.frame);
        self.append(extend(buffer, frame));
    }

    fn append(&mut self, mut frame: Vec<u8>) {
        if !self.broken {
            let written = write_frame(&mut self.file, &frame);
            self.check(written);
        }
        frame.clear();
        self.frame = frame;
    }

    /// A node does not end because its record does.
    fn check(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.broken = true;
            tracing::error!(path = %self.path.display(), %error, "the record ends here");
        }
    }
}

fn extend<T: Serialize>(buffer: Vec<u8>, value: &T) -> Vec<u8> {
    postcard::to_extend(value, buffer).expect("inputs and outputs serialise")
}

fn write_frame(file: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(frame)?;
    file.write_all(&crc32c::crc32c(frame).to_le_bytes())
}

impl Start {
    fn view(&self) -> Result<View, ViewError> {
        View::of(&self.settings, self.epochs.clone())
    }
}

#[cfg(test)]
mod tests;
