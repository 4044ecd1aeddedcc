//! Convergence: from a state of rest the network is healed, every host started, everything
//! delivered, every timer run out, until nothing happens any more; where there is anti-entropy every node has
//! an exchange with every other; then every home is read once.
//!
//! One deterministic schedule from every state of rest stands in for "eventually", which a search
//! for states cannot decide. It is a check that the cluster *can* settle without further puts.

use dynamo_protocol::{ClientOp, Input, Leaf, Place, Record, Reply, RequestId, Role, Timer};

use crate::world::host::HostInput;
use crate::world::model::DynamoModel;
use crate::world::script::Versions;
use crate::world::state::World;
use crate::world::tables::{Tables, stable_hash};

/// More rounds than any settling takes: one that takes more never ends.
const ROUNDS: usize = 24;
/// More messages than one round can have.
const STEPS: usize = 2_000;

/// How a state of rest turned out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    /// Once hints were handed over, and homes had their exchanges, all homes hold the same versions, and no
    /// hint is left.
    pub(crate) equal_unread: bool,
    /// By then no directory is amnesiac.
    pub(crate) all_count: bool,
    /// So do they once every home was read.
    pub(crate) equal_after_reads: bool,
    /// Every home's get, then, covers all that was acknowledged.
    pub(crate) shows_acknowledged: bool,
    /// One shows what an acknowledged delete had overwritten.
    pub(crate) resurrected: bool,
}

/// The same, of the hosts alone.
#[derive(Clone, Debug)]
pub(crate) struct Drained {
    equal_unread: bool,
    all_count: bool,
    equal_after_reads: bool,
    /// What each home's get shows, if it is answered.
    shown: Vec<Option<Versions>>,
}

struct Drain<'a> {
    model: &'a DynamoModel,
    tables: &'a mut Tables,
    world: World,
    shown: Vec<Option<Versions>>,
}

/// What becomes of `world` if it is at rest: every client is done and nothing can arrive.
pub(crate) fn judge(model: &DynamoModel, tables: &mut Tables, world: &World) -> Option<Rest> {
    if !is_at_rest(model, tables, world) {
        return None;
    }
    let Drained { equal_unread, all_count, equal_after_reads, shown: all } =
        drained(model, tables, world);
    let history = &world.history;
    let deleted = history.acked & model.spec.script.deletes();
    let overwritten = history.closure(deleted) & !deleted;
    let shown =
        |wanted: &dyn Fn(Versions) -> bool| all.iter().all(|shown| shown.is_some_and(wanted));
    let values = history.acked & !model.spec.script.deletes() & !overwritten;
    Some(Rest {
        equal_unread,
        all_count,
        equal_after_reads,
        shows_acknowledged: shown(&|shown| {
            values & !history.closure(shown | deleted_over(world, model)) == 0
        }),
        resurrected: all.iter().flatten().any(|shown| shown & overwritten != 0),
    })
}

/// What becomes of the hosts and of what is under way between them: all else decides nothing of it, and many
/// states of rest have the same of these.
fn drained(model: &DynamoModel, tables: &mut Tables, world: &World) -> Drained {
    let place = (world.hosts.clone(), world.flight.clone());
    if let Some(known) = tables.drained.get(&place) {
        return known.clone();
    }
    let mut drain = Drain { model, tables, world: world.clone(), shown: Vec::new() };
    drain.start_all();
    drain.learn_all();
    let settled = drain.settle() && drain.exchange_all();
    let equal_unread = settled && drain.homes_agree(|place, record| Leaf::of(&place.key, record));
    let all_count = drain.all_count();
    drain.read_all();
    let settled = drain.settle();
    let equal_after_reads = settled && drain.homes_agree(|_, record| stable_hash(&record.set));
    let shown = drain.shown;
    let drained = Drained { equal_unread, all_count, equal_after_reads, shown };
    tables.drained.insert(place, drained.clone());
    drained
}

/// Values may be gone because a delete that nobody acknowledged overwrote them: one that was made, or one
/// that was forwarded and is made only while the cluster settles.
fn deleted_over(world: &World, model: &DynamoModel) -> Versions {
    let history = &world.history;
    let under_way = history.forwarded.iter().fold(0, |all, (_, _, put)| all | 1 << put);
    (history.minted() | under_way) & model.spec.script.deletes()
}

fn is_at_rest(model: &DynamoModel, tables: &mut Tables, world: &World) -> bool {
    let done = world
        .clients
        .iter()
        .zip(model.spec.script.clients())
        .all(|(client, steps)| client.waits_at == 0 && usize::from(client.step) >= steps.len());
    if done && model.spec.reductions.ample && model.has_ended(tables, world) {
        return true;
    }
    done && world.flight.iter().all(|message| {
        let wire = tables.wire(*message);
        let up = tables.facts(world.hosts[usize::from(wire.to)]).up;
        !up || !world.connected(wire.from, wire.to)
    })
}

impl Drain<'_> {
    fn start_all(&mut self) {
        for node in 0..self.world.hosts.len() {
            if !self.tables.facts(self.world.hosts[node]).up {
                let start = self.tables.input(&self.model.setup, HostInput::Start);
                self.step(node, start);
            }
        }
        self.rename();
    }

    /// Says whether it came to an end.
    fn settle(&mut self) -> bool {
        for _ in 0..ROUNDS {
            let before = self.world.hosts.clone();
            if !self.deliver_all() {
                return false;
            }
            for node in 0..self.world.hosts.len() {
                for (timer, input) in self.tables.facts(self.world.hosts[node]).timers.clone() {
                    // They never end, and have a turn of their own.
                    if timer != Timer::Exchange {
                        self.step(node, input);
                    }
                }
                if self.tables.facts(self.world.hosts[node]).unsynced {
                    let sync = self.tables.input(&self.model.setup, HostInput::Sync);
                    self.step(node, sync);
                }
                self.rename();
            }
            if self.world.hosts == before && self.world.flight.is_empty() {
                return true;
            }
        }
        false
    }

    /// Everybody learns of every membership: those that are behind keep the others from coming to rest.
    fn learn_all(&mut self) {
        let model = self.model;
        for node in 0..self.world.hosts.len() {
            let up_to_date = model.setup.views.len() - 1;
            while self.tables.facts(self.world.hosts[node]).epoch < up_to_date {
                let at = u8::try_from(node).expect("there are few nodes");
                let input = model.step(self.tables, &mut self.world).next_epoch(at);
                self.step(node, input);
            }
        }
    }

    /// As many exchanges of every node as it has partners. Says whether they came to an end.
    fn exchange_all(&mut self) -> bool {
        for _ in 1..self.world.hosts.len() {
            for node in 0..self.world.hosts.len() {
                let timers = self.tables.facts(self.world.hosts[node]).timers.clone();
                let exchange = timers.into_iter().find(|(timer, _)| *timer == Timer::Exchange);
                let Some((_, input)) = exchange else { continue };
                self.step(node, input);
                if !self.settle() {
                    return false;
                }
            }
        }
        true
    }

    fn deliver_all(&mut self) -> bool {
        for _ in 0..STEPS {
            let Some(message) = self.world.flight.first().copied() else { return true };
            self.world.take(message);
            let to = usize::from(self.tables.wire(message).to);
            self.step(to, message);
            self.rename();
        }
        false
    }

    fn step(&mut self, node: usize, input: u32) {
        let model = self.model;
        let effect = self.tables.effect(&model.setup, self.world.hosts[node], input);
        self.world.hosts[node] = effect.host;
        let mut step = model.step(self.tables, &mut self.world);
        for message in &effect.sends {
            step.send(*message);
        }
        for (request, reply) in &effect.replies {
            let Some(at) = request.0.checked_sub(FIRST_READ) else { continue };
            let at = usize::try_from(at).expect("one read a home");
            self.shown[at] = match reply {
                Reply::Got { values, .. } => {
                    let writers = values.iter().filter_map(|value| model.spec.script.writer(value));
                    Some(writers.fold(0, |all, number| all | 1 << number))
                }
                _ => None,
            };
        }
    }

    /// The same hosts for the same states: most drains end alike.
    fn rename(&mut self) {
        self.model.step(self.tables, &mut self.world).rename();
    }

    fn read_all(&mut self) {
        let homes = self.model.setup.last_homes();
        self.shown = vec![None; homes.len()];
        for (at, home) in homes.into_iter().enumerate() {
            let request = RequestId(FIRST_READ + at as u64);
            let op = ClientOp::Get { key: self.model.setup.key.clone() };
            let input = HostInput::Handle(Input::Client { request, op });
            let input = self.tables.input(&self.model.setup, input);
            self.step(home, input);
            self.rename();
            self.settle();
        }
    }

    fn all_count(&self) -> bool {
        self.world.hosts.iter().all(|host| !self.tables.hosts.get(*host).store.meta.amnesiac)
    }

    /// Whether no hint is left and what `look` sees of them is the same at all homes.
    fn homes_agree<T: PartialEq>(&self, look: impl Fn(&Place, &Record) -> T) -> bool {
        let place = Place::home(self.model.setup.key.clone());
        let store = |host: &u32| &self.tables.hosts.get(*host).store;
        let hints = self.world.hosts.iter().any(|host| {
            store(host).records.keys().any(|place| matches!(place.role, Role::Hint(_)))
        });
        let set = |host: &u32| {
            store(host).records.get(&place).filter(|r| !r.set.is_empty()).map(|r| look(&place, r))
        };
        let homes = self.model.setup.last_homes();
        let is_stray = |at: usize| !homes.contains(&at) && set(&self.world.hosts[at]).is_some();
        let strays = (0..self.world.hosts.len()).any(is_stray);
        let sets: Vec<_> = homes.iter().map(|home| set(&self.world.hosts[*home])).collect();
        !hints && !strays && sets.windows(2).all(|pair| pair[0] == pair[1])
    }
}

/// Requests of the final reads; clients of the script never make so many.
const FIRST_READ: u64 = 1 << 32;
