//! The model: the registrars of a few nodes under stateright's trait.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use dynamo_protocol::membership::{Ballot, Call, Directory, Edit, Membership, Notice, Outcome};
use dynamo_protocol::{Epoch, Identity, NodeId};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use stateright::Model;

use crate::register::bounds::Bounds;
use crate::register::host::{Host, Input, Stepped};
use crate::register::inert::is_inert;
use crate::register::properties::flag;
use crate::search::engine::Compact;
use crate::world::tables::{Interner, scramble};

/// A bounded configuration, ready to be searched.
pub struct RegisterModel {
    bounds: Bounds,
    tables: Mutex<Tables>,
}

/// One state. Hosts, packets and what was decided are numbers in the model's tables.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    hosts: SmallVec<[u32; 4]>,
    /// What was ever sent and may still matter, in the order of the hashes.
    flight: SmallVec<[u32; 16]>,
    /// Bit `i`: ask `i` was made, and the process it was made to lives.
    asked: u8,
    crashes: u8,
    wipes: u8,
    forces: u8,
    monitor: u32,
    /// What the last step showed. No part of the state.
    flags: u64,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// An operator asks for an edit, by its place in [`Bounds::asks`].
    Ask(u8),
    /// A node with a new directory asks for its own replacement.
    Mend(u8),
    /// A message arrives. It may do so again.
    Deliver(u32),
    /// A node's proposer waits no longer.
    Again(u8),
    /// A process ends and starts again.
    Crash(u8),
    /// A directory is emptied, and its node starts on a new one.
    Wipe(u8),
    /// An operator has `at` put the new directory `to` of `lost` in place of its last one, without a vote.
    Force {
        /// Who makes the epoch.
        at: u8,
        /// Whose directory is lost.
        lost: u8,
        /// The one in its place.
        to: Identity,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Packet {
    from: u8,
    to: u8,
    call: Call,
}

/// What an observer remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Monitor {
    /// What anybody ever acted upon first, from number 2 on.
    decided: Vec<Membership>,
    /// All votes that were on disk about a number that is not decided.
    votes: BTreeSet<Cast>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Cast {
    epoch: Epoch,
    ballot: Ballot,
    edit: Edit,
    voter: (NodeId, Directory),
}

/// What a host does on an input, in numbers.
struct Effect {
    host: u32,
    sends: SmallVec<[u32; 4]>,
    votes: Vec<Cast>,
    learned: Vec<Membership>,
    flags: u64,
}

struct Tables {
    hosts: Interner<Host>,
    packets: Interner<Packet>,
    monitors: Interner<Monitor>,
    effects: FxHashMap<(u32, Step), Arc<Effect>>,
    /// Whether hosts can still have something decided.
    drained: FxHashMap<SmallVec<[u32; 4]>, bool>,
    inert: FxHashMap<(u32, u32, u32, bool), bool>,
}

impl RegisterModel {
    /// The model of `bounds`.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let mut monitors = Interner::new(Arc::new([]));
        monitors.intern(Monitor::default());
        let tables = Tables {
            hosts: Interner::new(Arc::new([])),
            packets: Interner::new(Arc::new([])),
            monitors,
            effects: FxHashMap::default(),
            drained: FxHashMap::default(),
            inert: FxHashMap::default(),
        };
        Self { bounds, tables: Mutex::new(tables) }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // A panic of the core is caught; one beside it leaves tables that are whole all the same.
        self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What host number `node` does on `step`.
    fn effect(&self, tables: &mut Tables, node: u8, number: u32, step: Step) -> Arc<Effect> {
        if let Some(effect) = tables.effects.get(&(number, step)) {
            return effect.clone();
        }
        let host = tables.hosts.get(number);
        let before = host.clone();
        let input = match step {
            Step::Ask(at) => {
                let ask = self.bounds.asks[usize::from(at)];
                Some(Input::Propose(ask.edit, ask.expect))
            }
            Step::Mend(_) => host.mend().map(|edit| Input::Propose(edit, None)),
            Step::Deliver(packet) => {
                let Packet { from, call, .. } = tables.packets.get(packet).clone();
                Some(Input::Receive(NodeId(u16::from(from) + 1), call))
            }
            Step::Again(_) => Some(Input::Again),
            Step::Crash(_) => Some(Input::Crash),
            Step::Force { lost, to, .. } => host.replaces(lost, to).map(Input::Force),
            // One above the last: the first has the node's number.
            Step::Wipe(_) => Some(Input::Wipe(Identity(before.identity.0 + 10))),
        };
        let effect = match input.map(|input| before.take(&self.bounds, input)) {
            Some(stepped) if self.is_within(&stepped.host, step) => {
                let mut effect = self.looked_at(tables, node, &before, stepped);
                if matches!(step, Step::Force { .. }) && !effect.learned.is_empty() {
                    effect.flags |= flag::FORCED;
                }
                effect
            }
            _ => Effect::none(number),
        };
        let effect = Arc::new(effect);
        tables.effects.insert((number, step), effect.clone());
        effect
    }

    /// Whether the step begins no ballot above the bound.
    fn is_within(&self, host: &Host, step: Step) -> bool {
        let begins = matches!(step, Step::Ask(_) | Step::Mend(_) | Step::Again(_));
        if let Step::Force { .. } = step {
            return host.registrar.history().latest().epoch() <= self.bounds.last;
        }
        let Some((_, ballot)) = host.registrar.proposes() else { return true };
        !begins
            || ballot.round <= self.bounds.rounds
                && host.registrar.history().next() <= self.bounds.last
    }

    fn looked_at(&self, tables: &mut Tables, node: u8, before: &Host, stepped: Stepped) -> Effect {
        let flags = shown(before, &stepped);
        let Stepped { host, calls, votes, learned, .. } = stepped;
        let voter = (host.node, host.directory);
        let cast = votes.into_iter().map(|(epoch, vote)| Cast {
            epoch,
            ballot: vote.ballot,
            edit: vote.edit,
            voter,
        });
        let votes = cast.collect();
        let mut sends: SmallVec<[u32; 4]> = SmallVec::new();
        for (to, call) in calls {
            let is_here = (1..=self.bounds.members).contains(&to.0);
            if is_here && number_of(&call).is_none_or(|epoch| epoch <= self.bounds.last) {
                let to = self.place(to);
                sends.push(tables.packets.intern(Packet { from: node, to, call }).0);
            }
        }
        let (host, _) = tables.hosts.intern(host);
        Effect { host, sends, votes, learned, flags }
    }

    fn apply(&self, tables: &mut Tables, state: &State, step: Step) -> Option<State> {
        let node = match step {
            Step::Ask(at) => self.place(self.bounds.asks[usize::from(at)].node),
            Step::Deliver(packet) => tables.packets.get(packet).to,
            Step::Mend(node) | Step::Again(node) | Step::Crash(node) | Step::Wipe(node) => node,
            Step::Force { at, .. } => at,
        };
        let place = usize::from(node);
        let before = state.hosts[place];
        let effect = self.effect(tables, node, before, step);
        let is_new = |packet: &u32| !state.flight.contains(packet);
        if effect.host == before && effect.flags == 0 && !effect.sends.iter().any(is_new) {
            return None;
        }
        let mut next = State { flags: effect.flags, ..state.clone() };
        next.hosts[place] = effect.host;
        next.flight.extend(effect.sends.iter().copied().filter(is_new));
        match step {
            Step::Ask(at) => next.asked |= 1 << at,
            Step::Crash(_) => {
                next.crashes += 1;
                self.forget_asks(&mut next, node);
            }
            Step::Wipe(_) => {
                next.wipes += 1;
                self.forget_asks(&mut next, node);
            }
            Step::Force { .. } => next.forces += 1,
            Step::Mend(_) | Step::Deliver(_) | Step::Again(_) => {}
        }
        self.observe(tables, &mut next, &effect);
        self.tidy(tables, &mut next);
        Some(next)
    }

    /// Who may be asked to go on without a vote, and for whom: a voter where those left are no majority.
    fn forces(&self, tables: &Tables, state: &State) -> Vec<Step> {
        let hosts: Vec<_> = state.hosts.iter().map(|host| tables.hosts.get(*host)).collect();
        let mut steps = Vec::new();
        for (at, host) in (0..).zip(&hosts) {
            let last = host.registrar.history().latest();
            let is_left = |host: &&&Host| last.is_voter(host.node, host.directory);
            let left = hosts.iter().filter(is_left).count();
            if !host.registrar.is_voter() || left > last.ring_members().count() / 2 {
                continue;
            }
            for (lost, other) in (0..).zip(&hosts) {
                if !last.is_voter(other.node, other.directory) {
                    steps.push(Step::Force { at, lost, to: other.identity });
                }
            }
        }
        steps
    }

    /// Whoever asked a process that is gone may ask its successor.
    fn forget_asks(&self, state: &mut State, node: u8) {
        for (at, ask) in self.bounds.asks.iter().enumerate() {
            if self.place(ask.node) == node {
                state.asked &= !(1 << at);
            }
        }
    }

    fn place(&self, node: NodeId) -> u8 {
        u8::try_from(node.0.saturating_sub(1)).unwrap_or(u8::MAX)
    }

    /// Compares what the step did with what was seen before.
    fn observe(&self, tables: &mut Tables, state: &mut State, effect: &Effect) {
        if effect.votes.is_empty() && effect.learned.is_empty() {
            return;
        }
        let mut monitor = tables.monitors.get(state.monitor).clone();
        let undecided = Epoch(monitor.decided.len() as u64 + 2);
        let votes = effect.votes.iter().filter(|cast| cast.epoch >= undecided);
        monitor.votes.extend(votes.cloned());
        for made in &effect.learned {
            let place = usize::try_from(made.epoch().0.saturating_sub(2)).unwrap_or(usize::MAX);
            if let Some(known) = monitor.decided.get(place) {
                if known != made {
                    state.flags |= flag::FORK;
                }
                continue;
            }
            state.flags |= flag::DECIDED | self.judge(tables, &monitor, made);
            monitor.decided.push(made.clone());
            monitor.votes.retain(|cast| cast.epoch > made.epoch());
        }
        state.monitor = tables.monitors.intern(monitor).0;
    }

    /// What there is to say of a number that is decided now.
    fn judge(&self, tables: &Tables, monitor: &Monitor, made: &Membership) -> u64 {
        let mut flags = 0;
        let genesis = tables.hosts.get(0).registrar.history().epochs().first();
        let Some(before) = monitor.decided.last().or(genesis) else { return flag::BROKEN };
        let makes = |edit: &Edit| before.edited(edit, self.bounds.homes).as_ref() == Ok(made);
        let votes = monitor.votes.iter().filter(|cast| cast.epoch == made.epoch());
        let voters = before.ring_members().count();
        let counts = |cast: &Cast| {
            let (node, directory) = cast.voter;
            before.ring_members().any(|seat| (seat.node, seat.directory) == (node, directory))
        };
        let chosen = votes.clone().any(|cast| {
            let with = votes.clone().filter(|other| other.ballot == cast.ballot && counts(other));
            makes(&cast.edit) && with.count() > voters / 2
        });
        if !chosen {
            flags |= flag::MINORITY;
        }
        let edits: BTreeSet<_> = votes.map(|cast| cast.edit).collect();
        if edits.len() > 1 {
            flags |= flag::SPLIT;
        }
        let asked = self.bounds.asks.iter().any(|ask| makes(&ask.edit));
        let replaced =
            matches!(Edit::between(before, made, self.bounds.homes), Some(Edit::Replace { .. }));
        if !(asked || replaced && self.bounds.wipes > 0) {
            flags |= flag::UNASKED;
        }
        if made.seats().iter().any(|seat| before.gone().contains(&seat.directory)) {
            flags |= flag::BACK;
        }
        if !monitor.decided.is_empty() {
            flags |= flag::BOTH;
        }
        flags
    }

    /// Takes out of the flight what can never matter again, and orders the rest.
    fn tidy(&self, tables: &mut Tables, state: &mut State) {
        let may_wipe = state.wipes < self.bounds.wipes;
        let State { hosts, flight, .. } = state;
        if self.bounds.inert {
            flight.retain(|packet| !tables.is_inert(hosts, *packet, may_wipe));
        }
        flight.sort_unstable_by_key(|packet| tables.packets.hash(*packet));
    }

    /// Whether, left alone with all that is up, a voter with the latest epoch has something decided.
    fn drains(&self, tables: &mut Tables, state: &State) -> bool {
        if let Some(drains) = tables.drained.get(&state.hosts) {
            return *drains;
        }
        let mut hosts: Vec<_> =
            state.hosts.iter().map(|host| tables.hosts.get(*host).clone()).collect();
        let drains = self.drain(&mut hosts);
        tables.drained.insert(state.hosts.clone(), drains);
        drains
    }

    fn drain(&self, hosts: &mut [Host]) -> bool {
        let epoch = |host: &Host| host.registrar.history().latest().epoch();
        let Some(latest) = hosts.iter().map(epoch).max() else { return true };
        let is_able = |host: &Host| epoch(host) == latest && host.registrar.is_voter();
        let Some(leader) = hosts.iter().position(is_able) else { return true };
        let last = hosts[leader].registrar.history().latest().clone();
        let able = hosts.iter().filter(|host| last.is_voter(host.node, host.directory)).count();
        if able <= last.ring_members().count() / 2 {
            return true;
        }
        let node = hosts[leader].node;
        let tokens = last.seat(node).map_or(1, |seat| seat.tokens + 1);
        hosts[leader].registrar.give_up();
        let mut input = Input::Propose(Edit::Weigh { node, tokens }, None);
        // The first round may find out who is behind, the second which ballots there are.
        for _ in 0..4 {
            let mut under_way = VecDeque::from([(leader, input)]);
            while let Some((at, input)) = under_way.pop_front() {
                let Stepped { host, calls, .. } = hosts[at].take(&self.bounds, input);
                let from = host.node;
                hosts[at] = host;
                for (to, call) in calls {
                    let at = hosts.iter().position(|host| host.node == to);
                    under_way.extend(at.map(|at| (at, Input::Receive(from, call))));
                }
            }
            if epoch(&hosts[leader]) > latest {
                return true;
            }
            input = Input::Again;
        }
        false
    }
}

impl Effect {
    fn none(host: u32) -> Self {
        let (sends, votes, learned) = (SmallVec::new(), Vec::new(), Vec::new());
        Self { host, sends, votes, learned, flags: 0 }
    }
}

impl Tables {
    fn is_inert(&mut self, hosts: &[u32], packet: u32, may_wipe: bool) -> bool {
        let Packet { from, to, call } = self.packets.get(packet);
        let (from, to) = (hosts[usize::from(*from)], hosts[usize::from(*to)]);
        let key = (packet, from, to, may_wipe);
        if let Some(inert) = self.inert.get(&key) {
            return *inert;
        }
        let inert = is_inert(self.hosts.get(from), self.hosts.get(to), call, may_wipe);
        self.inert.insert(key, inert);
        inert
    }
}

/// What a step shows of the properties that are about one host.
fn shown(before: &Host, stepped: &Stepped) -> u64 {
    let Stepped { host, notices, votes, learned, is_broken, .. } = stepped;
    let mut flags = if *is_broken { flag::BROKEN } else { 0 };
    if host.registrar.history().latest().epoch() < host.acted {
        flags |= flag::FELL;
    }
    for notice in notices {
        flags |= match notice {
            Notice::Ended { outcome: Outcome::Overtaken { .. }, .. } => flag::OVERTAKEN,
            Notice::Broken { .. } => flag::FORK,
            Notice::Ended { .. } | Notice::Learned(_) | Notice::Outbid => 0,
        };
    }
    let edit = |host: &Host| host.registrar.proposes().map(|(edit, _)| edit);
    if !learned.is_empty() && edit(before).is_some() && edit(before) == edit(host) {
        flags |= flag::GOES_ON;
    }
    if !learned.is_empty() && !before.registrar.is_voter() && host.registrar.is_voter() {
        flags |= flag::REPLACED;
    }
    if !votes.is_empty() && matches!(host.directory, Directory::Drawn(_)) {
        flags |= flag::VOTES_AGAIN;
    }
    flags
}

/// The number that a call is about. What is decided is about none that is open.
fn number_of(call: &Call) -> Option<Epoch> {
    match call {
        Call::Prepare { epoch, .. }
        | Call::Promise { epoch, .. }
        | Call::Accept { epoch, .. }
        | Call::Accepted { epoch, .. }
        | Call::Refused { epoch, .. } => Some(*epoch),
        Call::Membership { .. } | Call::Behind { .. } => None,
    }
}

impl Model for RegisterModel {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let mut tables = self.lock();
        let founders = (1..=self.bounds.members).map(|id| Host::founder(&self.bounds, NodeId(id)));
        let hosts = founders.map(|host| tables.hosts.intern(host).0).collect();
        let (asked, crashes, wipes, forces) = (0, 0, 0, 0);
        let flight = SmallVec::new();
        vec![State { hosts, flight, asked, crashes, wipes, forces, monitor: 0, flags: 0 }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let tables = self.lock();
        for at in 0..self.bounds.asks.len() {
            let at = u8::try_from(at).unwrap_or(u8::MAX);
            if state.asked >> at & 1 == 0 {
                steps.push(Step::Ask(at));
            }
        }
        steps.extend(state.flight.iter().map(|packet| Step::Deliver(*packet)));
        for (node, host) in (0..).zip(&state.hosts) {
            let host = tables.hosts.get(*host);
            if host.registrar.proposes().is_some() {
                steps.push(Step::Again(node));
            } else if host.mend().is_some() {
                steps.push(Step::Mend(node));
            }
            if state.crashes < self.bounds.crashes {
                steps.push(Step::Crash(node));
            }
            if state.wipes < self.bounds.wipes {
                steps.push(Step::Wipe(node));
            }
        }
        if state.forces < self.bounds.forces {
            steps.extend(self.forces(&tables, state));
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        self.apply(&mut self.lock(), last, step)
    }

    fn format_action(&self, step: &Step) -> String {
        let name = |node: &u8| NodeId(u16::from(*node) + 1);
        match step {
            Step::Ask(at) => {
                let ask = self.bounds.asks[usize::from(*at)];
                format!("{} is asked to {}", ask.node, ask.edit)
            }
            Step::Mend(node) => format!("{} asks for its own replacement", name(node)),
            Step::Deliver(packet) => {
                let tables = self.lock();
                let Packet { from, to, call } = tables.packets.get(*packet);
                format!("{} -> {}: {call}", name(from), name(to))
            }
            Step::Again(node) => format!("{} begins a higher ballot", name(node)),
            Step::Crash(node) => format!("{} crashes and starts again", name(node)),
            Step::Wipe(node) => format!("{} is wiped, and starts on a new directory", name(node)),
            Step::Force { at, lost, to } => {
                let (at, lost, to) = (name(at), name(lost), Directory::Drawn(*to));
                format!("{at} is told that {lost} goes on with {to}, without a vote")
            }
        }
    }
}

impl Compact for RegisterModel {
    fn pack(&self, state: &State, words: &mut Vec<u32>) {
        let State { hosts, flight, asked, crashes, wipes, forces, monitor, flags: _ } = state;
        words.extend_from_slice(hosts);
        words.push(u32::from_le_bytes([*asked, *crashes, *wipes, *forces]));
        words.push(*monitor);
        words.extend_from_slice(flight);
    }

    fn unpack(&self, words: &[u32]) -> State {
        let (hosts, rest) = words.split_at(usize::from(self.bounds.members));
        let [asked, crashes, wipes, forces] = rest[0].to_le_bytes();
        let (hosts, flight) = (hosts.into(), rest[2..].into());
        State { hosts, flight, asked, crashes, wipes, forces, monitor: rest[1], flags: 0 }
    }

    fn fingerprint(&self, state: &State, _told: u64, dominators: &mut Vec<u64>) -> u64 {
        let tables = self.lock();
        let mut hash = 0_u64;
        let mut add = |word: u64| hash = scramble(hash.rotate_left(23) ^ word);
        state.hosts.iter().for_each(|host| add(tables.hosts.hash(*host)));
        let packets = state.flight.iter().map(|packet| scramble(tables.packets.hash(*packet)));
        add(packets.fold(0, u64::wrapping_add));
        add(tables.monitors.hash(state.monitor));
        add(u64::from(state.asked) | u64::from(state.wipes) << 8 | u64::from(state.forces) << 16);
        // With fewer crashes behind it a state can do all that one like it can.
        let with = |crashes: u8| scramble(hash ^ scramble(u64::from(crashes)));
        dominators.extend((0..state.crashes).map(with));
        with(state.crashes)
    }

    fn steps(&self, _state: &State, step: Step) -> Vec<Step> {
        vec![step]
    }

    fn found(&self, state: &State) -> u64 {
        let is_stuck = self.bounds.drains && !self.drains(&mut self.lock(), state);
        state.flags | if is_stuck { flag::STUCK } else { 0 }
    }

    fn shown(&self, state: &State) -> u64 {
        state.flags
    }
}
