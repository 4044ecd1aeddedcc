//! The speed table: `cargo bench -p checker`.
//!
//! Each row runs in a process of its own, so that its memory is its own, and prints its bar beside
//! what was seen: processor time, which other work on the machine disturbs little, and wall time.
//! `-- --row NAME` runs one row, `-- --long` those of 100 M operations (a file of 1 GB in the
//! temporary directory, 4 GB of memory), and `-- --criterion` measures small checks closely.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use checker::budget::{Budget, peak_bytes};
use checker::formats::compact;
use checker::generate::{Settings, generate};
use checker::history::History;
use checker::history::op::{Kind, Op, Process};
use checker::linearizable::stream::check_registers;
use checker::linearizable::{Linearizable, zones::Zones};
use checker::spec::{CasRegister, Register};
use checker::verdict::{Checker, Verdict};

mod stores;

struct Row {
    name: &'static str,
    bar: Bar,
    run: fn() -> Measured,
}

/// What is to be reached.
#[derive(Default)]
struct Bar {
    /// Processor time of the best run; of the median run, where `worst_ms` is set.
    ms: f64,
    worst_ms: Option<f64>,
    mb: Option<u64>,
    /// It is for wall time: the work is on two cores.
    wall: bool,
}

impl Bar {
    const fn ms(ms: f64) -> Self {
        Self { ms, worst_ms: None, mb: None, wall: false }
    }

    const fn wall_ms(ms: f64) -> Self {
        Self { wall: true, ..Self::ms(ms) }
    }

    const fn mb(self, mb: u64) -> Self {
        Self { mb: Some(mb), ..self }
    }
}

/// The times of one run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Took {
    cpu: Duration,
    wall: Duration,
}

struct Measured {
    times: Vec<Took>,
    /// The most memory held, where it is not that of the process.
    peak: Option<u64>,
    note: String,
}

/// No bar: told for comparison.
const NO_BAR: Bar = Bar::ms(f64::INFINITY);

const ROWS: &[Row] = &[
    Row { name: "zones-check-1M", bar: Bar::ms(25.0), run: || zones_only(&million()) },
    Row {
        name: "zones-decode-check-1M",
        bar: Bar::wall_ms(60.0).mb(48),
        run: || from_file(&million(), Verdict::Valid),
    },
    Row {
        name: "zones-decode-check-1M-stale",
        bar: Bar::wall_ms(60.0).mb(48),
        run: || from_file(&Settings { violations: 1, ..million() }, Verdict::Invalid),
    },
    Row {
        name: "zones-decode-check-1M-indeterminate",
        bar: Bar::wall_ms(60.0).mb(48),
        run: || from_file(&Settings { indeterminate: 0.1, ..million() }, Verdict::Valid),
    },
    Row {
        name: "zones-decode-check-1M-10k-keys",
        bar: Bar::wall_ms(60.0).mb(100),
        run: || from_file(&Settings { keys: 10_000, ..million() }, Verdict::Valid),
    },
    Row {
        name: "search-etcd-like",
        bar: Bar { worst_ms: Some(20.0), ..Bar::ms(0.05) },
        run: etcd_like,
    },
    Row {
        name: "search-100k-5-clients",
        bar: Bar::ms(200.0).mb(64),
        run: || {
            let register = Settings { values: 5, ops: 100_000, ..Settings::default() };
            search(&register, &Linearizable::new(Register::default()))
        },
    },
    Row {
        name: "search-cas-100k-5-clients",
        bar: Bar::ms(200.0).mb(64),
        run: || {
            let spec = "cas-register".to_owned();
            let cas = Settings { spec, values: 5, ops: 100_000, ..Settings::default() };
            search(&cas, &Linearizable::new(CasRegister::default()))
        },
    },
    Row {
        name: "search-1k-20-clients",
        bar: Bar::ms(500.0),
        run: || {
            let hard = Settings { values: 5, ops: 1000, processes: 20, ..Settings::default() };
            search(&hard, &Linearizable::new(Register::default()))
        },
    },
    Row {
        name: "search-cas-1k-20-clients",
        bar: Bar::ms(500.0),
        run: || {
            let spec = "cas-register".to_owned();
            let hard =
                Settings { spec, values: 5, ops: 1000, processes: 20, ..Settings::default() };
            search(&hard, &Linearizable::new(CasRegister::default()))
        },
    },
    Row { name: "causal-100k-300-sessions", bar: Bar::ms(200.0).mb(80), run: stores::causal },
    // As causal: the table has no bar for it.
    Row { name: "sessions-100k-300-sessions", bar: Bar::ms(200.0).mb(80), run: stores::sessions },
    Row { name: "siblings-1M-10k-keys", bar: Bar::ms(500.0).mb(200), run: stores::siblings },
    Row { name: "siblings-strict-1M-10k-keys", bar: NO_BAR, run: stores::siblings_strict },
    Row { name: "siblings-held-1M-10k-keys", bar: NO_BAR, run: stores::siblings_held },
    // 400 MB/s: the bar is that of the file's size, and set by the row itself.
    Row { name: "json-lines-parse-1M", bar: NO_BAR, run: json_lines },
    Row { name: "json-lines-read-1M", bar: NO_BAR, run: json_read },
    Row { name: "compact-read-1M", bar: NO_BAR, run: compact_read },
];

const LONG: &[Row] = &[
    Row {
        // A hundred times the row of 1M.
        name: "zones-decode-check-100M",
        bar: Bar::wall_ms(6_000.0).mb(4800),
        run: || from_file(&Settings { ops: 100_000_000, ..million() }, Verdict::Valid),
    },
    Row {
        name: "zones-decode-check-100M-10k-keys",
        bar: Bar::wall_ms(6_000.0).mb(10_000),
        run: || {
            from_file(&Settings { ops: 100_000_000, keys: 10_000, ..million() }, Verdict::Valid)
        },
    },
];

fn million() -> Settings {
    Settings { ops: 1_000_000, processes: 100, seed: 1, ..Settings::default() }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = words.iter().position(|word| word == "--row") {
        let row = ROWS.iter().chain(LONG).find(|row| row.name == words[at + 1]);
        return print(row.expect("a row of the table"));
    }
    let rows = if words.iter().any(|word| word == "--long") { LONG } else { ROWS };
    let this = std::env::current_exe().expect("a running program has a file");
    for row in rows {
        let status = std::process::Command::new(&this).args(["--row", row.name]).status();
        assert!(status.is_ok_and(|status| status.success()), "{} failed", row.name);
    }
    if words.iter().any(|word| word == "--criterion") {
        closely();
    }
}

fn print(row: &Row) {
    let Measured { mut times, peak, note } = (row.run)();
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (best, median) = (times[0], times[times.len() / 2]);
    let wall = times.iter().map(|time| time.wall).min().unwrap_or_default();
    let worst = times[times.len() - 1];
    let peak = peak.or_else(peak_bytes).unwrap_or(0) as f64 / 1e6;
    let Bar { ms: most, worst_ms, mb, wall: by_wall } = row.bar;
    let judged = if worst_ms.is_some() { median } else { best };
    let met = ms(if by_wall { wall } else { judged.cpu }) <= most
        && worst_ms.is_none_or(|most| ms(worst.cpu) <= most)
        && mb.is_none_or(|most| peak <= most as f64);
    let mut bar = match (most.is_finite(), by_wall) {
        (false, _) => "-".to_owned(),
        (true, false) => format!("<= {most} ms"),
        (true, true) => format!("wall <= {most} ms"),
    };
    bar.extend(worst_ms.map(|most| format!(", worst <= {most} ms")));
    bar.extend(mb.map(|most| format!(", <= {most} MB")));
    println!(
        "{:36} cpu best {:9.3} median {:9.3} worst {:9.3} ms, wall best {:9.3} ms, {peak:5.0} MB  \
         bar {bar}: {}  {note}",
        row.name,
        ms(best.cpu),
        ms(median.cpu),
        ms(worst.cpu),
        ms(wall),
        if most.is_infinite() {
            "no bar"
        } else if met {
            "met"
        } else {
            "MISSED"
        },
    );
}

/// Processor time of this process, all threads.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the one place it is given, which lives.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(told, 0, "the clock is there");
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn timed(times: usize, mut run: impl FnMut()) -> Vec<Took> {
    let one = || {
        let (wall, cpu) = (Instant::now(), cpu_time());
        run();
        Took { cpu: cpu_time() - cpu, wall: wall.elapsed() }
    };
    std::iter::repeat_with(one).take(times).collect()
}

/// A history in a file that goes when it is dropped: what makes it does not count as memory.
struct OnDisk(std::path::PathBuf);

impl OnDisk {
    fn create(json: bool) -> (Self, std::io::BufWriter<std::fs::File>) {
        let name = format!("dyno-bench-{}-{json}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = std::fs::File::create(&path).expect("a temporary file");
        (Self(path), std::io::BufWriter::new(file))
    }

    fn new(settings: &Settings, json: bool) -> Self {
        let (this, mut file) = Self::create(json);
        if json {
            let line = |op: &Op| {
                serde_json::to_writer(&mut file, op)?;
                file.write_all(b"\n")
            };
            generate(settings, line).expect("sound settings");
            file.flush().expect("room for a history");
        } else {
            let mut writer = compact::Writer::new(file).expect("room for a history");
            generate(settings, |op| writer.append(op)).expect("sound settings");
            writer.finish().expect("room for a history");
        }
        this
    }

    fn open(&self) -> std::io::Result<std::fs::File> {
        std::fs::File::open(&self.0)
    }

    fn bytes(&self) -> u64 {
        std::fs::metadata(&self.0).map_or(0, |data| data.len())
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The file that the parent process has made. What makes a history holds all its values, which
/// must not count as memory of what reads it: so the row starts again in a process of its own.
fn made_by_parent(make: impl FnOnce() -> OnDisk) -> std::path::PathBuf {
    if let Some(path) = std::env::var_os("DYNO_BENCH_FILE") {
        return path.into();
    }
    let file = make();
    let this = std::env::current_exe().expect("a running program has a file");
    let status = std::process::Command::new(this)
        .args(std::env::args_os().skip(1))
        .env("DYNO_BENCH_FILE", &file.0)
        .status();
    drop(file);
    std::process::exit(status.ok().and_then(|status| status.code()).unwrap_or(1));
}

fn from_file(settings: &Settings, expected: Verdict) -> Measured {
    let path = made_by_parent(|| OnDisk::new(settings, false));
    let mut report = None;
    let times = timed(if settings.ops > 10_000_000 { 1 } else { 11 }, || {
        let open = || std::fs::File::open(&path);
        let checked = check_registers(open, &mut Budget::UNLIMITED.start());
        report = checked.expect("a sound file");
    });
    let report = report.expect("unique writes");
    assert_eq!(report.verdict(), expected, "{report:?}");
    let bytes = std::fs::metadata(&path).map_or(0, |data| data.len());
    let witness = match expected {
        Verdict::Invalid => format!(", witness of {} ops", report.witness().len()),
        _ => String::new(),
    };
    assert!(report.witness().len() <= 4, "{report:?}");
    Measured { times, peak: None, note: format!("{:.1} MB on disk{witness}", bytes as f64 / 1e6) }
}

#[derive(Clone, Copy)]
enum Event {
    Writes { value: u32, call: u32, instant: u32 },
    Wrote { value: u32, call: u32, instant: u32 },
    Read { value: u32, call: u32, begun: u32, instant: u32 },
}

/// The zone check alone, over events in memory.
fn zones_only(settings: &Settings) -> Measured {
    let mut events = Vec::new();
    let mut open = std::collections::HashMap::new();
    let (mut instant, mut time) = (0, 0);
    generate(settings, |op| {
        let Process::Client(process) = op.process else { return Ok(()) };
        let number = |op: &Op| {
            let value = op.value.as_ref().and_then(serde_json::Value::as_u64);
            value.unwrap_or(0) as u32
        };
        let call = op.index as u32;
        if op.time > time {
            (instant, time) = (call, op.time);
        }
        match (op.kind, &*op.f) {
            (Kind::Invoke, "write") => {
                open.insert(process, (call, instant));
                events.push(Event::Writes { value: number(op), call, instant });
            }
            (Kind::Invoke, _) => drop(open.insert(process, (call, instant))),
            (Kind::Ok, "write") => {
                events.push(Event::Wrote { value: number(op), call: open[&process].0, instant });
            }
            (Kind::Ok, _) => {
                let (call, begun) = open[&process];
                events.push(Event::Read { value: number(op), call, begun, instant });
            }
            _ => {}
        }
        Ok(())
    })
    .expect("sound settings");
    let mut own = 0;
    let times = timed(21, || {
        let zones = zones_of(&events);
        assert_eq!(black_box(zones.conflict()), None);
        own = zones.bytes() as u64;
    });
    // The process holds the events too: they do not count.
    Measured { times, peak: Some(own), note: "memory of the check alone".to_owned() }
}

fn zones_of(events: &[Event]) -> Zones {
    let mut zones = Zones::new();
    for event in events {
        match *event {
            Event::Writes { value, call, instant } => zones.write_begins(value, call, instant),
            Event::Wrote { value, call, instant } => zones.write_returns(value, call, instant),
            Event::Read { value, call, begun, instant } => {
                zones.read_returns(value, call, begun, instant);
            }
        }
    }
    zones
}

fn search(settings: &Settings, checker: &dyn Checker) -> Measured {
    let history = history(settings);
    let mut widest = 0;
    let before = checker::budget::resident_bytes().unwrap_or(0);
    let times = timed(5, || {
        let report = checker.check(&history, &Budget::UNLIMITED);
        assert_eq!(report.verdict(), Verdict::Valid, "{report:?}");
        widest = report.details["widest"].as_u64().unwrap_or(0);
    });
    let own = peak_bytes().unwrap_or(0).saturating_sub(before) >> 20;
    let note = format!("{own} MB of them the search, widest {widest}");
    Measured { times, peak: None, note }
}

fn history(settings: &Settings) -> History {
    let mut ops = Vec::new();
    generate(settings, |op| {
        ops.push(op.clone());
        Ok(())
    })
    .expect("sound settings");
    History::from_ops(ops).expect("a sound history")
}

/// A hundred small logs; each time is one log's.
fn etcd_like() -> Measured {
    let checker = Linearizable::new(CasRegister::default());
    let histories: Vec<History> = (0..100)
        .map(|seed| {
            history(&Settings {
                spec: "cas-register".to_owned(),
                ops: 80,
                values: 5,
                indeterminate: 0.1,
                violations: seed % 2,
                seed,
                ..Settings::default()
            })
        })
        .collect();
    let mut times = Vec::new();
    for history in &histories {
        let mut runs = timed(5, || {
            black_box(checker.check(history, &Budget::UNLIMITED));
        });
        runs.sort_unstable();
        times.push(runs[2]);
    }
    Measured { times, peak: None, note: "of 100 logs".to_owned() }
}

fn json_lines() -> Measured {
    let file = OnDisk::new(&million(), true);
    let bytes = file.bytes() as f64 / 1e6;
    let mut lines = 0;
    let times = timed(7, || {
        let reader = std::io::BufReader::with_capacity(1 << 16, file.open().expect("it is there"));
        let mut reading = checker::history::Lines::new(reader);
        lines = 0;
        while let Some(op) = reading.next_op().expect("sound lines") {
            black_box(&op);
            lines += 1;
        }
    });
    let best = times.iter().min().map_or(0.0, |time| time.cpu.as_secs_f64());
    let met = if bytes / best >= 400.0 { "met" } else { "MISSED" };
    let note =
        format!("{lines} lines, {bytes:.0} MB, {:.0} MB/s (bar 400 MB/s: {met})", bytes / best);
    Measured { times, peak: None, note }
}

fn json_read() -> Measured {
    let file = OnDisk::new(&million(), true);
    let times = timed(3, || {
        let reader = std::io::BufReader::with_capacity(1 << 16, file.open().expect("it is there"));
        black_box(History::from_reader(reader).expect("a sound history"));
    });
    let best = times.iter().min().map_or(0.0, |time| time.cpu.as_secs_f64());
    let note = format!("into a History, {:.0} MB/s", file.bytes() as f64 / 1e6 / best);
    Measured { times, peak: None, note }
}

fn compact_read() -> Measured {
    let file = OnDisk::new(&million(), false);
    let times = timed(3, || {
        let read = compact::read(file.open().expect("it is there"), &mut Budget::UNLIMITED.start());
        black_box(read.expect("a sound history"));
    });
    let text = OnDisk::new(&million(), true).bytes();
    let ratio = text as f64 / file.bytes() as f64;
    let note = format!("into a History; the file is 1/{ratio:.1} of the JSON lines");
    Measured { times, peak: None, note }
}

fn closely() {
    let mut criterion = criterion::Criterion::default().sample_size(20);
    let settings = Settings { values: 5, ops: 1000, ..Settings::default() };
    let small = history(&settings);
    let checker = Linearizable::new(Register::default());
    criterion.bench_function("search, 1k ops, 5 clients", |bench| {
        bench.iter(|| checker.check(&small, &Budget::UNLIMITED));
    });
    let unique = history(&Settings { ops: 1000, ..Settings::default() });
    criterion.bench_function("zones, 1k ops, 5 clients", |bench| {
        bench.iter(|| checker.check(&unique, &Budget::UNLIMITED));
    });
}
