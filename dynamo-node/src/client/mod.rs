//! A client: gets, puts and deletes over one session, and what operators ask.
//!
//! It never retries a put: whether one that failed was applied only its caller can find out, by
//! reading.

mod admin;
mod driven;
mod session;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::timeout;

pub use admin::Admin;
pub use driven::ClusterClient;

use crate::proto::outcome::Outcome;
use crate::proto::request::Op;
use crate::proto::{DeleteRequest, Done, GetRequest, PutRequest, Refused, TimedOut};
use crate::tls::Tls;
use crate::wire::named_context;
use session::{Answered, Session};

/// A client of one node. Cheap to clone; all clones share one session, on which any number of requests
/// are under way at once. It connects when it is first used, and again when the session breaks.
///
/// Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Client {
    session: Arc<Session>,
    deadline: Duration,
}

/// What a get answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Got {
    /// Every version that no other one overwrote; none if the key is absent.
    pub values: Vec<Bytes>,
    /// To be handed back, as it is, with the put that overwrites them.
    pub context: Bytes,
}

/// A put or a delete that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// To be handed back with the put that overwrites what was written, without another get. None if other
    /// versions stand beside it: then get the key and reconcile them.
    pub context: Option<Bytes>,
}

/// What became of a request that was not answered as hoped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// Surely not applied, now or later: the node said so, or the request was never sent.
    #[error("refused: {0}")]
    Refused(String),
    /// The same, of a node that has more to do than it can.
    #[error("refused: {why}")]
    Overloaded {
        /// What there is too much of.
        why: String,
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// It may have been applied, or may yet be.
    #[error("no answer: {0}")]
    Indeterminate(String),
}

impl Client {
    /// A client of the node at `address`, `host:port`. Gives a request up after two seconds: later than
    /// the node itself does by default, so that the node's own answer is heard.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self::over(address.into(), None)
    }

    /// The same over TLS: as whom, and whom to believe, `tls` says.
    #[must_use]
    pub fn over_tls(address: impl Into<String>, tls: Arc<Tls>) -> Self {
        Self::over(address.into(), Some(tls))
    }

    pub(crate) fn over(address: String, tls: Option<Arc<Tls>>) -> Self {
        let session = Arc::new(Session::start(address, tls));
        Self { session, deadline: Duration::from_secs(2) }
    }

    /// The highest epoch under which the node has answered; 0 before it has.
    pub(crate) fn epoch(&self) -> u64 {
        self.session.epoch()
    }

    /// The same client with another deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// All versions of a key, and their context.
    ///
    /// # Errors
    /// If there is no such answer. A get changes nothing, whichever error it is.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Got, ClientError> {
        match self.ask(Op::Get(GetRequest { key: key.into() })).await? {
            Outcome::Got(got) => Ok(Got { values: got.values, context: got.context }),
            other => Err(unexpected(&other)),
        }
    }

    /// A new version of a key, which overwrites those that `context` was read with; with an empty
    /// context none. Returns when the node's quorum holds it durably.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it was surely not applied.
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        context: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Written, ClientError> {
        let (key, (_, context), value) = (key.into(), named_context(&context.into()), value.into());
        self.change(Op::Put(PutRequest { key, context, value })).await
    }

    /// A tombstone, which overwrites the versions that `context` was read with.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it was surely not applied.
    pub async fn delete(
        &self,
        key: impl Into<Bytes>,
        context: impl Into<Bytes>,
    ) -> Result<Written, ClientError> {
        let (key, (_, context)) = (key.into(), named_context(&context.into()));
        self.change(Op::Delete(DeleteRequest { key, context })).await
    }

    async fn change(&self, op: Op) -> Result<Written, ClientError> {
        match self.ask(op).await? {
            Outcome::Done(Done { context }) => {
                Ok(Written { context: (!context.is_empty()).then_some(context) })
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&self, op: Op) -> Result<Outcome, ClientError> {
        let mut asked = self.session.ask(op)?;
        let answered = match timeout(self.deadline, asked.answered()).await {
            Ok(answered) => answered,
            Err(_) if asked.give_up() => {
                let waited = format!("no connection within {:?}; not sent", self.deadline);
                return Err(ClientError::Refused(waited));
            }
            Err(_) => {
                let waited = format!("none within {:?}", self.deadline);
                return Err(ClientError::Indeterminate(waited));
            }
        };
        match answered {
            Answered::Outcome(Outcome::Refused(Refused { reason, retry_after_ms, .. })) => {
                let retry_after = Duration::from_millis(retry_after_ms);
                Err(match retry_after_ms {
                    0 => ClientError::Refused(reason),
                    _ => ClientError::Overloaded { why: reason, retry_after },
                })
            }
            Answered::Outcome(Outcome::TimedOut(TimedOut {})) => Err(ClientError::Indeterminate(
                "the node's quorum did not answer in time".to_owned(),
            )),
            Answered::Outcome(outcome) => Ok(outcome),
            Answered::NotSent(why) => Err(ClientError::Refused(why)),
            Answered::Broken(why) => Err(ClientError::Indeterminate(why)),
        }
    }
}

impl ClientError {
    /// Whether the request was surely not applied, and never will be: asking again, anywhere, does nothing
    /// twice.
    #[must_use]
    pub fn is_surely_not_applied(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Overloaded { .. })
    }

    /// What is wrong, without what it means for the request.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Refused(why) | Self::Overloaded { why, .. } | Self::Indeterminate(why) => why,
        }
    }
}

fn unexpected(outcome: &Outcome) -> ClientError {
    ClientError::Indeterminate(format!("the node answered something else: {outcome:?}"))
}
