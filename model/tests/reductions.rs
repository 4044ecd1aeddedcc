//! No reduction changes a verdict: each is compared with the model that leaves nothing out.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dynamo_protocol::{Quorum, ReadMode, Versioning};
use model::{Budget, CLAIMS, Kind, Reductions, Search, Spec};

/// The claims that were found broken, by name, and whether all was seen. "Converged by hints alone"
/// is left out: it asks whether a given rest state needs a read to converge, and reductions that
/// take late fetches in choose other rest states.
fn found(spec: &Spec, reductions: Reductions, states: usize) -> (Vec<&'static str>, bool) {
    let bench = model::Bench::new(Spec { reductions, ..spec.clone() }).unwrap();
    let budget = Budget { states, ..Budget::NONE };
    let outcome = Search::new(&bench, CLAIMS.len()).run(&budget, &mut |_| ());
    let claims = CLAIMS.iter().zip(outcome.found).filter(|(claim, path)| {
        path.is_some() && claim.kind == Kind::Always && claim.name != "converged-by-hints-alone"
    });
    (claims.map(|(claim, _)| claim.name).collect(), outcome.complete)
}

fn modes(spec: &Spec) -> Vec<Spec> {
    let mut modes = Vec::new();
    for versioning in [Versioning::Dotted, Versioning::Paper, Versioning::Lww] {
        for read in [ReadMode::Plain, ReadMode::Atomic] {
            for quorum in [Quorum::Strict, Quorum::Sloppy] {
                modes.push(Spec { versioning, read, quorum, ..spec.clone() });
            }
        }
    }
    modes
}

fn crash(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    (spec.faults.crashes, spec.faults.restarts) = (1, 1);
    spec
}

fn cut(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    spec.faults.partitions = 1;
    spec
}

/// Compares, and says whether the unreduced search came to its end within `states`. If it did not,
/// what it found up to there the reduced one has to find as well.
fn compare(spec: &Spec, states: usize) -> bool {
    compare_with(Reductions::NONE, spec, states)
}

fn compare_with(less: Reductions, spec: &Spec, states: usize) -> bool {
    let (whole, complete) = found(spec, less, states);
    let (reduced, reduced_complete) = found(spec, Reductions::ALL, usize::MAX);
    assert!(reduced_complete);
    if complete {
        assert_eq!(reduced, whole, "{}", spec.label());
    } else {
        let missed: Vec<_> = whole.iter().filter(|name| !reduced.contains(name)).collect();
        assert!(missed.is_empty(), "{}: the reduced search misses {missed:?}", spec.label());
    }
    complete
}

fn scripts(length: usize) -> Vec<String> {
    let mut clients = vec![String::new()];
    for _ in 0..length {
        let longer = |start: &String| "pgd".chars().map(|op| format!("{start}{op}")).collect();
        clients =
            clients.iter().flat_map(|start: &String| -> Vec<String> { longer(start) }).collect();
    }
    let mut scripts = Vec::new();
    for (at, one) in clients.iter().enumerate() {
        for other in &clients[at..] {
            scripts.push(format!("{one},{other}"));
        }
    }
    scripts
}

fn spec(script: &str) -> Spec {
    Spec::new(script.parse().unwrap())
}

#[test]
fn reductions_change_no_verdict_without_a_fault() {
    for script in scripts(1) {
        for spec in modes(&spec(&script)) {
            assert!(compare(&spec, usize::MAX));
        }
    }
}

#[test]
fn reductions_change_no_verdict_with_one_crash_or_one_partition() {
    for script in ["p,g", "p,p"] {
        let spec = spec(script);
        assert!(compare(&crash(&spec), usize::MAX));
        assert!(compare(&cut(&spec), usize::MAX));
    }
}

/// Fallbacks stand in, hints are handed over: compared with a search that takes every fault in every
/// state and every message in every order, and leaves out what the unreduced one cannot do without
/// in seconds.
#[test]
fn reductions_change_no_verdict_where_fallbacks_stand_in() {
    for script in ["p,g", "p,p", "pg", "pp"] {
        let mut sloppy = spec(script);
        (sloppy.nodes, sloppy.n, sloppy.quorum) = (3, 2, Quorum::Sloppy);
        for r in 1..=2 {
            sloppy.r = r;
            for spec in [crash(&sloppy), cut(&sloppy), cut(&crash(&sloppy))] {
                let complete = compare_with(PLAIN, &spec, FALLBACK_STATES);
                println!("{}: {}", spec.label(), if complete { "whole" } else { "in part" });
            }
        }
    }
}

/// Seconds of the plainer search.
const FALLBACK_STATES: usize = 200_000;

/// Every fault in every state, every message in every order, nothing taken for anything else.
const PLAIN: Reductions = Reductions {
    prompt: true,
    inert: true,
    warm: true,
    monitor: true,
    notice: true,
    names: true,
    ..Reductions::NONE
};

/// Every reduction by itself, on top of none and left out of all.
#[test]
fn each_reduction_alone_changes_no_verdict() {
    let mut weak = spec("p,g");
    (weak.nodes, weak.n, weak.r, weak.w) = (2, 2, 1, 1);
    for spec in [cut(&weak), crash(&weak)] {
        let (whole, complete) = found(&spec, Reductions::NONE, usize::MAX);
        assert!(complete);
        for name in Reductions::NAMES {
            let without = found(&spec, Reductions::without(name), usize::MAX);
            assert_eq!(without, (whole.clone(), true), "without {name}: {}", spec.label());
            let only = found(&spec, Reductions::only(name), usize::MAX);
            assert_eq!(only, (whole.clone(), true), "only {name}: {}", spec.label());
        }
    }
}

/// The whole bound: every script of two clients with two operations each, three nodes, every mode,
/// one crash or one partition: 1,080 comparisons. `SLICE=i/n` takes every n-th of them, from the i-th;
/// `STATES` bounds the unreduced search of each. `WITHOUT=name` compares with a search that leaves
/// that one reduction out instead of all, `WITHOUT=plain` with [`PLAIN`]: such end sooner. What was
/// compared is printed:
/// `SLICE=0/40 STATES=3000000 cargo test --release -p model --test reductions -- --ignored --nocapture`.
#[test]
#[ignore = "hours, and several GiB: take a SLICE"]
fn reductions_change_no_verdict_on_any_script_of_two_by_two() {
    let slice = std::env::var("SLICE").unwrap_or_else(|_| "0/1".to_owned());
    let (at, of) = slice.split_once('/').unwrap();
    let (at, of): (usize, usize) = (at.parse().unwrap(), of.parse().unwrap());
    let less = std::env::var("WITHOUT").map_or(Reductions::NONE, |name| {
        if name == "plain" {
            return PLAIN;
        }
        assert!(Reductions::NAMES.contains(&&*name), "WITHOUT: plain or {:?}", Reductions::NAMES);
        Reductions::without(&name)
    });
    let states = std::env::var("STATES").map_or(usize::MAX, |states| states.parse().unwrap());
    let mut specs = Vec::new();
    for script in scripts(2) {
        for spec in modes(&spec(&script)) {
            specs.extend([crash(&spec), cut(&spec)]);
        }
    }
    let (total, mut whole, mut partly) = (specs.len(), 0, 0);
    for spec in specs.iter().skip(at).step_by(of) {
        let complete = compare_with(less, spec, states);
        whole += usize::from(complete);
        partly += usize::from(!complete);
        let how = if complete { "whole" } else { "in part" };
        println!("{} of {total}: {} compared {how}", whole + partly, spec.label());
    }
    println!("slice {slice}: {whole} compared whole, {partly} in part, of {total} in all");
}
