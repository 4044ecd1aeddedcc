//! What an operator can do for a key whose context names too many actors to take another put.
//!
//! A client can make a context up, and what a set has been told of it keeps. To forget an actor of which
//! no live version is left loses nothing: a version is dropped for what a context covers, and this one
//! covers less. It may bring a version back as a sibling that was overwritten, if a copy of it lies
//! somewhere; never the other way round.
//!
//! Closure (see [`crate::version`]) holds: the actor a record mints from is kept, with all it has minted,
//! and so is that of every live version. A record elsewhere that mints from a forgotten actor still
//! knows all its events, and tells of all of them with the next.

use crate::id::Key;
use crate::io::Event;
use crate::node::Node;
use crate::step::Step;
use crate::storage::{Change, Minter, Place, Record, Role, Store};
use crate::version::Siblings;

impl Node {
    /// Forgets, in every record of `key` here, the actors that it does not need. Messages under way, other
    /// homes and hints elsewhere may bring them back: so it is done everywhere, and until nothing is left
    /// to forget.
    pub(crate) fn prune<S: Store>(&mut self, step: &mut Step<'_, S>, key: &Key) {
        let members = self.view.ever().into_iter().map(Role::Hint);
        let roles: Vec<_> = std::iter::once(Role::Home).chain(members).collect();
        let (mut changes, mut entries) = (Vec::new(), 0);
        for role in roles {
            match self.load(step, role, key) {
                Ok(Some(mut record)) => match record.prune() {
                    0 => {}
                    some => {
                        entries += some;
                        assert!(
                            record.minter.is_none_or(|minter| record.knows(minter)),
                            "a record still knows all that it minted"
                        );
                        changes.push(Change::Put(Place { role, key: key.clone() }, record));
                    }
                },
                Ok(None) => {}
                Err(error) => return step.event(Event::StoreFailed(role, error)),
            }
        }
        if !changes.is_empty()
            && let Err(error) = self.write(step, changes)
        {
            return step.event(Event::StoreFailed(Role::Home, error));
        }
        step.event(Event::Pruned(entries));
    }
}

impl Record {
    fn knows(&self, minter: Minter) -> bool {
        self.set.context().0.get(&minter.actor) >= minter.counter
    }

    /// Forgets the actors that it does not need; returns how many.
    pub(crate) fn prune(&mut self) -> usize {
        let minter = self.minter.map(|minter| minter.actor);
        match &mut self.set {
            Siblings::Dotted(set) => set.forget_idle(minter),
            // There every version has its own clock: what one forgets, another may then cover.
            Siblings::Plain(_) => 0,
        }
    }
}
