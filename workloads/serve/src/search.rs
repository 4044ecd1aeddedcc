//! A history as a table that is searched: read from a place in the file on, a page at a time, each within
//! bounds of memory, bytes and time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use checker::history::Lines;
use checker::history::op::{Kind, Op};

use crate::query::number;

/// As many lines are on a page.
pub(crate) const PAGE: usize = 200;
/// As long is searched for a page; what was found until then is shown, and where it goes on.
const PATIENCE: Duration = Duration::from_secs(1);
/// A line that is longer is none of ours.
const LONGEST_LINE: u64 = 64 << 20;

/// What is searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Search {
    /// Lines with this text, as they stand in the file.
    pub q: String,
    /// Lines on this key.
    pub key: String,
    /// Lines of this kind of operation.
    pub f: String,
    /// Lines of this process; `nemesis` is one.
    pub process: String,
    /// Lines of this type: `invoke`, `ok`, `fail`, `info`.
    pub kind: String,
    /// From this byte of the file on.
    pub at: u64,
}

/// A line that was found.
#[derive(Debug)]
pub(crate) struct Line {
    /// What it says.
    pub op: Op,
    /// Its value as it stands there, if it has one.
    pub value: Option<String>,
}

/// A page of lines.
#[derive(Debug)]
pub(crate) struct Found {
    /// The lines.
    pub lines: Vec<Line>,
    /// The byte where it goes on; none at the end.
    pub next: Option<u64>,
    /// How long the file is, in bytes.
    pub length: u64,
    /// Why it ended early: a line that is none.
    pub error: Option<String>,
}

impl Search {
    /// What an address asks for.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(crate) fn parse(address: &str) -> Result<Self, String> {
        let mut search = Self::default();
        for (name, value) in form_urlencoded::parse(address.as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "q" => search.q = value,
                "key" => search.key = value,
                "f" => search.f = value,
                "process" => search.process = value,
                "type" => search.kind = value,
                "at" if value.is_empty() => {}
                "at" => search.at = number(&name, &value)?,
                "as" => {}
                _ => {
                    let names = "q, key, f, process, type, at, as";
                    return Err(format!("there is no parameter {name}: they are {names}"));
                }
            }
        }
        let kinds = ["", "invoke", "ok", "fail", "info"];
        if !kinds.contains(&&*search.kind) {
            return Err(format!("type={}: it is one of invoke, ok, fail, info", search.kind));
        }
        Ok(search)
    }

    /// The address that asks for this, as `?` and what follows it.
    pub(crate) fn address(&self) -> String {
        let mut text = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
        let at = if self.at == 0 { String::new() } else { self.at.to_string() };
        for (name, value) in [
            ("q", &self.q),
            ("key", &self.key),
            ("f", &self.f),
            ("process", &self.process),
            ("type", &self.kind),
            ("at", &at),
        ] {
            if !value.is_empty() {
                text.append_pair(name, value);
            }
        }
        text.finish()
    }

    fn is_asked(&self, op: &Op) -> bool {
        let kind = match op.kind {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Info => "info",
        };
        (self.key.is_empty() || op.key.as_deref() == Some(&self.key))
            && (self.f.is_empty() || op.f == self.f)
            && (self.kind.is_empty() || self.kind == kind)
            && (self.process.is_empty() || op.process.to_string() == self.process)
    }

    /// A page of what is asked for.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn page(&self, file: File) -> io::Result<Found> {
        let length = file.metadata()?.len();
        let mut reader = Scan::new(file, self.at)?;
        let mut found = Found { lines: Vec::new(), next: None, length, error: None };
        let begun = Instant::now();
        let mut looked = 0_u64;
        while let Some(line) = reader.line()? {
            match self.parsed(line) {
                Ok(None) => {}
                Ok(Some(line)) => found.lines.push(line),
                Err(error) => {
                    found.error = Some(format!("byte {}: {error}", reader.begun));
                    break;
                }
            }
            looked += 1;
            let is_late = looked.is_multiple_of(1024) && begun.elapsed() > PATIENCE;
            if found.lines.len() == PAGE || is_late {
                found.next = (reader.at < length).then_some(reader.at);
                break;
            }
        }
        Ok(found)
    }

    fn parsed(&self, line: &[u8]) -> Result<Option<Line>, String> {
        if line.trim_ascii().is_empty() || !has(line, self.q.as_bytes()) {
            return Ok(None);
        }
        let op = Lines::new(line).next_op().map_err(|error| error.to_string())?;
        // A last line that was cut short is none.
        let Some(op) = op.filter(|op| self.is_asked(op)) else { return Ok(None) };
        let value = op.value.as_ref().map(ToString::to_string);
        Ok(Some(Line { op, value }))
    }

    /// Every line that is asked for, to the end of the file, given on as it stands there until `give` wants
    /// no more.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn each(&self, file: File, give: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
        let mut reader = Scan::new(file, self.at)?;
        while let Some(line) = reader.line()? {
            if matches!(self.parsed(line), Ok(Some(_))) && !give(line) {
                break;
            }
        }
        Ok(())
    }
}

/// Does a line hold a text?
fn has(line: &[u8], text: &[u8]) -> bool {
    text.is_empty() || line.windows(text.len()).any(|part| part == text)
}

/// Lines from a place in a file on.
struct Scan {
    reader: BufReader<File>,
    buffer: Vec<u8>,
    /// Where the last line began, and where the next one does.
    begun: u64,
    at: u64,
}

impl Scan {
    /// From the first line that begins at `at` or after it.
    fn new(mut file: File, at: u64) -> io::Result<Self> {
        let before = at.saturating_sub(1);
        file.seek(SeekFrom::Start(before))?;
        let mut scan = Self {
            reader: BufReader::with_capacity(1 << 18, file),
            buffer: Vec::new(),
            begun: before,
            at: before,
        };
        if at > 0 {
            scan.line()?;
        }
        Ok(scan)
    }

    fn line(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer.clear();
        let mut limited = self.reader.by_ref().take(LONGEST_LINE);
        let bytes = limited.read_until(b'\n', &mut self.buffer)? as u64;
        self.begun = self.at;
        self.at += bytes;
        if bytes == LONGEST_LINE {
            return Err(io::Error::other("a line that is too long is no operation"));
        }
        Ok((bytes > 0).then_some(&self.buffer))
    }
}

#[cfg(test)]
mod tests {
    use rand::prelude::*;
    use serde_json::json;

    use super::*;

    fn history(lines: usize) -> (tempfile::NamedTempFile, Vec<String>) {
        let mut rng = StdRng::seed_from_u64(5);
        let line = |index: usize| {
            let process = rng.random_range(0..4);
            let key = format!("k{}", rng.random_range(0..3));
            let kind = ["invoke", "ok", "fail", "info"][rng.random_range(0..4)];
            let value = "\u{e9}".repeat(rng.random_range(0..90));
            let f = ["get", "put"][rng.random_range(0..2)];
            json!({
                "index": index, "time": index, "process": process, "type": kind, "f": f, "key": key,
                "value": value,
            })
            .to_string()
        };
        let lines: Vec<String> = (0..lines).map(line).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.join("\n") + "\n").unwrap();
        (file, lines)
    }

    /// All pages, one after the other.
    fn all(search: &Search, file: &tempfile::NamedTempFile) -> Vec<u64> {
        let (mut search, mut seen) = (search.clone(), Vec::new());
        loop {
            let found = search.page(file.reopen().unwrap()).unwrap();
            assert!(found.lines.len() <= PAGE && found.error.is_none());
            seen.extend(found.lines.iter().map(|line| line.op.index));
            let Some(next) = found.next else { return seen };
            assert!(next > search.at, "it goes on");
            search.at = next;
        }
    }

    #[test]
    fn page_after_page_every_line_is_found_once() {
        let (file, lines) = history(1500);
        assert_eq!(all(&Search::default(), &file), (0..1500).collect::<Vec<_>>());
        for address in
            ["key=k1&f=put", "type=info&process=2", "q=%22k2%22", "q=nowhere", "process=nemesis"]
        {
            let search = Search::parse(address).unwrap();
            let holds = |line: &serde_json::Value| {
                let process = line["process"].to_string();
                let is = |field: &str, wanted: &str| wanted.is_empty() || line[field] == wanted;
                is("key", &search.key)
                    && is("f", &search.f)
                    && is("type", &search.kind)
                    && (search.process.is_empty() || process == search.process)
                    && line.to_string().contains(&search.q)
            };
            let wanted: Vec<u64> = lines
                .iter()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                .filter(holds)
                .map(|line| line["index"].as_u64().unwrap())
                .collect();
            assert_eq!(all(&search, &file), wanted, "{address}");
            let mut streamed = 0;
            search
                .each(file.reopen().unwrap(), &mut |_| {
                    streamed += 1;
                    true
                })
                .unwrap();
            assert_eq!(streamed, wanted.len(), "{address}");
        }
    }

    #[test]
    fn a_place_within_a_line_means_the_next_one() {
        let (file, lines) = history(5);
        let first = lines[0].len() as u64 + 1;
        let begins_with = |at: u64| {
            let search = Search { at, ..Search::default() };
            search.page(file.reopen().unwrap()).unwrap().lines.first().map(|line| line.op.index)
        };
        assert_eq!(
            [0, 1, first - 1, first, first + 1].map(begins_with),
            [Some(0), Some(1), Some(1), Some(1), Some(2)]
        );
        assert_eq!(begins_with(1 << 40), None, "past the end there is nothing");
    }

    #[test]
    fn what_is_no_history_is_told_with_its_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"index\":0}\nnonsense\n").unwrap();
        let found = Search::default().page(file.reopen().unwrap()).unwrap();
        assert!(found.error.unwrap().starts_with("byte 0: "));
        assert!(Search::parse("type=maybe").unwrap_err().contains("invoke, ok"));
        assert!(Search::parse("keyy=1").unwrap_err().contains("they are q"));
    }

    #[test]
    fn an_address_asks_for_what_it_was_made_of() {
        let text = |text: &str| text.to_owned();
        let search = Search {
            q: text("a&b=<c>"),
            key: text("\u{e9} 1"),
            f: text("put"),
            process: text("nemesis"),
            kind: text("ok"),
            at: 77,
        };
        assert_eq!(Search::parse(search.address().trim_start_matches('?')), Ok(search));
    }
}
