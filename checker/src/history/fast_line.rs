//! Reads the JSON line that our own writer writes, many times faster than a general parser.
//!
//! It knows one shape: the fields in the order in which they are written, no white space between
//! them, plain strings and small integers. Of any other line it says nothing, and the general
//! parser reads it. It never says anything else than that would (fuzzed against it).

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::history::op::{Kind, Names, Op, Process, known_f};

/// How deep values are read: a list of carts, each of which is an object with lists, takes three.
const DEPTH: u32 = 6;

/// The op of a line, if the line is of the one shape.
pub(crate) fn parse(line: &[u8], names: &mut Names) -> Option<Op> {
    let mut rest = Cursor(line);
    let op = op(&mut rest, names)?;
    rest.0.is_empty().then_some(op)
}

/// The op of a first line that is of the one shape and whole, and its length with the line's end.
#[inline]
pub(crate) fn parse_line(lines: &[u8], names: &mut Names) -> Option<(Op, usize)> {
    let mut rest = Cursor(lines);
    let op = op(&mut rest, names)?;
    rest.expect(b"\n")?;
    Some((op, lines.len() - rest.0.len()))
}

#[inline]
fn op(rest: &mut Cursor<'_>, names: &mut Names) -> Option<Op> {
    rest.expect(b"{\"index\":")?;
    let index = rest.integer()?;
    rest.expect(b",\"time\":")?;
    let time = rest.integer()?;
    rest.expect(b",\"process\":")?;
    let process = match rest.0.first()? {
        b'"' => {
            rest.expect(b"\"nemesis\"")?;
            Process::Nemesis
        }
        _ => Process::Client(rest.integer()?),
    };
    rest.expect(b",\"type\":")?;
    let kind = match rest.text()? {
        "invoke" => Kind::Invoke,
        "ok" => Kind::Ok,
        "fail" => Kind::Fail,
        "info" => Kind::Info,
        _ => return None,
    };
    rest.expect(b",\"f\":")?;
    let f = rest.text()?;
    let mut op = Op::new(process, kind, known_f(Cow::Borrowed(f)));
    op.index = index;
    op.time = time;
    if rest.take(b",\"key\":") {
        op.key = Some(names.share(rest.text()?));
    }
    if rest.take(b",\"value\":") {
        op.value = Some(rest.value(DEPTH)?);
    }
    if rest.take(b",\"context\":") {
        op.context = Some(rest.integer()?);
    }
    if rest.take(b",\"error\":") {
        op.error = Some(rest.text()?.into());
    }
    if rest.take(b",\"node\":") {
        op.node = Some(names.share(rest.text()?));
    }
    if rest.take(b",\"final\":true") {
        op.is_final = true;
    }
    rest.expect(b"}")?;
    Some(op)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, what: &[u8]) -> bool {
        match self.0.strip_prefix(what) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, what: &[u8]) -> Option<()> {
        self.take(what).then_some(())
    }

    /// Of up to 18 digits, so that it fits every integer there is.
    #[inline]
    fn integer(&mut self) -> Option<u64> {
        const MOST: usize = 18;
        let mut number = 0;
        let mut digits = 0;
        while let Some(digit) = self.0.get(digits).map(|byte| byte.wrapping_sub(b'0'))
            && digit < 10
        {
            if digits == MOST {
                return None;
            }
            number = number * 10 + u64::from(digit);
            digits += 1;
        }
        // JSON has no leading zeros.
        if digits == 0 || (digits > 1 && self.0[0] == b'0') {
            return None;
        }
        self.0 = &self.0[digits..];
        Some(number)
    }

    /// A string without escapes.
    #[inline]
    fn text(&mut self) -> Option<&'a str> {
        let inner = self.0.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
        if inner[end] != b'"' {
            return None;
        }
        self.0 = &inner[end + 1..];
        std::str::from_utf8(&inner[..end]).ok()
    }

    /// A value in which lists and objects are within each other `depth` times at most.
    fn value(&mut self, depth: u32) -> Option<Value> {
        match self.0.first()? {
            b'[' => self.list(depth.checked_sub(1)?),
            b'{' => self.object(depth.checked_sub(1)?),
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) -> Option<Value> {
        match self.0.first()? {
            b'"' => self.text().map(Value::from),
            b'n' => self.expect(b"null").map(|()| Value::Null),
            b't' => self.expect(b"true").map(|()| Value::Bool(true)),
            b'f' => self.expect(b"false").map(|()| Value::Bool(false)),
            b'-' => {
                self.0 = &self.0[1..];
                let number = self.whole()?.cast_signed();
                // -0 is a float.
                (number != 0).then(|| Value::from(-number))
            }
            _ => self.whole().map(Value::from),
        }
    }

    /// An integer that no fraction or exponent follows.
    fn whole(&mut self) -> Option<u64> {
        let number = self.integer()?;
        (!matches!(self.0.first(), Some(b'.' | b'e' | b'E'))).then_some(number)
    }

    fn list(&mut self, depth: u32) -> Option<Value> {
        self.expect(b"[")?;
        let mut list = Vec::new();
        if self.take(b"]") {
            return Some(Value::Array(list));
        }
        loop {
            list.push(self.value(depth)?);
            if self.take(b"]") {
                return Some(Value::Array(list));
            }
            self.expect(b",")?;
        }
    }

    /// Of a name that comes twice the last counts, as in the general parser.
    fn object(&mut self, depth: u32) -> Option<Value> {
        self.expect(b"{")?;
        let mut object = Map::new();
        if self.take(b"}") {
            return Some(Value::Object(object));
        }
        loop {
            let name = self.text()?;
            self.expect(b":")?;
            object.insert(name.to_owned(), self.value(depth)?);
            if self.take(b"}") {
                return Some(Value::Object(object));
            }
            self.expect(b",")?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::prelude::*;
    use serde::de::DeserializeSeed;

    use crate::history::op::OpSeed;

    /// What the general parser says.
    fn general(line: &[u8]) -> Option<Op> {
        let mut json = serde_json::Deserializer::from_slice(line);
        let op = OpSeed(&mut Names::default()).deserialize(&mut json).ok()?;
        json.end().ok()?;
        Some(op)
    }

    /// Both agree where the fast one answers; says whether it did.
    fn agree(line: &[u8]) -> bool {
        let fast = parse(line, &mut Names::default());
        // The same with more behind it; a line's end within it ends it.
        if !line.contains(&b'\n') {
            let more = [line, b"\n{"].concat();
            let whole = parse_line(&more, &mut Names::default());
            assert_eq!(whole, fast.clone().map(|op| (op, line.len() + 1)));
        }
        if let Some(op) = &fast {
            assert_eq!(Some(op), general(line).as_ref(), "{}", String::from_utf8_lossy(line));
        }
        fast.is_some()
    }

    const LINES: [&str; 11] = [
        r#"{"index":0,"time":7,"process":3,"type":"invoke","f":"read","key":"k"}"#,
        r#"{"index":12,"time":700,"process":"nemesis","type":"info","f":"kill","value":["n1","n2"]}"#,
        r#"{"index":3,"time":12,"process":0,"type":"ok","f":"put","key":"k","value":[1,-2,null],"context":1,"error":"e","node":"n1","final":true}"#,
        r#"{"index":3,"time":12,"process":0,"type":"fail","f":"write","value":-17}"#,
        r#"{"index":3,"time":12,"process":0,"type":"ok","f":"read","value":true}"#,
        r#"{"index":3,"time":12,"process":0,"type":"ok","f":"read","value":[]}"#,
        r#"{"index":999999999999999999,"time":0,"process":0,"type":"ok","f":"read","value":"x y"}"#,
        r#"{"index":3,"time":12,"process":0,"type":"ok","f":"cas","value":[1,2],"node":"n"}"#,
        r#"{"index":3,"time":12,"process":0,"type":"ok","f":"get","value":[{"id":"a","items":["x",null,-3]},{}]}"#,
        r#"{"index":3,"time":12,"process":0,"type":"ok","f":"get","value":{"a":[[],{"b":7}],"c":{},"a":"d"}}"#,
        r#"{"index":3,"time":12,"process":0,"type":"ok","f":"get","value":[[[[[[1]]]]]]}"#,
    ];

    #[test]
    fn our_own_lines_are_read() {
        for line in LINES {
            assert!(agree(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn other_lines_are_left_to_the_general_parser() {
        for line in [
            r#"{"index":00,"time":0,"process":0,"type":"ok","f":"read"}"#,
            r#"{"index":1e2,"time":0,"process":0,"type":"ok","f":"read"}"#,
            r#"{"index":18446744073709551616,"time":0,"process":0,"type":"ok","f":"read"}"#,
            r#"{"index":0,"time":0,"process":0,"type":"ok","f":"read","value":1.5}"#,
            r#"{"index":0,"time":0,"process":0,"type":"ok","f":"read","value":-0}"#,
            r#"{"index":0,"time":0,"process":0,"type":"ok","f":"r\u0065ad"}"#,
            r#"{"index":0,"time":0,"process":0,"type":"ok","f":"read","final":false}"#,
            r#"{"index":0,"time":0,"process":0,"type":"ok","f":"read"} "#,
            r#"{"index": 0,"time":0,"process":0,"type":"ok","f":"read"}"#,
            r#"{"index":0,"time":0,"process":0,"type":"ok","f":"read","value":{"a":1 }}"#,
            r#"{"index":0,"time":0,"process":0,"type":"ok","f":"read","value":{"a\n":1}}"#,
            r#"{"index":0,"time":0,"process":0,"type":"ok","f":"read","value":[[[[[[[1]]]]]]]}"#,
        ] {
            assert!(!agree(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn it_never_contradicts_the_general_parser() {
        let mut rng = StdRng::seed_from_u64(4);
        let mut read = 0;
        for _ in 0..200_000 {
            let mut line = LINES[rng.random_range(0..LINES.len())].as_bytes().to_vec();
            for _ in 0..rng.random_range(0..3) {
                let at = rng.random_range(0..line.len());
                const BYTES: &[u8] = b"0123456789-+.eE\"\\,:[]{} \x00\x1f\x7f\xc3\xa9ntfa";
                let byte = BYTES[rng.random_range(0..BYTES.len())];
                match rng.random_range(0..4) {
                    0 => line[at] = byte,
                    1 => line.insert(at, byte),
                    2 => drop(line.remove(at)),
                    _ => {
                        let from = rng.random_range(0..=at);
                        let copy = line[from..at].to_vec();
                        line.splice(at..at, copy);
                    }
                }
            }
            read += u32::from(agree(&line));
        }
        assert!(read > 50_000, "only {read} lines were read fast");
    }
}
