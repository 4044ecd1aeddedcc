//! What a careless program would hand to a shell, to `ssh` or to the file system, in every place where a
//! person may write a text: nothing of it is ever run. Each ends in one clear line, or is carried
//! as it is written where it may stand.

use std::fs;
use std::path::Path;

use dyno::hosts::remote::Inventory;
use dyno::plan::Plan;

use super::bench::{Lab, Run, dyno, eventually};
use super::common::has_lab;

/// Each would leave a file called `canary` if anything ran it.
const PAYLOADS: &[&str] = &[
    "; touch canary",
    "$(touch canary)",
    "`touch canary`",
    "a;touch canary;",
    "a|touch canary",
    "a&touch canary&",
    "a\ntouch canary\n",
    "a\rtouch canary",
    "'; touch canary; '",
    "\"; touch canary; \"",
    "\\\"; touch canary",
    "a\0b; touch canary",
    "-oProxyCommand=touch canary",
    "--rsync-path=touch canary",
    "-l root",
    "..",
    "../../canary",
    "a/../../canary",
    "${IFS}touch${IFS}canary",
    "a>canary",
    "<(touch canary)",
    "|| touch canary",
    "\u{202e}yranac hcuot",
    "caf\u{e9} $(touch canary) \u{2603}",
    "\u{1b}]0;canary\u{7}",
    "xn--canary; touch canary",
];

fn payloads() -> impl Iterator<Item = String> {
    let long = "$(touch canary)".repeat(600);
    PAYLOADS.iter().map(|payload| (*payload).to_owned()).chain([long])
}

fn quoted(payload: &str) -> String {
    toml::Value::String(payload.to_owned()).to_string()
}

/// Settings of an inventory in which no such text may stand; `@` is where it goes.
const INVENTORY: &[&str] = &[
    "[[host]]\naddress = @\n",
    "[[host]]\naddress = '127.0.0.1'\nname = @\n",
    "[[host]]\naddress = '127.0.0.1'\ndata = @\n",
    "[[host]]\naddress = '127.0.0.1'\nuser = @\n",
    "[[host]]\naddress = '127.0.0.1'\ndir = @\n",
    "[[host]]\naddress = '127.0.0.1'\npassphrase_env = @\n",
    "user = @\n[[host]]\naddress = '127.0.0.1'\n",
    "[env]\n@ = '1'\n[[host]]\naddress = '127.0.0.1'\n",
    "[[host]]\naddress = '127.0.0.1'\nenv = { @ = '1' }\n",
    "@ = 1\n[[host]]\naddress = '127.0.0.1'\n",
];

/// The same for a plan.
const PLAN: &[&str] = &[
    "name = @",
    "faults = [@]",
    "time = @",
    "[cluster]\nkind = @",
    "[cluster]\nengine = @",
    "[cluster]\nversioning = @",
    "[cluster]\nbinary = @",
    "[cluster]\nlease = @",
    "[cluster]\nkind = 'ssh'\nhosts = @",
    "[workload]\nname = @",
    "[fault]\ntargets = [@]",
    "[fault]\nshapes = [@]",
    "[fault]\nshapes = ['cuts']\ncuts = [@]",
    "[fault]\ndelay = @",
    "[fault]\nrate = @",
    "[fault]\n@ = 1",
];

/// The same for the command line.
const FLAGS: &[&[&str]] = &[
    &["test", "--cluster", "ssh", "--hosts=@"],
    &["test", "--cluster", "ssh", "--hosts=@@10.0.0.1"],
    &["test", "--faults=@"],
    &["test", "--binary=@"],
    &["test", "--", "@"],
    &["doctor", "--cluster", "ssh", "--hosts=@"],
];

#[test]
fn hostile_texts_in_files_are_one_clear_error_each() {
    let mut count = 0;
    for payload in payloads() {
        let text = |form: &&str| form.replace('@', &quoted(&payload));
        for text in INVENTORY.iter().map(text) {
            let error = Inventory::parse(&text, "hosts.toml").expect_err(&text).to_string();
            assert!(error.starts_with("hosts.toml") && is_line(&error), "{text}: {error}");
            count += 1;
        }
        for text in PLAN.iter().map(text) {
            let plan = Plan::parse(&format!("{text}\n"), "plan.toml");
            let checked = plan.and_then(|mut plan| {
                if plan.name.is_empty() {
                    plan.name = "plan".to_owned();
                }
                plan.check()
            });
            let error = checked.expect_err(&text).to_string();
            assert!(!error.is_empty() && error.len() < 20_000, "{text}: {error}");
            count += 1;
        }
    }
    assert!(count >= 200, "{count}");
}

/// Nothing in it ends the line or moves about in it.
fn is_line(text: &str) -> bool {
    !text.trim_end().contains(char::is_control) && !text.contains('\u{202e}')
}

#[test]
fn hostile_words_on_the_command_line_are_one_clear_error_each() {
    let place = tempfile::tempdir().unwrap();
    // A word cannot hold a NUL: the system does not pass one.
    for payload in payloads().filter(|payload| !payload.contains('\0')) {
        for words in FLAGS {
            let words = words.iter().map(|word| word.replacen('@', &payload, 1));
            is_refused(place.path(), &words.collect::<Vec<_>>());
        }
        // The one place for a host's name where there need be no lab to know that it is none.
        let lab = place.path().join("no lab").display().to_string();
        is_refused(
            place.path(),
            &["lab", "exec", "--dir", &lab, "--", &payload].map(str::to_owned),
        );
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "no canary, nor anything else");
}

fn is_refused(place: &Path, words: &[String]) {
    let ran = dyno().args(words).current_dir(place).env("HOME", place).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(matches!(ran.status.code(), Some(254 | 255)), "{words:?}: {ran:?}");
    assert!(said.lines().count() == 1 && is_line(&said), "{words:?}: {said}");
    assert!(said.len() < 2000, "{words:?}: {} bytes", said.len());
}

#[test]
fn hostile_texts_that_may_stand_are_carried_as_they_are_written() {
    if !has_lab() {
        return;
    }
    let lab = Lab::up(1);
    // Paths here and there, and what the environment of the node holds.
    let hostile = "it's \"$(touch canary)\"; `touch canary` -oProxyCommand=x";
    let here = lab.dir.join(hostile);
    fs::create_dir(&here).unwrap();
    for file in ["driver_key", "known_hosts"] {
        fs::copy(lab.dir.join(file), here.join(file)).unwrap();
    }
    let path = |path: &Path| quoted(path.to_str().unwrap());
    let values: Vec<_> = payloads().filter(|payload| !payload.contains('\0')).collect();
    let env =
        values.iter().enumerate().map(|(index, value)| format!("P{index} = {}\n", quoted(value)));
    let inventory = format!(
        "known_hosts = {}\nkey = {}\nuser = '{}'\ndir = {}\n[env]\n{}\
         [[host]]\nname = 'n1'\naddress = '10.77.1.1'\ndata = '10.78.1.1'\n",
        path(&here.join("known_hosts")),
        path(&here.join("driver_key")),
        lab.user(),
        quoted(&format!("/run/dyno-lab/{hostile}")),
        env.collect::<String>(),
    );
    let hosts = here.join("hosts.toml");
    fs::write(&hosts, inventory).unwrap();
    let flags =
        ["--nodes", "1", "-n", "1", "-r", "1", "-w", "1", "--faults", "none", "--time", "3s"];
    let mut run = Run::start(&lab, &hosts, hostile, &flags);
    run.working();
    let mut environment = Vec::new();
    eventually("the node's environment is seen", || {
        let script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | \
                      grep -q 'node serve' && cat $p/environ; done; true";
        environment = lab.on("n1", &["sh", "-c", script]).stdout;
        !environment.is_empty()
    });
    let variables: Vec<_> = environment.split(|byte| *byte == 0).collect();
    for (index, value) in values.iter().enumerate() {
        let wanted = format!("P{index}={value}");
        assert!(variables.contains(&wanted.as_bytes()), "{wanted}");
    }
    assert_eq!(run.finish(), (Some(0), String::new()), "{}", run.said());
    let data = lab.dir.join("hosts/n1").join(hostile).join("dyno/node/data");
    assert!(data.is_dir(), "{}", data.display());
    let mut canaries = Vec::new();
    find_canaries(&lab.dir, &mut canaries);
    assert!(canaries.is_empty(), "{canaries:?}");
    // Nor as the name of a host of the lab.
    let none = lab.on("$(touch canary)", &["true"]);
    assert!(
        String::from_utf8_lossy(&none.stderr).contains("no host `$(touch canary)`"),
        "{none:?}"
    );
}

fn find_canaries(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_name() == "canary" {
            found.push(entry.path().display().to_string());
        }
        if entry.file_type().unwrap().is_dir() {
            find_canaries(&entry.path(), found);
        }
    }
}
