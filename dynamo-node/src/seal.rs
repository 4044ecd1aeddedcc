//! The key with which a cluster seals the contexts that it hands to clients: one that a client made up, or
//! changed, is refused. All nodes have the same.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ring::hmac::{self, HMAC_SHA256};
use thiserror::Error;

/// How many bytes of the tag are kept: to guess that many takes 2^127 tries.
pub(crate) const TAG: usize = 16;
/// A shorter key would be guessed before the tag is.
const SHORTEST: usize = 16;

/// Keys, of which the first one seals and each opens: so that a key can be replaced, node by node.
pub struct Seal(Vec<hmac::Key>);

/// A file that has no keys.
#[derive(Debug, Error)]
#[error("{}: {why}", file.display())]
pub struct SealError {
    /// Which.
    pub file: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl Seal {
    /// Reads keys, a line each, of 32 hexadecimal digits or more.
    ///
    /// # Errors
    /// If there is none, or one that is too short. What it holds is not told.
    pub fn read(file: &Path) -> Result<Self, SealError> {
        let wrong = |why: String| SealError { file: file.to_owned(), why };
        let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let key = bytes(line.trim()).filter(|key| key.len() >= SHORTEST);
            let key = key.ok_or_else(|| {
                let digits = 2 * SHORTEST;
                wrong(format!("line {number}: no key of {digits} hexadecimal digits or more"))
            })?;
            keys.push(hmac::Key::new(HMAC_SHA256, &key));
        }
        if keys.is_empty() {
            let mend = "make one with: openssl rand -hex 32";
            return Err(wrong(format!("no key is in it; {mend}")));
        }
        Ok(Self(keys))
    }

    /// The tag of `bytes`.
    pub(crate) fn tag(&self, bytes: &[u8]) -> [u8; TAG] {
        tag(&self.0[0], bytes)
    }

    /// Whether `tag` is one of `bytes`, by any of the keys.
    pub(crate) fn opens(&self, bytes: &[u8], told: &[u8; TAG]) -> bool {
        // How many bytes agree must not show in how long it takes: all of them are looked at.
        let differs = |key| {
            let made = tag(key, bytes);
            made.iter().zip(told).fold(0, |all, (one, other)| all | (one ^ other)) != 0
        };
        !self.0.iter().all(differs)
    }
}

fn tag(key: &hmac::Key, bytes: &[u8]) -> [u8; TAG] {
    let whole = hmac::sign(key, bytes);
    let mut tag = [0; TAG];
    tag.copy_from_slice(&whole.as_ref()[..TAG]);
    tag
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?);
    digits.as_bytes().chunks(2).map(byte).collect()
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal of {} keys", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Seal, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Seal::read(file.path()).map_err(|error| error.why)
    }

    #[test]
    fn what_an_earlier_key_sealed_is_opened_and_what_no_key_did_is_not() {
        let (old, new) = ("00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100");
        let [before, after] = [old.to_owned(), format!("{new}\n\n{old}\n")].map(|text| of(&text));
        let (before, after) = (before.unwrap(), after.unwrap());
        let tag = before.tag(b"context");
        assert!(before.opens(b"context", &tag) && after.opens(b"context", &tag));
        assert!(!after.opens(b"Context", &tag));
        assert!(!before.opens(b"context", &after.tag(b"context")));
        let mut other = tag;
        other[TAG - 1] ^= 1;
        assert!(!before.opens(b"context", &other));
    }

    #[test]
    fn a_file_without_a_good_key_is_refused_with_the_line() {
        assert!(of("").unwrap_err().contains("openssl rand -hex 32"));
        let good = "00112233445566778899aabbccddeeff";
        assert!(of(&format!("{good}\nabc")).unwrap_err().starts_with("line 2"));
        for wrong in ["0011", &good[1..], &format!("x{good}")] {
            assert!(of(wrong).unwrap_err().starts_with("line 1"), "{wrong}");
        }
    }
}
