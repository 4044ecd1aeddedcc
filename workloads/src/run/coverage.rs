//! Was it tried? Told from the history and the nodes' counters, by what the plan promises to try.

use std::collections::{BTreeMap, BTreeSet};

use checker::availability;
use checker::history::op::{Kind, Op, Process};
use checker::history::{History, Pair};
use checker::verdict::Verdict;
use dynamo_protocol::{NodeId, Quorum, Settings};
use serde::Serialize;
use serde_json::Value;

use crate::plan::{Cut, FaultName, Plan, parse_node};
use crate::run::rings::Rings;

/// What is known of one kind of fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FaultCoverage {
    /// How often it was injected.
    pub installed: u64,
    /// How often it was seen to be in force.
    pub proven: u64,
    /// How often it was seen to be over.
    pub healed: u64,
    /// How often it could not be done.
    pub skipped: u64,
    /// Gets that began and succeeded while it was in force, of keys it touches.
    pub ok_gets_during: u64,
    /// Puts, likewise.
    pub ok_puts_during: u64,
    /// How many keys went from node to node so that the right ones have them, of one that changes the ring.
    pub moved_keys: u64,
    /// How long it took at most until it was in force and that was proven, in milliseconds.
    pub slowest_proof_ms: u64,
    /// How long it took at most until it was over and that was proven.
    pub slowest_heal_ms: u64,
}

/// What was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// Valid, or unknown for the reasons.
    pub verdict: Verdict,
    /// What was not tried.
    pub reasons: Vec<String>,
    /// By fault.
    pub faults: BTreeMap<FaultName, FaultCoverage>,
}

/// One fault while it was in force.
#[derive(Debug, Default)]
struct Window {
    /// When it was asked for: a change may be decided some time before all are seen to know.
    asked: u64,
    from: u64,
    to: u64,
    nodes: Vec<NodeId>,
    cuts: Vec<Cut>,
    /// The nodes' processes do nothing.
    stops: bool,
    /// The homes of keys are others since it began.
    changes: bool,
}

/// Tells which keys a fault touches.
struct Homes<'a> {
    settings: &'a Settings,
    rings: &'a Rings,
}

/// Judges what a run has tried.
#[must_use]
pub fn judge(
    plan: &Plan,
    rings: &Rings,
    history: &History,
    counters: &BTreeMap<String, u64>,
) -> Coverage {
    let settings = &plan.cluster.settings;
    let homes = Homes { settings, rings };
    let all = availability::windows(history);
    let windows = |name: FaultName| windows(history, &all, name);
    let mut reasons = Vec::new();
    let mut faults = BTreeMap::new();
    let mut home_unreachable = false;
    for name in &plan.faults {
        let windows = windows(*name);
        let mut coverage = steps(history, *name);
        let mut may_serve = false;
        for pair in history.pairs().filter(|pair| pair.acknowledged_at().is_some()) {
            let touching: Vec<_> = windows.iter().filter(|w| homes.touched(w, &pair)).collect();
            // With nobody left there is nobody to hold a hint.
            let may_be_served = touching.iter().any(|window| !homes.must_refuse(window, &pair));
            home_unreachable |= may_be_served && name.nature().silences;
            may_serve |= may_be_served;
            if touching.iter().any(|window| window.spans(&pair)) {
                match pair.f() {
                    "get" => coverage.ok_gets_during += 1,
                    "put" => coverage.ok_puts_during += 1,
                    _ => {}
                }
            }
        }
        reasons.extend(coverage.lacks(*name, may_serve));
        faults.insert(*name, coverage);
    }
    reasons.extend(never_chosen(history));
    reasons.extend(work_done(history));
    reasons.extend(homes.fired(home_unreachable, counters));
    if homes.has_hints() {
        let missing = FaultName::ALL.iter().filter(|name| name.nature().misses);
        let missed: Vec<_> = missing.flat_map(|name| windows(*name)).collect();
        reasons.extend(homes.never_caught_up(history, &missed));
    }
    let verdict = if reasons.is_empty() { Verdict::Valid } else { Verdict::Unknown };
    Coverage { verdict, reasons, faults }
}

impl FaultCoverage {
    fn lacks(&self, name: FaultName, may_serve: bool) -> Vec<String> {
        let mut lacks = Vec::new();
        if self.installed == 0 {
            lacks.push(format!("{name} never happened"));
            return lacks;
        }
        if self.skipped > 0 {
            lacks.push(format!("{name} was skipped {} times", self.skipped));
        }
        for (done, count) in [("proven to be in force", self.proven), ("healed", self.healed)] {
            if count < self.installed {
                let (all, without) = (self.installed, self.installed - count);
                lacks.push(format!("{name}: {without} of {all} were not {done}"));
            }
        }
        if name.nature().changes_the_ring && self.moved_keys == 0 {
            lacks.push(format!("{name} moved no key"));
        }
        if !may_serve {
            // Whatever it touched had to be refused in this mode: nothing could be ok.
            return lacks;
        }
        for (what, count) in [("get", self.ok_gets_during), ("put", self.ok_puts_during)] {
            if count == 0 {
                lacks.push(format!("no {what} of a key that {name} touches was ok during it"));
            }
        }
        lacks
    }
}

/// Without faults too there must have been something to judge.
fn work_done(history: &History) -> Vec<String> {
    let ok =
        |f: &str| history.pairs().any(|pair| pair.f() == f && pair.acknowledged_at().is_some());
    let lacking = ["get", "put"].into_iter().filter(|f| !ok(f));
    lacking.map(|f| format!("no {f} was ok")).collect()
}

/// Faults that were aimed at what the cluster does, and of which each hit whoever stood in.
fn never_chosen(history: &History) -> Vec<String> {
    let mut last_missed = BTreeMap::new();
    let mut met = BTreeSet::new();
    let nemesis = history.iter().filter(|op| op.process == Process::Nemesis);
    for chosen in nemesis.filter_map(|op| op.value.as_ref()?.get("chosen")) {
        let Some(by) = chosen["by"].as_str() else { continue };
        match chosen["stands_in"].as_str() {
            Some(why) => drop(last_missed.insert(by, why)),
            None => drop(met.insert(by)),
        }
    }
    let never = last_missed.into_iter().filter(|(by, _)| !met.contains(by));
    never.map(|(by, why)| format!("target {by} was never there to be hit: {why}")).collect()
}

fn steps(history: &History, name: FaultName) -> FaultCoverage {
    let mut coverage = FaultCoverage::default();
    let mut begun = BTreeMap::new();
    for (op, value) in nemesis(history, name) {
        let fault = value.get("fault").and_then(Value::as_u64);
        let took = |begun: &BTreeMap<_, u64>| {
            begun.get(&fault).map_or(0, |begun| op.time.saturating_sub(*begun) / 1_000_000)
        };
        match (value.get("step").and_then(Value::as_str), op.kind) {
            (Some("probe"), Kind::Fail) => coverage.skipped += 1,
            (Some("inject"), Kind::Invoke) => {
                coverage.installed += 1;
                begun.insert(fault, op.time);
            }
            (Some("inject"), Kind::Ok) => {
                coverage.proven += 1;
                coverage.slowest_proof_ms = coverage.slowest_proof_ms.max(took(&begun));
            }
            (Some("heal"), Kind::Invoke) => drop(begun.insert(fault, op.time)),
            (Some("heal"), Kind::Ok) => {
                coverage.healed += 1;
                let moved = value.get("proof").and_then(|proof| proof.get("moved"));
                coverage.moved_keys += moved.and_then(Value::as_u64).unwrap_or_default();
                coverage.slowest_heal_ms = coverage.slowest_heal_ms.max(took(&begun));
            }
            _ => {}
        }
    }
    coverage
}

/// When faults of this name were in force: from their proof to the beginning of their healing. A change of
/// the ring goes on after it was asked to end, until it is finished: that is when copies find their homes.
fn windows(history: &History, all: &[availability::Window], name: FaultName) -> Vec<Window> {
    let of_this = all.iter().filter(|window| window.fault == name.as_str());
    let when = |kind: Kind, step: &str| -> BTreeMap<_, _> {
        let steps =
            nemesis(history, name).filter(|(op, value)| op.kind == kind && value["step"] == step);
        steps.map(|(op, value)| (value["fault"].as_u64(), op.time)).collect()
    };
    let (asked, finished) = (when(Kind::Invoke, "inject"), when(Kind::Ok, "heal"));
    let window = |window: &availability::Window| {
        let value = history.get(window.begun_by)?.value.as_ref()?;
        let fault = value["fault"].as_u64();
        let asked = asked.get(&fault).copied().unwrap_or(window.from);
        let nodes = listed(value, "nodes", |text| parse_node(text).ok());
        let cuts = listed(value, "cuts", |text| text.parse().ok());
        let (from, to, nature) = (window.from, window.to, name.nature());
        let (stops, changes) = (nature.stops && !nature.changes_the_ring, nature.changes_the_ring);
        let to = finished.get(&fault).copied().filter(|_| changes).unwrap_or(to);
        Some(Window { asked, from, to, nodes, cuts, stops, changes })
    };
    of_this.filter_map(window).collect()
}

fn nemesis(history: &History, name: FaultName) -> impl Iterator<Item = (&Op, &Value)> {
    let ops = history.iter().filter(move |op| op.process == Process::Nemesis);
    let ops = ops.filter(move |op| op.f == name.as_str());
    ops.filter_map(|op| Some((op, op.value.as_ref()?)))
}

/// The nodes or cuts that a nemesis op lists.
fn listed<T>(value: &Value, field: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let list = value.get(field).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|item| parse(item.as_str()?)).collect()
}

impl Window {
    fn spans(&self, pair: &Pair<'_>) -> bool {
        let ended = pair.acknowledged_at();
        pair.invoke.time >= self.from && ended.is_some_and(|ended| ended <= self.to)
    }
}

impl Homes<'_> {
    /// Nodes may say of their hints and repairs what they like: this is what the driver itself sees of them.
    /// What was put and acknowledged while the process of a home was gone, and is still there at the end, is
    /// on that home too, read by itself, for it was brought there.
    fn never_caught_up(&self, history: &History, kills: &[Window]) -> Option<String> {
        let shows = |pair: &Pair<'_>, value: &Value| {
            let values = pair.result().and_then(Value::as_array);
            values.is_some_and(|values| values.contains(value))
        };
        let is_of = |pair: &Pair<'_>, home: NodeId| pair.node() == Some(home.to_string().as_str());
        let reads = history.pairs().filter(|pair| pair.f() == "home" && pair.is_final());
        let mut read: BTreeMap<&str, Vec<Pair<'_>>> = BTreeMap::new();
        for pair in reads.filter(|pair| pair.acknowledged_at().is_some()) {
            read.entry(pair.key().unwrap_or_default()).or_default().push(pair);
        }
        let mut missed = 0;
        for put in history.pairs().filter(|pair| pair.f() == "put") {
            let (Some(key), Some(value)) = (put.key(), put.invoke.value.as_ref()) else { continue };
            let reads = read.get(key).map_or(&[][..], Vec::as_slice);
            let kept = reads.iter().any(|read| shows(read, value));
            for window in kills.iter().filter(|window| kept && window.spans(&put)) {
                let away =
                    self.rings.last_homes(key).iter().filter(|home| window.nodes.contains(home));
                for home in away {
                    if reads.iter().any(|read| is_of(read, *home) && shows(read, value)) {
                        return None;
                    }
                    missed += 1;
                }
            }
        }
        (missed > 0).then(|| {
            format!("no home that was down holds any of the {missed} values that it missed and others keep")
        })
    }

    /// Whether anybody stands in for a home. Where nobody does, a home that was away may be brought what it
    /// missed by a get of the workload, if one of that key came afterwards.
    fn has_hints(&self) -> bool {
        self.settings.quorum == Quorum::Sloppy && self.rings.founders() > self.settings.n
    }

    /// The mechanisms that had to fire, and did not.
    fn fired(&self, home_unreachable: bool, counts: &BTreeMap<String, u64>) -> Vec<String> {
        let hints = home_unreachable && self.has_hints();
        let repairs = home_unreachable && self.settings.w < self.settings.n;
        let wanted =
            [("hints_stored", hints), ("hints_delivered", hints), ("read_repairs", repairs)];
        let count = |name: &str| counts.get(name).copied().unwrap_or_default();
        let lacking = wanted.iter().filter(|(name, wanted)| *wanted && count(name) == 0);
        lacking.map(|(name, _)| format!("{name} is 0 though homes were out of reach")).collect()
    }

    /// Is a home of the key hit, or a link between two of them cut?
    fn touched(&self, window: &Window, pair: &Pair<'_>) -> bool {
        let Some(key) = pair.key() else { return false };
        let homes = self.rings.homes(key, pair.invoke.time);
        let cut = |cut: &Cut| homes.contains(&cut.from) && homes.contains(&cut.to);
        // Who left was a home before.
        let before = self.rings.homes(key, window.asked.saturating_sub(1));
        let is_hit =
            |node: &NodeId| homes.contains(node) || window.changes && before.contains(node);
        window.nodes.iter().any(is_hit) || window.cuts.iter().any(cut)
    }

    /// Strict mode has to refuse while too few homes are left, and any mode while nobody is.
    fn must_refuse(&self, window: &Window, pair: &Pair<'_>) -> bool {
        let settings = self.settings;
        let Some(key) = pair.key() else { return false };
        let homes = self.rings.homes(key, pair.invoke.time);
        let left = homes.iter().filter(|home| !window.nodes.contains(home)).count();
        let is_strict = settings.quorum == Quorum::Strict;
        let nobody = window.nodes.len() >= self.rings.founders();
        window.stops && (nobody || is_strict && left < settings.r.max(settings.w))
    }
}

#[cfg(test)]
mod tests {
    use dynamo_protocol::Key;
    use dynamo_protocol::membership::Edit;
    use serde_json::json;

    use super::*;

    fn nemesis_op(time: u64, kind: Kind, name: &str, step: &str, more: Value) -> Op {
        let mut value = json!({ "fault": 1, "step": step });
        for (field, item) in more.as_object().unwrap() {
            value[field] = item.clone();
        }
        Op::new(Process::Nemesis, kind, name.to_owned()).value(value).at(time)
    }

    fn client_op(process: u64, from: u64, to: u64, f: &'static str, key: &str) -> [Op; 2] {
        let invoke = Op::invoke(process, f).key(key).at(from);
        let ok = invoke.completed(Kind::Ok).at(to);
        [invoke, ok]
    }

    fn history(mut ops: Vec<Op>) -> History {
        ops.sort_by_key(|op| op.time);
        History::numbered(ops).unwrap()
    }

    /// A kill of n1 from 100 to 200, in a cluster of three where every node is a home.
    fn killed() -> Vec<Op> {
        let nodes = json!({ "nodes": ["n1"] });
        vec![
            nemesis_op(90, Kind::Invoke, "kill", "inject", nodes.clone()),
            nemesis_op(100, Kind::Ok, "kill", "inject", nodes.clone()),
            nemesis_op(200, Kind::Invoke, "kill", "heal", nodes.clone()),
            nemesis_op(300, Kind::Ok, "kill", "heal", nodes),
        ]
    }

    fn judged(ops: Vec<Op>, counts: &[(&str, u64)]) -> Coverage {
        judged_of(3, ops, counts)
    }

    fn judged_of(nodes: u16, ops: Vec<Op>, counts: &[(&str, u64)]) -> Coverage {
        let mut plan = Plan { faults: vec![FaultName::Kill], ..Plan::default() };
        plan.cluster.nodes = nodes;
        let view = plan.view().unwrap();
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        judge(&plan, &Rings::only(view), &history(ops), &counts)
    }

    #[test]
    fn a_fault_that_operations_overlapped_is_covered() {
        let mut ops = killed();
        ops.extend(client_op(0, 110, 120, "get", "k"));
        ops.extend(client_op(0, 130, 140, "put", "k"));
        let coverage = judged(ops, &[("read_repairs", 1)]);
        assert_eq!(coverage.reasons, Vec::<String>::new());
        assert_eq!(coverage.verdict, Verdict::Valid);
        let kill = coverage.faults[&FaultName::Kill];
        let one = FaultCoverage { installed: 1, proven: 1, healed: 1, ..FaultCoverage::default() };
        assert_eq!(kill, FaultCoverage { ok_gets_during: 1, ok_puts_during: 1, ..one });
    }

    #[test]
    fn operations_before_and_after_a_fault_do_not_cover_it() {
        let mut ops = killed();
        ops.extend(client_op(0, 95, 120, "get", "k"));
        ops.extend(client_op(1, 150, 250, "put", "k"));
        let coverage = judged(ops, &[("read_repairs", 1)]);
        assert_eq!(coverage.verdict, Verdict::Unknown);
        assert_eq!(coverage.reasons.len(), 2, "{:?}", coverage.reasons);
    }

    #[test]
    fn a_fault_that_never_happened_or_was_skipped_is_not_covered() {
        let work = || {
            let mut ops = client_op(0, 1, 2, "get", "k").to_vec();
            ops.extend(client_op(0, 3, 4, "put", "k"));
            ops
        };
        let coverage = judged(work(), &[]);
        assert_eq!(coverage.reasons, ["kill never happened"]);
        let mut ops = killed();
        ops.push(nemesis_op(400, Kind::Fail, "kill", "probe", json!({})));
        ops.extend(work());
        assert!(judged(ops, &[]).reasons.contains(&"kill was skipped 1 times".to_owned()));
    }

    #[test]
    fn a_target_that_was_never_there_is_not_covered_and_one_that_was_there_once_is() {
        let chosen = |chosen| {
            let mut ops = killed();
            let value = json!({ "nodes": ["n1"], "chosen": chosen });
            ops[0] = nemesis_op(90, Kind::Invoke, "kill", "inject", value);
            ops
        };
        let missed = json!({ "by": "hinted", "stands_in": "no hint was stored" });
        let lacks = "target hinted was never there to be hit: no hint was stored".to_owned();
        assert!(judged(chosen(missed.clone()), &[]).reasons.contains(&lacks));
        let mut ops = chosen(missed);
        let met = json!({ "chosen": { "by": "hinted", "why": "n2 stored a hint for it" } });
        ops.push(nemesis_op(400, Kind::Invoke, "kill", "inject", met));
        assert!(!judged(ops, &[]).reasons.contains(&lacks));
    }

    #[test]
    fn a_fault_that_did_not_bite_is_not_covered() {
        let mut ops = killed();
        ops[1] = nemesis_op(100, Kind::Info, "kill", "inject", json!({ "nodes": ["n1"] }));
        let reasons = judged(ops, &[]).reasons;
        assert!(reasons.iter().any(|r| r.contains("1 of 1 were not proven")), "{reasons:?}");
    }

    /// A put while n1, a home of the key, was down, and what n1 and n2 hold at the end; of four nodes.
    fn missed(held: Value) -> Vec<Op> {
        let mut plan = Plan::default();
        plan.cluster.nodes = 4;
        let view = plan.view().unwrap();
        let is_home = |key: &str, node| view.homes(&Key::from(key)).contains(&node);
        let mut keys = (0..).map(|number| format!("k{number}"));
        let key = keys.find(|key| is_home(key, NodeId(1)) && is_home(key, NodeId(2))).unwrap();
        let mut ops = killed();
        ops.extend(client_op(0, 110, 120, "get", &key));
        let [put, ok] = client_op(0, 130, 140, "put", &key);
        ops.extend([put.value(json!(1)), ok.value(json!(1))]);
        for (process, node, held) in [(7, "n1", held), (8, "n2", json!([1]))] {
            let home = Op::invoke(process, "home").key(&*key).node(node).finally().at(500);
            ops.extend([home.clone(), home.completed(Kind::Ok).value(held).at(510)]);
        }
        ops
    }

    #[test]
    fn a_home_that_never_gets_what_it_missed_is_not_covered_whatever_nodes_say_of_themselves() {
        let counts = [("read_repairs", 1), ("hints_stored", 9), ("hints_delivered", 9)];
        assert_eq!(judged_of(4, missed(json!([1])), &counts).reasons, Vec::<String>::new());
        let reasons = judged_of(4, missed(json!([])), &counts).reasons;
        assert!(
            reasons[0].starts_with("no home that was down holds any of the 1 values"),
            "{reasons:?}"
        );
    }

    /// The nemesis may see the new ring by the proof of another fault before that of the leave.
    #[test]
    fn a_leave_touches_keys_of_which_the_leaver_was_a_home_when_it_was_asked_to() {
        let mut plan = Plan::default();
        plan.cluster.nodes = 4;
        let settings = plan.cluster.settings;
        let genesis = plan.view().unwrap().history().latest().clone();
        let left = genesis.edited(&Edit::Leave { node: NodeId(1) }, settings.n).unwrap();
        let leave = |kind, time, step| {
            nemesis_op(
                time,
                kind,
                "leave",
                step,
                json!({ "nodes": ["n1"], "proof": { "epoch": 2 } }),
            )
        };
        let history = history(vec![
            leave(Kind::Invoke, 90, "inject"),
            nemesis_op(
                95,
                Kind::Ok,
                "kill",
                "heal",
                json!({ "fault": 2, "proof": { "epoch": 2 } }),
            ),
            leave(Kind::Ok, 100, "inject"),
            leave(Kind::Invoke, 200, "heal"),
            leave(Kind::Ok, 300, "heal"),
        ]);
        let rings = Rings::of(&settings, &[genesis, left], &history).unwrap();
        let windows = windows(&history, &availability::windows(&history), FaultName::Leave);
        let homes = Homes { settings: &settings, rings: &rings };
        let mut keys = (0..).map(|number| format!("k{number}"));
        let key = keys.find(|key| rings.homes(key, 0).contains(&NodeId(1))).unwrap();
        let ops = self::history(client_op(0, 110, 120, "get", &key).to_vec());
        let pair = ops.pairs().next().unwrap();
        assert!(!rings.homes(&key, 99).contains(&NodeId(1)), "it is seen to have left before that");
        assert!(windows[0].spans(&pair) && homes.touched(&windows[0], &pair));
        // It goes on until it is finished.
        for (to, is_during) in [(300, true), (301, false)] {
            let ops = self::history(client_op(0, 210, to, "put", &key).to_vec());
            let put = ops.pairs().next().unwrap();
            assert_eq!(windows[0].spans(&put), is_during);
        }
    }

    #[test]
    fn a_cut_touches_keys_with_homes_on_both_of_its_ends() {
        let plan = Plan::default();
        let view = plan.view().unwrap();
        let rings = Rings::only(view.clone());
        let homes = Homes { settings: &plan.cluster.settings, rings: &rings };
        let list = view.preference_list(&Key::from("k"));
        let [invoke, ok] = client_op(0, 1, 2, "get", "k");
        let pair = Pair { invoke: &invoke, completion: Some(&ok) };
        let window = |from, to| Window { cuts: vec![Cut { from, to }], ..Window::default() };
        assert!(homes.touched(&window(list.0[0], list.0[2]), &pair));
        assert!(!homes.touched(&window(list.0[0], list.1[0]), &pair));
    }
}
