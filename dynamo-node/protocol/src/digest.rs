//! Digests of states: what traces compare, between processes, builds and machines.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::node::Node;
use crate::storage::{Meta, Place, Record};

/// A digest of a node and all it keeps. Equal states have equal digests wherever they are made;
/// it tells states apart that differ by accident, and is no protection against malice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(pub u64);

impl Digest {
    /// Of anything that hashes the same everywhere: no addresses, no unordered collections.
    #[must_use]
    pub fn of(value: &impl Hash) -> Self {
        let mut hasher = Fnv::default();
        value.hash(&mut hasher);
        Self(hasher.finish())
    }

    /// Of a host: its node if it runs, its directory, and its records in the order of their places.
    #[must_use]
    pub fn of_host<'a>(
        node: Option<&Node>,
        meta: &Meta,
        records: impl IntoIterator<Item = (&'a Place, &'a Record)>,
    ) -> Self {
        let mut hasher = Fnv::default();
        (node, meta).hash(&mut hasher);
        for entry in records {
            entry.hash(&mut hasher);
        }
        Self(hasher.finish())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digest = u64::from_str_radix(&text, 16).ok().filter(|_| text.len() == 16);
        digest.map(Self).ok_or_else(|| format!("`{text}` is no digest: 16 hexadecimal digits"))
    }
}

/// FNV-1a with 64 bits (Fowler, Noll, Vo; RFC 9923). The standard hasher may change with the
/// compiler, and numbers are fed to it in the machine's byte order and word size.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.write(&number.to_le_bytes());
    }

    fn write_u32(&mut self, number: u32) {
        self.write(&number.to_le_bytes());
    }

    fn write_u64(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }

    fn write_u128(&mut self, number: u128) {
        self.write(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    // Discriminants of enums come this way.
    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_reference() {
        let of = |bytes: &[u8]| {
            let mut hasher = Fnv::default();
            hasher.write(bytes);
            hasher.finish()
        };
        assert_eq!(of(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(of(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(of(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_digest_survives_its_text() {
        let digest = Digest::of(&(1_u16, Some("x")));
        assert_eq!(Digest::try_from(digest.to_string()), Ok(digest));
        assert!(Digest::try_from("12".to_owned()).is_err());
    }
}
