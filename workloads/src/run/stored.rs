//! What a run left in its folder when it ended.

use std::collections::BTreeMap;

use checker::history::Torn;
use checker::verdict::{CheckReport, Verdict};
use serde_json::{Value, json};

use super::store::Store;
use crate::plan::PlanError;

/// What the run itself wrote at its end; nothing if it did not get so far.
pub(super) struct Stored(Option<Value>);

impl Stored {
    /// What is in the folder of a run.
    pub(super) fn of(store: &Store) -> Result<Self, PlanError> {
        let path = store.path("verdict.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self(None)),
            Err(error) => return Err(PlanError(format!("{}: {error}", path.display()))),
        };
        let wrong = |error| {
            let (path, dir) = (path.display(), store.dir().display());
            PlanError(format!(
                "{path}: {error}: it was cut short or altered; move it away, then `dyno analyze {dir}` makes \
                 another"
            ))
        };
        Ok(Self(Some(serde_json::from_str(&text).map_err(wrong)?)))
    }

    /// Did the run come to its end?
    pub(super) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// The value at a JSON pointer.
    pub(super) fn get(&self, pointer: &str) -> Option<&Value> {
        self.0.as_ref()?.pointer(pointer)
    }

    /// A field that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(&format!("/{name}"))?.as_str()
    }

    /// A list of texts.
    pub(super) fn texts(&self, pointer: &str) -> Vec<String> {
        let all = self.get(pointer).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    }

    /// A field that is a verdict.
    pub(super) fn verdict(&self, name: &str) -> Option<Verdict> {
        serde_json::from_value(self.get(&format!("/{name}"))?.clone()).ok()
    }

    /// What checkers said.
    pub(super) fn checks(&self) -> BTreeMap<String, CheckReport> {
        let stored = self.get("/checks").and_then(Value::as_object).into_iter().flatten();
        let report =
            |(name, report): (&String, &Value)| Some((name.clone(), CheckReport::of_json(report)?));
        stored.filter_map(report).collect()
    }
}

/// That a history ends within a line, for who looks at it.
pub(super) fn cut_short(torn: Torn) -> String {
    let Torn { line, bytes } = torn;
    format!(
        "history.jsonl is cut short: of its last line, number {line}, there are {bytes} bytes, and what it \
         said is not known"
    )
}

/// The same for programs.
pub(super) fn torn(torn: Torn) -> Value {
    json!({ "line": torn.line, "bytes": torn.bytes })
}
