//! Who superseded whom: the versions of each key, as contexts and returned siblings tell it.
//!
//! A put made with the context of a get covers every value that get returned, and whatever those
//! cover in turn. A delete is a put of an invisible value. Nothing here decodes a context or looks
//! at a clock: the graph is made of what clients saw.
//!
//! Covering is answered by a *chain cover*: the versions of a key are laid out in chains, each
//! version covering the one before it in its chain, and every version keeps, for each chain it
//! reaches into, how far (Jagadish, "A compression technique to materialize transitive closure",
//! 1990). With `w` versions concurrent at most, a row has about `w` entries and a question costs
//! O(log w).

use hashbrown::HashMap;
use serde_json::Value;
use smallvec::SmallVec;

use crate::history::op::Elsewhere;
use crate::history::{History, Outcome, Pair};

mod by_value;
mod deed;
mod rivals;

pub(crate) use by_value::ByValue;
pub(crate) use deed::{Deed, Does, NO_NODE, Nodes};
pub(crate) use rivals::Rivals;

/// A version, by its position among the puts and deletes of its key in order of invocation.
pub(crate) type VersionId = u32;

/// A few versions: most sets are small, and there are many.
pub(crate) type Few = SmallVec<[VersionId; 4]>;

/// A put or delete.
pub(crate) struct Version<'a> {
    pub(crate) op: Deed,
    /// None for a delete, whose value no get returns.
    pub(crate) value: Option<&'a Value>,
    /// What the get that supplied its context returned.
    pub(crate) covers: Few,
}

impl Version<'_> {
    pub(crate) fn is_delete(&self) -> bool {
        self.value.is_none()
    }

    pub(crate) fn is_acknowledged(&self) -> bool {
        self.op.outcome == Outcome::Ok
    }

    pub(crate) fn may_have_happened(&self) -> bool {
        self.op.outcome != Outcome::Fail
    }
}

/// A read that returned.
pub(crate) struct Read {
    pub(crate) op: Deed,
    /// The versions it returned, each once, in order of id.
    pub(crate) returned: Few,
}

impl Read {
    /// Is it a read of one home's own replica, not of a quorum?
    pub(crate) fn is_home(&self) -> bool {
        self.op.does == Does::Home
    }
}

/// A read that returned what no version explains.
pub(crate) struct Strange<'a> {
    pub(crate) op: Deed,
    pub(crate) why: Strangeness<'a>,
}

pub(crate) enum Strangeness<'a> {
    /// No put of the key wrote this.
    NeverWritten(&'a Value),
    /// The put that wrote this had surely failed.
    Failed(&'a Value, VersionId),
    /// The put that wrote this had not begun when the read ended.
    Future(&'a Value, VersionId),
    /// One value stands in the set twice.
    Twice(&'a Value),
    /// What came back is no list of siblings.
    NoList,
}

/// All that happened to one key.
#[derive(Default)]
pub(crate) struct Key<'a> {
    /// In order of invocation.
    pub(crate) versions: Vec<Version<'a>>,
    /// Reads that returned ok, in order of invocation.
    pub(crate) reads: Vec<Read>,
    /// Reads that failed or never returned.
    pub(crate) unanswered: Vec<Deed>,
    pub(crate) strange: Vec<Strange<'a>>,
    /// Does any put say which get it builds on?
    pub(crate) has_contexts: bool,
    reach: Reach,
}

impl<'a> Key<'a> {
    /// Takes the next version; those it covers have been taken before.
    pub(crate) fn push(&mut self, op: Deed, value: Option<&'a Value>, covers: Few) {
        self.reach.place(&covers);
        self.versions.push(Version { op, value, covers });
    }
}

impl Key<'_> {
    /// Does `above` cover `below`, directly or through others?
    pub(crate) fn covers(&self, above: VersionId, below: VersionId) -> bool {
        above != below && self.reach.reaches(above, below)
    }

    /// Is `version` among `set`, or covered from it?
    pub(crate) fn is_below(&self, version: VersionId, set: &[VersionId]) -> bool {
        set.iter().any(|&above| above == version || self.reach.reaches(above, version))
    }

    /// Two of `set` of which the first covers the second.
    pub(crate) fn dominated(&self, set: &[VersionId]) -> Option<(VersionId, VersionId)> {
        // One alone covers nothing of it, and most sets are of one.
        if set.len() < 2 {
            return None;
        }
        let mut lowest: HashMap<u32, VersionId> = HashMap::new();
        for &version in set {
            let (chain, at) = self.reach.place[version as usize];
            let held = lowest.entry(chain).or_insert(version);
            if at < self.reach.place[*held as usize].1 {
                *held = version;
            }
        }
        set.iter().find_map(|&above| {
            let hit = self.reach.rows[above as usize].iter().find_map(|&(chain, up_to)| {
                let below = *lowest.get(&chain)?;
                let at = self.reach.place[below as usize].1;
                (below != above && at < up_to).then_some(below)
            });
            hit.map(|below| (above, below))
        })
    }

    /// For every version whether it is in `set` or covered from it: one walk, O(versions + edges).
    pub(crate) fn below(&self, set: &[VersionId]) -> Vec<bool> {
        let mut below = vec![false; self.versions.len()];
        let mut next: Vec<VersionId> = set.to_vec();
        while let Some(version) = next.pop() {
            if !std::mem::replace(&mut below[version as usize], true) {
                next.extend(&self.versions[version as usize].covers);
            }
        }
        below
    }

    /// How many versions at most were concurrent, as the chains see it: the cost of a question.
    pub(crate) fn chains(&self) -> usize {
        self.reach.lengths.len()
    }
}

/// The chain cover of one key.
#[derive(Default)]
struct Reach {
    /// Of each version its chain and place in it.
    place: Vec<(u32, u32)>,
    /// Of each version, for each chain it reaches into, how many of that chain it reaches (itself
    /// included); sorted by chain.
    rows: Vec<SmallVec<[(u32, u32); 2]>>,
    lengths: Vec<u32>,
}

impl Reach {
    /// Places the next version. What it covers has been placed before.
    fn place(&mut self, covers: &[VersionId]) {
        let mut row = self.joined(covers);
        // Any chain whose end is covered can be continued, so that few chains are made.
        let ended = row.iter().position(|&(chain, n)| n == self.lengths[chain as usize]);
        let chain = match ended {
            Some(at) => {
                row[at].1 += 1;
                row[at].0
            }
            None => {
                let chain = self.lengths.len() as u32;
                self.lengths.push(0);
                row.push((chain, 1));
                chain
            }
        };
        let length = &mut self.lengths[chain as usize];
        self.place.push((chain, *length));
        *length += 1;
        self.rows.push(row);
    }

    /// The furthest that any of `covers` reaches into each chain.
    fn joined(&self, covers: &[VersionId]) -> SmallVec<[(u32, u32); 2]> {
        let rows = covers.iter().map(|&below| &self.rows[below as usize]);
        let mut all: SmallVec<[(u32, u32); 2]> = rows.flat_map(|row| row.iter().copied()).collect();
        if covers.len() > 1 {
            all.sort_unstable_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
            all.dedup_by_key(|entry| entry.0);
        }
        all
    }

    fn reaches(&self, above: VersionId, below: VersionId) -> bool {
        let (chain, at) = self.place[below as usize];
        let row = &self.rows[above as usize];
        match row.binary_search_by_key(&chain, |entry| entry.0) {
            Ok(found) => at < row[found].1,
            Err(_) => false,
        }
    }
}

/// The keys of a history by name, and the nodes that were asked.
pub(crate) struct Keys<'a> {
    pub(crate) keys: Vec<(&'a str, Key<'a>)>,
    pub(crate) nodes: Nodes<'a>,
}

/// The versions of every key of the history: what `get`, `home`, `put` and `delete` tell.
pub(crate) fn keys(history: &History) -> Keys<'_> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut keys: Vec<(&str, Gathering<'_>)> = Vec::new();
    for pair in history.pairs() {
        let (Some(name), Some(does)) = (pair.key(), Does::named(pair.f())) else { continue };
        let place = *places.entry(name).or_insert_with(|| {
            keys.push((name, Gathering::default()));
            keys.len() - 1
        });
        let gathering = &mut keys[place].1;
        if does.writes() { gathering.writes.push(pair) } else { gathering.reads.push(pair) }
    }
    keys.sort_unstable_by_key(|(name, _)| *name);
    let mut nodes = Nodes::default();
    let keys = keys.into_iter().map(|(name, gathering)| (name, gathering.key(history, &mut nodes)));
    Keys { keys: keys.collect(), nodes }
}

/// A key while its operations are still coming in.
#[derive(Default)]
struct Gathering<'a> {
    /// In order of invocation.
    writes: Vec<Pair<'a>>,
    reads: Vec<Pair<'a>>,
}

impl<'a> Gathering<'a> {
    fn key(self, history: &'a History, nodes: &mut Nodes<'a>) -> Key<'a> {
        let mut key = Key::default();
        let mut by_name: HashMap<u64, usize> = HashMap::with_capacity(self.reads.len());
        let by_value = self.by_value();
        for pair in &self.reads {
            let op = Deed::of(pair, nodes);
            if op.outcome != Outcome::Ok {
                key.unanswered.push(op);
                continue;
            }
            let (returned, strange) = match lines(pair) {
                Some(lines) => self.resolve(pair, lines.iter().map(|&line| self.at(line, history))),
                None => self.resolve_values(pair, &by_value),
            };
            by_name.insert(op.name, key.reads.len());
            key.reads.push(Read { op, returned });
            key.strange.extend(strange.into_iter().map(|why| Strange { op, why }));
        }
        for (id, pair) in (0..).zip(&self.writes) {
            let get = context(pair).and_then(|get| by_name.get(&get));
            key.has_contexts |= context(pair).is_some();
            let seen = get.map(|&at| key.reads[at].returned.as_slice()).unwrap_or_default();
            // A version that began later is thin air, reported as such: it makes no edge.
            let covers = seen.iter().copied().filter(|&below| below < id).collect();
            key.push(Deed::of(pair, nodes), written_value(pair), covers);
        }
        key
    }

    /// Empty if no read has its values in its own line: then none is asked for.
    fn by_value(&self) -> ByValue<'a, VersionId> {
        let mut by_value = ByValue::default();
        let tells = |read: &Pair<'a>| read.outcome() == Outcome::Ok && lines(read).is_none();
        if self.reads.iter().any(tells) {
            for (id, pair) in (0..).zip(&self.writes) {
                if let Some(value) = written_value(pair) {
                    // Values are unique (see `wellformed`); of a repeated one the first put counts.
                    by_value.insert(value, id);
                }
            }
        }
        by_value
    }

    fn resolve_values(
        &self,
        read: &Pair<'a>,
        by_value: &ByValue<'a, VersionId>,
    ) -> (Few, Vec<Strangeness<'a>>) {
        let siblings = match read.result() {
            Some(Value::Array(siblings)) => siblings.as_slice(),
            None | Some(Value::Null) => &[],
            Some(_) => return (Few::new(), vec![Strangeness::NoList]),
        };
        let named = siblings.iter().map(|value| (value, by_value.get(value)));
        self.resolve(read, named)
    }

    /// The value that the write invoked at `line` wrote, and which write of this key that is.
    fn at(&self, line: u64, history: &'a History) -> (&'a Value, Option<VersionId>) {
        let value = history.get(line).and_then(|op| op.value.as_ref()).unwrap_or(&Value::Null);
        let id = self.writes.binary_search_by_key(&line, |write| write.invoke.index).ok();
        (value, id.map(|id| id as VersionId))
    }

    fn resolve(
        &self,
        read: &Pair<'a>,
        siblings: impl Iterator<Item = (&'a Value, Option<VersionId>)>,
    ) -> (Few, Vec<Strangeness<'a>>) {
        let mut returned = Few::new();
        let mut strange = Vec::new();
        let ended = read.acknowledged_at().unwrap_or(u64::MAX);
        for (value, id) in siblings {
            let Some(id) = id else {
                strange.push(Strangeness::NeverWritten(value));
                continue;
            };
            let write = &self.writes[id as usize];
            if write.invoke.time > ended {
                strange.push(Strangeness::Future(value, id));
            } else {
                if write.outcome() == Outcome::Fail {
                    strange.push(Strangeness::Failed(value, id));
                }
                returned.push(id);
            }
        }
        returned.sort_unstable();
        let twice = returned.windows(2).filter(|two| two[0] == two[1]);
        let values = twice.filter_map(|two| self.writes[two[0] as usize].invoke.value.as_ref());
        strange.extend(values.map(Strangeness::Twice));
        returned.dedup();
        (returned, strange)
    }
}

/// The lines in which the values of a read stand, if not in its own.
fn lines<'a>(read: &Pair<'a>) -> Option<&'a [u64]> {
    match &read.completion?.elsewhere {
        Some(Elsewhere::Lines(lines)) => Some(lines),
        Some(Elsewhere::Invocation) | None => None,
    }
}

fn written_value<'a>(pair: &Pair<'a>) -> Option<&'a Value> {
    // A put without a value wrote null; only a delete writes nothing.
    match pair.f() {
        "delete" => None,
        _ => Some(pair.invoke.value.as_ref().unwrap_or(&Value::Null)),
    }
}

/// The get that supplied the context, from whichever line says so.
pub(crate) fn context(pair: &Pair<'_>) -> Option<u64> {
    pair.invoke.context.or_else(|| pair.completion?.context)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Covering as the definition has it: a walk along the edges.
    fn covers_by_walk(edges: &[Vec<VersionId>], above: VersionId, below: VersionId) -> bool {
        edges[above as usize]
            .iter()
            .any(|&next| next == below || covers_by_walk(edges, next, below))
    }

    #[test]
    fn the_chain_cover_agrees_with_a_walk() {
        use rand::prelude::*;
        let mut rng = StdRng::seed_from_u64(1);
        let mut covering = 0;
        for _ in 0..300 {
            let n = rng.random_range(1..14);
            let mut key = Key::default();
            let mut edges = Vec::new();
            for id in 0..n {
                let covers: Vec<VersionId> = (0..id).filter(|_| rng.random_bool(0.25)).collect();
                key.reach.place(&covers);
                edges.push(covers);
            }
            for above in 0..n {
                for below in 0..n {
                    let expected = covers_by_walk(&edges, above, below);
                    covering += u32::from(expected);
                    assert_eq!(key.covers(above, below), expected, "{edges:?} {above} {below}");
                }
            }
            let set: Vec<_> = (0..n).filter(|_| rng.random_bool(0.4)).collect();
            let expected = set.iter().any(|&a| set.iter().any(|&b| key.covers(a, b)));
            let found = key.dominated(&set);
            assert_eq!(found.is_some(), expected);
            assert!(found.is_none_or(|(a, b)| key.covers(a, b)));
        }
        assert!(covering > 1000, "the graphs must have something to cover: {covering}");
    }

    #[test]
    fn blind_puts_cost_a_row_of_one_each() {
        let mut reach = Reach::default();
        for _ in 0..1000 {
            reach.place(&[]);
        }
        assert!(reach.rows.iter().all(|row| row.len() == 1));
    }

    #[test]
    fn a_long_line_of_puts_is_one_chain() {
        let mut reach = Reach::default();
        reach.place(&[]);
        for id in 1..1000 {
            reach.place(&[id - 1]);
        }
        assert_eq!(reach.lengths, [1000]);
        assert!(reach.reaches(999, 0) && !reach.reaches(0, 999));
    }
}
