//! Shows the monitor what a step did.

use dynamo_protocol::{Context, Event, NodeId, Reply, RequestId, Role};

use crate::world::history::{each, flag};
use crate::world::host::HostInput;
use crate::world::script::requested;
use crate::world::script::{Op, Versions};
use crate::world::spec::Faults;
use crate::world::step::Step;
use crate::world::tables::{Effect, Mint, RecordFacts, Stamp};

impl Step<'_> {
    /// Judges a step of `node` on `input`, from host `before` to what `effect` says.
    pub(crate) fn observe(&mut self, node: u8, input: u32, before: u32, effect: &Effect) {
        if effect.panicked {
            self.world.history.flags |= flag::PANIC;
        }
        note_forwarded(self, input, effect);
        for mint in &effect.mints {
            minted(self, node, input, *mint);
        }
        for event in &effect.events {
            match event {
                Event::HintStored(_) => self.world.history.flags |= flag::HINTED,
                Event::ReadRepair(_) => self.world.history.flags |= flag::REPAIRED,
                Event::Synced(_) => self.world.history.flags |= flag::SYNCED,
                Event::HintDelivered(_) => self.world.history.flags |= flag::DELIVERED,
                Event::Filled { .. } => self.world.history.flags |= flag::FILLED,
                Event::CountedAnew(_) => self.world.history.flags |= flag::ANEW,
                Event::TombstoneDropped => collected(self, before, flag::COLLECTED),
                Event::IdleForgotten(_) => collected(self, before, flag::FORGOT),
                Event::Acknowledged { holders, .. } => acknowledged(self, holders),
                _ => {}
            }
        }
        hints_gone(self, node, input, before);
        home_gone(self, node, input, before);
        for (request, reply) in &effect.replies {
            replied(self, node, *request, reply);
        }
    }

    /// What no later step is asked for is forgotten, so that paths that differ in it alone meet.
    pub(crate) fn forget_unasked(&mut self) {
        let (script, world) = (&self.spec.script, &mut *self.world);
        let mut gets = false;
        for (index, client) in world.clients.iter_mut().enumerate() {
            let now = usize::from(client.step);
            let next = now + usize::from(client.waits_at != 0);
            if !script.has_from(index, next, |op| op != Op::Get) {
                (client.context, client.read) = (0, 0);
            }
            if !script.has_from(index, now, |op| op == Op::Get) {
                client.seen = 0;
            }
            gets |= script.has_from(index, next, |op| op == Op::Get);
        }
        if !gets {
            world.history.shown = 0;
        }
    }
}

/// A delete that a client's node forwards is recognised by the forwarder's operation.
fn note_forwarded(step: &mut Step<'_>, input: u32, effect: &Effect) {
    use dynamo_protocol::{ClientOp, Input};
    let HostInput::Handle(Input::Client { request, op: ClientOp::Put { value: None, .. } }) =
        step.tables.inputs.get(input)
    else {
        return;
    };
    let (client, at) = requested(*request);
    let Some(put) = step.spec.script.put(client, usize::from(at)) else { return };
    for message in &effect.sends {
        let wire = step.tables.wire(*message);
        if let (crate::world::tables::Sort::Forward, Some(op)) = (wire.sort, wire.op) {
            step.world.history.forwarded.push((op.incarnation, op.seq, put));
            step.world.history.forwarded.sort_unstable();
        }
    }
}

fn minted(step: &mut Step<'_>, node: u8, input: u32, mint: Mint) {
    let Some(put) = writer(step, input, mint) else { return };
    step.world.history.stand_ins += u8::from(mint.role != Role::Home);
    // One put is one event, and has one dot.
    let before = step.world.history.stamps[usize::from(put)];
    if before != 0 && before != mint.stamp {
        step.world.history.flags |= flag::DOT_TWICE;
    }
    // First, so that a tombstone, which only its stamp tells, is seen to hold what it overwrote.
    step.world.history.stamps[usize::from(put)] = mint.stamp;
    check_dot(step, node, put, mint);
}

/// Whether `put` is known to anybody but `node`. What a directory had minted before it was put back, and
/// nobody else has in a record or a context, never happened for all that anybody can tell.
fn is_known_elsewhere(step: &mut Step<'_>, node: u8, put: u8) -> bool {
    if step.world.history.acked >> put & 1 == 1 {
        return true;
    }
    let mut contexts: Vec<_> = step.world.clients.iter().map(|client| client.context).collect();
    for other in (0..step.nodes()).filter(|other| *other != node) {
        let facts = step.tables.facts(step.host(other));
        contexts.extend(facts.records.iter().map(|record| record.context));
    }
    let stamp = step.world.history.stamps[usize::from(put)];
    contexts.into_iter().any(|context| step.tables.claims(context, stamp))
}

fn writer(step: &mut Step<'_>, input: u32, mint: Mint) -> Option<u8> {
    if mint.writer.is_some() {
        return mint.writer;
    }
    if let Some(request) = mint.request {
        let (client, at) = requested(request);
        return step.spec.script.put(client, usize::from(at));
    }
    let op = match step.tables.inputs.get(input) {
        HostInput::Handle(dynamo_protocol::Input::Peer(_)) => step.tables.wire(input).op?,
        _ => return None,
    };
    let forwarded = &mut step.world.history.forwarded;
    let at = forwarded.iter().position(|f| (f.0, f.1) == (op.incarnation, op.seq))?;
    Some(forwarded.remove(at).2)
}

/// A dot is unique and closed: it follows every dot its actor minted before, and the record it was
/// minted from holds, or holds what overwrote, each of them. (Preguica et al., arXiv 1011.5808,
/// and the closure invariant of dynamo-protocol's `version` module.)
fn check_dot(step: &mut Step<'_>, node: u8, put: u8, mint: Mint) {
    let Stamp::Dot(dot) = step.tables.stamps.get(mint.stamp) else { return };
    let dot = *dot;
    let target = match mint.role {
        Role::Home => None,
        Role::Hint(target) => Some(target),
    };
    let facts = step.tables.facts(step.host(node));
    let record = facts.records.iter().find(|record| record.target == target);
    let live = record.map_or(0, |record| live(step, record));
    let held = step.world.history.closure(live);
    for other in each(step.world.history.minted()) {
        let stamp = step.world.history.stamps[usize::from(other)];
        let Stamp::Dot(earlier) = step.tables.stamps.get(stamp) else { continue };
        if other == put || earlier.actor != dot.actor {
            continue;
        }
        let earlier = earlier.counter;
        if step.spec.faults.rollbacks > 0 && !is_known_elsewhere(step, node, other) {
            continue;
        }
        if earlier == dot.counter {
            step.world.history.flags |= flag::DOT_TWICE;
        } else if earlier > dot.counter || held >> other & 1 == 0 {
            step.world.history.flags |= flag::DOT_OPEN;
        }
    }
}

/// The versions live in a record.
fn live(step: &Step<'_>, record: &RecordFacts) -> Versions {
    record.live | tombstones(&step.world.history.stamps, record)
}

/// The deletes whose tombstones are live in a record.
pub(crate) fn tombstones(stamps: &[u32], record: &RecordFacts) -> Versions {
    if record.tombs.is_empty() {
        return 0;
    }
    let of = |(number, stamp): (usize, &u32)| u8::from(record.tombs.contains(stamp)) << number;
    stamps.iter().enumerate().map(of).fold(0, |all, one| all | one)
}

/// A hint may go, whether the node says so or not, only once its target's home record holds what it
/// held. Not so where the fault itself takes records away; nor from a target whose directory was lost
/// after it acknowledged, as long as the node has not heard of the new one: the copy that is lost
/// then is the disk's.
fn hints_gone(step: &mut Step<'_>, node: u8, input: u32, host: u32) {
    let fault = step.tables.inputs.get(input);
    if matches!(
        fault,
        HostInput::Wipe | HostInput::Forget | HostInput::PowerCut | HostInput::Restore
    ) {
        return;
    }
    let before = step.tables.facts(host).clone();
    let hints = before.records.iter().filter_map(|record| Some((record, record.target?)));
    for (hint, target) in hints {
        let held = |host: u32, target: Option<NodeId>| {
            let facts = step.tables.facts(host);
            let records = facts.records.iter().filter(|record| record.target == target);
            records.fold(0, |all, record| all | live(step, record))
        };
        let home = step.world.hosts[step.setup.index(target)];
        let heard = |host: u32| step.tables.hosts.get(host).node.as_ref()?.heard(target);
        let present = step.tables.hosts.get(home).store.meta.identity;
        if heard(host).or(heard(step.host(node))).is_some_and(|identity| identity != present) {
            continue;
        }
        let mut left = held(step.host(node), Some(target)) | held(home, None);
        if step.setup.changes() {
            // Adopted.
            left |= held(step.host(node), None);
        }
        if live(step, hint) & !step.world.history.closure(left) != 0 {
            step.world.history.flags |= flag::HINT_LOST;
        }
    }
}

/// A home record may go from one that is no home any more, by the membership it goes by, once the disk of
/// every home by that membership has all of it.
fn home_gone(step: &mut Step<'_>, node: u8, input: u32, host: u32) {
    if !matches!(step.tables.inputs.get(input), HostInput::Handle(_)) {
        return;
    }
    let home = |host: u32| {
        let facts = step.tables.facts(host);
        facts.records.iter().find(|record| record.target.is_none()).cloned()
    };
    let (Some(before), None) = (home(host), home(step.host(node))) else { return };
    if step.world.history.flags & flag::COLLECTED != 0 {
        return;
    }
    let epoch = step.tables.facts(step.host(node)).epoch;
    let homes = step.setup.views[epoch].homes(&step.setup.key);
    let gone = live(step, &before);
    let lacks = |id: &NodeId| {
        let held = home(step.world.hosts[step.setup.index(*id)]);
        let held = held.map_or(0, |record| live(step, &record));
        gone & !step.world.history.closure(held) != 0
    };
    let flag = if homes.iter().any(lacks) { flag::DROPPED } else { flag::MOVED };
    step.world.history.flags |= flag;
}

/// All that was overwritten by what is live in the home record of `host` is to be nowhere from now on: by a
/// tombstone that goes, or by versions whose record forgets what it had seen.
fn collected(step: &mut Step<'_>, host: u32, what: u64) {
    let facts = step.tables.facts(host);
    let record = facts.records.iter().find(|record| record.target.is_none()).cloned();
    let gone = record.map_or(0, |record| live(step, &record));
    let history = &mut step.world.history;
    let kept = if what == flag::FORGOT { gone } else { 0 };
    history.collected |= history.closure(gone) & !kept;
    history.flags |= what;
}

fn acknowledged(step: &mut Step<'_>, holders: &[NodeId]) {
    let mut hosts = holders.to_vec();
    hosts.sort_unstable();
    hosts.dedup();
    if hosts.len() < step.spec.settings.w {
        step.world.history.flags |= flag::FEW_HOLDERS;
    }
}

fn replied(step: &mut Step<'_>, node: u8, request: RequestId, reply: &Reply) {
    let (index, at) = requested(request);
    let waits = step
        .world
        .clients
        .get(index)
        .is_some_and(|client| client.waits_at == node + 1 && client.step == at);
    if !waits {
        step.world.history.flags |= flag::ANSWERED_TWICE;
        return;
    }
    let put = step.spec.script.put(index, usize::from(at));
    match (reply, put) {
        (Reply::Got { values, context }, None) => got(step, index, values, context),
        (Reply::Done { context }, Some(put)) => done(step, index, put, context.as_ref()),
        (Reply::Refused(_), Some(put)) => step.world.history.refused |= 1 << put,
        _ => {}
    }
    let was_served = matches!(reply, Reply::Got { .. } | Reply::Done { .. });
    if !was_served {
        step.world.history.flags |= flag::UNANSWERED;
    } else if step.world.spent != Faults::default() {
        step.world.history.flags |= flag::SERVED_AFTER;
    }
    step.world.clients[index].go_on();
}

/// At acknowledgement W distinct hosts hold the put, or what overwrote it, durably; fewer only by as
/// many copies as were destroyed. Its context, if there is one, is that of a get that shows it alone.
fn done(step: &mut Step<'_>, index: usize, put: u8, context: Option<&Context>) {
    let history = &mut step.world.history;
    history.acked |= 1 << put;
    history.flags |= flag::ACKED;
    let spent = step.world.spent;
    let lost = spent.wipes + spent.forgotten + spent.rollbacks;
    if copies(step, put) + usize::from(lost) < step.spec.settings.w {
        step.world.history.flags |= flag::FEW_HOLDERS;
    }
    if let Some(context) = context {
        let context = step.tables.context(context.clone());
        let claimed = claimed(step, context);
        let history = &mut step.world.history;
        let closed = history.closure(1 << put);
        // Of what had one of these dots before its directory was put back nobody can tell.
        let stamps = &history.stamps;
        let is_told = |one: u8| {
            each(closed).any(|other| stamps[usize::from(other)] == stamps[usize::from(one)])
        };
        let open = each(claimed & !history.collected).any(|one| !is_told(one));
        if open {
            history.flags |= flag::OPEN_CONTEXT;
        }
        let client = &mut step.world.clients[index];
        if step.spec.script.overwrites(index, usize::from(client.step)) {
            (client.context, client.read) = (context, 1 << put);
        }
    }
}

/// How many hosts hold `put`, or a version that overwrote it, on their disks.
fn copies(step: &Step<'_>, put: u8) -> usize {
    let holds = |host: &&u32| {
        let facts = step.tables.facts(**host);
        facts
            .records
            .iter()
            .any(|record| step.world.history.closure(live(step, record)) >> put & 1 == 1)
    };
    step.world.hosts.iter().filter(holds).count()
}

fn got(step: &mut Step<'_>, index: usize, values: &[bytes::Bytes], context: &Context) {
    let writers: Vec<_> = values.iter().map(|value| step.spec.script.writer(value)).collect();
    let values = writers.iter().flatten().fold(0, |all: Versions, number| all | 1 << number);
    let context = step.tables.context(context.clone());
    let claimed = claimed(step, context);
    let shown = values | (claimed & step.spec.script.deletes());
    let closed = step.world.history.closure(shown) | step.world.history.collected;
    let client = step.world.clients[index];
    let own = step.world.history.acked & step.spec.script.puts_of(index);
    let mut flags = 0;
    let mut raise = |when: bool, what: u64| flags |= if when { what } else { 0 };
    raise(client.must & !closed != 0, flag::STALE);
    raise(own & !closed != 0, flag::NOT_OWN);
    raise(client.seen & !closed != 0, flag::BACKWARDS);
    raise(client.floor & !closed != 0, flag::INVERTED);
    raise(step.world.history.has_dominated(values), flag::FALSE_SIBLING);
    raise(claimed & !closed != 0, flag::OPEN_CONTEXT);
    raise(writers.contains(&None) || values & step.world.history.refused != 0, flag::UNWRITTEN);
    raise(values.count_ones() > 1, flag::SIBLINGS);
    raise(values.count_ones() > 2, flag::THREE_SIBLINGS);
    raise(step.world.history.minted().count_ones() > 2, flag::THREE_PUTS);
    let earlier = earlier(step, closed);
    raise(earlier & !closed != 0, flag::OUT_OF_ORDER);
    raise(earlier != 0, flag::ORDER_DUE);
    raise(client.must != 0, flag::DUE);
    raise(own != 0, flag::OWN_DUE);
    raise(client.seen != 0, flag::SEEN_DUE);
    raise(client.floor != 0, flag::FLOOR_DUE);
    let read = |put: u8| step.world.history.over[usize::from(put)] != 0;
    raise(each(shown).any(read), flag::BUILT_ON);
    step.world.history.flags |= flags;
    step.world.history.shown |= shown;
    let client = &mut step.world.clients[index];
    (client.context, client.read) = (context, shown);
    client.seen |= shown;
}

/// Acknowledged puts of the clients whose later ones are among `closed`, before those.
fn earlier(step: &Step<'_>, closed: Versions) -> Versions {
    let script = &step.spec.script;
    let before = |put: u8| {
        let mut clients = (0..script.clients().len()).map(|client| script.puts_of(client));
        let own = clients.find(|puts| puts >> put & 1 == 1).unwrap_or_default();
        own & ((1 << put) - 1)
    };
    step.world.history.acked & each(closed).fold(0, |all, put| all | before(put))
}

/// The puts a context claims.
fn claimed(step: &mut Step<'_>, context: u32) -> Versions {
    let mut claimed = 0;
    for (number, stamp) in step.world.history.stamps.iter().enumerate() {
        if *stamp != 0 && step.tables.claims(context, *stamp) {
            claimed |= 1 << number;
        }
    }
    claimed
}
