//! Gets: ask every slot, answer from R, repair the homes that were stale (paper, sections 4.5 and 5).

use std::collections::{BTreeMap, BTreeSet};

use super::quorum::Tally;
use super::{Operation, Origin};
use crate::id::{Key, NodeId, OpId};
use crate::io::{Event, Refusal, Reply, Timer};
use crate::message::{Answer, Message};
use crate::mode::ReadMode;
use crate::mutant::{Mutant, mutated};
use crate::node::{Node, Step};
use crate::storage::{Role, Store, StoreError};
use crate::version::Siblings;

/// A get, from its fetches to its last repair.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Get {
    /// None once it has its reply.
    origin: Option<Origin>,
    key: Key,
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
    pub(crate) fn is_finished(&self) -> bool {
        self.origin.is_none() && self.repairs.is_some()
    }

    fn take(&mut self, from: NodeId, set: Siblings) {
        self.merged.merge(&set);
        self.answers.insert(from, set);
    }

    /// Whether every host that answered holds all there is.
    fn agrees(&self) -> bool {
        self.answers.values().all(|set| *set == self.merged)
    }
}

impl Node {
    pub(super) fn begin_get<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        origin: Origin,
        key: Key,
        role: Role,
        tally: Tally,
    ) {
        let op = self.open(step);
        self.coordinating(step, op, origin, role);
        for (host, role) in self.others(&tally) {
            self.send(step, host, Message::Fetch { op, role, key: key.clone() });
        }
        let own = self.answer(step, role, &key);
        let get = Get {
            origin: Some(origin),
            key,
            tally,
            answers: BTreeMap::new(),
            merged: Siblings::empty(self.settings.versioning),
            write_back: None,
            repairs: None,
        };
        self.operations.insert(op.seq, Operation::Get(get));
        self.get_answered(step, self.me, op, own);
    }

    pub(super) fn get_answered<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        answer: Answer,
    ) {
        let Some(Operation::Get(get)) = self.operations.get_mut(&op.seq) else { return };
        if get.repairs.is_some() {
            return;
        }
        let votes = match answer {
            Answer::Known { set, votes } => {
                get.take(from, set);
                votes
            }
            // A corrupt copy is no copy: the home is repaired like one that has nothing.
            Answer::Failed(StoreError::Corrupt) => {
                get.take(from, Siblings::empty(self.settings.versioning));
                false
            }
            Answer::Failed(_) => false,
        };
        get.tally.answered(from, votes);
        if !votes {
            self.hedge_get(step, op, false);
        }
        self.check_get(step, op);
    }

    /// `host` will hardly answer: neither a fetch nor a write-back nor a repair.
    pub(super) fn get_host_lost<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        host: NodeId,
        op: OpId,
    ) {
        let Some(Operation::Get(get)) = self.operations.get_mut(&op.seq) else { return };
        get.tally.answered(host, false);
        self.written_back(step, host, op, false);
        self.hedge_get(step, op, false);
        self.check_get(step, op);
    }

    pub(super) fn hedge_get<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        op: OpId,
        also_silent: bool,
    ) -> bool {
        let Some(Operation::Get(get)) = self.operations.get_mut(&op.seq) else { return false };
        if get.repairs.is_some() {
            return false;
        }
        let is_up = |host| self.detector.is_up(host);
        let fetches = get.tally.hedge(also_silent, is_up);
        let key = get.key.clone();
        let (stores, shown) = match &mut get.write_back {
            Some(WriteBack { shown, tally }) => (tally.hedge(also_silent, is_up), shown.clone()),
            None => (Vec::new(), get.merged.clone()),
        };
        for &(host, role) in &fetches {
            self.send(step, host, Message::Fetch { op, role, key: key.clone() });
        }
        for &(host, role) in &stores {
            self.send_store(step, op, host, role, &key, &shown);
        }
        !(fetches.is_empty() && stores.is_empty())
    }

    /// Replies at R, repairs when no more answers are to come.
    fn check_get<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(Operation::Get(get)) = self.operations.get(&op.seq) else { return };
        let needed = if mutated(Mutant::FirstReply) { 1 } else { self.settings.r };
        let enough = get.tally.granted() >= needed;
        let settled = get.tally.is_settled();
        if enough && get.origin.is_some() && get.write_back.is_none() {
            if self.settings.read == ReadMode::Plain || self.is_settled_knowledge(get) {
                let shown = get.merged.clone();
                self.reply_to_get(step, op, &shown);
            } else {
                self.begin_write_back(step, op);
            }
        } else if settled && !enough {
            self.fail_get(step, op);
        }
        self.check_repairs(step, op);
    }

    /// Whether every later get is bound to meet what this one is about to show: all answers agree, and
    /// they are so many that any R slots have one of them. Agreement alone is not enough: one answer
    /// always agrees with itself.
    fn is_settled_knowledge(&self, get: &Get) -> bool {
        let met = get.tally.granted() + self.settings.r > self.settings.n;
        get.agrees() && (met || get.merged.is_empty())
    }

    fn reply_to_get<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId, shown: &Siblings) {
        let Some(Operation::Get(get)) = self.operations.get_mut(&op.seq) else { return };
        if let Some(origin) = get.origin.take() {
            let values = shown.visible(self.settings.versioning);
            self.reply(step, origin, Reply::Got { values, context: shown.context() });
        }
    }

    fn fail_get<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(Operation::Get(get)) = self.operations.get_mut(&op.seq) else { return };
        let (needed, reachable) = (self.settings.r, get.tally.granted());
        if let Some(origin) = get.origin.take() {
            let refusal = Refusal::Unavailable { needed, reachable };
            self.reply(step, origin, Reply::Refused(refusal));
        }
    }

    /// Writes what will be shown to every slot, so that a later get of R slots meets it.
    fn begin_write_back<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(Operation::Get(get)) = self.operations.get(&op.seq) else { return };
        let (key, shown) = (get.key.clone(), get.merged.clone());
        let up_to_date: Vec<_> =
            get.answers.iter().filter(|(_, set)| **set == shown).map(|(host, _)| *host).collect();
        let role = self.own_role(&get.tally);
        let mut tally = get.tally.anew();
        for (host, role) in self.others(&tally) {
            if !up_to_date.contains(&host) {
                self.send_store(step, op, host, role, &key, &shown);
            }
        }
        for host in up_to_date {
            tally.answered(host, true);
        }
        let stored = self.take_in(step, None, role, key, &shown);
        tally.answered(self.me, stored.is_ok());
        if let Some(Operation::Get(get)) = self.operations.get_mut(&op.seq) {
            if stored.is_ok() && role == Role::Home {
                get.answers.insert(self.me, shown.clone());
            }
            get.write_back = Some(WriteBack { shown, tally });
        }
        step.set_timer(Timer::Patience(op), self.settings.timing.patience);
        self.check_write_back(step, op);
    }

    fn own_role(&self, tally: &Tally) -> Role {
        let own = tally.asked().find(|(host, _)| *host == self.me);
        own.expect("a coordinator answers for one of the slots").1
    }

    pub(super) fn written_back<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        stored: bool,
    ) {
        let Some(Operation::Get(get)) = self.operations.get_mut(&op.seq) else { return };
        if let Some(repairs) = &mut get.repairs {
            repairs.remove(&from);
        } else if let Some(WriteBack { shown, tally }) = &mut get.write_back {
            tally.answered(from, stored);
            if stored && let Some(held) = get.answers.get_mut(&from) {
                held.merge(shown);
            }
        }
        if !stored {
            self.hedge_get(step, op, false);
        }
        self.check_write_back(step, op);
        self.check_repairs(step, op);
    }

    fn check_write_back<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(Operation::Get(get)) = self.operations.get(&op.seq) else { return };
        if let Some(WriteBack { shown, tally }) = &get.write_back
            && tally.granted() >= self.settings.w
        {
            let shown = shown.clone();
            self.reply_to_get(step, op, &shown);
        }
    }

    /// Once every slot is settled and the reply is out, stale homes get the merged set; the get is
    /// open until they have it.
    fn check_repairs<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(Operation::Get(get)) = self.operations.get(&op.seq) else { return };
        if get.repairs.is_none() && get.tally.is_settled() && get.origin.is_none() {
            self.repair(step, op);
        }
        if let Some(Operation::Get(Get { repairs: Some(repairs), .. })) =
            self.operations.get(&op.seq)
            && repairs.is_empty()
        {
            self.close(step, op);
        }
    }

    fn repair<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(Operation::Get(get)) = self.operations.get(&op.seq) else { return };
        let (key, merged) = (get.key.clone(), get.merged.clone());
        let homes = get.tally.asked().filter(|(_, role)| *role == Role::Home);
        let is_stale = |host: &NodeId| get.answers.get(host).is_some_and(|set| *set != merged);
        let stale: Vec<_> = homes.map(|(host, _)| host).filter(is_stale).collect();
        let mut repairs = BTreeSet::new();
        for home in stale {
            step.event(Event::ReadRepair(home));
            if home == self.me {
                // A disk that refuses it leaves the home as stale as it was; the next get tries again.
                let _ = self.take_in(step, None, Role::Home, key.clone(), &merged);
            } else {
                self.send_store(step, op, home, Role::Home, &key, &merged);
                repairs.insert(home);
            }
        }
        if !repairs.is_empty() {
            step.set_timer(Timer::Deadline(op), self.settings.timing.deadline);
        }
        if let Some(Operation::Get(get)) = self.operations.get_mut(&op.seq) {
            get.repairs = Some(repairs);
            // Nobody asks for what was read any more: values may be long, repairs may take long.
            get.answers.clear();
            get.merged = Siblings::empty(self.settings.versioning);
        }
    }

    /// Time is up: for the reply, for answers, or for repairs.
    pub(super) fn get_deadline<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let Some(Operation::Get(get)) = self.operations.get_mut(&op.seq) else { return };
        if let Some(origin) = get.origin.take() {
            self.reply(step, origin, Reply::TimedOut);
        }
        match self.operations.get(&op.seq) {
            Some(Operation::Get(get)) if get.repairs.is_none() => {
                self.repair(step, op);
                self.check_repairs(step, op);
            }
            _ => self.close(step, op),
        }
    }
}
