//! What a terminal is told.

use checker::siblings::cart::Cart;
use checker::verdict::Checker;

use super::*;
use crate::html::samples::replaced;
use crate::subject::Subject;

fn ask(asked: &Asked) -> Result<Told, String> {
    let history = replaced("basket", "milk", "n1", "refused");
    let report = Cart::default().check(&history, &Budget::UNLIMITED);
    let checks = [("cart".to_owned(), report)].into();
    told(&Subject { checks, ..Subject::default() }, &history, asked)
}

/// The words, wherever their lines end.
fn squeezed(lines: &[String]) -> String {
    lines.join("\n").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_terminal_is_told_the_same_story_as_the_page() {
    let Told { lines, document } = ask(&Asked::Whole).unwrap();
    let text = lines.join("\n");
    assert!(text.contains("milk of \"basket\" was acknowledged, and is gone"), "{text}");
    let squeezed = squeezed(&lines);
    for step in document["story"]["steps"].as_array().unwrap() {
        let said = step["text"].as_str().unwrap();
        assert!(squeezed.contains(said), "{said}\n{text}");
    }
    assert!(text.contains("what took its place; builds on #3; takes the place of #7"), "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 130), "{text}");
}

#[test]
fn an_operation_is_told_by_any_of_its_lines_with_what_built_on_it_and_what_became_of_it() {
    let put = ask(&Asked::Op(7)).unwrap();
    assert_eq!(put, ask(&Asked::Op(6)).unwrap(), "its invocation names it, too");
    let text = squeezed(&put.lines);
    for part in ["It builds on what #2 had shown", "It is lost", "Finding 1 names it", "kill of n1"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let text = ask(&Asked::Op(2)).map(|told| squeezed(&told.lines)).unwrap();
    assert!(text.contains("It builds on #2."), "{text}");
    let text = ask(&Asked::Op(12)).map(|told| squeezed(&told.lines)).unwrap();
    assert!(text.contains("The error: \"refused\"."), "{text}");
}

#[test]
fn a_key_is_told_line_by_line_with_the_faults_between() {
    let Told { lines, document } = ask(&Asked::Key("basket".to_owned())).unwrap();
    assert_eq!(document["ops"].as_array().unwrap().len(), 6);
    let at = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
    assert!(at("in force: kill of n1") < at("put +milk via n1"), "{lines:?}");
    assert!(at("put +eggs via n1") < at("over: kill of n1"), "{lines:?}");
    assert!(lines[at("put +milk")].ends_with("<- finding 1"), "{lines:?}");
}

#[test]
fn who_asks_for_what_there_is_not_is_told_what_there_is() {
    let errors = [Asked::Finding(0), Asked::Finding(2), Asked::Op(99), Asked::Op(4)];
    let errors = errors.map(|asked| ask(&asked).unwrap_err());
    assert_eq!(errors[0], "there is no finding 0: they are numbered from 1 to 1");
    assert_eq!(errors[1], "there is no finding 2: they are numbered from 1 to 1");
    assert_eq!(errors[2], "there is no operation #99: the history has the lines #0 to #14");
    assert!(errors[3].starts_with("#4 is the nemesis's"), "{}", errors[3]);
    let error = ask(&Asked::Key("bag".to_owned())).unwrap_err();
    assert_eq!(error, "nothing was done to \"bag\": the keys are \"basket\"");
}
