//! What operators ask about the membership, and what they are told.

use dynamo_protocol::{Epoch, NodeId};

use super::membership::{
    directory_from_proto, directory_to_proto, edit_from_proto, edit_to_proto,
    membership_from_proto, membership_to_proto,
};
use super::{Malformed, node_id};
use crate::proto;
use crate::proto::propose_report::Outcome;
use crate::ring::{Proposed, RingReport};

/// Where members are reached.
pub(crate) fn addresses_to_proto(
    addresses: impl IntoIterator<Item = (NodeId, String)>,
) -> Vec<proto::Address> {
    let address =
        |(node, address): (NodeId, String)| proto::Address { node: node.0.into(), address };
    addresses.into_iter().map(address).collect()
}

/// The other way round; what names no node is left out.
pub(crate) fn addresses_from_proto(book: Vec<proto::Address>) -> Vec<(NodeId, String)> {
    let address = |entry: proto::Address| Some((node_id(entry.node).ok()?, entry.address));
    book.into_iter().filter_map(address).collect()
}

/// A report that leaves.
pub(crate) fn ring_to_proto(report: RingReport) -> proto::RingReport {
    proto::RingReport {
        id: report.id.0.into(),
        cluster: report.cluster,
        settings: serde_json::to_string(&report.settings).expect("settings are plain data"),
        epochs: report.epochs.iter().map(membership_to_proto).collect(),
        directory: Some(directory_to_proto(report.directory)),
        amnesiac: report.amnesiac,
        proven: report.proven,
        ranges: report.ranges,
        filling: report.filling,
        strays: report.strays,
        expects_strays: report.expects_strays,
        hints: report.hints,
        open_operations: report.open_operations,
        suspected: report.suspected.into_iter().map(|node| node.0.into()).collect(),
        proposes: report.proposes.map(edit_to_proto),
        addresses: addresses_to_proto(report.addresses),
    }
}

/// A report that has arrived.
pub(crate) fn ring_from_proto(report: proto::RingReport) -> Result<RingReport, Malformed> {
    let epochs = report.epochs.into_iter().map(membership_from_proto);
    let epochs = epochs.collect::<Result<Vec<_>, _>>()?;
    if epochs.is_empty() {
        return Err(Malformed::Missing("the membership"));
    }
    let settings = serde_json::from_str(&report.settings);
    Ok(RingReport {
        id: node_id(report.id)?,
        cluster: report.cluster,
        settings: settings.map_err(|_| Malformed::Settings)?,
        epochs,
        directory: directory_from_proto(report.directory)?,
        amnesiac: report.amnesiac,
        proven: report.proven,
        ranges: report.ranges,
        filling: report.filling,
        strays: report.strays,
        expects_strays: report.expects_strays,
        hints: report.hints,
        open_operations: report.open_operations,
        suspected: report.suspected.into_iter().map(node_id).collect::<Result<_, _>>()?,
        proposes: report.proposes.map(|edit| edit_from_proto(Some(edit))).transpose()?,
        addresses: addresses_from_proto(report.addresses).into_iter().collect(),
    })
}

/// What became of a proposal.
pub(crate) fn proposed_to_proto(proposed: Proposed) -> proto::ProposeReport {
    let outcome = match proposed {
        Proposed::Decided(epoch) => Outcome::Decided(epoch.0),
        Proposed::Refused(why) => Outcome::Refused(why),
        Proposed::Undecided => Outcome::Undecided(proto::Undecided {}),
    };
    proto::ProposeReport { outcome: Some(outcome) }
}

/// The other way round.
pub(crate) fn proposed_from_proto(report: proto::ProposeReport) -> Result<Proposed, Malformed> {
    Ok(match report.outcome.ok_or(Malformed::Missing("the outcome"))? {
        Outcome::Decided(epoch) => Proposed::Decided(Epoch(epoch)),
        Outcome::Refused(why) => Proposed::Refused(why),
        Outcome::Undecided(proto::Undecided {}) => Proposed::Undecided,
    })
}
