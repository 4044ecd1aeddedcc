//! A table by written values.

use hashbrown::HashMap;
use serde_json::Value;
use smallvec::SmallVec;

/// What is kept of each value. It is looked up by its `id` alone where it has one, and told apart
/// as a whole: carts have ids, and are deep.
pub(crate) struct ByValue<'a, T> {
    /// By id, or by a value that has none.
    ids: HashMap<&'a Value, SmallVec<[(&'a Value, T); 1]>>,
    /// The values past the [`MOST`] of one id, by all there is of them: so that values that share
    /// an id, which they should not, are found as fast.
    crowded: HashMap<&'a Value, T>,
}

/// So many values of one id are compared one by one.
const MOST: usize = 8;

impl<T> Default for ByValue<'_, T> {
    fn default() -> Self {
        Self { ids: HashMap::new(), crowded: HashMap::new() }
    }
}

impl<'a, T: Copy> ByValue<'a, T> {
    /// What is kept of the value.
    pub(crate) fn get(&self, value: &Value) -> Option<T> {
        let near = self.ids.get(id(value))?;
        let found = near.iter().find(|(known, _)| *known == value);
        match found {
            Some((_, kept)) => Some(*kept),
            None if near.len() < MOST => None,
            None => self.crowded.get(value).copied(),
        }
    }

    /// Keeps something of a value; gives what was kept of it before, which stays.
    pub(crate) fn insert(&mut self, value: &'a Value, kept: T) -> Option<T> {
        let near = self.ids.entry(id(value)).or_default();
        if let Some((_, before)) = near.iter().find(|(known, _)| *known == value) {
            return Some(*before);
        }
        if near.len() < MOST {
            near.push((value, kept));
            return None;
        }
        match self.crowded.try_insert(value, kept) {
            Ok(_) => None,
            Err(occupied) => Some(*occupied.entry.get()),
        }
    }
}

fn id(value: &Value) -> &Value {
    value.get("id").unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_that_share_an_id_are_told_apart() {
        let values: Vec<Value> = (0..100).map(|n| json!({ "id": n % 3, "items": [n] })).collect();
        let others = [json!(1), json!({ "id": 1 }), json!([1]), json!({ "id": 1, "items": [2] })];
        let mut table = ByValue::default();
        for (at, value) in values.iter().enumerate() {
            assert_eq!(table.get(value), None);
            assert_eq!(table.insert(value, at), None);
        }
        for (at, value) in values.iter().enumerate() {
            assert_eq!(table.get(value), Some(at));
            assert_eq!(table.insert(value, 1000), Some(at), "the first stays");
        }
        assert!(others.iter().all(|other| table.get(other).is_none()));
        assert_eq!(table.insert(&others[0], 5), None);
        assert_eq!(table.get(&json!(1)), Some(5));
    }

    #[test]
    fn a_table_of_one_id_is_not_searched_through() {
        // One by one these would be 2 * 10^9 comparisons.
        let values: Vec<Value> = (0..50_000).map(|n| json!({ "id": 0, "n": n })).collect();
        let mut table = ByValue::default();
        assert!(values.iter().enumerate().all(|(at, value)| table.insert(value, at).is_none()));
        assert!(values.iter().enumerate().all(|(at, value)| table.get(value) == Some(at)));
    }
}
