//! Checkpoints: a search that goes on another day.
//!
//! What is kept of every state is written as it is; whole states are not. A resumed search walks from
//! the first state to every state once more, each by the one step that first led to it, and compares
//! fingerprints on the way: a file that another build wrote, or that is damaged, does not pass.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::search::engine::{Compact, Found, Packed, Search};
use crate::world::tables::stable_hash;

/// What a file of this format begins with.
const MAGIC: &str = "dyno-model-checkpoint";
/// The format.
const SCHEMA: u32 = 1;

/// A checkpoint that cannot be written or gone on from.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The file system.
    #[error("checkpoint {path}: {why}")]
    Io {
        /// The file.
        path: String,
        /// What it said.
        #[source]
        why: std::io::Error,
    },
    /// No checkpoint, or a damaged one.
    #[error(
        "{path} is no checkpoint of a search, or a damaged one ({why}): begin without --resume"
    )]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Of another search.
    #[error(
        "{path} is a checkpoint of `{theirs}`, this is `{ours}`: give the same scenario to both"
    )]
    Another {
        /// The file.
        path: String,
        /// What it is of.
        theirs: String,
        /// What it was to be of.
        ours: String,
    },
    /// Of another build.
    #[error(
        "{path} was written by a build whose states differ from this one's (at state {state}): begin \
         without --resume"
    )]
    Build {
        /// The file.
        path: String,
        /// The first state that differs.
        state: usize,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    magic: String,
    schema: u32,
    scenario: String,
    states: usize,
    /// States of the last layer, and how many of them were expanded.
    layer: usize,
    expanded: usize,
    layers: Vec<u32>,
    generated: u64,
    firsts: Vec<Option<Found>>,
    nanoseconds: u64,
    /// Of all that follows.
    checksum: u64,
}

impl<'m, M: Compact> Search<'m, M> {
    /// Writes all that is needed to go on, in place of what was at `path`, all or nothing.
    /// `scenario` says what is searched.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn save(&self, path: &Path, scenario: &str) -> Result<(), CheckpointError> {
        let io = |why| CheckpointError::Io { path: path.display().to_string(), why };
        let header = Header {
            magic: MAGIC.to_owned(),
            schema: SCHEMA,
            scenario: scenario.to_owned(),
            states: self.seen.len(),
            layer: self.layer.len(),
            expanded: self.expanded,
            layers: self.layers.clone(),
            generated: self.generated,
            firsts: self.firsts.clone(),
            nanoseconds: u64::try_from(self.before.as_nanos()).unwrap_or(u64::MAX),
            checksum: self.checksum(),
        };
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let new = Path::new(&name);
        let write = || {
            let mut file = BufWriter::new(File::create(new)?);
            serde_json::to_writer(&mut file, &header)?;
            file.write_all(b"\n")?;
            for fingerprint in &self.seen.fingerprints {
                file.write_all(&fingerprint.to_le_bytes())?;
            }
            for parent in &self.seen.parents {
                file.write_all(&parent.to_le_bytes())?;
            }
            for ordinal in &self.seen.ordinals {
                file.write_all(&ordinal.to_le_bytes())?;
            }
            file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
            fs::rename(new, path)
        };
        write().map_err(io)
    }

    fn checksum(&self) -> u64 {
        stable_hash(&(&self.seen.fingerprints, &self.seen.parents, &self.seen.ordinals))
    }

    /// A search that goes on where the one that wrote `path` was.
    ///
    /// # Errors
    /// If the file is no checkpoint of this scenario and this build.
    pub fn resume(
        model: &'m M,
        properties: usize,
        path: &Path,
        scenario: &str,
    ) -> Result<Self, CheckpointError> {
        let name = path.display().to_string();
        let io = |why| CheckpointError::Io { path: name.clone(), why };
        let malformed =
            |why: &str| CheckpointError::Malformed { path: name.clone(), why: why.to_owned() };
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        let header = read_header(&mut file).map_err(|why| malformed(&why))?;
        if header.scenario != scenario {
            let (theirs, ours) = (header.scenario, scenario.to_owned());
            return Err(CheckpointError::Another { path: name, theirs, ours });
        }
        let mut search = Self::empty(model, properties);
        for _ in 0..header.states {
            search.seen.fingerprints.push(u64::from_le_bytes(word(&mut file).map_err(io)?));
        }
        for _ in 0..header.states {
            search.seen.parents.push(u32::from_le_bytes(word(&mut file).map_err(io)?));
        }
        for _ in 0..header.states {
            search.seen.ordinals.push(u16::from_le_bytes(word(&mut file).map_err(io)?));
        }
        if search.checksum() != header.checksum {
            return Err(malformed("its checksum is wrong"));
        }
        if header.firsts.len() != properties {
            return Err(malformed("it judges other properties"));
        }
        search.seen.index();
        (search.layers, search.firsts) = (header.layers, header.firsts);
        (search.generated, search.expanded) = (header.generated, header.expanded);
        search.before = Duration::from_nanos(header.nanoseconds);
        search.told = search.layers.last().map_or(0, |first| search.told_before(*first));
        search
            .walk_again(header.layer)
            .map_err(|state| CheckpointError::Build { path: name.clone(), state })?;
        Ok(search)
    }

    /// Makes the states of the last layer and of the next one again. The number of the first state
    /// that is not as it was, if one is not.
    fn walk_again(&mut self, last: usize) -> Result<(), usize> {
        let mut ends: Vec<_> = self.layers.iter().skip(1).map(|first| *first as usize).collect();
        // A complete search has no layer left to expand; it is walked to its end all the same.
        let is_complete = last == 0;
        if !is_complete {
            ends.push(self.layers.last().map_or(0, |first| *first as usize + last));
        }
        ends.push(self.seen.len());
        let mut before = Packed::default();
        let mut first_before = 0;
        let mut first = 0;
        for end in ends {
            // What was told when their parents were expanded.
            let told = if first == 0 { 0 } else { self.told_before(to_u32(first_before)) };
            let now = self.make_again(&before, first_before, first..end, told)?;
            self.layer = std::mem::replace(&mut before, now);
            (first_before, first) = (first, end);
        }
        if is_complete {
            self.layer = Packed::default();
        } else {
            self.next = before;
        }
        Ok(())
    }

    /// The states numbered `numbers`, whose parents are those of `before`, from `first_before` on.
    fn make_again(
        &self,
        before: &Packed,
        first_before: usize,
        numbers: std::ops::Range<usize>,
        told: u64,
    ) -> Result<Packed, usize> {
        let mut packed = Packed::default();
        let mut actions = Vec::new();
        for number in numbers {
            let state = if number == 0 {
                self.model.init_states().swap_remove(0)
            } else {
                let parent = self.seen.parents[number] as usize;
                let place = parent.checked_sub(first_before).filter(|place| *place < before.len());
                let parent = self.model.unpack(before.get(place.ok_or(number)?));
                actions.clear();
                self.model.actions(&parent, &mut actions);
                let action = actions.get(usize::from(self.seen.ordinals[number]));
                let action = *action.ok_or(number)?;
                self.model.next_state(&parent, action).ok_or(number)?
            };
            let fingerprint = self.model.fingerprint(&state, told, &mut Vec::new());
            if fingerprint != self.seen.fingerprints[number] {
                return Err(number);
            }
            packed.push(|words| self.model.pack(&state, words));
        }
        Ok(packed)
    }
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).expect("states are counted in 32 bits")
}

fn read_header(file: &mut impl BufRead) -> Result<Header, String> {
    let mut line = Vec::new();
    file.take(1 << 20).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    let header: Header = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
    if header.magic != MAGIC || header.schema != SCHEMA {
        return Err(format!("its format is {} {}", header.magic, header.schema));
    }
    Ok(header)
}

fn word<const N: usize>(file: &mut impl Read) -> std::io::Result<[u8; N]> {
    let mut word = [0; N];
    file.read_exact(&mut word)?;
    Ok(word)
}
