//! How stale reads are: of unique-write registers, per read and per key.
//!
//! - **Delta**: the least time by which reads' beginnings must be moved back for the history to be
//!   linearizable (Golab, Li and Shah, "Analyzing consistency properties for fun and profit", PODC
//!   2011), found by bisection over their zone test.
//! - **t-staleness** of a read: how long before it began a newer write was acknowledged.
//! - **lag** of a read: how many newer writes were acknowledged before it began. A history with a
//!   read of lag `l` is at best `l + 1`-atomic.
//! - **freshness by age**: of the reads that began so long after the latest acknowledged write of
//!   their key, the share that returned it or something newer; and, where the quorum is known,
//!   beside it the [predicted](pbs) share.
//! - **within versions**: the share of reads within k versions, and beside it, where the quorum is
//!   known, what Bailis et al., "Probabilistically bounded staleness for
//!   practical partial quorums" (VLDB 2012) predict for replicas picked at random:
//!   `1 - (C(N-W, R) / C(N, R))^k`.

use serde::Serialize;
use serde_json::json;

use crate::consistency::registers::{Act, Event, EventId, NO_READ, Registers};
use crate::history::History;
use crate::judge::budget::{Budget, Exhausted, Meter};
use crate::judge::finding::time;
use crate::judge::stats::distribution;
use crate::judge::verdict::{CheckReport, Checker};

mod delta;
mod lag;
pub mod pbs;

/// The measurement. Without bounds it is valid whatever it finds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Staleness {
    /// More Delta than this, in nanoseconds, is a violation.
    pub most_delta: Option<u64>,
    /// More lag than this is a violation.
    pub most_lag: Option<u64>,
    /// N, R and W, for the predictions.
    pub quorum: Option<Quorum>,
}

/// Sizes of a quorum system.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quorum {
    /// Copies.
    pub n: u64,
    /// Answers a read waits for.
    pub r: u64,
    /// Acknowledgements a write waits for.
    pub w: u64,
}

impl Quorum {
    /// The chance that a read is within `k` versions, with replicas picked at random.
    pub fn within_versions(&self, k: u32) -> f64 {
        // C(n-w, r) / C(n, r), factor by factor.
        let miss = (0..self.r).map(|i| {
            let free = self.n.saturating_sub(self.w).saturating_sub(i);
            free as f64 / self.n.saturating_sub(i).max(1) as f64
        });
        1.0 - miss.product::<f64>().powi(k.cast_signed())
    }
}

impl Checker for Staleness {
    fn name(&self) -> &str {
        "staleness"
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let registers = match Registers::readable(history, &meter) {
            Ok(registers) => registers,
            Err(report) => return report,
        };
        match self.measure(&registers, &mut meter) {
            Ok(report) => report,
            Err(exhausted) => CheckReport::unknown(exhausted.to_string()),
        }
    }
}

impl Staleness {
    fn measure(
        &self,
        registers: &Registers<'_>,
        meter: &mut Meter,
    ) -> Result<CheckReport, Exhausted> {
        let reads = lag::reads(registers, meter)?;
        let delta = delta::worst(registers, meter)?;
        let laggard = reads.iter().max_by_key(|read| read.lag);
        let most_lag = laggard.map_or(0, |read| read.lag);
        let mut milliseconds: Vec<f64> = reads.iter().map(|r| r.staleness as f64 / 1e6).collect();
        let stale = reads.iter().filter(|read| read.staleness > 0).count();
        let mut report = CheckReport::valid_if_judged(reads.len(), NO_READ);
        if let (Some(most), Some(read)) = (self.most_lag, laggard)
            && read.lag > most
        {
            let name = registers.name(read.id);
            let what = format!("read #{name} lags {} versions behind, more than {most}", read.lag);
            report = report.refuted(what).with("witness", [name]);
        }
        if let (Some(most), Some(worst)) = (self.most_delta, &delta)
            && worst.delta.is_none_or(|delta| delta > most)
        {
            let by = worst.delta.map_or_else(|| "for ever".to_owned(), time);
            let what = format!("the reads of {:?} are stale by {by}", worst.key);
            report = report.refuted(what).with("witness", &worst.ops);
        }
        let never = delta.as_ref().is_some_and(|worst| worst.delta.is_none());
        let report = registers.left_out.noted_in(report);
        Ok(report
            .with("reads", reads.len())
            .with("stale_reads", stale)
            .with("delta_ns", delta.as_ref().and_then(|worst| worst.delta))
            .with("delta_is_finite", !never)
            .with("delta_at", delta.map(|worst| json!({"key": worst.key, "ops": worst.ops})))
            .with("t_staleness_ms", distribution(&mut milliseconds))
            .with("most_lag", most_lag)
            .with("k_at_least", most_lag + 1)
            .with("within_versions", self.within_versions(&reads))
            .with("fresh_by_age", self.fresh_by_age(registers, &reads)))
    }

    /// By the age of the latest acknowledged write when the read began: reads, the share fresh,
    /// and the share predicted for just these ages.
    fn fresh_by_age(
        &self,
        registers: &Registers<'_>,
        reads: &[lag::ReadLag],
    ) -> Vec<serde_json::Value> {
        const EDGES_MS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0, f64::INFINITY];
        let mut buckets: Vec<(Vec<u64>, u64)> = vec![Default::default(); EDGES_MS.len()];
        for read in reads {
            let Some(age) = read.age else { continue };
            let bucket = EDGES_MS.iter().position(|edge| age as f64 / 1e6 < *edge);
            let (ages, fresh) = &mut buckets[bucket.unwrap_or(EDGES_MS.len() - 1)];
            ages.push(age);
            *fresh += u64::from(read.lag == 0);
        }
        let legs = self.quorum.and_then(|quorum| legs(registers, quorum));
        let rows = EDGES_MS.iter().zip(buckets).filter(|(_, (ages, _))| !ages.is_empty());
        let rows = rows.map(|(edge, (ages, fresh))| {
            let predicted = self.quorum.zip(legs.as_ref()).and_then(|(quorum, legs)| {
                let each = pbs::visibility(quorum, legs, &ages, TRIALS, 0)?;
                Some(each.iter().sum::<f64>() / each.len() as f64)
            });
            let measured = fresh as f64 / ages.len() as f64;
            let below = edge.is_finite().then_some(edge);
            json!({"below_ms": below, "reads": ages.len(), "fresh": measured, "predicted": predicted})
        });
        rows.collect()
    }

    /// For k from 1: the share of reads within k versions, and the share predicted.
    fn within_versions(&self, reads: &[lag::ReadLag]) -> Vec<serde_json::Value> {
        let curve = (1..=5_u32).map(|k| {
            let within = reads.iter().filter(|read| read.lag < u64::from(k)).count();
            let measured = within as f64 / reads.len() as f64;
            let predicted = self.quorum.map(|quorum| quorum.within_versions(k));
            json!({"k": k, "measured": measured, "predicted": predicted})
        });
        curve.collect()
    }
}

/// Lots drawn for a prediction: the share is within 0.01 of what endless drawing would give.
const TRIALS: u32 = 20_000;

/// The legs that the operations' latencies speak of.
fn legs(registers: &Registers<'_>, quorum: Quorum) -> Option<pbs::Legs> {
    let latencies = |writes: bool| -> Vec<u64> {
        let events = registers.events.iter().filter(|event| (event.act == Act::Write) == writes);
        let took = |event: &Event<'_>| Some(event.pair.acknowledged_at()? - event.pair.invoke.time);
        events.filter_map(took).collect()
    };
    pbs::Legs::of_operations(&latencies(true), &latencies(false), quorum)
}

/// When a write surely was done: never for one of unknown outcome.
fn acknowledged(registers: &Registers<'_>, write: EventId) -> u64 {
    registers.event(write).pair.acknowledged_at().unwrap_or(u64::MAX)
}

fn returned(registers: &Registers<'_>, id: EventId) -> Option<Option<EventId>> {
    match registers.event(id).act {
        Act::Write => None,
        Act::Read(returned) => Some(returned),
    }
}
