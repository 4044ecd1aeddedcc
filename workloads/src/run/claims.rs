//! What a workload can be held to beside what every history of siblings is, and when its plan is entitled
//! to it.

use checker::budget::Budget;
use checker::collections::{CounterBounds, SetFull};
use checker::history::History;
use checker::history::op::Op;
use checker::linearizable::Linearizable;
use checker::spec::Register;
use checker::verdict::{CheckReport, Checker, Verdict};
use dynamo_protocol::{ReadMode, Settings, Versioning};
use serde::Serialize;

use crate::plan::WorkloadName;
use crate::workload::object::Object;

/// A claim of a workload.
pub(crate) struct Claim {
    /// Who judges it.
    pub(crate) checker: Box<dyn Checker>,
    /// Why the plan is not entitled to it, if it is not.
    pub(crate) not_entitled: Option<&'static str>,
}

/// What is said of a claim that a plan is not entitled to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotEntitled {
    /// Why it is not.
    pub why: &'static str,
    /// What the verdict would be.
    pub would_be: Verdict,
    /// And why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What all claims are called.
pub(crate) const NAMES: [&str; 5] =
    ["register-linearizable", "set", "set-fresh", "counter", "counter-fresh"];

/// The claims of a workload on a cluster with these settings.
pub(crate) fn of(workload: WorkloadName, settings: &Settings) -> Vec<Claim> {
    let Some(object) = Object::of(workload) else { return Vec::new() };
    let meet = settings.quorums_meet();
    // Under lww and the paper's clocks siblings are dropped, and with them what clients keep in them.
    let keeps = settings.versioning == Versioning::Dotted;
    let fresh =
        (!meet).then_some("gets need not see acknowledged puts: R + W > N with quorum strict do");
    let kept = (!keeps).then_some("concurrent puts drop each other: versioning dotted does not");
    let atomic = (settings.read != ReadMode::Atomic).then_some(
        "a get may show less than one before it while a put is under way: read atomic does not",
    );
    let claim = |name, judge: Box<dyn Checker>, only_final, not_entitled| Claim {
        checker: Box::new(Seen { name, object, judge, only_final }),
        not_entitled,
    };
    match object {
        Object::Register => {
            let register = Box::new(Linearizable::new(Register::default()));
            let not = kept.or(fresh).or(atomic);
            vec![claim("register-linearizable", register, false, not)]
        }
        Object::Set => {
            let fresh = kept.or(fresh).or(atomic);
            vec![
                claim("set", Box::new(SetFull { linearizable: false }), false, kept),
                claim("set-fresh", Box::new(SetFull { linearizable: true }), false, fresh),
            ]
        }
        Object::Counter => vec![
            claim("counter", Box::new(CounterBounds), true, kept),
            claim("counter-fresh", Box::new(CounterBounds), false, kept.or(fresh)),
        ],
    }
}

/// Judges what clients see of an object.
struct Seen {
    name: &'static str,
    object: Object,
    judge: Box<dyn Checker>,
    /// Of what was read only what was read at the end, when all was at rest.
    only_final: bool,
}

impl Checker for Seen {
    fn name(&self) -> &str {
        self.name
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let seen = self.object.seen(history).and_then(|seen| match self.only_final {
            true => History::from_ops(seen.iter().map(|op| set_aside(op, &seen)).collect()),
            false => Ok(seen),
        });
        match seen {
            Ok(seen) => self.judge.check(&seen, budget),
            Err(error) => CheckReport::refused(error.to_string()),
        }
    }
}

/// A read that was not made at the end is none that is judged.
fn set_aside(op: &Op, history: &History) -> Op {
    let mut op = op.clone();
    let is_final = history.pair(op.index).is_some_and(|pair| pair.is_final());
    if &*op.f == "read" && !is_final {
        op.f = "early-read".into();
    }
    op
}

#[cfg(test)]
mod tests {
    use checker::history::op::Kind;
    use dynamo_protocol::Quorum;
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::Plan;

    fn entitled(workload: WorkloadName, settings: &Settings) -> Vec<String> {
        let claims = of(workload, settings).into_iter();
        let entitled = claims.filter(|claim| claim.not_entitled.is_none());
        entitled.map(|claim| claim.checker.name().to_owned()).collect()
    }

    #[test]
    fn what_a_workload_is_held_to_follows_from_quorums_and_modes() {
        let mut settings = Plan::default().cluster.settings;
        let all = [WorkloadName::Register, WorkloadName::Set, WorkloadName::Counter];
        let held = |settings: &Settings| all.map(|name| entitled(name, settings).join(" "));
        assert_eq!(held(&settings), ["", "set", "counter"]);
        settings.quorum = Quorum::Strict;
        assert_eq!(held(&settings), ["", "set", "counter counter-fresh"]);
        settings.read = ReadMode::Atomic;
        let whole = ["register-linearizable", "set set-fresh", "counter counter-fresh"];
        assert_eq!(held(&settings), whole);
        settings.r = 1;
        assert_eq!(held(&settings), ["", "set", "counter"]);
        settings.versioning = Versioning::Lww;
        assert_eq!(held(&settings), ["", "", ""]);
        let names = all.into_iter().flat_map(|name| of(name, &settings));
        let names: Vec<_> = names.map(|claim| claim.checker.name().to_owned()).collect();
        assert_eq!(names, NAMES);
    }

    fn judged(name: &str, ops: Vec<Op>) -> Verdict {
        let mut settings = Plan::default().cluster.settings;
        (settings.quorum, settings.read) = (Quorum::Strict, ReadMode::Atomic);
        let all = [WorkloadName::Register, WorkloadName::Set, WorkloadName::Counter];
        let claims = all.into_iter().flat_map(|name| of(name, &settings));
        let claim = claims.into_iter().find(|claim| claim.checker.name() == name).unwrap();
        let history = History::numbered(ops).unwrap();
        claim.checker.check(&history, &Budget::UNLIMITED).verdict()
    }

    /// A put that was acknowledged, and what a get shows that began afterwards.
    fn then(put: Value, siblings: Value, is_final: bool) -> Vec<Op> {
        let put = Op::invoke(0, "put").key("k").value(put);
        let mut get = Op::invoke(1, "get").key("k").at(2);
        get.is_final = is_final;
        let got = get.completed(Kind::Ok).value(siblings).at(3);
        vec![put.clone(), put.completed(Kind::Ok).at(1), get, got]
    }

    #[test]
    fn a_get_that_lacks_what_was_acknowledged_breaks_what_it_should_and_one_that_has_it_does_not() {
        let add = || json!({"items": ["a"], "add": "a"});
        let count = |of| json!({"counts": {"w0": of}, "add": 1});
        for (name, put, shows) in [
            ("register-linearizable", json!(1), json!([1])),
            ("set", add(), json!([add()])),
            ("set-fresh", add(), json!([add()])),
            ("counter", count(1), json!([count(1)])),
            ("counter-fresh", count(1), json!([count(1)])),
        ] {
            assert_eq!(judged(name, then(put.clone(), shows, true)), Verdict::Valid, "{name}");
            assert_eq!(judged(name, then(put, json!([]), true)), Verdict::Invalid, "{name}");
        }
        let early = then(count(1), json!([]), false);
        assert_eq!(judged("counter-fresh", early.clone()), Verdict::Invalid);
        assert_eq!(judged("counter", early), Verdict::Unknown, "nothing was read at the end");
        let twice = then(count(1), json!([count(2)]), true);
        assert_eq!(judged("counter", twice), Verdict::Invalid, "nobody counted so far");
    }
}
