//! Where the store runs.

mod process;

pub(crate) use process::Process;

/// What the system says of a node's process: not what the node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs, under this process id.
    Runs(u32),
    /// It is there and stands still.
    Stopped(u32),
    /// There is no process.
    Gone,
}
