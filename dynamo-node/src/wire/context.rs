//! A client's context as opaque bytes: `format, postcard(vector), seal of both`.
//!
//! In a cluster with a key the seal is a tag under it ([`Seal`]), and no client can make one up. Without, and
//! between nodes, it is the crc32c, little endian: that keeps a context that was mangled from claiming
//! versions nobody read, and is no defence against one that is forged.

use bytes::{BufMut, Bytes, BytesMut};
use dynamo_protocol::{Context, NodeId, VersionVector};

use super::Malformed;
use crate::seal::{Seal, TAG};

const FORMAT: u8 = 1;
const SEALED: u8 = 2;
/// Of clients alone, never sent: `format, node, context`.
const NAMED: u8 = 3;

/// The empty context is no bytes at all, as in a blind put.
pub(crate) fn context_to_bytes(context: &Context, seal: Option<&Seal>) -> Bytes {
    if context.0.actors() == 0 {
        return Bytes::new();
    }
    let bytes = vec![if seal.is_some() { SEALED } else { FORMAT }];
    let mut bytes = postcard::to_extend(&context.0, bytes).expect("a vector always serialises");
    match seal {
        Some(seal) => {
            let tag = seal.tag(&bytes);
            bytes.extend_from_slice(&tag);
        }
        None => {
            let sum = crc32c::crc32c(&bytes);
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
    }
    bytes.into()
}

pub(crate) fn context_from_bytes(bytes: &[u8], seal: Option<&Seal>) -> Result<Context, Malformed> {
    if bytes.is_empty() {
        return Ok(Context::default());
    }
    let vector = match seal {
        Some(seal) => {
            let (body, tag) = bytes.split_last_chunk::<TAG>().ok_or(Malformed::Context)?;
            if !seal.opens(body, tag) {
                return Err(Malformed::Unsealed);
            }
            body.strip_prefix(&[SEALED]).ok_or(Malformed::Context)?
        }
        None => {
            let (body, sum) = bytes.split_last_chunk::<4>().ok_or(Malformed::Context)?;
            if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
                return Err(Malformed::Context);
            }
            body.strip_prefix(&[FORMAT]).ok_or(Malformed::Context)?
        }
    };
    let (vector, rest) =
        postcard::take_from_bytes::<VersionVector>(vector).map_err(|_| Malformed::Context)?;
    if !rest.is_empty() || vector.actors() == 0 || !vector.is_canonical() {
        return Err(Malformed::Context);
    }
    Ok(Context(vector))
}

/// `context`, with the node that answered it: for the client's own use.
pub(crate) fn name_context(context: &Bytes, by: NodeId) -> Bytes {
    let mut bytes = BytesMut::with_capacity(3 + context.len());
    bytes.put_u8(NAMED);
    bytes.put_u16(by.0);
    bytes.put_slice(context);
    bytes.freeze()
}

/// The context as its node made it, and which node that was if it is named.
pub(crate) fn named_context(context: &Bytes) -> (Option<NodeId>, Bytes) {
    match context[..] {
        [NAMED, high, low, ..] => {
            (Some(NodeId(u16::from_be_bytes([high, low]))), context.slice(3..))
        }
        _ => (None, context.clone()),
    }
}
