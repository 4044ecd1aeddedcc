//! `dyno serve`: the runs of a folder in a browser, on this machine alone.
//!
//! [`index`] knows which runs there are and what each found; [`query`] says which of them an address asks
//! for; [`html`] draws them. What a run's history tells is read line by line ([`search`], [`tail`]) and never
//! kept whole, but for findings ([`findings`]), of which one history at a time is read. Nothing is ever
//! written, and [`root`] lets no path out of the folder. Knows nothing of Dynamo.

mod findings;
mod guard;
mod html;
mod index;
mod metrics;
mod near;
mod query;
mod root;
mod routes;
mod search;
mod tail;
mod trend;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use dyno_command::{document, exit, output};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::root::Root;
use crate::routes::Board;

/// The port where nobody says.
const PORT: u16 = 7373;

/// Arguments of `dyno serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The folder with the runs.
    #[arg(default_value = "results")]
    pub dir: PathBuf,
    /// The port on 127.0.0.1; 0 takes one that is free.
    #[arg(long, default_value_t = PORT)]
    pub port: u16,
    /// Print where it serves as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Serves until it is told to stop; the status to exit with.
#[must_use]
pub fn run(args: &ServeArgs) -> u8 {
    let root = match Root::of(&args.dir) {
        Ok(root) => root,
        Err(error) => {
            output::refuse(format_args!("{}: {error}", args.dir.display()));
            return exit::REFUSED;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::refuse(format_args!("cannot start the runtime: {error}"));
            return exit::BROKEN;
        }
    };
    let ended = runtime.block_on(serve(args, root));
    // A stream of a running test would go on for as long as somebody looks.
    runtime.shutdown_background();
    match ended {
        Ok(()) => exit::VALID,
        Err(error) => {
            output::refuse(error);
            exit::REFUSED
        }
    }
}

async fn serve(args: &ServeArgs, root: Root) -> Result<(), String> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let taken = |error| format!("{wanted}: {error}; --port 0 takes a port that is free");
    let listener = TcpListener::bind(wanted).await.map_err(taken)?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let no_signals = |error| format!("no signals: {error}");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let board = Arc::new(Board::new(root));
    let first = board.clone();
    // The first look at many runs takes a while: who asks at once waits for it, and no longer.
    tokio::task::spawn_blocking(move || first.index.runs());
    let url = format!("http://{address}/");
    if args.json {
        output::say(document(
            "serve",
            None,
            json!({ "ready": { "url": url, "pid": std::process::id() } }),
        ));
    } else {
        output::say(format_args!("{} at {url}", args.dir.display()));
    }
    let stopped = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    // Connections that are open when it is told to stop are dropped: nothing is lost with them.
    tokio::select! {
        served = axum::serve(listener, routes::router(board, address.port())) => {
            served.map_err(|error| error.to_string())
        }
        () = stopped => Ok(()),
    }
}
