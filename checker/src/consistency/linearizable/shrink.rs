//! Makes a wrong history small: what can be taken out and leaves it wrong is taken out.
//!
//! Only what cannot make a correct history wrong is ever taken out ([`Tie`]), so what remains
//! shows a fault of the history and not one of the shrinking. It ends locally minimal: no single
//! thing (a value with all that wrote and read it) and no single observer can go any more.

use hashbrown::{HashMap, HashSet};

use super::calls::Call;
use crate::judge::budget::Exhausted;
use crate::spec::{Spec, Tie};

/// What remains of the calls, and whether nothing more can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// Positions of the calls that remain.
    pub kept: Vec<u32>,
    /// Out of budget leaves more than need be.
    pub minimal: bool,
}

/// Something to take out.
#[derive(Clone, Copy, Debug)]
enum Atom {
    Observer(u32),
    Thing(u32),
}

/// Shrinks `calls[..]`, which are wrong. `around` is the call that showed it: the search begins
/// near it. `is_wrong` judges a part of the calls.
pub fn shrink<S: Spec>(
    spec: &S,
    calls: &[Call<S::Op>],
    around: u32,
    is_wrong: impl FnMut(&[Call<S::Op>]) -> Result<bool, Exhausted>,
) -> Shrunk {
    let ops: Vec<&S::Op> = calls.iter().map(|call| &call.op).collect();
    let ties = spec.ties(&ops);
    let observer = calls.iter().map(|call| spec.is_observer(&call.op)).collect();
    let mut by_thing: HashMap<u32, Vec<u32>> = HashMap::new();
    for (at, tie) in (0..).zip(&ties) {
        for thing in tie.makes.iter().chain(&tie.uses) {
            by_thing.entry(*thing).or_default().push(at);
        }
    }
    let kept = vec![true; calls.len()];
    let mut shrinking = Shrinking { calls, ties, observer, by_thing, kept, is_wrong };
    let minimal = shrinking.near(around).and_then(|()| shrinking.reach_a_minimum()).is_ok();
    Shrunk { kept: shrinking.positions(), minimal }
}

struct Shrinking<'a, O, F> {
    calls: &'a [Call<O>],
    ties: Vec<Tie>,
    observer: Vec<bool>,
    by_thing: HashMap<u32, Vec<u32>>,
    kept: Vec<bool>,
    is_wrong: F,
}

impl<O: Clone, F: FnMut(&[Call<O>]) -> Result<bool, Exhausted>> Shrinking<'_, O, F> {
    fn positions(&self) -> Vec<u32> {
        (0..).zip(&self.kept).filter(|(_, kept)| **kept).map(|(at, _)| at).collect()
    }

    /// Keeps the smallest neighbourhood of a call that is still wrong: the things of the calls
    /// that stand next to it. Long histories fall to a few calls at once.
    fn near(&mut self, around: u32) -> Result<(), Exhausted> {
        let around = around as usize;
        let mut reach = 4;
        while reach < self.calls.len() {
            let near = around.saturating_sub(reach)..(around + 2).min(self.calls.len());
            let mut things: HashSet<u32> = HashSet::new();
            for at in near.clone() {
                things.extend(self.ties[at].makes.iter().chain(&self.ties[at].uses));
            }
            let far = |thing: &u32| !things.contains(thing);
            let mut atoms: Vec<Atom> =
                self.by_thing.keys().copied().filter(far).map(Atom::Thing).collect();
            let is_far = |at: &usize| self.observer[*at] && !near.contains(at);
            let observers = (0..self.calls.len()).filter(is_far);
            atoms.extend(observers.map(|at| Atom::Observer(at as u32)));
            if self.try_without(&atoms)? {
                return Ok(());
            }
            reach *= 4;
        }
        Ok(())
    }

    /// Takes out halves, then quarters, and so on down to single atoms, until none can go.
    fn reach_a_minimum(&mut self) -> Result<(), Exhausted> {
        loop {
            let mut any = false;
            let mut size = self.atoms().len().div_ceil(2);
            while size > 0 {
                for chunk in self.atoms().chunks(size) {
                    any |= self.try_without(chunk)?;
                }
                size = if size == 1 { 0 } else { size.div_ceil(2) };
            }
            if !any {
                return Ok(());
            }
        }
    }

    /// What can be taken out of what is kept.
    fn atoms(&self) -> Vec<Atom> {
        let mut things: Vec<u32> = Vec::new();
        let mut atoms = Vec::new();
        for at in self.positions() {
            things.extend(self.ties[at as usize].makes.iter().chain(&self.ties[at as usize].uses));
            if self.observer[at as usize] {
                atoms.push(Atom::Observer(at));
            }
        }
        things.sort_unstable();
        things.dedup();
        atoms.extend(things.into_iter().map(Atom::Thing));
        atoms
    }

    /// Takes these out if the rest is still wrong.
    fn try_without(&mut self, atoms: &[Atom]) -> Result<bool, Exhausted> {
        let Some(rest) = self.without(atoms) else { return Ok(false) };
        let positions = (0..self.calls.len()).filter(|at| rest[*at]);
        let calls: Vec<Call<O>> = positions.map(|at| self.calls[at].clone()).collect();
        let wrong = !calls.is_empty() && (self.is_wrong)(&calls)?;
        if wrong {
            self.kept = rest;
        }
        Ok(wrong)
    }

    /// What is kept without these and all that goes with them. `None` if that is the same, or a
    /// call that must stay would go.
    fn without(&self, atoms: &[Atom]) -> Option<Vec<bool>> {
        let mut rest = self.kept.clone();
        let mut gone: HashSet<u32> = HashSet::new();
        let mut going: Vec<u32> = Vec::new();
        for atom in atoms {
            match *atom {
                Atom::Observer(at) => rest[at as usize] = false,
                Atom::Thing(thing) => going.push(thing),
            }
        }
        while let Some(thing) = going.pop() {
            if !gone.insert(thing) {
                continue;
            }
            for &at in self.by_thing.get(&thing).into_iter().flatten() {
                let tie = &self.ties[at as usize];
                if tie.stays {
                    return None;
                }
                if std::mem::replace(&mut rest[at as usize], false) {
                    going.extend(&tie.makes);
                }
            }
        }
        (rest != self.kept).then_some(rest)
    }
}
