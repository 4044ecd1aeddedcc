//! What an object can have held while a call was under way that fits nowhere: the core of a witness.

use hashbrown::HashSet;

use super::{Frontier, Plan};
use crate::consistency::linearizable::calls::{Call, Event};
use crate::consistency::linearizable::mask::{Mask, slots};
use crate::judge::budget::Meter;
use crate::spec::Spec;

/// The states that were possible, by all that the other calls tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held<T> {
    /// The last call that returned before the one in question began.
    pub(crate) after: Option<u32>,
    /// The states possible when it began.
    pub(crate) before: Vec<T>,
    /// The others that were possible until it returned.
    pub(crate) until: Vec<T>,
}

/// More configurations than that are no sentence.
const MOST: usize = 20_000;

/// What was held when `stuck` began, and until it returned. `None` where that takes too long to find
/// out, or nothing explains the other calls either.
pub(crate) fn held<S: Spec>(
    spec: &S,
    calls: &[Call<S::Op>],
    stuck: u32,
    meter: &mut Meter,
) -> Option<Held<S::State>> {
    let end = calls[stuck as usize].returned?;
    let calls = &calls[..calls.partition_point(|call| call.invoked <= end)];
    let plan = Plan::telling(spec, calls);
    if plan.width > u128::SLOTS {
        return None;
    }
    Frontier::<S, u128>::new(&plan).held(stuck, meter)
}

/// The calls that are needed to know what is known when `stuck` begins: those that had not returned,
/// and of the others the last few that lead to the same states, with the same calls open. All before
/// them is as if it had not been.
pub(crate) fn recent<S: Spec>(
    spec: &S,
    calls: &[Call<S::Op>],
    stuck: u32,
    meter: &mut Meter,
) -> Option<Vec<u32>> {
    let begun = calls[stuck as usize].invoked;
    let over = |at: &u32| calls[*at as usize].returned.filter(|returned| *returned < begun);
    let (mut past, open): (Vec<u32>, Vec<u32>) =
        (0..calls.len() as u32).partition(|at| over(at).is_some());
    past.sort_by_key(over);
    let known = |kept: &[u32], meter: &mut Meter| {
        let part: Vec<Call<S::Op>> = kept.iter().map(|at| calls[*at as usize].clone()).collect();
        let stuck = kept.iter().position(|at| *at == stuck)?;
        let plan = Plan::telling(spec, &part);
        if plan.width > u128::SLOTS {
            return None;
        }
        Frontier::<S, u128>::new(&plan).known(stuck as u32, meter)
    };
    let all: Vec<u32> = (0..calls.len() as u32).collect();
    let whole = known(&all, meter)?;
    // One at least: who reads the witness has to see what it was before.
    let mut few = 1;
    while few < past.len() {
        let mut kept = open.clone();
        kept.extend(&past[past.len() - few..]);
        kept.sort_unstable();
        if known(&kept, meter).is_some_and(|known| known == whole) {
            return Some(kept);
        }
        meter.look().ok()?;
        few *= 2;
    }
    Some(all)
}

/// A state, and which of the open calls have happened.
type Known<T> = HashSet<(T, Vec<u64>)>;

impl<S: Spec, M: Mask> Frontier<'_, S, M> {
    /// What is known when a call begins.
    fn known(mut self, stuck: u32, meter: &mut Meter) -> Option<Known<S::State>> {
        let plan = self.plan;
        for (at, event) in (0..).zip(&plan.events) {
            self.now = at;
            match *event {
                Event::Begin(call) if call == stuck => break,
                Event::Begin(call) if plan.dropped[call as usize] => {}
                Event::Begin(call) => self.begin(call, meter).ok()?,
                Event::Return(call) => self.finish(call, meter).ok()?,
            }
            if self.configs.is_empty() {
                return None;
            }
        }
        self.possible(meter)?;
        let configurations = self.met.iter().map(|config| {
            let name = |slot| plan.calls[self.slot(slot).call as usize].name;
            let mut happened: Vec<u64> = slots(config.happened).map(name).collect();
            happened.sort_unstable();
            (self.states.get(config.state).state.clone(), happened)
        });
        Some(configurations.collect())
    }

    fn held(mut self, stuck: u32, meter: &mut Meter) -> Option<Held<S::State>> {
        let plan = self.plan;
        let (mut after, mut before, mut until) = (None, None, Vec::new());
        for (at, event) in (0..).zip(&plan.events) {
            self.now = at;
            match *event {
                Event::Begin(call) if call == stuck => before = Some(self.possible(meter)?),
                Event::Begin(call) if plan.dropped[call as usize] => {}
                Event::Begin(call) => self.begin(call, meter).ok()?,
                Event::Return(call) => {
                    match &before {
                        None => after = Some(call),
                        Some(_) => until.extend(self.possible(meter)?),
                    }
                    if call == stuck {
                        break;
                    }
                    self.finish(call, meter).ok()?;
                }
            }
            if self.configs.is_empty() {
                return None;
            }
        }
        let before = before?;
        let mut others: Vec<S::State> = Vec::new();
        for state in until {
            if !before.contains(&state) && !others.contains(&state) {
                others.push(state);
            }
        }
        Some(Held { after, before, until: others })
    }

    /// The states that can be there now, whichever of the open calls have happened.
    fn possible(&mut self, meter: &mut Meter) -> Option<Vec<S::State>> {
        self.clear_met();
        for at in 0..self.configs.len() {
            self.meet(self.configs[at], meter).ok()?;
        }
        let mut at = 0;
        while at < self.met.len() {
            if at == MOST {
                return None;
            }
            meter.tick().ok()?;
            let config = self.met[at];
            for slot in slots(self.updates.without(config.happened)) {
                self.take(config, slot, meter).ok()?;
            }
            at += 1;
        }
        let mut states: Vec<u32> = self.met.iter().map(|config| config.state).collect();
        states.sort_unstable();
        states.dedup();
        Some(states.into_iter().map(|state| self.states.get(state).state.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::budget::Budget;
    use crate::spec::{Register, RegisterOp};

    #[test]
    fn what_open_calls_may_have_done_is_possible_too() {
        let calls = [
            Call::of(0, RegisterOp::Write(1), 0, Some(1)),
            Call::of(1, RegisterOp::Write(2), 2, None),
            Call::of(2, RegisterOp::Read(9), 3, Some(8)),
            Call::of(3, RegisterOp::Write(3), 4, Some(5)),
            Call::of(4, RegisterOp::Write(9), 9, Some(10)),
        ];
        let mut meter = Budget::UNLIMITED.start();
        let held = held(&Register::default(), &calls, 2, &mut meter).unwrap();
        assert_eq!(held.after, Some(0));
        let sorted = |mut states: Vec<u32>| {
            states.sort_unstable();
            states
        };
        assert_eq!(sorted(held.before), [1, 2], "the write that never returned may have happened");
        assert_eq!(held.until, [3], "and one that is under way, but none that begins later");
    }
}
