//! The index of folders that change.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::samples::{name, write};
use super::*;
use crate::query::Query;

fn look(root: &Path) -> Arc<Runs> {
    Index::new(Root::of(root).unwrap()).runs()
}

/// The same index, that looks at once.
fn again(index: &Index) -> Arc<Runs> {
    index.cache.lock().unwrap().looked = None;
    index.runs()
}

#[test]
fn runs_are_found_two_and_three_levels_down_and_links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("nightly"), 3);
    write(dir.path(), 2);
    std::os::unix::fs::symlink("nightly", dir.path().join("latest")).unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    let runs = look(dir.path());
    assert_eq!(runs.all.len(), 5);
    let path = format!("nightly/cart/{}", name(0));
    let run = runs.get(&path).unwrap();
    assert_eq!((run.state, run.lost, run.seed), (State::Invalid, [20, 0], Some(0)));
    assert_eq!(run.three.unwrap()[1], checker::verdict::Verdict::Valid);
    assert_eq!(run.day(), "2026-11-01");
    assert_eq!(run.failed, ["cart"]);
}

#[test]
fn a_verdict_is_read_again_only_when_it_was_written_again() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 4);
    let index = Index::new(Root::of(dir.path()).unwrap());
    let first = index.runs();
    let second = again(&index);
    for (a, b) in first.all.iter().zip(&second.all) {
        assert!(Arc::ptr_eq(a, b), "{}", a.path);
    }
    let changed = format!("cart/{}", name(2));
    fs::write(dir.path().join(&changed).join("verdict.json"), r#"{"verdict":"invalid"}"#).unwrap();
    fs::remove_dir_all(dir.path().join("strict").join(name(1))).unwrap();
    let third = again(&index);
    assert_eq!(third.all.len(), 3);
    assert_eq!(third.get(&changed).unwrap().state, State::Invalid);
    assert_eq!(third.get(&changed).unwrap().plan, "cart", "its folder tells what it does not");
}

#[test]
fn a_run_without_a_verdict_goes_on_or_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (fresh, old) = (dir.path().join("cart/fresh"), dir.path().join("cart/old"));
    for run in [&fresh, &old] {
        fs::create_dir_all(run).unwrap();
        fs::write(run.join("history.jsonl"), "").unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options()
        .append(true)
        .open(old.join("history.jsonl"))
        .and_then(|file| file.set_modified(long_ago))
        .unwrap();
    let runs = look(dir.path());
    assert_eq!(runs.get("cart/fresh").unwrap().state, State::Running);
    assert_eq!(runs.get("cart/old").unwrap().state, State::Ended);
    fs::write(fresh.join("verdict.json"), "not json").unwrap();
    let runs = look(dir.path());
    let run = runs.get("cart/fresh").unwrap();
    assert_eq!(run.state, State::Ended);
    assert!(run.reason.as_ref().unwrap().starts_with("verdict.json cannot be read"));
}

/// `cargo test --release -p dyno-serve -- --ignored --nocapture ten_thousand`
#[test]
#[ignore = "a measurement"]
fn ten_thousand_runs_measured() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 10_000);
    let index = Index::new(Root::of(dir.path()).unwrap());
    let timed = |what: &str, work: &dyn Fn() -> usize| {
        let begun = Instant::now();
        let count = work();
        println!("{what}: {count} in {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    };
    timed("first look", &|| index.runs().all.len());
    timed("later look", &|| again(&index).all.len());
    let runs = index.runs();
    for address in ["", "state=invalid", "q=acknowledged", "plan=cart&sort=lost"] {
        timed(&format!("list of ?{address}"), &|| {
            let query = Query::parse(address).unwrap();
            let found = query.of(&runs);
            crate::html::list::page(&query, &runs, &found).into_string().len()
        });
    }
}
