//! The margin in words: R + W - N, and what eats it.

use crate::column::Column;
use crate::setting::Setting;

/// What is left of the margin in a column, and what ate the rest.
#[must_use]
pub fn left(setting: &Setting, column: Column) -> (isize, &'static str) {
    let (eaten, what) = column.eats(setting);
    (setting.margin() - eaten, what)
}

/// The margin in a sentence.
#[must_use]
pub fn in_words(setting: &Setting) -> String {
    let Setting { n, r, w, .. } = setting;
    let margin = setting.margin();
    let means = match margin {
        ..=0 => "some R and some W have no host in common: a get may miss an acknowledged put",
        1 => "every R and every W have a host in common, and one that is eaten is one too many",
        _ => "every R and every W have hosts in common",
    };
    format!("R + W - N = {r} + {w} - {n} = {margin}: {means}")
}
