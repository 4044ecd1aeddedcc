//! The model: a bounded configuration under stateright's trait.

use std::sync::{Arc, Mutex, MutexGuard};

use smallvec::SmallVec;
use stateright::Model;

use crate::reductions::symmetry;
use crate::world::history::History;
use crate::world::host::{Host, HostInput};
use crate::world::spec::{Faults, Setup, Spec, SpecError};
use crate::world::state::{Action, Client, World};
use crate::world::step::Step;
use crate::world::tables::Tables;

/// A bounded configuration, ready to be searched.
pub struct DynamoModel {
    pub(crate) spec: Spec,
    pub(crate) setup: Setup,
    pub(crate) tables: Arc<Mutex<Tables>>,
}

impl DynamoModel {
    /// The model of `spec`.
    ///
    /// # Errors
    /// If the core refuses the configuration.
    pub fn new(spec: Spec) -> Result<Self, SpecError> {
        Self::beside(spec, None)
    }

    /// The same, with what another model has computed of hosts that are alike in both: where two differ in
    /// what may go wrong alone, a host does the same on an input in either. What is found, and in what order,
    /// is not touched by that: all order is by hashes of what things are.
    ///
    /// # Errors
    /// If the core refuses the configuration.
    pub fn beside(mut spec: Spec, kin: Option<&Self>) -> Result<Self, SpecError> {
        if spec.faults.rollbacks > 0 || spec.settings.anti_entropy || !spec.shifts.is_empty() {
            spec.reductions = spec.reductions.for_messages_that_do_more();
            // A start in doubt asks under its incarnation, which renaming changes.
            spec.reductions.renaming &= spec.faults.rollbacks == 0;
        }
        let setup = spec.setup()?;
        let tables = match kin.filter(|kin| kin.spec.is_kin(&spec)) {
            Some(kin) => Arc::clone(&kin.tables),
            None => Arc::new(Mutex::new(Tables::new(symmetry::swaps(&spec, &setup)))),
        };
        Ok(Self { spec, setup, tables })
    }

    /// How many states of hosts it has met: each takes some 3 KiB with what it does on its inputs.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.lock().hosts.len()
    }

    /// The configuration.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("no thread panicked while it held the tables")
    }

    pub(crate) fn first(&self, tables: &mut Tables) -> World {
        self.first_of(&self.spec, tables)
    }

    /// The first state of `spec`, which is the model's own but for reductions.
    pub(crate) fn first_of(&self, spec: &Spec, tables: &mut Tables) -> World {
        let setup = &self.setup;
        let nodes = u8::try_from(spec.nodes).expect("there are few nodes");
        let hosts = (0..nodes).map(|me| {
            let down = tables.host(setup, Host::genesis(setup, me));
            let start = tables.input(setup, HostInput::Start);
            tables.effect(setup, down, start).host
        });
        let mut world = World {
            hosts: hosts.collect(),
            flight: SmallVec::new(),
            clients: SmallVec::from_elem(Client::default(), spec.script.clients().len()),
            cut: 0,
            spent: Faults::default(),
            touched: 0,
            history: History::new(spec.script.puts()),
        };
        if spec.reductions.warm {
            let mut step = Step {
                spec,
                setup,
                tables,
                world: &mut world,
                changed: u8::MAX,
                log: None,
                forwards: None,
            };
            for node in 0..nodes {
                step.greet(node);
            }
            step.rename();
        }
        world
    }

    pub(crate) fn enabled(&self, tables: &mut Tables, world: &World, actions: &mut Vec<Action>) {
        let mut world = world.clone();
        let mut step = Step {
            spec: &self.spec,
            setup: &self.setup,
            tables,
            world: &mut world,
            changed: 0,
            log: None,
            forwards: None,
        };
        step.enabled(actions);
    }

    pub(crate) fn apply(&self, tables: &mut Tables, world: &mut World, action: Action) {
        self.take(tables, world, action, &mut |_| ());
    }

    pub(crate) fn take_one(&self, tables: &mut Tables, world: &mut World, action: Action) {
        let mut step = self.step(tables, world);
        step.world.history.flags = 0;
        step.apply(action);
        step.tidy();
        step.rename();
        step.forget_fetches_of_nobody();
    }

    /// Takes `action` step by step; says to `taken` which steps those are.
    pub(crate) fn take(
        &self,
        tables: &mut Tables,
        world: &mut World,
        action: Action,
        taken: &mut dyn FnMut(Action),
    ) {
        let mut flags = 0;
        let mut one = |tables: &mut Tables, world: &mut World, action| {
            taken(action);
            self.take_one(tables, world, action);
            flags |= std::mem::take(&mut world.history.flags);
        };
        if let Action::After { late, then } = action {
            let node = then.node(tables);
            let unread = self.step(tables, world).unread(node);
            let chosen = |at: usize| late >> at & 1 == 1;
            for (at, message) in unread.into_iter().enumerate() {
                // Another one may have brought all that it brings.
                if chosen(at) && world.flight.contains(&message) {
                    one(tables, world, Action::Deliver(message));
                }
            }
            one(tables, world, then.action());
        } else {
            one(tables, world, action);
        }
        while let Some(mend) = self.step(tables, world).mend() {
            one(tables, world, mend);
        }
        world.history.flags = flags;
    }

    pub(crate) fn has_ended(&self, tables: &mut Tables, world: &World) -> bool {
        self.step(tables, &mut world.clone()).has_ended()
    }

    pub(crate) fn step<'s>(&'s self, tables: &'s mut Tables, world: &'s mut World) -> Step<'s> {
        Step {
            spec: &self.spec,
            setup: &self.setup,
            tables,
            world,
            changed: 0,
            log: None,
            forwards: None,
        }
    }
}

impl Model for DynamoModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.first(&mut self.lock())]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.enabled(&mut self.lock(), world, actions);
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        self.apply(&mut self.lock(), &mut world, action);
        Some(world)
    }

    fn format_action(&self, action: &Action) -> String {
        self.describe(&self.lock(), *action)
    }

    fn format_step(&self, last: &World, action: Action) -> Option<String> {
        let mut tables = self.lock();
        let mut world = last.clone();
        self.apply(&mut tables, &mut world, action);
        Some(self.show(&tables, &world))
    }
}
