//! Which actions a world may take, and what each does to it.
//!
//! Nothing here knows the protocol. A step hands one input to one host, carries out what the host
//! lets go, and shows the monitor what happened.
//!
//! When timers run out is the model's one assumption about time. Nothing ever *has* to happen, so
//! any delay is covered; what is bounded is haste:
//! - a ping's timer, when the ping would arrive;
//! - a handoff's, when its target can be reached or would be sent nothing, and nothing that could
//!   arrive is under way between the two;
//! - a hedge, when a message was lost and nothing that carries the operation can arrive any more;
//! - a deadline, when a client waits and nothing at all can arrive any more;
//! - an exchange, in a strict cluster, while its host is being filled, out of a budget of its own;
//! - hedges, deadlines and exchanges at any other time out of the budget of hedges: a host that is only slow.
//!
//! A host learns that a peer is out of reach (`Unreachable`) only of a peer it has something under
//! way to; what is under way may still arrive later.

use std::collections::VecDeque;

use dynamo_protocol::membership::Call;
use dynamo_protocol::{ClientOp, Context, Epoch, Input, Reply, RequestId, Timer};
use smallvec::SmallVec;

use crate::world::host::HostInput;
use crate::world::script::{request, requested};
use crate::world::spec::{Setup, Spec};
use crate::world::state::{Action, Client, Reading, World};
use crate::world::tables::{Effect, Sort, Tables};

/// One step on one world, with everything it works on.
pub(crate) struct Step<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) setup: &'a Setup,
    pub(crate) tables: &'a mut Tables,
    pub(crate) world: &'a mut World,
    /// Nodes whose hosts were handed something in this step.
    pub(crate) changed: u8,
    /// What hosts were handed, if somebody asks.
    pub(crate) log: Option<Vec<Ran>>,
    /// Whether a forwarded request arrives within its step, if somebody knows better than the reductions.
    pub(crate) forwards: Option<bool>,
}

/// A host was handed something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) node: u8,
    pub(crate) input: u32,
    /// The host afterwards.
    pub(crate) host: u32,
    /// The request that was answered by it with what its client's next put overwrites.
    pub(crate) read: Option<RequestId>,
}

impl Step<'_> {
    pub(crate) fn enabled(&mut self, actions: &mut Vec<Action>) {
        self.invocations(actions);
        let mut deliverable: SmallVec<[u32; 12]> =
            self.world.flight.iter().copied().filter(|m| self.is_deliverable(*m)).collect();
        let mut unread = SmallVec::<[u32; 12]>::new();
        if self.leaves_unread() {
            unread.extend(deliverable.iter().copied().filter(|m| self.is_unread(*m)));
            deliverable.retain(|message| !self.is_unread(*message));
        }
        for &message in &deliverable {
            let wire = self.tables.wire(message);
            if self.may_touch(wire.to) {
                match wire.sort {
                    Sort::Fetch | Sort::Forward => self.read(Reading::Deliver(message), actions),
                    Sort::Store | Sort::Ping | Sort::Answer => {
                        actions.push(Action::Deliver(message));
                    }
                }
            }
            if self.world.spent.losses < self.spec.faults.losses {
                actions.push(Action::Lose(message));
            }
        }
        self.discoveries(actions);
        for node in 0..self.nodes() {
            self.timers(node, &deliverable, actions);
            self.faults(node, actions);
        }
        if self.world.cut != 0 {
            actions.push(Action::Heal);
        } else if self.world.spent.partitions < self.spec.faults.partitions {
            // The first home stays on side 0: the other half of the masks are the same cuts.
            let sides = (1..1 << (self.nodes() - 1)).map(|side: u8| side << 1);
            let noticed = sides.filter(|side| !self.is_cut_unnoticed(*side));
            actions.extend(noticed.map(Action::Cut));
        }
        if actions.is_empty() {
            actions.extend(unread.first().map(|message| Action::Deliver(*message)));
        }
        self.choose(actions);
    }

    fn invocations(&mut self, actions: &mut Vec<Action>) {
        let script = &self.spec.script;
        for (index, client) in self.world.clients.clone().into_iter().enumerate() {
            if client.waits_at != 0 || usize::from(client.step) >= script.clients()[index].len() {
                continue;
            }
            let twin_first = self.spec.reductions.alike
                && client.step == 0
                && (0..index).any(|other| {
                    script.clients()[other] == script.clients()[index]
                        && self.world.clients[other] == Client::default()
                });
            if twin_first {
                continue;
            }
            let client = u8::try_from(index).expect("there are few clients");
            for node in 0..self.nodes() {
                let may = self.is_up(node) && self.may_touch(node);
                if may && !self.would_pass_on(client, node) {
                    self.read(Reading::Invoke { client, node }, actions);
                }
            }
        }
    }

    /// A host that learns that a peer is out of reach or back.
    fn noticed(&mut self) -> Option<(u8, u32)> {
        let mut found = Vec::new();
        self.discoveries(&mut found);
        if let Some(Action::Unreachable { node, peer }) = found.first() {
            return Some((*node, self.unreachable(*peer)));
        }
        (0..self.nodes()).find_map(|node| {
            let timers = &self.tables.facts(self.host(node)).timers;
            let back = |timer: &Timer| match timer {
                Timer::Ping(peer) => self.hears(node, self.index(*peer)),
                _ => false,
            };
            let ping = timers.iter().find(|(timer, _)| back(timer)).copied();
            ping.map(|(_, input)| (node, input))
        })
    }

    /// Whether a ping of `node` has an answer. One that waits for a disk, at either end, would be sent again
    /// and again meanwhile: it is as good as one that is sent when the disk is done, and that may be at any
    /// time.
    fn hears(&self, node: u8, peer: u8) -> bool {
        let is_synced = |node: u8| !self.tables.facts(self.host(node)).unsynced;
        self.reaches(node, peer) && is_synced(node) && is_synced(peer)
    }

    /// Hosts that may find a peer out of reach, and to whom that is news.
    fn discoveries(&mut self, actions: &mut Vec<Action>) {
        let stuck = self.world.flight.iter().map(|m| self.tables.wire(*m));
        let stuck = stuck.filter(|w| self.is_up(w.from) && !self.reaches(w.from, w.to));
        let mut pairs: SmallVec<[(u8, u8); 8]> = stuck.map(|w| (w.from, w.to)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        for (node, peer) in pairs {
            let input = self.unreachable(peer);
            if self.may_touch(peer) && !self.is_no_news(node, input) {
                actions.push(Action::Unreachable { node, peer });
            }
        }
    }

    fn timers(&mut self, node: u8, deliverable: &[u32], actions: &mut Vec<Action>) {
        let spent = self.world.spent;
        let facts = self.tables.facts(self.host(node)).clone();
        for &(timer, input) in &facts.timers {
            let free = match timer {
                Timer::Ping(peer) => self.hears(node, self.index(peer)),
                Timer::Handoff(target) => {
                    let reaches = self.reaches(node, self.index(target));
                    let effect = self.tables.effect(self.setup, self.host(node), input);
                    (reaches || effect.sends.is_empty()) && self.may_hand_off(node, target)
                }
                Timer::Hedge(op) => {
                    let carries = |m: &u32| self.tables.wire(*m).op == Some(op);
                    spent.losses > 0 && !deliverable.iter().any(carries)
                }
                // Of haste alone: what an exchange finds later it finds as well. Where a newcomer is to
                // count once it is filled, when that is makes the difference.
                Timer::Exchange => facts.fills && spent.exchanges < self.spec.faults.exchanges,
                // With homes of another epoch it comes to nothing.
                Timer::Strays => self.may_offer_strays(node, deliverable),
                Timer::Gossip | Timer::Proposal => false,
                Timer::Deadline(_) => deliverable.is_empty() && self.somebody_waits_at(node),
            };
            let hedge = !free
                && matches!(
                    timer,
                    Timer::Hedge(_) | Timer::Deadline(_) | Timer::Exchange | Timer::Strays
                );
            let may = free || (hedge && spent.hedges < self.spec.faults.hedges);
            if may && !self.is_no_news(node, input) {
                actions.push(Action::Fire { node, input, hedge });
            }
        }
    }

    /// Every home of the key is within reach and at the same epoch, and nothing that could arrive is under
    /// way of an earlier offer.
    fn may_offer_strays(&self, node: u8, deliverable: &[u32]) -> bool {
        let facts = self.tables.facts(self.host(node));
        let homes = self.setup.views[facts.epoch].homes(&self.setup.key);
        let is_ready = |home: &dynamo_protocol::NodeId| {
            let home = self.index(*home);
            home == node
                || self.reaches(node, home)
                    && self.tables.facts(self.host(home)).epoch == facts.epoch
        };
        let is_offer =
            |m: &u32| self.tables.wire(*m).op.is_some_and(|op| facts.offers.contains(&op));
        homes.iter().all(is_ready) && !deliverable.iter().any(is_offer)
    }

    fn may_hand_off(&self, node: u8, target: dynamo_protocol::NodeId) -> bool {
        let (to, leaves_unread) = (self.index(target), self.leaves_unread());
        let between = |m: &u32| {
            let wire = self.tables.wire(*m);
            let is_between =
                (wire.from, wire.to) == (node, to) || (wire.from, wire.to) == (to, node);
            is_between && self.is_deliverable(*m) && !(leaves_unread && self.is_unread(*m))
        };
        let facts = self.tables.facts(self.host(node));
        facts.records.iter().any(|record| record.target == Some(target))
            && !self.world.flight.iter().any(between)
    }

    fn faults(&mut self, node: u8, actions: &mut Vec<Action>) {
        let (spent, budget) = (self.world.spent, self.spec.faults);
        if !self.may_touch(node) {
            return;
        }
        let may_crash = self.is_up(node) && spent.crashes < budget.crashes;
        let may_crash = may_crash && !self.is_crash_unnoticed(node);
        let facts = self.tables.facts(self.host(node));
        if may_crash {
            actions.push(Action::Crash(node));
        }
        if !facts.up && spent.restarts < budget.restarts {
            actions.push(Action::Restart(node));
        }
        if spent.wipes < budget.wipes {
            actions.push(Action::Wipe(node));
        }
        if facts.has_home_record && spent.forgotten < budget.forgotten {
            actions.push(Action::Forget(node));
        }
        if facts.up && spent.power_cuts < budget.power_cuts {
            actions.push(Action::PowerCut(node));
        }
        if facts.unsynced {
            actions.push(Action::Sync(node));
        }
        if facts.up && facts.epoch + 1 < self.setup.views.len() {
            actions.push(Action::Learn(node));
        }
        self.rollbacks(node, actions);
    }

    /// One backup a rollback is taken at most, of any host.
    fn rollbacks(&self, node: u8, actions: &mut Vec<Action>) {
        let left = self.spec.faults.rollbacks - self.world.spent.rollbacks;
        if left == 0 {
            return;
        }
        let host = |node: u8| self.tables.hosts.get(self.host(node));
        let kept = (0..self.nodes()).filter(|node| host(*node).backup.is_some()).count();
        match &host(node).backup {
            // To put back what is there anyway is a crash.
            Some(backup) if **backup != host(node).store => actions.push(Action::Restore(node)),
            None if kept < usize::from(left) => actions.push(Action::BackUp(node)),
            Some(_) | None => {}
        }
    }

    pub(crate) fn apply(&mut self, action: Action) {
        match action {
            Action::Invoke { client, node } => {
                self.world.touch(node);
                self.invoke(client, node);
            }
            Action::Deliver(message) => {
                let to = self.tables.wire(message).to;
                self.world.touch(to);
                self.world.take(message);
                self.run(to, message);
            }
            Action::Lose(message) => {
                self.world.spent.losses += 1;
                self.world.touch(self.tables.wire(message).to);
                self.world.take(message);
            }
            Action::Fire { node, input, hedge } => {
                self.spend_on_timer(input, hedge);
                self.run(node, input);
            }
            Action::Unreachable { node, peer } => {
                self.world.touch(peer);
                let input = self.unreachable(peer);
                self.run(node, input);
            }
            Action::Crash(node) => {
                self.world.spent.crashes += 1;
                self.end(node, HostInput::Crash);
            }
            Action::Restart(node) => {
                self.world.spent.restarts += 1;
                self.happen(node, HostInput::Start);
                self.recall(node);
            }
            Action::Wipe(node) => {
                self.world.spent.wipes += 1;
                self.end(node, HostInput::Wipe);
            }
            Action::Forget(node) => {
                self.world.spent.forgotten += 1;
                self.happen(node, HostInput::Forget);
            }
            Action::PowerCut(node) => {
                self.world.spent.power_cuts += 1;
                self.end(node, HostInput::PowerCut);
            }
            Action::Sync(node) => self.happen(node, HostInput::Sync),
            Action::Learn(node) => {
                self.world.touch(node);
                let input = self.next_epoch(node);
                self.run(node, input);
            }
            Action::BackUp(node) => self.happen(node, HostInput::BackUp),
            Action::Restore(node) => {
                self.world.spent.rollbacks += 1;
                self.world.flight.retain(|message| self.tables.wire(*message).from != node);
                self.end(node, HostInput::Restore);
            }
            Action::Cut(side) => {
                self.world.spent.partitions += 1;
                self.world.touched = u8::MAX;
                self.world.cut = side;
            }
            Action::Heal => self.world.cut = 0,
            Action::After { .. } => unreachable!("it is taken step by step"),
        }
    }

    /// A timer that runs out is paid for: as haste, or as an exchange.
    fn spend_on_timer(&mut self, input: u32, hedge: bool) {
        let exchange = HostInput::Handle(Input::Timer(Timer::Exchange));
        let is_exchange = *self.tables.inputs.get(input) == exchange;
        self.world.spent.hedges += u8::from(hedge);
        self.world.spent.exchanges += u8::from(is_exchange && !hedge);
    }

    pub(crate) fn invoke(&mut self, client: u8, node: u8) {
        let index = usize::from(client);
        let state = self.world.clients[index];
        let input = self.request(client);
        self.world.clients[index].waits_at = node + 1;
        match self.spec.script.put(index, usize::from(state.step)) {
            None => {
                let history = &self.world.history;
                let (must, floor) = (history.acked, history.shown);
                let client = &mut self.world.clients[index];
                (client.must, client.floor) = (must, floor);
            }
            Some(number) => {
                let read = self.world.history.closure(state.read);
                self.world.history.over[usize::from(number)] = read;
            }
        }
        self.happen(node, HostInput::Handle(input));
    }

    /// What the client asks next.
    pub(crate) fn request(&self, client: u8) -> Input {
        let index = usize::from(client);
        let state = self.world.clients[index];
        let key = self.setup.key.clone();
        let op = match self.spec.script.put(index, usize::from(state.step)) {
            None => ClientOp::Get { key },
            Some(number) => {
                let context: Context = self.tables.contexts.get(state.context).clone();
                ClientOp::Put { key, context, value: self.spec.script.value(number) }
            }
        };
        Input::Client { request: request(client, state.step), op }
    }

    fn happen(&mut self, node: u8, input: HostInput) {
        self.world.touch(node);
        let input = self.tables.input(self.setup, input);
        self.run(node, input);
    }

    /// A process ends: its clients hear nothing and go on.
    fn end(&mut self, node: u8, how: HostInput) {
        self.happen(node, how);
        for client in &mut self.world.clients {
            if client.waits_at == node + 1 {
                client.go_on();
            }
        }
    }

    /// Hands `input` to `node`, and what must be prompt to its receivers.
    pub(crate) fn run(&mut self, node: u8, input: u32) {
        let mut queue = VecDeque::from([(node, input)]);
        while let Some((node, input)) = queue.pop_front() {
            let before = self.host(node);
            let effect = self.tables.effect(self.setup, before, input);
            self.world.hosts[usize::from(node)] = effect.host;
            self.changed |= 1 << node;
            self.note(node, input, &effect);
            self.observe(node, input, before, &effect);
            for &message in &effect.sends {
                let wire = self.tables.wire(message);
                let prompt = match wire.sort {
                    Sort::Answer | Sort::Ping => true,
                    Sort::Forward => self.forwards.unwrap_or_else(|| self.forwards_promptly()),
                    Sort::Store | Sort::Fetch => false,
                };
                let deliverable = self.is_deliverable(message);
                if self.spec.reductions.prompt && prompt && deliverable {
                    queue.push_back((wire.to, message));
                } else {
                    self.send(message);
                }
            }
        }
    }

    fn note(&mut self, node: u8, input: u32, effect: &Effect) {
        if let Some(log) = &mut self.log {
            let script = &self.spec.script;
            let is_read = |(request, reply): &&(RequestId, Reply)| {
                let (client, step) = requested(*request);
                match reply {
                    Reply::Got { .. } => true,
                    Reply::Done { context: Some(_) } => {
                        script.overwrites(client, usize::from(step))
                    }
                    _ => false,
                }
            };
            let read = effect.replies.iter().find(is_read).map(|(request, _)| *request);
            log.push(Ran { node, input, host: effect.host, read });
        }
    }

    /// Forgets what cannot matter any more.
    pub(crate) fn tidy(&mut self) {
        if !self.is_symmetric() || self.world.touched.count_ones() as usize >= self.spec.nodes {
            self.world.touched = u8::MAX;
        }
        if self.spec.reductions.notice && self.spec.reductions.prompt {
            while let Some((node, input)) = self.noticed() {
                self.run(node, input);
            }
        }
        if self.spec.reductions.late {
            while let Some(message) = self.late_fetch() {
                self.world.take(message);
                self.run(self.tables.wire(message).to, message);
            }
        }
        if self.spec.reductions.inert {
            let flight = std::mem::take(&mut self.world.flight);
            // What both of its ends are as they were for is what it was: not inert.
            let may_be = |step: &Self, message: u32| {
                let wire = step.tables.wire(message);
                step.changed >> wire.to & 1 == 1 || step.changed >> wire.from & 1 == 1
            };
            let mut stays = |message: &u32| !(may_be(self, *message) && self.is_inert(*message));
            self.world.flight = flight.into_iter().filter(|m| stays(m)).collect();
        }
        if self.spec.reductions.monitor {
            self.forget_unasked();
        }
    }

    /// Everybody hears from a node that is up: who it is, and under which identity.
    pub(crate) fn greet(&mut self, node: u8) {
        let identity = self.tables.hosts.get(self.host(node)).store.meta.identity;
        for peer in (0..self.nodes()).filter(|peer| *peer != node) {
            let pong = dynamo_protocol::Envelope {
                from: self.setup.ids[usize::from(node)],
                identity,
                to: self.setup.ids[usize::from(peer)],
                message: dynamo_protocol::Message::Pong { nonce: None },
                position: 0,
                epoch: Epoch::GENESIS,
                heard: None,
                era: 0,
            };
            let input = self.tables.input(self.setup, HostInput::Handle(Input::Peer(pong)));
            self.run(peer, input);
        }
    }

    /// What a peer tells a node that is to learn of the next membership.
    pub(crate) fn next_epoch(&mut self, node: u8) -> u32 {
        let view = &self.setup.views[self.tables.facts(self.host(node)).epoch + 1];
        let peer = (node + 1) % self.nodes();
        let envelope = dynamo_protocol::Envelope {
            from: self.setup.ids[usize::from(peer)],
            identity: self.tables.hosts.get(self.host(peer)).store.meta.identity,
            to: self.setup.ids[usize::from(node)],
            message: dynamo_protocol::Message::Register(Call::Membership {
                epochs: vec![view.history().latest().clone()],
            }),
            position: 0,
            epoch: view.epoch(),
            heard: None,
            era: 0,
        };
        self.tables.input(self.setup, HostInput::Handle(Input::Peer(envelope)))
    }

    /// A process that starts knows whom its peers are. Where no directory is lost it makes no
    /// difference: an identity heard for the first time and one heard again are the same to it.
    fn recall(&mut self, node: u8) {
        if self.spec.reductions.warm && self.spec.faults.wipes == 0 {
            for pong in self.pongs_to(node) {
                let host = self.tables.effect(self.setup, self.host(node), pong).host;
                self.world.hosts[usize::from(node)] = host;
            }
        }
    }

    /// Puts a message under way. They are kept in the order of their hashes: numbers depend on what
    /// was met first, and the order of a state's actions must not.
    pub(crate) fn send(&mut self, message: u32) {
        let hash = self.tables.inputs.hash(message);
        let flight = &mut self.world.flight;
        let place = flight.binary_search_by_key(&hash, |other| self.tables.inputs.hash(*other));
        if let Err(at) = place {
            flight.insert(at, message);
        }
    }

    fn unreachable(&mut self, peer: u8) -> u32 {
        let id = self.setup.ids[usize::from(peer)];
        self.tables.input(self.setup, HostInput::Handle(Input::Unreachable(id)))
    }

    pub(crate) fn is_no_news(&mut self, node: u8, input: u32) -> bool {
        let host = self.host(node);
        self.tables.changes_nothing(self.setup, host, input)
    }

    pub(crate) fn is_deliverable(&self, message: u32) -> bool {
        let wire = self.tables.wire(message);
        self.reaches(wire.from, wire.to)
    }

    /// Whether what `from` sends arrives at `to`. A sender that is down by now has sent it.
    fn reaches(&self, from: u8, to: u8) -> bool {
        self.is_up(to) && self.world.connected(from, to)
    }

    fn somebody_waits_at(&self, node: u8) -> bool {
        self.world.clients.iter().any(|client| client.waits_at == node + 1)
    }

    pub(crate) fn is_up(&self, node: u8) -> bool {
        self.tables.facts(self.host(node)).up
    }

    pub(crate) fn host(&self, node: u8) -> u32 {
        self.world.hosts[usize::from(node)]
    }

    pub(crate) fn nodes(&self) -> u8 {
        u8::try_from(self.spec.nodes).expect("there are few nodes")
    }

    fn index(&self, id: dynamo_protocol::NodeId) -> u8 {
        u8::try_from(self.setup.index(id)).expect("there are few nodes")
    }

    /// Nodes that are alike are taken in order: nothing yet has happened to any of them that did not
    /// happen to all, so what happens to one of them might as well happen to the first. They are
    /// alike only if all are homes: a fallback is not, and where there are fallbacks the order of
    /// the homes decides who is asked.
    fn may_touch(&self, node: u8) -> bool {
        let touched = |node: u8| self.world.touched >> node & 1 == 1;
        !self.is_symmetric() || touched(node) || (0..node).all(touched)
    }

    fn is_symmetric(&self) -> bool {
        self.spec.reductions.alike && self.spec.nodes == self.spec.settings.n
    }
}

impl Client {
    /// The step has ended, however.
    pub(crate) fn go_on(&mut self) {
        self.step += 1;
        self.waits_at = 0;
        (self.must, self.floor) = (0, 0);
    }
}
