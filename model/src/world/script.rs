//! Scripted clients: `pgp,pgp` is two clients that put, get and put; `d` deletes, and `o` overwrites what its
//! client has just put.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use dynamo_protocol::RequestId;
use thiserror::Error;

/// Most puts and deletes of one script: versions are bits of a [`Versions`].
pub const MAX_PUTS: usize = 8;
/// Most clients of one script.
pub const MAX_CLIENTS: usize = 4;

/// A set of versions, by the numbers of the puts that write them.
pub type Versions = u8;

/// One step of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Writes a value of its own, with the context of the client's last get.
    Put,
    /// The same with the context of the put before it, if that had one.
    Overwrite,
    /// Reads.
    Get,
    /// Writes a tombstone, with the context of the client's last get.
    Delete,
}

/// What each client does, in order, each step after the one before has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Script {
    clients: Vec<Vec<Op>>,
    /// For each client and step, the number of the put it is.
    numbers: Vec<Vec<Option<u8>>>,
}

/// Text that is no script.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// A letter that is no operation.
    #[error(
        "{letter:?} in script {script:?}: use p (put), o (overwrite what was just put), g (get), d (delete), \
         and a comma between clients"
    )]
    Letter {
        /// The letter.
        letter: char,
        /// The script.
        script: String,
    },
    /// A client without operations.
    #[error("script {0:?} has a client that does nothing: give each at least one of p, o, g, d")]
    Empty(String),
    /// Too long.
    #[error("script {script:?} has {count} {what}; the model carries at most {most}")]
    TooLong {
        /// The script.
        script: String,
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        most: usize,
    },
}

impl Script {
    /// The clients' steps.
    #[must_use]
    pub fn clients(&self) -> &[Vec<Op>] {
        &self.clients
    }

    /// How many puts and deletes there are.
    #[must_use]
    pub fn puts(&self) -> usize {
        self.numbers.iter().flatten().flatten().count()
    }

    /// The number of the put that step `step` of client `client` is.
    #[must_use]
    pub fn put(&self, client: usize, step: usize) -> Option<u8> {
        self.numbers.get(client)?.get(step).copied().flatten()
    }

    /// What put `number` writes; `None` is a tombstone.
    #[must_use]
    pub fn value(&self, number: u8) -> Option<Bytes> {
        let deletes = self.deletes() >> number & 1 == 1;
        (!deletes).then(|| Bytes::copy_from_slice(&[b'a' + number]))
    }

    /// The put that wrote `value`.
    #[must_use]
    pub fn writer(&self, value: &Bytes) -> Option<u8> {
        match value[..] {
            [letter] if letter >= b'a' && usize::from(letter - b'a') < self.puts() => {
                Some(letter - b'a')
            }
            _ => None,
        }
    }

    /// The puts that are deletes.
    #[must_use]
    pub fn deletes(&self) -> Versions {
        let mut deletes = 0;
        for (client, steps) in self.clients.iter().enumerate() {
            for (step, op) in steps.iter().enumerate() {
                if let (Op::Delete, Some(number)) = (op, self.put(client, step)) {
                    deletes |= 1 << number;
                }
            }
        }
        deletes
    }

    /// Whether client `client` overwrites what its step `step` put.
    #[must_use]
    pub fn overwrites(&self, client: usize, step: usize) -> bool {
        self.clients[client].get(step + 1) == Some(&Op::Overwrite)
    }

    /// The puts of one client.
    #[must_use]
    pub fn puts_of(&self, client: usize) -> Versions {
        self.numbers[client].iter().flatten().fold(0, |puts, number| puts | 1 << number)
    }

    /// Whether client `client` still has an `op` at or after `step`.
    #[must_use]
    pub fn has_from(&self, client: usize, step: usize, wanted: impl Fn(Op) -> bool) -> bool {
        self.clients[client].iter().skip(step).any(|op| wanted(*op))
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let clients: Vec<Vec<Op>> =
            text.split(',').map(|part| steps(part, text)).collect::<Result<_, _>>()?;
        if clients.iter().any(Vec::is_empty) {
            return Err(ScriptError::Empty(text.to_owned()));
        }
        let mut next = 0_u8;
        let mut number = |op: &Op| {
            (*op != Op::Get).then(|| {
                next = next.saturating_add(1);
                next - 1
            })
        };
        let numbers: Vec<Vec<_>> =
            clients.iter().map(|steps| steps.iter().map(&mut number).collect()).collect();
        let script = Self { clients, numbers };
        for (what, count, most) in [
            ("clients", script.clients.len(), MAX_CLIENTS),
            ("puts and deletes", script.puts(), MAX_PUTS),
        ] {
            if count > most {
                return Err(ScriptError::TooLong { script: text.to_owned(), what, count, most });
            }
        }
        Ok(script)
    }
}

fn steps(part: &str, script: &str) -> Result<Vec<Op>, ScriptError> {
    let op = |letter| match letter {
        'p' => Ok(Op::Put),
        'o' => Ok(Op::Overwrite),
        'g' => Ok(Op::Get),
        'd' => Ok(Op::Delete),
        _ => Err(ScriptError::Letter { letter, script: script.to_owned() }),
    };
    part.trim().chars().map(op).collect()
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, steps) in self.clients.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            for op in steps {
                f.write_str(match op {
                    Op::Put => "p",
                    Op::Overwrite => "o",
                    Op::Get => "g",
                    Op::Delete => "d",
                })?;
            }
        }
        Ok(())
    }
}

/// Requests are numbered from here, so that no other number in a state looks like one.
pub(crate) const REQUESTS: u64 = 0x5e11_0000;

/// The request that step `step` of client `client` makes.
pub(crate) fn request(client: u8, step: u8) -> RequestId {
    RequestId(REQUESTS | u64::from(client) << 8 | u64::from(step))
}

/// The client and step that made a request.
pub(crate) fn requested(request: RequestId) -> (usize, u8) {
    let [step, client, ..] = request.0.to_le_bytes();
    (usize::from(client), step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_back_as_it_was_written() {
        let script: Script = "pgd,p".parse().unwrap();
        assert_eq!(script.to_string(), "pgd,p");
        assert_eq!(script.puts(), 3);
        assert_eq!(
            [script.put(0, 0), script.put(0, 1), script.put(0, 2)],
            [Some(0), None, Some(1)]
        );
        assert_eq!(script.puts_of(1), 0b100);
        assert_eq!(script.deletes(), 0b010);
        assert_eq!(script.value(1), None);
        assert_eq!(script.writer(&script.value(2).unwrap()), Some(2));
    }

    #[test]
    fn what_is_no_script_is_refused_by_name() {
        let refusal = |text: &str| text.parse::<Script>().unwrap_err().to_string();
        assert!(refusal("px").contains("'x'"));
        assert!(refusal("p,,g").contains("does nothing"));
        assert!(refusal("p,p,p,p,p").contains("5 clients"));
        assert!(refusal("ppppppppp").contains("9 puts"));
    }
}
