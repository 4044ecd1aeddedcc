//! What faults do to the ring: changes are asked for, and how far they are is told by the members.

use std::collections::BTreeMap;
use std::time::Duration;

use dynamo_node::{Proposed, RingReport};
use dynamo_protocol::membership::{Edit, Membership, Seat, Standing};
use dynamo_protocol::{Epoch, NodeId, Span, View};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::proof::{Site, Unproven};
use super::restoring::{Restoring, Said};
use crate::cluster::{Cluster, Life};

/// How long a member may take to say how it sees the ring.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at a change that takes its time: each costs every member some work.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What all members say of the ring; nothing of those that do not answer.
pub(crate) struct Look {
    living: Vec<NodeId>,
    members: Vec<NodeId>,
    said: BTreeMap<NodeId, RingReport>,
}

/// Asks all members.
pub(crate) async fn look(cluster: &impl Cluster) -> Look {
    let members = cluster.nodes();
    let runs = |node: &&NodeId| matches!(cluster.life(**node), Life::Runs(_));
    let living: Vec<_> = members.iter().filter(runs).copied().collect();
    let ask = living.iter().map(async |node| {
        let report = timeout(PATIENCE, cluster.ring(*node)).await.ok().and_then(Result::ok);
        Some((*node, report?))
    });
    let said = join_all(ask).await.into_iter().flatten().collect();
    Look { living, members, said }
}

impl Look {
    /// The last membership that anybody names.
    pub(crate) fn newest(&self) -> Option<&RingReport> {
        self.said.values().max_by_key(|report| report.latest().epoch())
    }

    /// What keeps a strict cluster from `edit`: a member that does not say that it counts, but for the one
    /// that the change is about. Who is to be filled takes what homes have that counted before.
    fn keeps_from_changing(&self, edit: &Edit) -> Option<String> {
        let newest = self.newest().filter(|newest| newest.settings.quorums_meet())?;
        // Who leaves is one of those that a newcomer in its place is filled from.
        let is_forced = matches!(edit, Edit::Gone { forced: true, .. });
        let epoch = newest.latest().epoch();
        let seats = newest.latest().seats().iter().map(|seat| seat.node);
        let mut others = seats.filter(|node| *node != edit.node() && !is_forced);
        others.find_map(|node| match self.said.get(&node) {
            Some(report) => Some(format!("{node} {}", report.keeps_from_counting(epoch)?)),
            None => Some(format!("{node} does not answer")),
        })
    }

    fn epoch(&self) -> Option<Epoch> {
        self.newest().map(|report| report.latest().epoch())
    }

    /// Whether every living member goes by a membership of which this is true; the last of them.
    fn is_known(&self, holds: impl Fn(&Membership) -> bool) -> Option<Epoch> {
        let knows = |node| self.said.get(node).is_some_and(|report| holds(report.latest()));
        self.living.iter().all(knows).then(|| self.epoch()).flatten()
    }

    /// The seat of a member in the last membership.
    fn seat(&self, node: NodeId) -> Option<Seat> {
        self.newest()?.latest().seat(node).copied()
    }

    /// Whether every member goes by the last membership, counts wherever it is a home, and holds nothing that
    /// is another's; the epoch.
    fn finished(&self) -> Option<Epoch> {
        let newest = self.newest()?.latest();
        let done = |seat: &Seat| {
            let report = self.said.get(&seat.node);
            report.is_some_and(|report| {
                report.latest().epoch() == newest.epoch() && is_done(report, seat)
            })
        };
        let all = newest.seats().iter().all(done);
        let named = self.members.iter().all(|node| newest.seat(*node).is_some());
        (all && named).then_some(newest.epoch())
    }
}

fn is_done(report: &RingReport, seat: &Seat) -> bool {
    report.directory == seat.directory
        && report.proven
        && !report.amnesiac
        && report.filling == 0
        && !report.expects_strays
        && report.strays == Some(0)
}

/// Returns when every living member goes by a membership of which this is true.
pub(super) async fn known(cluster: &impl Cluster, holds: impl Fn(&Membership) -> bool) -> Value {
    let epoch = loop {
        if let Some(epoch) = look(cluster).await.is_known(&holds) {
            break epoch;
        }
        sleep(LOOK_AGAIN).await;
    };
    json!({ "epoch": epoch.0, "seen": "every member that runs names it" })
}

/// Returns when the change is finished; how many keys it moved.
pub(super) async fn finished<C: Cluster>(site: &Site<'_, C>, seen: &str) -> Value {
    let epoch = loop {
        if let Some(epoch) = look(site.cluster).await.finished() {
            break epoch;
        }
        site.counters.ask(site.cluster).await;
        sleep(LOOK_AGAIN).await;
    };
    site.counters.ask(site.cluster).await;
    let moved = moved(&site.counters.totals()).saturating_sub(site.moved);
    json!({ "epoch": epoch.0, "moved": moved, "seen": seen })
}

/// How many keys went from node to node so that the right ones have them, by all that nodes have counted.
pub(super) fn moved(counters: &BTreeMap<String, u64>) -> u64 {
    let counted = ["keys_synced", "strays_dropped", "hints_adopted"];
    counted.iter().filter_map(|name| counters.get(*name)).sum()
}

/// Has a change decided: asks one member after the other, but not the node that it is about.
pub(super) async fn decide<C: Cluster>(
    cluster: &C,
    edit: Edit,
    expect: Option<Epoch>,
) -> Result<(), Unproven> {
    let mut last = "nobody was there to ask".to_owned();
    let seen = look(cluster).await;
    if let Some(why) = seen.keeps_from_changing(&edit) {
        return Err(Unproven::from(why));
    }
    let is_able = |node: &NodeId| {
        let report = seen.said.get(node).filter(|report| report.proven);
        let seat = report.and_then(|report| report.latest().seat(*node));
        *node != edit.node() && seat.is_some_and(|seat| seat.standing == Standing::In)
    };
    for node in seen.living.iter().copied().filter(is_able) {
        match cluster.propose(node, edit, expect).await {
            Ok(Proposed::Decided(_)) => return Ok(()),
            Ok(Proposed::Refused(why)) => last = format!("{node}: {why}"),
            Ok(Proposed::Undecided) => last = format!("{node}: no majority answers it"),
            Err(error) => last = error.to_string(),
        }
    }
    Err(Unproven::from(last))
}

/// Has a member leave. Over when it is known to everybody.
pub(super) async fn leave<C: Cluster>(cluster: &C, node: NodeId) -> Value {
    let leaves = |membership: &Membership| {
        membership.seat(node).is_none_or(|seat| seat.standing == Standing::Leaving)
    };
    let is_decided = async || look(cluster).await.newest().is_some_and(|it| leaves(it.latest()));
    while !is_decided().await {
        // Who was asked may be cut off: another is asked then.
        let _ = decide(cluster, Edit::Leave { node }, None).await;
        sleep(LOOK_AGAIN).await;
    }
    known(cluster, leaves).await
}

/// Has the ring name the directory that a member has now, if it lost the one that is named: until then it
/// has no part in deciding on changes, and none is finished.
pub(super) async fn name(cluster: &impl Cluster, node: NodeId) {
    loop {
        let seen = look(cluster).await;
        let Some(Seat { directory: from, .. }) = seen.seat(node) else { return };
        if let Some(to) = seen.said.get(&node).map(|report| report.directory) {
            if from == to {
                return;
            }
            let _ = decide(cluster, Edit::Replace { node, from, to }, None).await;
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Removes a member that leaves once nothing is left at it, and waits until it has ended.
pub(super) async fn part_with<C: Cluster>(
    site: &Site<'_, C>,
    node: NodeId,
) -> Result<String, Unproven> {
    loop {
        sleep(LOOK_AGAIN).await;
        let seen = look(site.cluster).await;
        site.counters.ask(site.cluster).await;
        let Some(epoch) = seen.epoch() else { continue };
        let Some(Seat { directory, .. }) = seen.seat(node) else { break };
        let drained = seen.said.get(&node).is_some_and(|report| {
            let is_sure = report.proven && !report.amnesiac;
            report.latest().epoch() == epoch && is_sure && report.is_drained()
        });
        if drained {
            site.cluster.let_end(node);
            let gone = Edit::Gone { node, directory, forced: false };
            // Another change came first, or nobody could have it decided: it is looked at again.
            let _ = decide(site.cluster, gone, Some(epoch)).await;
        }
    }
    Ok(site.cluster.depart(node).await?)
}

/// Returns when what a lost disk held is restored: see [`super::restoring`].
pub(super) async fn restored(cluster: &impl Cluster, is_changing: impl Fn() -> bool) {
    let mut restoring = Restoring::default();
    let mut shared: Option<View> = None;
    loop {
        sleep(LOOK_AGAIN).await;
        if is_changing() {
            continue;
        }
        let seen = look(cluster).await;
        let Some(newest) = seen.newest() else { continue };
        if shared.as_ref().is_none_or(|view| view.epoch() != newest.latest().epoch()) {
            shared = View::of(&newest.settings, newest.epochs.clone()).ok();
        }
        let Some(view) = &shared else { continue };
        let seats = newest.latest().seats().iter();
        let each = seats.map(async |seat| (seat.node, said(cluster, &seen, seat).await));
        let members = join_all(each).await.into_iter().collect();
        let share = |one, other| !view.shared(one, other, Span::RING).is_empty();
        if restoring.look(&members, share) {
            return;
        }
    }
}

async fn said(cluster: &impl Cluster, seen: &Look, seat: &Seat) -> Option<Said> {
    let report = seen.said.get(&seat.node)?;
    let status = timeout(PATIENCE, cluster.status(seat.node)).await.ok()?.ok()?;
    let is_clear = is_done(report, seat) && report.hints == 0;
    Some(Said { life: status.incarnation, is_clear, exchanged: status.exchanged })
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::membership::Directory;
    use dynamo_protocol::{Member, Quorum, Settings};

    use super::*;
    use crate::cluster::fake::settled;

    /// Four members, of whom n4 leaves and n3 is being filled in so many ranges.
    fn seen(quorum: Quorum, filling: u64) -> Look {
        let settings = Settings { quorum, ..Settings::new([3, 2, 2]) };
        let nodes: Vec<_> = (1..=4).map(NodeId).collect();
        let members = nodes.iter().map(|node| Member::new(*node, 4)).collect();
        let genesis = View::genesis(&settings, members).unwrap().history().latest().clone();
        let leaves = genesis.edited(&Edit::Leave { node: NodeId(4) }, settings.n).unwrap();
        let report = |id: NodeId| RingReport {
            id,
            directory: Directory::Founder(id),
            ranges: 9,
            filling: if id == NodeId(3) { filling } else { 0 },
            ..settled(settings, vec![genesis.clone(), leaves.clone()])
        };
        let said = nodes.iter().map(|node| (*node, report(*node))).collect();
        Look { living: nodes.clone(), members: nodes, said }
    }

    #[test]
    fn who_leaves_a_strict_cluster_stays_until_all_others_count() {
        let gone = |forced| {
            let (node, directory) = (NodeId(4), Directory::Founder(NodeId(4)));
            Edit::Gone { node, directory, forced }
        };
        let why = seen(Quorum::Strict, 2).keeps_from_changing(&gone(false)).unwrap();
        assert_eq!(why, "n3 is being filled: 2 of its 9 ranges are left");
        assert_eq!(seen(Quorum::Strict, 0).keeps_from_changing(&gone(false)), None);
        assert_eq!(seen(Quorum::Sloppy, 2).keeps_from_changing(&gone(false)), None);
        // Who forces it says what is lost.
        assert_eq!(seen(Quorum::Strict, 2).keeps_from_changing(&gone(true)), None);
    }
}
