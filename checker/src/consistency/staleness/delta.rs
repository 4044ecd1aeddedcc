//! The least shift of reads that makes each key linearizable.
//!
//! A *cluster* is a write with its reads; its zone lies between the first completion among them
//! (`finish`) and the last invocation (`start`). With `finish < start` the zone is forward: the
//! value surely was current all through it. A history is linearizable iff no read ends before its
//! write begins, no two forward zones overlap, and no backward zone lies inside a forward one.

use super::returned;
use crate::consistency::registers::{EventId, Registers};
use crate::judge::budget::{Exhausted, Meter};

/// The key that needs the greatest shift.
pub(super) struct Worst {
    pub(super) key: String,
    /// None: no shift helps, a read ended before its write began.
    pub(super) delta: Option<u64>,
    /// Writes and reads of the two zones that still clash with a nanosecond less.
    pub(super) ops: Vec<u64>,
}

/// A cluster; times are signed, so that the initial value lies before all.
struct Cluster {
    write: Option<EventId>,
    /// Beginning of the write.
    begun: i128,
    finish: i128,
    /// The last-begun read, and when.
    last_read: Option<(i128, EventId)>,
    first_end: Option<i128>,
}

impl Cluster {
    fn start(&self, shift: i128) -> i128 {
        self.last_read.map_or(self.begun, |(at, _)| self.begun.max(at - shift))
    }
}

const BEFORE_ALL: i128 = -(1 << 100);
const NEVER: i128 = 1 << 100;

pub(super) fn worst(
    registers: &Registers<'_>,
    meter: &mut Meter,
) -> Result<Option<Worst>, Exhausted> {
    let mut worst: Option<Worst> = None;
    for (key, clusters) in registers.keys.iter().zip(clusters(registers)) {
        meter.look()?;
        let early = clusters.iter().find(|c| c.first_end.is_some_and(|end| end < c.begun));
        let (delta, ops) = match early {
            Some(cluster) => (None, ops(registers, &[cluster])),
            None => least_shift(registers, &clusters, meter)?,
        };
        let shift = |delta: Option<u64>| delta.unwrap_or(u64::MAX);
        if worst.as_ref().is_none_or(|worst| shift(worst.delta) < shift(delta)) {
            worst = Some(Worst { key: (*key).to_owned(), delta, ops });
        }
    }
    Ok(worst)
}

fn least_shift(
    registers: &Registers<'_>,
    clusters: &[Cluster],
    meter: &mut Meter,
) -> Result<(Option<u64>, Vec<u64>), Exhausted> {
    if clash(clusters, 0).is_none() {
        return Ok((Some(0), Vec::new()));
    }
    // Shifted by all of time no zone is forward, but for a write begun after its own end.
    let (mut clashes, mut fits) = (0, 1 << 65);
    while fits - clashes > 1 {
        meter.look()?;
        let middle = clashes + (fits - clashes) / 2;
        if clash(clusters, middle).is_some() { clashes = middle } else { fits = middle }
    }
    let ops = clash(clusters, clashes)
        .map_or_else(Vec::new, |(one, other)| ops(registers, &[&clusters[one], &clusters[other]]));
    Ok((u64::try_from(fits).ok(), ops))
}

/// Two clusters whose zones contradict each other when reads begin `shift` earlier.
fn clash(clusters: &[Cluster], shift: i128) -> Option<(usize, usize)> {
    let zone = |at: usize| (clusters[at].finish, clusters[at].start(shift));
    let (mut forward, mut backward): (Vec<usize>, Vec<usize>) =
        (0..clusters.len()).partition(|&at| zone(at).0 < zone(at).1);
    forward.sort_by_key(|&at| zone(at).0);
    for two in forward.windows(2) {
        if zone(two[1]).0 < zone(two[0]).1 {
            return Some((two[0], two[1]));
        }
    }
    // Forward zones are apart now: of each backward zone only the one begun last before it counts.
    backward.sort_by_key(|&at| zone(at).1);
    let mut next = 0;
    for at in backward {
        let (high, low) = zone(at);
        while next < forward.len() && zone(forward[next]).0 < low {
            next += 1;
        }
        let around = next.checked_sub(1).map(|last| forward[last]);
        if let Some(around) = around.filter(|&around| high < zone(around).1) {
            return Some((around, at));
        }
    }
    None
}

/// The clusters of each key, the initial value's among them if it was read.
fn clusters(registers: &Registers<'_>) -> Vec<Vec<Cluster>> {
    let mut of = vec![usize::MAX; registers.events.len()];
    let mut keys: Vec<Vec<Cluster>> = Vec::new();
    for writes in &registers.writes {
        let initial = Cluster {
            write: None,
            begun: BEFORE_ALL,
            finish: BEFORE_ALL,
            last_read: None,
            first_end: None,
        };
        let mut clusters = vec![initial];
        for &write in writes {
            of[write as usize] = clusters.len();
            let pair = &registers.event(write).pair;
            clusters.push(Cluster {
                write: Some(write),
                begun: pair.invoke.time.into(),
                finish: pair.acknowledged_at().map_or(NEVER, i128::from),
                last_read: None,
                first_end: None,
            });
        }
        keys.push(clusters);
    }
    for (id, event) in (0..).zip(&registers.events) {
        let Some(returned) = returned(registers, id) else { continue };
        let at = returned.map_or(0, |write| of[write as usize]);
        let cluster = &mut keys[event.key as usize][at];
        let begun = i128::from(event.pair.invoke.time);
        let ended = i128::from(event.pair.acknowledged_at().unwrap_or(u64::MAX));
        if cluster.last_read.is_none_or(|(last, _)| last < begun) {
            cluster.last_read = Some((begun, id));
        }
        cluster.first_end = Some(cluster.first_end.map_or(ended, |first| first.min(ended)));
        cluster.finish = cluster.finish.min(ended);
    }
    for clusters in &mut keys {
        if clusters[0].last_read.is_none() {
            clusters.remove(0);
        }
    }
    keys
}

fn ops(registers: &Registers<'_>, clusters: &[&Cluster]) -> Vec<u64> {
    let mut ops: Vec<u64> = clusters
        .iter()
        .flat_map(|cluster| [cluster.write, cluster.last_read.map(|(_, read)| read)])
        .flatten()
        .map(|id| registers.name(id))
        .collect();
    ops.sort_unstable();
    ops
}
