//! Makes traces: carries steps out and notes the digest after each.

use dynamo_protocol::ViewError;

use crate::bench::{Bench, StepError};
use crate::effect::Effect;
use crate::trace::{Cluster, Entry, SCHEMA, Step, Trace};

/// Carries out steps on the bare core and makes a trace of them.
#[derive(Clone, Debug)]
pub struct Recorder {
    bench: Bench,
    entries: Vec<Entry>,
}

impl Recorder {
    /// On a new cluster, none of whose nodes runs yet.
    ///
    /// # Errors
    /// If there is no such cluster.
    pub fn new(cluster: Cluster) -> Result<Self, ViewError> {
        Ok(Self { bench: Bench::new(cluster)?, entries: Vec::new() })
    }

    /// Takes a step at the time of the last one.
    ///
    /// # Errors
    /// If it cannot happen now; it is not recorded then.
    pub fn take(&mut self, step: Step) -> Result<(), StepError> {
        let at = self.bench.now();
        self.take_at(at, step)
    }

    /// Takes a step at a later time.
    ///
    /// # Errors
    /// If it cannot happen now; it is not recorded then.
    pub fn take_at(&mut self, at: u64, step: Step) -> Result<(), StepError> {
        let touched = self.bench.touched(&step);
        self.bench.take(at, &step)?;
        let digest = touched.map(|node| self.bench.digest(node));
        self.entries.push(Entry { at, step, digest });
        Ok(())
    }

    /// What happened since this was last asked, in order.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.bench.effects()
    }

    /// The cluster as it is now.
    #[must_use]
    pub fn bench(&self) -> &Bench {
        &self.bench
    }

    /// The trace.
    #[must_use]
    pub fn finish(self, name: impl Into<String>) -> Trace {
        let cluster = *self.bench.cluster();
        let (name, steps) = (name.into(), self.entries);
        Trace {
            schema: SCHEMA,
            name,
            check: None,
            property: None,
            mutant: None,
            closing: None,
            cluster,
            steps,
        }
    }
}
