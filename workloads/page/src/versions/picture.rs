//! The picture of the graph around a finding: a dot a version in order of time, a lane a chain, a line from
//! what a client had seen to what it put.

use std::collections::{BTreeMap, BTreeSet};

use checker::history::History;
use maud::{Markup, html};

use super::lanes::Lanes;
use super::words::fate;
use super::{Ends, Fate, Graph};
use crate::story::{Role, Story};
use crate::words::{cut, grouped, quoted};

const LEFT: f64 = 34.0;
const TOP: f64 = 14.0;
const STEP: f64 = 68.0;
const LANE: f64 = 58.0;
const DOT: f64 = 7.0;
/// The width of a letter.
const LETTER: f64 = 6.0;
/// Of a finding's versions so many neighbours are drawn, before and after.
const BEFORE: usize = 2;
const AFTER: usize = 3;
/// And at most so many versions that are there in the end.
const MOST_HELD: usize = 4;
/// As many letters of a label are written.
const LABEL: usize = 10;

/// What is drawn of a graph.
struct Drawn<'a> {
    graph: &'a Graph,
    story: &'a Story,
    /// The versions, in order.
    shown: Vec<usize>,
    /// Of each those that it covers, by their places here, and whether none between them is left out.
    covers: Vec<BTreeMap<usize, bool>>,
    lanes: Lanes,
}

/// The picture and what belongs to it; nothing of a story that is not about versions of a key.
pub(crate) fn section(story: &Story, history: &History) -> Markup {
    let key = story.ops.iter().filter_map(|op| history.pair(op.name)).find_map(|pair| pair.key());
    let graph = key.and_then(|key| Graph::of(history, key));
    let Some(drawn) = graph.as_ref().and_then(|graph| Drawn::of(graph, story)) else {
        return html! {};
    };
    let left_out = drawn.graph.versions.len() - drawn.shown.len();
    let key = quoted(&drawn.graph.key);
    html! {
        div.versions {
            h3 { "The versions of " (key) " around it" }
            div.scroll tabindex="0" role="group" aria-label="Versions, may be scrolled" { (drawn.picture()) }
            p.note {
                "A dot a version, in order of time; a line leads from what a client had seen to what it put "
                "in its place, dotted where others between are left out. Filled: "
                @if drawn.graph.ends == Ends::Gets { "shown by the last reads" } @else { "held in the end" }
                "; hollow: covered by a later one; crossed out: gone."
                @if left_out > 0 {
                    " " (grouped(left_out as u64)) " more versions of this key are not drawn: "
                    code { "dyno show RUN --key" } " lists all."
                }
            }
        }
    }
}

impl<'a> Drawn<'a> {
    fn of(graph: &'a Graph, story: &'a Story) -> Option<Self> {
        let is_told = |at: &usize| story.ops.iter().any(|op| op.name == graph.versions[*at].put);
        let told: Vec<usize> = (0..graph.versions.len()).filter(is_told).collect();
        let mut shown = BTreeSet::new();
        for at in &told {
            shown.extend(at.saturating_sub(BEFORE)..=(at + AFTER).min(graph.versions.len() - 1));
            shown.extend(graph.versions[*at].covers.iter().take(MOST_HELD));
            shown.extend(graph.versions[*at].covered_by);
        }
        if shown.is_empty() {
            return None;
        }
        let held = (0..graph.versions.len()).rev().filter(|at| graph.fate(*at) == Fate::Held);
        shown.extend(held.take(MOST_HELD));
        let covers = nearest(graph, &shown);
        let shown: Vec<usize> = shown.into_iter().collect();
        let parents: Vec<Vec<usize>> =
            covers.iter().map(|of| of.keys().copied().collect()).collect();
        let lanes = Lanes::of(graph, &shown, &parents);
        Some(Self { graph, story, shown, covers, lanes })
    }

    fn x(&self, at: usize) -> f64 {
        LEFT + STEP * at as f64
    }

    fn y(&self, at: usize) -> f64 {
        TOP + LANE * self.lanes.of[at] as f64
    }

    fn right(&self) -> f64 {
        self.x(self.shown.len() - 1) + 50.0
    }

    fn picture(&self) -> Markup {
        let held =
            |at: usize| self.holders(at).map_or(0.0, |held| LETTER * held.chars().count() as f64);
        let width = self.right() + (0..self.shown.len()).map(held).fold(0.0, f64::max) + 8.0;
        let height = TOP + LANE * self.lanes.count as f64;
        let class = match width {
            0.0..760.0 => "story versions",
            760.0..1000.0 => "story versions wide",
            _ => "story versions wider",
        };
        html! {
            svg class=(class) viewBox=(format!("0 0 {width:.0} {height:.0}")) role="img"
                aria-label="Versions of the key" width=(format!("{width:.0}"))
                height=(format!("{height:.0}")) {
                @for at in 0..self.shown.len() { (self.lines(at)) }
                @for at in 0..self.shown.len() { (self.dot(at)) }
            }
        }
    }

    /// Who holds a version in the end.
    fn holders(&self, at: usize) -> Option<String> {
        let version = &self.graph.versions[self.shown[at]];
        let held = cut(version.held.join(", "), 40);
        (!held.is_empty()).then(|| match self.graph.ends {
            Ends::Gets => format!("shown through {held}"),
            Ends::Homes(_) | Ends::Unknown => format!("held by {held}"),
        })
    }

    /// What leads to a version, and from it to the end.
    fn lines(&self, at: usize) -> Markup {
        let (x, y) = (self.x(at), self.y(at));
        html! {
            @for (from, is_whole) in &self.covers[at] {
                path class=(if *is_whole { "covers" } else { "covers far" }) d=(self.way(*from, at)) {}
            }
            @if let Some(held) = self.holders(at) {
                path.covers d=(format!("M{:.1} {y:.1} L{:.1} {y:.1}", x + DOT, self.right() - 4.0)) {}
                text.strong x=(px(self.right())) y=(px(y + 4.0)) { (held) }
            }
        }
    }

    /// The line from a version to one that covers it.
    fn way(&self, from: usize, to: usize) -> String {
        let (x1, y1, x2, y2) = (self.x(from) + DOT, self.y(from), self.x(to) - DOT, self.y(to));
        let lane = self.lanes.of[from];
        // Never through a version that stands between in the same lane.
        if self.lanes.of[from + 1..to.max(from + 1)].contains(&lane) {
            let bend = (x1 + 26.0).min(x2);
            format!(
                "M{x1:.1} {y1:.1} C{bend:.1} {y1:.1} {x1:.1} {y2:.1} {bend:.1} {y2:.1} L{x2:.1} {y2:.1}"
            )
        } else {
            let bend = (x2 - 26.0).max(x1);
            format!(
                "M{x1:.1} {y1:.1} L{bend:.1} {y1:.1} C{x2:.1} {y1:.1} {bend:.1} {y2:.1} {x2:.1} {y2:.1}"
            )
        }
    }

    fn dot(&self, at: usize) -> Markup {
        let version = &self.graph.versions[self.shown[at]];
        let (x, y, is) = (self.x(at), self.y(at), self.graph.fate(self.shown[at]));
        let role = match self.story.ops.iter().find(|op| op.name == version.put).map(|op| op.role) {
            Some(Role::Victim) => "victim",
            Some(Role::Culprit) => "culprit",
            Some(Role::Shows | Role::Beside) | None => "beside",
        };
        let short = version.label.strip_prefix("put ").unwrap_or(&version.label);
        let via = version.node.as_ref().map(|node| format!(" through {node}")).unwrap_or_default();
        html! {
            g class=(format!("op version {role} {}", is.as_str())) data-op=(version.put) {
                title {
                    "#" (version.put) " " (version.label) (via) ": " (fate(self.graph, self.shown[at]))
                    ". " (grouped(version.shown)) " gets showed it."
                }
                circle.dot cx=(px(x)) cy=(px(y)) r=(DOT) {}
                @if is == Fate::Gone {
                    path.cross d=(format!("M{:.1} {:.1} l12 12 m0 -12 l-12 12", x - 6.0, y - 6.0)) {}
                }
                text.number x=(px(x)) y=(px(y + 20.0)) text-anchor="middle" { "#" (version.put) }
                text.label x=(px(x)) y=(px(y + 32.0)) text-anchor="middle" {
                    (cut(short.to_owned(), LABEL))
                }
                @if matches!(is, Fate::Gone | Fate::Maybe | Fate::Unsure) {
                    text.fate x=(px(x)) y=(px(y + 10.0)) dx="9" dy="-12" { (is.as_str()) }
                }
            }
        }
    }
}

/// Of each version that is shown the nearest ones it covers that are shown, and whether it covers them by
/// itself.
fn nearest(graph: &Graph, shown: &BTreeSet<usize>) -> Vec<BTreeMap<usize, bool>> {
    let place: BTreeMap<usize, usize> =
        shown.iter().enumerate().map(|(at, of)| (*of, at)).collect();
    let of = |at: &usize| {
        let mut found = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut next: Vec<(usize, bool)> =
            graph.versions[*at].covers.iter().map(|at| (*at, true)).collect();
        while let Some((from, is_whole)) = next.pop() {
            match place.get(&from) {
                Some(place) => *found.entry(*place).or_insert(false) |= is_whole,
                None if seen.insert(from) => {
                    next.extend(graph.versions[from].covers.iter().map(|at| (*at, false)));
                }
                None => {}
            }
        }
        found
    };
    shown.iter().map(of).collect()
}

fn px(place: f64) -> String {
    format!("{place:.1}")
}
