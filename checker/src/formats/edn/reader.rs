//! Reads EDN values from a stream.

use std::io::Read;

use serde_json::Number;

use super::Edn;
use crate::history::HistoryError;

/// Deeper than this nothing sensible nests; the reader is recursive.
const DEEPEST: usize = 128;

/// Longer than this is no token of a history.
const LONGEST_TOKEN: usize = 16 << 20;

/// So much is asked of the stream at once.
const CHUNK: usize = 64 << 10;

/// Reads values from a stream.
pub struct Reader<R> {
    input: R,
    /// What was read and is not done with: from `at` on.
    buffer: Vec<u8>,
    at: usize,
    /// How many bytes came before the buffer.
    before: u64,
    line: u64,
    /// How many bytes came before this line.
    line_begin: u64,
    cut: bool,
}

impl<R: Read> Reader<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        let (before, line, line_begin) = (0, 1, 0);
        Self { input, buffer: Vec::new(), at: 0, before, line, line_begin, cut: false }
    }

    /// Where the reader stands: line and column, from 1.
    pub fn place(&self) -> (u64, u64) {
        (self.line, self.offset() - self.line_begin + 1)
    }

    /// How many bytes are done with.
    pub(crate) fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    /// Did the last error come of the input's end inside a value?
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Is nothing left?
    pub(crate) fn is_at_end(&mut self) -> Result<bool, HistoryError> {
        Ok(self.look(0)?.is_none())
    }

    /// An error at the place where the reader stands.
    pub fn error(&self, message: impl Into<String>) -> HistoryError {
        let (line, column) = self.place();
        HistoryError::Syntax { line, column, message: message.into() }
    }

    /// The same, because the input has ended.
    pub(crate) fn ended(&mut self, inside: &str) -> HistoryError {
        self.cut = true;
        self.error(format!("the input ends inside {inside}"))
    }

    /// Reads more behind what there is; false at the end.
    #[cold]
    fn more(&mut self) -> Result<bool, HistoryError> {
        self.buffer.drain(..self.at);
        self.before += self.at as u64;
        self.at = 0;
        if self.buffer.len() > LONGEST_TOKEN {
            return Err(self.error("a token without end"));
        }
        let n = self.input.by_ref().take(CHUNK as u64).read_to_end(&mut self.buffer)?;
        Ok(n > 0)
    }

    /// The byte `ahead` of where the reader stands.
    #[inline]
    fn look(&mut self, ahead: usize) -> Result<Option<u8>, HistoryError> {
        while self.buffer.len() <= self.at + ahead {
            if !self.more()? {
                return Ok(None);
            }
        }
        Ok(Some(self.buffer[self.at + ahead]))
    }

    /// The next character after white space and comments, left where it is.
    #[inline]
    pub fn peek_token(&mut self) -> Result<Option<u8>, HistoryError> {
        loop {
            match self.look(0)? {
                Some(b'\n') => self.newline(),
                Some(b' ' | b',' | b'\t' | b'\r' | 0x0b | 0x0c) => self.at += 1,
                Some(b';') => self.skip_line()?,
                other => return Ok(other),
            }
        }
    }

    fn newline(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_begin = self.offset();
    }

    /// Takes one character, as [`Self::peek_token`] has found it.
    pub fn take(&mut self) -> Result<Option<u8>, HistoryError> {
        let next = self.look(0)?;
        match next {
            Some(b'\n') => self.newline(),
            Some(_) => self.at += 1,
            None => {}
        }
        Ok(next)
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

    /// A value that must be there.
    pub(crate) fn needed(&mut self, depth: usize) -> Result<Edn, HistoryError> {
        loop {
            if let Some(value) = self.form(depth)? {
                return Ok(value);
            }
        }
    }

    /// Hands the text of the next token over, if it is a keyword, without its colon.
    #[inline]
    pub(crate) fn keyword<T>(
        &mut self,
        hand: impl FnOnce(&str) -> T,
    ) -> Result<Option<T>, HistoryError> {
        if self.look(0)? != Some(b':') {
            return Ok(None);
        }
        let length = self.token_length()?;
        let Ok(name) = std::str::from_utf8(&self.buffer[self.at + 1..self.at + length]) else {
            return Err(self.error("not UTF-8"));
        };
        let handed = hand(name);
        self.at += length;
        Ok(Some(handed))
    }

    /// The next value, or none where a comment (`#_ x`) stands.
    pub(crate) fn form(&mut self, depth: usize) -> Result<Option<Edn>, HistoryError> {
        if depth > DEEPEST {
            return Err(self.error(format!("nested deeper than {DEEPEST}")));
        }
        let Some(first) = self.peek_token()? else {
            return Err(self.ended("a value"));
        };
        let value = match first {
            b'[' => Edn::List(self.sequence(b']', depth)?),
            b'(' => Edn::List(self.sequence(b')', depth)?),
            b'{' => self.map(depth)?,
            b'"' => Edn::String(self.string()?),
            b'#' => return self.dispatch(depth),
            // What it is said of it does not change the value.
            b'^' => {
                self.at += 1;
                self.needed(depth + 1)?;
                self.needed(depth + 1)?
            }
            b'\'' | b'`' | b'@' | b'~' => {
                self.at += 1;
                self.needed(depth + 1)?
            }
            b'\\' => Edn::String(self.character()?),
            b']' | b')' | b'}' => {
                return Err(self.error(format!("a stray `{}`", first as char)));
            }
            _ => self.atom()?,
        };
        Ok(Some(value))
    }

    fn sequence(&mut self, end: u8, depth: usize) -> Result<Vec<Edn>, HistoryError> {
        self.at += 1;
        let mut all = Vec::new();
        loop {
            match self.peek_token()? {
                Some(c) if c == end => {
                    self.at += 1;
                    return Ok(all);
                }
                _ => all.extend(self.form(depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Edn, HistoryError> {
        let all = self.sequence(b'}', depth)?;
        if !all.len().is_multiple_of(2) {
            self.at -= 1;
            return Err(self.error("a map has a key without a value"));
        }
        let mut all = all.into_iter();
        let pairs = std::iter::from_fn(|| all.next().zip(all.next()));
        Ok(Edn::Map(pairs.collect()))
    }

    fn dispatch(&mut self, depth: usize) -> Result<Option<Edn>, HistoryError> {
        let Some(second) = self.look(1)? else { return Err(self.ended("a value")) };
        self.at += 1;
        let value = match second {
            b'{' => Edn::Set(self.sequence(b'}', depth)?),
            b'_' => {
                self.at += 1;
                self.needed(depth + 1)?;
                return Ok(None);
            }
            b'!' => {
                self.skip_line()?;
                return Ok(None);
            }
            b'"' => {
                let pattern = self.pattern()?;
                Edn::Tagged("regex".to_owned(), Box::new(Edn::String(pattern)))
            }
            // ##Inf, ##-Inf, ##NaN
            b'#' => {
                self.at += 1;
                Edn::Symbol(format!("##{}", self.token()?))
            }
            b'<' => Edn::Tagged("object".to_owned(), Box::new(Edn::String(self.unreadable()?))),
            b':' => self.of_namespace(depth)?,
            b'\'' => {
                self.at += 1;
                self.needed(depth + 1)?
            }
            b'^' => return self.form(depth),
            b'=' | b'(' | b'?' => {
                // Code, to be run by the reader: kept as it is written, and not run.
                self.at += usize::from(second != b'(');
                self.needed(depth + 1)?
            }
            c if c.is_ascii_alphabetic() => {
                let tag = self.token()?;
                Edn::Tagged(tag, Box::new(self.needed(depth + 1)?))
            }
            _ => {
                self.at -= 1;
                return Err(self.error("`#` is followed by neither a set nor a tag"));
            }
        };
        Ok(Some(value))
    }

    /// `#:my.ns{:a 1}` is `{:my.ns/a 1}`.
    fn of_namespace(&mut self, depth: usize) -> Result<Edn, HistoryError> {
        let token = self.token()?;
        let namespace = token.trim_start_matches(':');
        if self.peek_token()? != Some(b'{') {
            return match self.peek_token()? {
                None => Err(self.ended("a value")),
                Some(_) => Err(self.error("a namespace is followed by no map")),
            };
        }
        let Edn::Map(mut pairs) = self.map(depth)? else {
            return Err(self.error("a namespace is followed by no map"));
        };
        for (name, _) in &mut pairs {
            if let Edn::Keyword(name) | Edn::Symbol(name) = name {
                match name.strip_prefix("_/") {
                    Some(bare) => *name = bare.to_owned(),
                    None if name.contains('/') || namespace.is_empty() => {}
                    None => *name = format!("{namespace}/{name}"),
                }
            }
        }
        Ok(Edn::Map(pairs))
    }

    /// `#<Name text>`, as old Clojure prints objects: text up to the `>` that closes it.
    fn unreadable(&mut self) -> Result<String, HistoryError> {
        self.at += 1;
        let mut bytes = Vec::new();
        let mut open = 1;
        loop {
            match self.take()? {
                None => return Err(self.ended("a value")),
                Some(b'>') if bytes.last() != Some(&b'-') => open -= 1,
                Some(b'<') if bytes.last() == Some(&b'#') => open += 1,
                Some(_) => {}
            }
            if open == 0 {
                return Ok(String::from_utf8_lossy(&bytes).into_owned());
            }
            bytes.push(self.buffer[self.at - 1]);
            if bytes.len() > LONGEST_TOKEN {
                return Err(self.error("an object without end"));
            }
        }
    }

    /// A regular expression: no escapes but that of the quote, which stays as it is written.
    fn pattern(&mut self) -> Result<String, HistoryError> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.take()? {
                None => return Err(self.ended("a string")),
                Some(b'"') => break,
                Some(b'\\') => {
                    bytes.push(b'\\');
                    bytes.extend(self.take()?);
                }
                Some(c) => bytes.push(c),
            }
            if bytes.len() > LONGEST_TOKEN {
                return Err(self.error("a string too long for an op"));
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn string(&mut self) -> Result<String, HistoryError> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let ready = &self.buffer[self.at..];
            let plain = ready.iter().position(|c| matches!(c, b'"' | b'\\' | b'\n'));
            let plain = plain.unwrap_or(ready.len());
            bytes.extend_from_slice(&ready[..plain]);
            self.at += plain;
            match self.take()? {
                None => return Err(self.ended("a string")),
                Some(b'"') => break,
                Some(b'\\') => self.escape(&mut bytes)?,
                Some(c) => bytes.push(c),
            }
            if bytes.len() > LONGEST_TOKEN {
                return Err(self.error("a string too long for an op"));
            }
        }
        String::from_utf8(bytes).map_err(|_| self.error("a string that is not UTF-8"))
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), HistoryError> {
        let escaped = match self.take()? {
            None => return Err(self.ended("a string")),
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => self.unicode()?,
            Some(c @ (b'"' | b'\\' | b'/' | b'\'')) => c as char,
            Some(c @ b'0'..=b'7') => self.octal(c)?,
            Some(_) => return Err(self.error("an escape that is none")),
        };
        bytes.extend(escaped.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn octal(&mut self, first: u8) -> Result<char, HistoryError> {
        let mut code = u32::from(first - b'0');
        for _ in 0..2 {
            match self.look(0)? {
                Some(c @ b'0'..=b'7') => code = code * 8 + u32::from(c - b'0'),
                _ => break,
            }
            self.at += 1;
        }
        char::from_u32(code).ok_or_else(|| self.error("an escape that is no character"))
    }

    fn unicode(&mut self) -> Result<char, HistoryError> {
        let first = self.unit()?;
        let code = match first {
            // A pair of surrogates, as Java writes what is past 16 bits.
            0xd800..=0xdbff => {
                if (self.take()?, self.take()?) != (Some(b'\\'), Some(b'u')) {
                    return Err(match self.look(0)? {
                        None => self.ended("a string"),
                        Some(_) => self.error("half a surrogate pair"),
                    });
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
            let Some(c) = self.take()? else { return Err(self.ended("a string")) };
            let digit = (c as char).to_digit(16);
            code = code * 16 + digit.ok_or_else(|| self.error("\\u without four hex digits"))?;
        }
        Ok(code)
    }

    /// `\a`, `\newline`, `\u0041`, `\(`.
    fn character(&mut self) -> Result<String, HistoryError> {
        self.at += 1;
        let Some(first) = self.look(0)? else { return Err(self.ended("a value")) };
        if first.is_ascii() && !first.is_ascii_alphanumeric() {
            self.take()?;
            return Ok((first as char).to_string());
        }
        let token = self.token()?;
        let code =
            |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        Ok(match token.as_str() {
            "newline" => "\n".to_owned(),
            "space" => " ".to_owned(),
            "tab" => "\t".to_owned(),
            "return" => "\r".to_owned(),
            "backspace" => "\u{8}".to_owned(),
            "formfeed" => "\u{c}".to_owned(),
            other => {
                let unicode = other.strip_prefix('u').filter(|hex| hex.len() == 4);
                let octal = other.strip_prefix('o').filter(|digits| !digits.is_empty());
                let known = unicode.and_then(|hex| code(hex, 16));
                let known = known.or_else(|| octal.and_then(|digits| code(digits, 8)));
                known.map_or_else(|| other.to_owned(), String::from)
            }
        })
    }

    /// How long the token is that begins here.
    fn token_length(&mut self) -> Result<usize, HistoryError> {
        let mut length = 0;
        loop {
            let ready = &self.buffer[self.at + length..];
            let ends = |c: &u8| {
                matches!(c, 0..=b' ' | b',' | b';' | b'"' | b'(' | b')' | b'[' | b']' | b'{' | b'}')
            };
            match ready.iter().position(ends) {
                Some(end) if ready[end] == 0 => {
                    return Err(self.error("no text: a NUL byte"));
                }
                Some(end) => return Ok(length + end),
                None => length += ready.len(),
            }
            if !self.more()? {
                return Ok(length);
            }
        }
    }

    fn token(&mut self) -> Result<String, HistoryError> {
        let length = self.token_length()?;
        let Ok(token) = std::str::from_utf8(&self.buffer[self.at..self.at + length]) else {
            return Err(self.error("not UTF-8"));
        };
        let token = token.to_owned();
        self.at += length;
        if token.is_empty() {
            return match self.look(0)? {
                None => Err(self.ended("a value")),
                Some(c) => Err(self.error(format!("`{}` begins no value", c.escape_ascii()))),
            };
        }
        Ok(token)
    }

    fn atom(&mut self) -> Result<Edn, HistoryError> {
        let length = self.token_length()?;
        if let Some(number) = small(&self.buffer[self.at..self.at + length]) {
            self.at += length;
            return Ok(Edn::Number(number.into()));
        }
        let token = self.token()?;
        if let Some(name) = token.strip_prefix(':') {
            return Ok(Edn::Keyword(name.to_owned()));
        }
        Ok(match token.as_str() {
            "nil" => Edn::Nil,
            "true" => Edn::Bool(true),
            "false" => Edn::Bool(false),
            _ => number(&token).map_or(Edn::Symbol(token), Edn::Number),
        })
    }
}

/// The integer that most tokens are.
#[inline]
fn small(token: &[u8]) -> Option<i64> {
    let (digits, sign) = match token.split_first()? {
        (b'-', rest) => (rest, -1),
        _ => (token, 1),
    };
    let is_small = matches!(digits.len(), 1..=18) && (digits[0] != b'0' || digits.len() == 1);
    if !is_small || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(sign * digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

/// The number of a token. Past 64 bits, or a ratio, or what only begins like a number (a date, an
/// address within `#object[...]`): none, and it is kept as it is written, so that it stays what it
/// was.
fn number(token: &str) -> Option<Number> {
    let unsigned = token.strip_prefix(['+', '-']).unwrap_or(token);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let negative = token.starts_with('-');
    let whole = unsigned.strip_suffix('N').unwrap_or(unsigned);
    let (digits, radix) = match whole.split_once(['r', 'R']) {
        Some((radix, digits)) => {
            (digits, radix.parse().ok().filter(|radix| (2..=36).contains(radix))?)
        }
        None => match whole.strip_prefix("0x").or_else(|| whole.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None if whole.len() > 1
                && whole.starts_with('0')
                && whole.bytes().all(|c| c.is_ascii_digit()) =>
            {
                (&whole[1..], 8)
            }
            None => (whole, 10),
        },
    };
    if !digits.starts_with(['+', '-'])
        && let Ok(number) = u64::from_str_radix(digits, radix)
    {
        return match negative {
            false => Some(number.into()),
            true => 0_i64.checked_sub_unsigned(number).map(Number::from),
        };
    }
    let is_decimal = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let decimal = unsigned.strip_suffix('M').unwrap_or(unsigned);
    let has_point = decimal.contains(['.', 'e', 'E']);
    if radix != 10 || !has_point || !decimal.chars().all(is_decimal) {
        return None;
    }
    let number: f64 = decimal.parse().ok()?;
    Number::from_f64(if negative { -number } else { number })
}
