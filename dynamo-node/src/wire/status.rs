//! How a node is, as operators see it.

use dynamo_protocol::NodeId;

use crate::proto;
use crate::status::Status;
use crate::telemetry::{Counters, with_counters};

/// With all that the node counts.
pub(crate) fn status(status: Status) -> proto::StatusReport {
    let number = |node: NodeId| u32::from(node.0);
    proto::StatusReport {
        id: number(status.id),
        identity: status.identity.to_string(),
        incarnation: status.incarnation,
        amnesiac: status.amnesiac,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: u64::try_from(status.uptime.as_millis()).unwrap_or(u64::MAX),
        hints_held: status.hints_held,
        open_operations: status.open_operations as u64,
        suspected: status.suspected.into_iter().map(number).collect(),
        open_requests: status.open_requests as u64,
        counters: Some(counters(status.counters)),
        settings: status.settings,
        stopping: status.stopping,
        proven: status.proven,
        epoch: status.epoch.0,
        filling: status.filling,
        expects_strays: status.expects_strays,
        losses_accepted: status.losses_accepted,
        epochs_forced: status.epochs_forced,
        tombstones: status.tombstones as u64,
        tombstones_kept_by: status.tombstones_kept_by.into_iter().map(number).collect(),
        hinted: status.hinted.into_iter().map(|(id, count)| (number(id), count)).collect(),
        exchanged: status.exchanged.into_iter().map(|(id, last)| (number(id), last)).collect(),
    }
}

macro_rules! convert {
    ($($name:ident)*) => {
        fn counters(counters: Counters) -> proto::Counters {
            proto::Counters { $($name: counters.$name,)* }
        }
    };
}
with_counters!(convert);
