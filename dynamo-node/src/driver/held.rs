//! What a turn wants done, and waits for its changes to be durable.

use dynamo_protocol::{Outbox, Output};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ReplicaRead;
use crate::ring::RingReport;
use crate::status::Status;

/// What leaves the node when a batch is durable.
#[derive(Default)]
pub(super) struct Effects {
    /// What need not wait for that, see [`Input::early`].
    pub(super) early: Vec<Output>,
    pub(super) outbox: Outbox,
    pub(super) replicas: Vec<(oneshot::Sender<ReplicaRead>, ReplicaRead)>,
    pub(super) operated: Vec<(oneshot::Sender<Option<usize>>, Option<usize>)>,
    /// How the node was when it was asked; what it has counted is added when that is told.
    pub(super) statuses: Vec<(oneshot::Sender<Status>, Status)>,
    pub(super) rings: Vec<(oneshot::Sender<RingReport>, RingReport)>,
}

impl Effects {
    /// Whether anybody waits for what they rest on to be durable.
    pub(super) fn wait(&self) -> bool {
        let Self { early: _, outbox, replicas, operated, statuses, rings } = self;
        let waits = |output: &Output| !matches!(output, Output::Event(_));
        outbox.outputs.iter().any(waits)
            || !(replicas.is_empty()
                && operated.is_empty()
                && statuses.is_empty()
                && rings.is_empty())
    }
}

pub(super) struct Held {
    pub(super) batch: u64,
    pub(super) bytes: usize,
    /// When it was submitted.
    pub(super) at: Instant,
    pub(super) effects: Effects,
}
