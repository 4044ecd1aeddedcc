//! The clients: sessions that several share, and what each request was told.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use dynamo_node::simulation::{End, Network, World};
use dynamo_node::{Admin, Client as Session, ClientError, ClusterClient};
use dynamo_protocol::NodeId;
use serde_json::Value;

use super::setup::Setup;
use crate::cluster::clients::{failed, read_home};
use crate::workload::client::{Client, Completion};
use crate::workload::generator::{Action, Call, Worker};
use crate::workload::wire;

/// One request, as its client saw it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// What it was.
    pub(super) what: String,
    /// Who asked; nobody of one that went where the ring says.
    pub(super) client: Option<u16>,
    pub(super) node: NodeId,
    pub(super) begun: Duration,
    pub(super) ended: Duration,
    pub(super) fate: Fate,
}

/// What it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// Surely not applied.
    Refused(String),
    /// By its node: the others did not answer in time.
    TimedOut,
    /// By nobody, for as long as it waited.
    Unanswered,
    /// By its connection, which broke.
    Broken(String),
}

/// See the [module](self).
pub(super) struct Clients {
    world: World,
    workers: usize,
    sessions: u16,
    /// The last worker finds the homes itself.
    driven: Option<ClusterClient>,
    patience: Duration,
    open: Mutex<BTreeMap<(u16, NodeId), (Session, u64)>>,
    told: Mutex<Vec<Told>>,
    most_open: Mutex<u64>,
}

impl Clients {
    pub(super) fn new(setup: &Setup, world: &World) -> Self {
        let seeds = setup.ids().into_iter().map(|node| Network::address(End::Anyone, node));
        let driven = setup.driven.then(|| ClusterClient::new(seeds));
        Self {
            world: world.clone(),
            workers: setup.workers,
            sessions: setup.sessions,
            driven: driven.map(|client| client.with_deadline(setup.patience())),
            patience: setup.patience(),
            open: Mutex::default(),
            told: Mutex::default(),
            most_open: Mutex::default(),
        }
    }

    /// What all requests were told.
    pub(super) fn told(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().expect("no one panics with the lock held"))
    }

    /// How many requests were open on one session at the most.
    pub(super) fn most_open(&self) -> u64 {
        *self.most_open.lock().expect("no one panics with the lock held")
    }

    fn session(&self, client: u16, node: NodeId) -> Session {
        let mut open = self.open.lock().expect("no one panics with the lock held");
        let made = || {
            let address = Network::address(End::Client(client), node);
            (Session::new(address).with_deadline(self.patience), 0)
        };
        let (session, requests) = open.entry((client, node)).or_insert_with(made);
        *requests += 1;
        let mut most = self.most_open.lock().expect("no one panics with the lock held");
        *most = (*most).max(*requests);
        session.clone()
    }

    fn answered(&self, client: u16, node: NodeId) {
        let mut open = self.open.lock().expect("no one panics with the lock held");
        if let Some((_, requests)) = open.get_mut(&(client, node)) {
            *requests -= 1;
        }
    }

    async fn home(&self, node: NodeId, key: Bytes) -> Completion {
        let admin = Admin::new(Network::address(End::Operator, node)).with_deadline(self.patience);
        read_home(&admin, key).await
    }

    async fn ask(&self, call: &Call, context: Option<Bytes>, to: Way) -> (Completion, Fate) {
        let key = Bytes::copy_from_slice(call.key.as_bytes());
        let context = context.unwrap_or_default();
        let asked = match &call.action {
            Action::Home => return (self.home(call.node, key).await, Fate::Done),
            Action::Get => {
                let got = match &to {
                    Way::Session(session) => session.get(key).await,
                    Way::Ring(ring) => ring.get(key).await,
                };
                got.map(|got| {
                    (
                        got.values.iter().map(|value| wire::decode(value)).collect(),
                        Some(got.context),
                    )
                })
            }
            Action::Put { value, .. } => {
                let bytes = encoded(value);
                let put = match &to {
                    Way::Session(session) => session.put(key, context, bytes).await,
                    Way::Ring(ring) => ring.put(key, context, bytes).await,
                };
                put.map(|_| (Vec::new(), None))
            }
            Action::Delete { .. } => {
                let deleted = match &to {
                    Way::Session(session) => session.delete(key, context).await,
                    Way::Ring(ring) => ring.delete(key, context).await,
                };
                deleted.map(|_| (Vec::new(), None))
            }
        };
        match asked {
            Ok((values, context)) => (Completion::Ok { values, context }, Fate::Done),
            Err(error) => (failed(&error), fate(&error)),
        }
    }
}

enum Way {
    Session(Session),
    Ring(ClusterClient),
}

impl Client for Clients {
    async fn call(&self, worker: Worker, call: Call, context: Option<Bytes>) -> Completion {
        let is_last = worker.0 + 1 == self.workers && !call.is_final;
        let client = u16::try_from(worker.0).unwrap_or(0) % self.sessions;
        let ring = self.driven.clone().filter(|_| is_last);
        let (client, way) = match (ring, &call.action) {
            (Some(ring), _) => (None, Way::Ring(ring)),
            (None, _) => (Some(client), Way::Session(self.session(client, call.node))),
        };
        let begun = self.world.now();
        let (completion, fate) = self.ask(&call, context, way).await;
        if let Some(client) = client {
            self.answered(client, call.node);
        }
        if call.action != Action::Home {
            let what = format!("{} of {}", call.action.f(), call.key);
            let (node, ended) = (call.node, self.world.now());
            let told = Told { what, client, node, begun, ended, fate };
            self.told.lock().expect("no one panics with the lock held").push(told);
        }
        completion
    }
}

/// Values are written as everywhere, but that nothing is nothing.
fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    if value.as_str() != Some("") {
        wire::encode(value, &mut bytes);
    }
    bytes
}

fn fate(error: &ClientError) -> Fate {
    match error {
        ClientError::Refused(why) | ClientError::Overloaded { why, .. } => {
            Fate::Refused(why.clone())
        }
        ClientError::Indeterminate(why) if why.contains("did not answer in time") => Fate::TimedOut,
        ClientError::Indeterminate(why) if why.starts_with("none within") => Fate::Unanswered,
        ClientError::Indeterminate(why) => Fate::Broken(why.clone()),
    }
}

/// Of an operator: how a node is, if it says so.
pub(super) async fn status(node: NodeId) -> Option<dynamo_node::StatusReport> {
    let admin = Admin::new(Network::address(End::Operator, node));
    admin.status().await.ok()
}

/// Of an operator: what the node holds counts, whatever its directory may have lost.
pub(super) async fn accept_loss(node: NodeId) -> Result<u64, ClientError> {
    Admin::new(Network::address(End::Operator, node)).accept_loss().await
}
