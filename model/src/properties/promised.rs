//! Which configurations promise which properties.

use dynamo_protocol::{Quorum, Versioning};

use crate::world::spec::{Durability, Spec};

pub(super) fn is_strict(spec: &Spec) -> bool {
    // A put that a get cannot have missed: every quorum of homes meets every other, and a wiped
    // home does not vote. A forgotten record is a disk that broke its promise.
    spec.settings.r + spec.settings.w > spec.settings.n
        && (spec.settings.quorum == Quorum::Strict
            || spec.nodes == spec.settings.n && spec.shifts.is_empty())
        && is_dotted(spec)
        && (spec.faults.wipes == 0 || spec.renew)
        && spec.faults.forgotten == 0
        && !loses_unsynced(spec)
        && hears_of_rollbacks(spec)
}

/// A rolled-back home does not vote as long as somebody remembers what it acknowledged: the position that an
/// acknowledgement came with is on its hearer's disk with the hearer's next write, and not before.
fn hears_of_rollbacks(spec: &Spec) -> bool {
    let faults = &spec.faults;
    faults.rollbacks == 0
        || spec.renew
            && spec.settings.quorum == Quorum::Strict
            && faults.crashes + faults.wipes + faults.power_cuts == 0
}

pub(super) fn is_atomic(spec: &Spec) -> bool {
    let written_back = spec.settings.read == dynamo_protocol::ReadMode::Atomic;
    is_strict(spec)
        && (written_back || spec.settings.r == spec.settings.n)
        && spec.settings.versioning == Versioning::Dotted
}

pub(super) fn changes_strictly(spec: &Spec) -> bool {
    spec.settings.quorum == Quorum::Strict && !spec.shifts.is_empty()
}

pub(super) fn is_dotted(spec: &Spec) -> bool {
    spec.settings.versioning == Versioning::Dotted
}

fn loses_unsynced(spec: &Spec) -> bool {
    matches!(spec.durability, Durability::Buffered | Durability::One) && spec.faults.power_cuts > 0
}

/// What was acknowledged is on a disk, as long as fewer than W are lost. Where one copy is synced and a
/// power cut may take the others, none may be.
pub(super) fn keeps(spec: &Spec) -> bool {
    let (lost, cuts) = (usize::from(spec.copies_lost()), spec.faults.power_cuts);
    let alone = spec.durability == Durability::One && cuts > 0;
    lost < if alone { 1 } else { spec.settings.w }
}

/// An acknowledgement says that W hosts have synced it.
pub(super) fn syncs_w(spec: &Spec) -> bool {
    spec.durability != Durability::One
}

/// Once healed everybody votes again: with more amnesiacs than a get can spare it cannot be read.
pub(super) fn settles(spec: &Spec) -> bool {
    is_dotted(spec)
        && usize::from(spec.faults.wipes + spec.faults.rollbacks)
            <= spec.settings.n - spec.settings.r
        && !loses_unsynced(spec)
}

pub(super) fn expects_hints(spec: &Spec) -> bool {
    let faults = &spec.faults;
    spec.settings.quorum == Quorum::Sloppy
        && spec.nodes > spec.settings.n
        && spec.script.puts() > 0
        && (faults.crashes > 0 || faults.partitions > 0)
}
