//! The nodes of a run: started, stopped, killed, and what of that was in the way of clients when.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dynamo_node::simulation::{Crash, Disk, End, Network, Weather, World};
use dynamo_node::storage::DirectoryError;
use dynamo_node::{Ended, Fatal, Options, Running, StartError, Storage};
use dynamo_protocol::{NodeId, View};
use tokio::time::{sleep, timeout};

use super::answers::{Span, Trouble};
use super::coverage::Coverage;
use super::setup::Setup;
use crate::simulated::run::Violation;

/// The folder of the records, beside those of the nodes.
pub(super) const RECORDS: &str = "records";
/// How long a node may take to end that is asked to, beyond the time in which it answers everything.
const ENDS: Duration = Duration::from_secs(5);
/// How soon a node whose disk has failed ends.
const FAILS: Duration = Duration::from_millis(200);
/// And how soon at the latest, whatever else it has to do.
const GOES_ON: Duration = Duration::from_secs(2);
/// Links when all is well.
const QUIET: Weather = Weather { delay: [0, 300], split: 0, late: 0 };

/// See the [module](self).
pub(super) struct Nodes {
    pub(super) world: World,
    pub(super) setup: Setup,
    view: View,
    folder: PathBuf,
    running: RefCell<BTreeMap<NodeId, Running>>,
    made: RefCell<BTreeSet<NodeId>>,
    /// Those whose disks were told to fail.
    failing: RefCell<BTreeMap<NodeId, Failing>>,
    spans: RefCell<Vec<Span>>,
    violations: RefCell<Vec<Violation>>,
    pub(super) counted: RefCell<Coverage>,
}

/// A disk that was told to fail.
#[derive(Clone, Copy)]
struct Failing {
    /// How many commits of it had failed before.
    before: u64,
    /// When another was seen to have.
    since: Option<Duration>,
}

impl Nodes {
    pub(super) fn new(world: &World, setup: &Setup, view: View, folder: &Path) -> Self {
        Self {
            world: world.clone(),
            setup: setup.clone(),
            view,
            folder: folder.to_owned(),
            running: RefCell::default(),
            made: RefCell::default(),
            failing: RefCell::default(),
            spans: RefCell::default(),
            violations: RefCell::default(),
            counted: RefCell::default(),
        }
    }

    fn directory(&self, node: NodeId) -> PathBuf {
        self.folder.join(node.to_string())
    }

    pub(super) fn disk(&self, node: NodeId) -> Disk {
        self.world.disk(&self.directory(node))
    }

    fn options(&self, node: NodeId) -> Options {
        let others = self.setup.ids().into_iter().filter(|other| *other != node);
        let peers = others.map(|peer| (peer, Network::address(End::Node(node), peer))).collect();
        Options {
            storage: Storage::Simulated(self.directory(node)),
            durability: self.setup.durability,
            advertise: Some(Network::address(End::Anyone, node)),
            genesis: !self.made.borrow().contains(&node),
            record: Some(self.folder.join(RECORDS)),
            ..Options::new(node, self.setup.settings, self.view.clone(), peers)
        }
    }

    /// Starts one that does not run, once whoever had its directory before has left it.
    pub(super) async fn start(&self, node: NodeId) {
        let disk = self.disk(node);
        // What is left of a process that was killed goes in the moment in which it was.
        sleep(Duration::from_millis(1)).await;
        while !disk.is_free() {
            sleep(Duration::from_millis(1)).await;
        }
        disk.heal();
        self.failing.borrow_mut().remove(&node);
        let was_cut = disk.did().is_cut;
        let mut started = self.world.start(self.options(node)).await;
        let is_made = |error: &StartError| {
            matches!(error, StartError::Directory(DirectoryError::NotEmpty(_)))
        };
        if was_cut && started.as_ref().is_err_and(is_made) {
            // Its first start came as far as a directory: whoever starts it does as the message says.
            let options = Options { genesis: false, ..self.options(node) };
            started = self.world.start(options).await;
        }
        match started {
            Ok(running) => {
                self.running.borrow_mut().insert(node, running);
                if !self.made.borrow_mut().insert(node) {
                    self.counted.borrow_mut().restarts += 1;
                }
                self.close(Trouble::Down(node));
            }
            // Power has gone meanwhile: it is started again with the others.
            Err(_) if disk.did().is_cut && !was_cut => self.open(Trouble::Down(node)),
            Err(error) => self.blame("starts", format!("{node} does not start: {error}")),
        }
    }

    /// Whether one runs, as far as is known.
    pub(super) fn runs(&self, node: NodeId) -> bool {
        self.running.borrow().contains_key(&node)
    }

    /// Ends one where it stands, if it runs.
    pub(super) fn crash(&self, node: NodeId, how: Crash) -> bool {
        let Some(running) = self.running.borrow_mut().remove(&node) else { return false };
        self.open(Trouble::Down(node));
        self.world.crash(node, &self.directory(node), running, how);
        self.failing.borrow_mut().remove(&node);
        let mut counted = self.counted.borrow_mut();
        match how {
            Crash::Killed => counted.kills += 1,
            Crash::Power => counted.power_cuts += 1,
        }
        true
    }

    /// Asks one to end, if it runs, and waits until it has.
    pub(super) async fn stop(&self, node: NodeId) -> bool {
        let Some(mut running) = self.running.borrow_mut().remove(&node) else { return false };
        self.open(Trouble::Stops(node));
        running.begin_stop().await;
        let patience = self.setup.settings.timing.deadline + ENDS;
        let ended = timeout(patience, running.ended()).await;
        self.open(Trouble::Down(node));
        self.close(Trouble::Stops(node));
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.ended(node, &error),
            Err(_) => {
                self.blame(
                    "stops",
                    format!("{node} was told to stop, and runs {patience:?} later"),
                );
                self.world.crash(node, &self.directory(node), running, Crash::Killed);
            }
        }
        true
    }

    /// The disk of one that runs fails, some commits from now on: from now on it may end at any time.
    pub(super) fn fail(&self, node: NodeId, after: u64) {
        if !self.running.borrow().contains_key(&node) {
            return;
        }
        self.open(Trouble::Down(node));
        let before = self.disk(node).did().failed;
        self.failing.borrow_mut().insert(node, Failing { before, since: None });
        self.disk(node).fail_after(after);
    }

    /// Ends those that go on although a commit of theirs has failed: what they say rests on what is not
    /// there.
    pub(super) fn end_failed(&self) {
        let now = self.world.now();
        let mut goes_on = Vec::new();
        for (node, failing) in self.failing.borrow_mut().iter_mut() {
            if self.disk(*node).did().failed > failing.before {
                let since = *failing.since.get_or_insert(now);
                goes_on.extend((now - since > GOES_ON).then_some(*node));
            }
        }
        for node in goes_on {
            if self.running.borrow().get(&node).is_none_or(Running::has_ended) {
                continue;
            }
            self.failing.borrow_mut().remove(&node);
            let Some(running) = self.running.borrow_mut().remove(&node) else { continue };
            self.blame("fail-stop", format!("{node} runs {GOES_ON:?} after a commit of it failed"));
            self.world.crash(node, &self.directory(node), running, Crash::Killed);
        }
    }

    /// Takes up one that has ended by itself.
    pub(super) async fn reap(&self) -> Option<NodeId> {
        let ended = self.running.borrow().iter().find(|(_, it)| it.has_ended()).map(|(id, _)| *id);
        let node = ended?;
        let mut running = self.running.borrow_mut().remove(&node)?;
        self.open(Trouble::Down(node));
        match running.ended().await {
            Ok(()) => self.blame("ended", format!("{node} has ended, and nobody wanted it to")),
            Err(error) => self.ended(node, &error),
        }
        self.world.crash(node, &self.directory(node), running, Crash::Killed);
        self.failing.borrow_mut().remove(&node);
        Some(node)
    }

    fn ended(&self, node: NodeId, error: &Ended) {
        match error {
            Ended::Fatal(Fatal::Storage(_)) if self.failing.borrow().contains_key(&node) => {}
            Ended::Panicked(panic) => self.blame("assertion", format!("{node}: {panic}")),
            error => self.blame("ended", format!("{node} has ended by itself: {error}")),
        }
    }

    /// Ends all trouble: every link carries, every node runs.
    pub(super) async fn heal(&self) {
        self.world.network().set_weather(QUIET);
        self.world.network().mend();
        self.setup.ids().into_iter().for_each(|node| self.disk(node).heal());
        // A commit that failed before may be about to end its node.
        sleep(FAILS).await;
        while self.reap().await.is_some() {}
        for node in self.setup.ids() {
            self.failing.borrow_mut().remove(&node);
            if !self.running.borrow().contains_key(&node) {
                self.start(node).await;
            }
        }
        let now = self.world.now();
        let mut spans = self.spans.borrow_mut();
        spans.iter_mut().for_each(|span| span.until = Some(span.until.unwrap_or(now)));
    }

    /// Something is in the way from now on.
    pub(super) fn open(&self, what: Trouble) {
        let span = Span { what, from: self.world.now(), until: None };
        self.spans.borrow_mut().push(span);
    }

    /// It is not any more.
    pub(super) fn close(&self, what: Trouble) {
        let now = self.world.now();
        let mut spans = self.spans.borrow_mut();
        let open = spans.iter_mut().filter(|span| span.what == what && span.until.is_none());
        open.for_each(|span| span.until = Some(now));
    }

    pub(super) fn blame(&self, check: &str, what: String) {
        self.violations.borrow_mut().push(Violation::new(check, what));
    }

    /// What was in the way when, and what was wrong.
    pub(super) fn into_told(self) -> (Vec<Span>, Vec<Violation>, Coverage) {
        (self.spans.into_inner(), self.violations.into_inner(), self.counted.into_inner())
    }
}
