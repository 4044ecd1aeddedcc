//! The services: each turns what a call brings into arrivals for the driver, and what the driver
//! answers into what the call returns.

mod admin;
mod health;
mod kv;
mod peer;
pub(crate) mod reflection;

use std::pin::Pin;
use std::sync::Arc;

use dynamo_protocol::NodeId;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::Stream;
use tonic::Status;

pub(crate) use admin::AdminService;
pub(crate) use health::HealthService;
pub(crate) use kv::KvService;
pub(crate) use peer::{Incoming, PeerService, removed_status};

use crate::driver::{Arrival, Asked, Command};
use crate::hooks::Hook;
use crate::replies::Untaken;
use crate::seal::Seal;
use crate::telemetry::LinkCounters;
use crate::tls::Tls;
use crate::wire::Agreement;

/// A stream of answers.
type Answering<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the services share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) me: NodeId,
    pub(crate) agreement: Arc<Agreement>,
    /// Those of a node that was started for them.
    pub(crate) hook: Option<Arc<Hook>>,
    /// Stepped by hand: requests and peers are not heard.
    pub(crate) stepped: bool,
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    /// In KiB, for messages of peers.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) clients: mpsc::Sender<Vec<Asked>>,
    /// What clients have not taken.
    pub(crate) untaken: Arc<Untaken>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) counters: Arc<LinkCounters>,
    pub(crate) links: Arc<Incoming>,
    /// As whom it asks others.
    pub(crate) tls: Option<Arc<Tls>>,
    /// What clients' contexts are sealed with.
    pub(crate) seal: Option<Arc<Seal>>,
    /// True when the driver has ended: streams end too.
    pub(crate) closing: watch::Receiver<bool>,
}

impl Shared {
    /// Returns when the node is closing.
    pub(crate) async fn closed(&self) {
        // An error means that the node is gone.
        drop(self.closing.clone().wait_for(|closing| *closing).await);
    }
}

fn gone() -> Status {
    Status::unavailable("the node is ending")
}
