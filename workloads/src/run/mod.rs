//! A run, from the plan to the verdict. Read this first.

pub mod analyze;
pub mod claims;
pub mod counters;
pub mod coverage;
pub mod export;
pub mod finish;
pub mod journal;
pub mod judge;
pub mod judged;
pub mod minimal;
pub(crate) mod nodes;
pub mod noticed;
pub mod page;
pub mod progress;
pub mod report;
pub mod rings;
pub mod setup;
pub mod show;
pub mod store;
mod stored;
pub mod verdict;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use checker::availability::Availability;
use checker::budget::Budget;
use checker::history::History;
use checker::logs::{self, SUSPICIOUS};
use checker::verdict::{CheckReport, Checker, Verdict};
use dynamo_protocol::View;

use crate::cluster::{
    Cluster, ClusterError, Deployed, LocalCluster, Mishap, NodeClients, SshCluster,
};
use crate::interpreter::{Counts, Interpreter, Tally};
use crate::interrupt::Interrupt;
use crate::log;
use crate::nemesis::schedule::{Episode, schedule};
use crate::nemesis::{Nemesis, Terms, heal_all, ring};
use crate::plan::{ClusterKind, Plan, PlanError};
use crate::replay::records;
use crate::run::counters::NodeCounters;
use crate::run::finish::counted::Counted;
use crate::run::finish::{Closing, Phase, finish};
use crate::run::journal::Journal;
use crate::run::judged::Judged;
use crate::run::progress::Progress;
use crate::run::rings::Rings;
use crate::run::setup::Setup;
use crate::run::store::Store;
use crate::run::verdict::{Document, Latency, Reasons, summary};
use crate::simulated::single;
use crate::workload::Workload;
use crate::workload::cart::Carts;
use crate::workload::generator::TimeLimit;

/// The name of the check that replays the nodes' records.
pub(crate) const RECORDS: &str = "records";
/// The name of the check that holds the protocol's rules against the records of all nodes.
pub(crate) const WHITE_BOX: &str = "white-box";
/// The name of the check that looks for panics in the nodes' logs.
pub(crate) const LOGS: &str = "logs";

/// A plan that was checked, its seed, and the command that does it again.
pub struct Order<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// Its seed.
    pub seed: u64,
    /// The command, for the report.
    pub command: &'a str,
    /// Where results go.
    pub out: &'a Path,
    /// Whether a page is made of the run.
    pub page: bool,
    /// Whether somebody wants it to end before its time.
    pub interrupt: Interrupt,
}

/// A run that was begun: its folder and what it found.
pub struct Finished {
    /// Where everything about it lies.
    pub store: Store,
    /// What it found.
    pub document: Document,
}

/// Does a plan. Whatever goes wrong after the start is part of the verdict.
///
/// # Errors
/// If the plan is refused: then nothing was started.
pub async fn run(order: &Order<'_>) -> Result<Finished, PlanError> {
    order.plan.check()?;
    let view = order.plan.view()?;
    let store = Store::create(order.out, order.plan)?;
    let mut document = order.empty_document();
    let mut harness = Vec::new();
    if order.plan.cluster.kind == ClusterKind::Sim {
        let history = simulate(order, &view, &store, &mut document);
        order.page_of(&store, &document, history);
        return Ok(Finished { store, document });
    }
    let logs = store.path("logs");
    if let Err(error) = log::keep_in(&logs) {
        // What cannot be written to is no place for results.
        return Err(PlanError(format!("{}: {error}", logs.display())));
    }
    let run = Run { order, view: &view, store: &store };
    let history = match order.plan.cluster.kind {
        ClusterKind::Ssh | ClusterKind::Lab => {
            let logs = store.path("logs");
            run.on(SshCluster::start(order.plan, &logs), &mut document, &mut harness).await
        }
        ClusterKind::Local | ClusterKind::Sim => {
            let starting = LocalCluster::start(order.plan, store.dir());
            run.on(starting, &mut document, &mut harness).await
        }
    };
    if !store.path("verdict.json").exists() {
        document.conclude(harness);
        write(&store, &document);
    }
    if document.verdict == Verdict::Valid {
        // Of use only to find out what went wrong. That it is gone is no part of the verdict.
        let _ = std::fs::remove_dir_all(store.path("data"));
    }
    order.page_of(&store, &document, history);
    Ok(Finished { store, document })
}

/// What stays the same throughout a run.
struct Run<'a> {
    order: &'a Order<'a>,
    view: &'a View,
    store: &'a Store,
}

impl Run<'_> {
    /// Does the run on a cluster that starts, or says why it does not; its history, if it has one.
    async fn on<C: Deployed>(
        &self,
        starting: impl Future<Output = Result<Arc<C>, ClusterError>>,
        document: &mut Document,
        harness: &mut Vec<String>,
    ) -> Option<History> {
        let Self { order, view, store } = *self;
        let started = tokio::select! {
            started = starting => started,
            () = order.interrupt.asked() => {
                document.doubt("interrupted before the nodes served".to_owned());
                return None;
            }
        };
        let cluster = match started {
            Ok(cluster) => cluster,
            Err(error) => {
                harness.push(error.to_string());
                return None;
            }
        };
        let began = Instant::now();
        let mut closing = Closing::default();
        let benched = bench(order, view, store, &cluster, document, &mut closing).await;
        // Judged before teardown: whatever that does, the verdict is there.
        let history = judge(order.plan, view, store, document, closing);
        harness.extend(benched.err().map(|error| format!("{error:#}")));
        complaints(&*cluster, began, document, harness).await;
        document.conclude(std::mem::take(harness));
        write(store, document);
        cluster.end().await;
        history
    }
}

/// The same under virtual time.
fn simulate(
    order: &Order<'_>,
    view: &View,
    store: &Store,
    document: &mut Document,
) -> Option<History> {
    let mut history = None;
    match single::bench(order.plan, order.seed, store, document) {
        Ok(closing) => {
            history = judge(order.plan, view, store, document, closing);
            document.conclude(Vec::new());
        }
        Err(error) => document.conclude(vec![format!("{error:#}")]),
    }
    write(store, document);
    history
}

/// Workload and faults, then the final phase: also when the first part is cut short.
async fn bench(
    order: &Order<'_>,
    view: &View,
    store: &Store,
    cluster: &Arc<impl Deployed>,
    document: &mut Document,
    closing: &mut Closing,
) -> Result<()> {
    let plan = order.plan;
    let journal = Arc::new(Journal::create(&store.path("history.jsonl"))?);
    document.setup.zero_us = Some(journal.zero_us());
    let (tally, counters) = (Arc::new(Tally::default()), Arc::new(NodeCounters::default()));
    let progress = Progress::new(journal.clone(), tally.clone(), counters.clone(), plan.time.0);
    let clients = NodeClients::new(cluster.net().clone(), plan.workload.timeout.0);
    let clients = clients.over(cluster.tls());
    let clients = Arc::new(Counted::new(clients, cluster.clone()));
    let mut interpreter = Interpreter::new(clients, journal.clone(), tally.clone(), workers(plan));
    let workload = Carts::new(&plan.workload, cluster.everybody(), order.seed);
    let episodes = schedule(plan, order.seed, view);
    let nemesis = Nemesis::new(cluster.clone(), journal.clone(), Terms::of(plan), plan.time.0);
    let follower = tokio::spawn(counters.clone().follow(cluster.clone()));

    let mut limited = TimeLimit::new(workload, plan.time.0);
    let working = async { tokio::try_join!(interpreter.run(&mut limited), nemesis.run(&episodes)) };
    let worked = tokio::select! {
        worked = working => worked.map(drop),
        () = progress.follow(|| nemesis.in_force()) => Ok(()),
        // The cluster itself says what was lost.
        () = cluster.lost() => Ok(()),
        () = order.interrupt.asked() => {
            let at = journal.now().as_secs_f64();
            closing.doubts.push(format!("interrupted at {at:.1} s: judged on what there is"));
            Ok(())
        }
    };
    progress.say("healing, waiting for rest, reading what was kept");
    let keys = limited.into_inner().keys().clone();
    let settings = &plan.cluster.settings;
    let (patience, exchange) =
        (settings.timing.hedge.min(settings.timing.deadline), settings.exchange());
    let phase = Phase { cluster: &**cluster, view, keys: &keys, patience, exchange };
    let finished = match worked {
        Ok(()) => settle(&phase, &mut interpreter, plan, &episodes, closing).await,
        Err(error) => Err(error),
    };
    drop(nemesis);
    follower.abort();
    counters.ask(&**cluster).await;
    progress.clear();
    document.seconds = journal.now().as_secs_f64();
    document.ops = tally.counts();
    document.latency_ms = Latency::of(&tally);
    document.counters = counters.totals();
    finished
}

/// Heals and reads what was kept; once more without a host that is lost meanwhile.
async fn settle<C: Deployed>(
    phase: &Phase<'_, C>,
    interpreter: &mut Interpreter<Counted<NodeClients, C>>,
    plan: &Plan,
    episodes: &[Episode],
    closing: &mut Closing,
) -> Result<()> {
    let lost = phase.lost();
    let failures = heal_all(phase.cluster, episodes).await;
    closing.doubts.extend(failures.into_iter().map(|failure| format!("healing: {failure}")));
    let now = match plan.changes_the_ring() {
        true => last_view(phase.cluster, closing).await,
        false => None,
    };
    let phase = &Phase { view: now.as_ref().unwrap_or(phase.view), ..*phase };
    let finished = tokio::select! {
        finished = finish(phase, interpreter) => Some(finished),
        () = phase.lost_another(&lost) => None,
    };
    let finished = match finished {
        Some(finished) => finished,
        None => finish(phase, interpreter).await,
    };
    let Closing { checks, doubts, untried, .. } = finished?;
    closing.checks.extend(checks);
    closing.doubts.extend(doubts);
    closing.untried.extend(untried);
    Ok(())
}

/// The ring at the end of a run in which it changed; the memberships that led to it are kept in `closing`.
async fn last_view(cluster: &impl Cluster, closing: &mut Closing) -> Option<View> {
    let look = ring::look(cluster).await;
    let view = look.newest().map(|newest| {
        closing.epochs.clone_from(&newest.epochs);
        View::of(&newest.settings, newest.epochs.clone()).map_err(|error| error.to_string())
    });
    match view.unwrap_or_else(|| Err("no member says which one it is".to_owned())) {
        Ok(view) => Some(view),
        Err(why) => {
            closing.doubts.push(format!("the ring at the end is not known: {why}"));
            None
        }
    }
}

/// In an open loop there must be a worker for every operation that may be open at a time: as many
/// as arrive while one times out.
pub(crate) fn workers(plan: &Plan) -> usize {
    let Some(rate) = plan.workload.rate else { return plan.workload.concurrency };
    let open = (rate * plan.workload.timeout.0.as_secs_f64()).ceil() as usize;
    // More connections than this and the driver is what is measured.
    open.min(500).max(plan.workload.concurrency)
}

/// Judges what a run has left; its history, if it can be read.
fn judge(
    plan: &Plan,
    view: &View,
    store: &Store,
    document: &mut Document,
    closing: Closing,
) -> Option<History> {
    let path = store.path("history.jsonl");
    let history = match History::read(&path) {
        Ok(history) => history,
        Err(error) => {
            document.harness = Verdict::Invalid;
            document.reasons.harness.push(error.to_string());
            return None;
        }
    };
    document.judged = Judged::of(&path, &history);
    document.memberships = closing.epochs;
    let rings = match document.memberships.as_slice() {
        [] => Ok(Rings::only(view.clone())),
        epochs => Rings::of(&plan.cluster.settings, epochs, &history),
    };
    let rings = rings.unwrap_or_else(|error| {
        document.doubt(format!("the memberships of the run: {error}"));
        Rings::only(view.clone())
    });
    let coverage = coverage::judge(plan, &rings, &history, &document.counters);
    document.coverage = coverage.verdict;
    document.reasons.coverage = coverage.reasons;
    document.checks = judge::check(plan, &coverage.faults, &history);
    document.not_entitled = judge::not_entitled(plan, &history);
    let checkers = judge::checkers_of(plan, &coverage.faults);
    if let Err(error) = minimal::write(&checkers, &document.checks, &history, store.dir()) {
        document.doubt(format!("what is left of the history: {error}"));
    }
    document.availability = served(&history);
    document.checks.extend(closing.checks);
    document.faults = coverage.faults;
    if plan.cluster.record && plan.cluster.kind == ClusterKind::Local {
        replay_records(view, store, document);
    }
    (document.property, document.reasons.property) = judge::property(&document.checks);
    (document.harness, document.reasons.harness) = judge::record(&document.checks);
    closing.doubts.into_iter().for_each(|doubt| document.doubt(doubt));
    if !closing.untried.is_empty() {
        document.coverage = Verdict::Unknown;
        document.reasons.coverage.extend(closing.untried);
    }
    Some(history)
}

/// How the store served, in all and while each fault was in force: nothing is demanded of it.
fn served(history: &History) -> BTreeMap<String, serde_json::Value> {
    let report = Availability::default().check(history, &Budget::UNLIMITED);
    report
        .details
        .into_iter()
        .filter(|(name, _)| ["windows", "overall"].contains(&&**name))
        .collect()
}

/// Runs what the nodes recorded through the core: a step that comes out otherwise refutes that the
/// nodes are what was proven.
fn replay_records(view: &View, store: &Store, document: &mut Document) {
    let records = match records::replay(store.dir()) {
        Ok(records) => records,
        Err(error) => {
            let report = CheckReport::unknown(error.to_string());
            document.checks.insert(RECORDS.to_owned(), report);
            return;
        }
    };
    for node in view.ids() {
        let replayed = records.nodes.get(&node.to_string()).map_or(0, |node| node.equal);
        if replayed == 0 {
            let reason = format!("{node}: no recorded step was replayed");
            document.coverage = Verdict::Unknown;
            document.reasons.coverage.push(reason);
        }
    }
    let report = match records.differences().next() {
        Some(difference) => CheckReport::invalid(difference),
        None => {
            let steps = usize::try_from(records.equal()).unwrap_or(usize::MAX);
            CheckReport::valid_if_judged(steps, "no recorded step was replayed")
        }
    };
    let report = report
        .with("steps", records.equal())
        .with("seconds", records.time.as_secs_f64())
        .with("bytes", records.bytes)
        .with("nodes", &records.nodes);
    document.checks.insert(RECORDS.to_owned(), report);
    document.checks.insert(WHITE_BOX.to_owned(), records.white_box());
}

/// What nodes did that the driver did not make them do. What somebody else did to them is no fault of the
/// run, but its plan was not what happened. What their logs say is theirs: their own assertions are part of
/// what is tested.
async fn complaints(
    cluster: &impl Deployed,
    began: Instant,
    document: &mut Document,
    harness: &mut Vec<String>,
) {
    for Mishap { node, what, at, from_outside } in cluster.mishaps().await {
        let after = at.map(|at| at.saturating_duration_since(began).as_secs_f64());
        let after = after.map(|after| format!(" at {after:.1} s")).unwrap_or_default();
        let told = format!("{node} {what}{after}");
        if from_outside { document.doubt(told) } else { harness.push(told) }
    }
    let logs: Vec<_> = cluster.logs().await.into_iter().map(|(_, log)| log).collect();
    if !logs.is_empty() {
        document.checks.insert(LOGS.to_owned(), logs::search(&logs, &SUSPICIOUS));
        (document.property, document.reasons.property) = judge::property(&document.checks);
    }
}

fn write(store: &Store, document: &Document) {
    let path = store.path("verdict.json");
    if let Err(error) = std::fs::write(&path, document.to_json() + "\n") {
        dyno_command::output::refuse(format_args!("{}: {error}", path.display()));
    }
}

impl Order<'_> {
    /// Makes the page of a run that is over, also of one without a history.
    fn page_of(&self, store: &Store, document: &Document, history: Option<History>) {
        if self.page {
            page::write(document, &history.unwrap_or_default(), store.dir(), Vec::new());
        }
    }

    /// What is known of a run before it begins: nothing.
    fn empty_document(&self) -> Document {
        Document { again: self.command.to_owned(), ..Document::of(self.plan, self.seed) }
    }
}

impl Document {
    /// Of a plan of which nothing is known yet.
    fn of(plan: &Plan, seed: u64) -> Self {
        Self {
            schema: 1,
            verdict: Verdict::Unknown,
            property: Verdict::Unknown,
            coverage: Verdict::Unknown,
            harness: Verdict::Valid,
            reasons: Reasons::default(),
            plan: plan.name.clone(),
            seed,
            command: "test",
            again: String::new(),
            setup: Setup::of(plan),
            judged: None,
            seconds: 0.0,
            ops: Counts::default(),
            latency_ms: Latency::default(),
            checks: BTreeMap::new(),
            faults: BTreeMap::new(),
            counters: BTreeMap::new(),
            memberships: Vec::new(),
            not_entitled: BTreeMap::new(),
            availability: BTreeMap::new(),
        }
    }

    /// What was found stands; the run as a whole is not what the plan says.
    fn doubt(&mut self, reason: String) {
        if self.harness == Verdict::Valid {
            self.harness = Verdict::Unknown;
        }
        self.reasons.harness.push(reason);
    }

    /// Draws the summary; `complaints` are what did not work in the run itself.
    fn conclude(&mut self, complaints: Vec<String>) {
        if !complaints.is_empty() {
            self.harness = Verdict::Invalid;
            self.reasons.harness.extend(complaints);
        }
        self.verdict = summary(self.property, self.coverage, self.harness).0;
    }
}
