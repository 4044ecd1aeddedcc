//! Equal times: what overlaps, and what stands in turn.
//!
//! Where one call returns at the instant at which another begins, nobody can tell which came first:
//! they overlap. But a process does one thing after the other, and so its own calls stand in turn
//! even where its clock did not move between them. One rule for all checkers, then: a call comes
//! before another if it returned at an earlier time, or if both are of one process and it was
//! called first.
//!
//! That is no order of intervals: where two processes each return and call again at one instant,
//! each new call comes after its process's old one and overlaps the other's, which no two points
//! of time can say. So it is told in three steps. What is wrong though all equal times overlap is
//! wrong. If it is right then, the instants at which processes call again are split into parts
//! ([`in_turn`]), which makes intervals shorter and never longer: what is right after that is
//! right. And where at each instant one process at most calls again, splitting takes nothing away
//! that the rule leaves, so what is wrong after that is wrong. What remains is unknown: such a clock
//! is too coarse.

use std::borrow::Cow;

use hashbrown::HashMap;

use super::calls::{Call, Object};

/// Objects with their instants split.
pub(crate) struct Split<'a, O: Clone> {
    pub(crate) objects: Cow<'a, [Object<O>]>,
    /// Are there instants that were split?
    pub(crate) is_split: bool,
    /// Did no instant have two processes call again?
    pub(crate) is_exact: bool,
}

/// A time, and which part of it.
type Instant = (u64, u32);

/// Of one instant: what returns there without being called again, returns last.
const LAST: u32 = u32::MAX;

/// The calls with times that tell those of one process apart. At an instant at which processes
/// return and call again, what else begins comes first and what else returns comes last; between
/// them these processes take their turns one after the other.
pub(crate) fn in_turn<O: Clone>(objects: &[Object<O>]) -> Split<'_, O> {
    let mut places: Vec<(usize, usize)> = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        places.extend((0..object.calls.len()).map(|call| (at, call)));
    }
    let call = |place: (usize, usize)| &objects[place.0].calls[place.1];
    // Of each process its calls in turn: names number completions.
    places.sort_by_key(|place| (call(*place).process, call(*place).invoked, call(*place).name));
    let follows = |at: usize| {
        let (before, next) = (call(places[at - 1]), call(places[at]));
        before.process == next.process && before.returned == Some(next.invoked)
    };
    let mut tied: Vec<(u64, u64, usize)> = (1..places.len())
        .filter(|at| follows(*at))
        .map(|at| (call(places[at]).invoked, call(places[at - 1]).name, at))
        .collect();
    if tied.is_empty() {
        return Split { objects: Cow::Borrowed(objects), is_split: false, is_exact: true };
    }
    tied.sort_unstable();
    let one_process = |two: &[(u64, u64, usize)]| {
        call(places[two[0].2]).process == call(places[two[1].2]).process
    };
    let is_exact = tied.windows(2).all(|two| two[0].0 < two[1].0 || one_process(two));
    // All that begins and returns, but where it is tied, at the first and the last part.
    let mut times: Vec<(Instant, Option<Instant>)> = places
        .iter()
        .map(|place| {
            let Call { invoked, returned, .. } = *call(*place);
            ((invoked, 0), returned.map(|time| (time, LAST)))
        })
        .collect();
    for (part, (time, _, at)) in (1..).zip(tied) {
        times[at - 1].1 = Some((time, 2 * part));
        times[at].0 = (time, 2 * part + 1);
    }
    Split { objects: Cow::Owned(retimed(objects, &places, &times)), is_split: true, is_exact }
}

fn retimed<O: Clone>(
    objects: &[Object<O>],
    places: &[(usize, usize)],
    times: &[(Instant, Option<Instant>)],
) -> Vec<Object<O>> {
    let both = |(begun, ended): &(Instant, Option<Instant>)| [Some(*begun), *ended];
    let mut instants: Vec<Instant> = times.iter().flat_map(both).flatten().collect();
    instants.sort_unstable();
    instants.dedup();
    let rank: HashMap<Instant, u64> = instants.into_iter().zip(0..).collect();
    let mut told = objects.to_vec();
    for (place, (begun, ended)) in places.iter().zip(times) {
        let call = &mut told[place.0].calls[place.1];
        (call.invoked, call.returned) = (rank[begun], ended.map(|ended| rank[&ended]));
    }
    for object in &mut told {
        object.calls.sort_by_key(|call| call.invoked);
    }
    told
}

/// Split objects with their calls in that order, but at the times they had before.
pub(crate) fn with_times_of<O: Clone>(before: &[Object<O>], split: &[Object<O>]) -> Vec<Object<O>> {
    let mut restored = split.to_vec();
    for (object, before) in restored.iter_mut().zip(before) {
        let times: HashMap<u64, (u64, Option<u64>)> =
            before.calls.iter().map(|call| (call.name, (call.invoked, call.returned))).collect();
        for call in &mut object.calls {
            (call.invoked, call.returned) = times[&call.name];
        }
    }
    restored
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Values;
    use serde_json::Value;

    /// Calls of one object: process, beginning and end; named by their place.
    fn object(calls: &[(u64, u64, u64)]) -> [Object<()>; 1] {
        let calls = calls.iter().zip(0..).map(|((process, invoked, returned), name)| Call {
            op: (),
            name,
            process: *process,
            invoked: *invoked,
            returned: Some(*returned),
        });
        let values = Values::new(Value::Null);
        [Object { key: None, values, calls: calls.collect(), failed: Vec::new() }]
    }

    /// Does the first of these come before the second once instants are split?
    fn precedes(split: &Split<'_, ()>, first: u64, second: u64) -> bool {
        let call = |name| {
            let mut calls = split.objects[0].calls.iter();
            calls.find(|call| call.name == name).expect("it stays")
        };
        call(first).returned < Some(call(second).invoked)
    }

    #[test]
    fn without_ties_nothing_is_split() {
        let objects = object(&[(0, 0, 5), (1, 5, 9)]);
        let split = in_turn(&objects);
        assert!(!split.is_split && !precedes(&split, 0, 1));
    }

    #[test]
    fn the_calls_of_one_process_stand_in_turn_and_others_overlap_them() {
        // Process 0 ends and begins at 5; others end there, begin there, or do both.
        let objects = object(&[(0, 0, 5), (0, 5, 9), (1, 1, 5), (2, 5, 8), (3, 5, 5)]);
        let split = in_turn(&objects);
        assert!(split.is_split && split.is_exact);
        for first in 0..5 {
            for second in 0..5 {
                assert_eq!(precedes(&split, first, second), (first, second) == (0, 1));
            }
        }
        let restored = with_times_of(&objects, &split.objects);
        assert!(restored[0].calls.iter().all(|call| {
            let before = &objects[0].calls[call.name as usize];
            (before.invoked, before.returned) == (call.invoked, call.returned)
        }));
    }

    #[test]
    fn several_calls_at_one_instant_stand_in_turn() {
        let objects = object(&[(0, 0, 5), (0, 5, 5), (0, 5, 5), (0, 5, 9)]);
        let split = in_turn(&objects);
        assert!(split.is_exact);
        assert!((0..3).all(|name| precedes(&split, name, name + 1)));
    }

    #[test]
    fn two_processes_that_call_again_at_one_instant_are_no_intervals() {
        let objects = object(&[(0, 0, 5), (0, 5, 9), (1, 1, 5), (1, 5, 7)]);
        let split = in_turn(&objects);
        assert!(!split.is_exact);
        assert!(precedes(&split, 0, 1) && precedes(&split, 2, 3));
    }
}
