//! What a change of one record shows by itself.

use dynamo_protocol::membership::Membership;
use dynamo_protocol::{Dot, Epoch, Event, Key, Node, NodeId, Output, Place, Record, Siblings};

use super::Noted;
use crate::disk::Changed;
use crate::host::{Host, index};

/// What a node says that it let go.
#[derive(Clone, Copy)]
pub(super) struct Goes {
    /// Actors, since an operator asked for it.
    pub(super) pruned: bool,
    /// A tombstone.
    pub(super) tombstone: bool,
    /// Actors of which nothing is left.
    pub(super) idle: bool,
}

impl Goes {
    pub(super) fn of(outputs: &[Output]) -> Self {
        let told = |what: fn(&Event) -> bool| {
            outputs.iter().any(|output| matches!(output, Output::Event(event) if what(event)))
        };
        Self {
            pruned: told(|event| matches!(event, Event::Pruned(_))),
            tombstone: told(|event| matches!(event, Event::TombstoneDropped)),
            idle: told(|event| matches!(event, Event::IdleForgotten(_))),
        }
    }
}

/// Whether a put may have become the event by this change: it is there, or was overwritten since.
pub(super) fn wrote(changed: Changed<'_>, dot: &Dot, noted: &Noted) -> bool {
    let Some(Record { set: Siblings::Dotted(set), .. }) = changed.now else { return false };
    let version = set.versions().iter().find(|version| version.dot == *dot);
    set.context().contains(dot) && version.is_none_or(|version| version.value == noted.value)
}

pub(super) fn dots_closed<'a>(
    changes: impl Iterator<Item = Changed<'a>>,
    key: &Key,
    dot: Dot,
    breach: &mut impl FnMut(&'static str, String),
) {
    let seen = changes.filter(|changed| changed.place.key == *key).map(|changed| {
        let before = changed.before.map(|before| &before.set);
        match before {
            Some(Siblings::Dotted(set)) => set.context().get(&dot.actor),
            Some(Siblings::Plain(_)) | None => 0,
        }
    });
    // One step may mint several: the last that comes before this one is where it was minted from.
    let seen = seen.filter(|seen| *seen < dot.counter).max().unwrap_or(0);
    if seen + 1 != dot.counter {
        let what =
            format!("{dot} is minted from a record that has seen {seen} events of its actor");
        breach("dots-closed", what);
    }
}

pub(super) fn record_forgets(changed: Changed<'_>, breach: &mut impl FnMut(&'static str, String)) {
    let (Some(before), Some(now)) = (changed.before, changed.now) else { return };
    let (Siblings::Dotted(old), Siblings::Dotted(new)) = (&before.set, &now.set) else { return };
    if !new.context().covers(old.context()) {
        let (place, old, new) = (changed.place, old.context(), new.context());
        breach("record-forgets", format!("{place:?} had seen {old} and now has seen {new}"));
    }
    let gone = new.versions().iter().find(|version| {
        old.context().contains(&version.dot) && !old.versions().iter().any(|v| v.dot == version.dot)
    });
    if let Some(version) = gone {
        let (place, dot) = (changed.place, version.dot);
        breach("record-forgets", format!("{place:?} had {dot} overwritten and holds it again"));
    }
}

/// Whether `home` is no home of the key any more, by a later epoch than `since`, and all who are have what
/// it was told to have, or are themselves past that: it may have acknowledged it, brought it to them and
/// dropped it before its word arrives.
pub(super) fn moved_on(
    hosts: &[Host],
    since: Epoch,
    home: NodeId,
    key: &Key,
    set: &Siblings,
) -> bool {
    let host = &hosts[index(home)];
    let running = || hosts.iter().filter_map(|host| host.node.as_ref()).map(Node::view);
    let view = match &host.node {
        Some(node) => Some(node.view()),
        // Of one that does not run, what its disk knows.
        None => {
            let last = host.disk.enrolment().epochs.last().map(Membership::epoch);
            running().find(|view| Some(view.epoch()) == last)
        }
    };
    let Some(view) = view.filter(|view| view.epoch() > since) else { return false };
    let homes = view.homes(key);
    let has = |home: &NodeId| {
        let kept = hosts[index(*home)].disk.durable(&Place::home(key.clone()));
        // Epochs rise, so that this comes to an end.
        kept.is_some_and(|record| record.set.covers(set))
            || moved_on(hosts, view.epoch(), *home, key, set)
    };
    !homes.contains(&home) && homes.iter().all(has)
}
