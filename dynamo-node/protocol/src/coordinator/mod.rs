//! Coordinating: one operation from a client's request to its reply and what follows it.

mod forward;
mod forwarded;
mod get;
mod held;
mod next;
mod put;
mod quorum;
#[cfg(test)]
mod testing;

use std::sync::Arc;

pub(crate) use forwarded::Forwarded;
pub(crate) use held::Held;

use crate::coordinator::forward::Forward;
use crate::coordinator::get::Get;
use crate::coordinator::next::{Next, Terms};
use crate::coordinator::put::Put;
use crate::coordinator::quorum::Tally;
use crate::id::{Key, NodeId, OpId, RequestId};
use crate::io::{Discard, Event, Timer};
use crate::message::{Answer, Message};
use crate::mode::Quorum;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::operations::Operation;
use crate::request::{ClientOp, Refusal, Reply};
use crate::step::Step;
use crate::storage::{Place, Role, Store};
use crate::version::{Dot, Siblings};
use crate::view::Epoch;

/// Who waits for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// A client of this node.
    Client(RequestId),
    /// A node that forwarded its client's request, under its operation.
    Peer(NodeId, OpId),
}

/// Who asks for something. A request that has to begin anew goes on as the operation that it began as: that
/// one's deadline is its own, however often it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    origin: Origin,
    began_as: Option<OpId>,
}

/// A request that is open at this node, and what it has come to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Request {
    Put(Put),
    Get(Get),
    Forward(Forward),
    Held(Held),
}

/// Where a request is coordinated.
enum Venue {
    Here(Role),
    At(NodeId),
    Nowhere,
}

impl Node {
    /// A client of this node asks: a home coordinates; another node forwards to a home; and only
    /// if no home is believed alive does a fallback coordinate itself (paper, section 4.5).
    pub(crate) fn accept<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        asker: Asker,
        request: ClientOp,
    ) {
        if let Err(refusal) = self.check_size(&request) {
            return self.refuse(step, asker, refusal);
        }
        let view = Arc::clone(&self.view);
        let homes = view.homes(request.key());
        match self.venue(homes) {
            Venue::Here(role) => self.coordinate(step, asker, request, role),
            Venue::At(home) => self.forward(step, asker, request, home),
            Venue::Nowhere => {
                let needed = self.slots_needed(&request);
                self.refuse(step, asker, Refusal::Unavailable { needed, reachable: 0 });
            }
        }
    }

    fn venue(&self, homes: &[NodeId]) -> Venue {
        if homes.contains(&self.me) {
            return Venue::Here(Role::Home);
        }
        match homes.iter().find(|home| self.detector.is_alive(**home)) {
            Some(home) => Venue::At(*home),
            None if self.settings.quorum == Quorum::Sloppy => Venue::Here(Role::Hint(homes[0])),
            None => Venue::Nowhere,
        }
    }

    /// A peer forwards its client's request: it is not forwarded a second time, and a put of which a
    /// copy came before is not coordinated a second time.
    pub(crate) fn take_over<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        request: ClientOp,
    ) {
        assert_ne!(from, self.me, "what a node asks of itself it does at once");
        let is_put = matches!(request, ClientOp::Put { .. });
        if is_put && !self.forwarded.is_first(from, op) && !mutated(Mutant::CopyMints) {
            return step.event(Event::Discarded(from, Discard::Repeated));
        }
        let asker = Asker::new(Origin::Peer(from, op));
        if let Err(refusal) = self.check_size(&request) {
            return self.refuse(step, asker, refusal);
        }
        let view = Arc::clone(&self.view);
        let homes = view.homes(request.key());
        match self.role_of(homes) {
            Some(role) => self.coordinate(step, asker, request, role),
            None => self.refuse(step, asker, Refusal::NotHome(self.me)),
        }
    }

    /// As what this node coordinates a request that it may not pass on: who passed it on goes by another
    /// membership, and a sloppy cluster refuses nothing for that.
    pub(super) fn role_of(&self, homes: &[NodeId]) -> Option<Role> {
        if homes.contains(&self.me) {
            return Some(Role::Home);
        }
        (self.settings.quorum == Quorum::Sloppy).then(|| Role::Hint(homes[0]))
    }

    /// Claims this node's own slot, gives every other one a host, and begins if enough of them are
    /// believed alive.
    pub(crate) fn coordinate<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        asker: Asker,
        request: ClientOp,
        role: Role,
    ) {
        if matches!(request, ClientOp::Put { .. }) && self.is_held(step, role, request.key()) {
            return self.hold(step, asker, request, role);
        }
        let view = Arc::clone(&self.view);
        let (homes, fallbacks) = view.preference_list(request.key());
        let is_home = homes.contains(&self.me);
        match role {
            Role::Home => assert!(is_home, "{} coordinates as a home, and is none", self.me),
            Role::Hint(target) => {
                assert!(!is_home, "{} stands in for a home, and is one", self.me);
                assert!(homes.contains(&target), "a fallback stands in for a home: {target}");
            }
        }
        let (tally, reachable) = self.tally(homes, fallbacks, role);
        let needed = self.slots_needed(&request);
        assert!((1..=homes.len()).contains(&needed), "{needed} of {} slots", homes.len());
        if reachable < needed {
            return self.refuse(step, asker, Refusal::Unavailable { needed, reachable });
        }
        match request {
            ClientOp::Get { key } => self.begin_get(step, asker, key, role, tally),
            ClientOp::Put { key, context, value } => {
                let place = Place { role, key };
                let value = value.filter(|v| !v.is_empty() || !mutated(Mutant::EmptyDeletes));
                match self.mint(step, &place, &context, value) {
                    Ok(minted) => self.begin_put(step, asker, place, minted, tally),
                    Err(refusal) => self.refuse(step, asker, refusal),
                }
            }
        }
    }

    /// Whom an operation asks that this node coordinates in `role`, and how many of them are believed alive.
    fn tally(&self, homes: &[NodeId], fallbacks: &[NodeId], role: Role) -> (Tally, usize) {
        let mut tally = Tally::new(homes, fallbacks);
        if self.settings.quorum == Quorum::Strict && !mutated(Mutant::SloppyAsStrict) {
            tally.homes_only();
        }
        match role {
            Role::Home => tally.claim(self.me, self.me),
            Role::Hint(target) => tally.claim(target, self.me),
        }
        let reachable = tally.assign(|host| self.detector.is_alive(host));
        (tally, reachable)
    }

    /// The key of a request has had other homes since it was begun.
    pub(crate) fn request_outdated<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(request) = self.operations.request(op.seq) else { return };
        let (Some(key), origin) = (request.key().cloned(), request.origin()) else { return };
        let view = Arc::clone(&self.view);
        let (homes, fallbacks) = view.preference_list(&key);
        let is_put = matches!(request, Request::Put(_));
        let is_home = homes.contains(&self.me);
        // What is left to be done for one that has its reply, others see to.
        let Some(origin) = origin.filter(|_| is_home || !is_put) else {
            return self.end_request(step, op);
        };
        if !is_home {
            let asker = self.suspend(op, origin);
            return match origin {
                Origin::Client(_) => self.accept(step, asker, ClientOp::Get { key }),
                Origin::Peer(..) => self.refuse(step, asker, Refusal::NotHome(self.me)),
            };
        }
        let (mut tally, _) = self.tally(homes, fallbacks, Role::Home);
        let tenure = self.tenure_of(&key);
        step.event(Event::CountedAnew(op));
        if is_put {
            tally.answered(self.me, self.acknowledges(&key));
            self.tell_put(step, op, |put, terms| put.count_anew(terms, (tenure, tally)));
        } else {
            self.tell_get(step, op, |get, terms| get.count_anew(terms, (tenure, tally)));
            let own = self.answer(step, Role::Home, &key);
            self.request_fetched(step, self.me, op, own);
        }
    }

    /// Ends a put or a get; whoever still waits for it is told that its time is up.
    fn end_request<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        match self.operations.request(op.seq) {
            Some(Request::Put(_)) => {
                self.tell_put(step, op, |put, _| put.end());
            }
            Some(Request::Get(_)) => {
                self.tell_get(step, op, |get, _| get.end());
            }
            Some(Request::Forward(_) | Request::Held(_)) | None => {}
        }
    }

    fn slots_needed(&self, request: &ClientOp) -> usize {
        match request {
            ClientOp::Get { .. } => self.settings.r,
            ClientOp::Put { .. } => self.settings.w,
        }
    }

    fn check_size(&self, request: &ClientOp) -> Result<(), Refusal> {
        let limits = &self.settings.limits;
        let (bytes, limit) = (request.key().as_bytes().len(), limits.key_bytes);
        if bytes > limit {
            return Err(Refusal::KeyTooLong { bytes, limit });
        }
        match request {
            ClientOp::Put { value: Some(value), .. } if value.len() > limits.value_bytes => {
                let (bytes, limit) = (value.len(), limits.value_bytes);
                Err(Refusal::ValueTooLong { bytes, limit })
            }
            ClientOp::Get { .. } | ClientOp::Put { .. } => Ok(()),
        }
    }

    /// The hosts of `tally` other than this one, and as what each was asked.
    fn others(&self, tally: &Tally) -> Vec<(NodeId, Role)> {
        tally.asked().filter(|(host, _)| *host != self.me).collect()
    }

    fn coordinating<S>(&self, step: &mut Step<'_, S>, op: OpId, origin: Origin, role: Role) {
        let request = match origin {
            Origin::Client(request) => Some(request),
            Origin::Peer(..) => None,
        };
        step.event(Event::Coordinating { op, request, role });
    }

    /// Opens `request` as operation `op`.
    fn open_request(&mut self, op: OpId, request: Request) {
        assert!(self.is_mine(op), "{op} is opened by another process");
        assert!(request.origin().is_some(), "somebody waits for what was asked");
        self.operations.insert(op.seq, Operation::Request(request));
    }

    /// The operation under which what is asked for goes on: with a hedging delay of its own.
    fn begin<S>(&mut self, step: &mut Step<'_, S>, asker: Asker) -> OpId {
        match asker.began_as {
            Some(op) => {
                step.set_timer(Timer::Hedge(op), self.settings.timing.hedge);
                op
            }
            None => self.open(step),
        }
    }

    /// Takes a request out of what is open, for [`Node::accept`], [`Node::coordinate`] or [`Node::refuse`].
    fn suspend(&mut self, op: OpId, origin: Origin) -> Asker {
        let open = self.operations.remove(op.seq);
        assert!(open.is_some(), "{op} is open before it begins anew");
        Asker { origin, began_as: Some(op) }
    }

    /// Nothing is done.
    fn refuse<S: Store>(&self, step: &mut Step<'_, S>, asker: Asker, refusal: Refusal) {
        self.reply(step, asker.origin, Reply::Refused(refusal));
        if let Some(op) = asker.began_as {
            self.cancel_timers(step, op);
        }
    }

    fn begin_get<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        asker: Asker,
        key: Key,
        role: Role,
        tally: Tally,
    ) {
        let (op, origin) = (self.begin(step, asker), asker.origin);
        self.coordinating(step, op, origin, role);
        for (host, role) in self.others(&tally) {
            self.send(step, host, Message::Fetch { op, role, key: key.clone() });
        }
        let own = self.answer(step, role, &key);
        let tenure = self.tenure_of(&key);
        let get = Get::new(origin, key, (tenure, tally), self.settings.versioning);
        self.open_request(op, Request::Get(get));
        self.request_fetched(step, self.me, op, own);
    }

    fn begin_put<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        asker: Asker,
        Place { role, key }: Place,
        (dot, set): (Option<Dot>, Siblings),
        mut tally: Tally,
    ) {
        let (op, origin) = (self.begin(step, asker), asker.origin);
        self.coordinating(step, op, origin, role);
        step.event(Event::Minted { op, dot });
        for (host, role) in self.others(&tally) {
            let (key, set) = (key.clone(), set.clone());
            self.send(step, host, Message::Store { op, role, key, set, lasts: true });
        }
        let counts = self.acknowledges(&key);
        tally.answered(self.me, counts);
        assert_eq!(
            tally.granted() > 0,
            counts,
            "a put is stored where it was minted before anything is sent"
        );
        let tenure = self.tenure_of(&key);
        self.open_request(op, Request::Put(Put::new(origin, key, set, (tenure, tally))));
        self.tell_put(step, op, |put, terms| put.check(terms));
    }

    /// Tells a put what happened and does what it says; whether it said anything.
    fn tell_put<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        op: OpId,
        happened: impl FnOnce(&mut Put, Terms<'_>) -> Vec<Next>,
    ) -> bool {
        let terms = Terms { me: self.me, settings: &self.settings, peers: &self.detector };
        let Some(Request::Put(put)) = self.operations.request_mut(op.seq) else {
            unreachable!("{op} was found to be an open put");
        };
        let next = happened(put, terms);
        self.carry_out(step, op, next)
    }

    /// The same for a get.
    fn tell_get<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        op: OpId,
        happened: impl FnOnce(&mut Get, Terms<'_>) -> Vec<Next>,
    ) -> bool {
        let terms = Terms { me: self.me, settings: &self.settings, peers: &self.detector };
        let Some(Request::Get(get)) = self.operations.request_mut(op.seq) else {
            unreachable!("{op} was found to be an open get");
        };
        let next = happened(get, terms);
        self.carry_out(step, op, next)
    }

    /// A host has stored what a request sent it, or could not.
    pub(crate) fn request_stored<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        stored: bool,
    ) {
        match self.operations.request(op.seq) {
            Some(Request::Put(_)) => {
                self.tell_put(step, op, |put, terms| put.answered(terms, from, stored));
            }
            Some(Request::Get(_)) => {
                self.tell_get(step, op, |get, terms| get.stored(terms, from, stored));
            }
            // It sent nothing to be stored: whoever says so is wrong.
            Some(Request::Forward(_) | Request::Held(_)) | None => {}
        }
    }

    /// A host says what it holds. A get that is closed has what it needs.
    pub(crate) fn request_fetched<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        answer: Answer,
    ) {
        if let Some(Request::Get(_)) = self.operations.request(op.seq) {
            self.tell_get(step, op, |get, terms| get.answered(terms, from, answer));
        }
    }

    /// Some of those asked are slow: they are suspected, and others are asked in their place.
    pub(crate) fn hedge_due<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(request) = self.operations.request(op.seq).filter(|_| self.is_mine(op)) else {
            return;
        };
        let is_held = matches!(request, Request::Held(_));
        for host in request.silent() {
            self.suspect(step, host);
        }
        if is_held {
            self.give_up_on_proof(step);
        } else if self.ask_others(step, op) {
            step.set_timer(Timer::Hedge(op), self.settings.timing.hedge);
        }
    }

    /// Asks spares for the slots that lack a grant. Says whether anyone new was asked.
    fn ask_others<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) -> bool {
        match self.operations.request(op.seq) {
            Some(Request::Put(_)) => self.tell_put(step, op, |put, terms| put.hedge(terms, true)),
            Some(Request::Get(_)) => self.tell_get(step, op, |get, terms| get.hedge(terms, true)),
            Some(Request::Forward(_)) => {
                self.forward_silent(step, op);
                false
            }
            Some(Request::Held(_)) | None => false,
        }
    }

    /// The link to `host` broke: operation `seq` hardly gets an answer from it.
    pub(crate) fn host_lost<S: Store>(&mut self, step: &mut Step<'_, S>, seq: u64, host: NodeId) {
        let op = self.op(seq);
        match self.operations.request(seq) {
            Some(Request::Put(put)) if put.silent().contains(&host) => {
                self.tell_put(step, op, |put, terms| put.answered(terms, host, false));
            }
            Some(Request::Get(get)) if get.waits_for(host) => {
                self.tell_get(step, op, |get, terms| get.lost(terms, host));
            }
            Some(Request::Forward(forward)) if forward.home() == host => {
                self.forward_silent(step, op);
            }
            _ => self.stray_home_lost(step, op, host),
        }
    }

    pub(crate) fn deadline_passed<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        if !self.is_mine(op) {
            return;
        }
        match self.operations.request(op.seq) {
            Some(Request::Put(_)) => {
                self.tell_put(step, op, |put, _| put.end());
            }
            Some(Request::Get(_)) => {
                self.tell_get(step, op, |get, terms| get.deadline(terms));
            }
            Some(Request::Forward(_)) => self.forward_timed_out(step, op),
            Some(Request::Held(_)) => self.held_too_long(step, op),
            None => {}
        }
    }
}

impl Asker {
    /// Who asks now.
    pub(crate) fn new(origin: Origin) -> Self {
        Self { origin, began_as: None }
    }
}

impl Request {
    /// Who waits for it, if anybody still does.
    pub(crate) fn origin(&self) -> Option<Origin> {
        match self {
            Self::Put(put) => put.origin(),
            Self::Get(get) => get.origin(),
            Self::Forward(forward) => Some(forward.origin()),
            Self::Held(held) => Some(held.origin()),
        }
    }

    pub(crate) fn origin_mut(&mut self) -> Option<&mut Origin> {
        match self {
            Self::Put(put) => put.origin_mut(),
            Self::Get(get) => get.origin_mut(),
            Self::Forward(forward) => Some(forward.origin_mut()),
            Self::Held(held) => Some(held.origin_mut()),
        }
    }

    /// It has answered and will send nothing any more, whatever it is answered. If `hosts_fail`, one that
    /// would then ask another host is not finished.
    pub(crate) fn is_finished(&self, hosts_fail: bool) -> bool {
        match self {
            Self::Put(put) => put.is_finished(hosts_fail),
            Self::Get(get) => get.is_finished(),
            Self::Forward(_) | Self::Held(_) => false,
        }
    }

    /// The key that a get or a put is about.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Put(put) => Some(put.key()),
            Self::Get(get) => Some(get.key()),
            Self::Forward(_) | Self::Held(_) => None,
        }
    }

    /// In which tenure of its key hosts are counted; none are for what is passed on or waits.
    pub(crate) fn tenure(&self) -> Epoch {
        match self {
            Self::Put(put) => put.tenure(),
            Self::Get(get) => get.tenure(),
            Self::Forward(_) | Self::Held(_) => Epoch::GENESIS,
        }
    }

    /// Hosts that were asked, have not answered, and are still needed.
    fn silent(&self) -> Vec<NodeId> {
        match self {
            Self::Put(put) => put.silent(),
            Self::Get(get) => get.silent(),
            Self::Forward(forward) => vec![forward.home()],
            // It asks nobody: the node itself does.
            Self::Held(_) => Vec::new(),
        }
    }
}
