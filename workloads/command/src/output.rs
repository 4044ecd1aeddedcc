//! What is said to people and to programs. Unlike `println!`, none of this ends the process when nobody
//! reads or a disk is full.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::{BROKEN, INVALID};
use crate::one_line;

/// Something that should have been said could not be.
static LOST: AtomicBool = AtomicBool::new(false);
/// Whoever read standard output has stopped.
static LEFT: AtomicBool = AtomicBool::new(false);

/// Whether it is worth saying more on standard output.
#[must_use]
pub fn is_heard() -> bool {
    !LEFT.load(Ordering::Relaxed) && !LOST.load(Ordering::Relaxed)
}

/// A line on standard output. Whoever reads no further, as `head` does, is told no more; any other error
/// is told on standard error, and shows in the [`status`].
pub fn say(line: impl Display) {
    write(|output| writeln!(output, "{line}"));
}

/// Text on standard output, whose lines end by themselves; otherwise as [`say`].
pub fn text(text: impl Display) {
    write(|output| write!(output, "{text}"));
}

fn write(write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) {
    let mut output = io::stdout().lock();
    let written = write(&mut output).and_then(|()| output.flush());
    if let Err(error) = written {
        failed(&error);
    }
}

/// Takes note that standard output could not be written.
pub fn failed(error: &io::Error) {
    if error.kind() == ErrorKind::BrokenPipe {
        LEFT.store(true, Ordering::Relaxed);
    } else if !LOST.swap(true, Ordering::Relaxed) {
        refuse(format_args!("standard output: {error}"));
    }
}

/// A line on standard error. If nobody can read it there is nobody to tell.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Why something was refused or did not work: one line on standard error.
pub fn refuse(why: impl Display) {
    note(format_args!("error: {}", one_line(&why)));
}

/// What to exit with: `status`, unless what it stands for could not be said. What was refuted stays so.
#[must_use]
pub fn status(status: u8) -> u8 {
    let lost = LOST.load(Ordering::Relaxed);
    if lost && status != INVALID { BROKEN } else { status }
}
