//! The list of runs and its neighbours in a real browser.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::common::has_chromium;
use crate::page_of_a_run;

/// `dyno serve` of a folder, until it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn of(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dyno"))
            .args(["serve", "--port", "0", "--json"])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self { child, url: ready["ready"]["url"].as_str().unwrap().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three runs, one of which fails, and one whose names are markup; the path of the one that fails.
pub(crate) fn runs(out: &Path) -> String {
    page_of_a_run(out, "dotted");
    let page = page_of_a_run(out, "lww");
    let evil =
        "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";
    let dir = out.join("evil").join("<b>run & more 100%");
    fs::create_dir_all(&dir).unwrap();
    let verdict = json!({
        "verdict": "invalid", "property": "invalid", "coverage": "valid", "harness": "valid", "plan": evil,
        "reasons": { "property": [evil] }, "again": evil, "checks": { (evil): { "verdict": "invalid" } },
        "setup": { "dyno": evil, "began": evil, "faults": [evil], "cluster": { "kind": evil } },
    });
    fs::write(dir.join("verdict.json"), verdict.to_string()).unwrap();
    let line = json!({
        "index": 0, "time": 0, "process": 0, "type": "invoke", "f": evil, "key": evil, "value": evil,
    });
    fs::write(dir.join("history.jsonl"), format!("{line}\n")).unwrap();
    let run = page.parent().unwrap().strip_prefix(fs::canonicalize(out).unwrap()).unwrap();
    run.display().to_string()
}

#[test]
fn the_pages_of_the_server_fit_all_screens_and_run_nothing_but_their_own_script() {
    if !has_chromium() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let run = runs(out.path());
    let server = Server::of(out.path());
    let mut browser = Chromium::start();
    let evil = "evil/%3Cb%3Erun%20%26%20more%20100%25";
    let paths = [
        String::new(),
        "?state=invalid&sort=lost".to_owned(),
        "findings".to_owned(),
        "trend".to_owned(),
        format!("compare/{run}"),
        format!("history/{run}?type=ok"),
        format!("history/{evil}"),
    ];
    for theme in ["light", "dark"] {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        browser.ask("Emulation.setEmulatedMedia", media);
        for width in [400, 1280, 2560] {
            for path in &paths {
                browser.visit(&format!("{}{path}", server.url), width, 900);
                let wide = browser.run("document.documentElement.scrollWidth").as_u64().unwrap();
                assert!(wide <= u64::from(width), "/{path}: {wide} of {width}");
                assert_ne!(browser.run("document.title"), json!("owned"), "/{path}");
                assert_eq!(browser.run("document.querySelectorAll('img').length"), json!(0));
                assert_eq!(browser.complaints(), Vec::<String>::new(), "/{path}");
            }
        }
    }
}

#[test]
fn from_the_list_a_run_is_two_clicks_away_and_its_page_asks_for_nothing() {
    if !has_chromium() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let run = runs(out.path());
    let server = Server::of(out.path());
    let mut browser = Chromium::start();
    browser.visit(&format!("{}?plan=cart&state=invalid", server.url), 1280, 800);
    assert_eq!(browser.run("document.querySelectorAll('table.runs tbody tr').length"), json!(1));
    let to = browser.run("document.querySelector('table.runs tbody th a').getAttribute('href')");
    assert_eq!(to, json!(format!("/run/{run}")));
    browser.visit(&format!("{}run/{run}/report.html", server.url), 1280, 800);
    browser.run(
        "new Promise(done => { const look = () => document.documentElement.dataset.ready ? done() \
         : requestAnimationFrame(look); look(); })",
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let asked = browser.requests();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(browser.run("window.origin"), json!("null"), "it has no part in the server");
}

#[test]
fn a_run_that_goes_on_is_drawn_until_it_is_over() {
    if !has_chromium() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("cart/now");
    fs::create_dir_all(&run).unwrap();
    let mut history = fs::File::create(run.join("history.jsonl")).unwrap();
    let mut write = |from: u64, to: u64| {
        for at in from..to {
            let kind = if at % 2 == 0 { "invoke" } else { "ok" };
            let line = json!({
                "index": at, "time": at * 2_000_000, "process": 0, "type": kind, "f": "get", "key": "k",
            });
            writeln!(history, "{line}").unwrap();
        }
    };
    write(0, 2000);
    let server = Server::of(out.path());
    let mut browser = Chromium::start();
    browser.visit(&format!("{}live/cart/now", server.url), 1280, 800);
    let until = |browser: &mut Chromium, holds: &str| {
        browser.run(&format!(
            "new Promise(done => {{ const look = () => {holds} ? done() : requestAnimationFrame(look); \
             look(); }})"
        ));
    };
    until(&mut browser, "document.getElementById('ok').textContent === '1,000'");
    write(2000, 3000);
    fs::write(run.join("verdict.json"), "{}").unwrap();
    until(&mut browser, "document.documentElement.dataset.over");
    assert_eq!(browser.run("document.getElementById('ok').textContent"), json!("1,500"));
    assert_eq!(
        browser.run("document.querySelector('#how a').getAttribute('href')"),
        json!("/run/cart/now")
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
