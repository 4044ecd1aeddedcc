//! A run, from the plan to the verdict. Read this first.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use checker::history::History;
use checker::verdict::{CheckReport, Verdict};
use dynamo_protocol::{Config, NodeId};

use crate::analysis;
use crate::cluster::{Cluster, ClusterError, Deployed, LocalCluster, NodeClients, SshCluster};
use crate::coverage;
use crate::finish::finish;
use crate::generator::TimeLimit;
use crate::interpreter::{Counts, Interpreter, Tally};
use crate::interrupt::{Interrupt, Interrupted};
use crate::journal::Journal;
use crate::log;
use crate::mechanisms::Mechanisms;
use crate::nemesis::schedule::{Episode, schedule};
use crate::nemesis::{Nemesis, Slowness, heal_all};
use crate::plan::{ClusterKind, Plan, PlanError, WorkloadName};
use crate::progress::Progress;
use crate::replay::records;
use crate::sim::single;
use crate::store::Store;
use crate::verdict::{Document, Latency, Reasons, summary};
use crate::workload::Workload;
use crate::workload::cart::{self, Carts};

/// The name of the check that replays the nodes' records.
pub(crate) const RECORDS: &str = "records";

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
    let config = order.plan.config(NodeId(1))?;
    let store = Store::create(order.out, order.plan)?;
    let mut document = order.empty_document();
    let mut harness = Vec::new();
    if order.plan.cluster.kind == ClusterKind::Sim {
        simulate(order, &config, &store, &mut document);
        return Ok(Finished { store, document });
    }
    let logs = store.path("logs");
    if let Err(error) = log::keep_in(&logs) {
        // What cannot be written to is no place for results.
        return Err(PlanError(format!("{}: {error}", logs.display())));
    }
    let run = Run { order, config: &config, store: &store };
    match order.plan.cluster.kind {
        ClusterKind::Ssh | ClusterKind::Lab => {
            let logs = store.path("logs");
            run.on(SshCluster::start(order.plan, &logs), &mut document, &mut harness).await;
        }
        ClusterKind::Local | ClusterKind::Sim => {
            let starting = LocalCluster::start(order.plan, store.dir());
            run.on(starting, &mut document, &mut harness).await;
        }
    }
    if !store.path("verdict.json").exists() {
        document.conclude(harness);
        write(&store, &document);
    }
    if document.verdict == Verdict::Valid {
        // Of use only to find out what went wrong. That it is gone is no part of the verdict.
        let _ = std::fs::remove_dir_all(store.path("data"));
    }
    Ok(Finished { store, document })
}

/// What stays the same throughout a run.
struct Run<'a> {
    order: &'a Order<'a>,
    config: &'a Config,
    store: &'a Store,
}

impl Run<'_> {
    /// Does the run on a cluster that starts, or says why it does not.
    async fn on<C: Deployed>(
        &self,
        starting: impl Future<Output = Result<Arc<C>, ClusterError>>,
        document: &mut Document,
        harness: &mut Vec<String>,
    ) {
        let Self { order, config, store } = *self;
        let started = tokio::select! {
            started = starting => started,
            () = order.interrupt.asked() => {
                return document.interrupted("interrupted before the nodes served".to_owned());
            }
        };
        let cluster = match started {
            Ok(cluster) => cluster,
            Err(error) => return harness.push(error.to_string()),
        };
        let benched = bench(order, config, store, &cluster, document).await;
        // Judged before teardown: whatever that does, the verdict is there.
        judge(order.plan, config, store, document);
        match benched {
            Ok(()) => {}
            Err(error) if error.is::<Interrupted>() => document.interrupted(error.to_string()),
            Err(error) => harness.push(format!("{error:#}")),
        }
        harness.extend(complaints(&*cluster).await);
        document.conclude(std::mem::take(harness));
        write(store, document);
        cluster.end().await;
    }
}

/// The same under virtual time.
fn simulate(order: &Order<'_>, config: &Config, store: &Store, document: &mut Document) {
    let episodes = single::episodes(order.plan, config);
    match single::bench(order.plan, order.seed, &episodes, store, document) {
        Ok(white_box) => {
            judge(order.plan, config, store, document);
            single::add(white_box, document);
            document.conclude(Vec::new());
        }
        Err(error) => document.conclude(vec![format!("{error:#}")]),
    }
    write(store, document);
}

/// Workload and faults, then the final phase.
async fn bench(
    order: &Order<'_>,
    config: &Config,
    store: &Store,
    cluster: &Arc<impl Deployed>,
    document: &mut Document,
) -> Result<()> {
    let plan = order.plan;
    let journal = Arc::new(Journal::create(&store.path("history.jsonl"))?);
    let (tally, mechanisms) = (Arc::new(Tally::default()), Arc::new(Mechanisms::default()));
    let nodes = cluster.nodes().len();
    let progress =
        Progress::new(journal.clone(), tally.clone(), mechanisms.clone(), nodes, plan.time.0);
    let clients = NodeClients::new(cluster.net().clone(), plan.workload.timeout.0);
    let mut interpreter =
        Interpreter::new(Arc::new(clients), journal.clone(), tally.clone(), workers(plan));
    let workload = match plan.workload.name {
        WorkloadName::Cart => Carts::new(&plan.workload, cluster.nodes().to_vec(), order.seed),
    };
    let episodes = schedule(plan, config, &cart::first_keys(plan.workload.carts));
    let slowness =
        Slowness { delay: plan.fault.delay.0, jitter: plan.fault.jitter.0, rate: plan.fault.rate };
    let nemesis = Nemesis::new(cluster.clone(), journal.clone(), slowness);
    let follower = tokio::spawn(mechanisms.clone().follow(cluster.clone()));

    let mut limited = TimeLimit::new(workload, plan.time.0);
    let working = async { tokio::try_join!(interpreter.run(&mut limited), nemesis.run(&episodes)) };
    let mut cut_short = Box::pin(cut_short(&**cluster, &order.interrupt));
    let worked = tokio::select! {
        worked = working => worked.map(|_| None),
        () = progress.follow(|| nemesis.in_force()) => Ok(None),
        cut = &mut cut_short => Ok(Some(cut)),
    };
    progress.say("healing, waiting for rest, reading what was kept");
    let keys = limited.into_inner().keys().clone();
    let ended = match worked {
        Ok(None) => tokio::select! {
            settled = settle(cluster, &mut interpreter, config, &episodes, &keys) => settled.map(|()| None),
            cut = &mut cut_short => Ok(Some(cut)),
        },
        early => early,
    };
    let finished = match ended {
        // What the half of a run shows is judged all the same; the cluster says what was lost.
        Ok(None | Some(Cut::Lost)) => Ok(()),
        Ok(Some(Cut::Asked)) => {
            let interrupted = Interrupted(journal.now().as_secs_f64()).into();
            let healed = heal_all(&**cluster, &episodes).await;
            healed.context("healing after the interruption").and(Err(interrupted))
        }
        Err(error) => Err(error),
    };
    follower.abort();
    mechanisms.ask(&**cluster).await;
    progress.clear();
    document.seconds = journal.now().as_secs_f64();
    document.ops = tally.counts();
    document.latency_ms = latency(&tally);
    document.mechanisms = mechanisms.totals();
    finished
}

/// What ends a run before its time.
enum Cut {
    /// A host is out of reach for good.
    Lost,
    /// The user asks.
    Asked,
}

async fn cut_short(cluster: &impl Deployed, interrupt: &Interrupt) -> Cut {
    tokio::select! {
        () = cluster.lost() => Cut::Lost,
        () = interrupt.asked() => Cut::Asked,
    }
}

async fn settle(
    cluster: &Arc<impl Cluster>,
    interpreter: &mut Interpreter<NodeClients>,
    config: &Config,
    episodes: &[Episode],
    keys: &BTreeSet<Arc<str>>,
) -> Result<()> {
    heal_all(&**cluster, episodes).await.context("healing")?;
    finish(&**cluster, interpreter, config, keys).await.context("the final phase")
}

/// In an open loop there must be a worker for every operation that may be open at a time: as many
/// as arrive while one times out.
pub(crate) fn workers(plan: &Plan) -> usize {
    let Some(rate) = plan.workload.rate else { return plan.workload.concurrency };
    let open = (rate * plan.workload.timeout.0.as_secs_f64()).ceil() as usize;
    // More connections than this and the driver is what is measured.
    open.min(500).max(plan.workload.concurrency)
}

fn judge(plan: &Plan, config: &Config, store: &Store, document: &mut Document) {
    let history = match History::read(store.path("history.jsonl")) {
        Ok(history) => history,
        Err(error) => {
            document.harness = Verdict::Invalid;
            document.reasons.harness.push(error.to_string());
            return;
        }
    };
    let coverage = coverage::judge(plan, config, &history, &document.mechanisms);
    document.coverage = coverage.verdict;
    document.reasons.coverage = coverage.reasons;
    document.checks = analysis::check(plan, &coverage.faults, &history);
    document.faults = coverage.faults;
    if plan.cluster.record && plan.cluster.kind == ClusterKind::Local {
        replay_records(config, store, document);
    }
    (document.property, document.reasons.property) = analysis::property(&document.checks);
    (document.harness, document.reasons.harness) = analysis::record(&document.checks);
}

/// Runs what the nodes recorded through the core: a step that comes out otherwise refutes that the
/// nodes are what was proven.
fn replay_records(config: &Config, store: &Store, document: &mut Document) {
    let records = match records::replay(store.dir()) {
        Ok(records) => records,
        Err(error) => {
            let report = CheckReport::unknown(error.to_string());
            document.checks.insert(RECORDS.to_owned(), report);
            return;
        }
    };
    for member in config.members() {
        let replayed = records.nodes.get(&member.id.to_string()).map_or(0, |node| node.equal);
        if replayed == 0 {
            let reason = format!("{}: no recorded step was replayed", member.id);
            document.coverage = Verdict::Unknown;
            document.reasons.coverage.push(reason);
        }
    }
    let report = match records.differences().next() {
        Some(difference) => CheckReport::invalid(difference),
        None => CheckReport::valid(),
    };
    let report = report
        .with("steps", records.equal())
        .with("seconds", records.time.as_secs_f64())
        .with("bytes", records.bytes)
        .with("nodes", &records.nodes);
    document.checks.insert(RECORDS.to_owned(), report);
}

/// What nodes did that nobody made them do.
async fn complaints(cluster: &impl Deployed) -> Vec<String> {
    let mishaps = cluster.mishaps().await.into_iter();
    let mut complaints: Vec<_> =
        mishaps.map(|mishap| format!("{} {}", mishap.node, mishap.what)).collect();
    for (node, log) in cluster.logs().await {
        let panics = analysis::panics(&log).into_iter();
        complaints.extend(panics.map(|panic| format!("{node}: {panic} ({})", log.display())));
    }
    complaints
}

fn latency(tally: &Tally) -> Latency {
    let millis = |share| tally.quantile(share).as_secs_f64() * 1e3;
    Latency { p50: millis(0.5), p99: millis(0.99), p999: millis(0.999) }
}

fn write(store: &Store, document: &Document) {
    let path = store.path("verdict.json");
    if let Err(error) = std::fs::write(&path, document.to_json() + "\n") {
        eprintln!("error: {}: {error}", path.display());
    }
}

impl Order<'_> {
    /// What is known of a run before it begins: nothing.
    fn empty_document(&self) -> Document {
        Document {
            schema: 1,
            verdict: Verdict::Unknown,
            property: Verdict::Unknown,
            coverage: Verdict::Unknown,
            harness: Verdict::Valid,
            reasons: Reasons::default(),
            plan: self.plan.name.clone(),
            seed: self.seed,
            command: self.command.to_owned(),
            seconds: 0.0,
            ops: Counts::default(),
            latency_ms: Latency::default(),
            checks: std::collections::BTreeMap::new(),
            faults: std::collections::BTreeMap::new(),
            mechanisms: std::collections::BTreeMap::new(),
        }
    }
}

impl Document {
    /// What was found until then stands; the run as a whole did not happen.
    fn interrupted(&mut self, reason: String) {
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
