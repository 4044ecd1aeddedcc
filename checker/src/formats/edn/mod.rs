//! Extensible data notation: what Jepsen writes its histories in.
//!
//! A reader over a byte stream, one value at a time, with the place of every error. It reads what
//! Clojure prints, also where that is no data any more (`#object[...]`, `##Inf`, `#"regex"`).
//! Nesting is bounded, numbers that do not fit and unknown tags are kept as they are written.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

mod reader;

pub use reader::Reader;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Edn {
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// An integer or a float.
    Number(Number),
    /// `"..."`, and characters.
    String(String),
    /// `:name`, without the colon.
    Keyword(String),
    /// A bare name, a ratio, an integer past 64 bits, `##Inf`.
    Symbol(String),
    /// `[...]` or `(...)`
    List(Vec<Self>),
    /// `#{...}`
    Set(Vec<Self>),
    /// `{...}`
    Map(Vec<(Self, Self)>),
    /// `#tag value`
    Tagged(String, Box<Self>),
}

impl Edn {
    /// As JSON: symbols become strings and so do keywords, with their colon, so that `:a` stays
    /// another value than `"a"`; a tag becomes `{"#tag": value}`. A set becomes an array in an
    /// order that its elements alone decide: sets have none.
    pub fn into_json(self) -> Value {
        match self {
            Self::Nil => Value::Null,
            Self::Bool(bool) => bool.into(),
            Self::Number(number) => Value::Number(number),
            Self::Keyword(text) => format!(":{text}").into(),
            Self::String(text) | Self::Symbol(text) => text.into(),
            Self::List(all) => list(all),
            Self::Set(all) => {
                let mut all: Vec<Value> = all.into_iter().map(Self::into_json).collect();
                all.sort_by_cached_key(Value::to_string);
                all.into()
            }
            Self::Map(pairs) => {
                let pairs = pairs.into_iter().map(|(name, value)| (name.name(), value.into_json()));
                Value::Object(pairs.collect())
            }
            Self::Tagged(tag, value) => {
                Value::Object(Map::from_iter([(format!("#{tag}"), value.into_json())]))
            }
        }
    }

    /// As the name of a field.
    pub fn name(self) -> String {
        match self {
            Self::String(text) | Self::Keyword(text) | Self::Symbol(text) => text,
            other => other.into_json().to_string(),
        }
    }
}

/// A list; what a micro-op is called (`[:r key value]`) is a name and no value.
fn list(all: Vec<Edn>) -> Value {
    let is_micro = all.len() == 3;
    let of = |(at, value)| match value {
        Edn::Keyword(name) if is_micro && at == 0 && is_micro_op(&name) => name.into(),
        value => value.into_json(),
    };
    all.into_iter().enumerate().map(of).collect()
}

fn is_micro_op(name: &str) -> bool {
    matches!(name, "r" | "w" | "append")
}

/// Writes JSON as EDN; names of fields become keywords where they can.
pub fn print(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("nil"),
        Value::Bool(_) | Value::Number(_) => {
            let _ = write!(out, "{value}");
        }
        Value::String(text) => match text.strip_prefix(':') {
            Some(name) if is_name(name) => out.push_str(text),
            _ => print_string(text, out),
        },
        Value::Array(all) => print_list(all, out),
        Value::Object(map) => match single_tag(map) {
            Some((tag, value)) => {
                let _ = write!(out, "{tag} ");
                print(value, out);
            }
            None => print_map(map, out),
        },
    }
}

fn single_tag(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, value) = map.iter().next()?;
    let tag = name.strip_prefix('#')?;
    (map.len() == 1 && is_name(tag)).then_some((name, value))
}

fn print_list(all: &[Value], out: &mut String) {
    out.push('[');
    for (at, value) in all.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        match value.as_str() {
            // A micro-op, `[:r k v]`: its name is a keyword to every tool that reads one.
            Some(name) if at == 0 && all.len() == 3 && is_micro_op(name) => {
                let _ = write!(out, ":{name}");
            }
            _ => print(value, out),
        }
    }
    out.push(']');
}

fn print_map(map: &Map<String, Value>, out: &mut String) {
    out.push('{');
    for (at, (name, value)) in map.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        if is_name(name) {
            let _ = write!(out, ":{name} ");
        } else {
            print_string(name, out);
            out.push(' ');
        }
        print(value, out);
    }
    out.push('}');
}

/// Can it stand as a keyword?
pub(crate) fn is_name(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    starts && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.?!*+/".contains(c))
}

fn print_string(text: &str, out: &mut String) {
    // JSON's escapes are EDN's too.
    let _ = write!(out, "{}", Value::from(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Value, String> {
        let value = Reader::new(text.as_bytes()).value().map_err(|error| error.to_string())?;
        Ok(value.ok_or("nothing")?.into_json())
    }

    #[test]
    fn values_of_every_kind_are_read() {
        let check = |text, expected| assert_eq!(read(text).unwrap(), expected, "{text}");
        check("nil", json!(null));
        check(" , ; comment\n true", json!(true));
        check("-7", json!(-7));
        check("18446744073709551615", json!(u64::MAX));
        check("99999999999999999999", json!("99999999999999999999"));
        check("1.5e3", json!(1500.0));
        check("3N", json!(3));
        check("1/3", json!("1/3"));
        check(r#""a\n\u00e9\ud83d\ude00""#, json!("a\n\u{e9}\u{1f600}"));
        check(":timed-out", json!(":timed-out"));
        check("[1 [2, (3)] #{4}]", json!([1, [2, [3]], [4]]));
        check("{:a 1, \"b\" nil, 3 4}", json!({"a": 1, "b": null, "3": 4}));
        check("#inst \"2020\"", json!({"#inst": "2020"}));
        check("[1 #_ 2 3]", json!([1, 3]));
        check(r"[\a \newline]", json!(["a", "\n"]));
    }

    #[test]
    fn what_clojure_prints_is_read() {
        let check = |text, expected| assert_eq!(read(text).unwrap(), expected, "{text}");
        let object = json!({"#object": ["my.Timeout", 0x1a2b_3c4d, "slow"]});
        check("#object[my.Timeout 0x1a2b3c4d \"slow\"]", object);
        check(
            "#object[a.B$c 0x1a2b3c4d5e6f7a8b9c]",
            json!({"#object": ["a.B$c", "0x1a2b3c4d5e6f7a8b9c"]}),
        );
        check(
            "#<Timeout java.util.Timeout: a < b, {unclosed>",
            json!({"#object": "Timeout java.util.Timeout: a < b, {unclosed"}),
        );
        check("[##Inf ##-Inf ##NaN]", json!(["##Inf", "##-Inf", "##NaN"]));
        check(r##"[#"a\d\"b" 1]"##, json!([{"#regex": r#"a\d\"b"#}, 1]));
        check(
            "#:my.ns{:a 1, :b/c 2, :_/d 3, \"e\" 4}",
            json!({"my.ns/a": 1, "b/c": 2, "d": 3, "e": 4}),
        );
        check("#::{:a 1}", json!({"a": 1}));
        check("^{:line 3} ^:dynamic ^String [1]", json!([1]));
        check("#^{:line 3} [1]", json!([1]));
        check("['a `b @c ~d #'user/x]", json!(["a", "b", "c", "d", "user/x"]));
        check("#user.Record{:x 1}", json!({"#user.Record": {"x": 1}}));
        check("[0x1F 017 2r101 36rZ 1.5M -0x10]", json!([31, 15, 5, 35, 1.5, -16]));
        check("[1.2.3.4 2024-05-01 1e999 08]", json!(["1.2.3.4", "2024-05-01", "1e999", "08"]));
        check(r"[\( \space \u0041 \o101 \\]", json!(["(", " ", "A", "A", "\\"]));
        check("\\\u{e9}", json!("\u{e9}"));
        check("#!shebang\n1", json!(1));
        check("#_ #_ 1 2 3", json!(3));
        check("{:a #_ 1 2}", json!({"a": 2}));
    }

    #[test]
    fn a_set_has_no_order_and_a_keyword_is_no_string() {
        assert_eq!(read("#{3 :a [2 #{9 10}]}"), read("#{[2 #{10 9}] 3 :a}"));
        assert_ne!(read(":a"), read("\"a\""));
        assert_ne!(read("[1 2]"), read("[2 1]"));
        assert_eq!(read("[:r :k 1]").unwrap(), json!(["r", ":k", 1]), "a micro-op");
    }

    #[test]
    fn an_error_names_its_place() {
        let check = |text: &str, place: &str| {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(place), "{text:?}: {error}");
        };
        check("{:a\n 1 :b}", "line 2, column 6: a map has a key without a value");
        check("[1 2", "line 1, column 5: the input ends inside a value");
        check("\"abc", "line 1, column 5: the input ends inside a string");
        check("]", "line 1, column 1: a stray `]`");
        check("\0", "line 1, column 1");
        check(&"[".repeat(1000), "line 1, column 130: nested deeper than 128");
    }

    #[test]
    fn what_is_printed_reads_back() {
        for value in [
            json!([["r", 1, null], ["w", "x", {"a b": [1.5, "q\"\\"]}]]),
            json!({"#inst": "2020", }),
            json!({"a": {"b": [true, null]}}),
            json!([":a", ":a b", "a", ":"]),
        ] {
            let mut text = String::new();
            print(&value, &mut text);
            assert_eq!(read(&text).unwrap(), value, "{text}");
        }
    }
}
