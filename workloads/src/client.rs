//! The seam to the store: what a client process can ask of it.

use bytes::Bytes;
use serde_json::Value;

use crate::generator::{Call, Worker};

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Completion {
    /// It happened.
    Ok {
        /// What a read showed.
        values: Vec<Value>,
        /// What a get gave to be handed back with a put.
        context: Option<Bytes>,
    },
    /// A final read while nodes held each other down: perhaps not by those who keep the key. It is made
    /// again.
    Uncounted {
        /// What it showed, if it was answered.
        values: Option<Vec<Value>>,
        /// Why it does not count.
        why: String,
    },
    /// It surely did not happen, nor will.
    Fail(String),
    /// Nobody knows.
    Info(String),
}

/// A store, as its clients see it.
pub trait Client: Send + Sync + 'static {
    /// Makes one call, once: a put is never tried again. Answers within the client's patience.
    fn call(
        &self,
        worker: Worker,
        call: Call,
        context: Option<Bytes>,
    ) -> impl Future<Output = Completion> + Send;
}
