//! Lines that fit on a terminal.

use checker::history::Outcome;

use crate::story::{Part, Role, Story, Why};
use crate::words::{Clock, cut, span};

/// Columns of a line of prose.
const WIDE: usize = 100;

/// A text that grows line by line.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<String>);

impl Lines {
    /// A line as it is.
    pub(super) fn push(&mut self, line: String) {
        self.0.push(line);
    }

    /// An empty line.
    pub(super) fn empty(&mut self) {
        self.0.push(String::new());
    }

    /// A sentence, in as many lines as it takes, the later ones two columns further in.
    pub(super) fn say(&mut self, indent: usize, text: &str) {
        self.hang(&" ".repeat(indent), indent + 2, text);
    }

    /// A sentence behind `head`, its later lines indented so far.
    fn hang(&mut self, head: &str, indent: usize, text: &str) {
        let mut line = head.to_owned();
        let mut is_fresh = true;
        for word in text.split(' ') {
            if !is_fresh && line.chars().count() + 1 + word.chars().count() > WIDE {
                self.0.push(std::mem::replace(&mut line, " ".repeat(indent)));
                is_fresh = true;
            }
            if !is_fresh {
                line.push(' ');
            }
            line.push_str(word);
            is_fresh = false;
        }
        self.0.push(line);
    }

    /// A story: what happened sentence by sentence, then its operations in a table.
    pub(super) fn story(&mut self, story: &Story) {
        self.say(0, &story.title);
        self.empty();
        for (number, step) in (1..).zip(&story.steps) {
            let op = step.op.map(|op| format!("#{op} ")).unwrap_or_default();
            self.hang(&format!("{number:>3}. "), 5, &format!("{op}{}", step.text));
        }
        if !story.ops.is_empty() {
            self.empty();
            self.table(story);
        }
    }

    fn table(&mut self, story: &Story) {
        let first = story.ops.iter().map(|op| op.from).min().unwrap_or(0);
        let last = story.ops.iter().map(|op| op.to.unwrap_or(op.from)).max().unwrap_or(0);
        let clock = Clock::within(last - first);
        let rows: Vec<[String; 5]> = story.ops.iter().map(|op| row(op, clock)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
        for (op, row) in story.ops.iter().zip(&rows) {
            let mut line = String::from("  ");
            for (text, width) in row.iter().zip(&widths) {
                line += &format!("{text:<width$}  ");
            }
            line += &remarks(op, story).join("; ");
            self.0.push(line.trim_end().to_owned());
        }
    }

    /// The lines.
    pub(super) fn done(self) -> Vec<String> {
        self.0
    }
}

fn row(op: &Part, clock: Clock) -> [String; 5] {
    let took = match (op.to, op.outcome) {
        (None, _) => "no answer".to_owned(),
        (Some(to), Outcome::Ok) => span(to - op.from),
        (Some(to), Outcome::Fail) => format!("{} failed", span(to - op.from)),
        (Some(to), Outcome::Info) => format!("{} unknown", span(to - op.from)),
    };
    let via = op.node.as_ref().map(|node| format!(" via {}", cut(node.clone(), 12)));
    [
        clock.at(op.from),
        format!("process {}", cut(op.process.clone(), 12)),
        format!("#{}", op.name),
        format!("{}{}", cut(op.label.clone(), 40), via.unwrap_or_default()),
        took,
    ]
}

/// What an operation is in a story, and what it leads from.
fn remarks(op: &Part, story: &Story) -> Vec<String> {
    let mut remarks = Vec::new();
    match op.role {
        Role::Victim => remarks.push("what was promised".to_owned()),
        Role::Culprit => remarks.push("what took its place".to_owned()),
        Role::Shows => remarks.push("where it shows".to_owned()),
        Role::Beside => {}
    }
    for arrow in &story.arrows {
        match arrow.why {
            Why::Context if arrow.to == op.name => {
                remarks.push(format!("builds on #{}", arrow.from))
            }
            Why::Replaced if arrow.from == op.name => {
                remarks.push(format!("takes the place of #{}", arrow.to));
            }
            Why::Context | Why::Replaced => {}
        }
    }
    if let Some(order) = &story.order {
        let place = order.explained.iter().position(|name| *name == op.name);
        remarks.extend(place.map(|place| format!("number {} of the order tried", place + 1)));
        if order.stuck == op.name {
            remarks.push("fits nowhere in the order".to_owned());
        }
    }
    remarks
}
