//! Makes a witness smaller still, by leaving out calls that its specification ties to nothing.
//!
//! What is left out must not be able to explain what remains. So a call that changes the state is not
//! taken away but made *indeterminate*: it may have happened, from its beginning on, or not. If no
//! order explains the calls that are kept even so, none explains all of them; and if one does, the
//! call has to stay. And what is kept must make sense up to the call that fits nowhere: a release is
//! not kept without its acquire.

use super::calls::Call;
use super::frontier::{Answer, search};
use crate::judge::budget::{Exhausted, Meter};
use crate::spec::Spec;

/// Leaves out what it can; `stuck` is the position of the call that fits nowhere, and `others` are
/// those that were left out before. Gives the positions of those that are kept, and whether no other
/// single one could be left out.
pub(crate) fn relax<S: Spec>(
    spec: &S,
    calls: &[Call<S::Op>],
    others: &[Call<S::Op>],
    stuck: u32,
    meter: &mut Meter,
) -> (Vec<u32>, bool) {
    let mut kept: Vec<bool> = vec![true; calls.len()];
    let mut relaxing = Relaxing { spec, calls, others, stuck, meter, gave_up: false };
    let finished = relaxing.reach_a_minimum(&mut kept).is_ok() && !relaxing.gave_up;
    ((0..).zip(kept).filter(|(_, kept)| *kept).map(|(at, _)| at).collect(), finished)
}

struct Relaxing<'a, S: Spec> {
    spec: &'a S,
    calls: &'a [Call<S::Op>],
    others: &'a [Call<S::Op>],
    stuck: u32,
    meter: &'a mut Meter,
    /// An attempt took too long, and its calls stayed.
    gave_up: bool,
}

impl<S: Spec> Relaxing<'_, S> {
    /// Leaves out halves, then quarters, and so on, the oldest first: what is long past matters least.
    fn reach_a_minimum(&mut self, kept: &mut Vec<bool>) -> Result<(), Exhausted> {
        loop {
            let mut any = false;
            let mut size = self.others(kept).len().div_ceil(2);
            while size > 0 {
                for chunk in self.others(kept).chunks(size) {
                    any |= self.try_without(kept, chunk)?;
                }
                size = if size == 1 { 0 } else { size.div_ceil(2) };
            }
            if !any {
                return Ok(());
            }
        }
    }

    fn others(&self, kept: &[bool]) -> Vec<u32> {
        let all = (0..).zip(kept).filter(|(at, kept)| **kept && *at != self.stuck);
        all.map(|(at, _)| at).collect()
    }

    fn try_without(&mut self, kept: &mut Vec<bool>, chunk: &[u32]) -> Result<bool, Exhausted> {
        let mut fewer = kept.clone();
        chunk.iter().for_each(|at| fewer[*at as usize] = false);
        let shows = self.is_stuck(&fewer, false)? && self.is_stuck(&fewer, true)?;
        if shows {
            *kept = fewer;
        }
        Ok(shows)
    }

    /// Does the call fit nowhere still: among those that are kept alone, or with the others
    /// indeterminate?
    fn is_stuck(&mut self, kept: &[bool], with_others: bool) -> Result<bool, Exhausted> {
        /// One attempt must not use up what all have.
        const SHARE: u32 = 8;
        self.meter.look()?;
        let (mut part, mut stuck) = (Vec::new(), 0);
        for (at, call) in (0..).zip(self.calls) {
            if at == self.stuck {
                stuck = part.len() as u32;
            }
            if kept[at as usize] {
                part.push(call.clone());
            } else if with_others && !self.spec.is_observer(&call.op) {
                part.push(Call { returned: None, ..call.clone() });
            }
        }
        if with_others {
            part.extend(self.others.iter().map(|call| Call { returned: None, ..call.clone() }));
            part.sort_by_key(|call| call.invoked);
        }
        let mut within = match self.meter.remaining() {
            Some(time) => self.meter.within(time / SHARE),
            None => self.meter.clone(),
        };
        match search(self.spec, &part, &mut within).answer {
            Answer::Stuck(call) => Ok(with_others || call == stuck),
            Answer::Linearizable(_) => Ok(false),
            Answer::Unknown { .. } => {
                self.gave_up = true;
                Ok(false)
            }
        }
    }
}
