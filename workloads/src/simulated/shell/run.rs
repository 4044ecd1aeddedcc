//! One seed: a run, and what is wrong with it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use checker::history::History;
use checker::history::op::{Kind, Op};
use dynamo_node::Durability;
use dynamo_node::record::{self, Together};
use dynamo_node::simulation::{self, Carried, Work, World};
use dynamo_protocol::{NodeId, View};
use dynamo_sim::trace::Cluster;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::answers::{self, Span, Trouble};
use super::clients::{Clients, Fate, Told, accept_loss, status};
use super::cluster::{Nodes, RECORDS};
use super::coverage::Coverage;
use super::crashes::Cut;
use super::mix::Mix;
use super::setup::Setup;
use super::trouble::{blackout, trouble};
use crate::interpreter::{Counts, Interpreter, Tally};
use crate::plan::WorkloadName;
use crate::run::finish::script::{Script, Stage};
use crate::run::finish::{AT_REST, Closing};
use crate::run::journal::Journal;
use crate::run::judge::Grounds;
use crate::simulated::run::{Violation, check, said};
use crate::workload::generator::{Reads, TimeLimit};

/// How long the healed cluster may take to come to rest.
const REST: Duration = Duration::from_secs(60);
/// Between two looks at whether it has.
const LOOK: Duration = Duration::from_millis(100);
/// How long after clients power may still be gone.
const LATE: Duration = Duration::from_secs(10);
/// After so many exchanges, each with one of a few others, a home has had one with every other: but for one
/// time in 10^11.
const ROUNDS: u32 = 100;
/// Where there is a file system in memory, records and marks lie in it.
const IN_MEMORY: &str = "/dev/shm";

/// What a run found and what it took.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Nothing, if all is well; sorted by check.
    pub violations: Vec<Violation>,
    /// Why a check could not tell.
    pub unknown: Vec<Violation>,
    /// Virtual time.
    pub simulated: Duration,
    /// What clients did.
    pub counts: Counts,
    /// What happened.
    pub coverage: Coverage,
    /// Of everything that arrived anywhere: alike for runs that are.
    pub digest: u64,
    /// What clients saw.
    pub history: History,
    /// What disks did until all trouble ended, in order.
    pub disk_work: Vec<Work>,
}

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// What the seed draws.
    Drawn,
    /// Nothing.
    Nothing,
    /// Power goes, once.
    Power(Cut),
}

/// What is left of a run when its world is gone.
struct Played {
    spans: Vec<Span>,
    violations: Vec<Violation>,
    coverage: Coverage,
    told: Vec<Told>,
    lines: Vec<Op>,
    closing: Closing,
    carried: Carried,
    simulated: Duration,
    counts: Counts,
    disk_work: Vec<Work>,
}

/// Runs a seed; a panic is a violation like any other.
#[must_use]
pub fn run(setup: &Setup, seed: u64) -> Outcome {
    run_with(setup, seed, Harm::Drawn)
}

/// The same with other trouble than the seed draws.
#[must_use]
pub fn run_with(setup: &Setup, seed: u64, harm: Harm) -> Outcome {
    let failed = |check: &str, what: String| Outcome {
        violations: vec![Violation::new(check, what)],
        ..Outcome::default()
    };
    let tried = catch_unwind(AssertUnwindSafe(|| try_run(setup, seed, harm)));
    match tried {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Outcome {
            unknown: vec![Violation::new("harness", format!("{error:#}"))],
            ..Outcome::default()
        },
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().copied().map(str::to_owned);
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
            failed("assertion", said.unwrap_or_else(|| "no message".to_owned()))
        }
    }
}

fn try_run(setup: &Setup, seed: u64, harm: Harm) -> anyhow::Result<Outcome> {
    let folder = TempDir::new_in(IN_MEMORY).or_else(|_| TempDir::new())?;
    let view = setup.view()?;
    let path = folder.path();
    let played = simulation::run(seed, |world| play(world, setup, (seed, harm), view, path))??;
    judge(setup, harm, played, &path.join(RECORDS))
}

async fn play(
    world: World,
    setup: &Setup,
    (seed, harm): (u64, Harm),
    view: View,
    folder: &Path,
) -> anyhow::Result<Played> {
    world.network().set_weather(setup.weather);
    world.set_disks(setup.disks);
    if let Harm::Power(cut) = harm {
        world.cut_power_at(cut.point);
    }
    let nodes = Nodes::new(&world, setup, view.clone(), folder);
    for node in setup.ids() {
        nodes.start(node).await;
    }
    let clients = Arc::new(Clients::new(setup, &world));
    let (journal, tally) = (Arc::new(Journal::in_memory()), Arc::new(Tally::default()));
    let mut interpreter = Interpreter::new(
        Arc::clone(&clients),
        Arc::clone(&journal),
        Arc::clone(&tally),
        setup.workers,
    );
    let mix = Mix::new(setup, seed);
    let keys = mix.keys();
    let mut limited = TimeLimit::new(mix, setup.time);
    harmed(&nodes, (seed, harm), interpreter.run(&mut limited)).await?;
    let disk_work = world.disk_work();
    let told = clients.told();
    nodes.heal().await;
    let mut closing = Closing::default();
    let mut finale = Finale { interpreter: &mut interpreter, nodes: &nodes };
    finale.read_all(&view, &keys, &mut closing).await?;
    let mut hints = 0;
    for node in setup.ids() {
        let counters = status(node).await.and_then(|status| status.counters).unwrap_or_default();
        hints += counters.hints_delivered;
    }
    for node in setup.ids() {
        nodes.stop(node).await;
    }
    let (lost, failed) = setup
        .ids()
        .into_iter()
        .map(|node| nodes.disk(node).did())
        .fold((0, 0), |(lost, failed), did| (lost + did.lost + did.too_late, failed + did.failed));
    let (spans, violations, coverage) = nodes.into_told();
    Ok(Played {
        coverage: Coverage {
            hints_delivered: hints,
            lost_commits: lost,
            failed_commits: failed,
            pipelined: u64::from(clients.most_open() > 1),
            ..coverage
        },
        spans,
        violations,
        told,
        lines: journal.take(),
        closing,
        carried: world.network().carried(),
        simulated: world.now(),
        counts: tally.counts(),
        disk_work,
    })
}

/// What clients do, and what goes wrong meanwhile.
async fn harmed(
    nodes: &Nodes,
    (seed, harm): (u64, Harm),
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    match harm {
        Harm::Drawn => tokio::select! {
            biased;
            ran = work => ran,
            () = trouble(nodes, seed) => Ok(()),
        },
        Harm::Nothing => work.await,
        Harm::Power(cut) => {
            // Whenever it goes, also at the end, it comes back.
            let patience = nodes.setup.time + LATE;
            let blackout = timeout(patience, blackout(nodes, seed, cut.machines));
            tokio::join!(work, blackout).0
        }
    }
}

/// The final phase ([`crate::run::finish`]) of nodes whose links all carry.
struct Finale<'a> {
    interpreter: &'a mut Interpreter<Clients>,
    nodes: &'a Nodes,
}

impl Finale<'_> {
    async fn read_all(
        &mut self,
        view: &View,
        keys: &BTreeSet<Arc<str>>,
        closing: &mut Closing,
    ) -> anyhow::Result<()> {
        if !self.rests(closing).await {
            return Ok(());
        }
        self.accept_losses().await?;
        let (here, gone) = (self.nodes.setup.ids(), BTreeSet::new());
        let settings = &self.nodes.setup.settings;
        let patience = settings.timing.hedge.min(settings.timing.deadline);
        let exchange = settings.exchange();
        let script = Script { view, keys, here: &here, gone: &gone, patience, exchange };
        match script.settle(self, closing).await? {
            Some(whole) => script.read_finals(&whole, self, closing).await,
            None => Ok(()),
        }
    }

    /// Where one node alone had synced what was acknowledged, the power of all takes it from all other homes.
    /// Those are more than quorums survive, and they wait for each other's word (docs/protocol.md, rule 5)
    /// until an operator has them count. What the one had synced they have to tell each other all the same.
    async fn accept_losses(&self) -> anyhow::Result<()> {
        if self.nodes.setup.durability != Durability::One {
            return Ok(());
        }
        let Some(exchange) = self.nodes.setup.settings.exchange() else { return Ok(()) };
        let mut waiting = self.amnesiac().await;
        for _ in 0..ROUNDS {
            if waiting.is_empty() {
                return Ok(());
            }
            sleep(exchange).await;
            waiting = self.amnesiac().await;
        }
        if let [alone] = waiting[..] {
            let what = format!("{alone} does not count again, and waits for nobody who does not");
            self.nodes.blame("amnesia-ends", what);
        }
        for node in waiting {
            accept_loss(node).await.with_context(|| format!("{node} does not accept its loss"))?;
        }
        Ok(())
    }

    /// Those who do not count.
    async fn amnesiac(&self) -> Vec<NodeId> {
        let mut amnesiac = Vec::new();
        for node in self.nodes.setup.ids() {
            if status(node).await.is_some_and(|status| status.amnesiac) {
                amnesiac.push(node);
            }
        }
        amnesiac
    }

    /// What is in the way of rest, if anything is.
    async fn unrest(&self) -> Option<String> {
        for node in self.nodes.setup.ids() {
            let Some(status) = status(node).await else {
                return Some(format!("{node} does not say how it is"));
            };
            let (hints, open) = (status.hints_held, status.open_operations + status.open_requests);
            if hints > 0 || open > 0 {
                return Some(format!("{node} holds {hints} hints and has {open} operations open"));
            }
            if let Some(peer) = status.suspected.first() {
                return Some(format!("{node} suspects n{peer}"));
            }
        }
        None
    }
}

impl Stage for Finale<'_> {
    async fn read(&mut self, reads: &mut Reads) -> anyhow::Result<()> {
        self.interpreter.run(reads).await
    }

    async fn rests(&mut self, closing: &mut Closing) -> bool {
        let until = self.nodes.world.now() + REST;
        let mut calm = 0;
        loop {
            let unrest = self.unrest().await;
            calm = if unrest.is_none() { calm + 1 } else { 0 };
            if calm == 2 {
                return true;
            }
            if let Some(unrest) = unrest.filter(|_| self.nodes.world.now() > until) {
                let what = format!("the cluster is not at rest after {REST:?}: {unrest}");
                closing.blame(AT_REST, what);
                return false;
            }
            sleep(LOOK).await;
        }
    }

    async fn pause(&mut self, time: Duration) {
        sleep(time).await;
    }

    /// All was healed.
    async fn is_up(&mut self) -> Result<(), String> {
        Ok(())
    }
}

fn judge(setup: &Setup, harm: Harm, played: Played, records: &Path) -> anyhow::Result<Outcome> {
    let Played { spans, mut violations, told, closing, carried, .. } = played;
    violations.extend(answers::judge(setup, &told, &spans));
    let of_closing = closing.checks.into_iter();
    violations.extend(
        of_closing.map(|(check, report)| Violation::new(&check, report.reason.unwrap_or_default())),
    );
    let doubts = closing.doubts.into_iter().map(|doubt| Violation::new("harness", doubt));
    let mut unknown: Vec<_> = doubts.collect();
    let replayed = record::replay(records)?;
    if let Some(difference) = &replayed.difference {
        violations.push(Violation::new("record-replay", difference.to_string()));
    }
    let keeps = setup.durability == Durability::Sync || !matches!(harm, Harm::Power(_));
    let together = Together::of(&replayed.lives, keeps);
    let breaches = together.breaches.iter();
    violations.extend(
        breaches.map(|breach| {
            Violation::new(breach.check, format!("{}: {}", breach.node, breach.what))
        }),
    );
    let mut coverage = covered(&played.lines, played.coverage, &told, &spans, carried);
    coverage.events_judged = together.events as u64;
    coverage.acknowledgements_judged = together.acknowledged as u64;
    coverage.restarts_judged = together.restarts as u64;
    let mut outcome = Outcome {
        simulated: played.simulated,
        counts: played.counts,
        digest: carried.digest,
        disk_work: played.disk_work,
        coverage,
        ..Outcome::default()
    };
    match History::from_ops(played.lines) {
        Ok(history) => {
            let quorum = [setup.settings.n, setup.settings.r, setup.settings.w];
            let cluster = Cluster { settings: setup.settings, ..Cluster::new(setup.nodes, quorum) };
            let reports = check(&cluster, Grounds::default(), WorkloadName::Versions, &history);
            said(&reports, &history, &mut violations, &mut unknown);
            outcome.history = history;
        }
        Err(error) => violations.push(Violation::new("well_formed", error.to_string())),
    }
    violations.sort();
    violations.dedup();
    (outcome.violations, outcome.unknown) = (violations, unknown);
    Ok(outcome)
}

/// What happened, by the history and by what requests were told.
fn covered(
    lines: &[Op],
    mut coverage: Coverage,
    told: &[Told],
    spans: &[Span],
    carried: Carried,
) -> Coverage {
    for line in lines {
        let pad = line.value.as_ref().and_then(|value| value["pad"].as_u64()).unwrap_or(0);
        match (&*line.f, line.kind) {
            ("get", Kind::Ok) if !line.is_final => coverage.gets += 1,
            ("put", Kind::Ok) => match line.context {
                Some(_) => coverage.puts += 1,
                None => coverage.blind_puts += 1,
            },
            ("put", Kind::Invoke) => {
                let is_empty = line.value.as_ref().and_then(Value::as_str) == Some("");
                coverage.empty_values += u64::from(is_empty);
                coverage.large_values += u64::from(pad >= 50_000);
            }
            ("delete", Kind::Ok) => coverage.deletes += 1,
            _ => {}
        }
    }
    for told in told {
        coverage.driven += u64::from(told.client.is_none());
        match &told.fate {
            Fate::Refused(why) if why.contains("the limit is") => coverage.capped += 1,
            Fate::Refused(_) | Fate::TimedOut => coverage.unavailable += 1,
            _ => {}
        }
        let was_open = |span: &&Span| {
            span.what == Trouble::Stops(told.node)
                && told.begun < span.from
                && span.from < told.ended
        };
        coverage.open_at_stop += u64::from(spans.iter().any(|span| was_open(&span)));
    }
    coverage.held_pieces = carried.held;
    coverage.split_writes = carried.split;
    coverage.resets = carried.reset;
    coverage
}
