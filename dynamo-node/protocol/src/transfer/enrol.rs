//! A node's part in the membership: it proposes, promises, votes and learns ([`Registrar`]), and goes on from
//! one epoch to the next.

use std::sync::Arc;

use crate::id::NodeId;
use crate::io::{Event, Timer};
use crate::membership::{
    Ballots, Call, Durable, Edit, Membership, Notice, Outcome, Registrar, Told,
};
use crate::message::Message;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::step::Step;
use crate::storage::{Change, Enrolment, Role, Store, StoreError};
use crate::transfer::Counted;
use crate::view::{Epoch, View};

/// What a verb of the registrar hands what is new to.
type Write<'a> = &'a mut dyn FnMut(&Durable) -> Result<(), StoreError>;

/// What makes the epochs that are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// A majority of the members.
    Votes,
    /// An operator of this one.
    ItsWord,
}

impl Node {
    /// An operator asks for a change of the membership.
    pub(crate) fn propose<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        edit: Edit,
        expect: Option<Epoch>,
    ) {
        // Who was told that all members count was told of this epoch. A change that comes first, perhaps one
        // that was asked for long ago, has newcomers of its own, which are to be filled before this one's.
        let expect = expect.or_else(|| self.counts_epochs().then(|| self.view.epoch()));
        let proposed = self.with_registrar(step, |registrar, mut write| {
            registrar.propose(edit, expect, &mut write)
        });
        match proposed {
            Ok(told) => {
                self.carry_out_told(step, told);
                self.watch_proposal(step);
            }
            Err(why) => step.event(Event::ChangeRefused { edit, why: why.to_string() }),
        }
    }

    /// An operator makes an epoch without a vote.
    pub(crate) fn force_epoch<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        edit: Edit,
        expect: Epoch,
    ) {
        let forced = self.with_registrar_by(step, By::ItsWord, |registrar, mut write| {
            registrar.force(edit, expect, &mut write)
        });
        match forced {
            Ok(told) => {
                step.event(Event::EpochForced(Epoch(expect.0 + 1)));
                self.carry_out_told(step, told);
            }
            Err(why) => step.event(Event::ChangeRefused { edit, why: why.to_string() }),
        }
    }

    /// The change that it has proposed and that is not decided yet.
    #[must_use]
    pub fn proposes(&self) -> Option<Edit> {
        self.registrar.proposes().map(|(edit, _)| edit)
    }

    /// What a peer says about the membership.
    pub(crate) fn called<S: Store>(&mut self, step: &mut Step<'_, S>, from: NodeId, call: Call) {
        let last = match &call {
            Call::Membership { epochs } => epochs.last().map(Membership::epoch),
            _ => None,
        };
        let told = self
            .with_registrar(step, |registrar, mut write| registrar.receive(from, call, &mut write));
        self.told(step, told);
        // Or who told would tell again. One that cannot learn says nothing.
        if last.is_some_and(|last| last <= self.view.epoch()) {
            self.say_epoch(step, from);
        }
    }

    /// What was proposed is not decided yet: a higher ballot is begun.
    pub(crate) fn proposal_due<S: Store>(&mut self, step: &mut Step<'_, S>) {
        let told = self.with_registrar(step, |registrar, mut write| registrar.again(&mut write));
        self.told(step, told);
        self.watch_proposal(step);
    }

    fn told<S: Store>(&mut self, step: &mut Step<'_, S>, told: Result<Told, StoreError>) {
        match told {
            Ok(told) => self.carry_out_told(step, told),
            // Nothing was promised, voted or learned: whoever asked asks again.
            Err(error) => step.event(Event::StoreFailed(Role::Home, error)),
        }
    }

    /// As long as something is proposed it is tried again. Members wait for different times, so that two
    /// proposers do not outbid each other for ever.
    fn watch_proposal<S>(&self, step: &mut Step<'_, S>) {
        if self.registrar.proposes().is_some() {
            let rank = self.view.everybody().position(|node| node == self.me).unwrap_or(0) as u32;
            let after = self.settings.timing.deadline + self.settings.timing.hedge * rank;
            step.set_timer(Timer::Proposal, after);
        }
    }

    /// Has the registrar do something, and the node go on to what it learned by that.
    fn with_registrar<S: Store, R>(
        &mut self,
        step: &mut Step<'_, S>,
        verb: impl FnOnce(&mut Registrar, Write<'_>) -> R,
    ) -> R {
        self.with_registrar_by(step, By::Votes, verb)
    }

    fn with_registrar_by<S: Store, R>(
        &mut self,
        step: &mut Step<'_, S>,
        by: By,
        verb: impl FnOnce(&mut Registrar, Write<'_>) -> R,
    ) -> R {
        let before = Arc::clone(&self.view);
        let mut registrar = self.registrar.clone();
        let directory = self.meta.directory(self.me);
        registrar.goes_on_as(self.meta.identity, directory, !self.is_proven());
        let result = verb(&mut registrar, &mut |durable| self.enrol(step, durable, by));
        self.registrar = registrar;
        if self.view.epoch() > before.epoch() {
            self.entered(step, &before);
        }
        result
    }

    /// Writes what the registrar wants to have on disk, and with it what it means to this directory.
    fn enrol<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        durable: &Durable,
        by: By,
    ) -> Result<(), StoreError> {
        let (mut view, mut counted) = (Arc::clone(&self.view), self.counted.clone());
        let mut meta = self.meta;
        meta.forced += u64::from(by == By::ItsWord && !durable.epochs.is_empty());
        for membership in &durable.epochs {
            let next = view.followed_by(&self.settings, membership);
            counted = counted.after(self.me, &view, &next);
            // From here on what it lacks is known, stretch by stretch.
            if meta.amnesiac && next.has_directory(self.me, meta.directory(self.me)) {
                (meta.amnesiac, counted) = (false, Counted::nowhere());
            }
            view = Arc::new(next);
        }
        let mut changes = vec![enrolment(&view, durable.ballots, &counted)];
        if meta != self.meta {
            changes.push(Change::Meta(meta));
        }
        self.write(step, changes)?;
        (self.view, self.counted) = (view, counted);
        Ok(())
    }

    /// The change that writes `counted` in place of what is on disk; none as long as there was no change of
    /// the membership, for then it follows from what kind of directory it is.
    pub(crate) fn counted_change(&self, counted: &Counted) -> Option<Change> {
        let change = || enrolment(&self.view, *self.registrar.ballots(), counted);
        (self.view.epoch() > Epoch::GENESIS).then(change)
    }

    /// What is to be done at once under a later epoch. In a sloppy cluster requests go on with the hosts they
    /// were begun with.
    fn entered<S: Store>(&mut self, step: &mut Step<'_, S>, before: &View) {
        assert!(self.view.epoch() > before.epoch(), "epoch_never_falls");
        step.event(Event::Entered(self.view.epoch()));
        self.forget_who_was_asked();
        if !mutated(Mutant::OfferOutlivesEpoch) {
            self.strays_given_up();
        }
        let view = Arc::clone(&self.view);
        let departed = before.everybody().filter(|peer| !view.contains(*peer));
        let me = self.me;
        for peer in departed.filter(|peer| *peer != me) {
            self.part_with(step, peer);
        }
        // Removed, or replaced by another directory of this node.
        let is_gone = |view: &View| {
            let directory = self.meta.directory(self.me);
            view.history().latest().gone().contains(&directory)
        };
        if is_gone(&view) && !is_gone(before) {
            step.event(Event::Removed);
        }
        for peer in view.everybody().filter(|peer| *peer != me && !before.contains(*peer)) {
            self.meet(step, peer);
        }
        self.fill_anew(step);
        self.count_anew(step);
        self.answer_ahead(step);
        self.look_for_hints(step);
        self.expect_strays(step);
        // Other keys have this node for their first home.
        self.settling.walk();
        self.begin_anti_entropy(step);
        self.begin_gossip(step);
    }

    fn carry_out_told<S: Store>(&mut self, step: &mut Step<'_, S>, Told { calls, notices }: Told) {
        for (to, call) in calls {
            if to != self.me {
                self.send(step, to, Message::Register(call));
            }
        }
        for notice in notices {
            match notice {
                // What that means was done when it was written.
                Notice::Learned(_) => {}
                Notice::Outbid => self.watch_proposal(step),
                Notice::Ended { edit, outcome } => step.event(match outcome {
                    Outcome::Decided(epoch) => Event::ChangeDecided { edit, epoch },
                    Outcome::Overtaken { epoch, by } => {
                        let why = format!("epoch {epoch} was decided first: {by}");
                        Event::ChangeRefused { edit, why }
                    }
                    Outcome::Refused(why) => Event::ChangeRefused { edit, why: why.to_string() },
                }),
                Notice::Broken { from, why } => {
                    step.event(Event::AnotherCluster { from, why: why.to_string() });
                }
            }
        }
    }
}

/// What a directory keeps of the membership from now on.
fn enrolment(view: &View, ballots: Ballots, counted: &Counted) -> Change {
    let has_changed = view.epoch() > Epoch::GENESIS;
    Change::Enrolment(Enrolment {
        epochs: view.history().epochs().to_vec(),
        ballots: Some(ballots),
        counted: has_changed.then(|| counted.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Directory;
    use crate::{
        Envelope, Identity, Input, Member, MemoryStore, Meta, Outbox, Output, Quorum, Settings,
        Start, Time,
    };

    /// What is on the disk of a member of three that was asked for a change, and has no answer yet.
    fn asked(meta: Meta) -> Enrolment {
        let settings = Arc::new(Settings::new([2, 1, 1]));
        let members = (1..=3).map(|id| Member::new(NodeId(id), 8)).collect();
        let view = Arc::new(View::genesis(&settings, members).unwrap());
        let mut store = MemoryStore::new(meta);
        let mut node = Node::new(NodeId(1), settings, view, Start::proven(meta, 1));
        let edit = Edit::Leave { node: NodeId(3) };
        for input in [Input::Started, Input::Propose { edit, expect: None }] {
            node.handle(Time(0), input, &mut store, &mut Outbox::default());
        }
        store.enrolment
    }

    #[test]
    fn a_node_that_was_removed_and_hears_of_its_return_asks_the_others_and_not_itself() {
        let (me, peer) = (NodeId(1), NodeId(2));
        let settings = Arc::new(Settings::new([2, 1, 1]));
        let members = (1..=4).map(|id| Member::new(NodeId(id), 8)).collect();
        let view = Arc::new(View::genesis(&settings, members).unwrap());
        let directory = Directory::Founder(me);
        let mut epochs = vec![view.history().latest().clone()];
        for edit in [
            Edit::Leave { node: me },
            Edit::Gone { node: me, directory, forced: false },
            Edit::Join {
                node: me,
                directory: Directory::Drawn(Identity(9)),
                tokens: 8,
                zone: None,
            },
        ] {
            epochs.push(epochs[epochs.len() - 1].edited(&edit, settings.n).unwrap());
        }
        let meta = Meta::genesis(Identity(1));
        let start = Start { spare: Some(Identity(7)), ..Start::proven(meta, 1) };
        let mut store = MemoryStore::new(meta);
        let mut node = Node::new(me, settings, view, start);
        let mut told = |epochs: &[Membership]| {
            let epoch = epochs[epochs.len() - 1].epoch();
            let message = Message::Register(Call::Membership { epochs: epochs.to_vec() });
            let (from, identity) = (peer, Identity(2));
            let envelope = Envelope {
                from,
                identity,
                position: 0,
                epoch,
                to: me,
                era: 0,
                heard: None,
                message,
            };
            node.handle(Time(0), Input::Peer(envelope), &mut store, &mut Outbox::default());
            node.view().epoch()
        };
        assert_eq!(told(&epochs[1..3]), Epoch(3));
        assert_eq!(told(&epochs[3..]), Epoch(4));
    }

    #[test]
    fn a_strict_clusters_change_does_not_follow_upon_one_that_came_first() {
        for (quorum, is_given_up) in [(Quorum::Strict, true), (Quorum::Sloppy, false)] {
            let (me, peer) = (NodeId(1), NodeId(2));
            let settings = Arc::new(Settings { quorum, ..Settings::new([3, 2, 2]) });
            let members = (1..=4).map(|id| Member::new(NodeId(id), 8)).collect();
            let view = Arc::new(View::genesis(&settings, members).unwrap());
            let first = Edit::Weigh { node: peer, tokens: 4 };
            let first = view.history().latest().edited(&first, settings.n).unwrap();
            let meta = Meta::genesis(Identity(1));
            let mut store = MemoryStore::new(meta);
            let mut node = Node::new(me, settings, view, Start::proven(meta, 1));
            let (identity, epoch) = (Identity(2), first.epoch());
            let message = Message::Register(Call::Membership { epochs: vec![first] });
            let told = Envelope {
                from: peer,
                identity,
                position: 0,
                epoch,
                to: me,
                era: 0,
                heard: None,
                message,
            };
            let edit = Edit::Weigh { node: me, tokens: 4 };
            let mut outbox = Outbox::default();
            for input in [Input::Propose { edit, expect: None }, Input::Peer(told)] {
                node.handle(Time(0), input, &mut store, &mut outbox);
            }
            let is_refused =
                |output: &Output| matches!(output, Output::Event(Event::ChangeRefused { .. }));
            assert_eq!(outbox.outputs.iter().any(is_refused), is_given_up, "{quorum}");
            assert_eq!(node.proposes().is_none(), is_given_up, "{quorum}");
        }
    }

    #[test]
    fn as_long_as_nothing_has_changed_where_it_counts_is_not_written_down() {
        for meta in [Meta::genesis(Identity(1)), Meta::renewed(Identity(1))] {
            let Enrolment { ballots, counted, .. } = asked(meta);
            assert!(ballots.is_some_and(|ballots| ballots.promised.is_some()));
            assert_eq!(counted, None, "an amnesiac may be refilled before the first change");
        }
    }
}
