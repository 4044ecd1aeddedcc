//! Traces, run again: each step's state must come out as recorded.

use dynamo_protocol::{Digest, NodeId, ViewError};
use thiserror::Error;

use crate::bench::{Bench, StepError};
use crate::effect::{Breach, Effect};
use crate::trace::Trace;

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// How many steps were taken.
    pub steps: usize,
    /// How many digests were compared, and were equal.
    pub compared: usize,
    /// The invariants that broke, each with the number of its step, from 0.
    pub breaches: Vec<(usize, Breach)>,
}

/// Where a replay came off the trace.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// The cluster cannot be.
    #[error("the trace's cluster cannot be: {0}")]
    Cluster(#[from] ViewError),
    /// A step cannot happen.
    #[error("step {step}: {why}")]
    Step {
        /// Its number, from 0.
        step: usize,
        /// Why.
        why: StepError,
    },
    /// A state is another.
    #[error("step {step}: {node} has the state {found}, the trace says {expected}")]
    Diverged {
        /// The step's number, from 0.
        step: usize,
        /// Whose state.
        node: NodeId,
        /// What the trace says.
        expected: Digest,
        /// What came out.
        found: Digest,
    },
}

/// Takes the trace's steps on the bare core.
///
/// # Errors
/// At the first step that cannot happen or leaves another state than the trace says.
pub fn on_core(trace: &Trace) -> Result<Replayed, ReplayError> {
    run(trace, Bench::new(trace.cluster)?, |_, _, _| {})
}

/// Takes the trace's steps as the simulator takes its own, with the white-box invariants watching.
///
/// # Errors
/// At the first step that cannot happen or leaves another state than the trace says.
pub fn on_sim(trace: &Trace) -> Result<Replayed, ReplayError> {
    on_sim_with(trace, |_, _, _| {})
}

/// The same, with `look` called after every step: with the cluster as it is then, the number of the
/// step, and what came of it.
///
/// # Errors
/// As [`on_sim`].
pub fn on_sim_with(
    trace: &Trace,
    look: impl FnMut(&Bench, usize, &[Effect]),
) -> Result<Replayed, ReplayError> {
    let mut bench = Bench::new(trace.cluster)?;
    bench.watch();
    run(trace, bench, look)
}

fn run(
    trace: &Trace,
    mut bench: Bench,
    mut look: impl FnMut(&Bench, usize, &[Effect]),
) -> Result<Replayed, ReplayError> {
    let mut effects = Vec::new();
    let mut replayed = Replayed { steps: 0, compared: 0, breaches: Vec::new() };
    for (step, entry) in trace.steps.iter().enumerate() {
        let touched = bench.touched(&entry.step);
        bench.take(entry.at, &entry.step).map_err(|why| ReplayError::Step { step, why })?;
        compare(&bench, step, touched, entry.digest, &mut replayed)?;
        bench.swap_effects(&mut effects);
        look(&bench, step, &effects);
        let breaches = effects.drain(..).filter_map(|effect| match effect {
            Effect::Breached(breach) => Some((step, breach)),
            _ => None,
        });
        replayed.breaches.extend(breaches);
        replayed.steps += 1;
    }
    Ok(replayed)
}

fn compare(
    bench: &Bench,
    step: usize,
    touched: Option<NodeId>,
    expected: Option<Digest>,
    replayed: &mut Replayed,
) -> Result<(), ReplayError> {
    let (Some(node), Some(expected)) = (touched, expected) else { return Ok(()) };
    let found = bench.digest(node);
    if found != expected {
        return Err(ReplayError::Diverged { step, node, expected, found });
    }
    replayed.compared += 1;
    Ok(())
}
