//! The curve: how likely a get is fresh that begins so long after the acknowledgement.
//!
//! Of each trial the wait is computed that its get would have needed to be fresh, and one sort of those is
//! the whole curve with every quantile. The published tool tries one wait after the other and takes the first
//! at which the share is reached, which is too early with few draws a point.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Coordinator, Legs, Prediction};

/// More homes than any cluster of the published paper.
const MOST: usize = 16;

/// What trials came to; all times in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The wait that each trial's get needed, sorted.
    waits: Vec<f64>,
    /// How long each put took, sorted.
    puts: Vec<f64>,
    /// How long each get took, sorted.
    gets: Vec<f64>,
}

/// The four ways to and from each replica in one trial: write, acknowledgement, read, answer.
type Trial = [[f64; 4]; MOST];

/// Runs so many trials.
///
/// # Panics
/// If R or W is not from 1 to N, or N is more than 16.
#[must_use]
pub fn predict(what: &Prediction, trials: usize, seed: u64) -> Curve {
    let Prediction { n, r, w, fit, coordinator } = *what;
    run([n, r, w], coordinator, trials, seed, |asked, rng, legs| {
        for (replica, legs) in legs.iter_mut().enumerate() {
            *legs = fit.draw([replica != 0, replica != asked], rng);
        }
    })
}

/// The same of ways that messages took in runs: of each trial the put's are those of one recorded put, and
/// the get's those of one recorded get, so that what made all of an operation's messages slow is in it.
/// None where either was never recorded.
///
/// # Panics
/// If R or W is not from 1 to N, or N is more than 16.
#[must_use]
pub fn predict_by(
    [n, r, w]: [usize; 3],
    coordinator: Coordinator,
    legs: &Legs,
    trials: usize,
    seed: u64,
) -> Option<Curve> {
    if !legs.is_enough() {
        return None;
    }
    Some(run([n, r, w], coordinator, trials, seed, |asked, rng, trial| {
        legs.draw(asked, coordinator, rng, trial);
    }))
}

fn run(
    [n, r, w]: [usize; 3],
    coordinator: Coordinator,
    trials: usize,
    seed: u64,
    mut draw: impl FnMut(usize, &mut ChaCha8Rng, &mut [[f64; 4]]),
) -> Curve {
    let is_possible = n <= MOST && (1..=n).contains(&r) && (1..=n).contains(&w);
    assert!(is_possible, "{n}/{r}/{w}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut curve = Curve {
        waits: Vec::with_capacity(trials),
        puts: Vec::with_capacity(trials),
        gets: Vec::with_capacity(trials),
    };
    let mut legs: Trial = [[0.0; 4]; MOST];
    let (mut acks, mut answers) = ([0.0; MOST], [(0.0, 0); MOST]);
    for _ in 0..trials {
        let is_home = coordinator == Coordinator::Home;
        // Clients ask any home: that of the put is the first, that of the get may be another.
        let asked = if is_home { rng.random_range(0..n) } else { 0 };
        draw(asked, &mut rng, &mut legs[..n]);
        if is_home {
            (legs[0][0], legs[0][1]) = (0.0, 0.0);
            (legs[asked][2], legs[asked][3]) = (0.0, 0.0);
        }
        for (replica, [write, ack, read, answer]) in legs[..n].iter().enumerate() {
            acks[replica] = write + ack;
            answers[replica] = (read + answer, replica);
        }
        let (acks, answers) = (&mut acks[..n], &mut answers[..n]);
        acks.sort_unstable_by(f64::total_cmp);
        answers.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let acked = acks[w - 1];
        let needed = answers[..r].iter().map(|(_, replica)| {
            let [write, _, read, _] = legs[*replica];
            write - read - acked
        });
        curve.waits.push(needed.fold(f64::INFINITY, f64::min).max(0.0));
        curve.puts.push(acked);
        curve.gets.push(answers[r - 1].0);
    }
    for times in [&mut curve.waits, &mut curve.puts, &mut curve.gets] {
        times.sort_unstable_by(f64::total_cmp);
    }
    curve
}

impl Curve {
    /// How many trials there were.
    #[must_use]
    pub fn trials(&self) -> usize {
        self.waits.len()
    }

    /// How likely a get is fresh that begins `t` ms after the acknowledgement.
    #[must_use]
    pub fn fresh(&self, t: f64) -> f64 {
        let good = self.waits.partition_point(|wait| *wait <= t);
        good as f64 / self.waits.len().max(1) as f64
    }

    /// After how many ms the share `p` of gets is fresh.
    #[must_use]
    pub fn wait(&self, p: f64) -> f64 {
        quantile(&self.waits, p)
    }

    /// How long the share `p` of puts takes at most, in ms.
    #[must_use]
    pub fn put(&self, p: f64) -> f64 {
        quantile(&self.puts, p)
    }

    /// How long the share `p` of gets takes at most, in ms.
    #[must_use]
    pub fn get(&self, p: f64) -> f64 {
        quantile(&self.gets, p)
    }
}

/// The least value that the share `p` does not exceed.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let rank = (p * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).wrapping_sub(1)).copied().unwrap_or(f64::NAN)
}

/// How likely a get shows one of the last `k` versions, if each put reached just W replicas of its own
/// choice: 1 - (C(N-W, R) / C(N, R))^k. Quorums that grow after the acknowledgement make it likelier.
#[must_use]
pub fn k_fresh(n: usize, r: usize, w: usize, k: u32) -> f64 {
    let missed = (0..r).map(|i| {
        let left = n.saturating_sub(w).saturating_sub(i);
        left as f64 / (n - i) as f64
    });
    1.0 - missed.product::<f64>().powi(i32::try_from(k).unwrap_or(i32::MAX))
}
