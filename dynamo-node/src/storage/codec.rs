//! How values lie in an engine: `format, postcard, crc32c of key and both, little endian`. The key is
//! in the sum, so that a value that turns up under another key is corrupt too.

use std::cell::RefCell;

use bytes::Bytes;
use dynamo_protocol::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Of everything that is kept. A directory of another is refused: who changes the shape of what is sealed
/// raises it.
pub(super) const FORMAT: u8 = 6;

/// How large a buffer is kept for the next value: most are smaller.
const SCRATCH_BYTES: usize = 64 << 10;

thread_local! {
    /// Where values are serialised: one that has room need not grow, and what is sealed takes what it needs.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// `value` as it lies under `key`.
pub(super) fn seal<T: Serialize>(key: &[u8], value: &T) -> Bytes {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut bytes = std::mem::take(scratch);
        bytes.clear();
        bytes.push(FORMAT);
        let mut bytes = postcard::to_extend(value, bytes).expect("values that are kept serialise");
        let sum = sum(key, &bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        let sealed = Bytes::copy_from_slice(&bytes);
        if bytes.capacity() <= SCRATCH_BYTES {
            *scratch = bytes;
        }
        sealed
    })
}

/// What lies under `key`.
pub(super) fn unseal<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    let (body, found) = bytes.split_last_chunk::<4>().ok_or(StoreError::Corrupt)?;
    if sum(key, body) != u32::from_le_bytes(*found) {
        return Err(StoreError::Corrupt);
    }
    let value = body.strip_prefix(&[FORMAT]).ok_or(StoreError::Corrupt)?;
    match postcard::take_from_bytes(value) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(StoreError::Corrupt),
    }
}

/// Whether what lies under `key` is whole, and was sealed in another format.
pub(super) fn is_of_another_format(key: &[u8], bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<4>().is_some_and(|(body, found)| {
        sum(key, body) == u32::from_le_bytes(*found) && !body.starts_with(&[FORMAT])
    })
}

/// The checksum of `body` under `key`.
pub(super) fn sum(key: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_comes_back() {
        let value = (7_u64, vec![1_u8, 2, 3], Some("text".to_owned()));
        assert_eq!(unseal(b"key", &seal(b"key", &value)), Ok(value));
    }

    #[test]
    fn any_flipped_bit_and_any_lost_byte_is_corrupt() {
        let sealed = seal(b"key", &(7_u64, "some text".to_owned()));
        for bit in 0..sealed.len() * 8 {
            let mut bytes = sealed.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal::<(u64, String)>(b"key", &bytes), Err(StoreError::Corrupt), "{bit}");
        }
        for length in 0..sealed.len() {
            let cut = &sealed[..length];
            assert_eq!(unseal::<(u64, String)>(b"key", cut), Err(StoreError::Corrupt), "{length}");
        }
    }

    #[test]
    fn a_value_under_another_key_is_corrupt() {
        assert_eq!(unseal::<u64>(b"other", &seal(b"key", &7_u64)), Err(StoreError::Corrupt));
    }
}
