//! Which versions have a rival: another one that neither covers them nor is covered by them.

use super::{Key, VersionId};

/// The versions of a key that may be a rival, by chain.
pub(crate) struct Rivals<'k, 'a> {
    key: &'k Key<'a>,
    chains: Vec<Chain>,
}

struct Chain {
    /// From the one that covers none of the others upwards.
    versions: Vec<VersionId>,
    /// How many of those before each place may be a rival, with one place more at the end.
    before: Vec<u32>,
}

impl<'k, 'a> Rivals<'k, 'a> {
    /// Among the versions of `key` that `may_be` one.
    pub(crate) fn of(key: &'k Key<'a>, may_be: impl Fn(VersionId) -> bool) -> Self {
        let chain = || Chain { versions: Vec::new(), before: vec![0] };
        let mut chains: Vec<Chain> = key.reach.lengths.iter().map(|_| chain()).collect();
        // A version is placed behind all that it covers, so each chain comes in its order.
        for (id, (number, _)) in (0..).zip(&key.reach.place) {
            let chain = &mut chains[*number as usize];
            let before = chain.before.last().copied().unwrap_or(0);
            chain.versions.push(id);
            chain.before.push(before + u32::from(may_be(id)));
        }
        Self { key, chains }
    }

    /// Whether `version` has one. Of each chain it covers the beginning, and the end covers it: those between
    /// are its rivals. So it takes O(w log n) for w versions that are concurrent at most, and less if it has
    /// one.
    pub(crate) fn has(&self, version: VersionId) -> bool {
        let reach = &self.key.reach;
        let (own, _) = reach.place[version as usize];
        let mut row = reach.rows[version as usize].iter().peekable();
        (0..).zip(&self.chains).any(|(number, chain)| {
            let covered =
                row.next_if(|entry| entry.0 == number).map_or(0, |entry| entry.1 as usize);
            if number == own {
                return false;
            }
            let others = &chain.versions[covered..];
            let apart = others.partition_point(|other| !reach.reaches(*other, version));
            chain.before[covered + apart] > chain.before[covered]
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::prelude::*;

    use super::*;

    #[test]
    fn who_has_a_rival_is_found_as_by_comparing_each_with_all_others() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut found = [0, 0];
        for _ in 0..500 {
            let (n, dense) = (rng.random_range(1..16), rng.random_range(0.1..0.9));
            let mut key = Key::default();
            for id in 0..n {
                let covers: Vec<_> = (0..id).filter(|_| rng.random_bool(dense)).collect();
                key.reach.place(&covers);
            }
            let may_be: Vec<_> = (0..n).map(|_| rng.random_bool(0.7)).collect();
            let rivals = Rivals::of(&key, |id| may_be[id as usize]);
            for version in 0..n {
                let is_rival = |other: VersionId| {
                    let is_apart = !key.covers(version, other) && !key.covers(other, version);
                    other != version && may_be[other as usize] && is_apart
                };
                let expected = (0..n).any(is_rival);
                assert_eq!(rivals.has(version), expected, "{version} of {:?}", key.reach.place);
                found[usize::from(expected)] += 1;
            }
        }
        assert!(found.iter().all(|times| *times > 500), "both have to come: {found:?}");
    }
}
