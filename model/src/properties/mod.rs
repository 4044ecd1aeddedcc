//! What is held against every state, one function each, with where it comes from: "paper" is Dynamo's,
//! "rule" those of docs/protocol.md.
//!
//! "Covers": a version covers itself and everything its client had read when it put it, and what
//! that had overwritten, and so on. It is the truth of the script, not what a clock says.

pub(crate) mod monitor;
mod promised;
pub(crate) mod rest;

use dynamo_protocol::Limits;

use crate::properties::promised::{
    changes_strictly, expects_hints, is_atomic, is_dotted, is_strict, keeps, settles, syncs_w,
};
use crate::properties::rest::Rest;
use crate::world::history::{each, flag};
use crate::world::model::DynamoModel;
use crate::world::script::Versions;
use crate::world::spec::{Setup, Spec};
use crate::world::state::World;
use crate::world::tables::{RecordFacts, Stamp, Tables};

/// Whether a property is about every state, or about one that must be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No reachable state breaks it.
    Always,
    /// Some reachable state shows it: the model is not vacuous.
    Sometimes,
}

/// A property about the protocol.
pub struct Property {
    /// Its name, in reports and on the command line.
    pub name: &'static str,
    /// Always or sometimes.
    pub kind: Kind,
    /// Where it comes from.
    pub source: &'static str,
    /// Whether the configuration is one for which it is promised (always) or expected (sometimes).
    pub promised: fn(&Spec) -> bool,
    /// What a step shows that breaks it (always) or shows it (sometimes), if a step does: a bit of
    /// [`flag`].
    flag: u64,
    /// Whether the state has it.
    check: fn(&View<'_>) -> bool,
}

/// A state with what it takes to look at it.
pub(crate) struct View<'a> {
    spec: &'a Spec,
    tables: &'a Tables,
    world: &'a World,
    rest: Option<Rest>,
}

/// All properties.
pub static PROPERTIES: &[Property] = &[
    Property {
        name: "acknowledged-kept",
        flag: 0,
        kind: Kind::Always,
        source: "paper 4.4 and 6.1: no acknowledged put is lost or forgotten; rules 1 to 13",
        promised: keeps,
        check: acknowledged_kept,
    },
    Property {
        name: "held-by-w-at-acknowledgement",
        flag: flag::FEW_HOLDERS,
        kind: Kind::Always,
        source: "paper 4.5: W nodes take part in a successful put; slots and hosts, rule 6",
        promised: syncs_w,
        check: held_by_w_at_acknowledgement,
    },
    Property {
        name: "w-copies",
        flag: 0,
        kind: Kind::Always,
        source: "rules 5, 6, 7: W hosts, less one for each lost disk, hold or cover the put",
        promised: |spec| keeps(spec) && syncs_w(spec),
        check: w_copies,
    },
    Property {
        name: "regular-gets",
        flag: flag::STALE,
        kind: Kind::Always,
        source: "Lamport 1986 (regular); paper 4.5: R + W > N gives a quorum-like system",
        promised: is_strict,
        check: regular_gets,
    },
    Property {
        name: "read-your-writes",
        flag: flag::NOT_OWN,
        kind: Kind::Always,
        source: "Terry et al. 1994, session guarantees; follows from regular gets",
        promised: is_strict,
        check: read_your_writes,
    },
    Property {
        name: "monotonic-reads",
        flag: flag::BACKWARDS,
        kind: Kind::Always,
        source: "Terry et al. 1994, session guarantees; with write-back before the reply",
        promised: is_atomic,
        check: monotonic_reads,
    },
    Property {
        name: "no-inversion",
        flag: flag::INVERTED,
        kind: Kind::Always,
        source: "Attiya, Bar-Noy, Dolev 1995: write-back makes regular reads atomic",
        promised: is_atomic,
        check: no_inversion,
    },
    Property {
        name: "monotonic-writes",
        flag: flag::OUT_OF_ORDER,
        kind: Kind::Always,
        source: "Terry et al. 1994: who sees a write sees what its client had acknowledged before",
        promised: |_| false,
        check: |view| !view.has(flag::OUT_OF_ORDER),
    },
    Property {
        name: "all-answered",
        flag: flag::UNANSWERED,
        kind: Kind::Always,
        source: "paper 2.3: no request is refused or times out; not promised with every fault",
        promised: |_| false,
        check: |view| !view.has(flag::UNANSWERED),
    },
    Property {
        name: "no-false-siblings",
        flag: flag::FALSE_SIBLING,
        kind: Kind::Always,
        source: "paper 4.4: an ancestor can be forgotten; a get answers causally unrelated versions",
        promised: is_dotted,
        check: no_false_siblings,
    },
    Property {
        name: "no-dominated-sibling",
        flag: 0,
        kind: Kind::Always,
        source: "paper 4.4, syntactic reconciliation, in every record; arXiv 1011.5808",
        promised: is_dotted,
        check: no_dominated_sibling,
    },
    Property {
        name: "dots-unique",
        flag: flag::DOT_TWICE,
        kind: Kind::Always,
        source: "arXiv 1011.5808: one dot is one event, and one event has one dot",
        promised: |_| true,
        check: dots_unique,
    },
    Property {
        name: "dots-closed",
        flag: flag::DOT_OPEN,
        kind: Kind::Always,
        source: "rule 2: who mints a.n holds or covers a.1 to a.(n-1) in that record",
        promised: |_| true,
        check: dots_closed,
    },
    Property {
        name: "contexts-closed",
        flag: flag::OPEN_CONTEXT,
        kind: Kind::Always,
        source: "paper 4.4: a context names what its get returned; rule 2",
        promised: is_dotted,
        check: contexts_closed,
    },
    Property {
        name: "hint-kept-until-held",
        flag: flag::HINT_LOST,
        kind: Kind::Always,
        source: "paper 4.6: a hint goes when the transfer has succeeded; rule 7",
        promised: |_| true,
        check: hint_kept_until_held,
    },
    Property {
        name: "dropped-is-held",
        flag: flag::DROPPED,
        kind: Kind::Always,
        source: "rule 12: a stray goes once every home of its epoch has exactly that",
        promised: |spec| spec.faults.forgotten + spec.faults.rollbacks + spec.faults.wipes == 0,
        check: |view| !view.has(flag::DROPPED),
    },
    Property {
        name: "only-what-was-written",
        flag: flag::UNWRITTEN,
        kind: Kind::Always,
        source: "Lamport 1986 (safe); a refused put is never seen (rule 8)",
        promised: |_| true,
        check: only_what_was_written,
    },
    Property {
        name: "one-answer",
        flag: flag::ANSWERED_TWICE,
        kind: Kind::Always,
        source: "io.rs: each request is answered once at most",
        promised: |_| true,
        check: one_answer,
    },
    Property {
        name: "bounded-versions",
        flag: 0,
        kind: Kind::Always,
        source: "paper 4.4 on clock growth; actors are births, rule 2",
        promised: |_| true,
        check: bounded_versions,
    },
    Property {
        name: "assertions-hold",
        flag: flag::PANIC,
        kind: Kind::Always,
        source: "the core's own assertions",
        promised: |_| true,
        check: assertions_hold,
    },
    Property {
        name: "no-resurrection",
        flag: 0,
        kind: Kind::Always,
        source: "rule 10: a delete is a version; at rest nothing it overwrote is shown",
        promised: settles,
        check: no_resurrection,
    },
    Property {
        name: "collected-stays-gone",
        flag: 0,
        kind: Kind::Always,
        source: "rule 10: once a tombstone or an idle actor went anywhere, nobody holds what it overwrote, \
                 or will",
        promised: |spec| spec.faults.rollbacks == 0,
        check: collected_stays_gone,
    },
    Property {
        name: "converges",
        flag: 0,
        kind: Kind::Always,
        source: "paper 4.6 and 4.7, eventual consistency: healed, drained, read once at every home",
        promised: settles,
        check: converges,
    },
    Property {
        name: "converges-unread",
        flag: 0,
        kind: Kind::Always,
        source: "paper 4.7: hints alone do not make replicas equal; anti-entropy does",
        promised: |spec| spec.settings.anti_entropy && settles(spec),
        check: converges_unread,
    },
    Property {
        name: "amnesia-ends",
        flag: 0,
        kind: Kind::Always,
        source: "rule 5: an amnesiac that had an exchange with every other home votes again",
        promised: |spec| spec.settings.anti_entropy && settles(spec) && spec.copies_lost() <= 1,
        check: |view| view.rest.as_ref().is_none_or(|rest| rest.all_count),
    },
    Property {
        name: "a-record-moves",
        flag: flag::MOVED,
        kind: Kind::Sometimes,
        source: "not vacuous: what has other homes goes to them",
        promised: |spec| !spec.shifts.is_empty() && spec.script.puts() > 0,
        check: |view| view.has(flag::MOVED),
    },
    Property {
        name: "a-newcomer-counts",
        flag: flag::FILLED,
        kind: Kind::Sometimes,
        source: "not vacuous: what a newcomer says comes to count before all is over",
        promised: |spec| spec.faults.exchanges > 0 && !spec.shifts.is_empty(),
        check: |view| view.has(flag::FILLED),
    },
    Property {
        name: "a-request-is-counted-anew",
        flag: flag::ANEW,
        kind: Kind::Sometimes,
        source: "not vacuous: a request goes on with the homes of the next epoch",
        promised: changes_strictly,
        check: |view| view.has(flag::ANEW),
    },
    Property {
        name: "a-tombstone-is-collected",
        flag: flag::COLLECTED,
        kind: Kind::Sometimes,
        source: "not vacuous: nothing is left of what was deleted, nor of its tombstone",
        promised: |spec| {
            let deletes = spec.script.deletes() != 0 && spec.faults.exchanges > 0;
            deletes && spec.settings.anti_entropy && is_dotted(spec)
        },
        check: |view| view.has(flag::COLLECTED),
    },
    Property {
        name: "an-idle-actor-is-forgotten",
        flag: flag::FORGOT,
        kind: Kind::Sometimes,
        source: "not vacuous: nothing is left of what an actor wrote, and a context names it no more",
        promised: |spec| {
            let few = spec.settings.limits.actors < Limits::default().actors;
            few && spec.faults.exchanges > 0 && spec.settings.anti_entropy && is_dotted(spec)
        },
        check: |view| view.has(flag::FORGOT),
    },
    Property {
        name: "a-put-is-acknowledged",
        flag: flag::ACKED,
        kind: Kind::Sometimes,
        source: "not vacuous",
        promised: |spec| spec.script.puts() > 0,
        check: |view| view.has(flag::ACKED),
    },
    Property {
        name: "a-get-shows-siblings",
        flag: flag::SIBLINGS,
        kind: Kind::Sometimes,
        source: "paper 4.4: concurrent puts are both returned",
        promised: |_| false,
        check: |view| view.has(flag::SIBLINGS),
    },
    Property {
        name: "a-get-shows-three-siblings",
        flag: flag::THREE_SIBLINGS,
        kind: Kind::Sometimes,
        source: "paper 4.4: concurrent puts are all returned",
        promised: |_| false,
        check: |view| view.has(flag::THREE_SIBLINGS),
    },
    Property {
        name: "a-get-follows-three-puts",
        flag: flag::THREE_PUTS,
        kind: Kind::Sometimes,
        source: "not vacuous: a get could have shown three siblings",
        promised: |_| false,
        check: |view| view.has(flag::THREE_PUTS),
    },
    Property {
        name: "a-hint-is-stored",
        flag: flag::HINTED,
        kind: Kind::Sometimes,
        source: "paper 4.6",
        promised: expects_hints,
        check: |view| view.has(flag::HINTED),
    },
    Property {
        name: "a-hint-is-delivered",
        flag: flag::DELIVERED,
        kind: Kind::Sometimes,
        source: "paper 4.6",
        promised: |spec| expects_hints(spec) && spec.faults.crashes <= spec.faults.restarts,
        check: |view| view.has(flag::DELIVERED),
    },
    Property {
        name: "a-home-is-repaired",
        flag: flag::REPAIRED,
        kind: Kind::Sometimes,
        source: "paper 5, read repair",
        promised: |_| false,
        check: |view| view.has(flag::REPAIRED),
    },
    Property {
        name: "a-key-is-synced",
        flag: flag::SYNCED,
        kind: Kind::Sometimes,
        source: "paper 4.7, anti-entropy",
        promised: |spec| spec.settings.anti_entropy && spec.faults.hedges > 0,
        check: |view| view.has(flag::SYNCED),
    },
    Property {
        name: "a-get-is-due",
        flag: flag::DUE,
        kind: Kind::Sometimes,
        source: "not vacuous: a get began after an acknowledgement",
        promised: |_| false,
        check: |view| view.has(flag::DUE),
    },
    Property {
        name: "a-client-reads-its-own",
        flag: flag::OWN_DUE,
        kind: Kind::Sometimes,
        source: "not vacuous: a get began after its own client's put was acknowledged",
        promised: |_| false,
        check: |view| view.has(flag::OWN_DUE),
    },
    Property {
        name: "a-client-reads-again",
        flag: flag::SEEN_DUE,
        kind: Kind::Sometimes,
        source: "not vacuous: a get of a client that was shown something before",
        promised: |_| false,
        check: |view| view.has(flag::SEEN_DUE),
    },
    Property {
        name: "a-get-follows-a-get",
        flag: flag::FLOOR_DUE,
        kind: Kind::Sometimes,
        source: "not vacuous: a get began after another had shown something",
        promised: |_| false,
        check: |view| view.has(flag::FLOOR_DUE),
    },
    Property {
        name: "a-second-write-is-seen",
        flag: flag::ORDER_DUE,
        kind: Kind::Sometimes,
        source: "not vacuous: a get shows a put whose client had an earlier one acknowledged",
        promised: |_| false,
        check: |view| view.has(flag::ORDER_DUE),
    },
    Property {
        name: "a-write-follows-a-read",
        flag: flag::BUILT_ON,
        kind: Kind::Sometimes,
        source: "not vacuous: a get shows a put whose client had read something",
        promised: |_| false,
        check: |view| view.has(flag::BUILT_ON),
    },
    Property {
        name: "a-client-is-served-after-a-fault",
        flag: flag::SERVED_AFTER,
        kind: Kind::Sometimes,
        source: "not vacuous: a fault came before an answer",
        promised: |_| false,
        check: |view| view.has(flag::SERVED_AFTER),
    },
    Property {
        name: "a-put-comes-to-rest",
        flag: 0,
        kind: Kind::Sometimes,
        source: "not vacuous: a state of rest after an acknowledged put is judged",
        promised: |_| false,
        check: |view| view.rest.is_some() && view.world.history.acked != 0,
    },
    Property {
        name: "a-delete-comes-to-rest",
        flag: 0,
        kind: Kind::Sometimes,
        source: "not vacuous: a state of rest after an acknowledged delete of something is judged",
        promised: |_| false,
        check: a_delete_comes_to_rest,
    },
];

/// The property called `name`.
#[must_use]
pub fn property(name: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.name == name)
}

/// Bit `i`: always-property `i` is broken in `world`, or sometimes-property `i` is shown by it.
pub(crate) fn found(model: &DynamoModel, tables: &mut Tables, world: &World) -> u64 {
    let rest = rest::judge(model, tables, world);
    let view = View { spec: &model.spec, tables, world, rest };
    let mut found = 0;
    for (index, property) in PROPERTIES.iter().enumerate() {
        let has = (property.check)(&view);
        found |= u64::from(has == (property.kind == Kind::Sometimes)) << index;
    }
    found
}

/// The same bits, of properties that a step decides and not the state it leads to.
pub(crate) fn shown(world: &World) -> u64 {
    let flags = world.history.flags;
    if flags == 0 {
        return 0;
    }
    let shows =
        |(index, property): (usize, &Property)| u64::from(property.flag & flags != 0) << index;
    PROPERTIES.iter().enumerate().map(shows).fold(0, |all, one| all | one)
}

impl DynamoModel {
    /// Whether `world` has what `property` says.
    pub(crate) fn has(&self, property: &Property, world: &World) -> bool {
        let tables = &mut *self.lock();
        let rest = rest::judge(self, tables, world);
        (property.check)(&View { spec: &self.spec, tables, world, rest })
    }
}

impl Property {
    /// The bit that a step shows which decides it; 0 if none does.
    pub(crate) fn flag(&self) -> u64 {
        self.flag
    }
}

impl View<'_> {
    fn has(&self, flag: u64) -> bool {
        self.world.history.flags & flag != 0
    }

    /// Each host's records and the versions live in them.
    fn records(&self) -> impl Iterator<Item = (usize, &RecordFacts, Versions)> {
        self.world.hosts.iter().enumerate().flat_map(move |(host, number)| {
            let records = self.tables.facts(*number).records.iter();
            records.map(move |record| {
                let tombs = monitor::tombstones(&self.world.history.stamps, record);
                (host, record, record.live | tombs)
            })
        })
    }

    fn lost(&self) -> usize {
        let spent = self.world.spent;
        usize::from(spent.wipes + spent.forgotten + spent.rollbacks)
    }
}

/// Merging all that is on all disks still has the put, or a version that covers it. A version that
/// lies on a disk but that another disk claims to have seen overwritten is as good as gone: the next
/// merge drops it.
fn acknowledged_kept(view: &View<'_>) -> bool {
    let history = &view.world.history;
    if history.acked == 0 {
        return true;
    }
    let live = view.records().fold(0, |all, (_, _, live)| all | live);
    let doomed = each(live).filter(|version| is_doomed(view, *version, live));
    let surviving = live & !doomed.fold(0, |all: Versions, version| all | 1 << version);
    history.acked & !history.closure(surviving) & !history.collected == 0
}

fn is_doomed(view: &View<'_>, version: u8, live: Versions) -> bool {
    let stamp = view.world.history.stamps[usize::from(version)];
    match view.tables.stamps.get(stamp) {
        Stamp::Dot(dot) => view.records().any(|(_, record, held)| {
            held >> version & 1 == 0 && view.tables.contexts.get(record.context).0.contains(dot)
        }),
        Stamp::Clock(clock) => each(live).any(|other| {
            let stamp = view.world.history.stamps[usize::from(other)];
            match view.tables.stamps.get(stamp) {
                Stamp::Clock(newer) => newer != clock && newer.covers(clock),
                Stamp::Dot(_) => false,
            }
        }),
    }
}

fn held_by_w_at_acknowledgement(view: &View<'_>) -> bool {
    !view.has(flag::FEW_HOLDERS)
}

fn w_copies(view: &View<'_>) -> bool {
    let history = &view.world.history;
    if history.acked == 0 {
        return true;
    }
    let mut held = [0; crate::world::spec::MAX_NODES];
    for (host, _, live) in view.records() {
        held[host] |= history.closure(live);
    }
    each(history.acked & !history.collected).all(|put| {
        let copies = held.iter().filter(|held| **held >> put & 1 == 1).count();
        copies + view.lost() >= view.spec.settings.w
    })
}

fn regular_gets(view: &View<'_>) -> bool {
    !view.has(flag::STALE)
}

fn read_your_writes(view: &View<'_>) -> bool {
    !view.has(flag::NOT_OWN)
}

fn monotonic_reads(view: &View<'_>) -> bool {
    !view.has(flag::BACKWARDS)
}

fn no_inversion(view: &View<'_>) -> bool {
    !view.has(flag::INVERTED)
}

fn no_false_siblings(view: &View<'_>) -> bool {
    !view.has(flag::FALSE_SIBLING)
}

fn no_dominated_sibling(view: &View<'_>) -> bool {
    view.records().all(|(_, _, live)| !view.world.history.has_dominated(live))
}

fn dots_unique(view: &View<'_>) -> bool {
    !view.has(flag::DOT_TWICE)
}

fn dots_closed(view: &View<'_>) -> bool {
    !view.has(flag::DOT_OPEN)
}

fn contexts_closed(view: &View<'_>) -> bool {
    !view.has(flag::OPEN_CONTEXT)
}

fn hint_kept_until_held(view: &View<'_>) -> bool {
    !view.has(flag::HINT_LOST)
}

fn only_what_was_written(view: &View<'_>) -> bool {
    let refused = view.world.history.refused;
    let applied = view.records().any(|(_, record, live)| record.foreign || live & refused != 0);
    !view.has(flag::UNWRITTEN) && !applied
}

fn one_answer(view: &View<'_>) -> bool {
    !view.has(flag::ANSWERED_TWICE)
}

/// A record has no more siblings than there were puts, its context names no more events than were
/// minted, and no more actors than records were born: one for each home, each lost copy, and each put
/// a fallback minted.
fn bounded_versions(view: &View<'_>) -> bool {
    let minted = u64::from(view.world.history.minted().count_ones());
    // A home that dropped its record, for another home's sake or as a tombstone, takes a fresh birth.
    let homes = match view.spec.shifts.len() {
        0 if view.world.history.collected == 0 => view.spec.settings.n,
        0 => 2 * view.spec.settings.n,
        shifts => view.spec.nodes * (shifts + 1),
    };
    let births = homes + view.lost() + usize::from(view.world.history.stand_ins);
    view.records().all(|(_, record, _)| {
        let context = &view.tables.contexts.get(record.context).0;
        let events: u64 = context.iter().map(|(_, counter)| counter).sum();
        let events_fit = !is_dotted(view.spec) || events <= minted;
        u64::from(record.siblings) <= minted && events_fit && context.actors() <= births
    })
}

fn assertions_hold(view: &View<'_>) -> bool {
    !view.has(flag::PANIC)
}

fn no_resurrection(view: &View<'_>) -> bool {
    view.rest.as_ref().is_none_or(|rest| !rest.resurrected)
}

fn collected_stays_gone(view: &View<'_>) -> bool {
    let deleted = view.world.history.collected & !view.spec.script.deletes();
    deleted == 0 || view.records().all(|(_, _, live)| live & deleted == 0)
}

fn a_delete_comes_to_rest(view: &View<'_>) -> bool {
    let history = &view.world.history;
    let deleted = history.acked & view.spec.script.deletes();
    view.rest.is_some() && history.closure(deleted) & !deleted != 0
}

fn converges(view: &View<'_>) -> bool {
    view.rest.as_ref().is_none_or(|rest| rest.equal_after_reads && rest.shows_acknowledged)
}

fn converges_unread(view: &View<'_>) -> bool {
    view.rest.as_ref().is_none_or(|rest| rest.equal_unread)
}

impl Setup {
    pub(crate) fn homes(&self) -> usize {
        self.settings.n
    }
}
