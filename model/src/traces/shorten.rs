//! Paths without the steps they do not need.
//!
//! Reductions take some steps at once that might as well come later, or never: a process is started
//! again, a late store arrives. A path is to be read: what it can do without is left out.

use crate::world::model::DynamoModel;
use crate::world::spec::{Reductions, Spec};
use crate::world::state::{Action, World};
use crate::world::step::Step;
use crate::world::tables::Tables;

impl DynamoModel {
    /// The path to a state that shows property `property`, without every step that is not needed for it.
    pub(crate) fn shorten(&self, mut path: Vec<Action>, property: usize) -> Vec<Action> {
        let first = (1..path.len()).find(|end| self.shows(&path[..*end], property));
        path.truncate(first.unwrap_or(path.len()));
        // The last step is the one that shows it.
        for at in (0..path.len().saturating_sub(1)).rev() {
            let mut shorter = path.clone();
            shorter.remove(at);
            if self.shows(&shorter, property) {
                path = shorter;
            }
        }
        path
    }

    /// Whether `path` can be taken and its last step shows `property`.
    fn shows(&self, path: &[Action], property: usize) -> bool {
        let mut open = self.spec.clone();
        open.reductions = Reductions {
            lazy: false,
            ample: false,
            direct: false,
            unread: false,
            ..open.reductions
        };
        let tables = &mut *self.lock();
        let mut world = self.first(tables);
        for action in path {
            if !self.may(&open, tables, &mut world.clone(), *action) {
                return false;
            }
            self.take_one(tables, &mut world, *action);
        }
        crate::properties::found(self, tables, &world) >> property & 1 == 1
    }

    fn may(&self, spec: &Spec, tables: &mut Tables, world: &mut World, action: Action) -> bool {
        let mut actions = Vec::new();
        let setup = &self.setup;
        Step { spec, setup, tables, world, changed: 0, log: None, forwards: None }
            .enabled(&mut actions);
        actions.contains(&action)
    }
}
