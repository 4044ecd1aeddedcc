//! What nodes did for a few operations, from their records: which messages they sent each other, and what
//! each replica held when it answered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;

use checker::history::{History, Pair};
use dynamo_node::record::{self, ToldStep};
use dynamo_protocol::Versioning;
use dyno_page::Carried;
use serde_json::Value;

use super::setup::Setup;
use crate::replay::records::FOLDER;

/// Steps that are looked at beyond the first and the last of the operations, in nanoseconds.
const BEFORE: u64 = 20_000_000;
const AFTER: u64 = 1_000_000_000;
/// As many steps are kept.
const MOST_STEPS: usize = 20_000;
/// How the clocks of the driver and of a node may differ, in nanoseconds: they are one machine's.
const APART: u64 = 1_000_000;

/// A step of a node, and when it was by the history's clock.
struct Step {
    node: String,
    at: u64,
    told: ToldStep,
}

/// The messages that were sent for these operations; nothing where nodes did not record, or when the history
/// began is not known. What cannot be read is left out: it explains, and judges nothing.
pub(super) fn messages(dir: &Path, setup: &Setup, history: &History, ops: &[u64]) -> Vec<Carried> {
    let (folder, pairs) = (dir.join(FOLDER), pairs(history, ops));
    let versioning = setup.cluster.settings.versioning;
    let Some(zero_us) = setup.zero_us.filter(|_| folder.is_dir() && !pairs.is_empty()) else {
        return Vec::new();
    };
    let steps = steps(&folder, zero_us, &pairs);
    let mut carried = Vec::new();
    let mut names = HashMap::new();
    let mut used = HashSet::new();
    for pair in &pairs {
        asked(pair, &steps, &mut used, &mut names, &mut carried);
    }
    between(&steps, versioning, &mut names, &mut carried);
    carried.sort_by_key(|message| (message.sent, message.taken));
    carried
}

/// What clients asked of nodes. A replica that was read past the quorum sent no messages.
fn pairs<'a>(history: &'a History, ops: &[u64]) -> Vec<Pair<'a>> {
    let pairs = ops.iter().filter_map(|op| history.pair(*op));
    pairs
        .filter(|pair| matches!(pair.f(), "get" | "put" | "delete") && pair.node().is_some())
        .collect()
}

fn ended(pair: &Pair<'_>) -> u64 {
    pair.completion.map_or(pair.invoke.time + AFTER, |op| op.time)
}

/// The steps about the keys of the operations, from around the time of each.
fn steps(folder: &Path, zero_us: u64, pairs: &[Pair<'_>]) -> Vec<Step> {
    let keys: HashSet<&str> = pairs.iter().filter_map(Pair::key).collect();
    let last = pairs.iter().map(ended).max().unwrap_or(0) + AFTER;
    let is_near = |at: u64| {
        let near = |pair: &Pair<'_>| pair.invoke.time <= at + BEFORE && at <= ended(pair) + BEFORE;
        pairs.iter().any(near)
    };
    let mut steps: Vec<Step> = Vec::new();
    for file in record::files(folder).unwrap_or_default() {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let node = name.split('-').next().unwrap_or_default().to_owned();
        // A record that ends in the middle of a step has told what came before.
        let _ = record::steps(&file, |told| {
            let at = told.at_us.saturating_sub(zero_us).saturating_mul(1000);
            let is_about = told.keys.iter().any(|key| keys.contains(key.as_str()));
            if is_about && told.at_us >= zero_us && is_near(at) {
                steps.push(Step { node: node.clone(), at, told });
            }
            at <= last && steps.len() < MOST_STEPS
        });
    }
    steps.sort_by_key(|step| step.at);
    steps
}

/// Finds the step in which a node was asked for an operation, and tells of the question and the answer. A
/// node may be asked the same by several clients at a time: then the first that no other operation has is
/// taken.
fn asked(
    pair: &Pair<'_>,
    steps: &[Step],
    used: &mut HashSet<usize>,
    names: &mut HashMap<String, u64>,
    carried: &mut Vec<Carried>,
) {
    let (Some(node), Some(key)) = (pair.node(), pair.key()) else { return };
    let is_it = |(at, step): &(usize, &Step)| {
        let words = step.told.input.strip_prefix("client request=");
        let verb = words.and_then(|words| words.split(' ').nth(1));
        step.node == node
            && verb == Some(pair.f())
            && step.told.keys.contains(key)
            && pair.invoke.time <= step.at + APART
            && step.at <= ended(pair) + APART
            && !used.contains(at)
    };
    let Some((at, step)) = steps.iter().enumerate().find(is_it) else { return };
    used.insert(at);
    names.extend(step.told.ops.iter().map(|op| (op.clone(), pair.name())));
    let client = "client".to_owned();
    carried.push(Carried {
        op: pair.name(),
        from: client.clone(),
        to: node.to_owned(),
        sent: pair.invoke.time,
        taken: Some(step.at),
        what: pair.f().to_owned(),
        holds: None,
    });
    let request = step.told.input.split(' ').nth(1).unwrap_or_default();
    let reply = format!("reply {request} ");
    let answers = |step: &&Step| {
        step.node == node && step.told.outputs.iter().any(|output| output.starts_with(&reply))
    };
    if let Some(answer) = steps[at..].iter().find(answers) {
        carried.push(Carried {
            op: pair.name(),
            from: node.to_owned(),
            to: client,
            sent: answer.at,
            taken: pair.completion.map(|op| op.time),
            what: "answer".to_owned(),
            holds: None,
        });
    }
}

/// The messages between nodes: what was sent and what was taken in, in the order in which both happened.
/// Of versions those are told that a get would show: where the last writer wins, a replica keeps others, too.
fn between(
    steps: &[Step],
    versioning: Versioning,
    names: &mut HashMap<String, u64>,
    carried: &mut Vec<Carried>,
) {
    // What is forwarded has another name where it is done.
    for step in steps {
        let forwarded = step.told.got.as_ref().filter(|got| got.name == "forward");
        let op = forwarded.and_then(|got| names.get(got.op.as_ref()?).copied());
        if let Some(op) = op {
            names.extend(step.told.ops.iter().map(|name| (name.clone(), op)));
        }
    }
    let mut under_way: HashMap<(String, String, &str, String), VecDeque<usize>> = HashMap::new();
    for step in steps {
        if let Some(got) = &step.told.got
            && let Some(name) = &got.op
        {
            let way = (got.from.to_string(), got.to.to_string(), got.name, name.clone());
            if let Some(sent) = under_way.get_mut(&way).and_then(VecDeque::pop_front) {
                carried[sent].taken = Some(step.at);
            }
        }
        for sent in &step.told.sent {
            let Some((name, op)) = sent.op.as_ref().and_then(|name| Some((name, names.get(name)?)))
            else {
                continue;
            };
            let (from, to) = (sent.from.to_string(), sent.to.to_string());
            let way = (from.clone(), to.clone(), sent.name, name.clone());
            under_way.entry(way).or_default().push_back(carried.len());
            carried.push(Carried {
                op: *op,
                from,
                to,
                sent: step.at,
                taken: None,
                what: sent.name.to_owned(),
                holds: sent
                    .set
                    .as_ref()
                    .map(|set| set.visible(versioning).iter().map(|value| word(value)).collect()),
            });
        }
    }
}

/// A version in a word: a cart by its name and what it holds.
pub(crate) fn word(value: &[u8]) -> String {
    let cart: Value = serde_json::from_slice(value).unwrap_or_default();
    let (Some(id), Some(items)) = (cart["id"].as_str(), cart["items"].as_array()) else {
        return String::from_utf8_lossy(value).chars().take(24).collect();
    };
    match items.len() {
        0..=3 => {
            let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            let items: Vec<String> = items.iter().map(text).collect();
            format!("{id} {{{}}}", items.join(", "))
        }
        more => format!("{id} {{{more} items}}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use checker::history::op::{Kind, Op};
    use dynamo_node::record;
    use dynamo_protocol::{NodeId, Siblings};

    use super::*;

    fn carried(from: u16, to: u16, name: &'static str, op: &str) -> record::Carried {
        let set = (name == "store").then(|| Siblings::empty(Versioning::Dotted));
        record::Carried { from: NodeId(from), to: NodeId(to), name, op: Some(op.to_owned()), set }
    }

    fn step(
        node: u16,
        at: u64,
        input: &str,
        got: Option<record::Carried>,
        sent: Vec<record::Carried>,
        outputs: &[&str],
    ) -> Step {
        let of_sent = sent.iter().chain(&got).filter_map(|carried| carried.op.clone());
        let told = ToldStep {
            step: at,
            at_us: at,
            input: input.to_owned(),
            errors: Vec::new(),
            outputs: outputs.iter().map(|output| (*output).to_owned()).collect(),
            keys: ["k".to_owned()].into(),
            ops: of_sent.collect::<BTreeSet<_>>(),
            got,
            sent,
        };
        Step { node: NodeId(node).to_string(), at, told }
    }

    #[test]
    fn a_put_is_followed_from_its_client_to_the_replicas_and_back_also_when_it_is_forwarded() {
        let put = Op::invoke(0, "put").key("k").node("n1").value("v").at(100);
        let lines = vec![put.clone(), put.completed(Kind::Ok).at(900)];
        let history = History::numbered(lines).unwrap();
        let steps = [
            step(
                1,
                200,
                "client request=7 put key=k of 1 bytes",
                None,
                vec![carried(1, 2, "forward", "a")],
                &[],
            ),
            step(
                2,
                300,
                "",
                Some(carried(1, 2, "forward", "a")),
                vec![carried(2, 3, "store", "b")],
                &[],
            ),
            step(
                3,
                400,
                "",
                Some(carried(2, 3, "store", "b")),
                vec![carried(3, 2, "stored", "b")],
                &[],
            ),
            step(
                2,
                500,
                "",
                Some(carried(3, 2, "stored", "b")),
                vec![carried(2, 1, "forwarded", "a")],
                &[],
            ),
            step(
                1,
                600,
                "",
                Some(carried(2, 1, "forwarded", "a")),
                vec![],
                &["reply request=7 done"],
            ),
            step(3, 700, "", None, vec![carried(3, 1, "store", "another")], &[]),
        ];
        let (mut told, mut names) = (Vec::new(), HashMap::new());
        for pair in pairs(&history, &[1]) {
            asked(&pair, &steps, &mut HashSet::new(), &mut names, &mut told);
        }
        between(&steps, Versioning::Dotted, &mut names, &mut told);
        told.sort_by_key(|message| message.sent);
        let ways: Vec<_> =
            told.iter().map(|m| (&*m.from, &*m.to, &*m.what, m.sent, m.taken)).collect();
        assert_eq!(
            ways,
            [
                ("client", "n1", "put", 100, Some(200)),
                ("n1", "n2", "forward", 200, Some(300)),
                ("n2", "n3", "store", 300, Some(400)),
                ("n3", "n2", "stored", 400, Some(500)),
                ("n2", "n1", "forwarded", 500, Some(600)),
                ("n1", "client", "answer", 600, Some(900)),
            ]
        );
        assert_eq!(
            (&told[1].holds, &told[2].holds),
            (&None, &Some(Vec::new())),
            "nothing, and none"
        );
        assert!(told.iter().all(|message| message.op == 1));
    }

    #[test]
    fn a_run_without_records_has_no_messages() {
        let dir = tempfile::tempdir().unwrap();
        let setup = Setup { zero_us: Some(5), ..Setup::of(&crate::plan::Plan::default()) };
        assert!(messages(dir.path(), &setup, &History::default(), &[1]).is_empty());
    }

    #[test]
    fn a_version_is_told_in_a_word() {
        assert_eq!(word(br#"{"id":"put-1","items":["milk"]}"#), "put-1 {milk}");
        assert_eq!(word(br#"{"id":"put-2","items":[1,2,3,4,"a","b","c","d"]}"#), "put-2 {8 items}");
        assert_eq!(word(b"no cart"), "no cart");
    }
}
