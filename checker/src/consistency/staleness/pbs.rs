//! What a quorum system can be expected to deliver: the chance that a read which begins `t` after
//! a write was acknowledged returns it (t-visibility).
//!
//! The WARS model of Bailis, Venkataraman, Franklin, Hellerstein and Stoica, "Probabilistically
//! bounded staleness for practical partial quorums" (VLDB 2012): a write reaches replica `i` after
//! `W_i` and is acknowledged to the coordinator after another `A_i`; it commits with the W-th
//! acknowledgement. A read reaches it after `R_i` and is answered after another `S_i`; it returns
//! the newest of the first R answers. So it is stale iff each of these replicas was read before
//! the write had reached it. There is no closed form for what is measured: it is drawn by lot.
//!
//! Assumed, as there: one write and then one read, no failures, no repair on the side (both make
//! real stores fresher or staler), and legs that are independent and alike for all replicas.
//! [`Legs::of_operations`] assumes more, for a history tells how long operations took and not their
//! legs; see there.

use rand::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::Quorum;

/// Samples of the four legs of messages, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legs {
    /// W: a write's way to a replica.
    pub write: Vec<u64>,
    /// A: its acknowledgement's way back.
    pub ack: Vec<u64>,
    /// R: a read's way to a replica.
    pub read: Vec<u64>,
    /// S: its answer's way back.
    pub response: Vec<u64>,
}

impl Legs {
    /// The legs that operations of these latencies would have had.
    ///
    /// An operation takes as long as the W-th (or R-th) fastest of its N round trips. If a share
    /// `p` of all round trips is over by `x`, so is a share `P[Bin(N, p) >= W]` of the operations:
    /// that is inverted for each measured operation, which gives the distribution of round trips.
    /// A round trip is taken to be half way out and half way back, and the coordinator's own time
    /// to be part of it. Where W = N the fast trips, and where W = 1 the slow ones, hardly show in
    /// the operations, so there the tail is rough.
    ///
    /// None without operations, or with a quorum of none or of more than all.
    pub fn of_operations(writes: &[u64], reads: &[u64], quorum: Quorum) -> Option<Self> {
        let write = halves(writes, quorum.n, quorum.w)?;
        let read = halves(reads, quorum.n, quorum.r)?;
        Some(Self { ack: write.clone(), write, response: read.clone(), read })
    }

    fn is_empty(&self) -> bool {
        [&self.write, &self.ack, &self.read, &self.response].iter().any(|leg| leg.is_empty())
    }
}

/// Half round trips, evenly spaced over their distribution.
fn halves(latencies: &[u64], n: u64, quorum: u64) -> Option<Vec<u64>> {
    /// Beyond so many the distribution is not known any better.
    const MOST: usize = 1000;
    if latencies.is_empty() || quorum == 0 || quorum > n {
        return None;
    }
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let samples = sorted.len().min(MOST);
    let halves = (0..samples).map(|at| {
        // This share of round trips is over by then; and so of operations:
        let trips = (at as f64 + 0.5) / samples as f64;
        let operations = at_least(n, quorum, trips);
        let place = (operations * sorted.len() as f64) as usize;
        sorted[place.min(sorted.len() - 1)] / 2
    });
    Some(halves.collect())
}

/// P[Bin(n, p) >= k].
fn at_least(n: u64, k: u64, p: f64) -> f64 {
    let mut term = (1.0 - p).powf(n as f64);
    let mut less = 0.0;
    for i in 0..k {
        less += term;
        term *= (n - i) as f64 / (i + 1) as f64 * p / (1.0 - p);
    }
    1.0 - less
}

/// For each age of the write, in nanoseconds since its acknowledgement, the chance that a read
/// begun then returns it. The same seed gives the same lots. None without samples of every leg, or
/// with a quorum of none or of more than all.
pub fn visibility(
    quorum: Quorum,
    legs: &Legs,
    ages: &[u64],
    trials: u32,
    seed: u64,
) -> Option<Vec<f64>> {
    let Quorum { n, r, w } = quorum;
    let is_sound = (1..=n).contains(&r) && (1..=n).contains(&w) && !legs.is_empty();
    if !is_sound || trials == 0 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |leg: &[u64]| leg[rng.random_range(0..leg.len())];
    // Of each trial from which age on the read is fresh.
    let mut fresh_from: Vec<u64> = (0..trials)
        .map(|_| {
            let replicas = (0..n).map(|_| Replica {
                write: draw(&legs.write),
                ack: draw(&legs.ack),
                read: draw(&legs.read),
                response: draw(&legs.response),
            });
            fresh_from(&mut replicas.collect::<Vec<_>>(), r as usize, w as usize)
        })
        .collect();
    fresh_from.sort_unstable();
    let share =
        |age: &u64| fresh_from.partition_point(|from| from <= age) as f64 / f64::from(trials);
    Some(ages.iter().map(share).collect())
}

/// What one replica sees of a write and a read.
#[derive(Clone, Copy)]
struct Replica {
    write: u64,
    ack: u64,
    read: u64,
    response: u64,
}

/// From which age of the write on a read returns it: as soon as one of the first R to answer has
/// it when it is read. That it has it when `commit + age + R_i >= W_i`.
fn fresh_from(replicas: &mut [Replica], r: usize, w: usize) -> u64 {
    let acked = |replica: &Replica| replica.write.saturating_add(replica.ack);
    let mut acks: Vec<u64> = replicas.iter().map(acked).collect();
    acks.sort_unstable();
    let commit = acks[w - 1];
    // Of replicas that answer at one time those drawn first come first: which they are has nothing
    // to do with the write (so they must not be sorted by that above).
    replicas.sort_by_key(|replica| replica.read.saturating_add(replica.response));
    let first = replicas[..r].iter();
    let from =
        first.map(|replica| replica.write.saturating_sub(commit.saturating_add(replica.read)));
    from.min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: [u64; 6] = [0, 1, 3, 5, 10, 40];

    fn legs(write: &[u64], ack: &[u64], read: &[u64], response: &[u64]) -> Legs {
        Legs {
            write: write.to_vec(),
            ack: ack.to_vec(),
            read: read.to_vec(),
            response: response.to_vec(),
        }
    }

    /// Every way the legs can fall, as the model has it word by word.
    fn exact(quorum: Quorum, legs: &Legs, age: u64) -> f64 {
        let n = quorum.n as usize;
        let sizes = [&legs.write, &legs.ack, &legs.read, &legs.response];
        let ways: usize = sizes.iter().map(|leg| leg.len().pow(n as u32)).product();
        let mut fresh = 0;
        for way in 0..ways {
            let mut rest = way;
            let mut pick = |leg: &Vec<u64>| {
                let at = rest % leg.len();
                rest /= leg.len();
                leg[at]
            };
            let drawn: Vec<[u64; 4]> = (0..n).map(|_| sizes.map(&mut pick)).collect();
            let mut acks: Vec<u64> = drawn.iter().map(|[write, ack, ..]| write + ack).collect();
            acks.sort_unstable();
            let begun = acks[quorum.w as usize - 1] + age;
            let mut answers: Vec<(u64, usize)> =
                (0..n).map(|at| (begun + drawn[at][2] + drawn[at][3], at)).collect();
            answers.sort_unstable();
            let asked = &answers[..quorum.r as usize];
            fresh +=
                usize::from(asked.iter().any(|(_, at)| begun + drawn[*at][2] >= drawn[*at][0]));
        }
        fresh as f64 / ways as f64
    }

    #[test]
    fn drawing_by_lot_agrees_with_trying_everything() {
        let all = [
            legs(&[1, 9], &[1, 4], &[1, 2], &[1, 6]),
            legs(&[0, 30], &[2], &[0, 3], &[1, 2]),
            legs(&[1, 2, 20], &[1], &[1], &[1, 2]),
        ];
        let mut stale = 0;
        for legs in &all {
            for (r, w) in [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1)] {
                let quorum = Quorum { n: 3, r, w };
                let drawn = visibility(quorum, legs, &AGES, 40_000, 7).unwrap();
                for (age, drawn) in AGES.iter().zip(drawn) {
                    let exact = exact(quorum, legs, *age);
                    // Four standard deviations of 40,000 lots are 0.01 at most.
                    assert!((exact - drawn).abs() < 0.01, "{quorum:?} {age}: {exact} {drawn}");
                    assert!(r + w <= 3 || exact == 1.0, "quorums that overlap are never stale");
                    stale += u32::from(exact < 0.9);
                }
            }
        }
        assert!(stale > 10, "there must be something to predict");
    }

    #[test]
    fn exponential_writes_have_a_closed_form() {
        // Two replicas, R = W = 1, all else takes no time: the read asks either; the one that
        // committed has it, the other with 1 - exp(-age / mean), for the rest of its way is
        // as long as the whole (it has no memory).
        let mean = 1e6;
        let write = (0..5000).map(|at| (-mean * (1.0 - (at as f64 + 0.5) / 5000.0).ln()) as u64);
        let legs = legs(&write.collect::<Vec<_>>(), &[0], &[0], &[0]);
        let ages: Vec<u64> = (0..5).map(|step| step * 500_000).collect();
        let drawn = visibility(Quorum { n: 2, r: 1, w: 1 }, &legs, &ages, 100_000, 1).unwrap();
        for (age, drawn) in ages.iter().zip(drawn) {
            let expected = 1.0 - 0.5 * (-(*age as f64) / mean).exp();
            assert!((expected - drawn).abs() < 0.01, "{age}: {expected} {drawn}");
        }
    }

    #[test]
    fn round_trips_are_found_again_in_operations() {
        // Operations made of round trips whose distribution is known: evenly from 0 to 1 ms.
        let mut rng = StdRng::seed_from_u64(3);
        for (n, quorum) in [(1, 1), (3, 1), (3, 2), (3, 3), (5, 3)] {
            let operations: Vec<u64> = (0..20_000)
                .map(|_| {
                    let mut trips: Vec<u64> =
                        (0..n).map(|_| rng.random_range(0..1_000_000)).collect();
                    trips.sort_unstable();
                    trips[quorum as usize - 1]
                })
                .collect();
            let found = halves(&operations, n, quorum).unwrap();
            for share in [0.25, 0.5, 0.75] {
                let trip = 2 * found[(share * found.len() as f64) as usize];
                let off = (trip as f64 / 1e6 - share).abs();
                assert!(off < 0.04, "{n}, {quorum}, {share}: {trip}");
            }
        }
    }

    #[test]
    fn nonsense_predicts_nothing() {
        let some = legs(&[1], &[1], &[1], &[1]);
        for quorum in [(0, 0, 0), (3, 0, 1), (3, 4, 1), (3, 1, 4)] {
            let quorum = Quorum { n: quorum.0, r: quorum.1, w: quorum.2 };
            assert_eq!(visibility(quorum, &some, &[0], 10, 0), None);
            assert_eq!(Legs::of_operations(&[1], &[1], quorum), None);
        }
        let quorum = Quorum { n: 3, r: 1, w: 1 };
        assert_eq!(visibility(quorum, &legs(&[], &[1], &[1], &[1]), &[0], 10, 0), None);
        assert_eq!(Legs::of_operations(&[], &[1], quorum), None);
    }
}
