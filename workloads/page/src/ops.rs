//! Every operation of a history as a row of small numbers: what the large views are drawn from.

use std::collections::{HashMap, HashSet};

use checker::history::op::Process;
use checker::history::{History, Outcome, Pair};
use checker::siblings::fates::{Fate, Fates};
use serde::Serialize;

use crate::planes::{Layout, Planes};

/// Up to so many operations are all in the page; of more a sample is, with all that is wrong in it.
const MOST: usize = 1_200_000;
/// Up to so many are told to five microseconds.
const FINE: usize = 10_000;
/// Up to so many have their own names.
const FEW: usize = 100_000;
/// As many keys are told by name; operations on others stand under one.
const MOST_KEYS: usize = 60_000;
/// Bytes of all names of keys together.
const MOST_NAMES: usize = 600_000;
/// As many kinds of operations, nodes and errors are told apart.
const MOST_KINDS: usize = 62;
const MOST_NODES: usize = 250;
const MOST_ERRORS: usize = 250;
/// As many processes have a number of their own; those after them share the last.
const MOST_PROCESSES: usize = 20_000;

/// What the script is told of the columns.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    /// How many operations are in the page.
    pub rows: usize,
    /// How many there were.
    pub total: usize,
    /// Of the operations that nothing is wrong with, one in so many is in the page.
    pub one_in: usize,
    /// Nanoseconds of a unit of `start`.
    pub unit: u64,
    /// Of `took` and `late`.
    pub scale: Scale,
    /// When the last line of the history was written, in nanoseconds.
    pub end: u64,
    /// The columns.
    pub layouts: Vec<Layout>,
    /// Names by number: what was done, where, to what key; why it failed. Number 0 is none.
    pub fs: Vec<String>,
    /// Nodes.
    pub nodes: Vec<String>,
    /// Keys: in a block of their own, for they may be long.
    #[serde(skip)]
    pub keys: Vec<String>,
    /// How many keys have no name of their own here.
    pub keys_left_out: usize,
    /// Errors.
    pub errors: Vec<String>,
    /// Processes, by number.
    pub processes: Vec<String>,
    /// Of each process its lane: a process that has ended leaves its lane to a later one.
    pub lanes: Vec<u32>,
}

/// A logarithmic scale of durations.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Scale {
    /// What takes no longer than this, in nanoseconds, is 1 on it; 0 is none.
    shortest: u64,
    /// Steps an octave.
    steps: u32,
}

impl Scale {
    fn number(self, nanos: u64) -> u32 {
        let octaves = (nanos.max(self.shortest) as f64 / self.shortest as f64).log2();
        1 + (octaves * f64::from(self.steps)).round() as u32
    }
}

/// Nanoseconds of a unit of `start`: no finer than is seen, and so that the end of the run has 32 bits.
fn unit(end: u64, total: usize) -> u64 {
    let between = end / (total as u64).max(1);
    let fine = if total <= FINE { 5_000.min(between / 8) } else { 20_000.min(between / 2) };
    fine.max(1).max(end / u64::from(u32::MAX) + 1)
}

/// What stands in the column `fate`.
fn number_of(fate: Fate) -> u32 {
    match fate {
        Fate::Read => 1,
        Fate::Late => 2,
        Fate::Lost => 3,
        Fate::Unreadable => 4,
        Fate::Unknown => 5,
        Fate::Resurfaced => 6,
    }
}

/// Names in order of their first use, from 1; past `most` of them all have one number.
#[derive(Debug)]
struct Names<'a> {
    numbers: HashMap<&'a str, u32>,
    names: Vec<&'a str>,
    most: usize,
    room: usize,
    left_out: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    fn up_to(most: usize, room: usize) -> Self {
        Self { numbers: HashMap::new(), names: Vec::new(), most, room, left_out: HashSet::new() }
    }

    fn number(&mut self, name: Option<&'a str>) -> u32 {
        let Some(name) = name else { return 0 };
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.names.len() >= self.most || name.len() > self.room {
            self.left_out.insert(name);
            return self.most as u32 + 1;
        }
        self.room -= name.len();
        self.names.push(name);
        self.numbers.insert(name, self.names.len() as u32);
        self.names.len() as u32
    }

    /// The names; the last stands for those that have none of their own.
    fn told(&self) -> Vec<String> {
        let mut told = vec![String::new()];
        told.extend(self.names.iter().map(|name| (*name).to_owned()));
        if !self.left_out.is_empty() {
            told.resize(self.most + 1, String::new());
            told.push("(others)".to_owned());
        }
        told
    }
}

/// The table and its packed columns. `marked` are operations that are never left out.
#[must_use]
pub(crate) fn table(history: &History, fates: &Fates, marked: &HashSet<u64>) -> (Table, String) {
    let total = history.pairs().count();
    let one_in = total.div_ceil(MOST).max(1);
    let is_small = total <= FEW;
    let end = history.ops().last().map_or(0, |op| op.time);
    let unit = unit(end, total);
    let took = history.pairs().filter_map(|pair| Some(pair.completion?.time - pair.invoke.time));
    // Some clocks tick faster than anything over a network.
    let shortest = if took.max().unwrap_or(0) < 1_000_000 { 1 } else { 1_000 };
    let steps = if total <= FINE { 24 } else { 12 };
    let fates: HashMap<u64, (Fate, u64)> =
        fates.writes.iter().map(|write| (write.write, (write.fate, write.late))).collect();
    let mut rows = Rows::new(unit, Scale { shortest, steps }, is_small);
    for (at, pair) in history.pairs().enumerate() {
        let is_marked = marked.contains(&pair.name());
        if at % one_in == 0 || is_marked {
            rows.take(&pair, fates.get(&pair.name()).copied(), is_marked);
        }
    }
    let (planes, lanes) = rows.finish();
    let table = Table {
        rows: rows.start.len(),
        total,
        one_in,
        unit,
        scale: Scale { shortest, steps },
        end,
        layouts: planes.layouts().to_vec(),
        fs: rows.fs.told(),
        nodes: rows.nodes.told(),
        keys: rows.keys.told(),
        keys_left_out: rows.keys.left_out.len(),
        errors: rows.errors.told(),
        processes: rows.processes.iter().map(|id| history.process_shown(*id)).collect(),
        lanes,
    };
    (table, planes.packed())
}

struct Rows<'a> {
    unit: u64,
    scale: Scale,
    /// Is the name of every operation told?
    has_names: bool,
    start: Vec<u32>,
    took: Vec<u32>,
    process: Vec<u32>,
    what: Vec<u32>,
    marks: Vec<u32>,
    late: Vec<u32>,
    node: Vec<u32>,
    key: Vec<u32>,
    error: Vec<u32>,
    line: Vec<u32>,
    ends: Vec<u32>,
    fs: Names<'a>,
    nodes: Names<'a>,
    keys: Names<'a>,
    errors: Names<'a>,
    numbers: HashMap<Process, u32>,
    processes: Vec<Process>,
    /// Of each process when its first operation began and its last ended.
    spans: Vec<(u64, u64)>,
}

impl<'a> Rows<'a> {
    fn new(unit: u64, scale: Scale, has_names: bool) -> Self {
        let none = Vec::new;
        Self {
            unit,
            scale,
            has_names,
            start: none(),
            took: none(),
            process: none(),
            what: none(),
            marks: none(),
            late: none(),
            node: none(),
            key: none(),
            error: none(),
            line: none(),
            ends: none(),
            fs: Names::up_to(MOST_KINDS, 10_000),
            nodes: Names::up_to(MOST_NODES, 50_000),
            keys: Names::up_to(MOST_KEYS, MOST_NAMES),
            errors: Names::up_to(MOST_ERRORS, 50_000),
            numbers: HashMap::new(),
            processes: Vec::new(),
            spans: Vec::new(),
        }
    }

    fn take(&mut self, pair: &Pair<'a>, fate: Option<(Fate, u64)>, is_marked: bool) {
        let begun = pair.invoke.time;
        let ended = pair.completion.map(|op| op.time);
        let took = |nanos: Option<u64>| nanos.map_or(0, |nanos| self.scale.number(nanos));
        self.start.push((begun / self.unit) as u32);
        self.took.push(took(ended.map(|ended| ended - begun)));
        self.late.push(took(fate.map(|(_, late)| late).filter(|late| *late > 0)));
        let outcome = match (pair.outcome(), pair.completion) {
            (Outcome::Ok, _) => 0,
            (Outcome::Fail, _) => 1,
            (Outcome::Info, Some(_)) => 2,
            (Outcome::Info, None) => 3,
        };
        self.what.push(self.fs.number(Some(pair.f())) * 4 + outcome);
        let fate = fate.map_or(0, |(fate, _)| number_of(fate));
        let marks = fate | u32::from(pair.is_final()) << 3 | u32::from(is_marked) << 4;
        self.marks.push(marks);
        self.node.push(self.nodes.number(pair.node()));
        self.key.push(self.keys.number(pair.key()));
        self.error.push(self.errors.number(pair.completion.and_then(|op| op.error.as_deref())));
        let line = pair.invoke.index as u32;
        self.line.push(line);
        let told = pair.completion.filter(|_| self.has_names || is_marked);
        self.ends.push(told.map_or(0, |op| op.index as u32 - line));
        let last = ended.unwrap_or(u64::MAX);
        let number = *self.numbers.entry(pair.invoke.process).or_insert_with(|| {
            if self.processes.len() < MOST_PROCESSES {
                self.processes.push(pair.invoke.process);
                self.spans.push((begun, last));
            }
            self.processes.len() as u32 - 1
        });
        let span = &mut self.spans[number as usize];
        span.1 = span.1.max(last);
        self.process.push(number);
    }

    fn finish(&self) -> (Planes, Vec<u32>) {
        let mut planes = Planes::default();
        planes.add("start", &self.start, true);
        planes.add("took", &self.took, false);
        planes.add("process", &self.process, false);
        planes.add("what", &self.what, false);
        planes.add("marks", &self.marks, false);
        planes.add("late", &self.late, false);
        planes.add("node", &self.node, false);
        planes.add("key", &self.key, false);
        planes.add("error", &self.error, false);
        planes.add("line", &self.line, true);
        planes.add("ends", &self.ends, false);
        (planes, lanes(&self.spans))
    }
}

/// Lanes, so that of two processes in one the first has ended when the second begins. An operation whose
/// end nobody knows ends its process, where it began.
fn lanes(spans: &[(u64, u64)]) -> Vec<u32> {
    let mut free_from: Vec<u64> = Vec::new();
    let lane = |&(from, to): &(u64, u64)| {
        let at = free_from.iter().position(|free| *free <= from).unwrap_or_else(|| {
            free_from.push(0);
            free_from.len() - 1
        });
        free_from[at] = to;
        at as u32
    };
    spans.iter().map(lane).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use checker::budget::Budget;
    use checker::history::op::{Kind, Op};
    use checker::siblings::fates::fates;
    use flate2::read::DeflateDecoder;
    use rand::prelude::*;

    use super::*;

    /// A history in which much happens at a time, with every outcome.
    fn random(seed: u64, ops: usize) -> History {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut lines = Vec::new();
        let (mut time, mut next) = (0, 6);
        let mut processes: Vec<(u64, Option<Op>)> = (0..6).map(|id| (id, None)).collect();
        while lines.len() < ops {
            time += rng.random_range(0..3_000_000);
            let process = processes.choose_mut(&mut rng).unwrap();
            match process.1.take() {
                None => {
                    let f = ["put", "get"][rng.random_range(0..2)];
                    let key = format!("k{}", rng.random_range(0..300));
                    let op =
                        Op::invoke(process.0, f).key(key).node("n1").value(lines.len()).at(time);
                    lines.push(op.clone());
                    process.1 = Some(op);
                }
                Some(op) => {
                    let kinds = [Kind::Ok, Kind::Ok, Kind::Ok, Kind::Fail, Kind::Info];
                    let kind = kinds[rng.random_range(0..5)];
                    let mut end = op.completed(kind).at(time);
                    if kind == Kind::Ok && &*op.f == "get" {
                        end = end.value(serde_json::json!([]));
                    } else if kind != Kind::Ok {
                        end = end.error("refused");
                    }
                    lines.push(end);
                    if kind == Kind::Info {
                        *process = (next, None);
                        next += 1;
                    }
                }
            }
        }
        History::numbered(lines).unwrap()
    }

    /// A column, value by value.
    fn column(table: &Table, packed: &str, name: &str) -> Vec<u32> {
        let packed = STANDARD.decode(packed).unwrap();
        let mut bytes = Vec::new();
        DeflateDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        let mut at = 0;
        for layout in &table.layouts {
            let planes = usize::from(layout.bytes);
            if layout.name == name {
                let value = |row: usize| {
                    let of = |plane: usize| u32::from(bytes[at + plane * table.rows + row]);
                    (0..planes).map(|plane| of(plane) << (8 * plane)).sum::<u32>()
                };
                let mut sum = 0;
                let values = (0..table.rows).map(|row| {
                    sum = if layout.rises { sum + value(row) } else { value(row) };
                    sum
                });
                return values.collect();
            }
            at += planes * table.rows;
        }
        panic!("there is no column {name}")
    }

    #[test]
    fn every_operation_is_in_the_table_as_the_history_has_it() {
        for seed in 0..20 {
            let history = random(seed, 400);
            let fates = fates(&history, &Budget::UNLIMITED);
            let marked: HashSet<u64> = history.pairs().step_by(7).map(|pair| pair.name()).collect();
            let (table, packed) = table(&history, &fates, &marked);
            let get = |name| column(&table, &packed, name);
            let (start, line, ends, what) = (get("start"), get("line"), get("ends"), get("what"));
            let (key, node, marks, took) = (get("key"), get("node"), get("marks"), get("took"));
            let (error, process) = (get("error"), get("process"));
            assert_eq!(
                (table.rows, table.total, table.one_in),
                (history.pairs().count(), table.rows, 1)
            );
            for (row, pair) in history.pairs().enumerate() {
                assert_eq!(u64::from(start[row]), pair.invoke.time / table.unit);
                assert_eq!(u64::from(line[row]), pair.invoke.index);
                assert_eq!(u64::from(line[row] + ends[row]), pair.name());
                assert_eq!(table.fs[what[row] as usize / 4], pair.f());
                let outcome = match (pair.outcome(), pair.completion.is_some()) {
                    (Outcome::Ok, _) => 0,
                    (Outcome::Fail, _) => 1,
                    (Outcome::Info, true) => 2,
                    (Outcome::Info, false) => 3,
                };
                assert_eq!(what[row] % 4, outcome);
                assert_eq!(Some(&*table.keys[key[row] as usize]), pair.key());
                assert_eq!(Some(&*table.nodes[node[row] as usize]), pair.node());
                assert_eq!(marks[row] >> 4 & 1 == 1, marked.contains(&pair.name()));
                let fate = fates.writes.iter().find(|fate| fate.write == pair.name());
                assert_eq!(marks[row] & 7, fate.map_or(0, |fate| number_of(fate.fate)));
                let why = pair.completion.and_then(|op| op.error.as_deref()).unwrap_or("");
                assert_eq!(table.errors[error[row] as usize], why);
                let name = table.processes[process[row] as usize].clone();
                assert_eq!(name, pair.invoke.process.to_string());
                // A step of a scale of 24 an octave is 3 %: half of that is lost.
                let told = 2_f64.powf((f64::from(took[row]) - 1.0) / 24.0) * 1000.0;
                match pair.completion {
                    None => assert_eq!(took[row], 0),
                    Some(op) => {
                        let took = ((op.time - pair.invoke.time) as f64).max(1000.0);
                        assert!((told / took - 1.0).abs() < 0.016, "{told} for {took}");
                    }
                }
            }
        }
    }

    #[test]
    fn of_many_operations_what_is_wrong_is_never_left_out() {
        let invoke = |at: usize| Op::invoke(0, "get").key("k").at(at as u64 * 2000);
        let ops = (0..MOST + 10).flat_map(|at| {
            let end = invoke(at).completed(Kind::Ok).at(at as u64 * 2000 + 1000);
            [invoke(at), end.value(serde_json::json!([]))]
        });
        let history = History::numbered(ops.collect()).unwrap();
        let marked: HashSet<u64> = [3, 7, 1_999_999].into();
        let (table, packed) = table(&history, &Fates::default(), &marked);
        assert_eq!((table.total, table.one_in), (MOST + 10, 2));
        let (line, ends) = (column(&table, &packed, "line"), column(&table, &packed, "ends"));
        let names: HashSet<u64> =
            line.iter().zip(&ends).map(|(line, ends)| u64::from(line + ends)).collect();
        assert!(marked.is_subset(&names));
        assert!(table.rows <= MOST / 2 + 10);
    }

    #[test]
    fn processes_in_one_lane_do_not_overlap() {
        let spans = [(0, 10), (0, u64::MAX), (5, 20), (11, 30), (12, 13), (20, 25)];
        assert_eq!(lanes(&spans), [0, 1, 2, 0, 3, 2]);
    }

    #[test]
    fn names_past_the_most_have_one_together() {
        let mut names = Names::up_to(2, 100);
        let numbers: Vec<u32> =
            ["a", "b", "c", "a", "d"].map(|name| names.number(Some(name))).to_vec();
        assert_eq!((numbers, names.number(None)), (vec![1, 2, 3, 1, 3], 0));
        assert_eq!(names.told(), ["", "a", "b", "(others)"]);
        assert_eq!(names.left_out.len(), 2);
    }
}
