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
        sources: report.sources.into_iter().map(|node| node.0.into()).collect(),
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
        sources: report.sources.into_iter().map(node_id).collect::<Result<_, _>>()?,
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

#[cfg(test)]
mod tests {
    use dynamo_protocol::membership::{Directory, Edit, Membership};
    use dynamo_protocol::{Identity, Member, Settings};

    use super::*;

    fn report() -> RingReport {
        let members = [1, 2, 3].map(|id| Member::new(NodeId(id), 8));
        let genesis = Membership::genesis(2, &members).unwrap();
        let edit = Edit::Leave { node: NodeId(3) };
        RingReport {
            id: NodeId(2),
            cluster: "c".to_owned(),
            settings: Settings::new([2, 1, 2]).agreed(),
            epochs: vec![genesis.clone(), genesis.edited(&edit, 2).unwrap()],
            directory: Directory::Drawn(Identity(7)),
            amnesiac: true,
            proven: true,
            ranges: 9,
            filling: 4,
            sources: vec![NodeId(1)],
            strays: Some(0),
            expects_strays: true,
            hints: 3,
            open_operations: 5,
            suspected: vec![NodeId(3)],
            proposes: Some(edit),
            addresses: [(NodeId(1), "a:1".to_owned())].into(),
        }
    }

    #[test]
    fn a_report_comes_back_and_one_without_a_membership_is_refused() {
        let told = ring_to_proto(report());
        assert_eq!(ring_from_proto(told.clone()), Ok(report()));
        let untold = RingReport { strays: None, ..report() };
        assert_eq!(ring_from_proto(ring_to_proto(untold.clone())), Ok(untold));
        let empty = proto::RingReport { epochs: vec![], ..told.clone() };
        assert_eq!(ring_from_proto(empty), Err(Malformed::Missing("the membership")));
        let garbled = proto::RingReport { settings: "{".to_owned(), ..told };
        assert_eq!(ring_from_proto(garbled), Err(Malformed::Settings));
    }

    #[test]
    fn what_became_of_a_proposal_comes_back() {
        for proposed in
            [Proposed::Decided(Epoch(2)), Proposed::Refused("no".to_owned()), Proposed::Undecided]
        {
            assert_eq!(proposed_from_proto(proposed_to_proto(proposed.clone())), Ok(proposed));
        }
    }
}
