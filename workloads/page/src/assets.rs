//! The page's own script and style, and the policy that allows them and nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The style of the page of a run.
pub const STYLE: &str = include_str!("../assets/page.css");

/// The script, in the order of its parts: each uses those before it.
pub(crate) fn script() -> String {
    let parts = [
        "'use strict';(()=>{\n",
        include_str!("../assets/data.js"),
        include_str!("../assets/view.js"),
        include_str!("../assets/levels.js"),
        include_str!("../assets/chart.js"),
        include_str!("../assets/fates.js"),
        include_str!("../assets/latency.js"),
        include_str!("../assets/timeline.js"),
        include_str!("../assets/detail.js"),
        include_str!("../assets/main.js"),
        "})();\n",
    ];
    plain(&parts.concat())
}

/// Without what only its writers need: indentation, and lines of comments. No text of it goes over a line.
fn plain(script: &str) -> String {
    let lines = script.lines().map(str::trim);
    let told = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    told.flat_map(|line| [line, "\n"]).collect()
}

/// What the page may do: run this script, be styled by this style. No requests, no frames, no forms.
pub(crate) fn policy(script: &str) -> String {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        hash(script),
        hash(STYLE)
    )
}

/// How a policy names a style or script that stands in its page.
#[must_use]
pub fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}
