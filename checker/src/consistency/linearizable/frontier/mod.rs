//! The frontier search: linearizability for any specification.
//!
//! It walks the events in time order and keeps all *configurations*: a state, and which of the
//! open calls have happened already. After the return of call x there remain those in which x
//! has happened. None left: x cannot be explained. This is the search of Wing and Gong (1993)
//! with the memory of Lowe (2017), turned from depth to breadth: a configuration speaks of open
//! calls only, so that it is one word however long the history is.
//!
//! Invariant: between events the frontier holds, up to the reductions below, every pair (state,
//! set of open calls that happened) that some legal order of all that returned so far leads to.
//!
//! Reductions, none of which changes the answer:
//!
//! - *Lazy updates*: a call that changes the state is taken only on the way to a return.
//! - *Eager observers*: a call that changes nothing is taken as soon as it fits.
//! - *Equal calls* are taken in order of their deadlines: in any legal order two that are open
//!   together and do the same can change places so.
//! - *Dead states*: a state that no unfinished call can observe is as good as any other such. A
//!   write that leaves one is taken just before the next overwriting call: nobody could tell.
//! - An indeterminate call whose state nobody needs is left out ([`super::plan`]).

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::calls::{Call, Event};
use super::links::{Links, ROOT};
use super::mask::{Mask, Wide, slots};
use super::plan::Plan;
use super::states::{DEAD, Known, States};
use crate::judge::budget::{Exhausted, Meter};
use crate::spec::{Needs, Spec};

mod held;

pub(crate) use held::{Held, held, recent};

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The calls in this order (positions in the given slice) explain everything.
    Linearizable(Vec<u32>),
    /// When this call (a position) returned there was no way for it to have happened.
    Stuck(u32),
    /// Out of budget.
    Unknown {
        /// Which bound was reached.
        reason: String,
        /// As many events were explained until then.
        events: usize,
        /// Of so many.
        of: usize,
    },
}

/// The answer, and what it cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The answer.
    pub answer: Answer,
    /// The most configurations that were looked at for one event.
    pub widest: usize,
}

/// Searches for a legal order of the calls, which stand in order of invocation.
pub fn search<S: Spec>(spec: &S, calls: &[Call<S::Op>], meter: &mut Meter) -> Search {
    debug_assert!(calls.is_sorted_by_key(|call| call.invoked), "in order of invocation");
    let plan = Plan::new(spec, calls);
    let width = plan.width;
    if width <= u64::SLOTS {
        Frontier::<S, u64>::new(&plan).run(meter)
    } else if width <= u128::SLOTS {
        Frontier::<S, u128>::new(&plan).run(meter)
    } else if width <= Wide::<8>::SLOTS {
        Frontier::<S, Wide<8>>::new(&plan).run(meter)
    } else if width <= Wide::<64>::SLOTS {
        Frontier::<S, Wide<64>>::new(&plan).run(meter)
    } else {
        let most = Wide::<64>::SLOTS;
        let reason = format!("{width} calls are open at once; the search can tell {most} apart");
        let answer = Answer::Unknown { reason, events: 0, of: plan.events.len() };
        Search { answer, widest: 0 }
    }
}

#[derive(Clone, Copy)]
struct Config<M> {
    happened: M,
    state: u32,
    link: u32,
}

/// No state is said.
const UNSAID: u32 = u32::MAX;

/// An open call.
struct Slot<M> {
    call: u32,
    /// The state it needs, and the one it leaves, where the specification says so.
    needs: u32,
    leaves: u32,
    overwrites: bool,
    /// Equal open calls with earlier deadlines.
    ahead: M,
}

struct Frontier<'a, S: Spec, M> {
    plan: &'a Plan<'a, S>,
    configs: Vec<Config<M>>,
    /// The configurations met on the way to the present return, and an index of them.
    met: Vec<Config<M>>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    states: States<S::State, M>,
    links: Links,
    slots: Vec<Option<Slot<M>>>,
    free: Vec<u32>,
    slot_of: Vec<u32>,
    /// Open calls that change the state.
    updates: M,
    /// Open observers of which it is not said what they fit.
    watchers: M,
    /// Open calls that overwrite the state with one that is dead.
    idle: M,
    now: u32,
    widest: usize,
}

impl<'a, S: Spec, M: Mask> Frontier<'a, S, M> {
    fn new(plan: &'a Plan<'a, S>) -> Self {
        let init = plan.spec.init();
        let mut frontier = Self {
            plan,
            configs: Vec::new(),
            met: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            states: States::new(init.clone(), M::EMPTY),
            links: Links::new(),
            slots: Vec::new(),
            free: Vec::new(),
            slot_of: vec![0; plan.calls.len()],
            updates: M::EMPTY,
            watchers: M::EMPTY,
            idle: M::EMPTY,
            now: 0,
            widest: 1,
        };
        let state = frontier.intern(init);
        frontier.configs.push(Config { happened: M::EMPTY, state, link: ROOT });
        frontier
    }

    fn run(mut self, meter: &mut Meter) -> Search {
        let plan = self.plan;
        for (at, event) in (0..).zip(&plan.events) {
            self.now = at;
            let done = match *event {
                Event::Begin(call) if plan.dropped[call as usize] => Ok(()),
                Event::Begin(call) => self.begin(call, meter),
                Event::Return(call) => self.finish(call, meter),
            };
            if let Err(exhausted) = done {
                let (reason, of) = (exhausted.to_string(), plan.events.len());
                let answer = Answer::Unknown { reason, events: at as usize, of };
                return Search { answer, widest: self.widest };
            }
            if self.configs.is_empty() {
                let (Event::Begin(call) | Event::Return(call)) = *event;
                return Search { answer: Answer::Stuck(call), widest: self.widest };
            }
        }
        let order = self.links.order(self.configs[0].link);
        Search { answer: Answer::Linearizable(order), widest: self.widest }
    }

    fn op(&self, call: u32) -> &'a S::Op {
        &self.plan.calls[call as usize].op
    }

    fn intern(&mut self, state: S::State) -> u32 {
        let plan = self.plan;
        self.states.intern(state, |state| Known {
            useful_until: plan.useful_until(&state),
            observers: M::EMPTY,
            state,
        })
    }

    fn is_dead(&self, state: u32) -> bool {
        self.states.get(state).useful_until < self.now
    }

    fn begin(&mut self, call: u32, meter: &mut Meter) -> Result<(), Exhausted> {
        meter.tick()?;
        let (spec, op) = (self.plan.spec, self.op(call));
        let needs = match spec.needs(op) {
            Needs::Only(state) => self.intern(state),
            Needs::Nothing | Needs::Unsaid => UNSAID,
        };
        let leaves = spec.leaves(op).map_or(UNSAID, |state| self.intern(state));
        let overwrites = self.plan.overwrites(op);
        let slot = self.take_slot(Slot { call, needs, leaves, overwrites, ahead: M::EMPTY });
        let bit = M::bit(slot);
        if spec.is_observer(op) {
            if needs == UNSAID {
                self.watchers = self.watchers.with(bit);
            } else {
                let known = self.states.get_mut(needs);
                known.observers = known.observers.with(bit);
            }
        } else {
            self.updates = self.updates.with(bit);
            self.queue_behind_equals(slot);
            if overwrites && self.is_dead(leaves) {
                self.idle = self.idle.with(bit);
            }
        }
        self.take_at_once(slot)
    }

    fn take_slot(&mut self, opened: Slot<M>) -> u32 {
        let call = opened.call;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(opened);
        self.slot_of[call as usize] = slot;
        slot
    }

    fn slot(&self, slot: u32) -> &Slot<M> {
        self.slots[slot as usize].as_ref().expect("a slot in a mask holds an open call")
    }

    /// Puts the new call among the open ones that are equal to it, by deadline.
    fn queue_behind_equals(&mut self, new: u32) {
        let plan = self.plan;
        let of = |call: u32| (plan.group[call as usize], plan.deadline[call as usize]);
        let (group, deadline) = of(self.slot(new).call);
        let mut ahead = M::EMPTY;
        for other in slots(self.updates.without(M::bit(new))) {
            let Some(there) = &mut self.slots[other as usize] else { continue };
            let (its_group, its_deadline) = of(there.call);
            if its_group != group {
                continue;
            }
            if its_deadline <= deadline {
                ahead = ahead.with(M::bit(other));
            } else {
                there.ahead = there.ahead.with(M::bit(new));
            }
        }
        if let Some(slot) = &mut self.slots[new as usize] {
            slot.ahead = ahead;
        }
    }

    /// Takes a call that has just begun wherever that can cost nothing: an observer where it
    /// fits, an idle overwrite where the state is dead.
    fn take_at_once(&mut self, slot: u32) -> Result<(), Exhausted> {
        let bit = M::bit(slot);
        let call = self.slot(slot).call;
        let observes = !self.updates.meets(bit);
        if !observes && !self.idle.meets(bit) {
            return Ok(());
        }
        for at in 0..self.configs.len() {
            let config = self.configs[at];
            let takes = if observes {
                self.fitting(config.state, M::EMPTY).meets(bit)
            } else {
                config.state == DEAD
            };
            if takes {
                let link = self.links.push(config.link, call)?;
                let happened = config.happened.with(bit);
                self.configs[at] = Config { happened, link, ..config };
            }
        }
        Ok(())
    }

    /// The open observers that fit a state, but for those that happened.
    fn fitting(&self, state: u32, happened: M) -> M {
        let known = self.states.get(state);
        let mut fitting = known.observers.without(happened);
        for slot in slots(self.watchers.without(happened)) {
            // What is dead is so only when no call is left that may need any state.
            if state != DEAD && self.plan.spec.allows(&known.state, self.op(self.slot(slot).call)) {
                fitting = fitting.with(M::bit(slot));
            }
        }
        fitting
    }

    fn finish(&mut self, call: u32, meter: &mut Meter) -> Result<(), Exhausted> {
        meter.tick()?;
        let slot = self.slot_of[call as usize];
        let bit = M::bit(slot);
        if !self.configs.iter().all(|config| config.happened.meets(bit)) {
            self.expand(bit, meter)?;
        }
        self.widest = self.widest.max(self.met.len());
        self.close(slot);
        self.bury()?;
        self.collect();
        Ok(())
    }

    /// All configurations in which the call of `bit` has happened.
    fn expand(&mut self, bit: M, meter: &mut Meter) -> Result<(), Exhausted> {
        self.clear_met();
        for at in 0..self.configs.len() {
            self.meet(self.configs[at], meter)?;
        }
        let mut at = 0;
        while at < self.met.len() {
            meter.tick()?;
            let config = self.met[at];
            if !config.happened.meets(bit) {
                for slot in slots(self.updates.without(config.happened)) {
                    self.take(config, slot, meter)?;
                }
            }
            at += 1;
        }
        self.configs.clear();
        self.configs.extend(self.met.iter().filter(|config| config.happened.meets(bit)));
        Ok(())
    }

    /// Takes one update in one configuration, if it can happen there.
    fn take(&mut self, from: Config<M>, slot: u32, meter: &mut Meter) -> Result<(), Exhausted> {
        let taken = self.slot(slot);
        let (call, overwrites) = (taken.call, taken.overwrites);
        if taken.ahead.without(from.happened) != M::EMPTY {
            return Ok(());
        }
        let Some(state) = self.after(from.state, slot) else { return Ok(()) };
        let state = if self.is_dead(state) { DEAD } else { state };
        let before = from.happened.with(M::bit(slot));
        // Where the state is dead every idle overwrite has been taken in time.
        let idle = if overwrites { self.idle.without(before) } else { M::EMPTY };
        let before = before.with(idle);
        let observers = self.fitting(state, before);
        let happened = before.with(observers);
        if self.is_met(state, happened) {
            return Ok(());
        }
        let mut link = from.link;
        for slot in slots(idle) {
            link = self.links.push(link, self.slot(slot).call)?;
        }
        link = self.links.push(link, call)?;
        for slot in slots(observers) {
            link = self.links.push(link, self.slot(slot).call)?;
        }
        self.meet(Config { happened, state, link }, meter)
    }

    /// The state after the call of a slot, if it can happen in this one.
    fn after(&mut self, state: u32, slot: u32) -> Option<u32> {
        let &Slot { call, needs, leaves, overwrites, .. } = self.slot(slot);
        if overwrites {
            return Some(leaves);
        }
        if state == DEAD || (needs != UNSAID && needs != state) {
            return None;
        }
        if needs != UNSAID && leaves != UNSAID {
            return Some(leaves);
        }
        let next = self.plan.spec.step(&self.states.get(state).state, self.op(call))?;
        Some(self.intern(next))
    }

    fn clear_met(&mut self) {
        self.met.clear();
        // Clearing an index costs its capacity: one wide event must not make all later ones slow.
        if self.index.capacity() > (1 << 12).max(self.configs.len() * 64) {
            self.index = HashTable::new();
        }
        self.index.clear();
    }

    fn hash(&self, state: u32, happened: M) -> u64 {
        self.hasher.hash_one((state, happened))
    }

    fn is_met(&self, state: u32, happened: M) -> bool {
        let found = |&at: &u32| {
            let config = &self.met[at as usize];
            config.state == state && config.happened == happened
        };
        self.index.find(self.hash(state, happened), found).is_some()
    }

    fn meet(&mut self, config: Config<M>, meter: &Meter) -> Result<(), Exhausted> {
        if self.met.len() == self.met.capacity() {
            let more = 2 * self.met.capacity() * (size_of::<Config<M>>() + 2 * size_of::<u32>());
            meter.reserve((more + size_of::<M>()) as u64 + self.links.bytes())?;
        }
        self.index_and_push(config);
        Ok(())
    }

    fn index_and_push(&mut self, config: Config<M>) {
        let hash = self.hash(config.state, config.happened);
        let at = self.met.len() as u32;
        self.met.push(config);
        let Self { index, met, hasher, .. } = self;
        index.insert_unique(hash, at, |&at| {
            let config = &met[at as usize];
            hasher.hash_one((config.state, config.happened))
        });
    }

    /// Frees the slot of a call that has returned and happened in every configuration.
    fn close(&mut self, slot: u32) {
        let bit = M::bit(slot);
        for config in &mut self.configs {
            config.happened = config.happened.without(bit);
        }
        self.updates = self.updates.without(bit);
        self.watchers = self.watchers.without(bit);
        self.idle = self.idle.without(bit);
        if let Some(closed) = self.slots[slot as usize].take()
            && closed.needs != UNSAID
        {
            let known = self.states.get_mut(closed.needs);
            known.observers = known.observers.without(bit);
        }
        for open in self.slots.iter_mut().flatten() {
            open.ahead = open.ahead.without(bit);
        }
        self.free.push(slot);
    }

    /// Makes one of all the states that are dead from here on, and takes what is idle in it.
    fn bury(&mut self) -> Result<(), Exhausted> {
        self.now += 1;
        for slot in slots(self.updates.without(self.idle)) {
            let open = self.slot(slot);
            if open.overwrites && self.is_dead(open.leaves) {
                self.idle = self.idle.with(M::bit(slot));
            }
        }
        let mut changed = false;
        for at in 0..self.configs.len() {
            let mut config = self.configs[at];
            if !self.is_dead(config.state) {
                continue;
            }
            let idle = self.idle.without(config.happened);
            if config.state == DEAD && idle.is_empty() {
                continue;
            }
            changed = true;
            for slot in slots(idle) {
                config.link = self.links.push(config.link, self.slot(slot).call)?;
            }
            config.happened = config.happened.with(idle);
            config.state = DEAD;
            self.configs[at] = config;
        }
        if changed {
            self.drop_repeated();
        }
        Ok(())
    }

    fn drop_repeated(&mut self) {
        self.clear_met();
        for config in std::mem::take(&mut self.configs) {
            if !self.is_met(config.state, config.happened) {
                self.index_and_push(config);
            }
        }
        std::mem::swap(&mut self.configs, &mut self.met);
    }

    /// Lets go of the states and paths that no configuration holds any more.
    fn collect(&mut self) {
        if self.links.is_full() {
            self.links.collect(self.configs.iter_mut().map(|config| &mut config.link));
        }
        if self.states.is_full() {
            let open = self.slots.iter_mut().flatten();
            let said = open.flat_map(|slot| [&mut slot.needs, &mut slot.leaves]);
            let said = said.filter(|state| **state != UNSAID);
            let held = self.configs.iter_mut().map(|config| &mut config.state);
            self.states.forget_others(held.chain(said));
        }
    }
}
