//! The model for stateright's Explorer: states that show themselves.

use std::fmt;
use std::hash::{Hash, Hasher};

use stateright::{Expectation, Model, Property};

use crate::bench::Bench;
use crate::world::{Action, World};

/// A [`Bench`] whose states and actions can be read.
pub(crate) struct Readable {
    bench: Bench,
}

/// A state and what it looks like.
#[derive(Clone)]
pub(crate) struct Shown {
    world: World,
    text: String,
}

/// An action and what it does, said in the state it is taken in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Told {
    action: Action,
    text: String,
}

impl Readable {
    /// A readable view of `bench`.
    #[must_use]
    pub(crate) fn new(bench: Bench) -> Self {
        Self { bench }
    }

    fn shown(&self, world: World) -> Shown {
        let text = self.bench.show(&self.bench.lock(), &world);
        Shown { world, text }
    }
}

impl Model for Readable {
    type State = Shown;
    type Action = Told;

    fn init_states(&self) -> Vec<Shown> {
        self.bench.init_states().into_iter().map(|world| self.shown(world)).collect()
    }

    fn actions(&self, state: &Shown, actions: &mut Vec<Told>) {
        let mut bare = Vec::new();
        self.bench.actions(&state.world, &mut bare);
        let tables = self.bench.lock();
        actions.extend(bare.into_iter().map(|action| {
            let text = self.bench.describe_in(&tables, &state.world, action);
            Told { action, text }
        }));
    }

    fn next_state(&self, last: &Shown, action: Told) -> Option<Shown> {
        self.bench.next_state(&last.world, action.action).map(|world| self.shown(world))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! property {
            ($($index:literal)*) => {
                [$((
                    &crate::properties::CLAIMS[$index],
                    (|model, state| {
                        model.bench.has(&crate::properties::CLAIMS[$index], &state.world)
                    }) as fn(&Self, &Shown) -> bool,
                )),*]
            };
        }
        let all = property!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24);
        // What must hold is shown wherever it is broken, promised or not: that is what a search finds.
        let wanted = all.into_iter().filter(|(claim, _)| {
            claim.kind == crate::properties::Kind::Always || (claim.promised)(self.bench.spec())
        });
        wanted
            .map(|(claim, condition)| Property {
                expectation: match claim.kind {
                    crate::properties::Kind::Always => Expectation::Always,
                    crate::properties::Kind::Sometimes => Expectation::Sometimes,
                },
                name: claim.name,
                condition,
            })
            .collect()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Hash for Shown {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.world.hash(state);
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.world == other.world
    }
}
