//! The page of a run in a real browser: it draws, answers to clicks and keys, asks nobody for anything, and
//! runs nothing but its own script.
#![allow(clippy::unwrap_used)]

mod accessible;
mod chromium;
#[path = "../common/mod.rs"]
mod common;
mod serve;
mod smooth;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chromium::Chromium;
use common::has_chromium;
use serde_json::{Value, json};

fn dyno(words: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyno"));
    command.args(words).stdin(Stdio::null()).output().unwrap()
}

/// The page of a simulated run, which loses what is put when the last writer wins.
fn page_of_a_run(out: &Path, versioning: &str) -> PathBuf {
    let out_dir = out.display().to_string();
    let words =
        ["test", "--cluster", "sim", "--time", "12s", "--seed", "1", "--versioning", versioning];
    let ran = dyno(&[&words[..], &["--out", &out_dir]].concat());
    let page = out.join("latest/report.html");
    assert!(page.exists(), "{ran:?}");
    std::fs::canonicalize(page).unwrap()
}

#[test]
fn the_first_screen_of_a_failing_run_says_what_was_lost_why_and_how_to_see_it_again() {
    if !has_chromium() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let page = page_of_a_run(out.path(), "lww");
    let mut browser = Chromium::start();
    browser.open(&page, 1280, 800);
    for part in
        ["h1", ".three", ".reason", "#again", "svg.story .victim .bar", "svg.story .culprit .bar"]
    {
        let bottom = browser
            .run(&format!("document.querySelector({part:?}).getBoundingClientRect().bottom"));
        let bottom = bottom.as_f64().unwrap();
        assert!(bottom > 0.0 && bottom < 800.0, "{part} ends at {bottom}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let requests = browser.requests();
    assert!(requests.len() == 1 && requests[0].starts_with("file://"), "{requests:?}");
}

#[test]
fn it_answers_to_clicks_keys_filters_and_themes() {
    if !has_chromium() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let page = page_of_a_run(out.path(), "lww");
    let mut browser = Chromium::start();
    browser.open(&page, 1280, 800);
    let shown = "document.getElementById('shown').textContent";
    let all = browser.run(shown);
    assert!(all.as_str().unwrap().starts_with("all "), "{all}");

    browser.click(".steps .ref");
    let named = browser.run("document.querySelector('.steps .ref').textContent");
    let detail = browser.run("document.querySelector('#detail b').textContent");
    assert_eq!(detail.as_str().unwrap(), format!("Operation {}", named.as_str().unwrap()));
    browser.press("Escape");
    assert_eq!(browser.run("document.getElementById('detail').hidden"), json!(true));

    browser.click("#reset");
    browser.click("#timeline-chart");
    browser.press("Escape");
    assert_eq!(browser.run(shown), all);
    browser.press("+");
    let near = browser.run(shown);
    assert!(near.as_str().unwrap().contains(" to "), "{near}");
    browser.press("0");
    assert_eq!(browser.run(shown), all);
    browser.press("n");
    let wrong = browser.run("document.getElementById('detail').textContent");
    assert!(wrong.as_str().unwrap().contains("a check names it"), "{wrong}");

    browser.run(
        "(() => { const it = document.getElementById('filter-outcome'); it.value = '1'; \
         it.dispatchEvent(new Event('change')); })()",
    );
    let failed = browser.run(shown);
    assert!(failed.as_str().unwrap().contains(" of "), "{failed}");

    let paper = "getComputedStyle(document.documentElement).backgroundColor";
    let before = browser.run(paper);
    browser.click("#theme");
    assert_ne!(browser.run(paper), before);
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.ask("Emulation.setEmulatedMedia", dark);
    browser.open(&page, 1280, 800);
    assert_ne!(browser.run(paper), before);

    browser.click("#all-findings summary");
    let rows = browser.run("document.querySelectorAll('#findings-table tbody tr').length");
    assert!(rows.as_u64().unwrap() >= 10, "{rows}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn it_fits_narrow_and_wide_screens_and_draws_on_them() {
    if !has_chromium() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let mut browser = Chromium::start();
    for versioning in ["lww", "dotted"] {
        let page = page_of_a_run(&out.path().join(versioning), versioning);
        for width in [400, 1280, 2560] {
            browser.open(&page, width, 900);
            let wide = browser.run("document.documentElement.scrollWidth").as_u64().unwrap();
            assert!(wide <= u64::from(width), "{versioning}: {wide} of {width}");
            for chart in ["fate-chart", "latency-chart", "rate-chart", "timeline-chart"] {
                browser.run(&format!("document.getElementById('{chart}').scrollIntoView()"));
                browser.settle();
                browser.settle();
                let colours = browser.run(&colours(chart)).as_u64().unwrap();
                assert!(colours > 8, "{versioning}: {chart} of {width} has {colours} colours");
            }
            assert_eq!(browser.complaints(), Vec::<String>::new());
        }
    }
}

#[test]
fn no_label_of_a_small_timeline_lies_on_another() {
    if !has_chromium() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let mut browser = Chromium::start();
    for versioning in ["lww", "paper"] {
        let page = page_of_a_run(&out.path().join(versioning), versioning);
        browser.open(&page, 1280, 800);
        browser.run("document.querySelectorAll('details').forEach(it => { it.open = true; })");
        let labels = browser.run("document.querySelectorAll('svg.story text').length");
        assert!(labels.as_u64().unwrap() > 20, "{labels}");
        assert_eq!(browser.run(OVERLAPS), json!([]), "{versioning}");
    }
}

/// Pairs of texts of one picture that meet.
const OVERLAPS: &str = "(() => { const found = []; \
    for (const picture of document.querySelectorAll('svg.story')) { \
      const texts = [...picture.querySelectorAll('text')].map(it => [it.textContent, it.getBBox()]); \
      texts.forEach(([a, p], i) => texts.slice(i + 1).forEach(([b, q]) => { \
        if (Math.min(p.x + p.width, q.x + q.width) - Math.max(p.x, q.x) > 1 \
          && Math.min(p.y + p.height, q.y + q.height) - Math.max(p.y, q.y) > 3) found.push([a, b]); })); \
    } return found; })()";

/// How many colours a chart shows.
fn colours(chart: &str) -> String {
    format!(
        "(() => {{ const c = document.getElementById('{chart}'); \
         const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const seen = new Set(); \
         for (let i = 0; i < d.length; i += 4) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]); \
         return seen.size; }})()"
    )
}

/// A history in which everything that can be named is markup.
fn hostile() -> String {
    let evil = "</script><script>document.title='owned'</script>\
                <img src=x onerror=\"document.title='owned'\">";
    let op =
        |process: u64, f: &str| json!({ "process": process, "f": f, "key": evil, "node": evil });
    let cart = |id: &str, items: &[&str]| json!({ "id": id, "items": items, "add": items[0] });
    let lines: [(Value, &str, Value); 10] = [
        (op(0, "get"), "invoke", json!(null)),
        (op(0, "get"), "ok", json!([])),
        (op(0, "put"), "invoke", cart(evil, &[evil])),
        (op(0, "put"), "ok", cart(evil, &[evil])),
        (op(1, "put"), "invoke", cart("other", &["eggs"])),
        (op(1, "put"), "ok", cart("other", &["eggs"])),
        (op(2, "get"), "invoke", json!(null)),
        (op(2, "get"), "fail", json!(null)),
        (op(2, "get"), "invoke", json!(null)),
        (op(2, "get"), "ok", json!([cart("other", &["eggs"])])),
    ];
    let mut text = String::new();
    for (index, (mut line, kind, value)) in lines.into_iter().enumerate() {
        line["index"] = json!(index);
        line["time"] = json!(index * 1_000_000);
        line["type"] = json!(kind);
        line["value"] = value;
        if kind == "fail" {
            line["error"] = json!(evil);
        }
        if index >= 8 {
            line["final"] = json!(true);
        }
        text.push_str(&format!("{line}\n"));
    }
    text
}

#[test]
fn markup_in_keys_items_nodes_and_errors_is_text() {
    if !has_chromium() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let history = dir.path().join("history.jsonl");
    std::fs::write(&history, hostile()).unwrap();
    let page = dir.path().join("page.html");
    let words = ["check", "--spec", "cart", "--report"];
    let ran = dyno(
        &[&words[..], &[&page.display().to_string(), &history.display().to_string()]].concat(),
    );
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let mut browser = Chromium::start();
    browser.open(&page, 1280, 800);
    browser.click(".steps .ref");
    browser.click("#all-findings summary");
    // What is hovered over is told, too.
    browser.run(
        "(() => { for (const c of document.querySelectorAll('canvas')) for (let x = 0; x < c.clientWidth; x += 3) \
         for (let y = 0; y < c.clientHeight; y += 9) { const b = c.getBoundingClientRect(); \
         c.dispatchEvent(new PointerEvent('pointermove', { clientX: b.x + x, clientY: b.y + y })); } })()",
    );
    browser.settle();
    let title = browser.run("document.title");
    assert_eq!(title, json!("invalid: history.jsonl"));
    assert_eq!(browser.run("document.querySelectorAll('img').length"), json!(0));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requests().len(), 1);
}

#[test]
fn ten_thousand_random_events_break_nothing() {
    if !has_chromium() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let page = page_of_a_run(out.path(), "lww");
    let mut browser = Chromium::start();
    browser.open(&page, 1000, 800);
    browser.run(include_str!("events.js"));
    browser.settle();
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requests().len(), 1);
}
