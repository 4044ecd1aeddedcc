//! No reduction changes a verdict: each is compared with the model that leaves nothing out.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use dynamo_protocol::{Quorum, ReadMode, Settings, Versioning};
use model::{Budget, Kind, PROPERTIES, Reductions, Search, Shift, Spec};

/// The properties that were found broken, by name, and whether all was seen. "Converged by hints alone"
/// is left out: it asks whether a given rest state needs a read to converge, and reductions that
/// take late fetches in choose other rest states.
fn found(spec: &Spec, reductions: Reductions, states: usize) -> (Vec<&'static str>, bool) {
    let (broken, row) = judged(spec, reductions, states);
    (broken, row.whole == 1)
}

fn broken<P>(found: Vec<Option<P>>) -> Vec<&'static str> {
    let properties = PROPERTIES.iter().zip(found).filter(|(property, path)| {
        path.is_some() && property.kind == Kind::Always && property.name != "converges-unread"
    });
    properties.map(|(property, _)| property.name).collect()
}

fn modes(spec: &Spec) -> Vec<Spec> {
    let mut modes = Vec::new();
    for versioning in [Versioning::Dotted, Versioning::Paper, Versioning::Lww] {
        for read in [ReadMode::Plain, ReadMode::Atomic] {
            for quorum in [Quorum::Strict, Quorum::Sloppy] {
                let settings = Settings { versioning, read, quorum, ..spec.settings };
                modes.push(Spec { settings, ..spec.clone() });
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
        (sloppy.nodes, sloppy.settings.n, sloppy.settings.quorum) = (3, 2, Quorum::Sloppy);
        for r in 1..=2 {
            sloppy.settings.r = r;
            for spec in [crash(&sloppy), cut(&sloppy), cut(&crash(&sloppy))] {
                let complete = compare_with(PLAIN, &spec, FALLBACK_STATES);
                println!("{}: {}", spec.label(), if complete { "whole" } else { "in part" });
            }
        }
    }
}

/// Where the ring changes nothing but what is argued for there may be left out: the rest is off by itself.
#[test]
fn reductions_change_no_verdict_where_the_ring_changes() {
    for shifts in
        [vec![Shift::Join(0)], vec![Shift::Leave(0)], vec![Shift::Leave(0), Shift::Cancel(0)]]
    {
        let mut changing = spec("p,g");
        changing.settings.quorum = Quorum::Sloppy;
        (changing.nodes, changing.shifts) = (2, shifts);
        (changing.settings.n, changing.settings.r, changing.settings.w) = (1, 1, 1);
        for spec in [changing.clone(), crash(&changing), cut(&changing)] {
            let complete = compare_with(Reductions::NONE, &spec, FALLBACK_STATES);
            println!("{}: {}", spec.label(), if complete { "whole" } else { "in part" });
        }
    }
}

/// The same in a strict cluster, whose newcomer is filled meanwhile.
#[test]
fn reductions_change_no_verdict_where_the_ring_of_a_strict_cluster_changes() {
    for shifts in
        [vec![Shift::Join(0)], vec![Shift::Leave(0)], vec![Shift::Leave(0), Shift::Cancel(0)]]
    {
        let mut changing = spec("p,g");
        (changing.nodes, changing.shifts) = (2, shifts);
        (changing.settings.n, changing.settings.r, changing.settings.w) = (1, 1, 1);
        changing.faults.exchanges = 1;
        for spec in [changing.clone(), crash(&changing), cut(&changing)] {
            let complete = compare_with(Reductions::NONE, &spec, FALLBACK_STATES);
            println!("{}: {}", spec.label(), if complete { "whole" } else { "in part" });
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
    renaming: true,
    ..Reductions::NONE
};

/// Every reduction by itself, on top of none and left out of all.
#[test]
fn each_reduction_alone_changes_no_verdict() {
    let mut weak = spec("p,g");
    (weak.nodes, weak.settings.n, weak.settings.r, weak.settings.w) = (2, 2, 1, 1);
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

/// Every script of two clients with two operations each, three nodes, every mode, one crash or one
/// partition: 1,080. With as many nodes as homes nobody can stand in, and sloppy is strict (see
/// [`sloppy_is_strict_where_nobody_can_stand_in`]): 540 remain.
fn grid() -> Vec<Spec> {
    let mut specs = Vec::new();
    for script in scripts(2) {
        let strict = |spec: &Spec| spec.settings.quorum == Quorum::Strict;
        for spec in modes(&spec(&script)).into_iter().filter(strict) {
            specs.extend([crash(&spec), cut(&spec)]);
        }
    }
    specs
}

/// The core asks which quorum it is in two places: who coordinates when no home is believed alive, which a
/// home does not ask, and whether fallbacks are struck from the list, which is empty.
#[test]
fn sloppy_is_strict_where_nobody_can_stand_in() {
    for strict in grid().into_iter().step_by(53) {
        let mut sloppy = strict.clone();
        sloppy.settings.quorum = Quorum::Sloppy;
        let states = |spec: &Spec| {
            let model = model::DynamoModel::new(spec.clone()).unwrap();
            // The order of a search is that of its states: as far as both go, they go alike.
            let budget = Budget { states: 3_000, ..Budget::NONE };
            let outcome = Search::new(&model, PROPERTIES.len()).run(&budget, &mut |_| ());
            (outcome.progress.states, outcome.progress.generated, outcome.progress.depth)
        };
        assert_eq!(states(&sloppy), states(&strict), "{}", strict.label());
    }
}

/// What came of leaving one reduction out.
#[derive(Default)]
struct Row {
    whole: usize,
    in_part: Vec<String>,
    differs: Vec<String>,
    states: usize,
    seconds: f64,
}

impl Row {
    fn take(&mut self, other: Self) {
        self.whole += other.whole;
        self.in_part.extend(other.in_part);
        self.differs.extend(other.differs);
        self.states += other.states;
        self.seconds += other.seconds;
    }
}

/// The whole bound, every reduction left out of all once: that its verdicts are those with it. A search
/// without one that has not ended after `STATES` states (60,000 unless given) is compared in part and
/// listed by name. `SLICE=i/n` takes every n-th configuration, from the i-th (an n that has no
/// factor in common with 12 takes all modes); `ONLY=a,b` leaves out only those, `ONLY=all` all at
/// once, `ONLY=plain` all that are not in [`PLAIN`]; `JOBS` (2) at a time:
/// `cargo test --release -p model --test reductions -- --ignored --nocapture`.
#[test]
#[ignore = "hours: take a SLICE"]
fn each_reduction_left_out_changes_no_verdict_on_any_script_of_two_by_two() {
    let given =
        |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let slice = given("SLICE", "0/1");
    let (at, of) = slice.split_once('/').unwrap();
    let (at, of): (usize, usize) = (at.parse().unwrap(), of.parse().unwrap());
    let states: usize = given("STATES", "60000").parse().unwrap();
    let only = given("ONLY", &Reductions::NAMES.join(","));
    let only: Vec<&str> = only.split(',').collect();
    let is_known =
        |name: &&str| ["all", "plain"].contains(name) || Reductions::NAMES.contains(name);
    assert!(only.iter().all(is_known), "all, plain or {:?}", Reductions::NAMES);
    let specs: Vec<_> = grid().into_iter().skip(at).step_by(of).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let rows = std::sync::Mutex::new(BTreeMap::<&str, Row>::new());
    std::thread::scope(|scope| {
        for _ in 0..given("JOBS", "2").parse().unwrap() {
            scope.spawn(|| {
                while let Some(spec) = specs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let left_out = leave_out_each(spec, &only, states);
                    let mut rows = rows.lock().unwrap();
                    for (name, row) in left_out {
                        rows.entry(name).or_default().take(row);
                    }
                    let done = rows.get("(none)").map_or(0, |row| row.whole);
                    println!("{done} of {}: {}", specs.len(), spec.label());
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap();
    println!("| left out | whole | in part | states | seconds |\n|---|---|---|---|---|");
    for (name, row) in &rows {
        let Row { whole, in_part, states, seconds, .. } = row;
        println!("| {name} | {whole} | {} | {states} | {seconds:.0} |", in_part.len());
    }
    for (name, row) in &rows {
        row.in_part.iter().for_each(|label| println!("in part, without {name}: {label}"));
    }
    let differing: Vec<_> = rows.values().flat_map(|row| &row.differs).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

/// The same of two of them, as far as that is quick.
#[test]
fn each_reduction_left_out_changes_no_verdict_on_two_of_two_by_two() {
    for spec in grid().iter().skip(100).step_by(270) {
        for (_, row) in leave_out_each(spec, &Reductions::NAMES, 2_000) {
            assert!(row.differs.is_empty(), "{:#?}", row.differs);
        }
    }
}

/// The search with all reductions, as `all`, and without each of those in `only`.
fn leave_out_each<'n>(spec: &Spec, only: &[&'n str], states: usize) -> Vec<(&'n str, Row)> {
    let (all, row) = judged(spec, Reductions::ALL, usize::MAX);
    let mut rows = vec![("(none)", row)];
    for name in only {
        let less = match *name {
            "all" => Reductions::NONE,
            "plain" => PLAIN,
            name => Reductions::without(name),
        };
        let (verdicts, mut row) = judged(spec, less, states);
        let missed = verdicts.iter().any(|property| !all.contains(property));
        if missed || (row.whole == 1 && verdicts != all) {
            let label = spec.label();
            row.differs.push(format!("{label}: {all:?}, without {name}: {verdicts:?}"));
        }
        rows.push((name, row));
    }
    rows
}

fn judged(spec: &Spec, reductions: Reductions, states: usize) -> (Vec<&'static str>, Row) {
    let started = std::time::Instant::now();
    let model = model::DynamoModel::new(Spec { reductions, ..spec.clone() }).unwrap();
    let budget = Budget { states, ..Budget::NONE };
    let outcome = Search::new(&model, PROPERTIES.len()).run(&budget, &mut |_| ());
    let row = Row {
        whole: usize::from(outcome.complete),
        in_part: if outcome.complete { Vec::new() } else { vec![spec.label()] },
        differs: Vec::new(),
        states: outcome.progress.states,
        seconds: started.elapsed().as_secs_f64(),
    };
    (broken(outcome.found), row)
}
