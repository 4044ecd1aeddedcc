//! What clients do: a mix of all there is to ask for, drawn.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::setup::Setup;
use crate::plan::seed::{Purpose, stream};
use crate::workload::generator::{Action, Call, Context, Event, Generator, Next, Outcome, Worker};

/// Of a hundred visits, how many put without having read.
const BLIND: u32 = 12;
/// Of a hundred others, how many only look.
const LOOKS: u32 = 30;
/// Of a hundred that change something that is there, how many delete it.
const DELETES: u32 = 20;

/// The clients.
pub(super) struct Mix {
    nodes: Vec<NodeId>,
    keys: Vec<Arc<str>>,
    /// Keys that had their empty value: a value is written once.
    emptied: BTreeSet<Arc<str>>,
    clients: Vec<Client>,
    think: Duration,
    large: u32,
    largest: u64,
    writes: u64,
}

struct Client {
    rng: ChaCha8Rng,
    at: State,
}

enum State {
    Resting { until: Duration },
    Reading { key: Arc<str> },
    Read { key: Arc<str>, get: u64, shown: usize },
    Writing,
}

impl Mix {
    pub(super) fn new(setup: &Setup, seed: u64) -> Self {
        let client = |worker: usize| {
            let worker = u32::try_from(worker).unwrap_or(u32::MAX);
            let mut rng = stream(seed, Purpose::Worker(worker));
            let until = rng.random_range(Duration::ZERO..=setup.think);
            Client { rng, at: State::Resting { until } }
        };
        Self {
            nodes: setup.ids(),
            keys: (0..setup.keys).map(|key| format!("key-{key}").into()).collect(),
            emptied: BTreeSet::new(),
            clients: (0..setup.workers).map(client).collect(),
            think: setup.think,
            large: setup.large,
            largest: setup.largest,
            writes: 0,
        }
    }

    /// All keys there are.
    pub(super) fn keys(&self) -> BTreeSet<Arc<str>> {
        self.keys.iter().cloned().collect()
    }

    /// What this worker does now, if it is not at rest.
    fn act(&mut self, worker: Worker, now: Duration) -> Option<Call> {
        let client = self.clients.get_mut(worker.0)?;
        let node = *self.nodes.choose(&mut client.rng)?;
        let (key, action) = match &client.at {
            State::Resting { until } if *until > now => return None,
            State::Resting { .. } => {
                let key = self.keys.choose(&mut client.rng)?.clone();
                if client.rng.random_ratio(BLIND, 100) {
                    client.at = State::Writing;
                    (key.clone(), Action::Put { value: self.value(worker, &key)?, context: None })
                } else {
                    client.at = State::Reading { key: key.clone() };
                    (key, Action::Get)
                }
            }
            State::Read { key, get, shown } => {
                let (key, get, shown) = (key.clone(), *get, *shown);
                client.at = State::Writing;
                if shown > 0 && client.rng.random_ratio(DELETES, 100) {
                    (key, Action::Delete { context: get })
                } else {
                    let value = self.value(worker, &key)?;
                    (key, Action::Put { value, context: Some(get) })
                }
            }
            State::Reading { .. } | State::Writing => return None,
        };
        Some(Call { key, node, action, is_final: false })
    }

    /// What nobody wrote before: of any size.
    fn value(&mut self, worker: Worker, key: &Arc<str>) -> Option<Value> {
        self.writes += 1;
        let number = self.writes;
        let rng = &mut self.clients.get_mut(worker.0)?.rng;
        if rng.random_ratio(1, 12) && self.emptied.insert(key.clone()) {
            return Some(json!(""));
        }
        let id = format!("v{number}");
        if rng.random_ratio(self.large, 1000) {
            return Some(json!({"id": id, "pad": rng.random_range(50_000..self.largest)}));
        }
        Some(match rng.random_range(0..10) {
            0..6 => json!(number),
            6..9 => json!({"id": id, "pad": rng.random_range(0..300)}),
            _ => json!({"id": id, "pad": rng.random_range(300..20_000)}),
        })
    }
}

impl Generator for Mix {
    fn op(&mut self, context: &Context<'_>) -> Next {
        for worker in context.free {
            if let Some(call) = self.act(*worker, context.now) {
                return Next::Op(*worker, call);
            }
        }
        let rests = context.free.iter().filter_map(|worker| match self.clients.get(worker.0)?.at {
            State::Resting { until } => Some(until),
            _ => None,
        });
        Next::Wait(rests.min())
    }

    fn update(&mut self, event: &Event<'_>) {
        let Some(client) = self.clients.get_mut(event.worker.0) else { return };
        if let (State::Reading { key }, Outcome::Ok { index, values }) =
            (&client.at, &event.outcome)
            && !client.rng.random_ratio(LOOKS, 100)
        {
            client.at = State::Read { key: key.clone(), get: *index, shown: values.len() };
            return;
        }
        let until = event.now + client.rng.random_range(Duration::ZERO..=self.think);
        client.at = State::Resting { until };
    }
}
