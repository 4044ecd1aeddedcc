//! The text logs of Jepsen tests, as those of etcd that the linearizability literature measures
//! itself on.
//!
//! `INFO  jepsen.util - 4<TAB>:invoke<TAB>:cas<TAB>[1 4]`; whatever stands before the process is
//! the logger's, and where tabs were blanks may be. Lines that are no ops (nemesis chatter, stack
//! traces) are passed over.

use std::io::{BufRead, Read};

use super::clock::Clock;
use super::draft::{Foreign, Name};
use super::edn::{Edn, Reader};
use super::import::{Import, reads};
use super::{Loaded, Options, ReadError};
use crate::history::op::{Kind, Op, Process, known_f};
use crate::history::{HistoryError, Torn};
use crate::judge::budget::Meter;

/// Longer than this is no line of a log.
const LONGEST_LINE: u64 = 1 << 20;

pub(crate) fn read(
    mut reader: impl BufRead,
    options: &Options,
    meter: &mut Meter,
) -> Result<Loaded, ReadError> {
    let mut import = Import::new(options);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let n = reader.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes);
        let n = n.map_err(HistoryError::Io)? as u64;
        if n == 0 {
            break;
        }
        if n > LONGEST_LINE {
            let message = "a line too long for a log".to_owned();
            return Err(HistoryError::Syntax { line, column: 0, message }.into());
        }
        let is_whole = bytes.ends_with(b"\n");
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        match Parts::of(text) {
            // Of what the last line begins nothing has been seen: half of it says no more than none.
            Some(parts) if !is_whole && parts.may_be_half() && !import.is_empty() => {
                import.torn(Torn { line, bytes: n });
            }
            Some(parts) => match parts.op(text, line) {
                Ok(op) => {
                    if !is_whole && parts.may_go_on() {
                        import.note(format!(
                            "line {line} has no end: if it was cut short, its value may be half of one"
                        ));
                    }
                    import.extend(Some(op));
                }
                Err(cut) if cut.is_cut && !is_whole && !import.is_empty() => {
                    import.torn(Torn { line, bytes: n });
                }
                Err(wrong) => return Err(wrong.error.into()),
            },
            None if !is_whole && !text.is_empty() && !import.is_empty() => {
                import.torn(Torn { line, bytes: n });
            }
            None => {}
        }
        let ops = import.len();
        meter.tick().map_err(|exhausted| ReadError::Budget { exhausted, ops })?;
    }
    Ok(import.finish()?)
}

/// Is it a line with an op?
pub(crate) fn is_op(line: &str) -> bool {
    Parts::of(line).is_some()
}

/// The parts of a line with an op.
struct Parts<'a> {
    name: Name,
    kind: Kind,
    f: &'a str,
    rest: &'a str,
}

/// Why a line with an op cannot be read.
struct Wrong {
    error: HistoryError,
    /// Because it ends within its value.
    is_cut: bool,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let mut before = None;
        let mut words = Words(text, 0);
        while let Some((at, word)) = words.next() {
            let kind = match word {
                ":invoke" => Some(Kind::Invoke),
                ":ok" => Some(Kind::Ok),
                ":fail" => Some(Kind::Fail),
                ":info" => Some(Kind::Info),
                _ => None,
            };
            let found =
                kind.zip(before).and_then(|(kind, (place, process)): (_, (usize, &str))| {
                    // A bare word is a name only where it stands alone, or before a tab.
                    let is_apart = place == 0 || text[place + process.len()..at].contains('\t');
                    Some((kind, process_named(process, is_apart)?, is_apart))
                });
            let Some((kind, name, is_apart)) = found else {
                before = Some((at, word));
                continue;
            };
            let (at, f) = words.next()?;
            let bare = f.strip_prefix(':');
            if bare.is_none() && !is_apart {
                return None;
            }
            return Some(Self { name, kind, f: bare.unwrap_or(f), rest: &text[at + f.len()..] });
        }
        None
    }

    fn op(&self, text: &str, line: u64) -> Result<Foreign, Wrong> {
        let mut op = Op::new(Process::Nemesis, self.kind, known_f(self.f.into()));
        let mut reader = Reader::new(self.rest.as_bytes());
        let value = reader.value();
        let said = self.rest.get(reader.offset() as usize..).unwrap_or_default().trim();
        match value {
            // In place of a result, or after it, stands why there is none.
            Ok(value) if matches!(self.kind, Kind::Info | Kind::Fail) => {
                let why = match value {
                    Some(Edn::Keyword(why) | Edn::Symbol(why) | Edn::String(why))
                        if said.is_empty() =>
                    {
                        why
                    }
                    _ => said.to_owned(),
                };
                op.error = (!why.is_empty()).then(|| why.into());
            }
            Ok(value) => op.value = Some(value.unwrap_or(Edn::Nil).into_json()),
            Err(_)
                if matches!(self.kind, Kind::Info | Kind::Fail) || self.name == Name::Nemesis =>
            {
                op.error = Some(self.rest.trim().into());
            }
            Err(HistoryError::Syntax { column, message, .. }) => {
                let column = (text.len() - self.rest.len()) as u64 + column;
                let error = HistoryError::Syntax { line, column, message };
                return Err(Wrong { error, is_cut: reader.is_cut() });
            }
            Err(error) => return Err(Wrong { error, is_cut: false }),
        }
        let (name, clock) = (self.name.clone(), Clock::None);
        Ok(Foreign { op, name, key: None, clock, index: None, line })
    }

    /// Without the value that every line has, or with half a one.
    fn may_be_half(&self) -> bool {
        self.rest.trim().is_empty() || self.kind == Kind::Invoke && self.ends_in_word()
    }

    /// Would more of its last word say something else?
    fn may_go_on(&self) -> bool {
        self.kind == Kind::Ok && reads(self.f) && self.ends_in_word()
    }

    fn ends_in_word(&self) -> bool {
        self.rest.ends_with(|c: char| c.is_alphanumeric())
    }
}

fn process_named(word: &str, is_apart: bool) -> Option<Name> {
    if let Ok(id) = word.parse() {
        return Some(Name::Number(id));
    }
    let is_keyword = word.starts_with(':') && !matches!(word, ":type" | ":process");
    // `java.lang.Exception: :ok ...` is what somebody says.
    let is_name = is_keyword || is_apart;
    if is_name && !word.ends_with(':') { Name::of_text(word) } else { None }
}

/// Words between blanks and tabs, with their places.
struct Words<'a>(&'a str, usize);

impl<'a> Iterator for Words<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<(usize, &'a str)> {
        let Self(text, from) = *self;
        let begin = from + text[from..].find(|c: char| !c.is_whitespace())?;
        let length = text[begin..].find(char::is_whitespace).unwrap_or(text.len() - begin);
        self.1 = begin + length;
        Some((begin, &text[begin..begin + length]))
    }
}
