//! Settings that are one word, the same in flags, plans and traces.

use serde::de::DeserializeOwned;

/// A parser for clap of a setting by the word that serde has for it.
///
/// # Errors
/// Reads "unknown variant `x`, expected one of ...".
pub fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = serde_json::Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|error| error.to_string())
}
