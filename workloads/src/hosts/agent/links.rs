//! What is done to the flows that begin or end at this host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use dynamo_protocol::NodeId;

use super::netem::{Delays, Netem};
use super::nft;
use super::proto::{Means, Peer};
use super::redirect::Redirect;
use crate::hosts::proxy::{End, FaultId, Pair, Shape};

/// The links of one host.
pub(super) struct Links {
    me: NodeId,
    peers: Vec<Peer>,
    faults: BTreeMap<FaultId, Vec<(Pair, Shape)>>,
    /// Whose packets are dropped on arrival now.
    cut: BTreeSet<IpAddr>,
    redirect: Option<Redirect>,
    /// Delays what leaves, where the kernel can.
    netem: Option<Netem>,
}

impl Links {
    pub(super) fn new(me: NodeId) -> Self {
        Self {
            me,
            peers: Vec::new(),
            faults: BTreeMap::new(),
            cut: BTreeSet::new(),
            redirect: None,
            netem: None,
        }
    }

    pub(super) fn set_peers(&mut self, peers: Vec<Peer>) -> Result<(), String> {
        if peers != self.peers && (!self.faults.is_empty() || self.redirect.is_some()) {
            return Err("peers change while faults are in force".to_owned());
        }
        self.peers = peers.into_iter().filter(|peer| peer.node != self.me).collect();
        Ok(())
    }

    pub(super) fn peer(&self, node: NodeId) -> Result<&Peer, String> {
        let found = self.peers.iter().find(|peer| peer.node == node);
        found.ok_or_else(|| format!("{node} is no peer of {}", self.me))
    }

    /// Sees to it that links can be delayed, narrowed, reset: before the node makes its first connection, as
    /// those that are open already cannot be led aside.
    pub(super) async fn prepare(
        &mut self,
        means: &BTreeSet<Means>,
        data: IpAddr,
    ) -> Result<(), String> {
        if means.contains(&Means::Queues) && self.netem.is_none() {
            self.netem = Netem::open(data).await.ok();
        }
        let is_prepared = |means: &Means| match means {
            Means::Rules => true,
            Means::Queues => self.netem.is_some(),
            Means::Proxy => false,
        };
        if self.redirect.is_none() && !self.peers.is_empty() && !means.iter().all(is_prepared) {
            self.redirect = Some(Redirect::open(&self.peers).await?);
        }
        Ok(())
    }

    pub(super) async fn install(
        &mut self,
        fault: FaultId,
        shapes: Vec<(Pair, Shape)>,
    ) -> Result<(), String> {
        let mine = |pair: &Pair| [pair.from, pair.to].contains(&End::Node(self.me));
        let shapes: Vec<_> = shapes.into_iter().filter(|(pair, _)| mine(pair)).collect();
        let needs_proxy = |shape: &Shape| self.for_proxy(*shape) != Shape::PASS;
        if self.redirect.is_none() && shapes.iter().any(|(_, shape)| needs_proxy(shape)) {
            return Err(
                "its links were not prepared for a delay before the node started".to_owned()
            );
        }
        let before = self.faults.insert(fault, shapes);
        let applied = self.apply().await;
        if applied.is_err() {
            match before {
                Some(before) => self.faults.insert(fault, before),
                None => self.faults.remove(&fault),
            };
        }
        applied
    }

    pub(super) async fn heal(&mut self, fault: FaultId) -> Result<(), String> {
        match self.faults.remove(&fault) {
            Some(_) => self.apply().await,
            None => Ok(()),
        }
    }

    pub(super) async fn heal_all(&mut self) -> Result<(), String> {
        self.faults.clear();
        self.apply().await
    }

    /// How many bytes the proxy has changed so far.
    pub(super) fn changed(&self) -> u64 {
        self.redirect.as_ref().map_or(0, Redirect::changed)
    }

    /// Heals everything and leaves the host's network as it was.
    pub(super) async fn close(&mut self) -> Result<(), String> {
        let healed = self.heal_all().await;
        match self.redirect.take() {
            Some(redirect) => healed.and(redirect.close().await),
            None => healed,
        }
    }

    async fn apply(&mut self) -> Result<(), String> {
        let me = End::Node(self.me);
        let (mut cut, mut delays) = (BTreeSet::new(), Delays::new());
        for peer in &self.peers {
            let there = Pair { from: me, to: End::Node(peer.node) };
            let back = self.sum(there.back());
            if back.cut {
                cut.insert(peer.data);
            }
            let there = self.sum(there);
            if self.netem.is_some() && there.delay + there.jitter > Duration::ZERO {
                delays.insert(peer.data, (there.delay, there.jitter));
            }
            if let Some(redirect) = &self.redirect {
                redirect.shape(peer.node, self.for_proxy(there), self.for_proxy(back));
            }
        }
        // Each for itself: what cannot be healed here must not keep the rest from being healed.
        let delayed = match &mut self.netem {
            Some(netem) => netem.delay(delays).await,
            None => Ok(()),
        };
        if cut != self.cut {
            nft::run(&nft::cut(&cut)).await?;
            self.cut = cut;
        }
        delayed
    }

    /// What of a shape the proxy has to do. A cut is the kernel's work, at the one who is not to hear;
    /// a delay too, at the one who speaks, where it has netem.
    fn for_proxy(&self, shape: Shape) -> Shape {
        let shape = Shape { cut: false, ..shape };
        match self.netem {
            Some(_) => Shape { delay: Duration::ZERO, jitter: Duration::ZERO, ..shape },
            None => shape,
        }
    }

    /// All faults on one flow together.
    fn sum(&self, flow: Pair) -> Shape {
        let on_it = self.faults.values().flatten().filter(|(pair, _)| *pair == flow);
        on_it.fold(Shape::PASS, |sum, (_, shape)| sum.and(*shape))
    }
}
