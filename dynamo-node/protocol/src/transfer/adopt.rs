//! Hints for a node that is no home of their key any more. Nobody would ask for them as hints, and their
//! target has no use for them: the holder merges each into its own home record of the key, in one write. If
//! it is no home either, that is a stray, and goes to those that are.

use crate::id::{Key, NodeId};
use crate::io::Event;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::step::Step;
use crate::storage::{Change, Place, Role, Store, StoreError};

/// How many hints are looked at in one step.
const LOOKED_AT: usize = 256;

impl Node {
    /// As what something for `role` is taken in here: a hint for a node that is no home of its key is none.
    pub(crate) fn role_now(&self, role: Role, key: &Key) -> Role {
        match role {
            Role::Hint(target) if !self.view.homes(key).contains(&target) => Role::Home,
            Role::Hint(_) | Role::Home => role,
        }
    }

    /// Looks over the next hints for `target`.
    pub(crate) fn adopt_hints<S: Store>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        let Some(after) = self.handoff.looked_over(target) else { return };
        let keys = match step.store.hints(target, after.as_ref(), LOOKED_AT) {
            Ok(keys) => keys,
            Err(error) => return step.event(Event::StoreFailed(Role::Hint(target), error)),
        };
        self.handoff.looked_at(target, keys.last().cloned());
        let (all, mut again) = (keys.is_empty(), false);
        for key in keys {
            if !self.view.homes(&key).contains(&target)
                && let Err(error) = self.adopt(step, Place { role: Role::Hint(target), key })
            {
                step.event(Event::StoreFailed(Role::Hint(target), error));
                // One that is corrupt is told of and stays; what the disk refuses now is tried again.
                again |= error != StoreError::Corrupt;
            }
        }
        if again {
            self.handoff.look_over(target);
        }
        if all {
            self.end_handoff(step, target);
        }
    }

    fn adopt<S: Store>(&mut self, step: &mut Step<'_, S>, hint: Place) -> Result<(), StoreError> {
        let Some(record) = self.load(step, hint.role, &hint.key)? else { return Ok(()) };
        let place = Place::home(hint.key.clone());
        let mut changes = Vec::new();
        if !mutated(Mutant::HintNotAdopted) {
            // Its minter stays behind: that is the hint's own, and ends with it.
            let mut home = self.load_or_new(step, &place)?;
            self.note_loss(&place, &home);
            home.amnesiac |= record.amnesiac;
            home.set.merge(&record.set);
            home.check_rollback();
            changes.push(Change::Put(place, home));
        }
        changes.push(Change::Remove(hint));
        self.write(step, changes)?;
        step.event(Event::HintAdopted);
        self.expect_strays(step);
        Ok(())
    }
}
