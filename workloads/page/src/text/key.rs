//! Everything that was done to a key, line by line, with the faults between.

use checker::history::{Outcome, Pair};
use serde_json::{Value, json};

use super::lines::Lines;
use super::{Run, Told};
use crate::faults::Band;
use crate::story::label;
use crate::versions::{self, Graph};
use crate::words::{at, grouped, quoted, span};

/// What happened at an instant.
enum Event<'a> {
    Op(Pair<'a>),
    Begins(&'a Band),
    Ends(&'a Band),
}

impl Run<'_> {
    pub(super) fn key(&self, key: &str) -> Result<Told, String> {
        let ops: Vec<Pair<'_>> =
            self.history.pairs().filter(|pair| pair.key() == Some(key)).collect();
        if ops.is_empty() {
            return Err(self.no_key(key));
        }
        let proven = self.bands.iter().filter(|band| band.is_proven);
        let mut events: Vec<(u64, Event<'_>)> =
            ops.iter().map(|pair| (pair.invoke.time, Event::Op(*pair))).collect();
        for band in proven {
            events.push((band.from, Event::Begins(band)));
            events.push((band.to, Event::Ends(band)));
        }
        // Stable: operations of one instant stay in their order.
        events.sort_by_key(|(time, _)| *time);
        let mut lines = Lines::default();
        let count = grouped(ops.len() as u64);
        lines
            .say(0, &format!("{count} operations on {}, in order of their beginning", quoted(key)));
        lines.empty();
        for (time, event) in &events {
            let text = match event {
                Event::Op(pair) => self.line(pair),
                Event::Begins(band) => format!("-- in force: {}", band.in_words()),
                Event::Ends(band) => format!("-- over: {}", band.in_words()),
            };
            lines.push(format!("{:>11}  {text}", at(*time)));
        }
        let graph = Graph::of(self.history, key);
        if let Some(graph) = &graph {
            lines.empty();
            let told = "its versions, a chain a column, and what each client had seen when it put";
            lines.say(0, &format!("{} as a graph: {told}", quoted(key)));
            lines.empty();
            versions::lines(graph).into_iter().for_each(|line| lines.push(line));
        }
        let ops: Vec<Value> = ops.iter().map(|pair| self.row(pair)).collect();
        let document = json!({
            "key": key, "ops": ops, "faults": self.bands,
            "versions": graph.as_ref().map(versions::rows),
        });
        Ok(Told { lines: lines.done(), document })
    }

    fn line(&self, pair: &Pair<'_>) -> String {
        let process = self.history.process_shown(pair.invoke.process);
        let took = pair.completion.map(|op| span(op.time - pair.invoke.time));
        let outcome = match (pair.outcome(), took) {
            (Outcome::Ok, Some(took)) => took,
            (Outcome::Fail, Some(took)) => format!("failed, {took}"),
            (Outcome::Info, Some(took)) => format!("unknown, {took}"),
            (_, None) => "no answer".to_owned(),
        };
        let via = pair.node().map(|node| format!(" via {node}")).unwrap_or_default();
        let last = if pair.is_final() { ", final" } else { "" };
        let context = self.context(pair).map(|get| format!(", builds on #{get}"));
        let named = match self.named.get(&pair.name()).map(Vec::as_slice) {
            None | Some([]) => String::new(),
            Some([one]) => format!("   <- finding {one}"),
            Some([one, more @ ..]) => format!("   <- finding {one} and {} more", more.len()),
        };
        format!(
            "process {process:<4} #{:<7} {}{via} ({outcome}{}{last}){named}",
            pair.name(),
            label(pair),
            context.unwrap_or_default()
        )
    }

    fn context(&self, pair: &Pair<'_>) -> Option<u64> {
        let get = pair.invoke.context.or_else(|| pair.completion?.context)?;
        Some(self.history.pair(get)?.name())
    }

    fn row(&self, pair: &Pair<'_>) -> Value {
        let outcome = match pair.outcome() {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Info => "info",
        };
        json!({
            "name": pair.name(), "process": self.history.process_shown(pair.invoke.process),
            "from": pair.invoke.time, "to": pair.completion.map(|op| op.time), "outcome": outcome,
            "label": label(pair), "node": pair.node(), "context": self.context(pair),
            "final": pair.is_final(),
            "findings": self.named.get(&pair.name()).map_or(&[][..], Vec::as_slice),
        })
    }
}
