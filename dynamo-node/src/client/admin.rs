//! What operators and test drivers ask of a node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamo_protocol::membership::Edit;
use dynamo_protocol::{Epoch, Skew};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::ClientError;
use crate::hooks::{Hooked, Hooks};
use crate::http2;
use crate::proto;
use crate::proto::admin_client::AdminClient;
use crate::proto::replica::State;
use crate::ring::{Proposed, RingReport};
use crate::stepped::{Step, Stepped};
use crate::tls::{self, Tls};
use crate::transport::describe;
use crate::wire;

/// Asks one node about itself. Cheap to clone. It connects when it is first used.
#[derive(Clone, Debug)]
pub struct Admin {
    endpoint: Result<Endpoint, ClientError>,
    address: String,
    tls: Option<Arc<Tls>>,
    deadline: Duration,
}

impl Admin {
    /// For the node at `address`, `host:port`. Gives a question up after two seconds.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        let address = address.into();
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.map(http2::tune).map_err(|error| {
            ClientError::Refused(format!("{address} is not an address: {}", describe(&error)))
        });
        Self { endpoint, address, tls: None, deadline: Duration::from_secs(2) }
    }

    /// The same over TLS, if there is any: as whom, and whom to believe, it says.
    #[must_use]
    pub fn over(mut self, tls: Option<Arc<Tls>>) -> Self {
        self.tls = tls;
        self
    }

    /// The same with another deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How it does.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn status(&self) -> Result<proto::StatusReport, ClientError> {
        self.ask(async |mut node| node.status(proto::StatusRequest {}).await).await
    }

    /// How it sees the membership, and how far it is with its part in a change of it.
    ///
    /// # Errors
    /// If it does not say, or is of another build.
    pub async fn ring(&self) -> Result<RingReport, ClientError> {
        let report = self.ask(async |mut node| node.ring(proto::RingRequest {}).await).await?;
        wire::ring_from_proto(report).map_err(|why| ClientError::Indeterminate(why.to_string()))
    }

    /// Has it propose a change of the membership, for the epoch `expect` alone if that is given, and waits
    /// for what becomes of it, a little less than the deadline. Proposing the same again goes on waiting.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn propose(
        &self,
        edit: Edit,
        expect: Option<Epoch>,
    ) -> Result<Proposed, ClientError> {
        let wait = self.deadline - self.deadline / 8;
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let (edit, expect) = (Some(wire::edit_to_proto(edit)), expect.map(|epoch| epoch.0));
        let request = proto::ProposeRequest { edit, expect, wait_ms };
        let report = self.ask(async |mut node| node.propose(request).await).await?;
        wire::proposed_from_proto(report).map_err(|why| ClientError::Indeterminate(why.to_string()))
    }

    /// Has it make the epoch after `expect` by its word alone: no majority of the members is left to vote. It
    /// is another one than `edit` if it had voted for that, and says so.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn force_epoch(&self, edit: Edit, expect: Epoch) -> Result<Proposed, ClientError> {
        let (edit, expect) = (Some(wire::edit_to_proto(edit)), expect.0);
        let request = proto::ForceEpochRequest { edit, expect };
        let report = self.ask(async |mut node| node.force_epoch(request).await).await?;
        wire::proposed_from_proto(report).map_err(|why| ClientError::Indeterminate(why.to_string()))
    }

    /// Its own home record of a key, straight from its storage: no quorum, no repair. Found, absent,
    /// corrupt and unreadable are four answers.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn read_replica(&self, key: impl Into<Bytes>) -> Result<State, ClientError> {
        let key = key.into();
        let request = proto::ReplicaRequest { key };
        let replica = self.ask(async |mut node| node.read_replica(request.clone()).await).await?;
        let unclear = || ClientError::Indeterminate("the node did not say which".to_owned());
        replica.state.ok_or_else(unclear)
    }

    /// Forgets, in its records of a key, the actors of the key's context of which no live version is left;
    /// returns how many. An overwritten value may come back as a sibling; none is lost.
    ///
    /// # Errors
    /// If it does not say, or its storage failed.
    pub async fn prune(&self, key: impl Into<Bytes>) -> Result<u64, ClientError> {
        let request = proto::PruneRequest { key: key.into() };
        let report = self.ask(async |mut node| node.prune(request).await).await?;
        Ok(report.entries)
    }

    /// Accepts that what its directory may have lost is lost: it counts wherever it is a home. Returns in how
    /// many ranges it did not before.
    ///
    /// # Errors
    /// If it does not say, or its storage failed.
    pub async fn accept_loss(&self) -> Result<u64, ClientError> {
        let request = proto::AcceptLossRequest {};
        let report = self.ask(async |mut node| node.accept_loss(request).await).await?;
        Ok(report.ranges)
    }

    /// Sets its wall clock wrong, from now on.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if its fault hooks are off.
    pub async fn set_clock(&self, skew: Skew) -> Result<(), ClientError> {
        self.clock(Some(skew)).await.map(drop)
    }

    /// What its wall clock reads, in microseconds since 1970, once it is set wrong, if it is to be.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if its fault hooks are off.
    pub async fn clock(&self, skew: Option<Skew>) -> Result<u64, ClientError> {
        let request = proto::ClockRequest { skew: skew.map(wire::skew_to_proto) };
        let report = self.ask(async |mut node| node.set_clock(request).await).await?;
        Ok(report.reads_us)
    }

    /// A fault of this number falsifies its disk and its links from now on, if there is how; the default of
    /// [`Hooks`] ends it. What its hooks did so far.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if its fault hooks are off.
    pub async fn hooks(&self, fault: u64, hooks: Option<Hooks>) -> Result<Hooked, ClientError> {
        let request = proto::HooksRequest { fault, hooks: hooks.map(wire::hooks_to_proto) };
        let report = self.ask(async |mut node| node.set_hooks(request.clone()).await).await?;
        Ok(wire::hooked_from_proto(&report))
    }

    /// Takes one step on a node that is stepped by hand: see [`crate::stepped`].
    ///
    /// # Errors
    /// If the node was not started for it, or is of another build.
    pub async fn step(&self, step: &Step) -> Result<Stepped, ClientError> {
        let request = wire::step_request(step);
        let report = self.ask(async |mut node| node.step(request).await).await?;
        wire::stepped(&report).map_err(|why| ClientError::Indeterminate(why.to_string()))
    }

    /// Asks it to end. It has not ended yet when this returns.
    ///
    /// # Errors
    /// If it did not take the request.
    pub async fn stop(&self) -> Result<(), ClientError> {
        self.ask(async |mut node| node.stop(proto::StopRequest {}).await).await.map(drop)
    }

    async fn ask<A>(
        &self,
        question: impl AsyncFnOnce(AdminClient<Channel>) -> Result<tonic::Response<A>, Status>,
    ) -> Result<A, ClientError> {
        let endpoint = self.endpoint.clone()?;
        let late = |_| ClientError::Indeterminate(format!("none within {:?}", self.deadline));
        let asking = async {
            let to = (self.address.as_str(), None);
            let channel = tls::connect(endpoint, to, self.tls.as_ref(), self.deadline).await;
            let channel = channel.map_err(|error| ClientError::Refused(describe(&error)))?;
            let node = AdminClient::new(channel).max_decoding_message_size(usize::MAX);
            let answer = question(node).await.map_err(|status| refused(&status))?;
            Ok(answer.into_inner())
        };
        tokio::time::timeout(self.deadline, asking).await.map_err(late)?
    }
}

fn refused(status: &Status) -> ClientError {
    match status.code() {
        Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::Unimplemented
        | Code::PermissionDenied
        | Code::Unauthenticated => ClientError::Refused(status.message().to_owned()),
        _ => ClientError::Indeterminate(describe(status)),
    }
}
