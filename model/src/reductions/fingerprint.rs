//! Fingerprints: what tells one state from another.

use crate::properties::{self, PROPERTIES};
use crate::reductions::symmetry::Swap;
use crate::search::engine::Compact;
use crate::world::history::flag;
use crate::world::model::DynamoModel;
use crate::world::script::{MAX_CLIENTS, MAX_PUTS, Versions};
use crate::world::spec::Faults;
use crate::world::state::{Action, Client, World};
use crate::world::tables::{Tables, scramble};

/// What later gets are held against, as long as nothing was found by it.
///
/// Each is read by one property alone, and by nothing that decides what may happen: once a path to a state
/// that breaks the property is known, states that differ in it alone differ in nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Untold {
    /// What was acknowledged before a get began: regular gets.
    must: bool,
    /// What a client has seen: monotonic reads.
    seen: bool,
    /// What was shown to anybody before a get began: no inversion.
    floor: bool,
}

impl DynamoModel {
    /// What is still asked after the properties `told` (bits, in the order of [`PROPERTIES`]) were found
    /// broken.
    pub(crate) fn untold(&self, told: u64) -> Untold {
        let is_told = |flag: u64| {
            let mut properties =
                PROPERTIES.iter().enumerate().filter(|(_, property)| property.flag() == flag);
            self.spec.reductions.told && properties.all(|(at, _)| told >> at & 1 == 1)
        };
        Untold {
            must: !is_told(flag::STALE),
            seen: !is_told(flag::BACKWARDS),
            floor: !is_told(flag::INVERTED),
        }
    }

    /// A hash that depends on the state alone, not on the order in which it was found, and is the same
    /// for twins. What the last step showed is no part of the state, and what was spent of the
    /// budget is not in it yet.
    pub(crate) fn hash_of(&self, tables: &Tables, world: &World, untold: Untold) -> u64 {
        // Sorted first: a full hash of those alone whose clients are in the least order.
        let places = |at: usize| {
            let mut places = [(0, 0); MAX_CLIENTS];
            let swap = at.checked_sub(1).map(|at| &tables.swaps[at]);
            for (index, client) in world.clients.iter().enumerate() {
                place(&mut places, swap, index, (client.step, client.waits_at));
            }
            places
        };
        let all = 0..=tables.swaps.len();
        let least = all.clone().map(places).min();
        let hashes = all
            .filter(|at| Some(places(*at)) == least)
            .map(|at| hash_as(tables, world, untold, at));
        hashes.min().expect("a state is its own twin")
    }
}

impl Compact for DynamoModel {
    fn pack(&self, state: &World, words: &mut Vec<u32>) {
        state.pack(words);
    }

    fn unpack(&self, words: &[u32]) -> World {
        let script = &self.spec.script;
        World::unpack(words, self.spec.nodes, script.clients().len(), script.puts())
    }

    fn fingerprint(&self, state: &World, told: u64, dominators: &mut Vec<u64>) -> u64 {
        let rest = self.hash_of(&self.lock(), state, self.untold(told));
        let whole = |spent: Faults| scramble(rest ^ scramble(spent.word()));
        if self.spec.reductions.dominated && state.spent != Faults::default() {
            dominators.extend(state.spent.lesser().map(whole));
        }
        whole(state.spent)
    }

    fn steps(&self, state: &World, action: Action) -> Vec<Action> {
        let mut steps = Vec::new();
        self.take(&mut self.lock(), &mut state.clone(), action, &mut |step| steps.push(step));
        steps
    }

    fn shown(&self, state: &World) -> u64 {
        properties::shown(state)
    }

    fn found(&self, state: &World) -> u64 {
        properties::found(self, &mut self.lock(), state)
    }
}

/// Puts what is said of client `index` where it belongs after `swap`.
fn place<T>(places: &mut [T], swap: Option<&Swap>, index: usize, what: T) {
    places[swap.map_or(index, |swap| usize::from(swap.clients[index]))] = what;
}

/// The hash of the state that `world` is after swap `at`, counted from 1.
fn hash_as(tables: &Tables, world: &World, untold: Untold, at: usize) -> u64 {
    let swap = at.checked_sub(1).map(|at| &tables.swaps[at]);
    let mut hash = 0_u64;
    let mut add = |word: u64| hash = scramble(hash.rotate_left(23) ^ word);
    for host in &world.hosts {
        add(tables.hosts.swapped(*host, at));
    }
    let flight = world.flight.iter().map(|message| scramble(tables.inputs.swapped(*message, at)));
    add(flight.fold(0, u64::wrapping_add));
    let as_is = |versions: Versions| swap.map_or(versions, |swap| swap.versions(versions));
    let asked = |asked: bool, versions: Versions| if asked { as_is(versions) } else { 0 };
    let mut clients = [(0, 0); MAX_CLIENTS];
    for (index, client) in world.clients.iter().enumerate() {
        let Client { step, waits_at, context, read, seen, must, floor } = *client;
        let (seen, must) = (asked(untold.seen, seen), asked(untold.must, must));
        let floor = asked(untold.floor, floor);
        let bits = [step, waits_at, as_is(read), seen, must, floor, 0, 0];
        let words = (tables.contexts.hash(context), u64::from_le_bytes(bits));
        place(&mut clients, swap, index, words);
    }
    for (context, bits) in &clients[..world.clients.len()] {
        add(*context);
        add(*bits);
    }
    let history = &world.history;
    let [acked, refused] = [history.acked, history.refused].map(as_is);
    let shown = asked(untold.floor, history.shown);
    let (cut, touched) = (world.cut, world.touched);
    add(u64::from_le_bytes([acked, refused, shown, history.stand_ins, cut, touched, 0, 0]));
    let put = |put: usize| swap.map_or(put, |swap| usize::from(swap.puts[put]));
    let mut puts = [(0, 0); MAX_PUTS];
    for (number, (over, stamp)) in history.over.iter().zip(&history.stamps).enumerate() {
        let stamp = if *stamp == 0 { 0 } else { tables.stamps.hash(*stamp) };
        puts[put(number)] = (u64::from(as_is(*over)), stamp);
    }
    for (over, stamp) in &puts[..history.over.len()] {
        add(*over);
        add(*stamp);
    }
    for &(incarnation, seq, number) in &history.forwarded {
        add(incarnation);
        add(seq << 8 | put(usize::from(number)) as u64);
    }
    hash
}
