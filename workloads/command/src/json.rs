//! The form of all JSON that `dyno` prints: `docs/json.md`.

use serde::Serialize;

/// A document's head, and what the command has to say.
#[derive(Serialize)]
struct Document<'a, T> {
    schema: u32,
    command: &'a str,
    verdict: Option<&'a str>,
    #[serde(flatten)]
    body: T,
}

/// One line of JSON: an object that begins with `schema`, `command` and `verdict`, which is null where a
/// command judges nothing, and goes on with the fields of `body`.
///
/// # Panics
/// If `body` is no struct or map of plain data.
#[must_use]
pub fn document(command: &str, verdict: Option<&str>, body: impl Serialize) -> String {
    let document = Document { schema: 1, command, verdict, body };
    serde_json::to_string(&document).expect("the body is an object of plain data")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn every_document_begins_alike() {
        let text = super::document("check", Some("valid"), json!({ "ops": 3 }));
        assert_eq!(text, r#"{"schema":1,"command":"check","verdict":"valid","ops":3}"#);
        let text = super::document("lab up", None, json!({}));
        assert_eq!(text, r#"{"schema":1,"command":"lab up","verdict":null}"#);
    }
}
