//! Contrast, names and roles, judged by axe-core in a real browser: who sees little, or nothing, reads the
//! same.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::chromium::Chromium;
use crate::common::{STALE_READ, axe, has_chromium};
use crate::serve::{Server, runs};
use crate::{dyno, page_of_a_run};

/// Judges what the browser shows, in both themes.
fn judge(browser: &mut Chromium, rules: &str, page: &str) {
    for theme in ["light", "dark"] {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        browser.ask("Emulation.setEmulatedMedia", media);
        let wrong = violations(browser, rules);
        assert!(wrong.is_empty(), "{page}, {theme}:\n{}", wrong.join("\n"));
    }
}

/// What is wrong with what the browser shows: the rule, where, and why.
fn violations(browser: &mut Chromium, rules: &str) -> Vec<String> {
    browser.settle();
    browser.run(rules);
    let found = browser.run(
            "axe.run(document, { resultTypes: ['violations'] }).then(found => [found.passes.length, \
             ...found.violations.flatMap(wrong => wrong.nodes.slice(0, 5).map(node => \
             `${wrong.id}: ${node.target} ${node.html.slice(0, 200)}: ${node.any.map(m => m.message)}`))])",
        );
    let found = found.as_array().unwrap();
    // Who judged nothing found nothing.
    assert!(found[0].as_u64().unwrap() > 10, "{found:?}");
    found[1..].iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[test]
fn faint_words_and_fields_without_names_are_found() {
    if !has_chromium() {
        return;
    }
    let Some(rules) = axe() else { return };
    let dir = tempfile::tempdir().unwrap();
    let page = page_of_a_run(dir.path(), "dotted");
    let mut browser = Chromium::start();
    browser.open(&page, 1280, 900);
    assert_eq!(violations(&mut browser, &rules), Vec::<String>::new());
    browser.run("document.querySelector('.note').style.color = '#ccc'");
    browser.run("document.body.append(document.createElement('input'))");
    let wrong = violations(&mut browser, &rules).join("\n");
    assert!(wrong.contains("color-contrast: ") && wrong.contains("label: "), "{wrong}");
}

#[test]
fn pages_are_read_by_those_who_see_little_or_nothing() {
    if !has_chromium() {
        return;
    }
    let Some(rules) = axe() else { return };
    let out = tempfile::tempdir().unwrap();
    let mut browser = Chromium::start();
    for versioning in ["lww", "dotted"] {
        let page = page_of_a_run(&out.path().join(versioning), versioning);
        for width in [400, 1280] {
            browser.open(&page, width, 900);
            browser.run("document.querySelectorAll('details').forEach(it => { it.open = true; })");
            judge(&mut browser, &rules, versioning);
        }
    }
}

#[test]
fn so_are_the_pages_of_other_histories_of_traces_and_of_claims() {
    if !has_chromium() {
        return;
    }
    let Some(rules) = axe() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut browser = Chromium::start();
    for page in [stale_register(dir.path()), trace(dir.path())] {
        browser.open(&page, 1280, 900);
        judge(&mut browser, &rules, &page.display().to_string());
    }
    browser.visit(&format!("file://{}", claims(dir.path()).display()), 1280, 900);
    judge(&mut browser, &rules, "claims");
}

#[test]
fn so_are_the_pages_of_the_server() {
    if !has_chromium() {
        return;
    }
    let Some(rules) = axe() else { return };
    let out = tempfile::tempdir().unwrap();
    let run = runs(out.path());
    let server = Server::of(out.path());
    let mut browser = Chromium::start();
    let pages = ["", "?state=invalid&sort=lost", "findings", "trend"].map(str::to_owned);
    let of_run = ["compare", "history"].map(|what| format!("{what}/{run}"));
    for page in pages.iter().chain(&of_run) {
        browser.visit(&format!("{}{page}", server.url), 1280, 900);
        judge(&mut browser, &rules, page);
    }
}

/// The page of a history with a read of what has been written over.
fn stale_register(dir: &Path) -> PathBuf {
    let (history, page) = (dir.join("h.edn"), dir.join("register.html"));
    std::fs::write(&history, STALE_READ).unwrap();
    dyno(&[
        "check",
        &history.display().to_string(),
        "--spec",
        "register",
        "--report",
        &page.display().to_string(),
    ]);
    page
}

/// The page of what one home promises.
fn claims(dir: &Path) -> PathBuf {
    let out = dir.join("claims");
    let words = [
        "claims",
        "all",
        "-n",
        "1",
        "--quorum",
        "sloppy",
        "--versioning",
        "dotted",
        "--states",
        "300",
    ];
    dyno(&[&words[..], &["--no-cache", "--out", &out.display().to_string()]].concat());
    out.join("index.html")
}

/// The page of a simulated trace that loses, with the messages of its nodes.
fn trace(dir: &Path) -> PathBuf {
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/lww.toml");
    let (plan, out) = (plan.display().to_string(), dir.display().to_string());
    dyno(&["sim", "--plan", &plan, "--seeds", "1", "--out", &out]);
    dir.join("seed-1-cart.html")
}
