//! Lines from a child process, waited for no longer than one likes, without a thread.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Longer lines are nobody's: the longest there is names sixty hosts.
const LONGEST: usize = 64 << 10;

/// Reads lines from a pipe.
pub(super) struct Lines<R> {
    pipe: R,
    buffer: Vec<u8>,
}

impl<R: Read + AsFd> Lines<R> {
    pub(super) fn new(pipe: R) -> Self {
        Self { pipe, buffer: Vec::new() }
    }

    /// The next line without its end, or why there is none.
    pub(super) fn next(&mut self, patience: Duration) -> Result<String, String> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.buffer.len() > LONGEST {
                return Err("no line, but endless bytes".to_owned());
            }
            self.fill(deadline, patience)?;
        }
    }

    fn fill(&mut self, deadline: Instant, patience: Duration) -> Result<(), String> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|error| error.to_string())?;
        let ready = poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&left));
        if ready.map_err(|error| error.to_string())? == 0 {
            return Err(format!("nothing heard for {} s", patience.as_secs_f64()));
        }
        let mut chunk = [0; 4096];
        match self.pipe.read(&mut chunk).map_err(|error| error.to_string())? {
            0 => Err("it died".to_owned()),
            count => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_come_whole_and_an_end_is_told_from_silence() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut lines = Lines::new(reader);
        writer.write_all(b"one\ntwo\nhalf").unwrap();
        let soon = Duration::from_secs(5);
        assert_eq!(lines.next(soon).unwrap(), "one");
        assert_eq!(lines.next(soon).unwrap(), "two");
        assert!(lines.next(Duration::from_millis(10)).unwrap_err().contains("nothing heard"));
        drop(writer);
        assert!(lines.next(soon).unwrap_err().contains("died"));
    }
}
