//! The theory beside the core: an abstract quorum register, enumerated whole.
//!
//! One key, one put, then two gets in a row, hosts that only hold "old" or "new", and a put that reaches
//! them in any order. It has no protocol in it: it is what textbooks argue about when they say R + W > N, and
//! what the core is held against where the core has the same setting. Steps are deliveries and answers.

use std::collections::{BTreeSet, VecDeque};

/// What a get does with what it heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing, or something later that may be as late as one likes.
    NoneOrLater,
    /// It brings those that answered up to date before it answers.
    Responders,
    /// It brings W hosts up to date before it answers (Attiya, Bar-Noy, Dolev 1995).
    WriteBack,
}

impl Repair {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoneOrLater, Self::Responders, Self::WriteBack];
}

/// What can happen, and in how many steps at the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// A get that began after the acknowledgement shows the old value.
    pub stale: Option<usize>,
    /// A get shows the old value after one that had ended showed the new one.
    pub inversion: Option<usize>,
}

/// A cluster of this enumeration.
#[derive(Clone, Copy, Debug)]
pub struct Abstract {
    /// Homes.
    pub n: usize,
    /// Answers a get waits for.
    pub r: usize,
    /// Copies a put waits for.
    pub w: usize,
    /// What a get does.
    pub repair: Repair,
    /// Fallbacks, each of which may be counted in the place of a home.
    pub fallbacks: usize,
}

/// How far a get is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Idle,
    Asking,
    /// It has R answers, and brings others up to date if it does.
    Mending,
}

/// A state: who holds the new value, and what is going on. Sets of hosts are bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    has_begun: bool,
    new: u8,
    acked: bool,
    /// The first get, then the second.
    get: usize,
    phase: Phase,
    asked: u8,
    mended: u8,
    saw_new: bool,
    began_after: bool,
    first_showed: bool,
}

/// What a get showed by its last answer.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    stale: bool,
    inverted: bool,
}

impl Abstract {
    /// Enumerates all of it, breadth first.
    #[must_use]
    pub fn enumerate(&self) -> Found {
        let first = State {
            has_begun: false,
            new: 0,
            acked: false,
            get: 0,
            phase: Phase::Idle,
            asked: 0,
            mended: 0,
            saw_new: false,
            began_after: false,
            first_showed: false,
        };
        let mut seen = BTreeSet::from([first.clone()]);
        let mut open = VecDeque::from([(first, 0)]);
        let mut found = Found::default();
        while let Some((state, steps)) = open.pop_front() {
            for (next, shown) in self.next(&state) {
                let steps = steps + 1;
                found.stale = found.stale.or(shown.stale.then_some(steps));
                found.inversion = found.inversion.or(shown.inverted.then_some(steps));
                if seen.insert(next.clone()) {
                    open.push_back((next, steps));
                }
            }
        }
        found
    }

    /// Those of `hosts` (bits) that are none: homes first, then fallbacks.
    fn others(&self, hosts: u8) -> impl Iterator<Item = u8> + use<> {
        (0..self.n + self.fallbacks).map(|host| 1 << host).filter(move |host| hosts & host == 0)
    }

    /// The states after one step, and what a get showed by it.
    fn next(&self, state: &State) -> Vec<(State, Shown)> {
        let mut after = Vec::new();
        let mut step = |next: State| after.push((next, Shown::default()));
        if !state.has_begun {
            step(State { has_begun: true, ..state.clone() });
        } else {
            for host in self.others(state.new) {
                step(State { new: state.new | host, ..state.clone() });
            }
        }
        if !state.acked && state.new.count_ones() as usize >= self.w {
            step(State { acked: true, ..state.clone() });
        }
        match state.phase {
            Phase::Idle if state.get < 2 => {
                step(State { phase: Phase::Asking, began_after: state.acked, ..state.clone() })
            }
            Phase::Idle => {}
            Phase::Asking => after.extend(self.answers(state)),
            Phase::Mending => self.mend(state).into_iter().for_each(step),
        }
        after
    }

    fn answers(&self, state: &State) -> impl Iterator<Item = (State, Shown)> {
        self.others(state.asked).map(|host| {
            let (asked, saw_new) = (state.asked | host, state.saw_new || state.new & host != 0);
            let mut next = State { asked, saw_new, ..state.clone() };
            if (asked.count_ones() as usize) < self.r {
                return (next, Shown::default());
            }
            next.phase = Phase::Mending;
            let stale = state.began_after && !saw_new;
            let inverted = state.first_showed && !saw_new;
            (next, Shown { stale, inverted })
        })
    }

    fn mend(&self, state: &State) -> Vec<State> {
        let open: Vec<u8> = match self.repair {
            _ if !state.saw_new => Vec::new(),
            Repair::NoneOrLater => Vec::new(),
            Repair::Responders => {
                self.others(state.mended).filter(|host| state.asked & host != 0).collect()
            }
            Repair::WriteBack if state.mended.count_ones() as usize >= self.w => Vec::new(),
            Repair::WriteBack => self.others(state.mended).collect(),
        };
        if open.is_empty() {
            return vec![State {
                get: state.get + 1,
                phase: Phase::Idle,
                asked: 0,
                mended: 0,
                saw_new: false,
                began_after: false,
                first_showed: state.first_showed || state.saw_new,
                ..state.clone()
            }];
        }
        let mended =
            |host| State { mended: state.mended | host, new: state.new | host, ..state.clone() };
        open.into_iter().map(mended).collect()
    }
}
