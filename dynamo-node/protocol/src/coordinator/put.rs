//! Puts: mint, store here, replicate the whole set, acknowledge at W slots.

use super::Origin;
use super::next::{Next, Terms};
use super::quorum::Tally;
use crate::id::{Key, NodeId};
use crate::mutant::{Mutant, mutated};
use crate::request::Reply;
use crate::version::Siblings;
use crate::view::Epoch;

/// A put that was minted and is being replicated. From here on it is never "refused": it is stored in the
/// record it was minted from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Put {
    /// None once it has its reply.
    origin: Option<Origin>,
    key: Key,
    /// The coordinator's whole set right after the mint.
    set: Siblings,
    /// In which tenure of the key hosts are counted.
    tenure: Epoch,
    tally: Tally,
}

impl Put {
    /// Minted and stored by the node itself; the other hosts of `tally` are being sent `set`.
    pub(super) fn new(
        origin: Origin,
        key: Key,
        set: Siblings,
        (tenure, tally): (Epoch, Tally),
    ) -> Self {
        assert!(!set.is_empty(), "a put sends the set that it was minted into");
        Self { origin: Some(origin), key, set, tenure, tally }
    }

    pub(super) fn tenure(&self) -> Epoch {
        self.tenure
    }

    /// The key has other homes: they are asked to store what was minted, and counted from the beginning.
    pub(super) fn count_anew(
        &mut self,
        terms: Terms<'_>,
        (tenure, tally): (Epoch, Tally),
    ) -> Vec<Next> {
        assert!(tenure > self.tenure, "a put is counted anew in a later tenure");
        (self.tenure, self.tally) = (tenure, tally);
        let others = self.tally.asked().filter(|(host, _)| *host != terms.me);
        let stores = others.map(|(host, role)| Next::Store(host, role, self.set.clone()));
        let mut next: Vec<_> = stores.collect();
        next.extend(self.check(terms));
        next
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        self.origin
    }

    pub(super) fn origin_mut(&mut self) -> Option<&mut Origin> {
        self.origin.as_mut()
    }

    /// Hosts that were asked, have not answered, and are still needed.
    pub(super) fn silent(&self) -> Vec<NodeId> {
        self.tally.silent().collect()
    }

    /// It has its reply, and no spare is left to be asked in place of a host that fails.
    pub(super) fn is_finished(&self, hosts_fail: bool) -> bool {
        self.origin.is_none() && !(hosts_fail && self.tally.has_spares())
    }

    /// `from` has stored it, or could not, or will hardly say.
    pub(super) fn answered(&mut self, terms: Terms<'_>, from: NodeId, stored: bool) -> Vec<Next> {
        self.tally.answered(from, stored);
        let mut next = if stored { Vec::new() } else { self.hedge(terms, false) };
        next.extend(self.check(terms));
        next
    }

    /// Asks spares for the slots that lack a grant; with `also_silent`, for those too whose hosts may yet
    /// answer.
    pub(super) fn hedge(&mut self, terms: Terms<'_>, also_silent: bool) -> Vec<Next> {
        let asked = self.tally.hedge(also_silent, |host| terms.peers.is_alive(host));
        asked.into_iter().map(|(host, role)| Next::Store(host, role, self.set.clone())).collect()
    }

    /// Acknowledges at W; ends when no slot waits for anything.
    pub(super) fn check(&mut self, terms: Terms<'_>) -> Vec<Next> {
        let mut next = Vec::new();
        let needed = terms.settings.w - usize::from(mutated(Mutant::AckBeforeW));
        if self.tally.granted() >= needed
            && let Some(origin) = self.origin.take()
        {
            let holders = self.tally.holders();
            assert!(
                holders.len() >= needed || mutated(Mutant::SlotTwice),
                "an acknowledged put is on one host for each of {needed} slots"
            );
            let context = self.set.context_if_alone();
            next.extend([
                Next::Acknowledged(holders),
                Next::Reply(origin, Reply::Done { context }),
            ]);
        }
        if self.tally.is_settled() {
            next.extend(self.end());
        }
        next
    }

    /// A put that did not reach W may have been applied, and may yet be: it is never "refused".
    pub(super) fn end(&mut self) -> Vec<Next> {
        let timed_out = self.origin.take().map(|origin| Next::Reply(origin, Reply::TimedOut));
        timed_out.into_iter().chain([Next::Close]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::testing::{A, B, C, D, client, key, set, tally, terms};
    use crate::storage::Role;

    /// Minted at A, sent to B and C; D may stand in.
    fn put() -> Put {
        let mut tally = tally();
        tally.answered(A, true);
        Put::new(client(), key(), set(1), (Epoch::GENESIS, tally))
    }

    #[test]
    fn a_put_is_acknowledged_at_w_once_and_ends_when_every_slot_has_answered() {
        let (mut put, terms) = (put(), &terms());
        assert_eq!(put.check(terms.get()), []);
        let done = Reply::Done { context: Some(set(1).context()) };
        let acknowledged = [Next::Acknowledged(vec![A, B]), Next::Reply(client(), done)];
        assert_eq!(put.answered(terms.get(), B, true), acknowledged);
        assert_eq!(put.answered(terms.get(), B, true), []);
        assert_eq!(put.answered(terms.get(), C, true), [Next::Close]);
    }

    #[test]
    fn a_home_that_fails_is_stood_in_for_at_once() {
        let (mut put, terms) = (put(), &terms());
        let hint = [Next::Store(D, Role::Hint(B), set(1))];
        assert_eq!(put.answered(terms.get(), B, false), hint);
        assert_eq!(put.answered(terms.get(), D, true).len(), 2, "acknowledged and replied");
        assert!(put.is_finished(true));
    }

    #[test]
    fn a_put_that_runs_out_of_hosts_is_timed_out_and_never_refused() {
        let (mut put, terms) = (put(), &terms());
        put.answered(terms.get(), B, false);
        put.answered(terms.get(), D, false);
        let timed_out = [Next::Reply(client(), Reply::TimedOut), Next::Close];
        assert_eq!(put.answered(terms.get(), C, false), timed_out);
    }

    #[test]
    fn silence_is_hedged_only_when_it_is_asked_for() {
        let (mut put, terms) = (put(), &terms());
        assert_eq!(put.hedge(terms.get(), false), []);
        assert_eq!(put.hedge(terms.get(), true), [Next::Store(D, Role::Hint(B), set(1))]);
        assert_eq!(put.hedge(terms.get(), true), [], "nobody is left");
    }
}
