//! What members say to each other about the membership, and what operators are told of it.

use dynamo_protocol::membership::{
    Ballot, Call, Directory, Edit, Membership, Seat, Standing, Vote,
};
use dynamo_protocol::{Epoch, Identity, Zone};

use super::{Malformed, node_id};
use crate::proto;
use crate::proto::data_directory::Directory as WireDirectory;
use crate::proto::edit::Change;
use crate::proto::register::Call as Wire;

pub(super) fn call_to_proto(call: Call) -> proto::Register {
    let call = match call {
        Call::Prepare { epoch, ballot } => {
            Wire::Prepare(proto::Prepare { epoch: epoch.0, ballot: Some(ballot_to_proto(ballot)) })
        }
        Call::Promise { epoch, ballot, voter, voted } => Wire::Promise(proto::Promise {
            epoch: epoch.0,
            ballot: Some(ballot_to_proto(ballot)),
            voter: Some(directory_to_proto(voter)),
            voted: voted.map(vote_to_proto),
        }),
        Call::Accept { epoch, vote } => {
            Wire::Accept(proto::Accept { epoch: epoch.0, vote: Some(vote_to_proto(vote)) })
        }
        Call::Accepted { epoch, ballot, voter } => Wire::Accepted(proto::Accepted {
            epoch: epoch.0,
            ballot: Some(ballot_to_proto(ballot)),
            voter: Some(directory_to_proto(voter)),
        }),
        Call::Refused { epoch, ballot, promised } => Wire::Refused(proto::BallotRefused {
            epoch: epoch.0,
            ballot: Some(ballot_to_proto(ballot)),
            promised: Some(ballot_to_proto(promised)),
        }),
        Call::Membership { epochs } => {
            let epochs = epochs.iter().map(membership_to_proto).collect();
            Wire::Membership(proto::Memberships { epochs })
        }
        Call::Behind { epoch } => Wire::Behind(proto::Behind { epoch: epoch.0 }),
    };
    proto::Register { call: Some(call) }
}

pub(super) fn call_from_proto(register: proto::Register) -> Result<Call, Malformed> {
    Ok(match register.call.ok_or(Malformed::Missing("what is said about the membership"))? {
        Wire::Prepare(proto::Prepare { epoch, ballot }) => {
            Call::Prepare { epoch: Epoch(epoch), ballot: ballot_from_proto(ballot)? }
        }
        Wire::Promise(proto::Promise { epoch, ballot, voter, voted }) => Call::Promise {
            epoch: Epoch(epoch),
            ballot: ballot_from_proto(ballot)?,
            voter: directory_from_proto(voter)?,
            voted: voted.map(vote_from_proto).transpose()?,
        },
        Wire::Accept(proto::Accept { epoch, vote }) => {
            let vote = vote_from_proto(vote.ok_or(Malformed::Missing("the vote"))?)?;
            Call::Accept { epoch: Epoch(epoch), vote }
        }
        Wire::Accepted(proto::Accepted { epoch, ballot, voter }) => Call::Accepted {
            epoch: Epoch(epoch),
            ballot: ballot_from_proto(ballot)?,
            voter: directory_from_proto(voter)?,
        },
        Wire::Refused(proto::BallotRefused { epoch, ballot, promised }) => Call::Refused {
            epoch: Epoch(epoch),
            ballot: ballot_from_proto(ballot)?,
            promised: ballot_from_proto(promised)?,
        },
        Wire::Membership(proto::Memberships { epochs }) => {
            let epochs = epochs.into_iter().map(membership_from_proto);
            Call::Membership { epochs: epochs.collect::<Result<_, _>>()? }
        }
        Wire::Behind(proto::Behind { epoch }) => Call::Behind { epoch: Epoch(epoch) },
    })
}

fn ballot_to_proto(Ballot { round, node, identity }: Ballot) -> proto::Ballot {
    proto::Ballot { round, node: node.0.into(), identity: identity.0 }
}

fn ballot_from_proto(ballot: Option<proto::Ballot>) -> Result<Ballot, Malformed> {
    let proto::Ballot { round, node, identity } = ballot.ok_or(Malformed::Missing("a ballot"))?;
    Ok(Ballot { round, node: node_id(node)?, identity: Identity(identity) })
}

fn vote_to_proto(Vote { ballot, edit }: Vote) -> proto::Vote {
    proto::Vote { ballot: Some(ballot_to_proto(ballot)), edit: Some(edit_to_proto(edit)) }
}

fn vote_from_proto(proto::Vote { ballot, edit }: proto::Vote) -> Result<Vote, Malformed> {
    Ok(Vote { ballot: ballot_from_proto(ballot)?, edit: edit_from_proto(edit)? })
}

/// A directory, as memberships name it.
pub(crate) fn directory_to_proto(directory: Directory) -> proto::DataDirectory {
    let directory = match directory {
        Directory::Founder(node) => WireDirectory::Founder(node.0.into()),
        Directory::Drawn(identity) => WireDirectory::Drawn(identity.0),
    };
    proto::DataDirectory { directory: Some(directory) }
}

/// The other way round.
pub(crate) fn directory_from_proto(
    directory: Option<proto::DataDirectory>,
) -> Result<Directory, Malformed> {
    let directory = directory.and_then(|directory| directory.directory);
    Ok(match directory.ok_or(Malformed::Missing("a directory"))? {
        WireDirectory::Founder(node) => Directory::Founder(node_id(node)?),
        WireDirectory::Drawn(identity) => Directory::Drawn(Identity(identity)),
    })
}

fn tokens_from_proto(tokens: u32) -> Result<u16, Malformed> {
    u16::try_from(tokens).map_err(|_| Malformed::Tokens(tokens))
}

fn seat_to_proto(Seat { node, directory, tokens, standing, zone }: &Seat) -> proto::Seat {
    let standing = match standing {
        Standing::In => proto::Standing::In,
        Standing::Leaving => proto::Standing::Leaving,
    };
    proto::Seat {
        node: node.0.into(),
        directory: Some(directory_to_proto(*directory)),
        tokens: (*tokens).into(),
        standing: standing.into(),
        zone: zone.map(|zone| zone.0.into()),
    }
}

fn seat_from_proto(seat: proto::Seat) -> Result<Seat, Malformed> {
    let unknown = || Malformed::UnknownValue("a standing", seat.standing);
    let standing = match proto::Standing::try_from(seat.standing) {
        Ok(proto::Standing::In) => Standing::In,
        Ok(proto::Standing::Leaving) => Standing::Leaving,
        Ok(proto::Standing::Unspecified) | Err(_) => return Err(unknown()),
    };
    let zone = zone_from_proto(seat.zone)?;
    Ok(Seat {
        node: node_id(seat.node)?,
        directory: directory_from_proto(seat.directory)?,
        tokens: tokens_from_proto(seat.tokens)?,
        standing,
        zone,
    })
}

/// A membership that is told.
pub(crate) fn membership_to_proto(membership: &Membership) -> proto::Membership {
    proto::Membership {
        epoch: membership.epoch().0,
        seats: membership.seats().iter().map(seat_to_proto).collect(),
        gone: membership.gone().iter().map(|gone| directory_to_proto(*gone)).collect(),
    }
}

/// One that was told. Whether it follows from another the protocol checks.
pub(crate) fn membership_from_proto(told: proto::Membership) -> Result<Membership, Malformed> {
    let seats = told.seats.into_iter().map(seat_from_proto).collect::<Result<_, _>>()?;
    let gone = told.gone.into_iter().map(|gone| directory_from_proto(Some(gone)));
    let gone = gone.collect::<Result<_, _>>()?;
    let membership = Membership::from_parts(Epoch(told.epoch), seats, gone);
    membership.ok_or(Malformed::NotCanonical("a membership"))
}

fn zone_from_proto(zone: Option<u32>) -> Result<Option<Zone>, Malformed> {
    let number = |number: u32| {
        let unknown = |_| Malformed::UnknownValue("a zone", number.cast_signed());
        u16::try_from(number).map(Zone).map_err(unknown)
    };
    zone.map(number).transpose()
}

/// A change that is asked for.
pub(crate) fn edit_to_proto(edit: Edit) -> proto::Edit {
    let directory = |directory| Some(directory_to_proto(directory));
    let change = match edit {
        Edit::Join { directory: joins, tokens, zone, .. } => Change::Join(proto::EditJoin {
            directory: directory(joins),
            tokens: tokens.into(),
            zone: zone.map(|zone| zone.0.into()),
        }),
        Edit::Leave { .. } => Change::Leave(proto::EditLeave {}),
        Edit::Gone { directory: gone, forced, .. } => {
            Change::Gone(proto::EditGone { directory: directory(gone), forced })
        }
        Edit::Replace { from, to, .. } => {
            Change::Replace(proto::EditReplace { from: directory(from), to: directory(to) })
        }
        Edit::Cancel { .. } => Change::Cancel(proto::EditCancel {}),
        Edit::Weigh { tokens, .. } => Change::Weigh(proto::EditWeigh { tokens: tokens.into() }),
    };
    proto::Edit { node: edit.node().0.into(), change: Some(change) }
}

/// One that somebody asks for.
pub(crate) fn edit_from_proto(edit: Option<proto::Edit>) -> Result<Edit, Malformed> {
    let proto::Edit { node, change } = edit.ok_or(Malformed::Missing("the change"))?;
    let node = node_id(node)?;
    Ok(match change.ok_or(Malformed::Missing("the change"))? {
        Change::Join(proto::EditJoin { directory, tokens, zone }) => Edit::Join {
            node,
            directory: directory_from_proto(directory)?,
            tokens: tokens_from_proto(tokens)?,
            zone: zone_from_proto(zone)?,
        },
        Change::Leave(proto::EditLeave {}) => Edit::Leave { node },
        Change::Gone(proto::EditGone { directory, forced }) => {
            Edit::Gone { node, directory: directory_from_proto(directory)?, forced }
        }
        Change::Replace(proto::EditReplace { from, to }) => {
            Edit::Replace { node, from: directory_from_proto(from)?, to: directory_from_proto(to)? }
        }
        Change::Cancel(proto::EditCancel {}) => Edit::Cancel { node },
        Change::Weigh(proto::EditWeigh { tokens }) => {
            Edit::Weigh { node, tokens: tokens_from_proto(tokens)? }
        }
    })
}

/// About how many bytes it takes.
pub(super) fn call_weight(call: &Call) -> usize {
    const SEAT: usize = 24;
    const DIRECTORY: usize = 12;
    const EPOCH: usize = 16;
    let membership = |membership: &Membership| {
        EPOCH + membership.seats().len() * SEAT + membership.gone().len() * DIRECTORY
    };
    match call {
        Call::Membership { epochs } => epochs.iter().map(membership).sum(),
        Call::Prepare { .. }
        | Call::Promise { .. }
        | Call::Accept { .. }
        | Call::Accepted { .. }
        | Call::Refused { .. }
        | Call::Behind { .. } => 64,
    }
}
