//! The speed table: `cargo bench -p checker --bench linearizable`.
//!
//! Each row runs in a process of its own, so that its memory is its own, and prints the best and
//! the median of its runs beside the aim. Criterion then measures the small ones closely, if
//! asked: `-- --criterion`. `-- --row NAME` runs one row, `-- --long` those of 100 M operations.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use checker::budget::{Budget, peak_bytes};
use checker::formats::compact;
use checker::generate::{Settings, generate};
use checker::history::History;
use checker::linearizable::stream::check_registers;
use checker::linearizable::{Linearizable, zones::Zones};
use checker::op::{Kind, Op, Process};
use checker::spec::{CasRegister, Register};
use checker::verdict::{Checker, Verdict};

struct Row {
    name: &'static str,
    aim: &'static str,
    run: fn() -> Measured,
}

struct Measured {
    times: Vec<Duration>,
    note: String,
}

const ROWS: &[Row] = &[
    Row { name: "zones-check-1M", aim: "check <= 25 ms", run: || zones_only(&million()) },
    Row {
        name: "zones-decode-check-1M",
        aim: "<= 60 ms, <= 48 MB",
        run: || from_file(&million(), Verdict::Valid),
    },
    Row {
        name: "zones-decode-check-1M-stale",
        aim: "the same time, witness <= 4",
        run: || from_file(&Settings { violations: 1, ..million() }, Verdict::Invalid),
    },
    Row {
        name: "zones-decode-check-1M-indeterminate",
        aim: "the same time",
        run: || from_file(&Settings { indeterminate: 0.1, ..million() }, Verdict::Valid),
    },
    Row {
        name: "zones-decode-check-1M-10k-keys",
        aim: "<= 60 ms, <= 100 MB",
        run: || from_file(&Settings { keys: 10_000, ..million() }, Verdict::Valid),
    },
    Row {
        name: "search-etcd-like",
        aim: "median <= 0.05 ms, worst of 100 <= 20 ms",
        run: etcd_like,
    },
    Row {
        name: "search-100k-5-clients",
        aim: "<= 0.2 s, <= 64 MB",
        run: || {
            let register = Settings { values: 5, ops: 100_000, ..Settings::default() };
            search(&register, &Linearizable::new(Register::default()))
        },
    },
    Row {
        name: "search-cas-100k-5-clients",
        aim: "<= 0.2 s, <= 64 MB",
        run: || {
            let spec = "cas-register".to_owned();
            let cas = Settings { spec, values: 5, ops: 100_000, ..Settings::default() };
            search(&cas, &Linearizable::new(CasRegister::default()))
        },
    },
    Row {
        name: "search-1k-20-clients",
        aim: "<= 0.5 s",
        run: || {
            let hard = Settings { values: 5, ops: 1000, processes: 20, ..Settings::default() };
            search(&hard, &Linearizable::new(Register::default()))
        },
    },
    Row {
        name: "search-cas-1k-20-clients",
        aim: "<= 0.5 s",
        run: || {
            let spec = "cas-register".to_owned();
            let hard =
                Settings { spec, values: 5, ops: 1000, processes: 20, ..Settings::default() };
            search(&hard, &Linearizable::new(CasRegister::default()))
        },
    },
    Row { name: "json-lines-parse-1M", aim: ">= 400 MB/s", run: json_lines },
    Row { name: "compact-read-1M", aim: "-", run: compact_read },
];

const LONG: &[Row] = &[Row {
    name: "zones-decode-check-100M",
    aim: "linear in the row of 1M",
    run: || from_file(&Settings { ops: 100_000_000, ..million() }, Verdict::Valid),
}];

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
    let Measured { mut times, note } = (row.run)();
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{:36} best {:9.3} ms  median {:9.3} ms  peak {:4} MB  {note}  (aim: {})",
        row.name,
        ms(times[0]),
        ms(times[times.len() / 2]),
        peak_bytes().unwrap_or(0) >> 20,
        row.aim
    );
}

fn timed(times: usize, mut run: impl FnMut()) -> Vec<Duration> {
    let one = || {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    std::iter::repeat_with(one).take(times).collect()
}

/// A history in a file that goes when it is dropped: what makes it does not count as memory.
struct OnDisk(std::path::PathBuf);

impl OnDisk {
    fn new(settings: &Settings, json: bool) -> Self {
        let name = format!("dyno-bench-{}-{json}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut file =
            std::io::BufWriter::new(std::fs::File::create(&path).expect("a temporary file"));
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
        Self(path)
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

/// Runs `measure` in a process that has not made the history itself.
fn from_file(settings: &Settings, expected: Verdict) -> Measured {
    // The writer holds every value to number it: that must not count as the reader's memory.
    if std::env::var_os("DYNO_BENCH_FILE").is_none() {
        let file = OnDisk::new(settings, false);
        let this = std::env::current_exe().expect("a running program has a file");
        let status = std::process::Command::new(this)
            .args(std::env::args_os().skip(1))
            .env("DYNO_BENCH_FILE", &file.0)
            .status();
        drop(file);
        std::process::exit(status.ok().and_then(|status| status.code()).unwrap_or(1));
    }
    let path = std::env::var_os("DYNO_BENCH_FILE").expect("set by the parent");
    let mut report = None;
    let times = timed(if settings.ops > 10_000_000 { 1 } else { 11 }, || {
        let open = || std::fs::File::open(&path);
        let checked = check_registers(open, &mut Budget::UNLIMITED.start());
        report = checked.expect("a sound file");
    });
    let report = report.expect("unique writes");
    assert_eq!(report.verdict, expected, "{report:?}");
    let bytes = std::fs::metadata(&path).map_or(0, |data| data.len());
    let witness = match expected {
        Verdict::Invalid => format!(", witness of {} ops", report.witness().len()),
        _ => String::new(),
    };
    Measured { times, note: format!("{:.1} MB on disk{witness}", bytes as f64 / 1e6) }
}

/// The zone check alone, over events in memory.
fn zones_only(settings: &Settings) -> Measured {
    #[derive(Clone, Copy)]
    enum Event {
        Writes { value: u32, call: u32, time: u64 },
        Wrote { value: u32, call: u32, time: u64 },
        Read { value: u32, call: u32, begun: u64, time: u64 },
    }
    let mut events = Vec::new();
    let mut open = std::collections::HashMap::new();
    generate(settings, |op| {
        let Process::Client(process) = op.process else { return Ok(()) };
        let number = |op: &Op| {
            let value = op.value.as_ref().and_then(serde_json::Value::as_u64);
            value.unwrap_or(0) as u32
        };
        let (call, time) = (op.index as u32, op.time);
        match (op.kind, &*op.f) {
            (Kind::Invoke, "write") => {
                open.insert(process, (call, time));
                events.push(Event::Writes { value: number(op), call, time });
            }
            (Kind::Invoke, _) => drop(open.insert(process, (call, time))),
            (Kind::Ok, "write") => {
                events.push(Event::Wrote { value: number(op), call: open[&process].0, time });
            }
            (Kind::Ok, _) => {
                let (call, begun) = open[&process];
                events.push(Event::Read { value: number(op), call, begun, time });
            }
            _ => {}
        }
        Ok(())
    })
    .expect("sound settings");
    let times = timed(21, || {
        let mut zones = Zones::new();
        for event in &events {
            match *event {
                Event::Writes { value, call, time } => zones.write_begins(value, call, time),
                Event::Wrote { value, call, time } => zones.write_returns(value, call, time),
                Event::Read { value, call, begun, time } => {
                    zones.read_returns(value, call, begun, time);
                }
            }
        }
        assert_eq!(black_box(zones.conflict()), None);
    });
    Measured { times, note: "(peak is the bench's own)".to_owned() }
}

fn search(settings: &Settings, checker: &dyn Checker) -> Measured {
    let history = history(settings);
    let mut widest = 0;
    let before = checker::budget::resident_bytes().unwrap_or(0);
    let times = timed(5, || {
        let report = checker.check(&history, &Budget::UNLIMITED);
        assert_eq!(report.verdict, Verdict::Valid, "{report:?}");
        widest = report.details["widest"].as_u64().unwrap_or(0);
    });
    let own = peak_bytes().unwrap_or(0).saturating_sub(before) >> 20;
    Measured { times, note: format!("{own} MB of them the search, widest {widest}") }
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
    let worst = times.iter().max().copied().unwrap_or_default();
    Measured { times, note: format!("worst {:.3} ms", worst.as_secs_f64() * 1e3) }
}

fn json_lines() -> Measured {
    let file = OnDisk::new(&million(), true);
    let bytes = file.bytes();
    let mut lines = 0;
    let times = timed(5, || {
        let reader = std::io::BufReader::with_capacity(1 << 16, file.open().expect("it is there"));
        let mut reading = checker::history::Lines::new(reader);
        lines = 0;
        while let Some(op) = reading.next_op().expect("sound lines") {
            black_box(op);
            lines += 1;
        }
    });
    let best = times.iter().min().copied().unwrap_or_default().as_secs_f64();
    let whole = timed(1, || {
        let reader = std::io::BufReader::with_capacity(1 << 16, file.open().expect("it is there"));
        black_box(History::from_reader(reader).expect("a sound history"));
    });
    let note = format!(
        "{lines} lines, {:.0} MB, {:.0} MB/s; into a History {:.0} MB/s",
        bytes as f64 / 1e6,
        bytes as f64 / 1e6 / best,
        bytes as f64 / 1e6 / whole[0].as_secs_f64()
    );
    Measured { times, note }
}

fn compact_read() -> Measured {
    let file = OnDisk::new(&million(), false);
    let times = timed(3, || {
        let read = compact::read(file.open().expect("it is there"), &mut Budget::UNLIMITED.start());
        black_box(read.expect("a sound history"));
    });
    Measured { times, note: "into a History".to_owned() }
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
