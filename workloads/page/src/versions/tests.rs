//! Graphs of small histories.

use checker::history::op::{Kind, Op};
use serde_json::json;

use super::*;
use crate::html::samples::replaced;
use crate::story::{Part, Role, Story};

/// Writes a history operation by operation, one after the other, of the key `k`.
#[derive(Default)]
struct Book(Vec<Op>);

impl Book {
    /// An operation and its answer: its name.
    fn done(&mut self, begun: Op, kind: Kind, value: Option<Value>) -> u64 {
        let answer = match value {
            Some(value) => begun.completed(kind).value(value),
            None => begun.completed(kind),
        };
        self.0.extend([begun, answer]);
        self.0.len() as u64 - 1
    }

    fn get(&mut self, shows: &[&str]) -> u64 {
        self.done(Op::invoke(0, "get").key("k"), Kind::Ok, Some(json!(shows)))
    }

    fn put(&mut self, value: &str, over: u64) -> u64 {
        let put = Op::invoke(0, "put").key("k").value(value).context(over).node("n2");
        self.done(put, Kind::Ok, None)
    }

    /// One that nobody answers: its client does nothing more.
    fn unanswered(&mut self, process: u64, f: &'static str, value: Option<&str>, over: u64) -> u64 {
        let op = Op::invoke(process, f).key("k").context(over);
        let op = Op { value: value.map(Value::from), ..op };
        self.done(op, Kind::Info, None)
    }

    fn home(&mut self, node: &str, kind: Kind, holds: &[&str]) {
        let home = Op::invoke(1, "home").key("k").node(node).finally();
        self.done(home, kind, (kind == Kind::Ok).then(|| json!(holds)));
    }

    fn graph(self) -> Graph {
        let lines = (1..).zip(self.0).map(|(at, op)| op.at(at)).collect();
        Graph::of(&History::numbered(lines).unwrap(), "k").unwrap()
    }
}

fn fates(graph: &Graph) -> Vec<&'static str> {
    (0..graph.versions.len()).map(|at| graph.fate(at).as_str()).collect()
}

#[test]
fn a_put_covers_what_its_context_returned_and_what_nothing_covers_and_no_home_holds_is_gone() {
    let mut book = Book::default();
    let empty = book.get(&[]);
    let a = book.put("a", empty);
    let b = book.put("b", empty);
    let both = book.get(&["a", "b"]);
    book.put("c", both);
    book.put("d", both);
    book.home("n1", Kind::Ok, &["d"]);
    book.home("n3", Kind::Ok, &["d"]);
    let graph = book.graph();
    assert_eq!(fates(&graph), ["covered", "covered", "gone", "held"]);
    assert_eq!(graph.versions[2].covers, [0, 1]);
    assert_eq!(graph.versions[3].held, ["n1", "n3"]);
    assert_eq!((graph.versions[0].put, graph.versions[1].put, graph.versions[0].shown), (a, b, 1));
    let told = lines(&graph);
    assert!(told[0].starts_with("  *    #3 "), "{told:?}");
    assert!(told[1].starts_with("  | *  #5 "), "two that knew nothing of each other: {told:?}");
    assert!(
        told[2].contains(
            "put \"c\" via n2  over #3 #5: GONE: nothing covers it, and no home holds it"
        )
    );
    assert!(told[3].ends_with("over #3 #5: held by n1, n3"));
    assert_eq!(
        rows(&graph)[2],
        json!({
            "put": 9, "covers": [3, 5], "covered_by": null, "shown": 0, "held": [], "fate": "gone",
        })
    );
}

#[test]
fn nothing_is_called_gone_that_may_be_there_or_may_have_been_deleted() {
    let written = |end: &dyn Fn(&mut Book)| {
        let mut book = Book::default();
        let empty = book.get(&[]);
        book.put("a", empty);
        end(&mut book);
        fates(&book.graph())[..1].to_vec()
    };
    assert_eq!(written(&|_| {}), ["open"], "nobody looked");
    assert_eq!(written(&|book| book.home("n1", Kind::Ok, &[])), ["gone"]);
    let silent = |book: &mut Book| {
        book.home("n1", Kind::Ok, &[]);
        book.home("n3", Kind::Fail, &[]);
    };
    assert_eq!(written(&silent), ["unsure"], "n3 did not say");
    let deleted = |book: &mut Book| {
        let seen = book.get(&["a"]);
        book.unanswered(7, "delete", None, seen);
        book.home("n1", Kind::Ok, &[]);
    };
    assert_eq!(written(&deleted), ["covered"]);
}

#[test]
fn a_put_that_was_never_answered_covers_what_it_saw_only_once_it_was_seen_itself() {
    for (last, expected) in [(&["a"][..], ["held", "maybe"]), (&["b"], ["covered", "held"])] {
        let mut book = Book::default();
        let empty = book.get(&[]);
        book.put("a", empty);
        let seen = book.get(&["a"]);
        book.unanswered(7, "put", Some("b"), seen);
        book.home("n1", Kind::Ok, last);
        assert_eq!(fates(&book.graph()), expected);
    }
}

#[test]
fn without_homes_the_last_gets_say_what_is_there() {
    let graph = Graph::of(&replaced("basket", "milk", "n1", "no"), "basket").unwrap();
    assert_eq!((fates(&graph), &graph.ends), (vec!["gone", "held"], &Ends::Gets));
    assert!(lines(&graph)[1].ends_with("shown through n1 in the end"), "{:?}", lines(&graph));
}

#[test]
fn a_register_has_no_graph() {
    let put = Op::invoke(0, "put").key("k").value(1);
    let history =
        History::numbered(vec![put.clone().at(1), put.completed(Kind::Ok).at(2)]).unwrap();
    assert!(Graph::of(&history, "k").is_none() && Graph::of(&history, "other").is_none());
}

#[test]
fn around_a_finding_what_is_left_out_is_counted_and_lines_over_it_are_dotted() {
    let mut book = Book::default();
    let mut seen = book.get(&[]);
    let names: Vec<String> = (0..30).map(|at| format!("<v{at}>")).collect();
    let mut puts = Vec::new();
    for name in &names {
        puts.push(book.put(name, seen));
        seen = book.get(&[name]);
    }
    book.home("n1", Kind::Ok, &["<v29>"]);
    let lines = (1..).zip(book.0).map(|(at, op)| op.at(at)).collect();
    let history = History::numbered(lines).unwrap();
    let part = Part {
        name: puts[10],
        process: "0".into(),
        from: 0,
        to: None,
        outcome: Outcome::Ok,
        label: String::new(),
        node: None,
        role: Role::Victim,
    };
    let story = Story { ops: vec![part], ..Story::default() };
    let text = section(&story, &history).into_string();
    assert_eq!(
        text.matches("<circle").count(),
        7,
        "two before it, three after it, the one that is held"
    );
    assert_eq!(text.matches("covers far").count(), 1);
    assert!(text.contains("23 more versions") && text.contains("held by n1"));
    assert!(text.contains("&lt;v10&gt;") && !text.contains("<v10>"));
    assert!(section(&Story::default(), &history).into_string().is_empty());
}
