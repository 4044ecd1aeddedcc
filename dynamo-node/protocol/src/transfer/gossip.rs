//! Who is behind is told: at once when it speaks, and one member a beat until all have spoken under the last
//! epoch. Nobody is told anything as long as there was no change.

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
        if self.view.epoch() > Epoch::GENESIS && !self.gossip.runs {
            self.gossip.runs = true;
            step.set_timer(Timer::Gossip, self.settings.timing.exchange);
        }
    }

    /// Tells one of those that are behind. Whom is as good as drawn: members that learn of an epoch at the
    /// same time tell different ones.
    pub(crate) fn gossip_due<S: Store>(&mut self, step: &mut Step<'_, S>) {
        let epoch = self.view.epoch();
        let behind = |told: &BTreeSet<NodeId>| {
            let others = self.view.everybody().filter(|node| *node != self.me);
            let others = others.filter(|node| self.gossip.is_behind(*node, epoch));
            others.filter(|node| !told.contains(node)).collect::<Vec<_>>()
        };
        let mut whom = behind(&self.gossip.told);
        if whom.is_empty() {
            whom = behind(&BTreeSet::new());
            self.gossip.told.clear();
        }
        self.gossip.runs = !whom.is_empty();
        if whom.is_empty() {
            return;
        }
        let mut hasher = Md5::new();
        hasher.update(self.me.0.to_le_bytes());
        hasher.update(epoch.0.to_le_bytes());
        hasher.update((self.gossip.told.len() as u64).to_le_bytes());
        let drawn = u128::from_le_bytes(hasher.finalize().into()) % whom.len() as u128;
        let to = whom[usize::try_from(drawn).unwrap_or(0)];
        self.gossip.told.insert(to);
        self.tell_epochs(step, to, self.gossip.known.get(&to).copied().unwrap_or(Epoch::GENESIS));
        step.set_timer(Timer::Gossip, self.settings.timing.exchange);
    }

    /// `from` goes by `epoch`.
    pub(crate) fn heard_epoch(&mut self, from: NodeId, epoch: Epoch) {
        if epoch > Epoch::GENESIS && self.gossip.is_behind(from, epoch) {
            self.gossip.known.insert(from, epoch);
        }
    }

    /// Says how far this node is, now that it was told.
    pub(crate) fn acknowledge_epochs<S: Store>(&self, step: &mut Step<'_, S>, to: NodeId) {
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
