//! Extensible data notation: what Jepsen writes its histories in.
//!
//! A reader over a byte stream, one value at a time, with the place of every error. Nesting is
//! bounded, numbers that do not fit are errors or floats as they say, unknown tags are kept.

use std::fmt::Write as _;
use std::io::BufRead;

use serde_json::{Map, Number, Value};

use crate::history::HistoryError;

/// Deeper than this nothing sensible nests; the reader is recursive.
const DEEPEST: usize = 128;

/// Longer than this is no token of a history.
const LONGEST_TOKEN: usize = 16 << 20;

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
    /// A bare name, a ratio, an integer past 64 bits.
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
    /// As JSON: keywords and symbols become strings, sets arrays, and a tag `{"#tag": value}`.
    pub fn into_json(self) -> Value {
        match self {
            Self::Nil => Value::Null,
            Self::Bool(bool) => bool.into(),
            Self::Number(number) => Value::Number(number),
            Self::String(text) | Self::Keyword(text) | Self::Symbol(text) => text.into(),
            Self::List(all) | Self::Set(all) => all.into_iter().map(Self::into_json).collect(),
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

/// Writes JSON as EDN; names of fields become keywords where they can.
pub fn print(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("nil"),
        Value::Bool(_) | Value::Number(_) => {
            let _ = write!(out, "{value}");
        }
        Value::String(text) => print_string(text, out),
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
            Some(name @ ("r" | "w" | "append")) if at == 0 && all.len() == 3 => {
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

/// Reads values from a stream.
pub struct Reader<R> {
    input: R,
    line: u64,
    column: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        Self { input, line: 1, column: 1 }
    }

    /// Where the reader stands: line and column, from 1.
    pub fn place(&self) -> (u64, u64) {
        (self.line, self.column)
    }

    /// An error at the place where the reader stands.
    pub fn error(&self, message: impl Into<String>) -> HistoryError {
        HistoryError::Syntax { line: self.line, column: self.column, message: message.into() }
    }

    /// The next character after white space and comments, left where it is.
    pub fn peek_token(&mut self) -> Result<Option<u8>, HistoryError> {
        loop {
            match self.peek()? {
                Some(b';') => self.skip_line()?,
                Some(c) if c.is_ascii_whitespace() || c == b',' => _ = self.take()?,
                other => return Ok(other),
            }
        }
    }

    /// Takes one character.
    pub fn take(&mut self) -> Result<Option<u8>, HistoryError> {
        let next = self.peek()?;
        if let Some(c) = next {
            self.input.consume(1);
            if c == b'\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
        }
        Ok(next)
    }

    fn peek(&mut self) -> Result<Option<u8>, HistoryError> {
        Ok(self.input.fill_buf()?.first().copied())
    }

    fn skip_line(&mut self) -> Result<(), HistoryError> {
        while !matches!(self.take()?, None | Some(b'\n')) {}
        Ok(())
    }

    /// The next value; none at the end.
    pub fn value(&mut self) -> Result<Option<Edn>, HistoryError> {
        loop {
            if self.peek_token()?.is_none() {
                return Ok(None);
            }
            // `#_ x` is a comment that swallows the value after it.
            if let Some(value) = self.form(0)? {
                return Ok(Some(value));
            }
        }
    }

    fn form(&mut self, depth: usize) -> Result<Option<Edn>, HistoryError> {
        if depth > DEEPEST {
            return Err(self.error(format!("nested deeper than {DEEPEST}")));
        }
        let Some(first) = self.peek_token()? else {
            return Err(self.error("the input ends inside a value"));
        };
        let value = match first {
            b'[' => Edn::List(self.sequence(b']', depth)?),
            b'(' => Edn::List(self.sequence(b')', depth)?),
            b'{' => self.map(depth)?,
            b'"' => Edn::String(self.string()?),
            b'#' => return self.dispatch(depth),
            b'\\' => {
                self.take()?;
                Edn::String(character(&self.token()?))
            }
            b']' | b')' | b'}' => {
                return Err(self.error(format!("a stray `{}`", first as char)));
            }
            _ => self.atom()?,
        };
        Ok(Some(value))
    }

    fn sequence(&mut self, end: u8, depth: usize) -> Result<Vec<Edn>, HistoryError> {
        self.take()?;
        let mut all = Vec::new();
        loop {
            match self.peek_token()? {
                Some(c) if c == end => {
                    self.take()?;
                    return Ok(all);
                }
                _ => all.extend(self.form(depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Edn, HistoryError> {
        let all = self.sequence(b'}', depth)?;
        if !all.len().is_multiple_of(2) {
            return Err(self.error("a map has a key without a value"));
        }
        let mut all = all.into_iter();
        let pairs = std::iter::from_fn(|| all.next().zip(all.next()));
        Ok(Edn::Map(pairs.collect()))
    }

    fn dispatch(&mut self, depth: usize) -> Result<Option<Edn>, HistoryError> {
        self.take()?;
        match self.peek()? {
            Some(b'{') => Ok(Some(Edn::Set(self.sequence(b'}', depth)?))),
            Some(b'_') => {
                self.take()?;
                self.form(depth + 1)?;
                Ok(None)
            }
            Some(c) if c.is_ascii_alphabetic() => {
                let tag = self.token()?;
                loop {
                    if let Some(value) = self.form(depth + 1)? {
                        return Ok(Some(Edn::Tagged(tag, Box::new(value))));
                    }
                }
            }
            _ => Err(self.error("`#` is followed by neither a set nor a tag")),
        }
    }

    fn string(&mut self) -> Result<String, HistoryError> {
        self.take()?;
        let mut bytes = Vec::new();
        loop {
            let Some(c) = self.take()? else {
                return Err(self.error("the input ends inside a string"));
            };
            match c {
                b'"' => break,
                b'\\' => self.escape(&mut bytes)?,
                _ => bytes.push(c),
            }
            if bytes.len() > LONGEST_TOKEN {
                return Err(self.error("a string too long for an op"));
            }
        }
        String::from_utf8(bytes).map_err(|_| self.error("a string that is not UTF-8"))
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), HistoryError> {
        let escaped = match self.take()? {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => self.unicode()?,
            Some(c @ (b'"' | b'\\' | b'/')) => c as char,
            _ => return Err(self.error("an escape that is none")),
        };
        bytes.extend(escaped.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn unicode(&mut self) -> Result<char, HistoryError> {
        let first = self.unit()?;
        let code = match first {
            // A pair of surrogates, as Java writes what is past 16 bits.
            0xd800..=0xdbff => {
                if (self.take()?, self.take()?) != (Some(b'\\'), Some(b'u')) {
                    return Err(self.error("half a surrogate pair"));
                }
                let second = self.unit()?;
                0x10000 + ((first - 0xd800) << 10) + (second.wrapping_sub(0xdc00) & 0x3ff)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| self.error("an escape that is no character"))
    }

    fn unit(&mut self) -> Result<u32, HistoryError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.take()?.and_then(|c| (c as char).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.error("\\u without four hex digits"))?;
        }
        Ok(code)
    }

    fn token(&mut self) -> Result<String, HistoryError> {
        let mut bytes = Vec::new();
        while let Some(c) = self.peek()? {
            if c.is_ascii_whitespace() || b",;\"()[]{}".contains(&c) && !bytes.is_empty() {
                break;
            }
            if c == 0 || bytes.len() > LONGEST_TOKEN {
                return Err(self.error("no text: a NUL byte, or a token without end"));
            }
            bytes.push(c);
            self.take()?;
        }
        String::from_utf8(bytes).map_err(|_| self.error("not UTF-8"))
    }

    fn atom(&mut self) -> Result<Edn, HistoryError> {
        let token = self.token()?;
        if let Some(name) = token.strip_prefix(':') {
            return Ok(Edn::Keyword(name.to_owned()));
        }
        Ok(match token.as_str() {
            "nil" => Edn::Nil,
            "true" => Edn::Bool(true),
            "false" => Edn::Bool(false),
            _ if token.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) => {
                return self.number(token);
            }
            _ => Edn::Symbol(token),
        })
    }

    fn number(&self, token: String) -> Result<Edn, HistoryError> {
        let digits = token.strip_prefix('+').unwrap_or(&token);
        if !digits.contains(|c: char| c.is_ascii_digit()) {
            return Ok(Edn::Symbol(token));
        }
        let whole = digits.strip_suffix('N').unwrap_or(digits);
        if let Ok(number) = whole.parse::<i64>() {
            return Ok(Edn::Number(number.into()));
        }
        if let Ok(number) = whole.parse::<u64>() {
            return Ok(Edn::Number(number.into()));
        }
        if whole.trim_start_matches('-').bytes().all(|c| c.is_ascii_digit() || c == b'/') {
            // Past 64 bits, or a ratio: kept as it is written, so that it stays what it was.
            return Ok(Edn::Symbol(token));
        }
        let float = digits.strip_suffix('M').unwrap_or(digits).parse::<f64>().ok();
        match float.and_then(Number::from_f64) {
            Some(number) => Ok(Edn::Number(number)),
            None => Err(self.error(format!("`{}` is no number", shortened(&token)))),
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn character(token: &str) -> String {
    match token {
        "newline" => "\n".to_owned(),
        "space" => " ".to_owned(),
        "tab" => "\t".to_owned(),
        "return" => "\r".to_owned(),
        other => other.to_owned(),
    }
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
        check(":timed-out", json!("timed-out"));
        check("[1 [2, (3)] #{4}]", json!([1, [2, [3]], [4]]));
        check("{:a 1, \"b\" nil, 3 4}", json!({"a": 1, "b": null, "3": 4}));
        check("#inst \"2020\"", json!({"#inst": "2020"}));
        check("[1 #_ 2 3]", json!([1, 3]));
        check(r"[\a \newline]", json!(["a", "\n"]));
    }

    #[test]
    fn an_error_names_its_place() {
        let check = |text: &str, place: &str| {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(place), "{text:?}: {error}");
        };
        check("{:a\n 1 :b}", "line 2, column 7: a map has a key without a value");
        check("[1 2", "line 1, column 5: the input ends inside a value");
        check("\"abc", "line 1, column 5: the input ends inside a string");
        check("]", "line 1, column 1: a stray `]`");
        check("1e999", "line 1, column 6: `1e999` is no number");
        check("\0", "line 1, column 1");
        check(&"[".repeat(1000), "line 1, column 130: nested deeper than 128");
    }

    #[test]
    fn what_is_printed_reads_back() {
        for value in [
            json!([["r", 1, null], ["w", "x", {"a b": [1.5, "q\"\\"]}]]),
            json!({"#inst": "2020", }),
            json!({"a": {"b": [true, null]}}),
        ] {
            let mut text = String::new();
            print(&value, &mut text);
            assert_eq!(read(&text).unwrap(), value, "{text}");
        }
    }
}
