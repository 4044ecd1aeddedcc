//! What nodes sent each other for the operations of a finding: a lane a node, an arrow a message, from when
//! it was sent to when it was taken in; and what each replica held when it answered.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use crate::story::{Role, Story};
use crate::subject::Carried;
use crate::words::{Clock, cut};

const LEFT: f64 = 70.0;
const LANE: f64 = 44.0;
const TOP: f64 = 26.0;
/// As many messages are drawn.
const MOST: usize = 400;
/// As many answers are told.
const MOST_TOLD: usize = 60;
/// A silence longer than this, in nanoseconds, is cut.
const SILENCE: u64 = 50_000_000;
/// Who asks is a lane, too.
const CLIENT: &str = "client";

/// Where everything stands.
struct Layout<'a> {
    lanes: BTreeMap<&'a str, usize>,
    places: BTreeMap<u64, f64>,
    width: f64,
    clock: Clock,
}

/// The picture and what belongs to it; nothing where nodes recorded nothing.
pub(crate) fn section(story: &Story, messages: &[Carried]) -> Markup {
    if messages.is_empty() {
        return html! {};
    }
    let shown = &messages[..messages.len().min(MOST)];
    let layout = Layout::of(shown);
    html! {
        div.nodes {
            h3 { "What the nodes sent each other for it" }
            div.scroll tabindex="0" role="group" aria-label="Messages, may be scrolled" {
                (layout.picture(story, shown))
            }
            p.note {
                "An arrow a message, at the time of the nodes' own clocks, or the simulator's; not to scale. "
                "Blue belongs to what "
                "was promised, orange and dashed to what took its place, dotted to the others; a square: when it "
                "was taken in is not recorded."
                @if messages.len() > MOST { " " (messages.len() - MOST) " more are not drawn." }
            }
            (held(story, shown, layout.clock))
        }
    }
}

fn class(story: &Story, op: u64) -> &'static str {
    match story.ops.iter().find(|part| part.name == op).map(|part| part.role) {
        Some(Role::Victim) => "victim",
        Some(Role::Culprit) => "culprit",
        Some(Role::Shows | Role::Beside) | None => "beside",
    }
}

impl<'a> Layout<'a> {
    fn of(messages: &'a [Carried]) -> Self {
        let names: BTreeSet<&str> =
            messages.iter().flat_map(|message| [&*message.from, &*message.to]).collect();
        // Who asks stands above those that are asked.
        let clients = names.iter().filter(|name| **name == CLIENT);
        let nodes = names.iter().filter(|name| **name != CLIENT);
        let lanes = clients.chain(nodes).enumerate().map(|(lane, name)| (*name, lane)).collect();
        let mut times: Vec<u64> = messages
            .iter()
            .flat_map(|message| [Some(message.sent), message.taken])
            .flatten()
            .collect();
        times.sort_unstable();
        times.dedup();
        let mut places = BTreeMap::new();
        let (mut x, mut before) = (LEFT + 14.0, times.first().copied().unwrap_or(0));
        let span = times.last().copied().unwrap_or(0) - before;
        for time in times {
            let gap = time - before;
            // In a silence nothing is to be seen.
            let gap = gap.min(SILENCE);
            x += if gap == 0 { 0.0 } else { 5.0 + 7.0 * (1.0 + gap as f64 / 5e4).log2() };
            places.insert(time, x);
            before = time;
        }
        Self { lanes, places, width: x + 60.0, clock: Clock::within(span) }
    }

    fn y(&self, name: &str) -> f64 {
        TOP + LANE * self.lanes.get(name).copied().unwrap_or(0) as f64 + 14.0
    }

    fn x(&self, time: u64) -> f64 {
        self.places.get(&time).copied().unwrap_or(LEFT)
    }

    fn picture(&self, story: &Story, messages: &[Carried]) -> Markup {
        let (width, height) = (self.width, TOP + LANE * self.lanes.len() as f64 + 4.0);
        html! {
            svg.story.space viewBox=(format!("0 0 {width:.0} {height:.0}")) role="img"
                aria-label="Messages between nodes" width=(format!("{width:.0}"))
                height=(format!("{height:.0}")) {
                defs {
                    @for name in ["victim", "culprit", "beside"] {
                        marker id=(format!("space-{name}")) viewBox="0 0 8 8" refX="7" refY="4"
                            markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto" {
                            path class=(format!("tip-{name}")) d="M0 0 L8 4 L0 8 z" {}
                        }
                    }
                }
                @for name in self.lanes.keys() {
                    @let y = px(self.y(name));
                    line.lane x1=(px(LEFT)) x2=(px(width)) y1=(y) y2=(y) {}
                    text.lanename x="2" y=(px(self.y(name) + 4.0)) { (cut((*name).to_owned(), 9)) }
                }
                @for (place, time) in self.marks() {
                    text.when x=(px(place)) y="12" text-anchor="middle" { (self.clock.at(time)) }
                }
                @for message in messages { (self.message(class(story, message.op), message)) }
            }
        }
    }

    /// Times that are written above, far enough from each other to be read.
    fn marks(&self) -> Vec<(f64, u64)> {
        let mut marks: Vec<(f64, u64)> = Vec::new();
        for (time, place) in &self.places {
            if marks.last().is_none_or(|(last, _)| place - last > 110.0) {
                marks.push((*place, *time));
            }
        }
        marks
    }

    fn message(&self, class: &str, message: &Carried) -> Markup {
        let (x1, y1) = (self.x(message.sent), self.y(&message.from));
        let holds = message.holds.as_deref().map(|holds| format!(", with {}", list(holds)));
        let at = self.clock.at(message.sent);
        let title = format!(
            "#{}: {} from {} to {}{}, sent at {at}",
            message.op,
            message.what,
            message.from,
            message.to,
            holds.unwrap_or_default()
        );
        html! {
            g class=(format!("carried {class}")) data-op=(message.op) {
                title { (title) }
                @if let Some(taken) = message.taken {
                    // A clock that is behind must not turn it round.
                    @let x2 = self.x(taken).max(x1 + 3.0);
                    line x1=(px(x1)) y1=(px(y1)) x2=(px(x2)) y2=(px(self.y(&message.to)))
                        marker-end=(format!("url(#space-{class})")) {}
                } @else {
                    @let half = (self.y(&message.to) + y1) / 2.0;
                    line x1=(px(x1)) y1=(px(y1)) x2=(px(x1 + 6.0)) y2=(px(half)) {}
                    rect x=(px(x1 + 4.0)) y=(px(half - 2.0)) width="4" height="4" {}
                }
            }
        }
    }
}

/// What each replica held when it answered.
fn held(story: &Story, messages: &[Carried], clock: Clock) -> Markup {
    let answers: Vec<(&Carried, &Vec<String>)> =
        messages.iter().filter_map(|message| Some((message, message.holds.as_ref()?))).collect();
    html! {
        @if !answers.is_empty() {
            details.held open {
                summary { "What each replica held when it answered, and what it was sent" }
                div.scroll tabindex="0" role="group" aria-label="Answers, may be scrolled" {
                    table {
                        thead { tr {
                            @for name in ["at", "for", "from", "to", "message", "versions"] {
                                th scope="col" { (name) }
                            }
                        } }
                        tbody { @for (message, holds) in answers.iter().take(MOST_TOLD) {
                            tr class=(class(story, message.op)) {
                                td.number { (clock.at(message.sent)) }
                                td { button.ref type="button" data-op=(message.op) { "#" (message.op) } }
                                td { (message.from) }
                                td { (message.to) }
                                td { (message.what) }
                                td { (list(holds)) }
                            }
                        } }
                    }
                }
                @if answers.len() > MOST_TOLD { p.note { (answers.len() - MOST_TOLD) " more are not told." } }
            }
        }
    }
}

fn list(holds: &[String]) -> String {
    if holds.is_empty() { "nothing".to_owned() } else { cut(holds.join(", "), 120) }
}

fn px(place: f64) -> String {
    format!("{place:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(from: &str, to: &str, sent: u64, taken: Option<u64>) -> Carried {
        let holds = Some(vec!["<put-1>".to_owned()]);
        let what = "fetched".to_owned();
        Carried { op: 3, from: from.into(), to: to.into(), sent, taken, what, holds }
    }

    #[test]
    fn an_arrow_leads_from_sender_to_receiver_and_never_back_in_time() {
        let messages = [
            message("client", "n2", 1_000, Some(2_000)),
            message("n2", "n1", 3_000, Some(2_500)),
            message("n2", "n3", 900_000_000, None),
        ];
        let layout = Layout::of(&messages);
        assert_eq!(layout.lanes[CLIENT], 0, "who asks stands first");
        assert!(layout.places.values().is_sorted());
        assert!(layout.width < 700.0, "a silence is cut: {}", layout.width);
        let text = section(&Story::default(), &messages).into_string();
        assert_eq!(text.matches("marker-end").count(), 2);
        assert_eq!(text.matches("<rect").count(), 1, "what was never taken in has no arrow");
        assert!(text.contains("&lt;put-1&gt;") && !text.contains("<put-1>"));
        assert!(section(&Story::default(), &[]).into_string().is_empty());
    }
}
