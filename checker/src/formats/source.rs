//! Where a history is read from: a file, a pipe, standard input, the folder of a run; plain or
//! packed by gzip.
//!
//! It is opened once. What can be read from any place is, as often as is asked; of a pipe, and of
//! what gzip has packed, the text of others is read as it comes, while our own forms, which are read
//! more than once when they are large, go to a file without a name first.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use flate2::read::MultiGzDecoder;

use super::{Format, HEAD, Loaded, Options, ReadError, UTF_8_MARK, detect, load};
use crate::history::{History, HistoryError};
use crate::judge::budget::Meter;

/// The histories that a folder may hold, the first of them first.
const IN_FOLDERS: [&str; 7] = [
    "history.jsonl",
    "history.compact",
    "history.jsonl.gz",
    "history.edn",
    "history.edn.gz",
    "history.json",
    "history.txt",
];

/// A history to be read.
pub struct Source {
    /// What it is called, for messages.
    path: PathBuf,
    format: Option<Format>,
    input: Input,
    /// What was packed ended before its end.
    cut: Arc<AtomicBool>,
    is_packed: bool,
}

enum Input {
    /// Read from any place, as often as is asked.
    File(Arc<File>),
    /// Read once.
    Stream(Mutex<Option<Box<dyn Read + Send>>>),
}

impl Source {
    /// Opens a file, a pipe, or `-` for standard input; of a folder the history in it. The meter
    /// bounds how long that may take.
    pub fn open(path: &Path, options: &Options, meter: &mut Meter) -> Result<Self, ReadError> {
        let failed = |source| HistoryError::File { path: path.to_owned(), source };
        Self::try_open(path, options, meter).map_err(|error| match error {
            ReadError::History(HistoryError::Io(source)) => failed(source).into(),
            other => other,
        })
    }

    fn try_open(path: &Path, options: &Options, meter: &mut Meter) -> Result<Self, ReadError> {
        let (path, mut file) = open(path).map_err(HistoryError::Io)?;
        let cut = Arc::new(AtomicBool::new(false));
        // What stands in the middle of a file is read on from there, as a pipe is.
        let metadata = file.metadata().map_err(HistoryError::Io)?;
        let is_file =
            metadata.is_file() && io::Seek::stream_position(&mut file).is_ok_and(|at| at == 0);
        let mut head = Vec::new();
        let input = if is_file {
            let file = Arc::new(file);
            At { file: Arc::clone(&file), at: 0 }
                .take(HEAD)
                .read_to_end(&mut head)
                .map_err(HistoryError::Io)?;
            Input::File(file)
        } else {
            Read::by_ref(&mut file).take(HEAD).read_to_end(&mut head).map_err(HistoryError::Io)?;
            stream(io::Cursor::new(head.clone()).chain(file))
        };
        if let Some(how) = packed_otherwise(&head) {
            return Err(ReadError::Packed(how));
        }
        let mut source =
            Self { path, format: options.format, input, cut, is_packed: head.starts_with(GZIP) };
        if source.is_packed {
            let mut unpacked = Unpacked {
                gzip: MultiGzDecoder::new(source.reader()?),
                cut: Arc::clone(&source.cut),
            };
            head.clear();
            unpacked.by_ref().take(HEAD).read_to_end(&mut head).map_err(HistoryError::Io)?;
            source.input = stream(io::Cursor::new(head.clone()).chain(unpacked));
        }
        source.format = source.format.or_else(|| detect(&head));
        if matches!(source.format, Some(Format::Jsonl | Format::Compact)) && !source.is_file() {
            source.input = Input::File(Arc::new(spool(source.reader()?, meter)?));
        }
        Ok(source)
    }

    /// What it is called.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its form; none where it is not known.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    fn is_file(&self) -> bool {
        matches!(self.input, Input::File(_))
    }

    /// Reads it from the beginning. A stream can be asked for once.
    pub fn reader(&self) -> Result<Box<dyn Read + Send>, HistoryError> {
        match &self.input {
            Input::File(file) => {
                let mut start = [0; UTF_8_MARK.len()];
                let is_marked = file.read_exact_at(&mut start, 0).is_ok() && start == UTF_8_MARK;
                let at = if is_marked { UTF_8_MARK.len() as u64 } else { 0 };
                Ok(Box::new(At { file: Arc::clone(file), at }))
            }
            Input::Stream(stream) => {
                let stream = stream.lock().ok().and_then(|mut stream| stream.take());
                stream.ok_or_else(|| io::Error::other("a pipe can be read once only").into())
            }
        }
    }

    /// Reads the history.
    pub fn load(&self, options: &Options, meter: &mut Meter) -> Result<Loaded, ReadError> {
        let options = Options { format: self.format, ..options.clone() };
        let mut loaded = load(self.reader()?, &options, meter).map_err(|error| match error {
            ReadError::History(HistoryError::Io(source)) => {
                HistoryError::File { path: self.path.clone(), source }.into()
            }
            other => other,
        })?;
        loaded.notes.extend(self.ends(&loaded.history));
        Ok(loaded)
    }

    /// A note of how it ends, if that is not well.
    fn ends(&self, history: &History) -> Option<String> {
        let cut = self.note_of_cut();
        let torn = history.torn();
        cut.or_else(|| torn.map(|torn| format!("line {} is cut short and was left out", torn.line)))
    }

    /// A note of what gzip has packed, if that is cut short.
    pub fn note_of_cut(&self) -> Option<String> {
        let cut = self.cut.load(Ordering::Relaxed);
        cut.then(|| {
            "what gzip has packed is cut short: what comes before the cut was read".to_owned()
        })
    }
}

/// Opens what is at a path, and says what it is called.
fn open(path: &Path) -> io::Result<(PathBuf, File)> {
    if path == Path::new("-") {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        return Ok((PathBuf::from("standard input"), File::from(input)));
    }
    if !path.is_dir() {
        return Ok((path.to_owned(), File::open(path)?));
    }
    let found = IN_FOLDERS.iter().map(|name| path.join(name)).find(|file| file.is_file());
    let Some(file) = found else {
        let names = IN_FOLDERS.join(", ");
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("no history in this folder: it would be one of {names}"),
        ));
    };
    let opened = File::open(&file)?;
    Ok((file, opened))
}

fn stream(reader: impl Read + Send + 'static) -> Input {
    Input::Stream(Mutex::new(Some(Box::new(reader))))
}

/// Writes a stream to a file without a name, so that it can be read as often as is asked.
fn spool(mut reader: impl Read, meter: &mut Meter) -> Result<File, ReadError> {
    let mut file = tempfile::tempfile().map_err(HistoryError::Io)?;
    let mut chunk = vec![0; HEAD as usize];
    loop {
        let n = reader.read(&mut chunk).map_err(HistoryError::Io)?;
        if n == 0 {
            return Ok(file);
        }
        file.write_all(&chunk[..n]).map_err(HistoryError::Io)?;
        meter.look().map_err(|exhausted| ReadError::Budget { exhausted, ops: 0 })?;
    }
}

/// A file read from a place of its own.
struct At {
    file: Arc<File>,
    at: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// What every gzip file begins with.
const GZIP: &[u8] = b"\x1f\x8b";

/// What gzip has packed. Where that ends before its end the text does, and a flag says so.
struct Unpacked<R> {
    gzip: MultiGzDecoder<R>,
    cut: Arc<AtomicBool>,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.gzip.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.cut.store(true, Ordering::Relaxed);
                Ok(0)
            }
            other => other,
        }
    }
}

/// How to unpack what others than gzip have packed.
fn packed_otherwise(head: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 5] = [
        (b"\x28\xb5\x2f\xfd", "zstd -dc"),
        (b"\xfd7zXZ\0", "xz -dc"),
        (b"BZh", "bzip2 -dc"),
        (b"PK\x03\x04", "unzip -p"),
        (b"\xff\xfe", "iconv -f UTF-16 -t UTF-8"),
    ];
    known.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, how)| *how)
}
