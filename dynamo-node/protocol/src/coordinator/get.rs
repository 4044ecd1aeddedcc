//! Gets: ask every slot, answer from R, repair the homes that were stale (paper, sections 4.5 and 5).

use std::collections::{BTreeMap, BTreeSet};

use super::Origin;
use super::next::{Next, Terms};
use super::quorum::Tally;
use crate::id::{Key, NodeId};
use crate::message::Answer;
use crate::mode::{ReadMode, Versioning};
use crate::mutant::{Mutant, mutated};
use crate::request::{Refusal, Reply};
use crate::settings::Settings;
use crate::storage::{Role, StoreError};
use crate::version::Siblings;
use crate::view::Epoch;

/// A get, from its fetches to its last repair.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Get {
    /// None once it has its reply.
    origin: Option<Origin>,
    key: Key,
    /// In which tenure of the key hosts are counted.
    tenure: Epoch,
    tally: Tally,
    /// What each host said it holds; nothing from those that failed.
    answers: BTreeMap<NodeId, Siblings>,
    /// All answers so far.
    merged: Siblings,
    /// Atomic gets whose answers differed: what will be replied once W slots hold it.
    write_back: Option<WriteBack>,
    /// After the reply: homes whose repair is not acknowledged. None while answers may come in.
    repairs: Option<BTreeSet<NodeId>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct WriteBack {
    shown: Siblings,
    tally: Tally,
}

impl Get {
    /// The hosts of `tally` are being asked.
    pub(super) fn new(
        origin: Origin,
        key: Key,
        (tenure, tally): (Epoch, Tally),
        versioning: Versioning,
    ) -> Self {
        Self {
            origin: Some(origin),
            key,
            tenure,
            tally,
            answers: BTreeMap::new(),
            merged: Siblings::empty(versioning),
            write_back: None,
            repairs: None,
        }
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn tenure(&self) -> Epoch {
        self.tenure
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        self.origin
    }

    pub(super) fn origin_mut(&mut self) -> Option<&mut Origin> {
        self.origin.as_mut()
    }

    /// Hosts that were asked, have not answered, and are still needed for the reply.
    pub(super) fn silent(&self) -> Vec<NodeId> {
        let mut silent: Vec<_> = self.tally.silent().collect();
        silent.extend(self.write_back.iter().flat_map(|write_back| write_back.tally.silent()));
        silent
    }

    /// Whether anything of `host` is still to come: for the reply, or after it.
    pub(super) fn waits_for(&self, host: NodeId) -> bool {
        self.silent().contains(&host) || self.repairs.iter().flatten().any(|home| *home == host)
    }

    /// It has its reply and waits for repairs to be acknowledged: nobody is told of it.
    pub(super) fn is_finished(&self) -> bool {
        self.origin.is_none() && self.repairs.is_some()
    }

    /// `from` says what it holds.
    pub(super) fn answered(&mut self, terms: Terms<'_>, from: NodeId, answer: Answer) -> Vec<Next> {
        if self.repairs.is_some() {
            // It is over: what is late is the next get's.
            return Vec::new();
        }
        let votes = match answer {
            Answer::Known { set, votes } => {
                self.take(from, set);
                votes
            }
            // A corrupt copy is no copy: the home is repaired like one that has nothing.
            Answer::Failed(StoreError::Corrupt) => {
                self.take(from, Siblings::empty(terms.settings.versioning));
                false
            }
            Answer::Failed(_) => false,
        };
        self.tally.answered(from, votes);
        let mut next = if votes { Vec::new() } else { self.hedge(terms, false) };
        next.extend(self.check(terms));
        next
    }

    /// `from` has stored what was written back, or what it was repaired with; or could not.
    pub(super) fn stored(&mut self, terms: Terms<'_>, from: NodeId, stored: bool) -> Vec<Next> {
        self.note_stored(from, stored);
        let mut next = if stored { Vec::new() } else { self.hedge(terms, false) };
        next.extend(self.reply_if_written_back(terms));
        next.extend(self.check_repairs(terms));
        next
    }

    /// The node itself has stored what is written back, or could not.
    pub(super) fn kept(
        &mut self,
        terms: Terms<'_>,
        role: Role,
        (kept, counts): (bool, bool),
    ) -> Vec<Next> {
        let Some(WriteBack { shown, tally }) = &mut self.write_back else {
            unreachable!("only what is written back is kept");
        };
        tally.answered(terms.me, kept && counts);
        if kept && role == Role::Home {
            self.answers.insert(terms.me, shown.clone());
        }
        let mut next = vec![Next::Hedge];
        next.extend(self.reply_if_written_back(terms));
        next.extend(self.check_repairs(terms));
        next
    }

    /// `host` will hardly answer: neither a fetch nor a write-back nor a repair.
    pub(super) fn lost(&mut self, terms: Terms<'_>, host: NodeId) -> Vec<Next> {
        self.tally.answered(host, false);
        self.note_stored(host, false);
        let mut next = self.hedge(terms, false);
        next.extend(self.check(terms));
        next
    }

    /// Asks spares for the slots that lack a grant; with `also_silent`, for those too whose hosts may yet
    /// answer.
    pub(super) fn hedge(&mut self, terms: Terms<'_>, also_silent: bool) -> Vec<Next> {
        if self.repairs.is_some() {
            return Vec::new();
        }
        let is_alive = |host| terms.peers.is_alive(host);
        let fetches = self.tally.hedge(also_silent, is_alive).into_iter();
        let mut next: Vec<_> = fetches.map(|(host, role)| Next::Fetch(host, role)).collect();
        if let Some(WriteBack { shown, tally }) = &mut self.write_back {
            let stores = tally.hedge(also_silent, is_alive).into_iter();
            next.extend(stores.map(|(host, role)| Next::Store(host, role, shown.clone())));
        }
        next
    }

    /// The key has other homes: they are asked, and counted from the beginning.
    pub(super) fn count_anew(
        &mut self,
        terms: Terms<'_>,
        (tenure, tally): (Epoch, Tally),
    ) -> Vec<Next> {
        assert!(tenure > self.tenure, "a get is counted anew in a later tenure");
        assert!(self.repairs.is_none(), "what has its reply is not counted");
        (self.tenure, self.tally, self.write_back) = (tenure, tally, None);
        self.answers.clear();
        self.merged = Siblings::empty(terms.settings.versioning);
        let others = self.tally.asked().filter(|(host, _)| *host != terms.me);
        others.map(|(host, role)| Next::Fetch(host, role)).collect()
    }

    /// Whoever waits is told that its time is up, and nothing more comes of it.
    pub(super) fn end(&mut self) -> Vec<Next> {
        self.replies(Reply::TimedOut).chain([Next::Close]).collect()
    }

    /// Time is up: for the reply, for answers, or for repairs.
    pub(super) fn deadline(&mut self, terms: Terms<'_>) -> Vec<Next> {
        let mut next: Vec<_> = self.replies(Reply::TimedOut).collect();
        if self.repairs.is_some() {
            next.push(Next::Close);
        } else {
            next.extend(self.repair(terms));
            next.extend(self.end_if_repaired());
        }
        next
    }

    fn take(&mut self, from: NodeId, set: Siblings) {
        assert!(self.repairs.is_none(), "an answer that came too late is not taken in");
        self.merged.merge(&set);
        self.answers.insert(from, set);
    }

    fn note_stored(&mut self, from: NodeId, stored: bool) {
        if let Some(repairs) = &mut self.repairs {
            repairs.remove(&from);
        } else if let Some(WriteBack { shown, tally }) = &mut self.write_back {
            tally.answered(from, stored);
            if stored && let Some(held) = self.answers.get_mut(&from) {
                held.merge(shown);
            }
        }
    }

    /// Replies at R, repairs when no more answers are to come.
    fn check(&mut self, terms: Terms<'_>) -> Vec<Next> {
        let needed = if mutated(Mutant::FirstReply) { 1 } else { terms.settings.r };
        let reachable = self.tally.granted();
        let mut next = Vec::new();
        if reachable >= needed && self.origin.is_some() && self.write_back.is_none() {
            let is_plain = terms.settings.read == ReadMode::Plain;
            if !is_plain && !self.is_settled_knowledge(terms.settings) {
                return self.begin_write_back(terms);
            }
            let shown = self.merged.clone();
            next.extend(self.shows(&shown, terms));
        } else if reachable < needed && self.tally.is_settled() {
            let refusal = Refusal::Unavailable { needed: terms.settings.r, reachable };
            next.extend(self.replies(Reply::Refused(refusal)));
        }
        next.extend(self.check_repairs(terms));
        next
    }

    /// Whether every later get is bound to meet what this one is about to show: all answers agree, and
    /// they are so many that any R slots have one of them. Agreement alone is not enough: one answer
    /// always agrees with itself.
    fn is_settled_knowledge(&self, settings: &Settings) -> bool {
        let agree = self.answers.values().all(|set| *set == self.merged);
        let met =
            self.tally.granted() + settings.r > settings.n || mutated(Mutant::AgreementIsEnough);
        agree && (met || self.merged.is_empty())
    }

    /// Whoever waits is told, once.
    fn replies(&mut self, reply: Reply) -> impl Iterator<Item = Next> + use<> {
        self.origin.take().map(|origin| Next::Reply(origin, reply)).into_iter()
    }

    fn shows(&mut self, shown: &Siblings, terms: Terms<'_>) -> Option<Next> {
        let origin = self.origin.take()?;
        assert!(self.repairs.is_none(), "whoever waits is answered before homes are repaired");
        let values = shown.visible(terms.settings.versioning);
        Some(Next::Reply(origin, Reply::Got { values, context: shown.context() }))
    }

    /// Writes what will be shown to every slot, so that a later get of R slots meets it.
    fn begin_write_back(&mut self, terms: Terms<'_>) -> Vec<Next> {
        assert!(self.repairs.is_none(), "homes are repaired after the reply, not before");
        let shown = self.merged.clone();
        let is_up_to_date = |host| self.answers.get(&host).is_some_and(|set| *set == shown);
        assert_eq!(terms.settings.read, ReadMode::Atomic, "a plain get writes nothing back");
        let mut tally = self.tally.anew();
        assert_eq!(tally.granted(), 0, "who holds what is shown is counted anew");
        let (mut next, mut own) = (Vec::new(), None);
        for (host, role) in self.tally.asked() {
            if host == terms.me {
                own = Some(role);
            } else if !is_up_to_date(host) {
                next.push(Next::Store(host, role, shown.clone()));
            }
            // The node itself, too: what it holds is merged into once more, which changes nothing.
            if is_up_to_date(host) {
                tally.answered(host, true);
            }
        }
        let own = own.expect("a coordinator answers for one of the slots");
        next.push(Next::Keep(own, shown.clone()));
        self.write_back = Some(WriteBack { shown, tally });
        next
    }

    fn reply_if_written_back(&mut self, terms: Terms<'_>) -> Option<Next> {
        let WriteBack { shown, tally } = self.write_back.as_ref()?;
        if tally.granted() < terms.settings.w {
            return None;
        }
        let shown = shown.clone();
        assert!(!shown.is_empty(), "nothing is not written back: all answers agree on it");
        self.shows(&shown, terms)
    }

    /// Once every slot is settled and the reply is out, stale homes get the merged set; the get is
    /// open until they have it.
    fn check_repairs(&mut self, terms: Terms<'_>) -> Vec<Next> {
        let mut next = Vec::new();
        if self.repairs.is_none() && self.tally.is_settled() && self.origin.is_none() {
            next = self.repair(terms);
        }
        next.extend(self.end_if_repaired());
        next
    }

    fn end_if_repaired(&self) -> Option<Next> {
        self.repairs.as_ref().is_some_and(BTreeSet::is_empty).then_some(Next::Close)
    }

    fn repair(&mut self, terms: Terms<'_>) -> Vec<Next> {
        assert!(self.origin.is_none(), "whoever waits for a get has its reply before it repairs");
        assert!(self.repairs.is_none(), "a get repairs once");
        let homes = self.tally.asked().filter(|(_, role)| *role == Role::Home);
        let is_stale =
            |host: &NodeId| self.answers.get(host).is_some_and(|set| *set != self.merged);
        let nothing_shows =
            mutated(Mutant::TombstonesUnrepaired) && self.merged.values().is_empty();
        let is_stale = |host: &NodeId| !nothing_shows && is_stale(host);
        let stale: Vec<_> = homes.map(|(host, _)| host).filter(is_stale).collect();
        let mut next: Vec<_> =
            stale.iter().map(|home| Next::Repair(*home, self.merged.clone())).collect();
        let repairs: BTreeSet<_> = stale.into_iter().filter(|home| *home != terms.me).collect();
        if !repairs.is_empty() {
            next.push(Next::Deadline);
        }
        self.repairs = Some(repairs);
        // Nobody asks for what was read any more: values may be long, repairs may take long.
        self.answers.clear();
        self.merged = Siblings::empty(terms.settings.versioning);
        assert!(self.is_finished(), "a get that repairs sends nothing more");
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::testing::{A, B, C, D, client, key, set, tally, terms, terms_of};

    fn get() -> Get {
        Get::new(client(), key(), (Epoch::GENESIS, tally()), Versioning::Dotted)
    }

    fn holds(set: Siblings) -> Answer {
        Answer::Known { set, votes: true }
    }

    fn shown(next: &[Next]) -> Option<usize> {
        next.iter().find_map(|next| match next {
            Next::Reply(_, Reply::Got { values, .. }) => Some(values.len()),
            _ => None,
        })
    }

    #[test]
    fn a_get_answers_at_r_and_repairs_whoever_was_stale_once_all_have_answered() {
        let (mut get, terms) = (get(), &terms());
        assert_eq!(get.answered(terms.get(), A, holds(set(1))), []);
        let answered = get.answered(terms.get(), B, holds(set(2)));
        assert_eq!(shown(&answered), Some(2), "both siblings: {answered:?}");
        let both = {
            let mut both = set(1);
            both.merge(&set(2));
            both
        };
        let last = get.answered(terms.get(), C, holds(both.clone()));
        let repairs = [Next::Repair(A, both.clone()), Next::Repair(B, both), Next::Deadline];
        assert_eq!(last, repairs, "A is the node itself: nothing of it is waited for");
        assert!(!get.waits_for(A) && get.waits_for(B));
        assert_eq!(get.stored(terms.get(), B, true), [Next::Close]);
    }

    #[test]
    fn homes_that_agree_leave_nothing_to_repair() {
        let (mut get, terms) = (get(), &terms());
        for host in [A, B] {
            get.answered(terms.get(), host, holds(set(1)));
        }
        assert_eq!(get.answered(terms.get(), C, holds(set(1))), [Next::Close]);
    }

    #[test]
    fn an_answer_without_a_vote_is_taken_in_and_counts_for_nothing() {
        let (mut get, terms) = (get(), &terms());
        get.answered(terms.get(), A, holds(set(1)));
        let amnesiac = Answer::Known { set: set(2), votes: false };
        assert_eq!(get.answered(terms.get(), B, amnesiac), [Next::Fetch(D, Role::Hint(B))]);
        let answered = get.answered(terms.get(), C, holds(set(1)));
        assert_eq!(shown(&answered), Some(2));
    }

    #[test]
    fn a_get_that_too_few_answer_is_refused_with_their_number() {
        let (mut get, terms) = (get(), &terms());
        get.answered(terms.get(), A, holds(set(1)));
        get.lost(terms.get(), B);
        get.lost(terms.get(), D);
        let refusal = Refusal::Unavailable { needed: 2, reachable: 1 };
        let last = get.lost(terms.get(), C);
        assert_eq!(last[0], Next::Reply(client(), Reply::Refused(refusal)));
        assert_eq!(last[1..], [Next::Close], "A alone holds what there is");
    }

    #[test]
    fn an_atomic_get_of_differing_answers_shows_nothing_before_w_hosts_hold_it() {
        let settings = Settings { read: ReadMode::Atomic, ..Settings::default() };
        let (mut get, terms) = (get(), &terms_of(settings));
        get.answered(terms.get(), A, holds(set(1)));
        let empty = Siblings::empty(Versioning::Dotted);
        let written_back = get.answered(terms.get(), B, holds(empty));
        let expected = [
            Next::Store(B, Role::Home, set(1)),
            Next::Store(C, Role::Home, set(1)),
            Next::Keep(Role::Home, set(1)),
        ];
        assert_eq!(written_back, expected);
        assert_eq!(get.kept(terms.get(), Role::Home, (true, true)), [Next::Hedge]);
        assert_eq!(shown(&get.stored(terms.get(), C, true)), Some(1));
    }

    #[test]
    fn time_that_is_up_ends_the_wait_for_the_reply_then_that_for_repairs() {
        let (mut get, terms) = (get(), &terms());
        get.answered(terms.get(), A, holds(set(1)));
        let late = get.deadline(terms.get());
        assert_eq!(late, [Next::Reply(client(), Reply::TimedOut), Next::Close]);
        let mut get = self::get();
        get.answered(terms.get(), A, holds(set(1)));
        get.answered(terms.get(), B, holds(set(2)));
        assert_eq!(get.deadline(terms.get()).last(), Some(&Next::Deadline), "A and B are repaired");
        assert_eq!(get.deadline(terms.get()), [Next::Close], "and waited for no longer than that");
    }
}
