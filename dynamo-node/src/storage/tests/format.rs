//! What lies in a directory has a format, and the format a number.

use bytes::Bytes;
use dynamo_protocol::membership::{
    Ballot, Ballots, Directory as MemberDirectory, Edit, Membership, Vote,
};
use dynamo_protocol::{
    Actor, ClockSet, ClockedVersion, Counted, Dot, DottedSet, Enrolment, Epoch, Heard, Identity,
    Key, Member, Meta, Minter, NodeId, Place, Record, Remembered, Role, Siblings, Version,
    VersionVector, Zone,
};
use tempfile::TempDir;

use super::super::codec::{FORMAT, seal, sum};
use super::super::directory::OWNER;
use super::super::state::State;
use super::super::{
    Directory, DirectoryError, Engine, FjallEngine, Origin, Space, Write, address_of,
};
use super::{open, owner};

/// The format, and a checksum over one of everything that is kept.
const KNOWN: (u8, u32) = (6, 0xcf1d_0a9a);

#[test]
fn what_is_kept_in_another_shape_has_another_format() {
    let actor = Actor { identity: Identity(7), birth: 300 };
    let context = VersionVector::from_iter([(actor, 5)]);
    let value = Some(Bytes::from_static(b"value"));
    let dot = Dot { actor, counter: 5 };
    let versions = vec![Version { dot, timestamp: 1 << 40, value: value.clone() }];
    let dotted = Siblings::Dotted(DottedSet::from_parts(context.clone(), versions).unwrap());
    let clocked = vec![ClockedVersion { clock: context, value }];
    let plain = Siblings::Plain(ClockSet::from_versions(clocked).unwrap());
    let minter = Some(Minter { actor, counter: 5 });
    let records = [dotted, plain].map(|set| Record { set, minter, amnesiac: true });
    let meta = Meta { doubted: Some(9), ..Meta::renewed(Identity(7)) };
    let heard = Heard { identity: Identity(8), position: 1 << 20 };
    let remembered = Remembered { latest: heard, earlier: vec![Identity(9)] };
    let members = [1, 2].map(|id| Member::new(NodeId(id), 300));
    let genesis = Membership::genesis(1, &members).unwrap();
    let edit = Edit::Leave { node: NodeId(2) };
    let epochs = vec![genesis.clone(), genesis.edited(&edit, 1).unwrap()];
    let ballot = Ballot { round: 1, node: NodeId(1), identity: Identity(7) };
    let (node, directory, zone) = (NodeId(3), MemberDirectory::Drawn(Identity(9)), Some(Zone(2)));
    let voted = Some(Vote { ballot, edit: Edit::Join { node, directory, tokens: 300, zone } });
    let ballots = Some(Ballots { epoch: Epoch(3), promised: Some(ballot), voted });
    let enrolment = Enrolment { epochs, ballots, counted: Some(Counted::everywhere(Epoch(2))) };
    let sealed = [
        seal(b"", &enrolment),
        seal(b"", &owner()),
        seal(b"", &State::new(meta)),
        seal(b"", &remembered),
        seal(b"", &records),
    ];
    let places =
        [Role::Home, Role::Hint(NodeId(3))].map(|role| Place { role, key: Key::from("k") });
    let keys = places.map(|place| address_of(&place).1);
    let sums = sum(&keys.concat(), &sealed.concat());
    assert_eq!(
        (FORMAT, sums),
        KNOWN,
        "directories that are there already cannot be read: raise FORMAT, and write both here"
    );
}

#[test]
fn a_directory_of_another_format_is_refused_and_not_called_damaged() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()).unwrap());
    let engine = FjallEngine::open(&folder.path().join("engine")).unwrap();
    let mut other = seal(OWNER, &owner()).to_vec();
    other.truncate(other.len() - 4);
    other[0] = FORMAT - 1;
    other.extend(sum(OWNER, &other).to_le_bytes());
    let (key, value) = (Bytes::from_static(OWNER), Some(other.into()));
    Engine::commit(&engine, vec![Write { space: Space::Meta, key, value }]).unwrap();
    drop(engine);
    let refused = Directory::open(folder.path(), &owner(), Origin::LATER);
    let error = refused.unwrap_err();
    assert!(matches!(error, DirectoryError::AnotherVersion(_)), "{error}");
}
