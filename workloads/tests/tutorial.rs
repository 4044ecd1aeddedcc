//! What docs/tutorial.md says that commands print is what they print.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Stdio};

/// A command of the tutorial, and what it is to print.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// Those in blocks that are marked as `console`: what depends on real processes is in others.
fn shown(text: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        match line {
            "```console" => is_inside = true,
            "```" => is_inside = false,
            _ if !is_inside => {}
            _ => match line.strip_prefix("$ ") {
                Some(command) => all.push(Shown { command: command.to_owned(), output: vec![] }),
                None => all.last_mut().unwrap().output.push(line.to_owned()),
            },
        }
    }
    all
}

/// Is this line that one, whose end may be left out?
fn is(line: &str, wanted: &str) -> bool {
    match wanted.strip_suffix("...") {
        Some(begin) => line.starts_with(begin),
        None => line == wanted,
    }
}

/// Are these lines those, of which `[...]` stands for any number?
fn are(lines: &[&str], wanted: &[String]) -> bool {
    match wanted.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "[...]" => {
            (0..=lines.len()).any(|skipped| are(&lines[skipped..], rest))
        }
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, lines)| is(line, first) && are(lines, rest))
        }
    }
}

#[test]
fn every_command_of_the_tutorial_prints_what_it_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("docs/tutorial.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let plans = dir.path().join("workloads");
    std::fs::create_dir(&plans).unwrap();
    std::os::unix::fs::symlink(root.join("workloads/plans"), plans.join("plans")).unwrap();
    let all = shown(&text);
    assert!(all.len() >= 8, "its commands are not where they were");
    for Shown { command, output } in all {
        let words = command.strip_prefix("dyno ").unwrap().split(' ');
        let mut dyno = Command::new(env!("CARGO_BIN_EXE_dyno"));
        let ran = dyno.args(words).current_dir(dir.path()).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
        assert!(are(&lines, &output), "{command} prints:\n{said}\nand not:\n{}", output.join("\n"));
    }
}

#[test]
fn lines_that_are_left_out_may_be_any_but_the_others_have_to_be_there() {
    let are = |wanted: &str| {
        let wanted: Vec<String> = wanted.split('|').map(str::to_owned).collect();
        are(&["a", "b and more", "c"], &wanted)
    };
    assert!(are("a|[...]|c") && are("[...]|b and...|c") && are("a|b and more|[...]|c"));
    assert!(are("a|[...]") && are("[...]"));
    assert!(!are("a|c") && !are("b|[...]") && !are("a|[...]|d") && !are("a|b..."));
}
