//! The model for stateright's Explorer: states that show themselves.

use std::fmt;
use std::hash::{Hash, Hasher};

use stateright::{Expectation, Model, Property};

use crate::properties::{Kind, PROPERTIES};
use crate::world::model::DynamoModel;
use crate::world::state::{Action, World};

/// A [`DynamoModel`] whose states and actions can be read.
pub(crate) struct Readable {
    model: DynamoModel,
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
    /// A readable view of `model`.
    #[must_use]
    pub(crate) fn new(model: DynamoModel) -> Self {
        Self { model }
    }

    fn shown(&self, world: World) -> Shown {
        let text = self.model.show(&self.model.lock(), &world);
        Shown { world, text }
    }
}

impl Model for Readable {
    type State = Shown;
    type Action = Told;

    fn init_states(&self) -> Vec<Shown> {
        self.model.init_states().into_iter().map(|world| self.shown(world)).collect()
    }

    fn actions(&self, state: &Shown, actions: &mut Vec<Told>) {
        let mut bare = Vec::new();
        self.model.actions(&state.world, &mut bare);
        let tables = self.model.lock();
        actions.extend(bare.into_iter().map(|action| {
            let text = self.model.describe_in(&tables, &state.world, action);
            Told { action, text }
        }));
    }

    fn next_state(&self, last: &Shown, action: Told) -> Option<Shown> {
        self.model.next_state(&last.world, action.action).map(|world| self.shown(world))
    }

    /// What must hold is shown wherever it is broken, promised or not: that is what a search finds.
    fn properties(&self) -> Vec<Property<Self>> {
        let all = PROPERTIES.iter().zip(CONDITIONS);
        let wanted = all.filter(|(property, _)| {
            property.kind == Kind::Always || (property.promised)(self.model.spec())
        });
        let shown = wanted.map(|(property, condition)| Property {
            expectation: match property.kind {
                Kind::Always => Expectation::Always,
                Kind::Sometimes => Expectation::Sometimes,
            },
            name: property.name,
            condition,
        });
        shown.collect()
    }
}

type Condition = fn(&Readable, &Shown) -> bool;

/// For each property, whether a state has it. stateright takes no closure for a condition, so here are as
/// many functions as a search has bits for properties, and each looks its own up.
const CONDITIONS: [Condition; 64] = {
    macro_rules! conditions {
        ($($index:literal)*) => {
            [$(|readable, state| readable.model.has(&PROPERTIES[$index], &state.world)),*]
        };
    }
    conditions!(
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
        32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
    )
};

const _: () = assert!(PROPERTIES.len() <= CONDITIONS.len(), "found properties are bits of a u64");

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::spec::Spec;

    #[test]
    fn the_explorer_judges_each_property_under_its_own_name() {
        let model = DynamoModel::new(Spec::new("p".parse().unwrap())).unwrap();
        let readable = Readable::new(model);
        let mut state = readable.init_states().remove(0);
        let judged = readable.properties();
        for shown in PROPERTIES {
            state.world.history.flags = shown.flag();
            for property in &judged {
                let wanted = PROPERTIES.iter().find(|other| other.name == property.name).unwrap();
                let has = readable.model.has(wanted, &state.world);
                assert_eq!((property.condition)(&readable, &state), has, "{}", property.name);
            }
        }
        let always = PROPERTIES.iter().filter(|property| property.kind == Kind::Always).count();
        assert!(judged.len() >= always, "{} of {always}", judged.len());
    }
}
