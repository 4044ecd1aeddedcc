//! Whether the members of a strict cluster are ready for another change of their ring.
//!
//! A newcomer is filled from homes that counted in the epoch before. If the ring changes again before it
//! counts, and then a disk is lost, too few of those may be left, and the ranges answer nobody. So whoever
//! asks for a change waits until all members count that answer.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use tokio::task::JoinSet;

use crate::client::Admin;
use crate::ring::RingReport;
use crate::tls::Tls;

/// What keeps the cluster of `report` from another change, which is about `node`: nothing in a sloppy one,
/// and nothing that a member would have to say that does not answer within `deadline`.
pub(crate) async fn keeps_from_changing(
    report: &RingReport,
    node: NodeId,
    deadline: Duration,
    tls: Option<&Arc<Tls>>,
) -> Option<String> {
    if !report.settings.quorums_meet() {
        return None;
    }
    let seats = report.latest().seats().iter().map(|seat| seat.node);
    let others = seats.filter(|id| *id != node && *id != report.id);
    let addresses = others.filter_map(|id| report.addresses.get(&id));
    let mut asking = JoinSet::new();
    for address in addresses {
        let admin = Admin::new(address.as_str()).with_deadline(deadline).over(tls.cloned());
        asking.spawn(async move { admin.ring().await });
    }
    let others = asking.join_all().await;
    let own = (report.id != node).then_some(report);
    others.iter().flatten().chain(own).find_map(|told| {
        let why = told.keeps_from_counting(report.latest().epoch())?;
        Some(format!("{} {why}; a strict cluster changes again when all members count", told.id))
    })
}
