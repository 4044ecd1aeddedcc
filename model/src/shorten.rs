//! Paths without the steps they do not need.
//!
//! Reductions take some steps at once that might as well come later, or never: a process is started
//! again, a late store arrives. A path is for people: what it can do without is left out.

use crate::bench::{Bench, Step};
use crate::spec::{Reductions, Spec};
use crate::tables::Tables;
use crate::world::{Action, World};

impl Bench {
    /// The path to a state that shows claim `claim`, without every step that is not needed for it.
    pub(crate) fn shorten(&self, mut path: Vec<Action>, claim: usize) -> Vec<Action> {
        let first = (1..path.len()).find(|end| self.shows(&path[..*end], claim));
        path.truncate(first.unwrap_or(path.len()));
        // The last step is the one that shows it.
        for at in (0..path.len().saturating_sub(1)).rev() {
            let mut shorter = path.clone();
            shorter.remove(at);
            if self.shows(&shorter, claim) {
                path = shorter;
            }
        }
        path
    }

    /// Whether `path` can be taken and its last step shows `claim`.
    fn shows(&self, path: &[Action], claim: usize) -> bool {
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
        crate::properties::found(self, tables, &world) >> claim & 1 == 1
    }

    fn may(&self, spec: &Spec, tables: &mut Tables, world: &mut World, action: Action) -> bool {
        let mut actions = Vec::new();
        let setup = &self.setup;
        Step { spec, setup, tables, world, changed: 0, log: None }.enabled(&mut actions);
        actions.contains(&action)
    }
}
