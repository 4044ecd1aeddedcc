//! What the directory keeps of the membership: one record, which each change replaces as a whole.

use bytes::Bytes;
use dynamo_protocol::{Enrolment, StoreError};

use super::codec::{seal, unseal};
use super::state::{Census, Counted};
use super::{Engine, EngineError, Space, Write};

/// Its key.
pub(super) const ENROLMENT: &[u8] = b"enrolment";

/// The write that makes it what is kept.
pub(super) fn write(enrolment: &Enrolment) -> Write {
    let (key, value) = (Bytes::from_static(ENROLMENT), Some(seal(ENROLMENT, enrolment)));
    Write { space: Space::Meta, key, value }
}

/// What is kept; nothing of a directory that knows of no membership.
///
/// # Errors
/// If the engine cannot tell. Within, if it is not what was written.
pub(super) fn read(engine: &dyn Engine) -> Result<Result<Enrolment, StoreError>, EngineError> {
    let found = engine.get(Space::Meta, ENROLMENT)?;
    Ok(found.map_or(Ok(Enrolment::default()), |found| unseal(ENROLMENT, &found)))
}

/// The census of it, as `engine` shows it.
pub(super) fn census(engine: &dyn Engine) -> Result<Census, EngineError> {
    let found = engine.get(Space::Meta, ENROLMENT)?;
    Ok(found.map_or_else(Census::default, |found| Census::of(ENROLMENT, &found)))
}

/// The census after such a write.
pub(super) fn census_after(write: &Write) -> Census {
    write.value.as_ref().map_or_else(Census::default, |value| Census::of(&write.key, value))
}

impl Census {
    fn of(key: &[u8], value: &[u8]) -> Self {
        let mut census = Self::default();
        census.add(Counted::of(key, value));
        census
    }
}
