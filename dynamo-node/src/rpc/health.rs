//! The health service of gRPC: whether the node serves, asked of the node itself.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use super::{Answering, Shared};
use crate::driver::Command;

/// A driver that does not answer within this serves nobody.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks for those who watch.
const LOOK: Duration = Duration::from_secs(1);
/// What is asked about: all of the node, or what clients use.
const SERVICES: [&str; 2] = ["", "dynamo.v1.Kv"];

/// See the [module](self).
pub(crate) struct HealthService(pub(crate) Shared);

#[tonic::async_trait]
impl health_server::Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        known(&request)?;
        Ok(Response::new(answer(serves(&self.0).await)))
    }

    type WatchStream = Answering<HealthCheckResponse>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        known(&request)?;
        let (tell, told) = mpsc::channel(1);
        let shared = self.0.clone();
        tokio::spawn(async move {
            let mut last = None;
            loop {
                let now = serves(&shared).await;
                if last != Some(now) && tell.send(Ok(answer(now))).await.is_err() {
                    return;
                }
                last = Some(now);
                tokio::select! {
                    () = tell.closed() => return,
                    () = shared.closed() => return,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }
}

fn known(request: &Request<HealthCheckRequest>) -> Result<(), Status> {
    let service = request.get_ref().service.as_str();
    let unknown = || Status::not_found(format!("{service:?} is no service of this node"));
    SERVICES.contains(&service).then_some(()).ok_or_else(unknown)
}

async fn serves(shared: &Shared) -> bool {
    let asking = async {
        let (asker, answer) = oneshot::channel();
        shared.commands.send(Command::Status(asker)).await.ok()?;
        answer.await.ok()
    };
    // One that stops refuses; a disk that does not answer leaves the question open.
    let status = tokio::time::timeout(PATIENCE, asking).await.ok().flatten();
    status.is_some_and(|status| !status.stopping)
}

fn answer(serves: bool) -> HealthCheckResponse {
    let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}
