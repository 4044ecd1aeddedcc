//! Ends this process when the one that started it is gone, however that ended.

use tokio::io::AsyncReadExt;

/// Asks the system to kill this process when its parent dies (on Linux; bound to the *thread* that
/// started it). Standard input catches the rest: see [`stdin_closed`].
pub(super) fn die_with_parent() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, getppid, set_parent_process_death_signal};
        let parent = getppid();
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != parent {
            return Err(std::io::Error::other("the parent process is gone already"));
        }
    }
    Ok(())
}

/// Returns when standard input is closed. A process that is stopped does not see that until it
/// goes on; the death signal reaches it.
pub(super) async fn stdin_closed() {
    let mut input = tokio::io::stdin();
    let mut buffer = [0; 256];
    while !matches!(input.read(&mut buffer).await, Ok(0) | Err(_)) {}
}
