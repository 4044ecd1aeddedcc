//! How a driver ends.

use dynamo_protocol::{Epoch, NodeId};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Asked, Driver};
use crate::replies::Answer;
use crate::storage::EngineError;

/// Why a node ended that was not asked to.
#[derive(Clone, Debug, Error)]
pub enum Fatal {
    /// The disk failed: what it holds is not known until the node starts on it again.
    #[error("{0}; nothing more is acknowledged. Start the node again on what its disk holds")]
    Storage(#[from] EngineError),
    /// The cluster goes on without it.
    #[error(
        "epoch {epoch} has removed {node} with its directory, for good: to have the node back, give it an \
         empty directory and --join"
    )]
    Removed {
        /// Which membership.
        epoch: Epoch,
        /// The node.
        node: NodeId,
    },
}

impl<T> Driver<T> {
    pub(super) fn has_ended(&self) -> bool {
        let is_answered = self.requests.is_empty() && self.backlog.is_empty();
        let at_rest = is_answered && self.node.open_operations() == 0;
        self.ends.is_some_and(|ends| self.held.is_empty() && (at_rest || Instant::now() >= ends))
    }

    /// Who asks a node that has ended surely got nothing done, and is told so.
    pub(super) fn turn_away(&mut self, clients: &mut mpsc::Receiver<Vec<Asked>>) {
        clients.close();
        while let Ok(asked) = clients.try_recv() {
            self.backlog.push_back(asked.into_iter());
        }
        for asked in self.backlog.drain(..).flatten() {
            asked.reply_to.answer(Answer::Stopping);
        }
    }
}
