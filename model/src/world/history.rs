//! The monitor: what an observer who sees everything has to remember to judge the next step. It
//! stands in for the history of operations, which would tell every two paths apart.

use smallvec::SmallVec;

use crate::world::script::{MAX_PUTS, Versions};

/// The monitor's memory. Versions are known by the numbers of their puts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// Puts whose clients were told "done".
    pub(crate) acked: Versions,
    /// Puts whose clients were told "refused".
    pub(crate) refused: Versions,
    /// What any get that ended has shown.
    pub(crate) shown: Versions,
    /// Puts of which nothing is left but what was acknowledged: their tombstone was collected.
    pub(crate) collected: Versions,
    /// Puts a fallback minted.
    pub(crate) stand_ins: u8,
    /// What the last step showed: bits of [`flag`]. Gone with the next step, and no part of the
    /// state: which step was the last one tells nothing of what may come.
    pub(crate) flags: u64,
    /// For each put, everything its client had read, and what that had overwritten: the truth that
    /// contexts and clocks are held against.
    pub(crate) over: SmallVec<[Versions; MAX_PUTS]>,
    /// For each put, the number of its stamp; 0 until it is minted.
    pub(crate) stamps: SmallVec<[u32; 4]>,
    /// Deletes that were forwarded and not minted yet: the forwarder's operation and the put. A
    /// tombstone carries no value to know it by.
    pub(crate) forwarded: SmallVec<[(u64, u64, u8); 1]>,
}

/// What a step may show.
pub(crate) mod flag {
    /// A get missed a put that was acknowledged before it began.
    pub(crate) const STALE: u64 = 1;
    /// A get missed an acknowledged put of its own client.
    pub(crate) const NOT_OWN: u64 = 1 << 1;
    /// A get missed what an earlier get of its client had shown.
    pub(crate) const BACKWARDS: u64 = 1 << 2;
    /// A get missed what a get that ended before it began had shown.
    pub(crate) const INVERTED: u64 = 1 << 3;
    /// A get showed a version beside one that had overwritten it.
    pub(crate) const FALSE_SIBLING: u64 = 1 << 4;
    /// A get's context claims a version that was neither shown nor overwritten by what was.
    pub(crate) const OPEN_CONTEXT: u64 = 1 << 5;
    /// A put was acknowledged with fewer than W hosts holding it.
    pub(crate) const FEW_HOLDERS: u64 = 1 << 6;
    /// A dot was minted twice, or a put was.
    pub(crate) const DOT_TWICE: u64 = 1 << 7;
    /// A dot was minted from a record that had not seen every earlier dot of its actor.
    pub(crate) const DOT_OPEN: u64 = 1 << 8;
    /// A hint went although its target's disk does not cover it.
    pub(crate) const HINT_LOST: u64 = 1 << 9;
    /// A get showed something nobody wrote.
    pub(crate) const UNWRITTEN: u64 = 1 << 10;
    /// A client was answered that waited for nothing.
    pub(crate) const ANSWERED_TWICE: u64 = 1 << 11;
    /// The core's own assertion failed.
    pub(crate) const PANIC: u64 = 1 << 12;
    /// A home record went although the disk of a home does not cover it.
    pub(crate) const DROPPED: u64 = 1 << 13;
    /// A get showed a put without an earlier acknowledged one of the same client.
    pub(crate) const OUT_OF_ORDER: u64 = 1 << 14;
    /// A client was refused, or told "timed out".
    pub(crate) const UNANSWERED: u64 = 1 << 15;
    /// A put was acknowledged.
    pub(crate) const ACKED: u64 = 1 << 16;
    /// A get showed siblings.
    pub(crate) const SIBLINGS: u64 = 1 << 17;
    /// A hint was stored.
    pub(crate) const HINTED: u64 = 1 << 18;
    /// A hint was delivered.
    pub(crate) const DELIVERED: u64 = 1 << 19;
    /// A stale home was repaired by a get.
    pub(crate) const REPAIRED: u64 = 1 << 20;
    /// A key that two homes held differently was brought up to date by an exchange.
    pub(crate) const SYNCED: u64 = 1 << 21;
    /// A record went from one that is no home any more, which all homes hold.
    pub(crate) const MOVED: u64 = 1 << 22;
    /// A home that was none counts from now on.
    pub(crate) const FILLED: u64 = 1 << 23;
    /// A request that is open has other homes, and goes on with them.
    pub(crate) const ANEW: u64 = 1 << 24;
    /// A tombstone was collected.
    pub(crate) const COLLECTED: u64 = 1 << 32;
    /// A context forgot an idle actor.
    pub(crate) const FORGOT: u64 = 1 << 33;
    /// A get was answered that began after a put was acknowledged.
    pub(crate) const DUE: u64 = 1 << 25;
    /// One whose own client's put was.
    pub(crate) const OWN_DUE: u64 = 1 << 26;
    /// One whose client had been shown something.
    pub(crate) const SEEN_DUE: u64 = 1 << 27;
    /// One that began after a get of anybody had shown something.
    pub(crate) const FLOOR_DUE: u64 = 1 << 28;
    /// One showed a put whose client had an earlier one acknowledged.
    pub(crate) const ORDER_DUE: u64 = 1 << 29;
    /// One showed a put whose client had read something before.
    pub(crate) const BUILT_ON: u64 = 1 << 30;
    /// A get showed three siblings, or more.
    pub(crate) const THREE_SIBLINGS: u64 = 1 << 33;
    /// A get was answered when three puts had been made.
    pub(crate) const THREE_PUTS: u64 = 1 << 34;
    /// A client was served after a fault.
    pub(crate) const SERVED_AFTER: u64 = 1 << 31;
}

impl History {
    pub(crate) fn new(puts: usize) -> Self {
        Self {
            acked: 0,
            refused: 0,
            shown: 0,
            collected: 0,
            stand_ins: 0,
            flags: 0,
            over: SmallVec::from_elem(0, puts),
            stamps: SmallVec::from_elem(0, puts),
            forwarded: SmallVec::new(),
        }
    }

    /// `versions` and everything they overwrote.
    pub(crate) fn closure(&self, versions: Versions) -> Versions {
        each(versions).fold(versions, |all, version| all | self.over[usize::from(version)])
    }

    /// The puts that were minted.
    pub(crate) fn minted(&self) -> Versions {
        let minted = |(number, stamp): (usize, &u32)| u8::from(*stamp != 0) << number;
        self.stamps.iter().enumerate().map(minted).fold(0, |all, one| all | one)
    }

    /// Whether one of `versions` overwrote another.
    pub(crate) fn has_dominated(&self, versions: Versions) -> bool {
        each(versions).any(|version| self.over[usize::from(version)] & versions != 0)
    }

    pub(crate) fn pack(&self, words: &mut Vec<u32>) {
        let forwarded = u8::try_from(self.forwarded.len()).expect("few deletes are forwarded");
        words.push(u32::from_le_bytes([self.acked, self.refused, self.shown, self.stand_ins]));
        let mut over = [0; MAX_PUTS];
        over[..self.over.len()].copy_from_slice(&self.over);
        words.push(u32::from_le_bytes([over[0], over[1], over[2], over[3]]));
        words.push(u32::from_le_bytes([over[4], over[5], over[6], over[7]]));
        words.extend_from_slice(&self.stamps);
        words.push(u32::from_le_bytes([forwarded, self.collected, 0, 0]));
        for &(incarnation, seq, put) in &self.forwarded {
            let small = |number| u32::try_from(number).expect("the model's nonces are small");
            words.extend_from_slice(&[small(incarnation), small(seq), u32::from(put)]);
        }
    }

    pub(crate) fn unpack(next: &mut impl FnMut() -> u32, puts: usize) -> Self {
        let [acked, refused, shown, stand_ins] = next().to_le_bytes();
        let [a, b, c, d] = next().to_le_bytes();
        let [e, f, g, h] = next().to_le_bytes();
        let over = SmallVec::from_slice(&[a, b, c, d, e, f, g, h][..puts]);
        let stamps = (0..puts).map(|_| next()).collect();
        let [forwarded, collected, ..] = next().to_le_bytes();
        let forwarded = (0..forwarded).map(|_| {
            let (incarnation, seq, put) = (next(), next(), next());
            let put = u8::try_from(put).expect("as packed");
            (u64::from(incarnation), u64::from(seq), put)
        });
        let forwarded = forwarded.collect();
        Self { acked, refused, shown, collected, stand_ins, flags: 0, over, stamps, forwarded }
    }
}

/// The numbers in `versions`.
pub(crate) fn each(versions: Versions) -> impl Iterator<Item = u8> {
    (0..8).filter(move |number| versions >> number & 1 == 1)
}
