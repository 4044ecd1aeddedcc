//! Whether nodes noticed what befell their disks: told from the nemesis's lines of a history.

use checker::history::History;
use checker::history::op::{Kind, Op, Process};
use checker::verdict::CheckReport;
use serde_json::{Value, json};

use crate::plan::FaultName;

/// The name of the check.
pub const CHECK: &str = "disks";

/// Judges every disk that was lost, rolled back or damaged and whose node was seen to be back, and every
/// one that refused a write; nothing, if there was none. Whether there should have been is a question of
/// coverage.
#[must_use]
pub fn judge(history: &History) -> Option<CheckReport> {
    let (mut noticed, mut broken) = (0, Vec::new());
    for (op, value) in history.iter().filter_map(judged) {
        match (op.kind, value.get("broken")) {
            (Kind::Ok, _) => noticed += 1,
            (_, Some(rule)) => broken.push((op, rule)),
            _ => {}
        }
    }
    let all = noticed + broken.len();
    let Some((first, _)) = broken.first() else {
        return (all > 0).then(|| CheckReport::valid_if_judged(all, "no disk was lost"));
    };
    let said = |op: &Op| op.error.clone().unwrap_or_default();
    let finding =
        |(op, rule): &(&Op, &Value)| json!({ "rule": rule, "ops": [op.index], "what": said(op) });
    let more = broken.len() - 1;
    let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    let report = CheckReport::invalid(format!("{}{more}", said(first))).judging(all);
    let report = report.with("witness", [first.index]);
    Some(report.with("violations", broken.iter().map(finding).collect::<Vec<_>>()))
}

/// The end of a fault that costs a disk, or of one that its node did not survive as it had to; or the
/// beginning of one of which a node has to end.
fn judged(op: &Op) -> Option<(&Op, &Value)> {
    let value = op.value.as_ref().filter(|_| op.process == Process::Nemesis)?;
    let nature = op.f.parse::<FaultName>().ok()?.nature();
    let is_one = match value.get("step").and_then(Value::as_str) {
        Some("heal") => nature.is_noticed || value.get("broken").is_some(),
        Some("inject") => nature.fails_writes,
        _ => false,
    };
    is_one.then_some((op, value))
}

#[cfg(test)]
mod tests {
    use checker::verdict::Verdict;

    use super::*;

    fn healing(kind: Kind, name: &'static str, more: Value) -> Op {
        let mut value = more;
        value["step"] = json!("heal");
        Op::new(Process::Nemesis, kind, name).value(value)
    }

    #[test]
    fn a_disk_whose_loss_went_unnoticed_is_an_accusation_and_one_that_nobody_saw_again_is_none() {
        let history = |ops: Vec<Op>| History::numbered(ops).unwrap();
        let noticed = healing(Kind::Ok, "rollback", json!({}));
        let unseen = healing(Kind::Info, "bitflip", json!({})).error("not proven within 10s");
        let broken = json!({ "broken": "RollbackUnnoticed" });
        let unnoticed = healing(Kind::Info, "rollback", broken).error("n1 goes on");
        let killed = healing(Kind::Ok, "kill", json!({}));
        let goes_on = Op::new(Process::Nemesis, Kind::Info, "diskfull").error("n1 goes on");
        let value = json!({ "step": "inject", "broken": "FailureIgnored" });
        let report = judge(&history(vec![goes_on.value(value)])).unwrap();
        assert_eq!(report.details["violations"][0]["rule"], "FailureIgnored");
        assert!(judge(&history(vec![killed.clone(), unseen.clone()])).is_none());
        let report = judge(&history(vec![killed, noticed.clone(), unseen])).unwrap();
        assert_eq!((report.verdict(), report.judged()), (Verdict::Valid, 1));
        let report = judge(&history(vec![noticed, unnoticed])).unwrap();
        assert_eq!((report.verdict(), report.judged()), (Verdict::Invalid, 2));
        assert_eq!(report.reason.as_deref(), Some("n1 goes on"));
        assert_eq!(report.witness(), [1]);
        assert_eq!(report.details["violations"][0]["rule"], "RollbackUnnoticed");
    }
}
