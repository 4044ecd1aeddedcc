//! Messages that change nothing any more: what is forgotten of them, and what is answered at once.

use dynamo_protocol::OpId;

use crate::reductions::renaming::NOBODY;
use crate::world::spec::Setup;
use crate::world::step::Step;
use crate::world::tables::Sort;

impl Step<'_> {
    /// What they would bring is waited for by nobody.
    pub(crate) fn forget_fetches_of_nobody(&mut self) {
        if self.spec.reductions.inert {
            let open = self.open();
            let mut flight = std::mem::take(&mut self.world.flight);
            flight.retain(|message| {
                let wire = self.tables.wire(*message);
                let is_open = |op| self.name_of(open, op) != NOBODY;
                wire.sort != Sort::Fetch || wire.op.is_none_or(is_open)
            });
            self.world.flight = flight;
        }
    }

    /// A fetch for a get that has its reply, or whose forwarder waits for it no more; or that
    /// get, still on its way to a home.
    pub(crate) fn late_fetch(&self) -> Option<u32> {
        let late = |message: &&u32| {
            let wire = self.tables.wire(**message);
            (wire.sort == Sort::Fetch || wire.gets)
                && self.is_deliverable(**message)
                && !wire.op.is_some_and(|op| self.is_awaited(op))
        };
        self.world.flight.iter().find(late).copied()
    }

    /// Whether a client still waits for what comes of an operation.
    fn is_awaited(&self, op: OpId) -> bool {
        if op == NOBODY {
            return false;
        }
        let facts = self.tables.facts(self.host(Setup::owner(op)));
        match facts.awaited.iter().find(|(awaited, _)| *awaited == op) {
            None => false,
            Some((_, None)) => true,
            Some((_, Some(by))) => self.is_awaited(*by),
        }
    }

    /// Whether delivering `message` changes nothing, now or later. Answers go to operations, which
    /// never open again once they are closed; a fetch is as dead as the answer it would get; a store
    /// of what its receiver has goes on being that as long as no copy is destroyed.
    pub(crate) fn is_inert(&mut self, message: u32) -> bool {
        let wire = self.tables.wire(message);
        match wire.sort {
            Sort::Answer => self.is_dead_answer(message),
            Sort::Fetch => self.would_be_dead(message),
            Sort::Store => {
                self.spec.copies_lost() == 0
                    && self.spec.faults.power_cuts == 0
                    && self.would_be_dead(message)
            }
            Sort::Forward | Sort::Ping => false,
        }
    }

    fn is_dead_answer(&mut self, message: u32) -> bool {
        let to = self.tables.wire(message).to;
        !self.is_up(to) || self.is_no_news(to, message)
    }

    fn would_be_dead(&mut self, message: u32) -> bool {
        let wire = self.tables.wire(message);
        if !self.is_up(wire.to) {
            return false;
        }
        let host = self.host(wire.to);
        let effect = self.tables.effect_if_same(self.setup, host, message);
        effect.is_some_and(|effect| {
            effect.replies.is_empty()
                && effect.sends.iter().all(|answer| self.is_dead_answer(*answer))
        })
    }
}
