//! A trace, run again on real processes beside the bare core: after every step both must have let out
//! the same, run the same timers, and be in the same state.

use std::fmt;
use std::path::{Path, PathBuf};

use dynamo_node::stepped::{DiskFault, Step as NodeStep, Stepped};
use dynamo_protocol::{Digest, Identity, Input, Key, NodeId, Output, Place};
use dynamo_sim::Effect;
use dynamo_sim::trace::{Entry, Step, Trace};
use dynamo_sim::{Bench, disk};
use serde::Serialize;
use thiserror::Error;

use super::stage::{Broken, Stage};

/// What a replay that came out equal has compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Steps taken.
    pub steps: usize,
    /// States of nodes, equal to the core's, and to the trace's where it says one.
    pub states: usize,
    /// Outputs of nodes, equal to the core's.
    pub outputs: usize,
}

/// The first difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The number of the step, from 0.
    pub step: usize,
    /// Whose.
    #[serde(serialize_with = "as_text")]
    pub node: NodeId,
    /// Of what.
    pub what: String,
    /// What the core has, or the trace.
    pub expected: String,
    /// What the process has.
    pub found: String,
}

/// Why a replay did not come out equal.
#[derive(Debug, Error)]
pub enum LocalError {
    /// The trace makes no sense, or asks for what no process can do.
    #[error("{0}")]
    Refused(String),
    /// It came out otherwise.
    #[error("{0}")]
    Differs(Box<Difference>),
    /// It could not be run.
    #[error("{0}")]
    Broken(Broken),
}

/// What processes are made of.
#[derive(Clone, Debug)]
pub struct Processes {
    /// The program: a `dyno`.
    pub program: PathBuf,
    /// Where their disks and logs are.
    pub folder: PathBuf,
}

/// Takes the steps of `trace` on processes.
///
/// # Errors
/// At the first difference; or if the trace cannot be run.
pub async fn on_local(trace: &Trace, processes: Processes) -> Result<Compared, LocalError> {
    refuse_what_cannot_be(trace)?;
    let bench = Bench::new(trace.cluster)
        .map_err(|error| LocalError::Refused(format!("the trace's cluster cannot be: {error}")))?;
    let Processes { program, folder } = processes;
    let stage = Stage::new(trace.cluster, program, &folder);
    let mut replay = Replay { bench, stage, compared: Compared::default() };
    for (step, entry) in trace.steps.iter().enumerate() {
        replay.take(step, entry).await?;
        replay.compared.steps += 1;
    }
    Ok(replay.compared)
}

fn refuse_what_cannot_be(trace: &Trace) -> Result<(), LocalError> {
    for (step, entry) in trace.steps.iter().enumerate() {
        if let Step::Disk { fault: disk::DiskFault::LoseSyncs(_), .. } = entry.step {
            return Err(LocalError::Refused(format!(
                "step {step}: lose-syncs: a real disk cannot be made to lose what it has synced; \
                 use --on sim"
            )));
        }
    }
    if trace.cluster.spares > 0 {
        return Err(LocalError::Refused(
            "its membership changes, and stepped processes have the one they begin with; use --on sim"
                .to_owned(),
        ));
    }
    match trace.mutant.as_deref() {
        Some(mutant) if OF_THE_SIMULATOR.contains(&mutant) => Err(LocalError::Refused(format!(
            "mutant {mutant} is seeded in the simulator's host or disk, no process has it; use --on sim"
        ))),
        _ => Ok(()),
    }
}

/// Seeded bugs that are not in the core. A normal build knows none by name.
const OF_THE_SIMULATOR: &[&str] = if cfg!(feature = "mutants") {
    &[
        "ack-unsynced",
        "coordinator-unsynced",
        "damage-accepted",
        "hints-volatile",
        "sync-error-swallowed",
        "torn-batch",
    ]
} else {
    &[]
};

struct Replay {
    /// What is expected.
    bench: Bench,
    stage: Stage,
    compared: Compared,
}

/// What a step is for a process.
enum Real {
    Start {
        incarnation: u64,
        spare: Option<Identity>,
        failing: (u32, u32),
    },
    Take(Input),
    Sync(u64),
    Crash(u64),
    Wipe(Identity),
    Empty,
    BackUp,
    Restore,
    Disk(DiskFault),
    Pause(bool),
    /// It does not reach the process: links, clocks, messages.
    Nothing,
}

impl Replay {
    async fn take(&mut self, step: usize, entry: &Entry) -> Result<(), LocalError> {
        let touched = self.bench.touched(&entry.step);
        let real = self.real(&entry.step);
        let taken = self.bench.take(entry.at, &entry.step);
        taken.map_err(|why| LocalError::Refused(format!("step {step}: {why}")))?;
        let expected = self.outputs();
        if let Step::Lose { message } = entry.step {
            self.stage.message(message, false);
        }
        let Some(node) = touched else { return Ok(()) };
        let stepped = self.carry_out(node, real).await.map_err(LocalError::Broken)?;
        let digest = match &stepped {
            Some(stepped) => stepped.digest,
            None => self.stage.digest(node).await.map_err(LocalError::Broken)?,
        };
        let found = stepped.map_or_else(Vec::new, |stepped| stepped.outputs);
        let differs = |what: String, [expected, found]: [String; 2]| {
            LocalError::Differs(Box::new(Difference { step, node, what, expected, found }))
        };
        self.compare_outputs(&expected, found).map_err(|(what, pair)| differs(what, pair))?;
        self.compare_timers(node).map_err(|(what, pair)| differs(what, pair))?;
        self.compare_states(node, entry.digest, digest).map_err(|(what, pair)| differs(what, pair))
    }

    /// What the step is for a process; before the core takes it.
    fn real(&mut self, step: &Step) -> Real {
        match step {
            Step::Start { node, incarnation, spare } => {
                let known = self.bench.cluster().ids().any(|id| id == *node);
                let failing = known.then(|| self.bench.host(*node).disk().failing());
                let (incarnation, spare) = (*incarnation, *spare);
                Real::Start { incarnation, spare, failing: failing.unwrap_or_default() }
            }
            Step::Client { request, op, .. } => {
                let op = self.bench.client_op(op);
                Real::Take(Input::Client { request: *request, op })
            }
            Step::Deliver { message, again } => match self.stage.message(*message, *again) {
                Some(envelope) => Real::Take(Input::Peer(envelope)),
                None => Real::Nothing,
            },
            Step::Timer { timer, .. } => Real::Take(Input::Timer(*timer)),
            Step::Unreachable { peer, .. } => Real::Take(Input::Unreachable(*peer)),
            Step::Prune { key, .. } => Real::Take(Input::Prune(Key(key.clone()))),
            Step::Propose { edit, .. } => Real::Take(Input::Propose { edit: *edit, expect: None }),
            Step::Synced { changes, .. } => Real::Sync(*changes),
            Step::Crash { keep, .. } => Real::Crash(*keep),
            Step::Wipe { identity, .. } => Real::Wipe(*identity),
            Step::Disk { fault: disk::DiskFault::Empty, .. } => Real::Empty,
            Step::Disk { fault, .. } => Real::Disk(match fault {
                disk::DiskFault::ReadsFail(times) => DiskFault::ReadsFail(*times),
                disk::DiskFault::WritesFail(times) => DiskFault::WritesFail(*times),
                disk::DiskFault::Damage(role, key) => {
                    DiskFault::Damage(Place { role: *role, key: key.clone() })
                }
                disk::DiskFault::Forget(role, key) => {
                    DiskFault::Forget(Place { role: *role, key: key.clone() })
                }
                // Refused before, told apart above.
                disk::DiskFault::LoseSyncs(_) | disk::DiskFault::Empty | disk::DiskFault::Mend => {
                    DiskFault::Mend
                }
            }),
            Step::BackUp { .. } => Real::BackUp,
            Step::Restore { .. } => Real::Restore,
            Step::Pause { .. } => Real::Pause(true),
            Step::Resume { .. } => Real::Pause(false),
            // Refused before: no stepped process writes a membership down.
            Step::Enrol { .. }
            | Step::Clock { .. }
            | Step::Cut { .. }
            | Step::Heal { .. }
            | Step::Lose { .. } => Real::Nothing,
        }
    }

    /// What the core has let out in its last step; that timers were cancelled shows in those that run.
    fn outputs(&mut self) -> Vec<Output> {
        let effects: Vec<_> = self.bench.effects().collect();
        let outputs = effects.into_iter().filter_map(|effect| match effect {
            Effect::Sent(number) => self.bench.message(number).cloned().map(Output::Send),
            Effect::Replied(request, reply) => Some(Output::Reply(request, reply)),
            Effect::TimerSet(_, timer, _, after) => Some(Output::SetTimer(timer, after)),
            Effect::Told(_, event) => Some(Output::Event(event)),
            Effect::Breached(_) => None,
        });
        outputs.collect()
    }

    async fn carry_out(&mut self, node: NodeId, real: Real) -> Result<Option<Stepped>, Broken> {
        let stage = &mut self.stage;
        match real {
            Real::Start { incarnation, spare, failing } => {
                let now = self.bench.wall(node);
                return stage.start(node, (incarnation, spare), now, failing).await.map(Some);
            }
            Real::Take(input) => {
                return stage.take(node, self.bench.wall(node), input).await.map(Some);
            }
            Real::Sync(changes) => {
                // A disk at rest has nothing to sync.
                if self.bench.host(node).node().is_some() {
                    return stage.step(node, NodeStep::Sync { changes }).await.map(Some);
                }
            }
            Real::Crash(keep) => stage.crash(node, keep).await?,
            Real::Wipe(identity) => stage.wipe(node, identity)?,
            Real::Empty => stage.empty(node)?,
            Real::BackUp => stage.back_up(node)?,
            Real::Restore => stage.restore(node)?,
            Real::Disk(fault) => stage.disk(node, fault).await?,
            Real::Pause(paused) => stage.pause(node, paused)?,
            Real::Nothing => {}
        }
        Ok(None)
    }

    fn compare_outputs(
        &mut self,
        expected: &[Output],
        mut found: Vec<Output>,
    ) -> Result<(), (String, [String; 2])> {
        found.retain(|output| !matches!(output, Output::CancelTimer(_)));
        let equal = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
        self.compared.outputs += equal;
        if equal == expected.len().max(found.len()) {
            return Ok(());
        }
        let show = |outputs: &[Output]| match outputs.get(equal) {
            Some(output) => format!("{output:?}"),
            None => "no further output".to_owned(),
        };
        Err((format!("output {equal}"), [show(expected), show(&found)]))
    }

    fn compare_timers(&self, node: NodeId) -> Result<(), (String, [String; 2])> {
        let (expected, found) = (self.bench.host(node).timers(), self.stage.timers(node));
        if expected == found {
            return Ok(());
        }
        Err(("running timers".to_owned(), [format!("{expected:?}"), format!("{found:?}")]))
    }

    fn compare_states(
        &mut self,
        node: NodeId,
        said: Option<Digest>,
        found: Digest,
    ) -> Result<(), (String, [String; 2])> {
        let core = self.bench.digest(node);
        let expected = said.unwrap_or(core);
        if found != expected {
            let what = if core == expected { "state" } else { "state, and the core's own" };
            return Err((what.to_owned(), [expected.to_string(), found.to_string()]));
        }
        self.compared.states += 1;
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, node, what, expected, found } = self;
        write!(
            f,
            "step {step}, {node}: {what} differs\n  expected: {expected}\n  found:    {found}"
        )
    }
}

fn as_text<S: serde::Serializer>(node: &NodeId, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(node)
}

/// A folder that is gone when the replay is over.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> std::io::Result<Self> {
        let folder = std::env::temp_dir()
            .join(format!("dyno-replay-{:016x}", crate::hosts::remote::unique()));
        std::fs::create_dir(&folder)?;
        Ok(Self(folder))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
