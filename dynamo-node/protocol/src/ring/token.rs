//! Positions on the ring: 128 bits of MD5 (paper, section 4.1).

use std::fmt;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::id::{Key, NodeId};

/// A position on the ring, the MD5 digest read as a big-endian number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u128);

impl Token {
    /// Where a key lies: the digest of its bytes.
    #[must_use]
    pub fn of_key(key: &Key) -> Self {
        Self::digest(key.as_bytes())
    }

    /// Where the `index`-th virtual node of `node` lies: the digest of `n<node>#<index>`.
    #[must_use]
    pub fn of_virtual_node(node: NodeId, index: u16) -> Self {
        Self::digest(format!("{node}#{index}").as_bytes())
    }

    /// By which `node` ranks the `partition`-th of ranges of one size: the digest of `n<node>/<partition>`.
    pub(super) fn of_partition(node: NodeId, partition: u32) -> Self {
        Self::digest(format!("{node}/{partition}").as_bytes())
    }

    fn digest(bytes: &[u8]) -> Self {
        Self(u128::from_be_bytes(Md5::digest(bytes).into()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_md5_of_rfc_1321() {
        let vectors = [
            ("", 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e),
            ("abc", 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72),
            ("message digest", 0xf96b_697d_7cb7_938d_525a_2f31_aaf1_61d0),
        ];
        for (text, digest) in vectors {
            assert_eq!(Token::of_key(&Key::from(text)), Token(digest));
        }
    }
}
