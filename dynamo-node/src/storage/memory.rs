//! An engine in memory, for tests and examples: it survives nothing.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::address::Address;
use super::{Engine, EngineError, Space, Visit, Write, check_keys};

/// See the [module](self).
#[derive(Debug, Default)]
pub struct MemoryEngine {
    entries: RwLock<BTreeMap<Address, Bytes>>,
}

impl Engine for MemoryEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        Ok(entries.get(&Address::new(space, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(&self, space: Space, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        for (at, value) in entries.range(Address::new(space, Bytes::copy_from_slice(from))..) {
            if at.space != space || !visit(&at.key, value) {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        check_keys(&writes)?;
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for Write { space, key, value } in writes {
            let at = Address::new(space, key);
            match value {
                Some(value) => drop(entries.insert(at, value)),
                None => drop(entries.remove(&at)),
            }
        }
        Ok(())
    }

    fn is_volatile(&self) -> bool {
        true
    }
}
