//! The page as a whole.

use super::samples::replaced;
use super::*;
use crate::story::{Role, Why};
use crate::subject::{Carried, FaultRow, Part};
use checker::history::History;
use checker::history::op::{Kind, Op};
use checker::siblings::cart::Cart;
use checker::spec::Register;
use checker::verdict::Checker;
use checker::{budget::Budget, linearizable::Linearizable};

/// What must never be taken for anything but text.
const HOSTILE: &str = "</script><script>alert(1)</script><!--\"'&<img src=x onerror=alert(2)>";

fn subject(history: &History, checker: &dyn Checker, text: &str) -> Subject {
    let report = checker.check(history, &Budget::UNLIMITED);
    let verdict = report.verdict();
    let reasons = report.reason.clone().into_iter().collect();
    Subject {
        name: text.to_owned(),
        verdict: Some(verdict),
        headline: text.to_owned(),
        verdicts: vec![Part { name: "property".into(), question: text.into(), verdict, reasons }],
        facts: vec![(text.to_owned(), text.to_owned())],
        hint: Some(text.to_owned()),
        again: Some(format!("dyno test --out '{text}'")),
        checks: [(checker.name().to_owned(), report)].into(),
        faults: vec![FaultRow {
            name: text.to_owned(),
            injected: 2,
            proven: 1,
            ..FaultRow::default()
        }],
        messages: vec![Carried {
            from: text.to_owned(),
            to: text.to_owned(),
            what: text.to_owned(),
            holds: Some(vec![text.to_owned()]),
            ..Carried::default()
        }],
        counters: vec![(text.to_owned(), 1)],
        links: vec![(text.to_owned(), "logs/n1.log".to_owned())],
        notes: vec![text.to_owned()],
    }
}

fn told(history: &History, checker: &dyn Checker) -> Vec<crate::story::Story> {
    let subject = subject(history, checker, "x");
    stories(&subject.checks, history, &bands(history), MOST_TOLD)
}

#[test]
fn nothing_that_users_or_stores_say_is_taken_for_markup() {
    let history = replaced(HOSTILE, HOSTILE, HOSTILE, HOSTILE);
    let page = html(&subject(&history, &Cart::default(), HOSTILE), &history);
    let own = page.matches("<script>").count();
    assert_eq!(
        (own, page.matches("</script>").count()),
        (1, 5),
        "one script and four blocks of data"
    );
    for wrong in ["<img", "<!--", "alert(1)</script>"] {
        assert!(!page.contains(wrong), "{wrong}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains("http://") && !page.contains("https://"), "it asks nobody for anything");
}

#[test]
fn the_page_allows_its_own_script_and_style_by_their_hashes() {
    use base64::Engine;
    use sha2::{Digest, Sha256};
    let history = History::default();
    let page = html(&Subject::default(), &history);
    for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
        let from = page.rfind(open).unwrap() + open.len();
        let text = &page[from..from + page[from..].find(close).unwrap()];
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
        assert!(page.contains(&format!("'sha256-{hash}'")), "{open}");
    }
    // Without a style in a tag: the policy would refuse it.
    assert!(!page.contains(" style="));
}

#[test]
fn the_story_of_a_lost_item_names_the_put_between() {
    let history = replaced("basket", "milk", "n1", "refused");
    let stories = told(&history, &Cart::default());
    let story = &stories[0];
    assert_eq!(story.title, "milk of \"basket\" was acknowledged, and is gone");
    let parts: Vec<_> = story.ops.iter().map(|op| (op.name, op.role)).collect();
    let expected = [
        (2, Role::Beside),
        (3, Role::Beside),
        (7, Role::Victim),
        (9, Role::Culprit),
        (14, Role::Shows),
    ];
    assert_eq!(parts, expected);
    let arrows: Vec<_> =
        story.arrows.iter().map(|arrow| (arrow.from, arrow.to, arrow.why)).collect();
    assert_eq!(arrows, [(2, 7, Why::Context), (3, 9, Why::Context), (9, 7, Why::Replaced)]);
    assert_eq!(story.bands.iter().map(|band| band.in_words()).collect::<Vec<_>>(), ["kill of n1"]);
    let said: Vec<&str> = story.steps.iter().map(|step| &*step.text).collect();
    assert!(said.iter().any(|text| text.contains("It has never seen milk")), "{said:?}");
    assert!(said.last().unwrap().contains("kill of n1 (0.0060 s to 0.0110 s)"), "{said:?}");
}

#[test]
fn the_story_of_an_object_tells_the_order_that_was_tried_and_what_fits_nowhere() {
    let op = |process, f: &'static str, value: Option<u64>| {
        let op = Op::invoke(process, f).key("x");
        value.into_iter().fold(op, |op, value| op.value(value))
    };
    let mut lines = Vec::new();
    for (process, f, value) in [(0, "write", 1), (1, "write", 2), (2, "read", 2), (3, "read", 1)] {
        let invoke = op(process, f, (f == "write").then_some(value));
        lines.push(invoke.clone());
        lines.push(invoke.completed(Kind::Ok).value(value));
    }
    let lines = lines.into_iter().zip(1..).map(|(op, at)| op.at(at * 1000)).collect();
    let history = History::numbered(lines).unwrap();
    let stories = told(&history, &Linearizable::new(Register::default()));
    let order = stories[0].order.as_ref().unwrap();
    assert_eq!(order.explained.last(), Some(&3));
    assert_eq!(order.stuck, 7);
    let said: Vec<&str> = stories[0].steps.iter().map(|step| &*step.text).collect();
    assert!(said.iter().any(|text| text.contains("#7 fits nowhere")), "{said:?}");
    let picture = crate::svg::picture(&stories[0], "s").unwrap().into_string();
    assert!(picture.contains("class=\"point\"") && picture.contains("class=\"nowhere\""));
}

#[test]
fn a_fault_that_was_not_proven_is_a_hole() {
    let history = replaced("basket", "milk", "n1", "refused");
    let page = html(&subject(&history, &Cart::default(), "x"), &history);
    let holes = page.matches("<td class=\"hole\">").count();
    assert_eq!(holes, 4, "proven, healed, gets and puts");
}

#[test]
fn all_findings_are_rows_and_those_that_are_only_counted_are_said() {
    let history = replaced("basket", "milk", "n1", "refused");
    let mut subject = subject(&history, &Cart::default(), "x");
    let (found, unlisted) = rows(&subject.checks, &history);
    assert_eq!((found.len(), unlisted.len()), (1, 0));
    let report = subject.checks.get_mut("cart").unwrap();
    *report = report.clone().with("lost_count", 1500);
    let (_, unlisted) = rows(&subject.checks, &history);
    assert_eq!(unlisted.get("cart"), Some(&1499));
    assert!(html(&subject, &history).contains("cart counted 1,499 more, which it does not list."));
}
