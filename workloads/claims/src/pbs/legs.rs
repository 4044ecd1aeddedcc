//! How long messages took in runs, by request.

use rand::Rng;

use super::Coordinator;

/// The ways of recorded requests, in milliseconds: of each put to every replica it was sent to the write's
/// way there and the acknowledgement's back, of each get the read's and the answer's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Legs {
    /// A put each.
    pub puts: Vec<Vec<[f64; 2]>>,
    /// A get each.
    pub gets: Vec<Vec<[f64; 2]>>,
}

impl Legs {
    /// Whether trials can be drawn of them.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        let some = |requests: &[Vec<[f64; 2]>]| requests.iter().any(|request| !request.is_empty());
        some(&self.puts) && some(&self.gets)
    }

    /// Takes in those of another run.
    pub fn extend(&mut self, other: Self) {
        self.puts.extend(other.puts);
        self.gets.extend(other.gets);
    }

    /// The ways of a put and of a get. Who coordinated them is replica 0, and `asked`, if a home did; their
    /// own ways are drawn as well and left to the caller to forget.
    pub(super) fn draw(
        &self,
        asked: usize,
        coordinator: Coordinator,
        rng: &mut impl Rng,
        trial: &mut [[f64; 4]],
    ) {
        let own = |replica| (coordinator == Coordinator::Home).then_some(replica);
        let put = of_one(&self.puts, trial.len(), own(0), rng);
        let get = of_one(&self.gets, trial.len(), own(asked), rng);
        for (legs, (put, get)) in trial.iter_mut().zip(put.into_iter().zip(get)) {
            *legs = [put[0], put[1], get[0], get[1]];
        }
    }
}

/// The ways of one request to `n` replicas but its coordinator. Where it went to fewer the rest is of others.
fn of_one(
    requests: &[Vec<[f64; 2]>],
    n: usize,
    own: Option<usize>,
    rng: &mut impl Rng,
) -> Vec<[f64; 2]> {
    let mut left = Vec::new();
    (0..n)
        .map(|replica| {
            if own == Some(replica) {
                return [0.0; 2];
            }
            while left.is_empty() {
                left.clone_from(&requests[rng.random_range(0..requests.len())]);
            }
            // Which of them is which replica is any.
            left.swap_remove(rng.random_range(0..left.len()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Coordinator, predict_by};
    use super::*;

    #[test]
    fn the_ways_of_one_request_stay_together() {
        // Half of the puts are slow to everybody: then a get that begins at once misses the other replicas
        // just as often as a fast one does, since it waits for the first acknowledgement either way.
        let puts = vec![vec![[1.0, 0.0]; 3], vec![[100.0, 0.0]; 3]];
        let legs = Legs { puts, gets: vec![vec![[0.0, 1.0]; 3]] };
        let together = predict_by([3, 1, 1], Coordinator::Outside, &legs, 20_000, 1).unwrap();
        assert_eq!(together.fresh(0.0), 1.0, "all replicas have it at one time");
        let puts = vec![vec![[1.0, 0.0], [100.0, 0.0], [100.0, 0.0]]];
        let legs = Legs { puts, ..legs };
        let apart = predict_by([3, 1, 1], Coordinator::Outside, &legs, 20_000, 1).unwrap();
        assert!((apart.fresh(0.0) - 1.0 / 3.0).abs() < 0.02, "{}", apart.fresh(0.0));
        assert_eq!(apart.fresh(99.0), 1.0);
    }

    #[test]
    fn nothing_is_predicted_of_nothing() {
        let legs = Legs { puts: vec![vec![[1.0, 1.0]]], gets: vec![Vec::new()] };
        assert_eq!(predict_by([3, 1, 1], Coordinator::Home, &legs, 1_000, 1), None);
    }
}
