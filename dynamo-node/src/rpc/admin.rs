//! Operators and test drivers.

use std::time::Duration;

use bytes::Bytes;
use dynamo_protocol::membership::Edit;
use dynamo_protocol::{Epoch, Key};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::{Shared, gone};
use crate::driver::Command;
use crate::hooks::Hook;
use crate::proto;
use crate::proto::admin_server;
use crate::ring::Proposed;
use crate::settled::keeps_from_changing;
use crate::wire;

/// How long an operator may wait for a change of the membership.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How long the others have to say whether they count.
const LOOK: Duration = Duration::from_secs(2);

/// See the [module](self).
pub(crate) struct AdminService(pub(crate) Shared);

#[tonic::async_trait]
impl admin_server::Admin for AdminService {
    async fn status(
        &self,
        _: Request<proto::StatusRequest>,
    ) -> Result<Response<proto::StatusReport>, Status> {
        let status = self.command(Command::Status).await?;
        Ok(Response::new(wire::status(status)))
    }

    async fn read_replica(
        &self,
        request: Request<proto::ReplicaRequest>,
    ) -> Result<Response<proto::Replica>, Status> {
        let key = storable(request.into_inner().key)?;
        let read = self.command(|asker| Command::ReadReplica(key, asker)).await?;
        Ok(Response::new(wire::replica(read)))
    }

    async fn prune(
        &self,
        request: Request<proto::PruneRequest>,
    ) -> Result<Response<proto::PruneReport>, Status> {
        let key = storable(request.into_inner().key)?;
        let pruned = self.command(|asker| Command::Prune(key, asker)).await?;
        let unread = || Status::internal("a record of the key could not be read or written");
        let entries = pruned.ok_or_else(unread)? as u64;
        Ok(Response::new(proto::PruneReport { entries }))
    }

    async fn accept_loss(
        &self,
        _: Request<proto::AcceptLossRequest>,
    ) -> Result<Response<proto::AcceptLossReport>, Status> {
        let ranges = self.command(Command::AcceptLoss).await?;
        let unwritten = || Status::internal("its directory could not be written");
        let ranges = ranges.ok_or_else(unwritten)? as u64;
        Ok(Response::new(proto::AcceptLossReport { ranges }))
    }

    async fn ring(
        &self,
        _: Request<proto::RingRequest>,
    ) -> Result<Response<proto::RingReport>, Status> {
        let report = self.command(Command::Ring).await?;
        Ok(Response::new(wire::ring_to_proto(report)))
    }

    async fn propose(
        &self,
        request: Request<proto::ProposeRequest>,
    ) -> Result<Response<proto::ProposeReport>, Status> {
        let proto::ProposeRequest { edit, expect, wait_ms } = request.into_inner();
        let edit = wire::edit_from_proto(edit);
        let edit = edit.map_err(|why| Status::invalid_argument(why.to_string()))?;
        let expect = expect.map(Epoch);
        // Who is gone is no home of anything, but who is in its place may be filled from it until then.
        if !matches!(edit, Edit::Gone { forced: true, .. }) {
            let report = self.command(Command::Ring).await?;
            if let Some(why) =
                keeps_from_changing(&report, edit.node(), LOOK, self.0.tls.as_ref()).await
            {
                return Ok(Response::new(wire::proposed_to_proto(Proposed::Refused(why))));
            }
        }
        let proposing = self.command(|asker| Command::Propose { edit, expect, asker });
        let wait = Duration::from_millis(wait_ms).min(LONGEST_WAIT);
        let proposed = match tokio::time::timeout(wait, proposing).await {
            Ok(proposed) => proposed?,
            Err(_) => Proposed::Undecided,
        };
        Ok(Response::new(wire::proposed_to_proto(proposed)))
    }

    async fn force_epoch(
        &self,
        request: Request<proto::ForceEpochRequest>,
    ) -> Result<Response<proto::ProposeReport>, Status> {
        let proto::ForceEpochRequest { edit, expect } = request.into_inner();
        let edit = wire::edit_from_proto(edit);
        let edit = edit.map_err(|why| Status::invalid_argument(why.to_string()))?;
        let expect = Epoch(expect);
        tracing::warn!(%edit, epoch = expect.0 + 1, "an operator makes an epoch without a vote");
        let made = self.command(|asker| Command::ForceEpoch { edit, expect, asker }).await?;
        Ok(Response::new(wire::proposed_to_proto(made)))
    }

    async fn set_clock(
        &self,
        request: Request<proto::ClockRequest>,
    ) -> Result<Response<proto::ClockReport>, Status> {
        self.hook()?;
        let skew = request.into_inner().skew.map(wire::skew_from_proto);
        let reads = self.command(|asker| Command::Clock(skew, asker)).await?;
        if let Some(skew) = skew {
            tracing::warn!(?skew, "clock set wrong");
        }
        Ok(Response::new(proto::ClockReport { reads_us: reads.0 }))
    }

    async fn set_hooks(
        &self,
        request: Request<proto::HooksRequest>,
    ) -> Result<Response<proto::HooksReport>, Status> {
        // Not by way of the driver: it waits for the disk, and the disk may wait for this.
        let hook = self.hook()?;
        let proto::HooksRequest { fault, hooks } = request.into_inner();
        if let Some(hooks) = hooks.map(wire::hooks_from_proto) {
            tracing::warn!(fault, ?hooks, "disk and links falsified");
            hook.set(fault, hooks);
        }
        Ok(Response::new(wire::hooked_to_proto(&hook.counted())))
    }

    async fn step(
        &self,
        request: Request<proto::StepRequest>,
    ) -> Result<Response<proto::StepReport>, Status> {
        if !self.0.stepped {
            return Err(Status::failed_precondition("this node was not started to be stepped"));
        }
        let step = wire::step(&request.into_inner().step);
        let step = step.map_err(|why| Status::invalid_argument(why.to_string()))?;
        let stepped = self.send(|asker| Command::Step(step, asker)).await?;
        Ok(Response::new(wire::step_report(&stepped)))
    }

    async fn stop(
        &self,
        _: Request<proto::StopRequest>,
    ) -> Result<Response<proto::StopReport>, Status> {
        self.0.commands.send(Command::Stop).await.map_err(|_| gone())?;
        Ok(Response::new(proto::StopReport {}))
    }
}

fn storable(key: Bytes) -> Result<Key, Status> {
    if key.len() > wire::LONGEST_KEY {
        return Err(Status::invalid_argument("the key is longer than storage can hold"));
    }
    Ok(Key(key))
}

impl AdminService {
    fn hook(&self) -> Result<&Hook, Status> {
        self.0.hook.as_deref().ok_or_else(|| {
            Status::failed_precondition(
                "fault hooks are off: build with feature `faults` and serve with --fault-hooks",
            )
        })
    }

    async fn command<A>(
        &self,
        command: impl FnOnce(oneshot::Sender<A>) -> Command,
    ) -> Result<A, Status> {
        if self.0.stepped {
            return Err(Status::failed_precondition("this node is stepped by hand: it only steps"));
        }
        self.send(command).await
    }

    async fn send<A>(
        &self,
        command: impl FnOnce(oneshot::Sender<A>) -> Command,
    ) -> Result<A, Status> {
        let (asker, answer) = oneshot::channel();
        self.0.commands.send(command(asker)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}
