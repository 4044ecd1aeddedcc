//! The agent itself: one process a host, that outlives its channels and not its lease.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use super::host::{Host, absolute};
use super::leftovers;
use super::proto::{self, Answer, Call, Hello, NodeLife, Reply, Request};
use super::relay::{FOLDER, socket};

/// A driver has one request under way; a second connection may come before the first is seen to end.
const CALLS: usize = 16;
/// What an agent ends with when another one, built from something else, has the host.
pub(super) const TAKEN: &str =
    "another agent has this host until its driver lets go or its lease ends";
/// What the agent logs when nobody says.
const USUAL_LOG: (&str, LevelFilter) = ("dyno", LevelFilter::INFO);
/// Nobody has said hello for so long: nobody will.
const FIRST: Duration = Duration::from_secs(20);
/// How long the last reply may take to be written.
const GOODBYE: Duration = Duration::from_secs(2);
/// No lease is longer: a driver that cannot speak for so long has lost its hosts.
const LONGEST: Duration = Duration::from_secs(600);

/// Serves until its driver says goodbye, or nothing for as long as the lease.
///
/// # Errors
/// If the host has another agent, or the folder cannot be used. One line, for the log.
pub(super) fn run() -> io::Result<()> {
    // Not to end with the SSH session, nor with the terminal of whoever tries this by hand.
    if rustix::process::getpid() != rustix::process::getsid(None)? {
        rustix::process::setsid()?;
    }
    let logging = start_log();
    // One thread, and so few surprises; what takes time here is awaited.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(Path::new(FOLDER), logging))
}

async fn serve(folder: &Path, logging: Logging) -> io::Result<()> {
    let _lock = lock(folder)?;
    let folder = absolute(folder)?;
    let socket = socket(Path::new(FOLDER))?;
    let leftovers = leftovers::clear(&folder).await;
    let listener = UnixListener::bind(&socket)?;
    let (calls, called) = mpsc::channel(CALLS);
    let lease = Arc::new(Mutex::new(Lease { length: FIRST, ends: Instant::now() + FIRST }));
    // Before anybody is heard: who has been answered may end the agent at once.
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(accept(listener, calls, lease.clone()));
    let mut agent = Agent { folder, lease, leftovers, host: None, last: None, serving: 0, logging };
    let why = agent.serve(called, &mut terminate).await;
    tracing::info!(why, "the agent ends");
    // First of all, so that no new driver speaks to an agent that is about to end.
    let removed = std::fs::remove_file(&socket);
    if let Some(host) = &mut agent.host {
        host.release().await.map_err(io::Error::other)?;
    }
    removed
}

/// How much is logged: the driver says it with its hello.
type Logging = reload::Handle<Targets, Registry>;

/// Logs to standard error, which is the agent's log.
fn start_log() -> Logging {
    let (filter, logging) = reload::Layer::new(Targets::from_iter([USUAL_LOG]));
    let written = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    // The first in its process: nobody can have one.
    let _ = tracing_subscriber::registry().with(filter).with(written).try_init();
    logging
}

/// One agent a host and user, whatever it was built from. Held until the process ends.
fn lock(folder: &Path) -> io::Result<File> {
    let path = folder.join("agent.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| io::Error::other(TAKEN))?;
    Ok(file)
}

/// For how long the agent goes on without a word.
struct Lease {
    length: Duration,
    ends: Instant,
}

type SharedLease = Arc<Mutex<Lease>>;

fn renew(lease: &SharedLease) {
    let mut lease = lease.lock().expect("no one panics with the lock held");
    lease.ends = Instant::now() + lease.length;
}

fn ends(lease: &SharedLease) -> Instant {
    lease.lock().expect("no one panics with the lock held").ends
}

/// A call that came in by one connection.
struct Called {
    connection: u64,
    call: Call,
    reply: oneshot::Sender<Reply>,
    /// Closed when the reply has been written.
    written: oneshot::Receiver<()>,
}

async fn accept(listener: UnixListener, calls: mpsc::Sender<Called>, lease: SharedLease) {
    let mut connection = 0;
    while let Ok((stream, _)) = listener.accept().await {
        connection += 1;
        tokio::spawn(converse(stream, connection, calls.clone(), lease.clone()));
    }
}

/// Passes the calls of one connection on, one at a time.
async fn converse(
    stream: UnixStream,
    connection: u64,
    calls: mpsc::Sender<Called>,
    lease: SharedLease,
) {
    let (mut from, mut to) = stream.into_split();
    let mut welcome = false;
    while let Some(call) = next(&mut from).await {
        // Before it is done: a request that takes long must not end the lease it renews. A stranger's
        // hello renews nothing.
        if welcome {
            renew(&lease);
        }
        let (reply, replied) = oneshot::channel();
        let (_writing, written) = oneshot::channel();
        if calls.send(Called { connection, call, reply, written }).await.is_err() {
            return;
        }
        let Ok(reply) = replied.await else { return };
        welcome |= matches!(reply.answer, Ok(Answer::Welcome(_)));
        if welcome {
            renew(&lease);
        }
        if proto::send(&mut to, &reply).await.is_err() {
            return;
        }
    }
}

async fn next(from: &mut OwnedReadHalf) -> Option<Call> {
    // The end of a connection is not the end of the run: its driver may come back.
    proto::receive(from).await.ok()
}

struct Agent {
    folder: PathBuf,
    lease: SharedLease,
    leftovers: Vec<String>,
    host: Option<Host>,
    /// What came of the last call: it may be asked again after a reconnect.
    last: Option<Reply>,
    /// The connection that said hello last. Only that one is obeyed.
    serving: u64,
    logging: Logging,
}

impl Agent {
    /// Does what it is told until it is to end; says why.
    async fn serve(
        &mut self,
        mut called: mpsc::Receiver<Called>,
        terminate: &mut Signal,
    ) -> &'static str {
        loop {
            let lease_ends = sleep_until(ends(&self.lease));
            tokio::select! {
                // In this order: a call that has come in time renews the lease.
                biased;
                Some(called) = called.recv() => {
                    let bye = matches!(called.call.request, Request::Bye);
                    let connection = called.connection;
                    let reply = self.obey(connection, called.call).await;
                    if connection == self.serving {
                        // Its driver could not say a word while it waited: what took longer than
                        // the lease must not end it.
                        renew(&self.lease);
                    }
                    let end = bye && reply.answer.is_ok();
                    // A driver that has gone meanwhile may ask again.
                    let _ = called.reply.send(reply);
                    if end {
                        // Who said goodbye hears it answered; one that is gone cannot.
                        let _ = timeout(GOODBYE, called.written).await;
                        return "its driver is done";
                    }
                }
                _ = terminate.recv() => return "terminated",
                () = lease_ends => if ends(&self.lease) <= Instant::now() {
                    return "its lease is over: no word from its driver";
                },
            }
        }
    }

    async fn obey(&mut self, connection: u64, call: Call) -> Reply {
        let id = call.id;
        if let Request::Hello(hello) = call.request {
            let answer = self.hello(connection, hello).await;
            return Reply { id, life: self.life(), answer };
        }
        if let Some(last) = self.last.as_ref().filter(|last| last.id == id) {
            return Reply { life: self.life(), ..last.clone() };
        }
        tracing::trace!(id, request = ?call.request, "asked");
        let answer = match (&mut self.host, call.request) {
            _ if connection != self.serving => Err("say hello first".to_owned()),
            (None, _) => Err("say hello first".to_owned()),
            (Some(host), Request::Bye) => host.release().await.map(|()| Answer::Done),
            (Some(host), request) => host.handle(request).await,
        };
        if let Err(reason) = &answer {
            tracing::warn!(id, reason, "not done");
        }
        let reply = Reply { id, life: self.life(), answer };
        // Logs are long and harmless to read again.
        self.last = match reply.answer {
            Ok(Answer::Log(_)) => None,
            _ => Some(reply.clone()),
        };
        reply
    }

    async fn hello(&mut self, connection: u64, hello: Hello) -> Result<Answer, String> {
        match &self.host {
            Some(host) if host.is_of(hello.run) => {}
            Some(_) => {
                let left = ends(&self.lease).saturating_duration_since(Instant::now());
                return Ok(Answer::Busy(left));
            }
            None if hello.resume => {
                return Err("its agent is another one: the first was killed, or its lease ended \
                            while nobody could speak to it; its node and faults went with it"
                    .to_owned());
            }
            None => self.host = Some(Host::take(&hello, &self.folder).await?),
        }
        if let Some(level) = &hello.log
            && let Ok(filter) = level.parse::<Targets>()
        {
            // The log goes on as it was if it cannot be changed.
            let _ = self.logging.reload(filter);
        }
        tracing::info!(?hello, "its driver");
        self.serving = connection;
        let length = hello.lease.min(LONGEST);
        *self.lease.lock().expect("no one panics with the lock held") =
            Lease { length, ends: Instant::now() + length };
        let host = self.host.as_ref().expect("taken above");
        host.welcome(std::mem::take(&mut self.leftovers))
    }

    fn life(&self) -> NodeLife {
        self.host.as_ref().map_or(NodeLife::Gone, Host::life)
    }
}
