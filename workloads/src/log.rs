//! The driver's own log: on standard error, and in the folder of the run.
//!
//! `--log LEVEL`, or `DYNO_LOG`, says how much: a level, or as many `target=level` as one likes. Nodes and
//! agents are told the same. Secrets are of a type that no log shows: [`crate::hosts::remote::Secret`].

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// What standard error shows when nobody says: what a person should know of.
const USUAL: &str = "dyno=warn";
/// What the run's folder keeps when nobody says.
const USUAL_FILE: &str = "dyno=info";

/// How much was asked for, if anybody asked.
static ASKED: OnceLock<String> = OnceLock::new();
/// The log of the run, as soon as there is one.
static FILE: Mutex<Option<File>> = Mutex::new(None);

/// Starts logging; `level` is the flag's, before the environment's.
///
/// # Errors
/// If the level cannot be understood.
pub(crate) fn start(level: Option<&str>) -> Result<(), ParseError> {
    let variable = std::env::var("DYNO_LOG").ok().filter(|level| !level.is_empty());
    let asked = level.map(str::to_owned).or(variable);
    let filter = |usual: &str| asked.as_deref().unwrap_or(usual).parse::<Targets>();
    let terminal = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_filter(filter(USUAL)?);
    let file = tracing_subscriber::fmt::layer()
        .with_writer(|| RunFile)
        .with_ansi(false)
        .with_filter(filter(USUAL_FILE)?);
    // A program that has a log already, as a test may, keeps it.
    let _ = tracing_subscriber::registry().with(terminal).with(file).try_init();
    if let Some(asked) = asked {
        // The first to ask is the one whose log it is.
        let _ = ASKED.set(asked);
    }
    Ok(())
}

/// How much was asked for, for the nodes and agents of the run.
pub(crate) fn asked() -> Option<&'static str> {
    ASKED.get().map(String::as_str)
}

/// From now on the log goes into this folder too.
///
/// # Errors
/// If the file cannot be made.
pub(crate) fn keep_in(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let file = File::options().create(true).append(true).open(folder.join("driver.log"))?;
    *FILE.lock().expect("no one panics with the lock held") = Some(file);
    Ok(())
}

/// Writes to the run's log, or nowhere while there is none.
struct RunFile;

impl Write for RunFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *FILE.lock().expect("no one panics with the lock held") {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
