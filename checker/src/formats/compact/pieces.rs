//! A file in pieces that can be read side by side: each begins where what is known is written down.

use std::io::Read;

use super::blocks::{Block, Blocks};
use super::known::Known;
use super::row::Listener;
use super::rows::Place;
use super::{BETWEEN_STATES, CompactError, LONGEST_STATE, STATE_SHARE};

/// A piece is no longer than this, and one block: where no state comes so soon, none is waited for.
const LONGEST: usize = STATE_SHARE * LONGEST_STATE;

/// Nor is one longer than this in a file that has no states, or has them far apart.
const WITHOUT: usize = 2 * BETWEEN_STATES;

/// Takes a file apart.
pub(crate) struct Pieces<R> {
    blocks: Blocks<R>,
    /// What is known where the next piece begins; none while a piece that leads there is read.
    known: Option<Known>,
    taken: u32,
    longest: usize,
    ended: bool,
    /// Where states are.
    places: Vec<Place>,
    /// The file was cut short.
    is_torn: bool,
}

/// A part of a file.
pub(crate) struct Piece {
    /// Pieces are numbered from 0.
    pub(crate) number: u32,
    /// Blocks of rows, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Where it begins in the file.
    offset: u64,
    known: Known,
    after: After,
}

/// What comes after a piece.
enum After {
    /// This is known then.
    State(Vec<u8>),
    /// Another piece, which begins with what this one ends with.
    More,
    /// The end, with the count of rows.
    End(u64),
    /// Nothing: the file was cut short.
    Nothing,
}

/// What was found out when a piece was told.
pub(crate) struct Told {
    /// The listener wanted all of it.
    pub(crate) wanted: bool,
    /// A process began something at the instant at which it ended what it did before.
    pub(crate) has_ties: bool,
    /// An operation ended as another than it began as.
    pub(crate) has_others: bool,
    known: Known,
    /// The buffer, for another piece.
    pub(crate) bytes: Vec<u8>,
}

impl Told {
    /// How many rows there are up to the end of the piece.
    pub(crate) fn count(&self) -> u64 {
        self.known.index
    }
}

impl<R: Read> Pieces<R> {
    /// Reads the head.
    pub(crate) fn new(reader: R) -> Result<Self, CompactError> {
        Ok(Self {
            blocks: Blocks::new(reader)?,
            known: Some(Known::nothing()),
            taken: 0,
            longest: LONGEST,
            ended: false,
            places: Vec::new(),
            is_torn: false,
        })
    }

    /// Has the last piece been taken?
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Where what is known is written down, and whether the file was cut short.
    pub(crate) fn into_places(self) -> (Vec<Place>, bool) {
        (self.places, self.is_torn)
    }

    /// The next piece: in a buffer, which it takes the memory of. There must be one, and the one
    /// before must have been [told](Piece::tell) if it [leads](Piece::leads) to this.
    pub(crate) fn next(&mut self, mut bytes: Vec<u8>) -> Result<Piece, CompactError> {
        bytes.clear();
        let known = self.known.take().expect("a piece that leads here has been told");
        let (number, offset) = (self.taken, self.blocks.offset);
        self.taken += 1;
        let mut ends = Vec::new();
        let after = loop {
            if bytes.len() >= self.longest {
                self.longest = WITHOUT;
                break After::More;
            }
            let (begin, at) = (bytes.len(), self.blocks.offset);
            match self.blocks.next(&mut bytes)? {
                Block::Rows => ends.push(bytes.len()),
                Block::State => {
                    self.longest = LONGEST;
                    let state = bytes.split_off(begin);
                    let known = Known::read(&state).map_err(|fault| fault.0.at(at, 0))?;
                    self.places.push(Place { index: known.index, offset: at });
                    self.known = Some(known);
                    break After::State(state);
                }
                Block::End(count) => break After::End(count),
                Block::Torn(_) => {
                    self.is_torn = true;
                    break After::Nothing;
                }
            }
        };
        self.ended = matches!(after, After::End(_) | After::Nothing);
        Ok(Piece { number, bytes, ends, offset, known, after })
    }

    /// A piece has been told that leads to the next.
    pub(crate) fn go_on(&mut self, told: &mut Told) {
        self.known = Some(std::mem::replace(&mut told.known, Known::nothing()));
    }
}

impl Piece {
    /// Must it be told before the next is taken?
    pub(crate) fn leads(&self) -> bool {
        matches!(self.after, After::More)
    }

    /// The names of what is done, as far as they are known where it begins.
    pub(crate) fn fs(&self) -> &[String] {
        &self.known.fs
    }

    /// Tells all of its rows, and asks `look` every so many whether to go on.
    pub(crate) fn tell(
        self,
        listener: &mut impl Listener,
        most: u32,
        mut look: impl FnMut(u64) -> Result<(), CompactError>,
    ) -> Result<Told, CompactError> {
        let Self { bytes, ends, offset, mut known, after, .. } = self;
        let (mut at, mut wanted) = (0, true);
        'blocks: for end in ends {
            while at < end {
                look(known.index)?;
                let (told, to) = known.tell_some(&bytes[..end], at, listener, most);
                at = to;
                match told {
                    Ok(true) => {}
                    Ok(false) => {
                        wanted = false;
                        break 'blocks;
                    }
                    Err(fault) => return Err(fault.0.at(offset + at as u64, known.index)),
                }
            }
        }
        let ends = match after {
            After::State(state) if wanted => known.is(&state),
            After::End(count) if wanted => known.counts(count),
            _ => Ok(()),
        };
        ends.map_err(|fault| fault.0.at(offset + at as u64, known.index))?;
        let (has_ties, has_others) = (known.has_ties, known.has_others);
        Ok(Told { wanted, has_ties, has_others, known, bytes })
    }
}
