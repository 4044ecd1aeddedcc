//! The faults that the simulator draws by itself, whole before a run.

use std::collections::BTreeSet;
use std::sync::Arc;

use dynamo_protocol::{NodeId, Quorum, Versioning};
use dynamo_sim::trace::Cluster;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::twin::{Drawn, Fault, Luck, Twin};
use crate::nemesis::faults::{
    bitflip, clock, delay, diskfull, eio, kill, loss, partition, pause, powercut, rollback,
    slowdisk, wipe,
};

/// The kinds there are. One more, or another order, and seeds draw other runs.
const KINDS: [Drawn; 13] = [
    kill::DRAWN,
    pause::DRAWN,
    partition::DRAWN,
    delay::DRAWN,
    loss::DRAWN,
    clock::DRAWN,
    powercut::DRAWN,
    wipe::DRAWN,
    diskfull::DRAWN,
    eio::DRAWN,
    slowdisk::DRAWN,
    bitflip::DRAWN,
    rollback::DRAWN,
];

/// How old a backup may be that is restored, in microseconds.
const AGE: u64 = 2_000_000;
/// How soon a wiped node may be started again, in microseconds.
const QUICK: u64 = 20_000;

/// What they are called.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// Whether a fault of this kind is ever drawn for a cluster of this versioning: none that takes from it what
/// its promises rest on.
pub(super) fn is_possible(versioning: Versioning, kind: &str) -> bool {
    let rests_on = match versioning {
        Versioning::Dotted => &[][..],
        // The order of its stamps is that of wall clocks.
        Versioning::Lww => &[clock::DRAWN],
        // A disk that was lost counts again what others still hold.
        Versioning::Paper => &[wipe::DRAWN, bitflip::DRAWN, rollback::DRAWN],
    };
    !rests_on.iter().any(|not| not.name == kind)
}

/// What faults are drawn from.
pub(super) struct Weather {
    /// The kinds there are.
    kinds: Vec<Drawn>,
    /// How many copies of a key may be lost: wiped disks and damaged records together.
    losses: usize,
    /// The mean time between two faults, in microseconds.
    gap: u64,
    /// The mean time a fault is held, in microseconds.
    hold: u64,
}

impl Weather {
    /// Whether it has directories put back to what they were.
    pub(super) fn puts_back(&self) -> bool {
        self.kinds.contains(&rollback::DRAWN)
    }

    /// Of a cluster.
    pub(super) fn drawn(cluster: &Cluster, rng: &mut ChaCha8Rng) -> Self {
        let settings = &cluster.settings;
        let mut kinds: Vec<_> = KINDS.into_iter().filter(|_| rng.random_ratio(4, 10)).collect();
        kinds.retain(|kind| is_possible(settings.versioning, kind.name));
        // Peers have it to tell only if somebody beside the directory's own node knew.
        if settings.w < 2 || settings.r < 2 {
            kinds.retain(|kind| *kind != rollback::DRAWN);
        }
        // Strict gets miss nothing as long as nobody forgets an acknowledgement it heard: the position that
        // came with it is on its hearer's disk with the hearer's next write, and not before.
        if settings.quorum == Quorum::Strict && kinds.contains(&rollback::DRAWN) {
            kinds.retain(|kind| !kind.ends_processes);
        }
        Self {
            kinds: if kinds.is_empty() { vec![partition::DRAWN, kill::DRAWN] } else { kinds },
            // Where a newcomer is filled by homes of which all are needed, one that lost something is missed
            // for good.
            losses: if settings.quorum == Quorum::Strict && cluster.spares > 0 {
                0
            } else {
                settings.w - 1
            },
            gap: rng.random_range(150_000..=900_000),
            hold: rng.random_range(50_000..=1_200_000),
        }
    }

    /// Draws the faults of a run of `time` microseconds, and of what kinds they are. They overlap as chance
    /// has it.
    pub(super) fn faults(
        &self,
        nodes: &[NodeId],
        time: u64,
        rng: &mut ChaCha8Rng,
    ) -> (Vec<Fault>, BTreeSet<&'static str>) {
        let (mut faults, mut drawn) = (Vec::new(), BTreeSet::new());
        let mut at = rng.random_range(0..self.gap);
        let (kinds, losses) = (&self.kinds, self.losses);
        let mut luck = Luck { nodes, one: NodeId(1), kinds, losses, rng };
        while at < time {
            let kind = *self.kinds.choose(luck.rng).expect("there are kinds");
            let until = at + luck.rng.random_range(self.hold / 10..=2 * self.hold);
            luck.one = *nodes.choose(luck.rng).expect("there are nodes");
            if let Some(what) = (kind.draw)(&mut luck) {
                drawn.insert(kind.name);
                faults.extend(staged(what, at, until.min(time), time, &mut luck));
            }
            at += luck.rng.random_range(self.gap / 10..=2 * self.gap);
        }
        (faults, drawn)
    }
}

/// A fault from `at` to `until` or thereabouts, with what goes before it and with it, in a run of `time`.
fn staged(what: Arc<dyn Twin>, at: u64, until: u64, time: u64, luck: &mut Luck<'_>) -> Vec<Fault> {
    let within = |fault: Fault| {
        let until = fault.until.min(time);
        (fault.at < time).then_some(Fault { until, ..fault })
    };
    let (mut faults, mut begins) = (Vec::new(), at);
    if luck.rng.random()
        && let Some((eve, then)) = what.eve(at, until, luck)
    {
        faults.extend(eve.into_iter().filter_map(within));
        begins = then;
    }
    if let Some(preparation) = what.preparation() {
        let done = begins.saturating_sub(luck.rng.random_range(0..AGE));
        faults.push(Fault::new(done, done, preparation));
    }
    let is_quick = what.may_return_at_once() && luck.rng.random();
    let held = if is_quick { luck.rng.random_range(0..QUICK) } else { until - at };
    // What it does to others is over soon, if perhaps after the end.
    faults.extend(what.meanwhile(begins, held, luck).filter(|fault| fault.at < time));
    faults.extend(within(Fault::new(begins, begins + held, what)));
    faults
}
