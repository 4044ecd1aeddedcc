//! The one task that owns the protocol node.
//!
//! ```text
//! arrivals -> handle each -> one batch of changes -> committer
//!                         -> outputs, held until that batch is durable -> peers, clients, timers
//! ```
//!
//! While a batch is being made durable the next one is filled. No rule of the protocol is here: this
//! file moves values.

mod ending;
mod held;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamo_protocol::membership::Edit;
use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{
    ClientOp, Envelope, Epoch, Event, Identity, Input, Key, Node, NodeId, Output, Place, Record,
    RequestId, Skew, Store, StoreError, Time,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, Sleep};

pub use ending::Fatal;
use held::{Effects, Held};

use crate::admission::Admission;
use crate::clock::Clock;
use crate::commit::{Committer, Reached};
use crate::config::Durability;
use crate::metrics::{Measures, Moment, Text};
use crate::proposals::Proposals;
use crate::record::Recorder;
use crate::replies::{Answer, Excess, Overload, ReplyTo};
use crate::ring::{self, Proposed, RingReport};
use crate::status::Status;
use crate::stepped::{Step, Stepped};
use crate::storage::Records;
use crate::telemetry::Telemetry;
use crate::timers::Timers;
use crate::told::Told;
use crate::transport::{Book, Transport};
use crate::wire::Agreement;

/// How many arrivals may wait. One is what one read of a stream brought, some 256 KiB at most unless a
/// single message is larger: enough to keep the driver busy, little enough that a slow disk is felt by
/// those who send.
pub(crate) const ARRIVALS: usize = 256;
/// How many KiB of peers' messages may wait with them, or one message however large. A get has the answers of
/// its peers here before anything of it is counted, and 256 of the largest would be 256 MiB.
pub(crate) const ARRIVALS_KIB: usize = 16 << 10;
/// How many arrivals one batch takes: what comes later in a long queue must not hold up what came first.
const TURN: usize = 64;
/// How long clients' requests are begun before peers and timers are looked after again.
const CLIENT_TURN: Duration = Duration::from_millis(2);
/// How many of one batch are begun before the next one has its turn: few, since a get of the largest value
/// takes a millisecond.
const SLICE: usize = 16;
/// How many bytes may wait for the disk before no more is handled: a second of a slow one.
const UNDURABLE_BYTES: usize = 64 << 20;
/// How many client requests may be open. Each may hold a value of 1 MiB, most hold hundreds of bytes.
/// More are refused, which tells a client more than a late answer would.
const OPEN_REQUESTS: usize = 1 << 15;
/// How many bytes the open ones may hold, or one of them however large: sixty-four of the largest values.
/// What a put holds here its peers, and the disk, are about to hold too.
const OPEN_BYTES: usize = 64 << 20;
/// How often some of the records are looked at that nobody has asked for since the directory was closed: a
/// million small ones are in a minute, for a twentieth of a processor.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the network brings.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// From one peer; its room goes when they are handled.
    Peer(Vec<Envelope>, OwnedSemaphorePermit),
    /// A link broke or cannot be made.
    Unreachable(NodeId),
    /// Where members are reached, as one of them says.
    Addresses { from: NodeId, told: Vec<(NodeId, String)> },
}

/// A client's request.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) op: ClientOp,
    pub(crate) reply_to: ReplyTo,
    /// When it was read.
    at: Instant,
}

impl Asked {
    pub(crate) fn now(op: ClientOp, reply_to: ReplyTo) -> Self {
        Self { op, reply_to, at: Instant::now() }
    }

    /// About how many bytes it holds while it is open.
    fn bytes(&self) -> usize {
        match &self.op {
            ClientOp::Get { key } => key.0.len(),
            ClientOp::Put { key, value, .. } => key.0.len() + value.as_ref().map_or(0, Bytes::len),
        }
    }
}

/// A client's request that is not answered.
struct Open {
    reply_to: ReplyTo,
    bytes: usize,
    at: Instant,
    is_get: bool,
}

/// A home record straight from storage.
pub(crate) type ReplicaRead = Result<Option<Record>, StoreError>;

/// What operators ask.
#[derive(Debug)]
pub(crate) enum Command {
    Status(oneshot::Sender<Status>),
    Metrics(oneshot::Sender<Text>),
    ReadReplica(Key, oneshot::Sender<ReplicaRead>),
    /// Sets the clock wrong, if there is how; what it reads then.
    Clock(Option<Skew>, oneshot::Sender<Time>),
    Ring(oneshot::Sender<RingReport>),
    /// What is answered once it is known.
    Propose {
        edit: Edit,
        expect: Option<Epoch>,
        asker: oneshot::Sender<Proposed>,
    },
    /// What is answered once it is durable.
    ForceEpoch {
        edit: Edit,
        expect: Epoch,
        asker: oneshot::Sender<Proposed>,
    },
    /// How many entries were forgotten; nothing if storage failed.
    Prune(Key, oneshot::Sender<Option<usize>>),
    /// In how many ranges it counts that did not before; nothing if storage failed.
    AcceptLoss(oneshot::Sender<Option<usize>>),
    /// Of a node that is stepped by hand, and of no other.
    Step(Step, oneshot::Sender<Stepped>),
    Stop,
}

/// See the [module](self).
pub(crate) struct Driver<T> {
    node: Node,
    store: Records,
    recorder: Option<Recorder>,
    committer: Committer,
    clock: Clock,
    timers: Timers,
    transport: T,
    telemetry: Telemetry,
    measures: Measures,
    admission: Admission,
    /// Of clients, what is not begun.
    backlog: VecDeque<std::vec::IntoIter<Asked>>,
    requests: HashMap<RequestId, Open>,
    /// What they hold.
    open_bytes: usize,
    next_request: u64,
    proposals: Proposals,
    /// What the turn under way wants done.
    effects: Effects,
    /// What waits for its batch to be durable, in order.
    held: VecDeque<Held>,
    /// The bytes of the batches among them.
    undurable: usize,
    /// What waits only until its batch is written, in order, with the number of the batch.
    early: VecDeque<(u64, Output)>,
    /// The last batch that was submitted, and how far they are.
    submitted: u64,
    reached: Reached,
    /// Whether a put need be durable at its coordinator alone.
    one: bool,
    /// Under which identity the node speaks, and the batch that brought it.
    identity: (Identity, u64),
    /// Until when the open requests may still be answered, if the node is to end.
    ends: Option<Instant>,
    /// The membership, if there is one, that goes on without it.
    removed: Option<Epoch>,
    about: About,
    started: Instant,
}

/// What a node tells about itself.
#[derive(Debug)]
pub(crate) struct About {
    /// The nonce of this start.
    pub(crate) incarnation: u64,
    /// What it holds its peers to.
    pub(crate) agreement: Arc<Agreement>,
    /// Where it finds them.
    pub(crate) book: Arc<Book>,
}

/// Where arrivals and commands come from.
pub(crate) struct Sources {
    /// From peers, and of them.
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    /// From clients, a batch a session.
    pub(crate) clients: mpsc::Receiver<Vec<Asked>>,
    pub(crate) commands: mpsc::Receiver<Command>,
}

impl<T: Transport> Driver<T> {
    pub(crate) fn new(
        node: Node,
        about: About,
        (store, recorder): (Records, Option<Recorder>),
        (committer, durability): (Committer, Durability),
        transport: T,
        telemetry: Telemetry,
    ) -> Self {
        let identity = (node.meta().identity, 0);
        Self {
            node,
            store,
            recorder,
            committer,
            clock: Clock::new(),
            timers: Timers::default(),
            transport,
            telemetry,
            measures: Measures::default(),
            admission: Admission::default(),
            backlog: VecDeque::new(),
            requests: HashMap::new(),
            open_bytes: 0,
            next_request: 0,
            proposals: Proposals::default(),
            effects: Effects::default(),
            held: VecDeque::new(),
            undurable: 0,
            early: VecDeque::new(),
            submitted: 0,
            reached: Reached { written: 0, durable: 0 },
            one: durability == Durability::One,
            identity,
            ends: None,
            removed: None,
            about,
            started: Instant::now(),
        }
    }

    /// Runs until the node is told to end, or has to.
    pub(crate) async fn run(mut self, mut sources: Sources) -> Result<(), Fatal> {
        self.step(self.clock.now(), Input::Started);
        self.submit()?;
        let (mut arrived, mut asked) = (Vec::with_capacity(TURN), Vec::with_capacity(TURN));
        let mut alarm = Box::pin(tokio::time::sleep(Duration::ZERO));
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.has_ended() {
            self.arm(alarm.as_mut());
            tokio::select! {
                biased;
                reached = self.committer.changed() => self.made_durable(reached?),
                Some(command) = sources.commands.recv() => self.command(command),
                () = alarm.as_mut() => {
                    self.hear_out(&mut sources.arrivals);
                    self.run_timers();
                }
                // What is begun is ended first: new requests wait while answers of peers do.
                _ = sources.arrivals.recv_many(&mut arrived, TURN), if self.has_room() => {
                    arrived.drain(..).for_each(|arrival| self.arrive(arrival));
                    // And yet peers that never fall silent do not keep clients from being heard.
                    self.serve_clients();
                }
                _ = sources.clients.recv_many(&mut asked, TURN), if self.backlog.len() < ARRIVALS => {
                    self.backlog.extend(asked.drain(..).map(Vec::into_iter));
                }
                () = std::future::ready(()), if !self.backlog.is_empty() && self.has_room() => {
                    self.serve_clients();
                }
                _ = looks.tick(), if self.store.unseen() > 0 => self.look_on(),
            }
            self.submit()?;
            if let Some(epoch) = self.removed {
                return Err(Fatal::Removed { epoch, node: self.node.me() });
            }
        }
        self.turn_away(&mut sources.clients);
        let Self { committer, store, .. } = self;
        committer.close(store.close());
        Ok(())
    }

    /// The only place where the protocol is run.
    fn step(&mut self, now: Time, input: Input) {
        self.telemetry.counters.steps += 1;
        match &input {
            Input::Client { .. } => tracing::debug!("{}", Told(&input)),
            _ => tracing::trace!("{}", Told(&input)),
        }
        let outbox = &mut self.effects.outbox;
        let (early, before) = (input.early().filter(|_| self.one), outbox.outputs.len());
        match &mut self.recorder {
            None => self.node.handle(now, input, &mut self.store, outbox),
            Some(recorder) => recorder.step(&mut self.node, now, input, &mut self.store, outbox),
        }
        let (identity, since) = self.identity;
        if let Some(early) = early.filter(|_| since <= self.reached.durable) {
            let may_go = |output: &mut Output| early.is(output, identity);
            let gone = self.effects.outbox.outputs.extract_if(before.., may_go);
            self.effects.early.extend(gone);
        }
    }

    /// Looks at some of what lies here since before the start.
    fn look_on(&mut self) {
        self.store.look_on();
        if self.store.unseen() == 0 {
            tracing::info!("all records are what they were when the directory was closed");
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = self.clock.now();
        match arrival {
            Arrival::Peer(envelopes, _room) => {
                envelopes.into_iter().for_each(|envelope| self.step(now, Input::Peer(envelope)));
            }
            Arrival::Unreachable(peer) => self.step(now, Input::Unreachable(peer)),
            Arrival::Addresses { from, told } => {
                for (node, address) in self.about.book.learn(from, told) {
                    tracing::info!(%node, address, said_by = %from, "is reached there");
                    self.store.keep_address(node, &address);
                    self.transport.meet(node);
                }
            }
        }
    }

    /// Hears what has come from peers by now: a timer that waits for a peer must not run out because its
    /// answer lies here unread.
    fn hear_out(&mut self, arrivals: &mut mpsc::Receiver<Arrival>) {
        for _ in 0..arrivals.len() {
            let Ok(arrival) = arrivals.try_recv() else { return };
            self.arrive(arrival);
        }
    }

    /// Begins some of what clients ask, a few of each in turn: one that asks for much, or for what takes
    /// long, keeps nobody else waiting.
    fn serve_clients(&mut self) {
        let end = Instant::now() + CLIENT_TURN;
        while let Some(mut batch) = self.backlog.pop_front() {
            let (now, clock) = (Instant::now(), self.clock.now());
            batch.by_ref().take(SLICE).for_each(|asked| self.ask(now, clock, asked));
            if batch.len() > 0 {
                self.backlog.push_back(batch);
            }
            if Instant::now() >= end {
                return;
            }
        }
    }

    fn ask(&mut self, now: Instant, clock: Time, asked: Asked) {
        if self.ends.is_some() {
            return asked.reply_to.answer(Answer::Stopping);
        }
        let bytes = asked.bytes();
        if let Some(overload) = self.overload(now, &asked, bytes) {
            self.telemetry.counters.overloaded += 1;
            return asked.reply_to.answer(Answer::Overloaded(overload));
        }
        let Asked { op, reply_to, at } = asked;
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.open_bytes += bytes;
        let waited = now.saturating_duration_since(at);
        self.measures.waited.observe(waited.as_secs_f64());
        self.admission.waited(now, waited);
        let is_get = matches!(op, ClientOp::Get { .. });
        self.requests.insert(request, Open { reply_to, bytes, at, is_get });
        let before = self.store.bytes_read();
        self.step(clock, Input::Client { request, op });
        // What a get has read here it holds until it is answered, and R-1 answers of others like it.
        let answers = if is_get { self.node.settings().r } else { 1 };
        let read = (self.store.bytes_read() - before) * answers;
        if let Some(open) = self.requests.get_mut(&request) {
            open.bytes += read;
            self.open_bytes += read;
        }
    }

    /// Why a request is better not begun, if it is.
    fn overload(&self, now: Instant, asked: &Asked, bytes: usize) -> Option<Overload> {
        let deadline = self.node.settings().timing.deadline;
        let age = now.saturating_duration_since(asked.at);
        // Half of the time in which it can be answered is gone, and what is left is that of those before it.
        let what = if age > deadline / 2 {
            Excess::Age(age)
        } else if self.requests.len() >= OPEN_REQUESTS {
            Excess::Open
        } else if self.open_bytes > 0 && self.open_bytes + bytes > OPEN_BYTES {
            Excess::Bytes
        } else {
            return None;
        };
        // Those that wait now are done by then, or refused as well.
        Some(Overload { what, after: age.clamp(Duration::from_millis(50), deadline) })
    }

    fn run_timers(&mut self) {
        let (due, now) = (Instant::now(), self.clock.now());
        while let Some(timer) = self.timers.pop(due) {
            match self.admission.puts_off(timer, due) {
                Some(after) => {
                    self.telemetry.counters.background_put_off += 1;
                    self.timers.set(timer, due + after);
                }
                None => self.step(now, Input::Timer(timer)),
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            // An identity that is not durable yet is told to nobody, and by then what happened is counted.
            Command::Status(asker) => {
                let status = self.status();
                self.effects.statuses.push((asker, status));
            }
            // Told at once: a disk that does not answer shows in them.
            Command::Metrics(asker) => {
                let counters = self.telemetry.snapshot();
                let status = Status { counters, ..self.status() };
                let moment = Moment {
                    open_bytes: self.open_bytes,
                    undurable: self.undurable,
                    links: self.transport.waiting(),
                };
                drop(asker.send(self.measures.text(&status, &moment)));
            }
            Command::ReadReplica(key, asker) => {
                let read = self.store.record(&Place::home(key));
                self.effects.replicas.push((asker, read));
            }
            Command::Prune(key, asker) => {
                self.operate(Input::Prune(key), asker, |event| match event {
                    Event::Pruned(entries) => Some(*entries),
                    _ => None,
                });
            }
            Command::AcceptLoss(asker) => {
                self.operate(Input::AcceptLoss, asker, |event| match event {
                    Event::LossAccepted { ranges } => Some(*ranges),
                    _ => None,
                });
            }
            Command::Ring(asker) => {
                let report = self.ring();
                self.effects.rings.push((asker, report));
            }
            Command::Propose { edit, expect, asker } => {
                if self.proposals.wait(edit, expect, asker) {
                    self.step(self.clock.now(), Input::Propose { edit, expect });
                }
            }
            Command::ForceEpoch { edit, expect, asker } => {
                self.proposals.wait_along(edit, asker);
                self.step(self.clock.now(), Input::ForceEpoch { edit, expect });
            }
            Command::Clock(skew, asker) => {
                if let Some(skew) = skew {
                    self.clock.set(skew);
                }
                let _ = asker.send(self.clock.now());
            }
            // The service has refused it.
            Command::Step(..) => {}
            Command::Stop => {
                // A little more than the deadline, after which the protocol has answered everything.
                let patience = self.node.settings().timing.deadline + Duration::from_millis(100);
                let at_once = mutated(Mutant::StopAnswersNobody);
                let patience = if at_once { Duration::ZERO } else { patience };
                self.ends.get_or_insert(Instant::now() + patience);
            }
        }
    }

    /// Ends a turn: its changes go to the committer, and what it wants done waits for them and for
    /// all that was applied before.
    fn submit(&mut self) -> Result<(), Fatal> {
        if let Some(recorder) = &mut self.recorder {
            recorder.flush();
        }
        // Before anything goes out, or to the disk, that rests on it.
        if let Some(doubt) = self.store.doubt() {
            return Err(doubt.clone().into());
        }
        let mut effects = std::mem::take(&mut self.effects);
        let hurries = self.one && effects.wait();
        let mut bytes = 0;
        if let Some(batch) = self.store.take_batch() {
            self.submitted = batch.number;
            bytes = batch.bytes();
            self.telemetry.counters.commits += 1;
            self.telemetry.counters.changes += batch.writes.len() as u64;
            self.committer.submit(batch, hurries);
        } else if hurries && self.reached.durable < self.submitted {
            self.committer.hurry();
        }
        let identity = self.node.meta().identity;
        if identity != self.identity.0 {
            self.identity = (identity, self.submitted);
        }
        self.undurable += bytes;
        self.early.extend(effects.early.drain(..).map(|output| (self.submitted, output)));
        self.held.push_back(Held { batch: self.submitted, bytes, at: Instant::now(), effects });
        let reached = self.committer.reached()?;
        self.made_durable(reached);
        Ok(())
    }

    /// Carries out what waited for the batches that are written, or durable, by now.
    fn made_durable(&mut self, reached: Reached) {
        if reached.written > self.reached.written {
            self.store.committed(reached.written);
        }
        self.reached = reached;
        while self.early.front().is_some_and(|(batch, _)| *batch <= reached.written)
            && let Some((_, output)) = self.early.pop_front()
        {
            self.carry_out(output);
        }
        let unsynced = mutated(Mutant::ReleasedUnsynced);
        let released = if unsynced { u64::MAX } else { reached.durable };
        while self.held.front().is_some_and(|held| held.batch <= released)
            && let Some(held) = self.held.pop_front()
        {
            self.undurable -= held.bytes;
            if held.bytes > 0 {
                self.measures.commits.observe(held.at.elapsed().as_secs_f64());
            }
            let Effects { outbox, replicas, operated, statuses, rings, .. } = held.effects;
            outbox.outputs.into_iter().for_each(|output| self.carry_out(output));
            replicas.into_iter().for_each(|(asker, read)| drop(asker.send(read)));
            for (asker, done) in operated {
                let _ = asker.send(done);
            }
            rings.into_iter().for_each(|(asker, report)| drop(asker.send(report)));
            for (asker, mut status) in statuses {
                status.counters = self.telemetry.snapshot();
                let _ = asker.send(status);
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match &output {
            Output::Reply(..) | Output::Event(_) => tracing::debug!("{}", Told(&output)),
            _ => tracing::trace!("{}", Told(&output)),
        }
        match output {
            Output::Send(envelope) => self.transport.send(envelope),
            Output::Reply(request, reply) => {
                self.telemetry.replied(&reply);
                if let Some(open) = self.requests.remove(&request) {
                    self.open_bytes -= open.bytes;
                    self.measures.answered(&reply, open.is_get, open.at.elapsed());
                    open.reply_to.answer(Answer::Reply(reply));
                }
            }
            Output::SetTimer(timer, after) => self.timers.set(timer, Instant::now() + after),
            Output::CancelTimer(timer) => self.timers.cancel(timer),
            Output::Event(event) => {
                self.telemetry.event(&event);
                match event {
                    Event::Entered(epoch) => self.entered(epoch),
                    Event::Removed => {
                        self.removed.get_or_insert(self.node.view().epoch());
                    }
                    Event::ChangeDecided { edit, epoch } => {
                        self.proposals.ended(&edit, &Proposed::Decided(epoch));
                    }
                    Event::ChangeRefused { edit, why } => {
                        self.proposals.ended(&edit, &Proposed::Refused(why));
                    }
                    _ => {}
                }
            }
        }
    }

    /// The membership of `epoch` is durable here.
    fn entered(&mut self, epoch: Epoch) {
        let Some(membership) = self.node.view().history().at(epoch) else { return };
        self.about.agreement.enter(membership);
    }

    fn has_room(&self) -> bool {
        self.undurable < UNDURABLE_BYTES
    }

    /// Sets the alarm for the next timer. It may ring early, for one that was cancelled since.
    fn arm(&self, alarm: std::pin::Pin<&mut Sleep>) {
        /// When nothing runs: any time will do, it only rings for nothing.
        const IDLE: Duration = Duration::from_secs(60);
        let next = self.timers.next().into_iter().chain(self.ends).min();
        let next = next.unwrap_or_else(|| Instant::now() + IDLE);
        let is_sooner = next < alarm.deadline() && !mutated(Mutant::AlarmNotAdvanced);
        if alarm.is_elapsed() || is_sooner {
            alarm.reset(next);
        }
    }

    /// Takes what an operator asks; what came of it is told once it is durable.
    fn operate(
        &mut self,
        input: Input,
        asker: oneshot::Sender<Option<usize>>,
        done: impl Fn(&Event) -> Option<usize>,
    ) {
        let before = self.effects.outbox.outputs.len();
        self.step(self.clock.now(), input);
        let told = self.effects.outbox.outputs[before..].iter().find_map(|output| match output {
            Output::Event(event) => done(event),
            _ => None,
        });
        self.effects.operated.push((asker, told));
    }

    fn status(&self) -> Status {
        let meta = self.node.meta();
        Status {
            id: self.node.me(),
            identity: meta.identity,
            incarnation: self.about.incarnation,
            amnesiac: meta.amnesiac,
            proven: self.node.is_proven(),
            epoch: self.node.view().epoch(),
            filling: self.node.filling() as u64,
            expects_strays: self.node.has_strays(),
            uptime: self.started.elapsed(),
            losses_accepted: meta.losses,
            epochs_forced: meta.forced,
            tombstones: self.node.tombstones(),
            tombstones_kept_by: self.node.keep_tombstones().collect(),
            hints_held: self.store.hints_held(),
            hinted: self.telemetry.hinted.clone(),
            open_operations: self.node.open_operations(),
            open_requests: self.requests.len(),
            suspected: self.node.suspected().collect(),
            settings: self.about.agreement.settings(),
            exchanged: self.telemetry.exchanged.clone(),
            stopping: self.ends.is_some(),
            counters: self.telemetry.counters,
        }
    }

    fn ring(&self) -> RingReport {
        let (me, view, meta) = (self.node.me(), self.node.view(), self.node.meta());
        let strays = ring::strays(&self.store, view, me);
        let waits = self.node.waits_for();
        let sources: BTreeSet<_> =
            waits.iter().flat_map(|(_, sources, _)| sources.iter().copied()).collect();
        let filling: Vec<_> = waits.iter().map(|(span, ..)| *span).collect();
        let [ranges, filling] = ring::ranges(view, me, &filling);
        RingReport {
            id: me,
            cluster: self.about.agreement.cluster().to_owned(),
            settings: self.node.settings().agreed(),
            epochs: view.history().epochs().to_vec(),
            directory: meta.directory(me),
            amnesiac: meta.amnesiac,
            proven: self.node.is_proven(),
            ranges,
            filling,
            sources: sources.into_iter().collect(),
            strays: strays.ok(),
            expects_strays: self.node.has_strays(),
            hints: self.store.hints_held(),
            open_operations: self.node.open_operations() as u64,
            suspected: self.node.suspected().collect(),
            proposes: self.proposals.open(),
            addresses: self.about.book.told(),
        }
    }
}
