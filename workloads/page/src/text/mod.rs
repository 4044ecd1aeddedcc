//! The stories of a run for a terminal: the same words as on its page, and the same for programs.

mod key;
mod lines;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use checker::budget::Budget;
use checker::history::History;
use checker::siblings::fates::fates;
use serde_json::{Value, json};

use crate::faults::{Band, bands};
use crate::findings::rows;
use crate::story::{Story, Teller, of_operation, stories};
use crate::subject::Subject;
use crate::words::{cut, grouped, quoted};
use lines::Lines;

/// As many findings are named beside the one that is told.
const MOST_NAMED: usize = 9;
/// As many keys are named to who asks for one that there is not.
const MOST_KEYS: usize = 10;
/// What may be spent on what became of a write.
const FOR_FATES: Duration = Duration::from_secs(10);

/// What is asked of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The verdict, and the first finding.
    Whole,
    /// A finding, counted from 1.
    Finding(usize),
    /// An operation, by its name or by any of its lines.
    Op(u64),
    /// Everything that was done to a key.
    Key(String),
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// For people: lines that end nowhere by themselves. What users and stores said stands in them as it
    /// came.
    pub lines: Vec<String>,
    /// For programs: the fields of an object.
    pub document: Value,
}

/// A run, and what was found in it.
struct Run<'a> {
    subject: &'a Subject,
    history: &'a History,
    bands: &'a [Band],
    /// All findings that can be told, in the order in which they are counted.
    stories: Vec<Story>,
    /// Of each operation the findings, counted from 1, whose stories name it.
    named: HashMap<u64, Vec<usize>>,
    /// Of each check how many findings it counts and does not list.
    unlisted: BTreeMap<String, u64>,
}

/// Tells what is asked of a run that was judged.
///
/// # Errors
/// One line, where the run has no such finding, operation or key.
pub fn told(subject: &Subject, history: &History, asked: &Asked) -> Result<Told, String> {
    let bands = bands(history);
    let stories = stories(&subject.checks, history, &bands, usize::MAX);
    let mut named: HashMap<u64, Vec<usize>> = HashMap::new();
    for (number, story) in (1..).zip(&stories) {
        story.ops.iter().for_each(|op| named.entry(op.name).or_default().push(number));
    }
    let (_, unlisted) = rows(&subject.checks, history);
    let run = Run { subject, history, bands: &bands, stories, named, unlisted };
    match asked {
        Asked::Whole => Ok(run.whole()),
        Asked::Finding(number) => run.finding(*number),
        Asked::Op(name) => run.op(*name),
        Asked::Key(key) => run.key(key),
    }
}

impl Run<'_> {
    fn whole(&self) -> Told {
        let subject = self.subject;
        let mut lines = Lines::default();
        let verdict = subject.verdict.map_or("unknown", |verdict| verdict.as_str());
        lines.say(0, &format!("{}: {}", verdict.to_uppercase(), subject.headline));
        for part in &subject.verdicts {
            lines.say(2, &format!("{} {}: {}", part.name, part.verdict, part.question));
            part.reasons.iter().take(3).for_each(|reason| lines.say(4, reason));
            if part.reasons.len() > 3 {
                lines.say(4, &format!("and {} more reasons", part.reasons.len() - 3));
            }
        }
        if let Some(first) = self.stories.first() {
            lines.empty();
            if let Some(hint) = &subject.hint {
                lines.say(0, hint);
                lines.empty();
            }
            lines.story(first);
            self.others(&mut lines);
        }
        if let Some(again) = &subject.again {
            lines.empty();
            lines.say(0, &format!("See it again: {again}"));
        }
        let titles: Vec<&str> = self.stories.iter().map(|story| story.title.as_str()).collect();
        let document = json!({
            "findings": titles, "unlisted": self.unlisted, "story": self.stories.first(),
            "again": subject.again,
        });
        Told { lines: lines.done(), document }
    }

    /// The findings beside the first, by their numbers.
    fn others(&self, lines: &mut Lines) {
        let count = self.stories.len();
        if count > 1 {
            lines.empty();
            lines.say(0, &format!("{} findings; --lost N tells one:", grouped(count as u64)));
            for (number, story) in (2..).zip(&self.stories[1..]).take(MOST_NAMED) {
                lines.say(2, &format!("{number}. {}: {}", story.check, story.title));
            }
            let more = count.saturating_sub(MOST_NAMED + 1);
            if more > 0 {
                lines.say(2, &format!("and {} more", grouped(more as u64)));
            }
        }
        for (check, more) in &self.unlisted {
            let more = grouped(*more);
            lines.say(2, &format!("{check} counted {more} more, which it does not list"));
        }
    }

    fn finding(&self, number: usize) -> Result<Told, String> {
        let count = self.stories.len();
        let none = || match count {
            0 => "nothing was found wrong in this run: there is no finding to tell".to_owned(),
            _ => format!("there is no finding {number}: they are numbered from 1 to {count}"),
        };
        let at = number.checked_sub(1).ok_or_else(none)?;
        let story = self.stories.get(at).ok_or_else(none)?;
        let mut lines = Lines::default();
        lines.say(0, &format!("Finding {number} of {count}, by the check {}", story.check));
        lines.empty();
        lines.story(story);
        let document = json!({ "finding": number, "findings": count, "story": story });
        Ok(Told { lines: lines.done(), document })
    }

    fn op(&self, name: u64) -> Result<Told, String> {
        let pair = self.history.pair(name).ok_or_else(|| match self.history.get(name) {
            Some(_) => format!("#{name} is the nemesis's: its lines are no operation of a client"),
            None => format!(
                "there is no operation #{name}: the history has the lines #0 to #{}",
                self.history.len().saturating_sub(1)
            ),
        })?;
        let budget = Budget { time: Some(FOR_FATES), memory: None };
        let fates = fates(self.history, &budget);
        let fate = fates.writes.iter().find(|fate| fate.write == pair.name());
        let teller = Teller { history: self.history, bands: self.bands, most: 0 };
        let story = of_operation(&teller, &pair, fate);
        let mut lines = Lines::default();
        lines.story(&story);
        let named = self.named.get(&pair.name()).map_or(&[][..], Vec::as_slice);
        if !named.is_empty() {
            lines.empty();
            for number in named.iter().take(MOST_NAMED) {
                let title = &self.stories[number - 1].title;
                lines.say(0, &format!("Finding {number} names it: {title}"));
            }
            if named.len() > MOST_NAMED {
                lines.say(0, &format!("and {} more findings", named.len() - MOST_NAMED));
            }
        }
        let document = json!({ "op": pair.name(), "findings": named, "story": story });
        Ok(Told { lines: lines.done(), document })
    }

    /// Why there is nothing on a key.
    fn no_key(&self, key: &str) -> String {
        let mut keys: Vec<&str> = self.history.pairs().filter_map(|pair| pair.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        let some: Vec<String> = keys.iter().take(MOST_KEYS).map(|key| quoted(key)).collect();
        let more = keys.len().saturating_sub(MOST_KEYS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let there_are = match keys.len() {
            0 => "the history has no keys".to_owned(),
            _ => format!("the keys are {}{more}", some.join(", ")),
        };
        format!("nothing was done to {}: {there_are}", quoted(&cut(key.to_owned(), 48)))
    }
}

#[cfg(test)]
mod tests;
