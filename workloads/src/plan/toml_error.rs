//! What is wrong with a plan's file: one line with place and mend.

use super::{PlanError, nearest};

/// `plan.toml:3:1: unknown field `quroum`; is `quorum` meant? (known: ...)`
pub(super) fn describe(error: &toml::de::Error, text: &str, origin: &str) -> PlanError {
    let (line, column) = place(text, error.span().map_or(0, |span| span.start));
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    PlanError(format!("{origin}:{line}:{column}: {}", mend(&message)))
}

/// Line and column of a byte of a text, from 1.
pub(super) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}

/// Adds the name that was probably meant to "unknown field `x`, expected one of `y`, `z`".
fn mend(message: &str) -> String {
    let names: Vec<_> = message.split('`').skip(1).step_by(2).collect();
    let about_names =
        message.starts_with("unknown field") || message.starts_with("unknown variant");
    match names.split_first() {
        Some((name, known)) if about_names => match nearest(name, known) {
            Some(near) => format!("{message}; is `{near}` meant?"),
            None => message.to_owned(),
        },
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::Plan;

    fn check(text: &str, expected: &str) {
        let error = Plan::parse(text, "plan.toml").unwrap_err().0;
        assert_eq!(error, expected);
        assert_eq!(error.lines().count(), 1);
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_place_and_its_mend() {
        check(
            "time = \"5s\"\n[cluster]\nquroum = \"strict\"\n",
            "plan.toml:3:1: unknown field `quroum`, expected one of `kind`, `nodes`, `n`, `r`, `w`, \
             `quorum`, `versioning`, `read`, `anti_entropy`, `partitioning`, `tokens`, `zones`, `engine`, \
             `durability`, `tls`, `own_disks`, `binary`, `hedge`, `deadline`, `ping`, `handoff`, `exchange`, \
             `hosts`, `accept_new`, `lease`, `record`; is `quorum` meant?",
        );
    }

    #[test]
    fn a_misspelt_fault_is_named_with_its_place_and_its_mend() {
        check(
            "faults = [\"kill\", \"puase\"]\n",
            "plan.toml:1:19: unknown variant `puase`, expected one of `kill`, `pause`, `partition`, \
             `delay`, `rate`, `reset`, `wipe`, `rollback`, `bitflip`, `join`, `leave`, \
             `replace`, `losehints`, `powercut`, `diskfull`, `eio`, `slowdisk`, `truncate`, `clock`, \
             `loss`, `duplicate`, `reorder`, `corrupt`; is `pause` meant?",
        );
    }

    #[test]
    fn of_a_list_the_item_that_is_wrong_is_named_with_its_place() {
        let error = |text| Plan::parse(text, "plan.toml").unwrap_err().0;
        let told = error("[fault]\ntargets = [\"one\", \"hme:2\"]\n");
        assert!(told.starts_with("plan.toml:2:19: `hme:2` is not one of one, minority"), "{told}");
        let told = error("[fault]\ncuts = [\"n1->n2\", \"n1->n1\"]\n");
        assert!(told.starts_with("plan.toml:2:19: `n1->n1` is no cut"), "{told}");
    }

    #[test]
    fn a_value_of_another_type_is_named_with_its_place() {
        check(
            "time = true\n",
            "plan.toml:1:8: invalid type: boolean `true`, expected a length of time, as \"30s\"",
        );
        let error = Plan::parse("time = \"30 apples\"\n", "plan.toml").unwrap_err().0;
        assert!(error.starts_with("plan.toml:1:8: `30 apples` is no length of time"), "{error}");
        assert!(error.ends_with("write 30s or 100ms") && error.lines().count() == 1, "{error}");
    }

    #[test]
    fn text_that_is_no_toml_is_named_with_its_place() {
        let error = Plan::parse("a = 1\nb =\n", "plan.toml").unwrap_err().0;
        assert!(error.starts_with("plan.toml:2:"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
