//! The seam to the store: what a client process can ask of it.

use bytes::Bytes;
use serde_json::Value;

use crate::workload::generator::{Call, Worker};

/// What became of a call. `V` is what a read showed, `T` what a get gave to be handed back with a put: of
/// simulated nodes neither is copied.
#[derive(Clone, Debug, PartialEq)]
pub enum Completion<V = Vec<Value>, T = Bytes> {
    /// It happened.
    Ok {
        /// What a read showed.
        values: V,
        /// The context that a get gave.
        context: Option<T>,
    },
    /// A final read while nodes held each other down: perhaps not by those who keep the key. It is made
    /// again.
    Uncounted {
        /// What it showed, if it was answered.
        values: Option<V>,
        /// Why it does not count.
        why: String,
    },
    /// It surely did not happen, nor will.
    Fail(String),
    /// Nobody knows.
    Info(String),
}

impl<V, T> Completion<V, T> {
    /// The same of a final read that does not count, and why.
    #[must_use]
    pub fn uncounted(self, why: &str) -> Self {
        match self {
            Self::Ok { values, .. } => {
                Self::Uncounted { values: Some(values), why: why.to_owned() }
            }
            Self::Fail(error) | Self::Info(error) => {
                Self::Uncounted { values: None, why: format!("{error}; {why}") }
            }
            uncounted @ Self::Uncounted { .. } => uncounted,
        }
    }

    /// What a read showed, if it was answered.
    #[must_use]
    pub fn values(&self) -> Option<&V> {
        match self {
            Self::Ok { values, .. } => Some(values),
            Self::Uncounted { values, .. } => values.as_ref(),
            Self::Fail(_) | Self::Info(_) => None,
        }
    }

    /// The same, taken out.
    #[must_use]
    pub fn into_values(self) -> Option<V> {
        match self {
            Self::Ok { values, .. } => Some(values),
            Self::Uncounted { values, .. } => values,
            Self::Fail(_) | Self::Info(_) => None,
        }
    }

    /// Why it was not ok; empty if it was.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Ok { .. } => "",
            Self::Uncounted { why, .. } | Self::Fail(why) | Self::Info(why) => why,
        }
    }
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
