//! A cluster of nothing, for tests: it does what it is told, or only says so.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dynamo_node::{Hooked, Hooks, Proposed, RingReport};
use dynamo_protocol::membership::{Directory, Edit, Membership};
use dynamo_protocol::{Epoch, Identity, Member, NodeId, Settings, Skew};

use super::{Cluster, ClusterError, Life, Origin, Status};
use crate::hosts::disk::Damage;
use crate::hosts::proxy::{End, FaultId, Observed, Pair, Ping, Shape, Way};

/// How many nodes are none yet.
const SPARES: u16 = 2;

/// See the module.
pub(crate) struct FakeCluster {
    nodes: Vec<NodeId>,
    /// Every order is answered with "done", and nothing is.
    deaf: bool,
    state: Mutex<BTreeMap<NodeId, FakeNode>>,
    epochs: Mutex<Vec<Membership>>,
    shapes: Mutex<BTreeMap<FaultId, Vec<(Pair, Shape)>>>,
    /// What is done to a disk goes unnoticed.
    blind: bool,
    /// How often nodes were asked for their status.
    asked: AtomicU64,
}

#[derive(Clone, Debug)]
pub(crate) struct FakeNode {
    life: Life,
    identity: u64,
    incarnation: u64,
    /// Whom it suspects, and how often it has begun to.
    pub(crate) suspected: Vec<NodeId>,
    pub(crate) suspicions: u64,
    pub(crate) hints: u64,
    /// How often peers told it that its disk was rolled back.
    pub(crate) rolled_back: u64,
    /// Nobody ever reaches it again.
    pub(crate) lost: bool,
    /// It does not wait for its syncs: a power cut takes what it has told.
    pub(crate) unsynced: bool,
    /// Why it does not start any more.
    pub(crate) refuses: Option<&'static str>,
    /// What its hooks do, and have done.
    hooks: Hooks,
    hooked: Hooked,
    skew: Skew,
    /// How often its clock was read since that was set.
    looks: i64,
    /// How it ends when its disk fails; not at all, if it goes on.
    pub(crate) last_words: Option<&'static str>,
}

/// What a founder says of the ring that counts wherever it is a home, and holds nothing that is another's.
pub(crate) fn settled(settings: Settings, epochs: Vec<Membership>) -> RingReport {
    RingReport {
        id: NodeId(1),
        cluster: "fake".to_owned(),
        settings,
        epochs,
        directory: Directory::Founder(NodeId(1)),
        amnesiac: false,
        proven: true,
        ranges: 1,
        filling: 0,
        sources: Vec::new(),
        strays: Some(0),
        expects_strays: false,
        hints: 0,
        open_operations: 0,
        suspected: Vec::new(),
        proposes: None,
        addresses: BTreeMap::new(),
    }
}

impl FakeCluster {
    /// So many nodes that run.
    pub(crate) fn new(nodes: u16, deaf: bool) -> Self {
        let founders = (1..=nodes).map(|id| Member::new(NodeId(id), 8)).collect::<Vec<_>>();
        let genesis = Membership::genesis(1, &founders).unwrap();
        let nodes: Vec<_> = (1..=nodes + SPARES).map(NodeId).collect();
        let fresh = |id: NodeId| {
            let pid = u32::from(id.0);
            let node = FakeNode {
                life: if genesis.seat(id).is_some() { Life::Runs(pid) } else { Life::Gone },
                identity: 1,
                incarnation: 1,
                suspected: Vec::new(),
                suspicions: 0,
                hints: 0,
                rolled_back: 0,
                lost: false,
                unsynced: false,
                refuses: None,
                hooks: Hooks::default(),
                hooked: Hooked::default(),
                skew: Skew::NONE,
                looks: 0,
                last_words: Some("ended with exit status: 1: the storage failed"),
            };
            (id, node)
        };
        let state = nodes.iter().copied().map(fresh).collect();
        let (shapes, asked) = (Mutex::default(), AtomicU64::default());
        let (state, epochs) = (Mutex::new(state), Mutex::new(vec![genesis]));
        Self { nodes, deaf, state, epochs, shapes, blind: false, asked }
    }

    /// The same, of nodes that do not notice what is done to their disks.
    pub(crate) fn blind(nodes: u16) -> Self {
        Self { blind: true, ..Self::new(nodes, false) }
    }

    fn order(&self, node: NodeId, change: impl FnOnce(&mut FakeNode)) -> Result<(), ClusterError> {
        if !self.deaf {
            change(self.state.lock().unwrap().get_mut(&node).unwrap());
        }
        Ok(())
    }

    /// The directory that a node has now: the one of the genesis, until it is another.
    fn directory(&self, node: NodeId) -> Directory {
        let state = self.node(node);
        let founded = self.epochs.lock().unwrap()[0].seat(node).map(|seat| seat.directory);
        let drawn = Directory::Drawn(Identity(u64::from(node.0) << 32 | state.identity));
        founded.filter(|_| state.identity == 1).unwrap_or(drawn)
    }

    fn change(&self, edit: Edit) -> Epoch {
        let mut epochs = self.epochs.lock().unwrap();
        let latest = epochs.last().unwrap().clone();
        if !self.deaf {
            epochs.push(latest.edited(&edit, 1).unwrap());
        }
        epochs.last().unwrap().epoch()
    }

    /// Changes what a node says of itself.
    fn corrupts(&self) -> bool {
        let shapes = self.shapes.lock().unwrap();
        !self.deaf && shapes.values().flatten().any(|(_, shape)| shape.corrupt > 0)
    }

    pub(crate) fn set(&self, node: NodeId, change: impl FnOnce(&mut FakeNode)) {
        change(self.state.lock().unwrap().get_mut(&node).unwrap());
    }

    fn node(&self, node: NodeId) -> FakeNode {
        self.state.lock().unwrap()[&node].clone()
    }
}

impl Cluster for FakeCluster {
    fn nodes(&self) -> Vec<NodeId> {
        let epochs = self.epochs.lock().unwrap();
        epochs.last().unwrap().seats().iter().map(|seat| seat.node).collect()
    }

    fn everybody(&self) -> Vec<NodeId> {
        self.nodes.clone()
    }

    fn life(&self, node: NodeId) -> Life {
        self.node(node).life
    }

    fn is_lost(&self, node: NodeId) -> bool {
        self.node(node).lost
    }

    async fn start(&self, node: NodeId) -> Result<(), ClusterError> {
        if let Some(reason) = self.node(node).refuses {
            let (reason, log) = (reason.to_owned(), "its.log".into());
            return Err(ClusterError::Start { node, reason, log });
        }
        self.order(node, |state| {
            state.life = Life::Runs(u32::from(node.0) + 100);
            state.incarnation += 1;
        })
    }

    async fn enter(&self, node: NodeId, origin: Origin) -> Result<(), ClusterError> {
        self.start(node).await?;
        let to = self.directory(node);
        let edit = match origin {
            Origin::Founder => return Ok(()),
            Origin::Joins => Edit::Join { node, directory: to, tokens: 8, zone: None },
            Origin::Replaces => {
                let from =
                    self.epochs.lock().unwrap().last().unwrap().seat(node).unwrap().directory;
                Edit::Replace { node, from, to }
            }
        };
        self.change(edit);
        Ok(())
    }

    fn let_end(&self, _node: NodeId) {}

    async fn depart(&self, node: NodeId) -> Result<String, ClusterError> {
        self.kill(node).await.map(|()| "ended".to_owned())
    }

    async fn ring(&self, node: NodeId) -> Result<RingReport, ClusterError> {
        let epochs = self.epochs.lock().unwrap().clone();
        let directory = self.directory(node);
        let report = settled(Settings::new([1, 1, 1]), epochs);
        self.status(node).await.map(|_| RingReport { id: node, directory, ..report })
    }

    async fn propose(
        &self,
        _node: NodeId,
        edit: Edit,
        _expect: Option<Epoch>,
    ) -> Result<Proposed, ClusterError> {
        Ok(Proposed::Decided(self.change(edit)))
    }

    async fn kill(&self, node: NodeId) -> Result<(), ClusterError> {
        self.order(node, |state| state.life = Life::Gone)
    }

    /// Whoever runs holds a hint for it.
    async fn pause(&self, node: NodeId) -> Result<(), ClusterError> {
        self.nodes().into_iter().try_for_each(|other| self.order(other, |it| it.hints += 1))?;
        self.order(node, |state| state.life = Life::Stopped(u32::from(node.0)))
    }

    async fn resume(&self, node: NodeId) -> Result<(), ClusterError> {
        self.nodes().into_iter().try_for_each(|other| self.order(other, |it| it.hints = 0))?;
        self.order(node, |state| state.life = Life::Runs(u32::from(node.0)))
    }

    async fn wipe(&self, node: NodeId) -> Result<(), ClusterError> {
        self.order(node, |state| state.identity += u64::from(!self.blind))
    }

    async fn damage(&self, node: NodeId, damage: Damage) -> Result<String, ClusterError> {
        let is_noticed = !self.blind && !matches!(damage, Damage::Keep | Damage::LoseHints);
        self.order(node, |state| {
            let is_lost = damage != Damage::LosePower || state.unsynced;
            state.identity += u64::from(is_noticed && is_lost);
        })?;
        Ok(format!("{damage:?}"))
    }

    /// One that is told of a failed write ends.
    async fn ended(&self, node: NodeId) -> Result<String, ClusterError> {
        loop {
            let state = self.node(node);
            if let (Life::Gone, Some(words)) = (state.life, state.last_words) {
                return Ok(words.to_owned());
            }
            tokio::task::yield_now().await;
        }
    }

    /// There is always work for its disk and its links.
    async fn hooks(
        &self,
        node: NodeId,
        _fault: FaultId,
        hooks: Option<Hooks>,
    ) -> Result<Hooked, ClusterError> {
        self.status(node).await?;
        self.order(node, |state| {
            if let Some(hooks) = hooks {
                state.hooks = hooks;
            }
            let (now, counts) = (&state.hooks, &mut state.hooked);
            let one = |does: bool| u64::from(does);
            counts.reads_failed += one(now.fail_reads > 0);
            counts.writes_failed += one(now.fail_writes > 0);
            counts.syncs_failed += one(now.fail_syncs > 0);
            counts.no_room += one(now.room.is_some());
            counts.slowed += one(!now.slow.is_zero());
            counts.slowed_us += u64::try_from(now.slow.as_micros()).unwrap();
            counts.held = one(now.hold);
            counts.lost += one(now.lose > 0);
            counts.duplicated += one(now.duplicate > 0);
            counts.reordered += one(now.reorder > 0);
            let fails = now.fail_writes > 0 || now.fail_syncs > 0 || now.room.is_some();
            if fails && state.last_words.is_some() {
                state.life = Life::Gone;
                state.hooks = Hooks::default();
            }
        })?;
        Ok(self.node(node).hooked)
    }

    /// It gains at every look what it gains in a second, and jumps from one look to the next.
    async fn clock(&self, node: NodeId, skew: Option<Skew>) -> Result<u64, ClusterError> {
        self.status(node).await?;
        let truth = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        self.order(node, |state| {
            state.looks += 1;
            if let Some(skew) = skew {
                (state.skew, state.looks) = (skew, 0);
            }
        })?;
        let FakeNode { skew, looks, .. } = self.node(node);
        let gained = looks * (i64::try_from(skew.rate_ppm).unwrap() - 1_000_000);
        let offset = if skew.strobe_us > 0 && looks % 2 == 1 { 0 } else { skew.offset_us };
        let reads = i64::try_from(truth.as_micros()).unwrap() + offset + gained;
        Ok(u64::try_from(reads).unwrap())
    }

    async fn shape(&self, fault: FaultId, shapes: Vec<(Pair, Shape)>) -> Result<(), ClusterError> {
        self.shapes.lock().unwrap().insert(fault, shapes);
        Ok(())
    }

    async fn unshape(&self, fault: FaultId) -> Result<(), ClusterError> {
        self.shapes.lock().unwrap().remove(&fault);
        Ok(())
    }

    fn shaped(&self, flow: Pair) -> Shape {
        let shapes = self.shapes.lock().unwrap();
        let on_it = shapes.values().flatten().filter(|(pair, _)| *pair == flow);
        on_it.fold(Shape::PASS, |sum, (_, shape)| sum.and(*shape))
    }

    /// Every look finds some more.
    async fn changed(&self, _node: NodeId) -> Result<u64, ClusterError> {
        Ok(if self.corrupts() { self.asked.fetch_add(1, Ordering::Relaxed) } else { 0 })
    }

    async fn ping(&self, ping: Ping) -> Observed {
        let there = Pair { from: ping.from, to: End::Node(ping.to) };
        let effect = |flow| if self.deaf { Shape::PASS } else { self.shaped(flow) };
        let (there, back) = (effect(there), effect(there.back()));
        let broken = there.cut || back.cut || there.reset || back.reset;
        let way = |held| if held { Way::Held } else { Way::Passed };
        let took = there.holds_up(ping.weight) + back.delay + Duration::from_millis(1);
        Observed { answered: (!broken).then_some(took), there: way(there.cut), back: way(back.cut) }
    }

    async fn status(&self, node: NodeId) -> Result<Status, ClusterError> {
        let state = self.node(node);
        let broken = if self.corrupts() { self.asked.load(Ordering::Relaxed) } else { 0 };
        let others = self.nodes().into_iter().filter(|other| *other != node && state.hints > 0);
        match state.life {
            Life::Runs(_) => Ok(Status {
                identity: state.identity.to_string(),
                incarnation: state.incarnation,
                proven: true,
                amnesiac: false,
                filling: 0,
                expects_strays: false,
                exchanged: BTreeMap::new(),
                hints_held: state.hints,
                hinted: others.map(|other| (other, state.hints)).collect(),
                open_operations: 0,
                suspected: state.suspected,
                counters: BTreeMap::from([
                    ("suspicions".to_owned(), state.suspicions),
                    ("rolled_back".to_owned(), state.rolled_back),
                    ("links_broken".to_owned(), broken),
                    // A key with every change.
                    ("keys_synced".to_owned(), self.epochs.lock().unwrap().len() as u64),
                    // There is always work for it.
                    ("acknowledged".to_owned(), self.asked.fetch_add(50, Ordering::Relaxed)),
                ]),
            }),
            Life::Stopped(_) | Life::Gone => {
                Err(ClusterError::Node { node, reason: "it does not answer".to_owned() })
            }
        }
    }
}
