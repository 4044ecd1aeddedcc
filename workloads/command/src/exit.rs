//! What a subcommand exits with.

/// What was asked for holds, or was done.
pub const VALID: u8 = 0;
/// The property does not hold.
pub const INVALID: u8 = 1;
/// It cannot be told, or it was not tried.
pub const UNKNOWN: u8 = 2;
/// Refused before anything was started: a bad flag, file, plan or trace.
pub const REFUSED: u8 = 254;
/// What was started did not work.
pub const BROKEN: u8 = 255;

/// The verdict that a status stands for, as JSON documents have it: of what did not work, nothing is known.
#[must_use]
pub fn verdict(status: u8) -> &'static str {
    match status {
        VALID => "valid",
        INVALID => "invalid",
        _ => "unknown",
    }
}
