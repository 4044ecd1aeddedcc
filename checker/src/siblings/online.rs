//! The rules that need no final read: strict freshness (V2 and V5 of every quorum get) and the
//! session guarantees (V4).
//!
//! Strict: only the *topmost* acknowledged writes are kept and asked for; if they are in a get's
//! set or below it, so is all they cover. Sessions: a session's frontier is what it last saw and
//! its own writes since. Both are O(size of the frontier) a get.

use std::collections::HashMap;

use super::KeyJudge;
use crate::history::Outcome;
use crate::judge::budget::{Exhausted, Meter};
use crate::judge::finding::time;
use crate::siblings::versions::{Deed, Read, VersionId};

/// What happens to one key, in the order of time.
enum Event<'a> {
    /// A write is acknowledged.
    Write(VersionId),
    /// A get begins (for freshness) or returns (for sessions).
    Get(&'a Read),
}

impl KeyJudge<'_, '_> {
    /// Every quorum get accounts for every write acknowledged before it began.
    pub(super) fn freshness(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        let gets = self.key.reads.iter().filter(|read| !read.is_home() && !read.op.is_final);
        let mut events: Vec<(u64, bool, Event<'_>)> =
            gets.map(|read| (read.op.begun, false, Event::Get(read))).collect();
        let writes = (0..).zip(&self.key.versions);
        events.extend(writes.filter_map(|(id, version)| {
            Some((version.op.acknowledged_at()?, true, Event::Write(id)))
        }));
        // At one time gets come first: a write that ends as a get begins is concurrent with it.
        events.sort_by_key(|(time, is_write, _)| (*time, *is_write));
        let mut topmost: Vec<VersionId> = Vec::new();
        for (_, _, event) in events {
            meter.tick()?;
            match event {
                Event::Write(id) => self.raise(&mut topmost, id),
                Event::Get(read) => self.fresh(read, &topmost),
            }
        }
        Ok(())
    }

    /// Takes an acknowledged write among the topmost ones.
    fn raise(&self, topmost: &mut Vec<VersionId>, id: VersionId) {
        if !topmost.iter().any(|&above| self.key.covers(above, id)) {
            topmost.retain(|&below| !self.key.covers(id, below));
            topmost.push(id);
        }
    }

    fn fresh(&mut self, read: &Read, topmost: &[VersionId]) {
        let missing = topmost.iter().copied().find(|&id| {
            if self.key.versions[id as usize].is_delete() {
                return false;
            }
            !self.key.is_below(id, &read.returned) && !self.may_be_deleted(id, read)
        });
        let back = topmost.iter().find_map(|&delete| {
            let is_delete = self.key.versions[delete as usize].is_delete();
            let back = read.returned.iter().find(|&&kept| self.key.covers(delete, kept));
            back.filter(|_| is_delete).map(|&kept| (delete, kept))
        });
        if missing.is_some() || back.is_some() {
            self.tally.stale_gets += 1;
        }
        if !self.rules.strict {
            return;
        }
        if let Some(id) = missing {
            let (ops, what) = self.missing_in_words(id, read);
            self.tally.findings.add("V2", self.name, ops, what);
        }
        if let Some((delete, kept)) = back {
            self.resurrected(delete, kept, read);
        }
    }

    /// Did a delete of `id` that can have happened by the time of the read take it away?
    pub(super) fn may_be_deleted(&self, id: VersionId, read: &Read) -> bool {
        let begun = read.op.begun;
        let ended = read.op.acknowledged_at().unwrap_or(u64::MAX);
        self.deletes.iter().any(|&delete| {
            let op = &self.key.versions[delete as usize].op;
            let sure = op.acknowledged_at().is_some_and(|at| at < begun);
            op.outcome != Outcome::Fail
                && op.begun <= ended
                && self.key.covers(delete, id)
                && (sure || !read.returned.iter().any(|&kept| self.key.covers(delete, kept)))
        })
    }

    fn missing_in_words(&self, id: VersionId, read: &Read) -> (Vec<u64>, String) {
        let put = &self.key.versions[id as usize].op;
        let what = format!(
            "get #{} of {:?} returned {}, but put #{} of {} was acknowledged at {}, before it \
             began at {}, and nothing returned covers it",
            read.op.name,
            self.name,
            self.set(&read.returned),
            put.name,
            self.value(id),
            time(put.acknowledged_at().unwrap_or(0)),
            time(read.op.begun),
        );
        (vec![put.name, read.op.name], what)
    }

    /// V4: a session sees its own writes, and what it saw once.
    pub(super) fn sessions(&mut self, meter: &mut Meter) -> Result<(), Exhausted> {
        let gets = self.key.reads.iter().filter(|read| !read.is_home());
        let mut events: Vec<(u64, u64, Event<'_>)> =
            gets.map(|read| (read.op.name, read.op.process, Event::Get(read))).collect();
        let writes = (0..).zip(&self.key.versions).filter(|(_, version)| version.is_acknowledged());
        events.extend(
            writes.map(|(id, version)| (version.op.name, version.op.process, Event::Write(id))),
        );
        events.sort_unstable_by_key(|(index, ..)| *index);
        let mut sessions: HashMap<u64, Session> = HashMap::new();
        for (_, process, event) in events {
            meter.tick()?;
            let session = sessions.entry(process).or_default();
            match event {
                Event::Write(id) => self.raise(&mut session.frontier, id),
                Event::Get(read) => {
                    self.continues(session, read);
                    session.frontier.retain(|&id| self.still_owed(id, read));
                    session.frontier.extend(&read.returned);
                    session.last = Some(read.op);
                }
            }
        }
        Ok(())
    }

    /// Must a later get of the session account for `id`, when this one's set does not stand for it?
    /// The session's own deletes are invisible and stay. So does what only an indeterminate delete
    /// can have taken: a later get may show that the delete never happened.
    fn still_owed(&self, id: VersionId, read: &Read) -> bool {
        self.key.versions[id as usize].is_delete()
            || !self.key.is_below(id, &read.returned) && self.may_be_deleted(id, read)
    }

    fn continues(&mut self, session: &Session, read: &Read) {
        let missing = session.frontier.iter().copied().find(|&id| {
            if self.key.versions[id as usize].is_delete() {
                return read.returned.iter().any(|&kept| self.key.covers(id, kept));
            }
            !self.key.is_below(id, &read.returned) && !self.may_be_deleted(id, read)
        });
        let Some(id) = missing else { return };
        let version = &self.key.versions[id as usize];
        let own = version.op.process == read.op.process;
        self.tally.session_violations += 1;
        self.tally.own_missed += u64::from(own);
        if !self.rules.sessions {
            return;
        }
        let since = if own {
            format!("its session had {} #{} of it", version.op.does.name(), version.op.name)
        } else {
            let before = session.last.map_or(0, |before| before.name);
            format!("its session had seen {} in get #{before}", self.value(id))
        };
        let what = format!(
            "get #{} of {:?} returned {}, but {since}, which this does not account for",
            read.op.name,
            self.name,
            self.set(&read.returned),
        );
        let mut ops = vec![version.op.name, read.op.name];
        if let (false, Some(before)) = (own, &session.last) {
            ops.insert(1, before.name);
        }
        self.tally.findings.add("V4", self.name, ops, what);
    }
}

/// What one session knows of one key.
#[derive(Default)]
struct Session {
    frontier: Vec<VersionId>,
    last: Option<Deed>,
}
