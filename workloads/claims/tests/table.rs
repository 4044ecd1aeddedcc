//! Tables of small settings, whole; and what a cell may say.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dynamo_protocol::{Quorum, ReadMode, Settings, Versioning};
use dynamo_sim::replay::{on_core, on_sim};
use dynamo_sim::trace::Trace;
use dyno_claims::{
    Cache, Cell, Column, Evidence, Kept, Known, NoProof, Proof, Property, Setting, Table, Work,
    margin, observed::Observed, specs,
};
use model::{Budget, Spec};

const SOME: [Column; 4] = [Column::None, Column::SlowLink, Column::Crash, Column::PowerCut];

fn setting(nrw: [usize; 3], quorum: Quorum) -> Setting {
    Setting::of(&Settings { quorum, ..Settings::new(nrw) })
}

fn work(cache: Option<&Cache>) -> Work<'_> {
    let budget = Budget { states: 60_000, ..Budget::NONE };
    Work { cache, budget, jobs: 2, kept_only: false, tell: &|_| () }
}

fn table(setting: &Setting, columns: &[Column]) -> Table {
    Table::of(setting, &work(None).gather(specs(setting, columns)).unwrap())
}

fn evidence(script: &str, states: usize) -> Evidence {
    let spec = Spec::new(script.parse().unwrap());
    Evidence::gather(&spec, &Budget { states, ..Budget::NONE }, &mut |_| ()).unwrap()
}

#[test]
fn a_search_that_did_not_come_to_its_end_proves_nothing() {
    let proof = |evidence: &Evidence| Proof::of(Property::Fresh, Column::None, &[(evidence, 3)]);
    assert!(proof(&evidence("p,gg", usize::MAX)).is_ok());
    let open = evidence("p,gg", 200);
    assert!(open.reached_due(), "it came to where it could be broken");
    assert_eq!(proof(&open), Err(NoProof::Open));
    assert_eq!(Proof::of(Property::Fresh, Column::None, &[]), Err(NoProof::Nothing));
}

trait Due {
    fn reached_due(&self) -> bool;
}

impl Due for Evidence {
    fn reached_due(&self) -> bool {
        self.found.contains_key("a-get-is-due")
    }
}

#[test]
fn a_search_that_could_not_have_broken_it_proves_nothing() {
    let nobody_gets = evidence("p,p", usize::MAX);
    let proof = Proof::of(Property::Fresh, Column::None, &[(&nobody_gets, 3)]);
    assert_eq!(proof, Err(NoProof::Vacuous));
    let no_fault = evidence("p,gg", usize::MAX);
    let proof = Proof::of(Property::Fresh, Column::Crash, &[(&no_fault, 3)]);
    assert_eq!(proof, Err(NoProof::Vacuous), "no crash came before an answer");
    let proof = Proof::of(Property::MonotonicReads, Column::None, &[(&no_fault, 3)]);
    assert_eq!(proof, Err(NoProof::Broken));
}

#[test]
fn strict_two_of_three_is_fresh_and_not_monotonic() {
    let table = table(&setting([3, 2, 2], Quorum::Strict), &SOME);
    for column in SOME {
        let fresh = table.cell(Property::Fresh, column);
        assert!(matches!(fresh.known, Known::Proven(_)), "{}", fresh.wording());
        let kept = table.cell(Property::NoLostAck, column);
        assert!(kept.known.proof().is_some(), "{}", kept.wording());
    }
    let steps = |property| match &table.cell(property, Column::None).known {
        Known::Refuted(it) => it.steps,
        other => panic!("{property}: {}", other.wording()),
    };
    assert_eq!(steps(Property::MonotonicReads), 5);
    assert_eq!(steps(Property::Linearizable), 5);
    let two = table.cell(Property::MonotonicReads, Column::TwoAtOnce);
    assert_eq!(two.by.as_deref(), Some("monotonic-reads/none"));
    let power = table.cell(Property::NoLostAck, Column::PowerCut);
    assert!(matches!(power.known, Known::HoldsIf { .. }), "{}", power.wording());
    assert!(power.known.refutation().unwrap().untraceable.is_some());
    assert_eq!(table.contradictions(), []);
}

#[test]
fn an_atomic_register_holds_if_one_client_at_a_time_writes() {
    let settings =
        Settings { quorum: Quorum::Strict, read: ReadMode::Atomic, ..Settings::new([3, 2, 2]) };
    let table = table(&Setting::of(&settings), &[Column::None]);
    let cell = table.cell(Property::Linearizable, Column::None);
    let Known::HoldsIf { condition, without, .. } = &cell.known else {
        panic!("{}", cell.wording());
    };
    assert!(condition.contains("one client at a time"), "{condition}");
    assert_eq!(without.shows, "a-get-shows-siblings");
}

#[test]
fn every_cell_says_something_and_never_that_word() {
    let table = table(&setting([2, 1, 2], Quorum::Sloppy), &[Column::None, Column::Crash]);
    assert_eq!(table.cells.len(), Property::ALL.len() * Column::ALL.len());
    for cell in &table.cells {
        let text = cell.wording();
        assert!(!text.is_empty() && !text.to_lowercase().contains("strong"), "{text}");
    }
}

/// What is refuted happens on the bare core and in the simulator, state by state.
#[test]
fn refuted_cells_replay_on_the_core_and_in_the_simulator() {
    let (mut replayed, mut told) = (0, Vec::new());
    for (nrw, quorum) in [([3, 1, 1], Quorum::Strict), ([2, 1, 2], Quorum::Sloppy)] {
        let columns = [Column::None, Column::SlowLink, Column::Crash, Column::Wipe];
        for cell in &table(&setting(nrw, quorum), &columns).cells {
            let Some(refutation) = cell.known.refutation() else { continue };
            let Some(trace) = refutation.trace.as_deref() else {
                told.push(format!(
                    "{}: {}",
                    cell.name(),
                    refutation.untraceable.as_deref().unwrap()
                ));
                continue;
            };
            let trace = Trace::parse(&trace.to_json()).unwrap();
            let touching = trace.steps.iter().filter(|entry| entry.digest.is_some()).count();
            let core = on_core(&trace).unwrap_or_else(|error| panic!("{}: {error}", cell.name()));
            let sim = on_sim(&trace).unwrap_or_else(|error| panic!("{}: {error}", cell.name()));
            assert_eq!((core.compared, sim.compared), (touching, touching), "{}", cell.name());
            replayed += 1;
        }
    }
    assert!(replayed >= 20 && told.len() <= 1, "{replayed} cells; {told:?}");
}

/// R + W > N, less what may be eaten: where the core is searched, a get is stale just where that says so.
#[test]
fn the_margin_says_where_the_search_finds_stale_gets() {
    for quorum in [Quorum::Strict, Quorum::Sloppy] {
        for (r, w) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let setting = setting([2, r, w], quorum);
            let columns = [Column::None, Column::SlowLink, Column::Crash];
            let table = table(&setting, &columns);
            for column in columns {
                let cell = table.cell(Property::Fresh, column);
                let left = margin::left(&setting, column).0;
                let is_stale = matches!(cell.known, Known::Refuted(_));
                assert_eq!(is_stale, left <= 0, "{setting} {}: {}", cell.name(), cell.wording());
            }
        }
    }
}

#[test]
fn a_table_against_monotonicity_is_said_so() {
    let (less, more) = (setting([3, 1, 1], Quorum::Strict), setting([3, 2, 2], Quorum::Strict));
    let (less, more) = (table(&less, &[Column::None]), table(&more, &[Column::None]));
    assert_eq!(less.against(&more), []);
    let swap = |table: &Table, from: &Table| Table { cells: from.cells.clone(), ..table.clone() };
    let wrong = swap(&less, &more).against(&swap(&more, &less));
    assert!(wrong[0].0.contains("fresh/none"), "{wrong:?}");
    let mut broken = more.clone();
    let proven = more.cell(Property::Fresh, Column::None).known.clone();
    for cell in &mut broken.cells {
        if cell.property == Property::MonotonicReads && cell.column == Column::Crash {
            *cell = Cell::new(cell.property, cell.column, proven.clone());
        }
    }
    assert_eq!(broken.contradictions().len(), 1);
}

#[test]
fn evidence_is_kept_and_what_is_torn_is_searched_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path().to_owned());
    let setting = setting([2, 1, 1], Quorum::Strict);
    let specs = || specs(&setting, &[Column::None]);
    let first = work(Some(&cache)).gather(specs()).unwrap();
    let kept_only = Work { kept_only: true, ..work(Some(&cache)) };
    assert_eq!(kept_only.gather(specs()).unwrap(), first);
    let bounds = specs()[0].label();
    let file = walk(folder.path())
        .into_iter()
        .find(|path| std::fs::read_to_string(path).unwrap().contains(&bounds));
    let file = file.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    assert!(matches!(cache.find(&bounds), Kept::Torn(_)));
    std::fs::write(&file, text.replace("acknowledged", "achnowledged")).unwrap();
    assert!(matches!(cache.find(&bounds), Kept::Torn(_)), "a checksum tells");
    let told = std::sync::Mutex::new(Vec::new());
    let tell = |line: &str| told.lock().unwrap().push(line.to_owned());
    let again = Work { tell: &tell, ..work(Some(&cache)) }.gather(specs()).unwrap();
    assert_eq!(again.len(), first.len());
    assert!(told.lock().unwrap().iter().any(|line| line.starts_with("warning")));
    assert!(matches!(cache.find(&bounds), Kept::Fresh(_)), "it was searched and kept again");
}

#[test]
fn evidence_of_another_core_is_stale_and_proves_nothing_of_this_one() {
    let setting = setting([2, 2, 2], Quorum::Strict);
    let mut gathered = work(None).gather(specs(&setting, &[Column::None])).unwrap();
    for evidence in gathered.values_mut() {
        evidence.core = "0".repeat(64);
    }
    let table = Table::of(&setting, &gathered);
    let cell = table.cell(Property::Fresh, Column::None);
    assert_eq!(cell.short(), "STALE");
    assert!(
        cell.wording().starts_with("STALE, of core 000000000000: PROVEN"),
        "{}",
        cell.wording()
    );
}

#[test]
fn last_writer_wins_loses_what_was_acknowledged() {
    let settings = Settings {
        quorum: Quorum::Strict,
        versioning: Versioning::Lww,
        ..Settings::new([3, 2, 2])
    };
    let table = table(&Setting::of(&settings), &[Column::None, Column::Clock]);
    for column in [Column::None, Column::Clock] {
        let cell = table.cell(Property::NoLostAck, column);
        assert!(matches!(cell.known, Known::Refuted(_)), "{}", cell.wording());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

fn observed(setting: &Setting, column: Column, broken: Property) -> Observed {
    Observed {
        name: "results/cart/one".to_owned(),
        setting: *setting,
        is_simulated: false,
        column: Some(column),
        faults: "nothing went wrong".to_owned(),
        is_covered: true,
        fresh: Vec::new(),
        within: Vec::new(),
        broken: [(broken, 2)].into(),
    }
}

/// A run in which gets were stale, of a cluster whose gets are proven to be fresh; and others that it is no
/// matter that they were.
#[test]
fn a_run_that_breaks_what_is_proven_is_told_and_one_that_breaks_what_is_refuted_is_not() {
    let setting = setting([3, 2, 2], Quorum::Strict);
    let mut table = table(&setting, &[Column::None]);
    let told = table.observe(&[observed(&setting, Column::None, Property::Fresh)]);
    assert_eq!(told.len(), 1);
    let words = "fresh/none of 3/2/2 strict dotted plain is PROVEN";
    assert!(told[0].0.starts_with(words), "{}", told[0].0);
    assert!(told[0].0.contains("broken 2 times in the run results/cart/one"), "{}", told[0].0);
    let refuted = observed(&setting, Column::None, Property::MonotonicReads);
    assert_eq!(table.observe(&[refuted]), [], "it is refuted");
    let not_searched = observed(&setting, Column::Crash, Property::Fresh);
    assert_eq!(table.observe(&[not_searched]), [], "nothing is proven there");
    let other = Setting { r: 1, ..setting };
    assert_eq!(table.observe(&[observed(&other, Column::None, Property::Fresh)]), [], "another");
}
