//! The names of keys, in the order in which they were introduced.

use std::borrow::Cow;

/// Names, one after the other in one text.
#[derive(Default)]
pub(super) struct Names {
    texts: Vec<u8>,
    /// Of each where it ends.
    ends: Vec<usize>,
}

impl Names {
    pub(super) fn push(&mut self, name: &[u8]) {
        self.texts.extend_from_slice(name);
        self.ends.push(self.texts.len());
    }

    pub(super) fn extend(&mut self, others: &Self) {
        let before = self.texts.len();
        self.texts.extend_from_slice(&others.texts);
        self.ends.extend(others.ends.iter().map(|end| before + end));
    }

    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.ends.clear();
    }

    /// The name of the key of a place; the first place is that of rows without a key.
    pub(super) fn at(&self, place: u32) -> Option<Cow<'_, str>> {
        let key = place.checked_sub(1)? as usize;
        let begin = key.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(String::from_utf8_lossy(&self.texts[begin..self.ends[key]]))
    }
}
