//! Re-checks an order that the search found. It shares nothing with the search but the
//! specification's step: an error in one does not excuse an error in the other.

use super::calls::Call;
use crate::spec::Spec;

/// Why an order is not one that makes the calls linearizable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refuted {
    /// A call stands in it twice, or is none of the calls.
    #[error("position {0} of the order names no call, or one named before")]
    Repeated(usize),
    /// A call that returned is missing.
    #[error("op {0} returned and is not in the order")]
    Missing(u64),
    /// A call stands after one that began only when it had returned.
    #[error("op {0} stands after an op that began when it had returned")]
    Late(u64),
    /// The specification does not allow it there.
    #[error("op {0} cannot happen where it stands")]
    Illegal(u64),
}

/// Checks in linear time that `order` (positions in `calls`) holds every call that returned once
/// and no call twice, keeps to real time, and is allowed by the specification.
pub fn validate<S: Spec>(spec: &S, calls: &[Call<S::Op>], order: &[u32]) -> Result<(), Refuted> {
    let mut placed = vec![false; calls.len()];
    let mut latest_invocation = 0;
    let mut state = spec.init();
    for (position, &at) in order.iter().enumerate() {
        let repeated = placed.get_mut(at as usize).is_none_or(|it| std::mem::replace(it, true));
        if repeated {
            return Err(Refuted::Repeated(position));
        }
        let call = &calls[at as usize];
        if call.returned.is_some_and(|returned| returned < latest_invocation) {
            return Err(Refuted::Late(call.name));
        }
        latest_invocation = latest_invocation.max(call.invoked);
        state = spec.step(&state, &call.op).ok_or(Refuted::Illegal(call.name))?;
    }
    let missing =
        calls.iter().zip(&placed).find(|(call, placed)| call.returned.is_some() && !**placed);
    missing.map_or(Ok(()), |(call, _)| Err(Refuted::Missing(call.name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Register, RegisterOp};

    #[test]
    fn a_wrong_order_is_refuted_for_its_reason() {
        let register = Register::default();
        let calls = [
            Call::of(0, RegisterOp::Write(1), 0, Some(1)),
            Call::of(1, RegisterOp::Write(2), 2, None),
            Call::of(2, RegisterOp::Read(1), 3, Some(4)),
        ];
        let check = |order: &[u32]| validate(&register, &calls, order);
        assert_eq!(check(&[0, 2]), Ok(()), "what never returned may be left out");
        assert_eq!(check(&[0, 2, 1]), Ok(()));
        assert_eq!(check(&[0]), Err(Refuted::Missing(2)));
        assert_eq!(check(&[0, 2, 2]), Err(Refuted::Repeated(2)));
        assert_eq!(check(&[0, 3]), Err(Refuted::Repeated(1)));
        assert_eq!(check(&[1, 0, 2]), Err(Refuted::Late(0)));
        assert_eq!(check(&[0, 1, 2]), Err(Refuted::Illegal(2)));
    }

    #[test]
    fn equal_times_overlap() {
        let calls = [
            Call::of(0, RegisterOp::Write(1), 0, Some(5)),
            Call::of(1, RegisterOp::Read(0), 5, Some(6)),
        ];
        assert_eq!(validate(&Register::default(), &calls, &[1, 0]), Ok(()));
    }
}
