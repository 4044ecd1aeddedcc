//! Vectors, dots and sets of versions.

use dynamo_protocol::{
    Actor, ClockSet, ClockedVersion, Dot, DottedSet, Identity, Siblings, Version, VersionVector,
};

use super::{Malformed, unpinned};
use crate::proto;
use crate::proto::siblings::Scheme;

fn entry_to_proto(actor: Actor, counter: u64) -> proto::Entry {
    proto::Entry { identity: actor.identity.0, birth: actor.birth, counter }
}

fn entry_from_proto(entry: proto::Entry) -> (Actor, u64) {
    (Actor { identity: Identity(entry.identity), birth: entry.birth }, entry.counter)
}

pub(super) fn vector_to_proto(vector: &VersionVector) -> Vec<proto::Entry> {
    vector.iter().map(|(actor, counter)| entry_to_proto(actor, counter)).collect()
}

pub(super) fn vector_from_proto(entries: Vec<proto::Entry>) -> Result<VersionVector, Malformed> {
    let entries = entries.into_iter().map(entry_from_proto).collect();
    VersionVector::from_entries(entries).ok_or(Malformed::NotCanonical("a vector"))
}

pub(super) fn siblings_to_proto(set: Siblings) -> proto::Siblings {
    let scheme = match set {
        Siblings::Dotted(set) => Scheme::Dotted(proto::DottedSet {
            context: vector_to_proto(set.context()),
            versions: set.versions().iter().map(version_to_proto).collect(),
        }),
        Siblings::Plain(set) => Scheme::Plain(proto::ClockSet {
            versions: set.versions().iter().map(clocked_to_proto).collect(),
        }),
    };
    proto::Siblings { scheme: Some(scheme) }
}

fn version_to_proto(version: &Version) -> proto::Version {
    proto::Version {
        dot: Some(entry_to_proto(version.dot.actor, version.dot.counter)),
        timestamp: version.timestamp,
        value: version.value.clone(),
    }
}

fn clocked_to_proto(version: &ClockedVersion) -> proto::ClockedVersion {
    proto::ClockedVersion { clock: vector_to_proto(&version.clock), value: version.value.clone() }
}

/// Canonical, that is; whether it is of the cluster's versioning the protocol checks.
pub(super) fn siblings_from_proto(set: Option<proto::Siblings>) -> Result<Siblings, Malformed> {
    let scheme = set.and_then(|set| set.scheme).ok_or(Malformed::Missing("the set"))?;
    let set = match scheme {
        Scheme::Dotted(set) => {
            let context = vector_from_proto(set.context)?;
            let versions =
                set.versions.into_iter().map(version_from_proto).collect::<Result<_, _>>()?;
            DottedSet::from_parts(context, versions).map(Siblings::Dotted)
        }
        Scheme::Plain(set) => {
            let versions =
                set.versions.into_iter().map(clocked_from_proto).collect::<Result<_, _>>()?;
            ClockSet::from_versions(versions).map(Siblings::Plain)
        }
    };
    set.ok_or(Malformed::NotCanonical("a set of versions"))
}

fn version_from_proto(version: proto::Version) -> Result<Version, Malformed> {
    let (actor, counter) = entry_from_proto(version.dot.ok_or(Malformed::Missing("a dot"))?);
    if counter == 0 {
        return Err(Malformed::NotCanonical("a dot"));
    }
    let dot = Dot { actor, counter };
    Ok(Version { dot, timestamp: version.timestamp, value: version.value.map(unpinned) })
}

fn clocked_from_proto(version: proto::ClockedVersion) -> Result<ClockedVersion, Malformed> {
    Ok(ClockedVersion {
        clock: vector_from_proto(version.clock)?,
        value: version.value.map(unpinned),
    })
}
