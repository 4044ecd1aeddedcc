//! What a verdict was given on.

use std::path::Path;

use checker::history::History;
use serde::Serialize;

use crate::digest;

/// The history that was judged, so that it can be told from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// Its file in the folder of the run.
    pub file: String,
    /// How many lines of it were judged.
    pub lines: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// SHA-256 of all of them, in hexadecimal.
    pub sha256: String,
    /// Its last line was cut short, and was not judged.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut_short: bool,
}

impl Judged {
    /// The file that this history was read from; nothing if it cannot be read again.
    #[must_use]
    pub fn of(path: &Path, history: &History) -> Option<Self> {
        let (bytes, sha256) = digest::of_file(path).ok()?;
        Some(Self {
            file: path.file_name()?.to_string_lossy().into_owned(),
            lines: history.ops().len() as u64,
            bytes,
            sha256,
            cut_short: history.torn().is_some(),
        })
    }
}
