//! A client's context as opaque bytes: `format, postcard(vector), crc32c of both, little endian`.
//!
//! The checksum keeps a context that a client has mangled from claiming versions nobody read; it is no
//! defence against a client that forges one.

use bytes::Bytes;
use dynamo_protocol::{Context, VersionVector};

use super::Malformed;

const FORMAT: u8 = 1;

/// The empty context is no bytes at all, as in a blind put.
pub(crate) fn context_to_bytes(context: &Context) -> Bytes {
    if context.0.actors() == 0 {
        return Bytes::new();
    }
    let bytes = vec![FORMAT];
    let mut bytes = postcard::to_extend(&context.0, bytes).expect("a vector always serialises");
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.into()
}

pub(crate) fn context_from_bytes(bytes: &[u8]) -> Result<Context, Malformed> {
    if bytes.is_empty() {
        return Ok(Context::default());
    }
    let (body, sum) = bytes.split_last_chunk::<4>().ok_or(Malformed::Context)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
        return Err(Malformed::Context);
    }
    let vector = body.strip_prefix(&[FORMAT]).ok_or(Malformed::Context)?;
    let (vector, rest) =
        postcard::take_from_bytes::<VersionVector>(vector).map_err(|_| Malformed::Context)?;
    if !rest.is_empty() || vector.actors() == 0 || !vector.is_canonical() {
        return Err(Malformed::Context);
    }
    Ok(Context(vector))
}
