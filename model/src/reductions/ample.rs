//! Which steps need not be taken in this state, because another order of the same steps is.
//!
//! Each rule is a partial-order argument: a step that commutes with everything that can still happen
//! before it may be put off, or taken at once and alone (ample sets: Peled 1994; Clarke, Grumberg and
//! Peled, Model Checking, 1999, chapter 10). docs/model.md has the arguments, `tests/reductions.rs` the
//! comparisons.

use dynamo_protocol::Input;

use crate::world::host::HostInput;
use crate::world::spec::{Durability, Faults, Setup};
use crate::world::state::Action;
use crate::world::step::Step;
use crate::world::tables::Sort;

impl Step<'_> {
    /// No client has anything left to ask: each waits for its last step or is done.
    pub(crate) fn is_last_round(&self) -> bool {
        let clients = self.world.clients.iter().zip(self.spec.script.clients());
        clients.into_iter().all(|(client, steps)| {
            usize::from(client.step) + usize::from(client.waits_at > 0) >= steps.len()
        })
    }

    /// All clients are done.
    fn is_over(&self) -> bool {
        let clients = self.world.clients.iter().zip(self.spec.script.clients());
        clients.into_iter().all(|(client, steps)| usize::from(client.step) >= steps.len())
    }

    /// No fault is left that ends anything: processes may start and the network may heal.
    pub(crate) fn is_safe_from_now_on(&self) -> bool {
        let (spent, budget) = (self.world.spent, self.spec.faults);
        Faults { restarts: budget.restarts, ..spent } == budget
    }

    /// Whether nobody will be found out of reach who can be reached now, and all who cannot be were
    /// found to be: who can reach whom only grows, and a host that is waited for and was not
    /// found out of reach can be reached, since what was sent to it, or its answer, is under way.
    pub(crate) fn is_calm(&self) -> bool {
        self.spec.reductions.prompt && self.spec.reductions.notice && self.is_safe_from_now_on()
    }

    /// Whether nothing is left to be seen: all clients are done, and all that may still arrive is stores
    /// that nobody waits for. The state counts as one of rest; what becomes of it is judged by
    /// healing it and letting them arrive.
    pub(crate) fn has_ended(&self) -> bool {
        self.spec.reductions.ample
            && self.is_over()
            && self.leaves_unread()
            && self.world.flight.iter().all(|message| self.is_unread(*message))
            && !self.has_hints()
    }

    /// Leaves one action of `actions` if the others may be taken after it as well.
    ///
    /// Once no client asks any more and no fault ends anything, a store commutes with everything but
    /// a fetch of the same node: merges commute, what was acknowledged is asked by nobody, and no
    /// fetch is sent any more (an amnesiac's answer would send one, a forwarded get as well). And
    /// when all clients are done nobody sees the order of anything. But a store makes copies and a
    /// handoff may cost one: where there are hints, stores are taken in any order, so that a copy
    /// that is missed is seen to be.
    pub(crate) fn choose(&self, actions: &mut Vec<Action>) {
        if self.has_ended() {
            return actions.clear();
        }
        let may = self.spec.reductions.ample
            && self.spec.reductions.prompt
            && self.spec.durability == Durability::Step
            && self.spec.copies_lost() == 0
            && actions.len() > 1
            && self.is_last_round()
            && self.is_safe_from_now_on()
            && !self.has_hints();
        if !may {
            return;
        }
        if self.is_over() {
            actions.truncate(1);
            return;
        }
        let Some(asked) = self.asked() else { return };
        let is_silent = |action: &Action| match action {
            Action::Deliver(message) => {
                let wire = self.tables.wire(*message);
                wire.sort == Sort::Store && asked >> wire.to & 1 == 0
            }
            _ => false,
        };
        if let Some(alone) = actions.iter().copied().find(is_silent) {
            actions.clear();
            actions.push(alone);
        }
    }

    /// What makes the network whole, or starts a process, and might as well happen now: nobody
    /// asks any more, nobody is found out of reach any more, and all that can happen before it can
    /// happen after it.
    pub(crate) fn mend(&self) -> Option<Action> {
        let may = self.spec.reductions.ample
            && self.is_calm()
            && self.is_last_round()
            && self.spec.durability == Durability::Step
            && self.spec.copies_lost() == 0
            && !self.has_ended();
        if !may {
            return None;
        }
        if self.world.cut != 0 {
            return Some(Action::Heal);
        }
        let may_restart = self.world.spent.restarts < self.spec.faults.restarts;
        let down = (0..self.nodes()).find(|node| !self.is_up(*node));
        down.filter(|_| may_restart).map(Action::Restart)
    }

    /// Whether there is a hint, on a disk or under way.
    fn has_hints(&self) -> bool {
        let kept = |node: u8| {
            let facts = self.tables.facts(self.host(node));
            facts.records.iter().any(|record| record.target.is_some())
        };
        (0..self.nodes()).any(kept)
            || self.world.flight.iter().any(|message| self.tables.wire(*message).hint)
    }

    /// The nodes that a fetch is under way to; none if a request is: it may yet send fetches.
    fn asked(&self) -> Option<u8> {
        let mut asked = 0;
        for message in &self.world.flight {
            let wire = self.tables.wire(*message);
            match wire.sort {
                Sort::Fetch => asked |= 1 << wire.to,
                Sort::Forward => return None,
                Sort::Store | Sort::Ping | Sort::Answer => {}
            }
        }
        Some(asked)
    }

    /// Whether faults of this state may be put off until they are noticed: by what is under way and
    /// makes a difference to somebody. One that its sender alone would learn from, and that no answer
    /// is waited for, is not: who knows of a fault asks others at once, who does not asks them when
    /// it is found out, and what it sent before may as well be late for ever.
    fn may_put_off(&self) -> bool {
        self.spec.reductions.lazy
            && self.spec.reductions.renaming
            && self.spec.durability == Durability::Step
            && self.spec.copies_lost() == 0
            && self.spec.faults.power_cuts == 0
    }

    fn tells(&self, message: u32) -> bool {
        let wire = self.tables.wire(message);
        // Nor does a put notice that has homes enough without it (`leaves_unread`).
        let nobody_minds = wire.sort == Sort::Store && !wire.hint && self.leaves_unread();
        !(nobody_minds || self.spec.reductions.finished && self.is_unread(message))
    }

    /// Whether a crash of `node` can wait: nothing is under way to it, and it would come back as it
    /// is. It may crash, all the same, once something is.
    pub(crate) fn is_crash_unnoticed(&mut self, node: u8) -> bool {
        let tells = |message: &u32| self.tables.wire(*message).to == node && self.tells(*message);
        self.may_put_off() && !self.world.flight.iter().any(tells) && self.comes_back_as_it_is(node)
    }

    /// Whether a cut can wait until something is under way across it.
    pub(crate) fn is_cut_unnoticed(&self, side: u8) -> bool {
        let crosses = |message: &u32| {
            let wire = self.tables.wire(*message);
            (side >> wire.from & 1) != (side >> wire.to & 1) && self.tells(*message)
        };
        self.may_put_off() && !self.world.flight.iter().any(crosses)
    }

    /// Whether a forwarded request arrives within the step that sends it: where a fault may still come
    /// it must be able to come between.
    pub(crate) fn forwards_promptly(&self) -> bool {
        self.is_safe_from_now_on() || !self.may_put_off()
    }

    fn comes_back_as_it_is(&mut self, node: u8) -> bool {
        let (host, open) = (self.host(node), self.open());
        if let Some(known) = self.tables.steady.get(&(host, open)) {
            return *known;
        }
        let crash = self.tables.input(self.setup, HostInput::Crash);
        let start = self.tables.input(self.setup, HostInput::Start);
        let down = self.tables.effect(self.setup, host, crash).host;
        let mut back = self.tables.effect(self.setup, down, start).host;
        for pong in self.pongs_to(node) {
            back = self.tables.effect(self.setup, back, pong).host;
        }
        // What is finished is gone with the process, and nobody misses it.
        let back = self.tables.hosts.get(back).renamed(open, |op| op);
        let steady = back == self.tables.hosts.get(host).renamed(open, |op| op);
        self.tables.steady.insert((host, open), steady);
        steady
    }

    /// Whether `node` would hand the next request of `client` to another node, for good and at once,
    /// where the client may ask as well.
    pub(crate) fn would_pass_on(&mut self, client: u8, node: u8) -> bool {
        let may = self.spec.reductions.direct
            && self.spec.reductions.prompt
            && usize::from(node) >= self.setup.homes()
            && self.is_safe_from_now_on();
        if !may {
            return false;
        }
        let input = self.request(client);
        let input = self.tables.input(self.setup, HostInput::Handle(input));
        let effect = self.tables.effect(self.setup, self.host(node), input);
        effect.sends.len() == 1 && {
            let wire = self.tables.wire(effect.sends[0]);
            wire.sort == Sort::Forward && self.is_deliverable(effect.sends[0])
        }
    }

    /// What every peer would say to `node` if it were asked who it is.
    pub(crate) fn pongs_to(&mut self, node: u8) -> Vec<u32> {
        let peers = (0..self.nodes()).filter(|peer| *peer != node);
        let pong = |peer: u8| {
            let pong = dynamo_protocol::Envelope {
                from: self.setup.ids[usize::from(peer)],
                identity: Setup::identity(peer, 0),
                to: self.setup.ids[usize::from(node)],
                message: dynamo_protocol::Message::Pong { nonce: None },
                position: 0,
                epoch: dynamo_protocol::Epoch::GENESIS,
                heard: None,
                era: 0,
            };
            self.tables.input(self.setup, HostInput::Handle(Input::Peer(pong)))
        };
        peers.map(pong).collect()
    }
}
