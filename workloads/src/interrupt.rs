//! Being asked to end, by SIGINT or SIGTERM. The first time a run stops its work, heals, and judges what
//! there is; the second time it ends at once.

use dyno_command::output;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::run::verdict::BROKEN;

/// Tells whether the run was asked to end.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Nobody asks.
    #[must_use]
    pub fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// Listens to signals, on the runtime this is called on, for as long as the process lives. Whoever asks
    /// is told `what` comes of it.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn listen(what: &'static str) -> std::io::Result<Self> {
        let (ask, asked) = watch::channel(false);
        let mut signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        tokio::spawn(async move {
            either(&mut signals).await;
            output::note(what);
            ask.send_replace(true);
            either(&mut signals).await;
            output::refuse("interrupted twice");
            // The nodes die with this process, as after a kill.
            std::process::exit(BROKEN.into());
        });
        Ok(Self(asked))
    }

    /// Whether somebody has asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when somebody has asked; never, if nobody can.
    pub async fn asked(&self) {
        let mut asked = self.0.clone();
        if asked.wait_for(|asked| *asked).await.is_err() {
            std::future::pending().await
        }
    }
}

async fn either([one, other]: &mut [Signal; 2]) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_asks_where_nobody_can() {
        let interrupt = Interrupt::never();
        let soon = std::time::Duration::from_millis(5);
        assert!(tokio::time::timeout(soon, interrupt.asked()).await.is_err());
    }
}
