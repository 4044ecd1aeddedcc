//! What a value of a history is on the wire: its text, and, where it says how much, padding after it that
//! nobody wants to read in a history.

use std::io::Write;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// The field of a value that says how many bytes follow its text.
pub const PAD: &str = "pad";
/// Between the text and what follows: none of its own lines has an end.
const END: u8 = b'\n';

/// Writes a value down.
///
/// # Panics
/// Never: memory takes any value.
pub fn encode(value: &Value, mut to: &mut Vec<u8>) {
    serde_json::to_writer(&mut to, value).expect("memory takes any value");
    if let Some(pad) = pad_of(value) {
        let text = to.len();
        to.write_all(&[END]).expect("memory takes any byte");
        let seed = seed_of(&to[..text]);
        let begin = to.len();
        to.resize(begin + pad, 0);
        fill(seed, &mut to[begin..]);
    }
}

/// Reads one. What nobody wrote stays visible as a text of its own: also a value whose padding is another
/// one than was written.
#[must_use]
pub fn decode(bytes: &[u8]) -> Value {
    let strange = |what: &[u8]| Value::String(String::from_utf8_lossy(what).into_owned());
    let Ok(value) =
        serde_json::from_slice::<Value>(bytes.split(|byte| *byte == END).next().unwrap_or(bytes))
    else {
        return strange(bytes);
    };
    let Some(pad) = pad_of(&value) else {
        // A text of its own is all there is.
        return if bytes.contains(&END) { strange(bytes) } else { value };
    };
    let text = bytes.iter().position(|byte| *byte == END).unwrap_or(bytes.len());
    let padding = bytes.get(text + 1..).unwrap_or_default();
    let mut written = vec![0; pad];
    fill(seed_of(&bytes[..text]), &mut written);
    if padding == written {
        return value;
    }
    let differs = padding.iter().zip(&written).position(|(is, was)| is != was);
    let at = differs.unwrap_or(padding.len().min(pad));
    let said =
        format!("{value} with {} bytes after it, which differ from byte {at} on", padding.len());
    Value::String(said)
}

fn pad_of(value: &Value) -> Option<usize> {
    usize::try_from(value.get(PAD)?.as_u64()?).ok()
}

/// Other values have other padding: one that is another's is found.
fn seed_of(text: &[u8]) -> u64 {
    // FNV-1a.
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn fill(seed: u64, bytes: &mut [u8]) {
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(bytes);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn encoded(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(value, &mut bytes);
        bytes
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let values = [
            json!(7),
            json!("two\nlines"),
            json!({"id": "put-1", "items": ["a"]}),
            json!({"id": "put-1", "pad": 0}),
            json!({"id": "put-1", "pad": 100_000}),
        ];
        for value in values {
            let bytes = encoded(&value);
            assert_eq!(decode(&bytes), value);
            assert_eq!(bytes.len() > 100_000, value["pad"] == 100_000);
        }
    }

    #[test]
    fn padding_that_is_damaged_short_or_another_values_is_seen() {
        let value = json!({"id": "put-1", "pad": 1_000});
        let bytes = encoded(&value);
        let mut damaged = bytes.clone();
        damaged[500] ^= 1;
        let other = encoded(&json!({"id": "put-2", "pad": 1_000}));
        let swapped = [&bytes[..bytes.len() - 1_000], &other[other.len() - 1_000..]].concat();
        for strange in [&damaged, &bytes[..900].to_vec(), &swapped, &[&bytes[..], b"x"].concat()] {
            let read = decode(strange);
            assert!(read.as_str().is_some_and(|said| said.contains("put-1")), "{read}");
        }
    }

    #[test]
    fn what_is_no_value_is_a_text() {
        assert_eq!(decode(b"\xff{"), json!("\u{fffd}{"));
        assert_eq!(decode(b"7\n7"), json!("7\n7"));
    }
}
