//! Proof of continuity: a directory that was rolled back (a restored backup, a cloned directory, a disk
//! that lies) cannot tell by itself, and would mint dots that are out in the world. Its peers can tell.
//!
//! Every message says how far its sender's directory has come: its *position*, which is durable together
//! with what it counts. Every node remembers, of each other, the identity and the highest position it
//! heard; before it acknowledges a [`Message::Store`] that memory is on its own disk. A node that starts
//! on a directory that was there before is *in doubt*: it asks every other member what that one remembers.
//!
//! Until all of them have answered:
//! - Puts wait for answers as long as a member that owes one is believed alive, [`Timing::hedge`] at most,
//!   then mint under fresh births of the *spare* identity, which is this start's alone: always safe, but an
//!   actor more in the context of each record that is written.
//! - For strict gets the home does not vote on a key until at most W-2 of its other homes owe an answer: an
//!   acknowledged put that the directory lost is then held by one that answered.
//! - For sloppy gets the node votes: a sloppy get may be stale anyway, and is always served.
//!
//! In doubt a node tells the position at which the doubt began, and no more: what it writes meanwhile must
//! not hide what it lost. That position is on disk with the first of it ([`Meta::doubted`]), or else a
//! second start in the same doubt would count as proven what the first one wrote. Who remembers a higher
//! position of the identity, or another identity after it, tells at any time, and the directory goes on
//! under the spare identity, amnesiac, as if it had been wiped: a rolled-back directory is a lost disk. So
//! nobody has to wait for a member that is gone for good but strict gets with W = 2, and they only until
//! an empty directory takes its place: it remembers nothing, and says so.
//!
//! What this rests on: at most W-1 disks are lost, rolled-back ones among them, and W and R are 2 at
//! least, so that what anybody acknowledged or read was in another member's hands; and what the dead process
//! said arrives before anything of the next one, or never (see the crate's contract). A position
//! that was heard with a read or an acknowledgement alone is not synced for its own sake: it is lost if
//! its hearer crashes before its next write. What is acknowledged in doubt nobody remembers: no old actor
//! minted it, but a directory that is put back to a state within such a time passes for whole.
//!
//! [`Message::Store`]: crate::Message::Store
//! [`Timing::hedge`]: crate::Timing

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{Identity, Key, NodeId};
use crate::io::{Event, Output, Timer};
use crate::membership::Ballots;
use crate::mode::Quorum;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::step::Step;
use crate::storage::{Change, Meta, Role, Store, StoreError};
use crate::transfer::Counted;

/// How many identities of one peer are remembered beside its latest.
const EARLIER: usize = 8;

/// What a node starts on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The directory.
    pub meta: Meta,
    /// What it remembers of other members: the latest [`Change::Heard`] of each.
    pub heard: BTreeMap<NodeId, Remembered>,
    /// Differs from that of every other start of any node.
    pub incarnation: u64,
    /// The identity under which the directory goes on if it turns out that it was rolled back: drawn
    /// for this start. None if it cannot have been: this start made it, or the host rolls nothing back.
    pub spare: Option<Identity>,
    /// What the directory promised and voted about the next epoch.
    pub ballots: Option<Ballots>,
    /// Where the directory counts as a home ([`Enrolment::counted`](crate::Enrolment)).
    pub counted: Option<Counted>,
}

/// How far a directory had come when it was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Heard {
    /// Whose.
    pub identity: Identity,
    /// The highest [`Store::position`] it named.
    pub position: u64,
}

/// What a node remembers of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Remembered {
    /// Of the identity that was new last.
    pub latest: Heard,
    /// Identities that were there before it, oldest first. One that speaks again is not made the latest
    /// by it: it is an old message, or a directory that was replaced and has come back.
    pub earlier: Vec<Identity>,
}

/// What is remembered of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Memory(BTreeMap<NodeId, Entry>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    remembered: Remembered,
    /// It is on disk.
    saved: bool,
}

/// Whether the directory is known to be all that it ever was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Continuity {
    spare: Option<Identity>,
    /// Members that have not told what they remember.
    owed: BTreeSet<NodeId>,
    /// Somebody remembers more, and the disk refused to be told. Who told is owed an ear: it is asked until
    /// the disk takes it in.
    refuted: bool,
}

impl Remembered {
    fn new(heard: Heard) -> Self {
        Self { latest: heard, earlier: Vec::new() }
    }

    /// Says whether anything of it was new.
    fn note(&mut self, heard: Heard) -> bool {
        if heard.identity == self.latest.identity {
            let is_news = heard.position > self.latest.position;
            self.latest.position = self.latest.position.max(heard.position);
            return is_news;
        }
        if self.earlier.contains(&heard.identity) {
            return false;
        }
        if self.earlier.len() == EARLIER {
            self.earlier.remove(0);
        }
        self.earlier.push(self.latest.identity);
        self.latest = heard;
        true
    }
}

impl Memory {
    fn new(heard: BTreeMap<NodeId, Remembered>) -> Self {
        let entry = |remembered| Entry { remembered, saved: true };
        Self(heard.into_iter().map(|(peer, heard)| (peer, entry(heard))).collect())
    }

    /// Of a directory without a position there is nothing to remember: its host rolls nothing back.
    fn note(&mut self, peer: NodeId, heard: Heard) {
        if heard.position == 0 {
            return;
        }
        match self.0.get_mut(&peer) {
            Some(entry) => entry.saved &= !entry.remembered.note(heard),
            None => {
                let entry = Entry { remembered: Remembered::new(heard), saved: false };
                self.0.insert(peer, entry);
            }
        }
    }

    pub(crate) fn of(&self, peer: NodeId) -> Option<Heard> {
        self.0.get(&peer).map(|entry| entry.remembered.latest)
    }

    /// What of it has to be written yet: of `peer`, or of everybody.
    fn unsaved(&self, peer: Option<NodeId>) -> impl Iterator<Item = Change> + '_ {
        let is_meant = move |at: &NodeId| peer.is_none_or(|peer| peer == *at);
        let unsaved = self.0.iter().filter(move |(at, entry)| !entry.saved && is_meant(at));
        let unsaved = unsaved.filter(|_| !mutated(Mutant::MemoryVolatile));
        unsaved.map(|(peer, entry)| Change::Heard(*peer, entry.remembered.clone()))
    }

    fn saved(&mut self, peer: Option<NodeId>) {
        let is_meant = |at: &NodeId| peer.is_none_or(|peer| peer == *at);
        let meant = self.0.iter_mut().filter(|(at, _)| is_meant(at));
        meant.for_each(|(_, entry)| entry.saved = true);
    }
}

impl Continuity {
    fn new(spare: Option<Identity>, others: impl Iterator<Item = NodeId>) -> Self {
        let owed = if spare.is_some() { others.collect() } else { BTreeSet::new() };
        Self { spare, owed, refuted: false }
    }

    pub(crate) fn is_proven(&self) -> bool {
        assert!(!self.refuted || !self.owed.is_empty(), "who knows better is asked again");
        self.owed.is_empty()
    }

    /// The identity of fresh births.
    pub(crate) fn identity(&self, meta: &Meta) -> Identity {
        match self.spare {
            Some(spare) if !self.is_proven() && !mutated(Mutant::DoubtMints) => spare,
            _ => meta.identity,
        }
    }

    /// Whether a record's actor may go on counting: born under the present identity, or since this start.
    pub(crate) fn may_mint(&self, meta: &Meta, actor: Identity) -> bool {
        actor == self.identity(meta) || self.is_spare(actor)
    }

    pub(crate) fn is_spare(&self, identity: Identity) -> bool {
        self.spare == Some(identity)
    }

    pub(crate) fn is_owed(&self, peer: NodeId) -> bool {
        self.owed.contains(&peer)
    }
}

impl Start {
    /// Of a directory that was made just now, or of a host that rolls nothing back.
    #[must_use]
    pub fn proven(meta: Meta, incarnation: u64) -> Self {
        Self {
            meta,
            heard: BTreeMap::new(),
            incarnation,
            spare: None,
            ballots: None,
            counted: None,
        }
    }

    pub(crate) fn memory(&mut self) -> Memory {
        Memory::new(std::mem::take(&mut self.heard))
    }

    pub(crate) fn continuity(&self, others: impl Iterator<Item = NodeId>) -> Continuity {
        Continuity::new(self.spare, others)
    }
}

impl Node {
    /// Whether the directory is known to be all that it ever was.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.continuity.is_proven()
    }

    /// How far the directory has come for sure: in doubt as far as it was when that began, or else what is
    /// written meanwhile would hide what is missing.
    pub(crate) fn position<S: Store>(&self, step: &Step<'_, S>) -> u64 {
        let position = step.store.position();
        let told = self.meta.doubted.unwrap_or(position);
        assert!(told <= position || position == 0, "a node tells no more than its directory holds");
        told
    }

    /// Asks every member that owes an answer, once at the start and then again and again.
    pub(crate) fn ask_for_proof<S: Store>(&mut self, step: &mut Step<'_, S>) {
        if self.is_proven() {
            self.end_doubt(step);
        }
        for peer in self.continuity.owed.clone() {
            self.ping(step, peer);
        }
    }

    /// Applies `changes` and, with them, what is remembered of `from`, or of everybody.
    pub(crate) fn apply<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: Option<NodeId>,
        mut changes: Vec<Change>,
    ) -> Result<(), StoreError> {
        changes.extend(self.memory.unsaved(from));
        if changes.is_empty() {
            return Ok(());
        }
        self.write(step, changes)?;
        self.memory.saved(from);
        Ok(())
    }

    /// Applies `changes` and, with the first of a doubt and after its end, when that began. All that a node
    /// changes in its store goes through here.
    pub(crate) fn write<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        mut changes: Vec<Change>,
    ) -> Result<(), StoreError> {
        let doubted = Some(self.position(step)).filter(|at| *at > 0 && !self.is_proven());
        let mut meta = Meta { doubted, ..self.meta };
        let given = changes.iter_mut().find_map(|change| match change {
            Change::Meta(given) => Some(given),
            Change::Put(..) | Change::Remove(_) | Change::Heard(..) | Change::Enrolment(_) => None,
        });
        match given {
            Some(given) => {
                // Of another identity nobody remembers anything yet.
                given.doubted = doubted.filter(|_| given.identity == self.meta.identity);
                meta = *given;
            }
            None if meta != self.meta => changes.push(Change::Meta(meta)),
            None => {}
        }
        if !changes.is_empty() {
            step.store.apply(changes)?;
        }
        self.meta = meta;
        Ok(())
    }

    /// From now on positions count as they are. Until that is on disk the node goes on telling where the
    /// doubt began, which is never too much.
    fn end_doubt<S: Store>(&mut self, step: &mut Step<'_, S>) {
        if let Err(error) = self.write(step, Vec::new()) {
            step.event(Event::StoreFailed(Role::Home, error));
        }
    }

    /// Takes note of how far a peer's directory has come, and of what the peer remembers of this one.
    pub(crate) fn note_positions<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        theirs: Heard,
        mine: Option<Heard>,
    ) {
        self.memory.note(from, theirs);
        if let Some(mine) = mine
            && mine.identity == self.meta.identity
            && mine.position > self.position(step)
        {
            self.roll_back(step, from, mine);
        }
    }

    /// `from` has told what it remembers, having heard of this very process.
    pub(crate) fn recalled<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        nonce: Option<u64>,
        heard: Option<Heard>,
    ) {
        if nonce != Some(self.incarnation()) || !self.continuity.is_owed(from) {
            return;
        }
        match heard {
            // It knows this identity, or else it would have become the latest with the question.
            Some(heard) if heard.identity != self.meta.identity => {
                self.roll_back(step, from, heard);
            }
            // Nothing is proven by whom, once somebody knows better.
            _ if self.continuity.refuted => {}
            _ => self.answered(step, from),
        }
    }

    /// `peer` is a member from now on. If this directory was rolled back to before that, it may remember
    /// more.
    pub(crate) fn meet<S: Store>(&mut self, step: &mut Step<'_, S>, peer: NodeId) {
        if self.continuity.spare.is_some() && self.continuity.owed.insert(peer) {
            self.ping(step, peer);
        }
    }

    /// `peer` is no member any more: nobody waits for what it remembers.
    pub(crate) fn owes_nothing<S: Store>(&mut self, step: &mut Step<'_, S>, peer: NodeId) {
        if !self.continuity.owed.remove(&peer) {
            return;
        }
        if self.continuity.owed.is_empty() {
            // Whoever knew better is gone, and with it what it knew.
            self.continuity.refuted = false;
            self.end_doubt(step);
            step.event(Event::Proven);
            self.release_held(step);
        }
    }

    fn answered<S: Store>(&mut self, step: &mut Step<'_, S>, from: NodeId) {
        step.output(Output::CancelTimer(Timer::Ping(from)));
        let was_owed = self.continuity.owed.remove(&from);
        assert!(was_owed && !self.continuity.refuted, "an answer that is owed proves something");
        if mutated(Mutant::ProofOfOne) {
            self.continuity.owed.clear();
        }
        if self.continuity.is_proven() {
            self.end_doubt(step);
            step.event(Event::Proven);
            self.release_held(step);
        }
    }

    /// Somebody remembers more of this directory than it holds.
    fn roll_back<S: Store>(&mut self, step: &mut Step<'_, S>, told_by: NodeId, remembered: Heard) {
        let Some(spare) = self.continuity.spare.filter(|_| !mutated(Mutant::RollbackIgnored))
        else {
            // A host that says it rolls nothing back is believed.
            return;
        };
        let position = self.position(step);
        self.forget_who_was_asked();
        let Meta { births, era, .. } = self.meta;
        let meta = Meta { births, era, ..Meta::renewed(spare) };
        let mut changes = vec![Change::Meta(meta)];
        changes.extend(self.counts_nowhere());
        if let Err(error) = self.apply(step, None, changes) {
            self.refuted_by(step, told_by);
            return step.event(Event::StoreFailed(Role::Home, error));
        }
        for peer in std::mem::take(&mut self.continuity.owed) {
            if self.detector.is_alive(peer) {
                step.output(Output::CancelTimer(Timer::Ping(peer)));
            }
        }
        self.continuity.refuted = false;
        assert!(self.is_proven() && self.meta.amnesiac, "a lost disk is not in doubt");
        step.event(Event::RolledBack { told_by, remembered, position });
        self.release_held(step);
    }

    /// The disk refused to be told what `told_by` knows: it is asked until the disk takes it in.
    fn refuted_by<S>(&mut self, step: &mut Step<'_, S>, told_by: NodeId) {
        self.continuity.refuted = true;
        let is_asked = !self.continuity.owed.insert(told_by) || !self.detector.is_alive(told_by);
        if !is_asked && !mutated(Mutant::RefusalForgotten) {
            step.set_timer(Timer::Ping(told_by), self.settings.timing.ping);
        }
    }

    /// Whether this node's answer for `key` proves what it lacks.
    pub(crate) fn votes(&self, key: &Key) -> bool {
        if self.meta.amnesiac && !mutated(Mutant::AmnesiacVotes) || self.continuity.refuted {
            return false;
        }
        if self.continuity.is_proven() || self.settings.quorum == Quorum::Sloppy {
            return true;
        }
        let homes = self.view.homes(key);
        let owed = homes.iter().filter(|home| self.continuity.is_owed(**home)).count();
        // With W = 1 a lost disk may be the only one, and nothing is promised.
        self.settings.w == 1 || owed + 2 <= self.settings.w
    }

    /// Whether those who can end the doubt may be about to.
    pub(crate) fn awaits_proof(&self) -> bool {
        !self.settings.versioning.is_plain()
            && self.continuity.owed.iter().any(|peer| self.detector.is_alive(*peer))
    }

    /// Those that have not answered for as long as a put has waited are suspected.
    pub(crate) fn give_up_on_proof<S: Store>(&mut self, step: &mut Step<'_, S>) {
        for peer in self.continuity.owed.clone() {
            self.suspect(step, peer);
        }
        self.release_held(step);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::io::Input;
    use crate::message::{Envelope, Message};
    use crate::step::{Outbox, Time};
    use crate::testing::Full;
    use crate::{Epoch, Member, MemoryStore, Settings, View};

    const ME: NodeId = NodeId(1);
    const PEER: NodeId = NodeId(2);
    const SPARE: Identity = Identity(100);
    const INCARNATION: u64 = 7;

    /// A node that has started on a directory that was there before, in doubt.
    struct Doubtful {
        node: Node,
        disk: Full,
        outputs: Vec<Output>,
    }

    impl Doubtful {
        fn new(meta: Meta) -> Self {
            let members = vec![Member::new(ME, 8), Member::new(PEER, 8)];
            let settings = Arc::new(Settings::new([2, 1, 1]));
            let view = Arc::new(View::genesis(&settings, members).unwrap());
            let heard = BTreeMap::new();
            let start = Start { heard, spare: Some(SPARE), ..Start::proven(meta, INCARNATION) };
            let disk = Full { store: MemoryStore::counting(meta), refuses: false };
            let node = Node::new(ME, settings, view, start);
            let mut doubtful = Self { node, disk, outputs: Vec::new() };
            doubtful.handle(Input::Started);
            doubtful
        }

        fn handle(&mut self, input: Input) {
            let mut outbox = Outbox::default();
            self.node.handle(Time(0), input, &mut self.disk, &mut outbox);
            self.outputs = outbox.outputs;
        }

        fn hears(&mut self, message: Message, heard: Option<Heard>) {
            let (from, identity, position) = (PEER, Identity(2), 1);
            let epoch = Epoch::GENESIS;
            let envelope =
                Envelope { from, identity, position, epoch, to: ME, era: 0, heard, message };
            self.handle(Input::Peer(envelope));
        }

        fn hears_pong(&mut self, heard: Option<Heard>) {
            self.hears(Message::Pong { nonce: Some(INCARNATION) }, heard);
        }

        /// The position it tells now.
        fn tells(&mut self) -> u64 {
            self.hears(Message::Ping { nonce: None }, None);
            let told = self.outputs.iter().find_map(|output| match output {
                Output::Send(envelope) => Some(envelope.position),
                _ => None,
            });
            told.unwrap()
        }

        fn pings(&self) -> bool {
            self.outputs.iter().any(|output| matches!(output, Output::SetTimer(Timer::Ping(_), _)))
        }
    }

    #[test]
    fn a_disk_that_refuses_to_be_told_is_told_again() {
        let mut doubtful = Doubtful::new(Meta::genesis(Identity(1)));
        let more = Some(heard(1, 9));
        doubtful.hears_pong(None);
        assert!(doubtful.node.is_proven());
        // All have answered, and then one turns out to know better.
        doubtful.disk.refuses = true;
        doubtful.hears(Message::Ping { nonce: None }, more);
        assert!(!doubtful.node.is_proven() && doubtful.pings());
        for _ in 0..2 {
            doubtful.handle(Input::Timer(Timer::Ping(PEER)));
            assert!(doubtful.pings(), "it is asked until the disk takes it in");
            doubtful.hears_pong(more);
            assert!(!doubtful.node.is_proven());
        }
        doubtful.disk.refuses = false;
        doubtful.handle(Input::Timer(Timer::Ping(PEER)));
        doubtful.hears_pong(more);
        assert!(doubtful.node.is_proven());
        assert_eq!((doubtful.node.meta().identity, doubtful.node.meta().amnesiac), (SPARE, true));
        assert_eq!(doubtful.disk.store.meta, *doubtful.node.meta());
    }

    #[test]
    fn what_is_written_in_doubt_counts_once_its_end_is_on_disk() {
        let mut doubtful = Doubtful::new(Meta::genesis(Identity(1)));
        assert_eq!(doubtful.tells(), 1);
        doubtful.handle(Input::Prune(Key::from("k")));
        let set = crate::Siblings::Dotted(crate::DottedSet::default());
        let op = crate::OpId { incarnation: 9, seq: 0 };
        let store = Message::Store { op, role: Role::Home, key: Key::from("k"), set, lasts: false };
        doubtful.hears(store, None);
        assert_eq!(doubtful.disk.position(), 2);
        assert_eq!((doubtful.tells(), doubtful.disk.store.meta.doubted), (1, Some(1)));
        doubtful.disk.refuses = true;
        doubtful.hears_pong(None);
        assert!(doubtful.node.is_proven());
        assert_eq!(doubtful.tells(), 1, "the next start would fall short of more");
        doubtful.disk.refuses = false;
        doubtful.hears(Message::Ping { nonce: None }, None);
        let mut again = Doubtful::new(Meta { doubted: Some(1), ..Meta::genesis(Identity(1)) });
        again.disk.store.position = 5;
        assert_eq!(again.tells(), 1);
        again.hears_pong(Some(heard(1, 1)));
        assert!(again.node.is_proven());
        assert_eq!((again.tells(), again.disk.store.meta.doubted), (6, None));
    }

    fn heard(identity: u64, position: u64) -> Heard {
        Heard { identity: Identity(identity), position }
    }

    #[test]
    fn the_highest_position_is_remembered_and_an_old_identity_stays_old() {
        let mut memory = Memory::default();
        let peer = NodeId(2);
        for (told, kept) in [
            (heard(1, 5), heard(1, 5)),
            (heard(1, 3), heard(1, 5)),
            (heard(7, 1), heard(7, 1)),
            (heard(1, 9), heard(7, 1)),
            (heard(7, 2), heard(7, 2)),
        ] {
            memory.note(peer, told);
            assert_eq!(memory.of(peer), Some(kept));
        }
    }

    #[test]
    fn only_what_is_new_is_written_again() {
        let mut memory = Memory::default();
        let written = |memory: &Memory| memory.unsaved(None).count();
        memory.note(NodeId(2), heard(1, 5));
        memory.note(NodeId(3), heard(2, 0));
        assert_eq!(written(&memory), 1, "nothing is remembered of what has no position");
        memory.saved(Some(NodeId(2)));
        memory.note(NodeId(2), heard(1, 5));
        assert_eq!(written(&memory), 0);
        memory.note(NodeId(2), heard(1, 6));
        assert_eq!(written(&memory), 1);
    }

    #[test]
    fn so_many_identities_are_remembered_and_no_more() {
        let mut remembered = Remembered::new(heard(0, 1));
        for identity in 1..100 {
            assert!(remembered.note(heard(identity, 1)));
        }
        assert_eq!(remembered.earlier.len(), EARLIER);
        assert_eq!(remembered.latest, heard(99, 1));
    }
}
