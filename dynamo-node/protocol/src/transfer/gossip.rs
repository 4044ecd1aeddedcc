//! Who is behind is told: at once when it speaks, and two members a beat until all have spoken under the
//! last epoch (rumour mongering: Demers et al., "Epidemic algorithms for replicated database maintenance",
//! 1987). Nobody is told anything as long as there was no change.
//!
//! A directory that was lost knew of changes of which the one in its place does not, and the others take it
//! to be as far as it was. So an amnesiac speaks: it asks each member once, two a beat. Those that it
//! suspects it pings, which asks them as well.

use std::collections::{BTreeMap, BTreeSet};

use md5::{Digest, Md5};

use crate::id::NodeId;
use crate::io::Timer;
use crate::membership::Call;
use crate::message::Message;
use crate::node::Node;
use crate::step::Step;
use crate::storage::Store;
use crate::view::Epoch;

/// How many are told at a beat. All of a thousand members know a change after ten beats, and after seventeen
/// if one is told at a beat, with as many messages (`dyno bench scale`).
const AT_A_BEAT: usize = 2;

/// What a node knows of how far the others are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Gossip {
    /// The highest epoch after genesis under which each was heard.
    known: BTreeMap<NodeId, Epoch>,
    /// Who was told in this round.
    told: BTreeSet<NodeId>,
    /// The timer runs.
    runs: bool,
}

impl Gossip {
    fn is_behind(&self, node: NodeId, epoch: Epoch) -> bool {
        self.known.get(&node).copied().unwrap_or(Epoch::GENESIS) < epoch
    }
}

impl Node {
    /// Others may be behind from now on.
    pub(crate) fn begin_gossip<S>(&mut self, step: &mut Step<'_, S>) {
        self.gossip.told.clear();
        self.gossip.known.retain(|node, _| self.view.contains(*node));
        let has_changed = self.view.epoch() > Epoch::GENESIS;
        if (has_changed || self.meta.amnesiac) && !self.gossip.runs {
            self.gossip.runs = true;
            step.set_timer(Timer::Gossip, self.settings.timing.exchange);
        }
    }

    /// Tells some of those that are behind, or asks some. Whom is as good as drawn: members that learn of an
    /// epoch at the same time tell different ones.
    pub(crate) fn gossip_due<S: Store>(&mut self, step: &mut Step<'_, S>) {
        let (epoch, asks) = (self.view.epoch(), self.meta.amnesiac);
        let behind = |told: &BTreeSet<NodeId>| {
            let others = self.view.everybody().filter(|node| *node != self.me);
            let others = others.filter(|node| match asks {
                true => self.detector.is_alive(*node),
                false => self.gossip.is_behind(*node, epoch),
            });
            others.filter(|node| !told.contains(node)).collect::<Vec<_>>()
        };
        let mut whom = behind(&self.gossip.told);
        if whom.is_empty() && !asks {
            whom = behind(&BTreeSet::new());
            self.gossip.told.clear();
        }
        self.gossip.runs = !whom.is_empty();
        if whom.is_empty() {
            return;
        }
        for _ in 0..AT_A_BEAT.min(whom.len()) {
            let to = whom.swap_remove(self.drawn(epoch, whom.len()));
            self.gossip.told.insert(to);
            match asks {
                true => self.say_epoch(step, to),
                false => {
                    let known = self.gossip.known.get(&to).copied().unwrap_or(Epoch::GENESIS);
                    self.tell_epochs(step, to, known);
                }
            }
        }
        step.set_timer(Timer::Gossip, self.settings.timing.exchange);
    }

    /// One of so many, for the next one that is told of `epoch`.
    fn drawn(&self, epoch: Epoch, among: usize) -> usize {
        let mut hasher = Md5::new();
        hasher.update(self.me.0.to_le_bytes());
        hasher.update(epoch.0.to_le_bytes());
        hasher.update((self.gossip.told.len() as u64).to_le_bytes());
        let drawn = u128::from_le_bytes(hasher.finalize().into()) % among as u128;
        usize::try_from(drawn).unwrap_or(0)
    }

    /// `from` goes by `epoch`.
    pub(crate) fn heard_epoch(&mut self, from: NodeId, epoch: Epoch) {
        if epoch > Epoch::GENESIS && self.gossip.is_behind(from, epoch) {
            self.gossip.known.insert(from, epoch);
        }
    }

    /// `peer` goes on with another directory, which may know less than the one before.
    pub(crate) fn may_be_behind<S>(&mut self, step: &mut Step<'_, S>, peer: NodeId) {
        if self.gossip.known.remove(&peer).is_some() {
            self.begin_gossip(step);
        }
    }

    /// Tells `from` what it lacks, or asks for what makes it a member: until then it is heard like any other.
    pub(crate) fn compare_epochs<S: Store>(
        &self,
        step: &mut Step<'_, S>,
        from: NodeId,
        epoch: Epoch,
    ) {
        if epoch < self.view.epoch() {
            self.tell_epochs(step, from, epoch);
        } else if !self.view.contains(from) {
            self.say_epoch(step, from);
        }
    }

    /// Says how far this node is, now that it was told, or to be told.
    pub(crate) fn say_epoch<S: Store>(&self, step: &mut Step<'_, S>, to: NodeId) {
        let epoch = self.view.epoch();
        self.send(step, to, Message::Register(Call::Behind { epoch }));
    }

    /// Tells `to` all that comes after `epoch`.
    pub(crate) fn tell_epochs<S: Store>(&self, step: &mut Step<'_, S>, to: NodeId, epoch: Epoch) {
        let epochs = self.view.history().after(epoch).to_vec();
        if !epochs.is_empty() {
            self.send(step, to, Message::Register(Call::Membership { epochs }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::membership::{Directory, Edit};
    use crate::testing::Full;
    use crate::{
        Envelope, Identity, Input, Member, MemoryStore, Meta, Outbox, Output, Settings, Start,
        Time, View,
    };

    const ME: NodeId = NodeId(1);
    const NEWCOMER: NodeId = NodeId(4);

    /// A member of three whose disk refuses writes, and what it says to the calls and questions of a fourth
    /// that it does not know yet.
    fn answers(message: impl FnOnce(&View) -> Message) -> Vec<Message> {
        let settings = Arc::new(Settings::new([2, 1, 1]));
        let members = (1..=3).map(|id| Member::new(NodeId(id), 8)).collect();
        let view = View::genesis(&settings, members).unwrap();
        let directory = Directory::Drawn(Identity(4));
        let edit = Edit::Join { node: NEWCOMER, directory, tokens: 8, zone: None };
        let joined = view.history().latest().edited(&edit, 2).unwrap();
        let later = view.followed_by(&settings, &joined);
        let meta = Meta::genesis(Identity(1));
        let mut disk = Full { store: MemoryStore::new(meta), refuses: true };
        let mut node = Node::new(ME, settings, Arc::new(view), Start::proven(meta, 1));
        let (identity, epoch, message) = (Identity(4), later.epoch(), message(&later));
        let envelope = Envelope {
            from: NEWCOMER,
            identity,
            position: 0,
            epoch,
            to: ME,
            era: 0,
            heard: None,
            message,
        };
        let mut outbox = Outbox::default();
        for input in [Input::Started, Input::Peer(envelope)] {
            outbox.outputs.clear();
            node.handle(Time(0), input, &mut disk, &mut outbox);
        }
        let sent = outbox.outputs.into_iter().filter_map(|output| match output {
            Output::Send(envelope) => Some(envelope.message),
            _ => None,
        });
        sent.collect()
    }

    #[test]
    fn whoever_speaks_under_a_later_epoch_is_asked_for_it_and_heard_meanwhile() {
        let asks = Message::Register(Call::Behind { epoch: Epoch::GENESIS });
        let said = answers(|_| Message::Ping { nonce: None });
        assert_eq!(said, [asks, Message::Pong { nonce: None }]);
    }

    #[test]
    fn each_beat_others_are_told_until_all_were() {
        let settings = Arc::new(Settings::new([2, 1, 1]));
        let members = (1..=4).map(|id| Member::new(NodeId(id), 8)).collect();
        let view = View::genesis(&settings, members).unwrap();
        let weigh = Edit::Weigh { node: ME, tokens: 16 };
        let view = view.followed_by(&settings, &view.history().latest().edited(&weigh, 1).unwrap());
        let meta = Meta::genesis(Identity(1));
        let mut store = MemoryStore::new(meta);
        let mut node = Node::new(ME, settings, Arc::new(view), Start::proven(meta, 1));
        let mut told = Vec::new();
        let beats = std::iter::repeat_n(Input::Timer(Timer::Gossip), 2);
        for input in std::iter::once(Input::Started).chain(beats) {
            let mut outbox = Outbox::default();
            node.handle(Time(0), input, &mut store, &mut outbox);
            let goes_on =
                outbox.outputs.iter().any(|it| matches!(it, Output::SetTimer(Timer::Gossip, _)));
            assert!(goes_on, "the next beat is asked for: {:?}", outbox.outputs);
            told.extend(outbox.outputs.into_iter().filter_map(|output| match output {
                Output::Send(Envelope {
                    to,
                    message: Message::Register(Call::Membership { .. }),
                    ..
                }) => Some(to),
                _ => None,
            }));
        }
        told.sort_unstable();
        assert_eq!(told, [2, 3, 4].map(NodeId));
    }

    #[test]
    fn a_node_that_cannot_learn_does_not_ask_again_for_being_told() {
        let tells = |later: &View| {
            let epochs = later.history().after(Epoch::GENESIS).to_vec();
            Message::Register(Call::Membership { epochs })
        };
        assert_eq!(answers(tells), [], "each question would have another answer, for ever");
    }
}
