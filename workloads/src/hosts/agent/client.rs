//! The driver's end: one thread a host, which owns that host's session and asks one thing at a time.
//!
//! A session that fails is thrown away and another is dialled; the request is sent again under its old
//! number, so that the agent does not do it twice. Only when the request's time is over is it an error.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::proto::{self, Answer, Call, Hello, NodeLife, Reply, Request, Welcome};
use super::server::TAKEN;
use crate::hosts::remote::{GREETING, Link, Remote, RemoteError};

/// How long a host may take over a request, past what the request itself says.
const ANSWERS: Duration = Duration::from_secs(10);
/// How long a host may take over each step of a dial, however little time is left: a busy one needs
/// more than a beat.
const DIAL: Duration = Duration::from_secs(2);
/// Between two attempts to reach a host that cannot be reached.
const RETRY: Duration = Duration::from_millis(100);
/// What a login shell may print before the agent speaks.
const NOISE: usize = 64 << 10;
/// How long probes that belong together may come one after the other.
const GATHER: Duration = Duration::from_millis(1);
/// How long it may take to empty a disk.
const WIPE: Duration = Duration::from_secs(20);
/// An agent may always take so long.
const SHORTEST: Duration = Duration::from_secs(1);
/// How much later than the driver an agent may count its lease from.
const LEEWAY: Duration = Duration::from_millis(500);
/// Beats in a lease: one may be lost, and one late.
const BEATS: u32 = 5;

/// What a driver asks of all its hosts.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What every agent is told first.
    pub hello: Hello,
    /// How long a host may take to be reached at first. One that another run has is waited for longer by
    /// a lease: if that run is dead, it is free then.
    pub patience: Duration,
    /// How many sessions are set up at a time, shared by all.
    pub gate: Arc<Gate>,
}

/// A bound on what is done at a time.
#[derive(Debug)]
pub struct Gate {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Gate {
    /// Lets so many pass at a time.
    #[must_use]
    pub fn new(width: usize) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(width.max(1)), freed: Condvar::new() })
    }

    fn pass<T>(&self, work: impl FnOnce() -> T) -> T {
        let free = self.free.lock().expect("no one panics with the lock held");
        let mut free = self.freed.wait_while(free, |free| *free == 0).expect("as above");
        *free -= 1;
        drop(free);
        let done = work();
        *self.free.lock().expect("no one panics with the lock held") += 1;
        self.freed.notify_one();
        done
    }
}

/// A host's agent, in the driver's hand. When the last handle is dropped, the agent is told goodbye.
#[derive(Clone, Debug)]
pub struct Handle {
    asked: Sender<Asked>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    life: Mutex<NodeLife>,
    /// Why the host has been out of reach, while it is.
    trouble: Mutex<Option<String>>,
    /// The host is lost for this run.
    lost: watch::Sender<bool>,
}

/// A request on its way to a host's thread.
#[derive(Debug)]
pub struct Asked {
    request: Request,
    patience: Duration,
    reply: oneshot::Sender<Result<Answer, RemoteError>>,
}

impl Handle {
    /// Dials a host and greets its agent, on a thread of its own.
    ///
    /// # Errors
    /// If the host cannot be reached or refuses.
    pub async fn connect(
        name: &str,
        remote: Box<dyn Remote>,
        terms: Terms,
    ) -> Result<(Self, Welcome), RemoteError> {
        // Bounded by who asks: each waits for its answer.
        let (asked, asks) = channel();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            life: Mutex::new(NodeLife::Gone),
            trouble: Mutex::default(),
            lost: watch::Sender::new(false),
        });
        let (greeted, greeting) = oneshot::channel();
        let worker = Worker {
            remote,
            terms,
            shared: shared.clone(),
            link: None,
            calls: 0,
            parted: false,
            takes: Duration::ZERO,
            busy: false,
            heard: Instant::now(),
            lost: None,
        };
        let failed = |error: &dyn std::fmt::Display| RemoteError::lasting(name, error);
        thread::Builder::new()
            .name(format!("agent {name}"))
            .spawn(move || worker.run(&asks, greeted))
            .map_err(|error| failed(&error))?;
        let welcome = greeting.await.map_err(|_| failed(&"its thread has ended"))??;
        Ok((Self { asked, shared }, welcome))
    }

    /// Asks the agent for something.
    ///
    /// # Errors
    /// If the host cannot be reached in time, or the agent says no.
    pub async fn ask(&self, request: Request) -> Result<Answer, RemoteError> {
        let patience = ANSWERS + inherent(&request);
        let (reply, replied) = oneshot::channel();
        let gone = || RemoteError::lasting(&self.shared.name, "its thread has ended");
        self.asked.send(Asked { request, patience, reply }).map_err(|_| gone())?;
        replied.await.map_err(|_| gone())?
    }

    /// The same, of which only the doing matters.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn tell(&self, request: Request) -> Result<(), RemoteError> {
        match self.ask(request).await? {
            Answer::Done => Ok(()),
            other => Err(self.strange(&other)),
        }
    }

    /// An answer to another question: the two ends are not of one mind.
    #[must_use]
    pub fn strange(&self, answer: &Answer) -> RemoteError {
        let kind = format!("{answer:?}");
        let kind = kind.split(['(', ' ']).next().unwrap_or_default();
        RemoteError::lasting(&self.shared.name, format!("an answer of another kind: {kind}"))
    }

    /// What the system there said last of the node's process.
    #[must_use]
    pub fn life(&self) -> NodeLife {
        *self.shared.life.lock().expect("no one panics with the lock held")
    }

    /// Why the host is out of reach now, if it is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().expect("no one panics with the lock held").clone()
    }

    /// Is the host lost for this run?
    #[must_use]
    pub fn is_lost(&self) -> bool {
        *self.shared.lost.borrow()
    }

    /// Returns when the host is lost for this run: [`Self::trouble`] says why.
    pub async fn lost(&self) {
        // The sender is ours too: it is not gone as long as anybody waits.
        let _ = self.shared.lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// The host's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }
}

/// How long a request takes by itself.
fn inherent(request: &Request) -> Duration {
    match request {
        Request::Start(spec) => spec.patience,
        Request::Wipe => WIPE,
        Request::Probe(probes) => {
            probes.iter().map(|probe| probe.patience).max().unwrap_or_default()
        }
        _ => Duration::ZERO,
    }
}

/// The probes that are asked for at the same time as `first`, and what is asked next.
fn gather(first: Asked, asks: &Receiver<Asked>) -> (Vec<Asked>, Option<Asked>) {
    let mut probes = vec![first];
    while let Ok(asked) = asks.recv_timeout(GATHER) {
        if !matches!(asked.request, Request::Probe(_)) {
            return (probes, Some(asked));
        }
        probes.push(asked);
    }
    (probes, None)
}

struct Worker {
    remote: Box<dyn Remote>,
    terms: Terms,
    shared: Arc<Shared>,
    link: Option<Box<dyn Link>>,
    calls: u64,
    /// The agent has been told goodbye.
    parted: bool,
    /// How long the request that is under way takes by itself.
    takes: Duration,
    /// Another run had the host when it was last greeted.
    busy: bool,
    /// When the agent last answered.
    heard: Instant,
    /// Why the host is lost for this run, if it is.
    lost: Option<RemoteError>,
}

impl Worker {
    fn run(
        mut self,
        asks: &Receiver<Asked>,
        greeted: oneshot::Sender<Result<Welcome, RemoteError>>,
    ) {
        let deadline = Instant::now() + self.terms.patience;
        let mut greeting = self.insist(deadline, Self::greet);
        if greeting.is_err() && self.busy {
            greeting = self.insist(deadline + self.terms.hello.lease, Self::greet);
        }
        let failed = greeting.is_err();
        // From now on an agent that does not know us is not ours.
        self.terms.hello.resume = true;
        if greeted.send(greeting).is_err() || failed {
            return self.part();
        }
        let beat = self.terms.hello.lease / BEATS;
        let mut next = None;
        loop {
            let asked = match next.take() {
                Some(asked) => Ok(asked),
                None => asks.recv_timeout(beat),
            };
            match asked {
                Ok(asked) if matches!(asked.request, Request::Probe(_)) => {
                    let probes;
                    (probes, next) = gather(asked, asks);
                    self.probe(probes);
                }
                Ok(asked) => {
                    let answer = self.serve(asked.request, asked.patience);
                    // Whoever asked may have given up.
                    let _ = asked.reply.send(answer);
                }
                Err(RecvTimeoutError::Timeout) if self.parted => {}
                Err(RecvTimeoutError::Timeout) => {
                    // The trouble is noted, and the next beat tries again.
                    let _ = self.serve(Request::Beat, beat);
                }
                Err(RecvTimeoutError::Disconnected) => return self.part(),
            }
        }
    }

    /// Probes take as long as links are cut, and there are many: all at a time.
    fn probe(&mut self, asked: Vec<Asked>) {
        let of = |asked: &Asked| match &asked.request {
            Request::Probe(probes) => probes.clone(),
            _ => Vec::new(),
        };
        let probes: Vec<_> = asked.iter().flat_map(of).collect();
        let patience = asked.iter().map(|asked| asked.patience).max().unwrap_or(ANSWERS);
        let mut answer = self.serve(Request::Probe(probes), patience);
        for asked in asked {
            let share = of(&asked).len();
            let mine = match &mut answer {
                Ok(Answer::Probed(probed)) if probed.len() >= share => {
                    Ok(Answer::Probed(probed.drain(..share).collect()))
                }
                Ok(other) => Ok(other.clone()),
                Err(error) => Err(error.clone()),
            };
            // Whoever asked may have given up.
            let _ = asked.reply.send(mine);
        }
    }

    /// Goodbye, if the host can hear it; if not, its lease will tell it.
    fn part(&mut self) {
        if self.link.is_some() && self.lost.is_none() && !self.parted {
            let _ = self.serve(Request::Bye, ANSWERS);
        }
    }

    fn serve(&mut self, request: Request, patience: Duration) -> Result<Answer, RemoteError> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        self.calls += 1;
        self.parted |= matches!(request, Request::Bye);
        let call = Call { id: self.calls, request };
        let deadline = Instant::now() + patience;
        // An answer that takes half the lease, beside what the request itself takes, will not come: the link
        // is dead, or whoever should answer. The other half is for another link.
        self.takes = inherent(&call.request);
        let answers = self.takes + (self.terms.hello.lease / 2).max(SHORTEST);
        let reply = self.insist(deadline, |worker, left| {
            if worker.link.is_none() {
                worker.greet(left)?;
            }
            worker.exchange(&call, left.min(answers))
        });
        let reply = reply.inspect_err(|error| {
            if error.is_final {
                self.lost = Some(error.clone());
                *self.shared.life.lock().expect("no one panics with the lock held") =
                    NodeLife::Gone;
                self.shared.lost.send_replace(true);
            }
        })?;
        reply.answer.map_err(|reason| self.lasting(&reason))
    }

    /// Tries until it is done, is final, or the time is over.
    fn insist<T>(
        &mut self,
        deadline: Instant,
        mut work: impl FnMut(&mut Self, Duration) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match work(self, left.max(RETRY)) {
                Ok(done) => {
                    self.note(None);
                    return Ok(done);
                }
                Err(error) => error,
            };
            let error = self.past_lease(error);
            self.note(Some(&error.reason));
            tracing::info!(host = %self.shared.name, reason = %error.reason, "failed");
            // A link that has failed once is not used again.
            self.link = None;
            if error.is_final || Instant::now() + RETRY > deadline {
                return Err(error);
            }
            thread::sleep(RETRY);
        }
    }

    /// An agent that has not heard of us for as long as its lease has ended: whatever it is asked from now
    /// on, it is another one.
    fn past_lease(&self, error: RemoteError) -> RemoteError {
        let (silent, lease) = (self.heard.elapsed(), self.terms.hello.lease);
        // A request that takes its time renews the lease when it is done.
        let ends = lease + self.takes + LEEWAY;
        if error.is_final || !self.terms.hello.resume || silent <= ends {
            return error;
        }
        let (silent, lease) = (silent.as_secs_f32(), lease.as_secs_f32());
        let reason = error.reason;
        self.lasting(&format!(
            "out of reach for {silent:.1} s, and its lease was {lease:.1} s: its agent has healed it and \
             stopped its node ({reason})"
        ))
    }

    fn note(&self, trouble: Option<&str>) {
        *self.shared.trouble.lock().expect("no one panics with the lock held") =
            trouble.map(str::to_owned);
    }

    /// Dials, and says hello.
    fn greet(&mut self, left: Duration) -> Result<Welcome, RemoteError> {
        self.busy = false;
        let gate = self.terms.gate.clone();
        let mut link = gate.pass(|| self.remote.dial(left.max(DIAL)))?;
        link.set_patience(left);
        if let Err(error) = skip_noise(&mut *link) {
            let said = link.complaint().unwrap_or_else(|| error.to_string());
            self.busy = said.contains(TAKEN);
            return Err(self.passing(&format!("no agent: {said}")));
        }
        self.link = Some(link);
        let hello = Call { id: 0, request: Request::Hello(self.terms.hello.clone()) };
        match self.exchange(&hello, left)?.answer {
            Ok(Answer::Welcome(welcome)) => {
                tracing::info!(host = %self.shared.name, resume = self.terms.hello.resume, "greeted");
                Ok(welcome)
            }
            Ok(Answer::Busy(left)) => {
                self.busy = true;
                let left = left.as_secs_f32();
                Err(self.passing(&format!("another run has it, for {left:.1} s if that is dead")))
            }
            Ok(_) => Err(self.lasting("its agent answers a hello with something else")),
            Err(reason) => Err(self.lasting(&reason)),
        }
    }

    fn exchange(&mut self, call: &Call, left: Duration) -> Result<Reply, RemoteError> {
        let link = self.link.as_mut().expect("dialled before anything is asked");
        link.set_patience(left);
        tracing::trace!(host = %self.shared.name, id = call.id, request = ?call.request, "ask");
        let exchanged = proto::write(link, call).and_then(|()| proto::read::<Reply>(link));
        let reply = match exchanged {
            Ok(reply) => reply,
            Err(error) => {
                let said = link.complaint().map(|said| format!(" ({said})")).unwrap_or_default();
                return Err(self.passing(&format!("{error}{said}")));
            }
        };
        if reply.id != call.id {
            return Err(self.passing("an answer to an earlier request"));
        }
        self.heard = Instant::now();
        *self.shared.life.lock().expect("no one panics with the lock held") = reply.life;
        Ok(reply)
    }

    fn passing(&self, reason: &str) -> RemoteError {
        RemoteError::passing(&self.shared.name, reason)
    }

    fn lasting(&self, reason: &str) -> RemoteError {
        RemoteError::lasting(&self.shared.name, reason)
    }
}

/// Reads until the agent speaks: a login shell may have printed something before.
fn skip_noise(link: &mut dyn Link) -> std::io::Result<()> {
    let mut tail = Vec::new();
    let mut byte = [0];
    for _ in 0..NOISE {
        link.read_exact(&mut byte)?;
        tail.push(byte[0]);
        if tail.ends_with(GREETING) {
            return Ok(());
        }
    }
    Err(std::io::Error::other("it prints and prints, and no agent speaks"))
}
