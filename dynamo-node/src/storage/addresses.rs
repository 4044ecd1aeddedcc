//! Where members were said to be reached: a record each, beside the directory's own.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use dynamo_protocol::NodeId;

use super::codec::{seal, unseal};
use super::{Engine, EngineError, Space, Write};

/// Before the member's number.
const PREFIX: &[u8] = b"address/";

/// The write that makes it where `node` is reached.
pub(super) fn write(node: NodeId, address: &str) -> Write {
    let mut key = BytesMut::with_capacity(PREFIX.len() + 2);
    key.put_slice(PREFIX);
    key.put_u16(node.0);
    let key: Bytes = key.freeze();
    let value = Some(seal(&key, &address));
    Write { space: Space::Meta, key, value }
}

/// All of them. One that cannot be read is left out: it will be heard again.
///
/// # Errors
/// If the engine cannot list them.
pub(crate) fn read(engine: &dyn Engine) -> Result<BTreeMap<NodeId, String>, EngineError> {
    let mut addresses = BTreeMap::new();
    engine.scan(Space::Meta, PREFIX, &mut |key, value| {
        let Some(node) = key.strip_prefix(PREFIX) else { return false };
        if let (Ok(node), Ok(address)) = (<[u8; 2]>::try_from(node), unseal(key, value)) {
            addresses.insert(NodeId(u16::from_be_bytes(node)), address);
        }
        true
    })?;
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::super::MemoryEngine;
    use super::*;

    #[test]
    fn an_address_is_read_again_and_a_damaged_one_is_left_out() {
        let engine = MemoryEngine::default();
        let writes = [(NodeId(2), "b:1"), (NodeId(300), "c:1")];
        engine.commit(writes.map(|(node, address)| write(node, address)).to_vec()).unwrap();
        let all = writes.map(|(node, address)| (node, address.to_owned()));
        assert_eq!(read(&engine).unwrap(), all.clone().into());
        let mut damaged = write(NodeId(2), "b:1");
        damaged.value = damaged.value.map(|value| value.slice(1..));
        engine.commit(vec![damaged]).unwrap();
        assert_eq!(read(&engine).unwrap(), [all[1].clone()].into());
    }
}
