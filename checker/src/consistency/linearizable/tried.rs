//! Of what is wrong with an object, the order that explains all of it but one call.

use serde::Serialize;

use super::calls::Call;
use super::frontier::{self, Answer};
use super::validate::validate;
use crate::judge::budget::{Budget, Meter};
use crate::spec::Spec;

/// Larger witnesses nobody reads.
const MOST: usize = 64;

/// An order of all calls but one that is allowed, and keeps to real time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Tried {
    /// The calls by their names, in that order.
    explained: Vec<u64>,
    /// The one that fits nowhere in it, nor in any other.
    stuck: u64,
}

/// The order for calls that cannot all be explained. None if they can be, or no order explains all but one
/// of them. The call at which the search got stuck is left out if that will do.
pub(super) fn tried<S: Spec>(spec: &S, calls: &[Call<S::Op>]) -> Option<Tried> {
    if calls.len() > MOST {
        return None;
    }
    let mut meter =
        Budget { time: Some(std::time::Duration::from_millis(200)), memory: None }.start();
    let Answer::Stuck(at) = frontier::search(spec, calls, &mut meter).answer else { return None };
    let others = (0..calls.len() as u32).rev().filter(|other| *other != at);
    std::iter::once(at).chain(others).find_map(|without| order(spec, calls, without, &mut meter))
}

fn order<S: Spec>(
    spec: &S,
    calls: &[Call<S::Op>],
    without: u32,
    meter: &mut Meter,
) -> Option<Tried> {
    let mut rest = calls.to_vec();
    let stuck = rest.remove(without as usize).name;
    let Answer::Linearizable(order) = frontier::search(spec, &rest, meter).answer else {
        return None;
    };
    validate(spec, &rest, &order).expect("the order that the search found is legal");
    let explained = order.iter().map(|at| rest[*at as usize].name).collect();
    Some(Tried { explained, stuck })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Register, RegisterOp};

    #[test]
    fn all_but_the_read_that_fits_nowhere_are_put_in_order() {
        let calls = [
            Call::of(1, RegisterOp::Write(1), 0, Some(1)),
            Call::of(2, RegisterOp::Write(2), 2, Some(3)),
            Call::of(3, RegisterOp::Read(1), 4, Some(5)),
        ];
        let told = tried(&Register::default(), &calls);
        assert_eq!(told, Some(Tried { explained: vec![1, 2], stuck: 3 }));
        assert_eq!(tried(&Register::default(), &calls[..2]), None);
    }
}
