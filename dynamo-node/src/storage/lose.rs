//! A directory loses the hints it holds, and nothing in it tells: for test drivers.

use std::path::Path;

use dynamo_protocol::{Change, Store};
use thiserror::Error;

use super::{Directory, DirectoryError, EngineError, Origin, Records, Space, place_of};

/// Why no hints were lost.
#[derive(Debug, Error)]
pub enum LoseError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The records in it.
    #[error(transparent)]
    Storage(#[from] EngineError),
    /// There is none.
    #[error("no directory was made there")]
    None,
}

/// Removes all hints from the directory at `path`, of a node that is down; how many there were.
///
/// It counts them as removed: what the directory says of itself agrees with what it holds.
///
/// # Errors
/// If there is no such directory, it is in use, or cannot be written.
pub fn lose_hints(path: &Path) -> Result<usize, LoseError> {
    let owner = Directory::owner(path)?.ok_or(LoseError::None)?;
    let origin = Origin { genesis: false, identity: None };
    let directory = Directory::open(path, &owner, origin)?;
    let mut records = Records::open(&directory, owner.versioning)?;
    let mut hints = Vec::new();
    directory.engine.scan(Space::Hints, &[], &mut |key, _| {
        hints.extend(place_of(Space::Hints, key).map(Change::Remove));
        true
    })?;
    let lost = hints.len();
    // Nothing of it can fail: it lies in memory until it is committed.
    let _ = records.apply(hints);
    if let Some(batch) = records.take_batch() {
        let number = batch.number;
        directory.commit(batch)?;
        records.committed(number);
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::{
        DottedSet, Identity, Key, NodeId, Place, Record, Role, Siblings, Versioning,
    };

    use super::super::Owner;
    use super::*;

    #[test]
    fn hints_are_lost_alone_and_the_directory_is_still_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n1");
        let versioning = Versioning::Dotted;
        let owner = Owner { node: NodeId(1), cluster: "c".to_owned(), versioning };
        let first = Origin { genesis: true, identity: Some(Identity(9)) };
        let directory = Directory::open(&path, &owner, first).unwrap();
        let mut records = Records::open(&directory, versioning).unwrap();
        let set = Siblings::Dotted(DottedSet::default());
        let record = Record { set, minter: None, amnesiac: false };
        let home = Place::home(Key::from("k"));
        let hint = Place { role: Role::Hint(NodeId(2)), key: Key::from("k") };
        let puts = [&home, &hint].map(|place| Change::Put(place.clone(), record.clone()));
        records.apply(puts.to_vec()).unwrap();
        directory.commit(records.take_batch().unwrap()).unwrap();
        drop((records, directory));

        assert_eq!(lose_hints(&path).unwrap(), 1);
        assert_eq!(lose_hints(&path).unwrap(), 0);

        let again = Origin { genesis: false, identity: None };
        let directory = Directory::open(&path, &owner, again).unwrap();
        assert_eq!(directory.meta.identity, Identity(9), "nothing tells");
        let records = Records::open(&directory, versioning).unwrap();
        assert_eq!(records.record(&hint), Ok(None));
        assert_eq!(records.record(&home), Ok(Some(record)));
    }
}
