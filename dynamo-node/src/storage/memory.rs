//! An engine in memory, for tests and examples: it survives nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::{Engine, EngineError, Space, Visit, Write, check_keys};

/// See the [module](self).
#[derive(Debug, Default)]
pub struct MemoryEngine {
    spaces: RwLock<BTreeMap<Space, BTreeMap<Bytes, Bytes>>>,
}

impl Engine for MemoryEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let spaces = self.spaces.read().unwrap_or_else(PoisonError::into_inner);
        Ok(spaces.get(&space).and_then(|entries| entries.get(key)).cloned())
    }

    fn scan(&self, space: Space, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError> {
        let spaces = self.spaces.read().unwrap_or_else(PoisonError::into_inner);
        let Some(entries) = spaces.get(&space) else { return Ok(()) };
        for (key, value) in entries.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)) {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        check_keys(&writes)?;
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        for Write { space, key, value } in writes {
            let entries = spaces.entry(space).or_default();
            match value {
                Some(value) => drop(entries.insert(key, value)),
                None => drop(entries.remove(&key)),
            }
        }
        Ok(())
    }

    fn is_volatile(&self) -> bool {
        true
    }
}
