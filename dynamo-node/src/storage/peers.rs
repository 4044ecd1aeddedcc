//! What the directory remembers of other members: a record each, beside the directory's own.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use dynamo_protocol::{NodeId, Remembered, StoreError};

use super::codec::{seal, unseal};
use super::{Engine, EngineError, Space, Write};

/// Before the member's number.
const PREFIX: &[u8] = b"peer/";

/// The write that makes it what is remembered of `peer`.
pub(super) fn write(peer: NodeId, heard: &Remembered) -> Write {
    let mut key = BytesMut::with_capacity(PREFIX.len() + 2);
    key.put_slice(PREFIX);
    key.put_u16(peer.0);
    let key: Bytes = key.freeze();
    let value = Some(seal(&key, heard));
    Write { space: Space::Meta, key, value }
}

/// Everything that is remembered.
///
/// # Errors
/// If some of it cannot be read: then nobody may be told that nothing is remembered.
pub(crate) fn read(engine: &dyn Engine) -> Result<BTreeMap<NodeId, Remembered>, EngineError> {
    let mut peers = BTreeMap::new();
    let mut damaged = None;
    engine.scan(Space::Meta, PREFIX, &mut |key, value| {
        let Some(peer) = key.strip_prefix(PREFIX) else { return false };
        let heard = <[u8; 2]>::try_from(peer)
            .map_err(|_| StoreError::Corrupt)
            .and_then(|peer| Ok((NodeId(u16::from_be_bytes(peer)), unseal(key, value)?)));
        match heard {
            Ok((peer, heard)) => drop(peers.insert(peer, heard)),
            Err(_) => damaged = Some(key.escape_ascii().to_string()),
        }
        damaged.is_none()
    })?;
    match damaged {
        Some(key) => Err(EngineError::Corrupt(format!(
            "what is remembered of a member, {key}: if it cannot be mended, wipe the directory; the \
             node comes back amnesiac, under a new identity"
        ))),
        None => Ok(peers),
    }
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::{Heard, Identity};

    use super::super::MemoryEngine;
    use super::*;

    #[test]
    fn what_is_remembered_is_read_again_and_damage_to_it_is_told() {
        let engine = MemoryEngine::default();
        let remembered = |identity| Remembered {
            latest: Heard { identity: Identity(identity), position: 7 },
            earlier: vec![Identity(1)],
        };
        let peers = BTreeMap::from([(NodeId(2), remembered(5)), (NodeId(300), remembered(6))]);
        engine.commit(peers.iter().map(|(peer, heard)| write(*peer, heard)).collect()).unwrap();
        assert_eq!(read(&engine).unwrap(), peers);
        let mut write = write(NodeId(2), &remembered(5));
        write.value = write.value.map(|value| value.slice(1..));
        engine.commit(vec![write]).unwrap();
        assert!(matches!(read(&engine), Err(EngineError::Corrupt(_))));
    }
}
