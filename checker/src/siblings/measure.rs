//! What a history measures of a store that keeps siblings, whatever it was promised: how stale its gets were,
//! and how often each promise that one could have made was broken.

use serde::Serialize;

use super::{KeyJudge, Siblings, Tally, deletes};
use crate::history::History;
use crate::judge::budget::{Budget, Exhausted, Meter};
use crate::siblings::versions::{Keys, Read, VersionId, keys};

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Gets that began after a put of their key was acknowledged.
    pub gets: Vec<Get>,
    /// Gets that missed an acknowledged put of their own client.
    pub own_missed: u64,
    /// Gets that missed what an earlier get of their client had shown.
    pub seen_missed: u64,
    /// How often an acknowledged put was not accounted for by final gets, or by all homes together.
    pub lost: u64,
    /// Final gets that showed what an acknowledged delete had taken away.
    pub resurrected: u64,
    /// The most siblings that any get showed.
    pub most_siblings: usize,
}

/// A get, and what it missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Get {
    /// Its name in the history.
    pub name: u64,
    /// For how long the put that it missed, the oldest of them, had been acknowledged when it began, in
    /// nanoseconds. None if it missed none.
    pub stale: Option<u64>,
    /// How many acknowledged puts it missed.
    pub missed: usize,
    /// For each wait that was asked for: how long ago the latest put was acknowledged that had been so for
    /// that long. None if there was no such put.
    pub ages: Vec<Option<u64>>,
}

/// Measures `history`; `waits` are in nanoseconds.
///
/// # Errors
/// When the budget is used up.
pub fn measure(history: &History, waits: &[u64], budget: &Budget) -> Result<Measured, Exhausted> {
    let mut meter = budget.start();
    // Where nothing was promised all is counted, and what final reads lack is all that is found.
    let rules = Siblings::default();
    let Keys { keys, nodes } = keys(history);
    let mut measured = Measured::default();
    let mut tally = Tally::default();
    for (name, key) in &keys {
        let (first_seen, deletes) = (Vec::new(), deletes(key));
        let (rules, nodes, tally) = (&rules, &nodes, &mut tally);
        let mut judge = KeyJudge { name, key, nodes, first_seen, deletes, rules, tally };
        judge.judge(&mut meter)?;
        judge.gets(waits, &mut measured, &mut meter)?;
    }
    measured.gets.sort_unstable_by_key(|get| get.name);
    measured.own_missed = tally.own_missed;
    measured.seen_missed = tally.session_violations as u64 - tally.own_missed;
    measured.lost = tally.findings.of("V2");
    measured.resurrected = tally.findings.of("V5");
    measured.most_siblings = tally.most_siblings;
    Ok(measured)
}

impl KeyJudge<'_, '_> {
    fn gets(
        &self,
        waits: &[u64],
        measured: &mut Measured,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        let versions = (0..).zip(&self.key.versions);
        let mut acked: Vec<(u64, VersionId)> = versions
            .filter_map(|(id, version)| Some((version.op.acknowledged_at()?, id)))
            .collect();
        acked.sort_unstable();
        let gets = self.key.reads.iter().filter(|read| !read.is_home() && !read.op.is_final);
        for read in gets {
            meter.tick()?;
            let before = acked.partition_point(|(at, _)| *at < read.op.begun);
            if before > 0 {
                measured.gets.push(self.get(read, &acked[..before], waits));
            }
        }
        Ok(())
    }

    fn get(&self, read: &Read, acked: &[(u64, VersionId)], waits: &[u64]) -> Get {
        let below = self.key.below(&read.returned);
        let is_missed = |(_, id): &&(u64, VersionId)| {
            let is_delete = self.key.versions[*id as usize].is_delete();
            match is_delete {
                true => read.returned.iter().any(|kept| self.key.covers(*id, *kept)),
                false => !below[*id as usize] && !self.may_be_deleted(*id, read),
            }
        };
        let mut missed = acked.iter().filter(is_missed).peekable();
        let oldest = missed.peek().map(|(at, _)| read.op.begun - at);
        let age = |wait: &u64| {
            let end = read.op.begun.checked_sub(*wait)?;
            let older = acked.partition_point(|(at, _)| *at <= end);
            older.checked_sub(1).map(|last| read.op.begun - acked[last].0)
        };
        Get {
            name: read.op.name,
            stale: oldest,
            missed: missed.count(),
            ages: waits.iter().map(age).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::op::{Kind, Op};

    fn history(ops: &[(&'static str, u64, u64, serde_json::Value)]) -> History {
        let mut lines = Vec::new();
        for (process, (f, begun, ended, value)) in (0..).zip(ops) {
            let op = Op::invoke(process, *f).key("k").at(*begun);
            let op = if *f == "put" { op.value(value.clone()) } else { op };
            let done = op.clone().completed(Kind::Ok).at(*ended);
            let done = if *f == "get" { done.value(value.clone()) } else { done };
            lines.extend([op, done]);
        }
        lines.sort_by_key(|op| op.time);
        History::numbered(lines).unwrap()
    }

    #[test]
    fn a_get_is_as_stale_as_the_oldest_put_that_it_misses_had_been_acknowledged() {
        let history = history(&[
            ("put", 0, 10, "a".into()),
            ("put", 20, 30, "b".into()),
            ("get", 50, 55, serde_json::json!(["b"])),
            ("get", 60, 65, serde_json::json!(["a", "b"])),
            ("get", 70, 75, serde_json::json!([])),
        ]);
        let measured = measure(&history, &[0, 25, 60], &Budget::UNLIMITED).unwrap();
        let told: Vec<_> = measured.gets.iter().map(|get| (get.stale, get.missed)).collect();
        assert_eq!(told, [(Some(40), 1), (None, 0), (Some(60), 2)]);
        assert_eq!(measured.gets[0].ages, [Some(20), Some(40), None]);
        assert_eq!(measured.gets[2].ages, [Some(40), Some(40), Some(60)]);
        assert_eq!((measured.lost, measured.most_siblings), (0, 2));
    }

    #[test]
    fn what_a_session_misses_of_its_own_is_told_from_what_it_had_seen() {
        let put = Op::invoke(1, "put").key("k").value("a").at(0);
        let own = Op::invoke(1, "get").key("k").at(20);
        let one = Op::invoke(2, "get").key("k").at(20);
        let two = Op::invoke(2, "get").key("k").at(40);
        let nothing = serde_json::json!([]);
        let lines = vec![
            put.clone(),
            put.completed(Kind::Ok).at(10),
            own.clone(),
            one.clone(),
            own.completed(Kind::Ok).value(nothing.clone()).at(30),
            one.completed(Kind::Ok).value(serde_json::json!(["a"])).at(31),
            two.clone(),
            two.completed(Kind::Ok).value(nothing).at(50),
        ];
        let history = History::numbered(lines).unwrap();
        let measured = measure(&history, &[], &Budget::UNLIMITED).unwrap();
        assert_eq!((measured.own_missed, measured.seen_missed), (1, 1));
    }
}
