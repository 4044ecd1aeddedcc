//! The story of an item that is gone from a cart: who put it there, which put took its place, and where it
//! was seen for the last time.

use checker::history::op::Kind;
use checker::history::{Outcome, Pair};
use checker::verdict::CheckReport;
use serde_json::Value;

use super::{Arrow, Role, Step, Story, Teller, Why, changed, in_force, listed};
use crate::words::{at, quoted, span, thing};

/// A story for each of the first items that are lost or cannot be read; none of any other report.
pub(super) fn stories(teller: &Teller<'_>, report: &CheckReport) -> Vec<Story> {
    let of = |list: &'static str| {
        let told = listed(report, list).iter().take(teller.most);
        told.filter_map(move |lost| Loss::of(teller, lost, list == "lost"))
    };
    of("lost").chain(of("unreadable")).take(teller.most).map(Loss::told).collect()
}

/// An item that is gone, with the operations that matter.
struct Loss<'t, 'a> {
    teller: &'t Teller<'a>,
    item: &'t Value,
    /// In quotes, and not longer than is read.
    key: String,
    /// Does no home hold it?
    is_lost: bool,
    add: Pair<'a>,
    add_context: Option<Pair<'a>>,
    by: Option<Pair<'a>>,
    by_context: Option<Pair<'a>>,
    last_shown: Option<Pair<'a>>,
    first_lacking: Option<Pair<'a>>,
    read: Option<Pair<'a>>,
    reads: usize,
}

impl<'t, 'a> Loss<'t, 'a> {
    fn of(teller: &'t Teller<'a>, lost: &'t Value, is_lost: bool) -> Option<Self> {
        let pair = |field: &str| teller.history.pair(lost.get(field)?.as_u64()?);
        let add = pair("add")?;
        let by = pair("overwritten_by");
        let reads: Vec<u64> = lost["reads"].as_array()?.iter().filter_map(Value::as_u64).collect();
        let read = reads.first().and_then(|read| teller.history.pair(*read));
        Some(Self {
            teller,
            item: lost.get("item")?,
            key: quoted(lost.get("key")?.as_str()?),
            is_lost,
            add,
            add_context: teller.context(&add),
            by,
            by_context: by.and_then(|by| teller.context(&by)),
            last_shown: pair("last_shown"),
            first_lacking: pair("first_lacking"),
            read,
            reads: reads.len(),
        })
    }

    fn told(self) -> Story {
        let item = thing(self.item);
        let end = if self.is_lost { "is gone" } else { "cannot be read any more" };
        let title = format!("{item} of {} was acknowledged, and {end}", self.key);
        let mut steps = self.adding(&item);
        steps.extend(self.replacing(&item));
        steps.extend(self.vanishing(&item));
        let (from, to) = self.span();
        let bands = self.teller.meanwhile(from, to);
        let none = || "No fault was in force meanwhile: it takes none.".to_owned();
        steps.push(Step { op: None, text: in_force(&bands).unwrap_or_else(none) });
        let shape = self.shape();
        let mut story = Story { title, shape, steps, bands, ..Story::default() };
        self.draw(&item, &mut story);
        story
    }

    /// What its like have in common.
    fn shape(&self) -> String {
        let what = if self.is_lost { "lost" } else { "unreadable" };
        let by = match (&self.by, &self.by_context) {
            (None, _) => "by no put that can be named",
            (Some(_), Some(get)) if shows(get, self.item) => "by a put that had seen it",
            (Some(_), _) => "by a put that had not seen it",
        };
        format!("{what} {by}")
    }

    fn adding(&self, item: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(get) = &self.add_context {
            let (process, holds) = (self.process(get), self.holds(get, item));
            let text = format!("Process {process} reads the cart {}: {holds}.", self.key);
            steps.push(Step { op: Some(get.name()), text });
        }
        let acknowledged = self.add.completion.map_or(self.add.invoke.time, |op| op.time);
        let who = self.who(&self.add, &self.add_context);
        let text = format!(
            "{who} adds {item} and puts the cart back{}. At {} the store acknowledges that: from now on \
             {item} must not vanish unless somebody takes it out.",
            through(&self.add),
            at(acknowledged)
        );
        steps.push(Step { op: Some(self.add.name()), text });
        steps
    }

    /// Who puts, where the get that it builds on was told just before.
    fn who(&self, put: &Pair<'a>, context: &Option<Pair<'a>>) -> String {
        let process = self.process(put);
        match context {
            Some(get) if self.process(get) == process => "It".to_owned(),
            Some(_) => format!("Process {process}, going by that,"),
            None => format!("Process {process}"),
        }
    }

    /// The put that stands in its place. Its context shows that its client had not seen the item.
    fn replacing(&self, item: &str) -> Vec<Step> {
        let Some(by) = &self.by else {
            let text = format!("No single put can be named that took the place of {item}.");
            return vec![Step { op: None, text }];
        };
        let mut steps = Vec::new();
        if let Some(get) = &self.by_context {
            let (process, sees) = (self.process(get), self.holds(get, item));
            let text = format!("Process {process} has read the same cart too: {sees}.");
            steps.push(Step { op: Some(get.name()), text });
        }
        let change = by.invoke.value.as_ref().and_then(changed);
        let change = change.map(|change| format!(" ({change})")).unwrap_or_default();
        let had_seen = self.by_context.as_ref().is_some_and(|get| shows(get, self.item));
        let meaning = if had_seen {
            format!(
                "It had seen {item} and writes the cart without it: that is its client's doing."
            )
        } else {
            format!(
                "It has never seen {item}, so it cannot mean to remove it: a store that loses nothing keeps \
                 the two carts side by side. Here only this one is left."
            )
        };
        let done = match by.outcome() {
            Outcome::Ok => "acknowledged too",
            Outcome::Fail | Outcome::Info => "without an answer",
        };
        let who = self.who(by, &self.by_context);
        let text = format!("{who} puts its own cart{change}{}, {done}. {meaning}", through(by));
        steps.push(Step { op: Some(by.name()), text });
        steps
    }

    fn vanishing(&self, item: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(get) = &self.last_shown {
            let text = format!(
                "Process {}{} reads at {} and still sees {item}: for the last time.",
                self.process(get),
                through(get),
                at(get.invoke.time)
            );
            steps.push(Step { op: Some(get.name()), text });
        }
        let first = self
            .first_lacking
            .filter(|first| self.read.is_none_or(|read| read.name() != first.name()));
        if let Some(get) = &first {
            let never =
                if self.last_shown.is_none() { "No read ever shows it" } else { "It is gone" };
            let text = format!(
                "{never}: at {} a read by process {} lacks {item}.",
                at(get.invoke.time),
                self.process(get)
            );
            steps.push(Step { op: Some(get.name()), text });
        }
        if let Some(read) = &self.read {
            let all = match self.reads {
                1 => "This last read lacks it".to_owned(),
                reads => format!("All {reads} last reads lack it"),
            };
            let held = match self.is_lost {
                true => "and no replica holds it",
                false => "though a replica holds it",
            };
            let text = format!("At {}, all healed and quiet: {all}, {held}.", at(read.invoke.time));
            steps.push(Step { op: Some(read.name()), text });
        }
        steps
    }

    fn parts(&self) -> Vec<(Pair<'a>, Role)> {
        let mut parts = vec![(self.add, Role::Victim)];
        let beside = [
            (self.by, Role::Culprit),
            (self.add_context, Role::Beside),
            (self.by_context, Role::Beside),
            (self.last_shown, Role::Beside),
            (self.first_lacking, Role::Shows),
            (self.read, Role::Shows),
        ];
        parts.extend(beside.into_iter().filter_map(|(pair, role)| Some((pair?, role))));
        let mut names = std::collections::HashSet::new();
        parts.retain(|(pair, _)| names.insert(pair.name()));
        parts.sort_by_key(|(pair, _)| pair.invoke.index);
        parts
    }

    fn draw(&self, item: &str, story: &mut Story) {
        story.ops = self
            .parts()
            .iter()
            .map(|(pair, role)| {
                let label = match pair.f() {
                    "get" | "home" if shows(pair, self.item) => {
                        format!("{}: with {item}", pair.f())
                    }
                    "get" | "home" => format!("{}: without {item}", pair.f()),
                    _ => super::label(pair),
                };
                self.teller.part(pair, *role, label)
            })
            .collect();
        let context = |get: &Option<Pair<'_>>, put: &Pair<'_>| {
            let get = get.as_ref()?.name();
            Some(Arrow { from: get, to: put.name(), why: Why::Context })
        };
        story.arrows.extend(context(&self.add_context, &self.add));
        if let Some(by) = &self.by {
            story.arrows.extend(context(&self.by_context, by));
            let (from, to) = (by.name(), self.add.name());
            story.arrows.push(Arrow { from, to, why: Why::Replaced });
        }
    }

    /// From the first of the operations until the item was seen to be gone.
    fn span(&self) -> (u64, u64) {
        let times = self.parts();
        let from = times.iter().map(|(pair, _)| pair.invoke.time).min().unwrap_or(0);
        let gone = self.first_lacking.or(self.read).unwrap_or(self.add);
        let to = gone.completion.map_or(gone.invoke.time, |op| op.time);
        (from, to.max(from))
    }

    fn process(&self, pair: &Pair<'_>) -> String {
        self.teller.history.process_shown(pair.invoke.process)
    }

    /// What a get shows of the cart, as far as it matters.
    fn holds(&self, get: &Pair<'_>, item: &str) -> String {
        let carts = get.result().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let items = carts.iter().filter_map(|cart| cart.get("items")?.as_array());
        let mut items: Vec<&Value> = items.flatten().collect();
        items.sort_by_key(|item| item.to_string());
        items.dedup();
        let many = match items.len() {
            0 => "it is empty".to_owned(),
            1 => "1 item".to_owned(),
            count => format!("{count} items"),
        };
        let (here, took) = (shows(get, self.item), self.took(get));
        match (items.is_empty(), here) {
            (true, _) => format!("it is empty{took}"),
            (false, true) => format!("{many}, {item} among them{took}"),
            (false, false) => format!("{many}, {item} not among them{took}"),
        }
    }

    fn took(&self, get: &Pair<'_>) -> String {
        let Some(end) = get.completion.filter(|op| op.kind == Kind::Ok) else {
            return String::new();
        };
        format!(" (at {}, {})", at(get.invoke.time), span(end.time - get.invoke.time))
    }
}

fn through(pair: &Pair<'_>) -> String {
    pair.node().map(|node| format!(" through {node}")).unwrap_or_default()
}

/// Does a read show an item?
fn shows(get: &Pair<'_>, item: &Value) -> bool {
    let carts = get.result().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let items = carts.iter().filter_map(|cart| cart.get("items")?.as_array());
    items.flatten().any(|held| held == item)
}
