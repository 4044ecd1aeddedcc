//! Breadth-first search over any stateright `Model` whose states pack into words.
//!
//! stateright's own checkers keep whole states (breadth first) or give no shortest traces (depth
//! first). This one is one thread, breadth first, so that the first state
//! found to break a property is one of the nearest. Of a state that was seen it keeps its fingerprint (8
//! bytes), its parent (4), which of the parent's actions led to it (2), and its place in the hash
//! table (5 to 10); whole states are kept, packed, for the layer being expanded and the next one.
//! Two states with one fingerprint are taken for one (Wolper and Leroy 1993): with 64 bits and 10^8
//! states the chance that any two are is below 3 in 10,000.

use std::time::{Duration, Instant};

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use stateright::Model;

/// A model that can be searched.
pub trait Compact: Model<Action: Copy> {
    /// Appends the state to `words`.
    fn pack(&self, state: &Self::State, words: &mut Vec<u32>);
    /// The state that was packed.
    fn unpack(&self, words: &[u32]) -> Self::State;
    /// A hash of the state that is the same in every run. What only the properties `told` (bits, as of
    /// [`Compact::found`]) would ask of it need not be in it: they were found before. Into `dominators`
    /// go the hashes of states that can do all this one can: if one of them was seen, this one need
    /// not be.
    fn fingerprint(&self, state: &Self::State, told: u64, dominators: &mut Vec<u64>) -> u64;
    /// The steps that `action` is made of, for a reader: most are one.
    fn steps(&self, state: &Self::State, action: Self::Action) -> Vec<Self::Action>;
    /// One bit for each property: whether the state breaks it (always) or shows it (sometimes).
    fn found(&self, state: &Self::State) -> u64;
    /// The same of what the step to this state showed, apart from the state. A subset of
    /// [`Compact::found`].
    fn shown(&self, state: &Self::State) -> u64;
}

/// When to give up, complete or not.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Wall time.
    pub time: Duration,
    /// States kept.
    pub states: usize,
    /// The process's resident memory, in bytes.
    pub memory: usize,
    /// End as soon as one of these properties is found: bits as of [`Compact::found`].
    pub until: u64,
    /// End when this says so: it is asked now and then.
    pub stop: fn() -> bool,
    /// End when this says of the sizes of the layers so far, the one to be expanded last, that the search
    /// will not come to its end within so many states.
    pub hopeless: fn(&[usize], usize) -> bool,
}

/// How far a search is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Different states found.
    pub states: usize,
    /// States generated, repeated ones included.
    pub generated: u64,
    /// How many steps the states being expanded are from the first.
    pub depth: usize,
    /// States found that were not expanded yet.
    pub open: usize,
    /// Time spent in all runs of the search.
    pub elapsed: Duration,
    /// The process's resident memory, in bytes; 0 where the system does not tell.
    pub memory: usize,
}

/// What a search came to.
#[derive(Clone, Debug)]
pub struct Outcome<A> {
    /// Every reachable state was seen.
    pub complete: bool,
    /// How far it came.
    pub progress: Progress,
    /// Kept for each state for good, in bytes.
    pub bytes_per_state: f64,
    /// For each property, the path found first, one of the shortest in moves of the search.
    pub found: Vec<Option<Vec<A>>>,
    /// How many states are so many moves from the first, as far as that was searched.
    pub layers: Vec<usize>,
}

/// A search: [`Search::run`] again goes on where a budget ended it.
pub struct Search<'m, M: Compact> {
    pub(crate) model: &'m M,
    pub(crate) seen: Seen,
    /// Where each layer of states begins.
    pub(crate) layers: Vec<u32>,
    pub(crate) layer: Packed,
    pub(crate) next: Packed,
    /// How many states of `layer` were expanded.
    pub(crate) expanded: usize,
    pub(crate) generated: u64,
    /// For each property, the first step that finds it.
    pub(crate) firsts: Vec<Option<Found>>,
    /// The properties that were found before the present layer was: bits.
    pub(crate) told: u64,
    dominators: Vec<u64>,
    pub(crate) before: Duration,
}

/// Where a property was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Found {
    /// In the first state.
    AtOnce,
    /// On the step from state `parent` by its action `ordinal`.
    After {
        /// The state's number.
        parent: u32,
        /// Which of its actions.
        ordinal: u16,
    },
}

/// What is kept of every state.
#[derive(Default)]
pub(crate) struct Seen {
    table: HashTable<u32>,
    pub(crate) fingerprints: Vec<u64>,
    pub(crate) parents: Vec<u32>,
    pub(crate) ordinals: Vec<u16>,
}

/// Packed states one after the other.
#[derive(Default)]
pub(crate) struct Packed {
    words: Vec<u32>,
    ends: Vec<usize>,
}

/// Between two looks at the clock and at memory.
const STRIDE: usize = 4_096;

impl Budget {
    /// No bound but the machine.
    pub const NONE: Self = Self {
        time: Duration::MAX,
        states: u32::MAX as usize,
        memory: usize::MAX,
        until: 0,
        stop: || false,
        hopeless: |_, _| false,
    };
}

impl<'m, M: Compact> Search<'m, M> {
    /// A search of `model`, which judges so many properties.
    pub fn new(model: &'m M, properties: usize) -> Self {
        let mut search = Self::empty(model, properties);
        for state in model.init_states() {
            search.meet(&state, Found::AtOnce);
        }
        search.layers.push(0);
        search.turn();
        search
    }

    pub(crate) fn empty(model: &'m M, properties: usize) -> Self {
        Self {
            model,
            seen: Seen::default(),
            layers: Vec::new(),
            layer: Packed::default(),
            next: Packed::default(),
            expanded: 0,
            generated: 0,
            firsts: vec![None; properties],
            told: 0,
            dominators: Vec::new(),
            before: Duration::ZERO,
        }
    }

    /// Searches until all is seen or the budget is used up. `report` is called now and then.
    pub fn run(&mut self, budget: &Budget, report: &mut dyn FnMut(Progress)) -> Outcome<M::Action> {
        let started = Instant::now();
        let mut actions = Vec::new();
        let mut stopped = self.is_found(budget.until);
        while !stopped && self.layer.len() > 0 {
            while self.expanded < self.layer.len() {
                self.expand(&mut actions);
                if self.is_found(budget.until) {
                    stopped = true;
                    break;
                }
                if self.seen.len() >= budget.states {
                    stopped = true;
                    break;
                }
                if self.expanded.is_multiple_of(STRIDE) {
                    let progress = self.progress(started);
                    report(progress);
                    if progress.exceeds(budget) {
                        stopped = true;
                        break;
                    }
                }
            }
            if !stopped {
                self.turn();
                stopped = self.layer.len() > 0 && (budget.hopeless)(&self.sizes(), budget.states);
            }
        }
        let complete = self.layer.len() == 0;
        let progress = self.progress(started);
        self.before = progress.elapsed;
        Outcome {
            complete,
            progress,
            bytes_per_state: self.seen.bytes_per_state(),
            found: self.firsts.iter().map(|first| first.map(|at| self.path(at))).collect(),
            layers: self.sizes(),
        }
    }

    /// How many states each layer has.
    fn sizes(&self) -> Vec<usize> {
        let ends = self.layers.iter().skip(1).map(|first| *first as usize);
        let ends = ends.chain([self.seen.len()]);
        self.layers.iter().zip(ends).map(|(first, end)| end - *first as usize).collect()
    }

    fn expand(&mut self, actions: &mut Vec<M::Action>) {
        let parent = self.seen.len() - self.next.len() - self.layer.len() + self.expanded;
        let parent = u32::try_from(parent).expect("states are counted in 32 bits");
        let state = self.model.unpack(self.layer.get(self.expanded));
        self.expanded += 1;
        actions.clear();
        self.model.actions(&state, actions);
        for (ordinal, action) in actions.iter().enumerate() {
            if let Some(next) = self.model.next_state(&state, *action) {
                self.generated += 1;
                let ordinal = u16::try_from(ordinal).expect("few actions are open in one state");
                self.meet(&next, Found::After { parent, ordinal });
            }
        }
    }

    fn meet(&mut self, state: &M::State, by: Found) {
        let found = if self.is_new(state, by) {
            let model = self.model;
            self.next.push(|words| model.pack(state, words));
            self.model.found(state)
        } else {
            self.model.shown(state)
        };
        self.note(found, by);
    }

    fn is_new(&mut self, state: &M::State, by: Found) -> bool {
        self.dominators.clear();
        let fingerprint = self.model.fingerprint(state, self.told, &mut self.dominators);
        if self.seen.has(fingerprint)
            || self.dominators.iter().any(|fingerprint| self.seen.has(*fingerprint))
        {
            return false;
        }
        let (parent, ordinal) = match by {
            Found::AtOnce => (0, 0),
            Found::After { parent, ordinal } => (parent, ordinal),
        };
        self.seen.insert(fingerprint, parent, ordinal);
        true
    }

    fn note(&mut self, mut found: u64, by: Found) {
        while found != 0 {
            let property = found.trailing_zeros() as usize;
            found &= found - 1;
            if let Some(first @ None) = self.firsts.get_mut(property) {
                *first = Some(by);
            }
        }
    }

    /// The next layer is the one to expand.
    fn turn(&mut self) {
        std::mem::swap(&mut self.layer, &mut self.next);
        self.next.words.clear();
        self.next.ends.clear();
        self.expanded = 0;
        if self.layer.len() > 0 {
            let first = self.seen.len() - self.layer.len();
            let first = u32::try_from(first).expect("states are counted in 32 bits");
            self.told = self.told_before(first);
            if self.layers.last() != Some(&first) {
                self.layers.push(first);
            }
        }
    }

    /// The properties found by steps from states before `first`: the same whenever it is asked, as long as
    /// those were expanded.
    pub(crate) fn told_before(&self, first: u32) -> u64 {
        let is_told = |found: &Option<Found>| match found {
            None => false,
            Some(Found::AtOnce) => true,
            Some(Found::After { parent, .. }) => *parent < first,
        };
        let told = self.firsts.iter().enumerate().filter(|(_, found)| is_told(found));
        told.fold(0, |bits, (property, _)| bits | 1 << property)
    }

    fn is_found(&self, until: u64) -> bool {
        until != 0
            && self.firsts.iter().enumerate().any(|(at, f)| f.is_some() && until >> at & 1 == 1)
    }

    fn progress(&self, started: Instant) -> Progress {
        Progress {
            states: self.seen.len(),
            generated: self.generated,
            depth: self.layers.len() - 1,
            open: self.layer.len() - self.expanded + self.next.len(),
            elapsed: self.before + started.elapsed(),
            memory: resident(),
        }
    }

    /// The actions that lead to where a property was found.
    fn path(&self, found: Found) -> Vec<M::Action> {
        let Found::After { parent, ordinal } = found else { return Vec::new() };
        let mut ordinals = self.seen.ordinals_to(parent);
        ordinals.push(ordinal);
        let mut path = Vec::with_capacity(ordinals.len());
        let first = self.model.init_states().swap_remove(0);
        let mut state = first;
        for ordinal in ordinals {
            let (action, next) = self.follow(&state, ordinal);
            path.extend(self.model.steps(&state, action));
            state = next;
        }
        path
    }

    fn follow(&self, state: &M::State, ordinal: u16) -> (M::Action, M::State) {
        let mut actions = Vec::new();
        self.model.actions(state, &mut actions);
        let action = actions[usize::from(ordinal)];
        let next = self.model.next_state(state, action);
        (action, next.expect("a step that was taken once can be taken again"))
    }
}

impl Progress {
    fn exceeds(&self, budget: &Budget) -> bool {
        self.elapsed >= budget.time || self.memory >= budget.memory || (budget.stop)()
    }
}

impl Seen {
    fn has(&self, fingerprint: u64) -> bool {
        let same = |at: &u32| self.fingerprints[*at as usize] == fingerprint;
        self.table.find(fingerprint, same).is_some()
    }

    /// Puts in a state that is new.
    fn insert(&mut self, fingerprint: u64, parent: u32, ordinal: u16) {
        let at = u32::try_from(self.fingerprints.len()).expect("states are counted in 32 bits");
        self.fingerprints.push(fingerprint);
        self.parents.push(parent);
        self.ordinals.push(ordinal);
        self.table.insert_unique(fingerprint, at, |at| self.fingerprints[*at as usize]);
    }

    /// Makes the table anew.
    pub(crate) fn index(&mut self) {
        self.table.clear();
        for (at, fingerprint) in (0..).zip(&self.fingerprints) {
            let hash = |at: &u32| self.fingerprints[*at as usize];
            self.table.insert_unique(*fingerprint, at, hash);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.fingerprints.len()
    }

    fn ordinals_to(&self, mut at: u32) -> Vec<u16> {
        let mut ordinals = Vec::new();
        while at != 0 {
            ordinals.push(self.ordinals[at as usize]);
            at = self.parents[at as usize];
        }
        ordinals.reverse();
        ordinals
    }

    fn bytes_per_state(&self) -> f64 {
        let table = self.table.allocation_size();
        let rest = self.len() * (size_of::<u64>() + size_of::<u32>() + size_of::<u16>());
        #[allow(clippy::cast_precision_loss, reason = "a figure to be read")]
        let bytes = (table + rest) as f64 / self.len().max(1) as f64;
        bytes
    }
}

impl Packed {
    pub(crate) fn push(&mut self, pack: impl FnOnce(&mut Vec<u32>)) {
        pack(&mut self.words);
        self.ends.push(self.words.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, at: usize) -> &[u32] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.words[start..self.ends[at]]
    }
}

/// The process's resident memory, from `/proc`; 0 where there is none.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4_096
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        #[allow(clippy::cast_precision_loss, reason = "a figure to be read")]
        let rate = self.generated as f64 / self.elapsed.as_secs_f64().max(0.001);
        write!(
            f,
            "{} states, {} to expand, depth {}, {rate:.0} generated/s, {} MiB",
            self.states,
            self.open,
            self.depth,
            self.memory >> 20
        )
    }
}
