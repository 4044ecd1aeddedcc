//! What the search knows of a history before it begins: the events, which calls are alike, and
//! until when each state is of use.

use hashbrown::HashMap;

use super::calls::{Call, Event, events};
use crate::spec::{Needs, Spec};

/// After every event; of what never returns.
pub(crate) const NEVER: u32 = u32::MAX;

pub(crate) struct Plan<'a, S: Spec> {
    pub(crate) spec: &'a S,
    pub(crate) calls: &'a [Call<S::Op>],
    pub(crate) events: Vec<Event>,
    /// Of each call the event by which it must have happened.
    pub(crate) deadline: Vec<u32>,
    /// Of each call which calls are equal to it.
    pub(crate) group: Vec<u32>,
    /// Of each call: it may as well not have happened.
    pub(crate) dropped: Vec<bool>,
    /// Of each state the last deadline of a call that can only happen in it.
    last_use: HashMap<S::State, u32>,
    /// The last deadline of a call that may need any state.
    any_use: u32,
    /// The most calls open at once.
    pub(crate) width: usize,
}

impl<'a, S: Spec> Plan<'a, S> {
    pub(crate) fn new(spec: &'a S, calls: &'a [Call<S::Op>]) -> Self {
        let (mut plan, begun) = Self::all(spec, calls);
        plan.drop_idle_indeterminates(&begun);
        plan.width = plan.most_open();
        plan
    }

    /// For who wants to know every state there may have been: none is ever dead.
    pub(crate) fn telling(spec: &'a S, calls: &'a [Call<S::Op>]) -> Self {
        let (mut plan, _) = Self::all(spec, calls);
        for (dropped, call) in plan.dropped.iter_mut().zip(calls) {
            *dropped = call.returned.is_none() && spec.is_observer(&call.op);
        }
        plan.width = plan.most_open();
        plan
    }

    /// With all states of use, and when each call begins.
    fn all(spec: &'a S, calls: &'a [Call<S::Op>]) -> (Self, Vec<u32>) {
        let events = events(calls);
        let mut begun = vec![0; calls.len()];
        let mut deadline = vec![NEVER; calls.len()];
        for (at, event) in (0..).zip(&events) {
            match *event {
                Event::Begin(call) => begun[call as usize] = at,
                Event::Return(call) => deadline[call as usize] = at,
            }
        }
        let mut groups: HashMap<&S::Op, u32> = HashMap::new();
        let group = calls.iter().map(|call| {
            let next = groups.len() as u32;
            *groups.entry(&call.op).or_insert(next)
        });
        let group = group.collect();
        let dropped = vec![false; calls.len()];
        let (last_use, any_use, width) = (HashMap::new(), NEVER, 0);
        let plan = Self { spec, calls, events, deadline, group, dropped, last_use, any_use, width };
        (plan, begun)
    }

    /// Until which event a state is of use: after it the state is *dead*, for all that can happen
    /// there are calls that overwrite it.
    pub(crate) fn useful_until(&self, state: &S::State) -> u32 {
        self.any_use.max(self.last_use.get(state).copied().unwrap_or(0))
    }

    /// Does the call set the state, whatever it was?
    pub(crate) fn overwrites(&self, op: &S::Op) -> bool {
        self.spec.needs(op) == Needs::Nothing && self.spec.leaves(op).is_some()
    }

    /// An indeterminate call need not have happened. If nothing ever needs the state it leaves,
    /// leaving it out takes no legal order away. Each one left out may free others.
    fn drop_idle_indeterminates(&mut self, begun: &[u32]) {
        loop {
            self.find_uses();
            let mut any = false;
            for (at, call) in self.calls.iter().enumerate() {
                if call.returned.is_some() || self.dropped[at] {
                    continue;
                }
                let idle = |state| self.useful_until(&state) < begun[at];
                let leaves = self.spec.leaves(&call.op);
                if self.spec.is_observer(&call.op) || leaves.is_some_and(idle) {
                    self.dropped[at] = true;
                    any = true;
                }
            }
            if !any {
                return;
            }
        }
    }

    fn find_uses(&mut self) {
        self.last_use.clear();
        self.any_use = 0;
        for (at, call) in self.calls.iter().enumerate() {
            if self.dropped[at] || self.overwrites(&call.op) {
                continue;
            }
            match self.spec.needs(&call.op) {
                Needs::Only(state) => {
                    let last = self.last_use.entry(state).or_default();
                    *last = (*last).max(self.deadline[at]);
                }
                Needs::Nothing | Needs::Unsaid => {
                    self.any_use = self.any_use.max(self.deadline[at]);
                }
            }
        }
    }

    fn most_open(&self) -> usize {
        let (mut open, mut most) = (0, 0);
        for event in &self.events {
            match event {
                Event::Begin(call) if self.dropped[*call as usize] => {}
                Event::Begin(_) => open += 1,
                Event::Return(_) => open -= 1,
            }
            most = most.max(open);
        }
        most
    }
}
