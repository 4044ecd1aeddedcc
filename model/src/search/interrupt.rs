//! Being asked to end, by SIGINT or SIGTERM. The first time the work ends as if its budget were used up: it
//! keeps what it has found and says how far it came; the second time the process ends at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use dyno_command::exit::BROKEN;
use dyno_command::output;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Whether this process was asked to end since it began to listen.
#[must_use]
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Listens to signals from when it returns for as long as the process lives. Doing so twice is doing so
/// once. `what` is kept, as whoever asks is told: "what was searched".
///
/// # Errors
/// If the system does not let us.
pub fn listen(what: &'static str) -> anyhow::Result<()> {
    static LISTENS: OnceLock<()> = OnceLock::new();
    if LISTENS.get().is_some() {
        return Ok(());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _inside = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate()].map(signal)
    };
    let [interrupt, terminate] = signals;
    let signals = [interrupt?, terminate?];
    if LISTENS.set(()).is_ok() {
        let thread = std::thread::Builder::new().name("interrupt".to_owned());
        thread
            .spawn(move || wait(&runtime, signals, what))
            .context("no thread to listen for signals")?;
    }
    Ok(())
}

fn wait(runtime: &Runtime, mut signals: [Signal; 2], what: &str) {
    runtime.block_on(async {
        either(&mut signals).await;
        output::note(format_args!("asked to end: keeping {what}; once more to end at once"));
        ASKED.store(true, Ordering::Relaxed);
        either(&mut signals).await;
        output::refuse("interrupted twice");
        std::process::exit(BROKEN.into());
    });
}

async fn either([one, other]: &mut [Signal; 2]) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
