//! Clients of Dynamo nodes, and what the driver asks a node itself.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dynamo_node::{
    Admin, Client as NodeClient, ClientError, Hooked, Hooks, Proposed, ReplicaState, RingReport,
    Tls,
};
use dynamo_protocol::membership::Edit;
use dynamo_protocol::{Epoch, NodeId, Skew};
use serde_json::Value;

use super::Status;
use crate::hosts::proxy::{End, FaultId, Net};
use crate::workload::client::{Client, Completion};
use crate::workload::generator::{Action, Call, Worker};
use crate::workload::wire;

/// How long a node may take to answer the driver.
const ADMIN_PATIENCE: Duration = Duration::from_secs(2);

/// The clients of a run: each worker has a session of its own with every node it speaks to, through
/// the clients' links.
pub struct NodeClients {
    net: Arc<Net>,
    timeout: Duration,
    tls: Option<Arc<Tls>>,
    sessions: Mutex<HashMap<(Worker, NodeId), NodeClient>>,
}

impl NodeClients {
    /// Clients that give up after `timeout`.
    #[must_use]
    pub fn new(net: Arc<Net>, timeout: Duration) -> Self {
        Self { net, timeout, tls: None, sessions: Mutex::default() }
    }

    /// The same over TLS, if there is any.
    #[must_use]
    pub fn over(mut self, tls: Option<Arc<Tls>>) -> Self {
        self.tls = tls;
        self
    }

    fn session(&self, worker: Worker, node: NodeId) -> NodeClient {
        let mut sessions = self.sessions.lock().expect("no one panics with the lock held");
        let open = || {
            let address = self.net.address(End::Clients, node).to_string();
            let client = match &self.tls {
                None => NodeClient::new(address),
                Some(tls) => NodeClient::over_tls(address, Arc::clone(tls)),
            };
            client.with_deadline(self.timeout)
        };
        sessions.entry((worker, node)).or_insert_with(open).clone()
    }

    async fn home(&self, node: NodeId, key: Bytes) -> Completion {
        let address = self.net.address(End::Clients, node).to_string();
        let admin = Admin::new(address).with_deadline(self.timeout).over(self.tls.clone());
        read_home(&admin, key).await
    }
}

/// What a home itself holds of a key.
pub(crate) async fn read_home(admin: &Admin, key: Bytes) -> Completion {
    let values = match admin.read_replica(key).await {
        Ok(ReplicaState::Found(record)) => record.values,
        // What is damaged is no copy: the node has said so.
        Ok(ReplicaState::Absent(_) | ReplicaState::Corrupt(_)) => Vec::new(),
        Ok(ReplicaState::Unreadable(_)) => {
            return Completion::Fail("the record cannot be read".into());
        }
        Err(error) => return failed(&error),
    };
    Completion::Ok { values: values.iter().map(value).collect(), context: None }
}

impl Client for NodeClients {
    async fn call(&self, worker: Worker, call: Call, context: Option<Bytes>) -> Completion {
        let key = Bytes::copy_from_slice(call.key.as_bytes());
        match call.action {
            Action::Home => self.home(call.node, key).await,
            Action::Get => match self.session(worker, call.node).get(key).await {
                Ok(got) => Completion::Ok {
                    values: got.values.iter().map(value).collect(),
                    context: Some(got.context),
                },
                Err(error) => failed(&error),
            },
            Action::Delete { .. } => {
                let context = context.unwrap_or_default();
                match self.session(worker, call.node).delete(key, context).await {
                    Ok(_) => Completion::Ok { values: Vec::new(), context: None },
                    Err(error) => failed(&error),
                }
            }
            Action::Put { value, .. } => {
                let mut bytes = Vec::new();
                wire::encode(&value, &mut bytes);
                let context = context.unwrap_or_default();
                match self.session(worker, call.node).put(key, context, bytes).await {
                    Ok(_) => Completion::Ok { values: Vec::new(), context: None },
                    Err(error) => failed(&error),
                }
            }
        }
    }
}

/// An operation that did not happen, or of which nobody knows.
pub(crate) fn failed(error: &ClientError) -> Completion {
    match error {
        ClientError::Refused(_) | ClientError::Overloaded { .. } => {
            Completion::Fail(error.to_string())
        }
        ClientError::Indeterminate(_) => Completion::Info(error.to_string()),
    }
}

/// A stored value as it goes into the history: what no client wrote stays visible there.
fn value(bytes: &Bytes) -> Value {
    wire::decode(bytes)
}

/// Where the driver asks a node, and as whom, if it has to say.
pub(super) struct Way(SocketAddr, Option<Arc<Tls>>);

impl Way {
    pub(super) fn over(address: SocketAddr, tls: Option<&Arc<Tls>>) -> Self {
        Self(address, tls.cloned())
    }
}

impl From<SocketAddr> for Way {
    fn from(address: SocketAddr) -> Self {
        Self(address, None)
    }
}

fn admin(way: impl Into<Way>) -> Admin {
    let Way(address, tls) = way.into();
    Admin::new(address.to_string()).with_deadline(ADMIN_PATIENCE).over(tls)
}

/// What a node says of itself.
pub(super) async fn status(way: impl Into<Way>) -> Result<Status, String> {
    let report = admin(way).status().await.map_err(|error| error.to_string())?;
    // By name, so that a counter that is added to the node shows up in verdicts without more ado.
    let counters = serde_json::to_value(report.counters.unwrap_or_default());
    let counters = counters.and_then(serde_json::from_value).map_err(|error| error.to_string())?;
    let node = |id: u32, number| Some((NodeId(u16::try_from(id).ok()?), number));
    Ok(Status {
        identity: report.identity,
        incarnation: report.incarnation,
        proven: report.proven,
        amnesiac: report.amnesiac,
        filling: report.filling,
        expects_strays: report.expects_strays,
        exchanged: report.exchanged.iter().filter_map(|(id, last)| node(*id, *last)).collect(),
        hints_held: report.hints_held,
        hinted: report.hinted.iter().filter_map(|(id, count)| node(*id, *count)).collect(),
        open_operations: report.open_operations + report.open_requests,
        suspected: report
            .suspected
            .iter()
            .filter_map(|id| u16::try_from(*id).ok())
            .map(NodeId)
            .collect(),
        counters,
    })
}

/// How a node sees the membership.
pub(super) async fn ring(way: impl Into<Way>) -> Result<RingReport, String> {
    admin(way).ring().await.map_err(|error| error.to_string())
}

/// Has a node propose a change of the membership.
pub(super) async fn propose(
    way: impl Into<Way>,
    edit: Edit,
    expect: Option<Epoch>,
) -> Result<Proposed, String> {
    admin(way).propose(edit, expect).await.map_err(|error| error.to_string())
}

/// Falsifies a node's disk and links, if there is how.
pub(super) async fn hooks(
    way: impl Into<Way>,
    fault: FaultId,
    hooks: Option<Hooks>,
) -> Result<Hooked, String> {
    admin(way).hooks(fault, hooks).await.map_err(|error| error.to_string())
}

/// Sets a node's clock wrong, if there is how; what it reads.
pub(super) async fn clock(way: impl Into<Way>, skew: Option<Skew>) -> Result<u64, String> {
    admin(way).clock(skew).await.map_err(|error| error.to_string())
}

/// Asks a node to end.
pub(super) async fn stop(way: impl Into<Way>) -> Result<(), String> {
    admin(way).stop().await.map_err(|error| error.to_string())
}
