//! The task that owns a node that is stepped, in the place of the [driver](crate::driver).

use std::collections::VecDeque;
use std::sync::Arc;

use dynamo_protocol::{Node, Outbox, Output, Time};

use super::disk::Disk;
use super::{Step, Stepped};
use crate::driver::{Asked, Command, Fatal, Sources};
use crate::record::Recorder;
use crate::replies::Answer;
use crate::storage::{Directory, EngineError, Records};

/// See the [module](self).
pub(crate) struct Hand {
    node: Node,
    disk: Disk,
    recorder: Option<Recorder>,
    /// What waits, and for which change.
    held: VecDeque<(u64, Output)>,
}

impl Hand {
    /// On the records of a directory.
    pub(crate) fn new(
        node: Node,
        (directory, records): (Arc<Directory>, Records),
        counts: bool,
        recorder: Option<Recorder>,
    ) -> Self {
        let disk = Disk::new(directory, records).counting(counts);
        Self { node, disk, recorder, held: VecDeque::new() }
    }

    /// Runs until it is told to end. It waits for the disk where it stands: nothing else goes on.
    pub(crate) async fn run(mut self, mut sources: Sources) -> Result<(), Fatal> {
        loop {
            tokio::select! {
                command = sources.commands.recv() => match command {
                    Some(Command::Step(step, asker)) => drop(asker.send(self.take(step)?)),
                    Some(Command::Stop) | None => return Ok(()),
                    // The services ask nothing else of a node that is stepped.
                    Some(
                        Command::Status(_)
                        | Command::Metrics(_)
                        | Command::ReadReplica(..)
                        | Command::Prune(..)
                        | Command::AcceptLoss(_)
                        | Command::Ring(_)
                        | Command::Propose { .. }
                        | Command::ForceEpoch { .. }
                        | Command::Clock(..),
                    ) => {}
                },
                Some(_) = sources.arrivals.recv() => {}
                Some(requests) = sources.clients.recv() => refuse(requests),
            }
        }
    }

    fn take(&mut self, step: Step) -> Result<Stepped, EngineError> {
        match step {
            Step::Take { now, input, hold } => {
                let mut outbox = Outbox::default();
                let (node, disk, now) = (&mut self.node, &mut self.disk, Time(now));
                match &mut self.recorder {
                    None => node.handle(now, input, disk, &mut outbox),
                    Some(recorder) => {
                        recorder.step(node, now, input, disk, &mut outbox);
                        recorder.flush();
                    }
                }
                let rests_on = self.disk.applied();
                self.held.extend(outbox.outputs.into_iter().map(|output| (rests_on, output)));
                if !hold {
                    self.disk.sync(u64::MAX)?;
                }
            }
            Step::Sync { changes } => self.disk.sync(changes)?,
            Step::Disk(fault) => self.disk.misbehave(&fault)?,
        }
        let durable = self.disk.synced();
        let released = self.held.iter().take_while(|(rests_on, _)| *rests_on <= durable).count();
        let outputs = self.held.drain(..released).map(|(_, output)| output).collect();
        Ok(Stepped { outputs, digest: self.disk.digest(Some(&self.node))? })
    }
}

/// Nobody hears a node that is stepped by hand, and it hears nobody.
fn refuse(requests: Vec<Asked>) {
    for asked in requests {
        let why = "this node is stepped by hand".to_owned();
        asked.reply_to.answer(Answer::Malformed(why));
    }
}
