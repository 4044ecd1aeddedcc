//! The picture of a story: a lane a process, operations as bars in the order of time, arrows between them,
//! and the faults that were in force as bands behind them.
//!
//! Time is not to scale: between two events there is more room the longer it takes, but room for what is
//! written, too, and a long silence is cut and says how long it was.

use std::collections::BTreeMap;

use checker::history::Outcome;
use maud::{Markup, html};

use crate::story::{Arrow, Part, Role, Story, Why};
use crate::words::{Clock, at, cut, span};

const LEFT: f64 = 86.0;
const LANE: f64 = 56.0;
const BAR: f64 = 14.0;
const BAND: f64 = 19.0;
/// The width of a letter of a label.
const LETTER: f64 = 6.3;
/// A silence longer than this is cut.
const SILENCE: u64 = 200_000_000;

/// Where everything stands.
struct Layout<'a> {
    story: &'a Story,
    /// Of each process its lane.
    lanes: BTreeMap<&'a str, usize>,
    /// Of each instant where it stands.
    places: BTreeMap<u64, f64>,
    /// Of each operation, by its name, where it begins.
    starts: BTreeMap<u64, f64>,
    /// Silences that were cut: where, and how long.
    cuts: Vec<(f64, u64)>,
    width: f64,
    top: f64,
    clock: Clock,
}

/// The picture. None of a story without operations.
#[must_use]
pub(crate) fn picture(story: &Story, id: &str) -> Option<Markup> {
    if story.ops.is_empty() {
        return None;
    }
    let layout = Layout::of(story);
    let (width, height) = (layout.width, layout.height());
    let (view, title) = (format!("0 0 {width:.0} {height:.0}"), format!("{id}-title"));
    let (head, replaced) = (format!("{id}-head"), format!("{id}-replaced"));
    Some(html! {
        svg class=(layout.class()) viewBox=(view) role="img" aria-labelledby=(title)
            width=(format!("{width:.0}")) height=(format!("{height:.0}")) {
            title id=(title) { "The operations as a timeline: " (story.title) }
            defs {
                (arrowhead(&head, "head"))
                (arrowhead(&replaced, "head replaced"))
            }
            @for (row, band) in story.bands.iter().enumerate() { (layout.band(row, band)) }
            @for (process, lane) in &layout.lanes { (layout.lane(process, *lane)) }
            @for (place, silence) in &layout.cuts { (layout.cut(*place, *silence)) }
            @for op in &story.ops { (layout.bar(op)) }
            @for arrow in &story.arrows { (layout.arrow(arrow, &head, &replaced)) }
            @for op in &story.ops { (layout.words(op)) }
            (layout.order())
        }
    })
}

fn arrowhead(id: &str, class: &str) -> Markup {
    html! {
        marker id=(id) viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9"
            markerUnits="userSpaceOnUse" orient="auto" {
            path class=(class) d="M0 0 L8 4 L0 8 z" {}
        }
    }
}

impl<'a> Layout<'a> {
    fn of(story: &'a Story) -> Self {
        let mut lanes = BTreeMap::new();
        for op in &story.ops {
            let next = lanes.len();
            lanes.entry(op.process.as_str()).or_insert(next);
        }
        let top = 8.0 + BAND * story.bands.len() as f64;
        let (places, starts, cuts) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let times = story.ops.iter().flat_map(|op| [op.from, op.to.unwrap_or(op.from)]);
        let (first, last) = (times.clone().min().unwrap_or(0), times.max().unwrap_or(0));
        let clock = Clock::within(last - first);
        let mut layout = Self { story, lanes, places, starts, cuts, width: 0.0, top, clock };
        layout.place();
        layout
    }

    /// Walks the instants in order and gives each its place.
    fn place(&mut self) {
        let mut instants: Vec<u64> = Vec::new();
        instants.extend(self.story.ops.iter().flat_map(|op| [Some(op.from), op.to]).flatten());
        instants.sort_unstable();
        instants.dedup();
        // Of each lane where the last label ends.
        let mut free = vec![LEFT; self.lanes.len()];
        let (mut x, mut before) = (LEFT + 6.0, None);
        for instant in instants {
            if let Some(before) = before {
                let gap = instant - before;
                x += 10.0 + 9.0 * (1.0 + gap as f64 / 1e5).log10();
                let is_open = self
                    .story
                    .ops
                    .iter()
                    .any(|op| op.from <= before && op.to.is_some_and(|to| to >= instant));
                if gap > SILENCE && !is_open {
                    // Room for what is written there: no two of them meet.
                    let wide = LETTER * later(gap).chars().count() as f64 + 8.0;
                    self.cuts.push((x + wide / 2.0, gap));
                    x += wide;
                }
            }
            let begun: Vec<&Part> = self.story.ops.iter().filter(|op| op.from == instant).collect();
            let lane = |op: &Part| self.lanes[op.process.as_str()];
            x = begun.iter().map(|op| free[lane(op)]).fold(x, f64::max);
            self.places.insert(instant, x);
            for op in begun {
                // A clock that stands still lets one process do several things at one instant.
                x = x.max(free[lane(op)]);
                self.starts.insert(op.name, x);
                free[lane(op)] = x + written(op, self.clock) + 8.0;
            }
            before = Some(instant);
        }
        self.width = free.iter().copied().fold(x + 20.0, f64::max) + 4.0;
    }

    /// What is wider than most screens leave room for may be shrunk a little.
    fn class(&self) -> &'static str {
        match self.width {
            0.0..760.0 => "story",
            760.0..1000.0 => "story wide",
            _ => "story wider",
        }
    }

    /// Where the lanes end; below is a row for silences that were cut.
    fn bottom(&self) -> f64 {
        self.top + LANE * self.lanes.len() as f64
    }

    fn height(&self) -> f64 {
        self.bottom() + if self.cuts.is_empty() { 6.0 } else { 20.0 }
    }

    /// Where an instant stands that is none of those that have a place: between its neighbours.
    fn x(&self, instant: u64) -> f64 {
        let before = self.places.range(..=instant).next_back();
        let after = self.places.range(instant..).next();
        match (before, after) {
            (Some((from, left)), Some((to, right))) if to > from => {
                left + (right - left) * (instant - from) as f64 / (to - from) as f64
            }
            (Some((_, place)), _) | (None, Some((_, place))) => *place,
            (None, None) => LEFT,
        }
    }

    fn y(&self, op: &Part) -> f64 {
        self.top + LANE * self.lanes[op.process.as_str()] as f64 + 20.0
    }

    /// Where an operation begins.
    fn start(&self, op: &Part) -> f64 {
        self.starts.get(&op.name).copied().unwrap_or_else(|| self.x(op.from))
    }

    fn ends(&self, op: &Part) -> f64 {
        let from = self.start(op);
        op.to.map_or(self.width - 6.0, |to| self.x(to)).max(from + 8.0)
    }

    fn band(&self, row: usize, band: &crate::faults::Band) -> Markup {
        let first = self.places.keys().next().copied().unwrap_or(0);
        let last = self.places.keys().next_back().copied().unwrap_or(0);
        let from = if band.from <= first { LEFT } else { self.x(band.from) };
        let to = if band.to >= last { self.width } else { self.x(band.to) };
        let y = 2.0 + BAND * row as f64;
        let (words, height) = (band.in_words(), self.height() - y);
        html! {
            g {
                title { (words) " in force from " (at(band.from)) " to " (at(band.to)) }
                rect.band x=(px(from)) y=(px(y)) width=(px(to - from)) height=(px(height)) {}
                rect.bandhead x=(px(from)) y=(px(y)) width=(px(to - from)) height="3" {}
                text.bandname x=(px(LEFT.max(from) + 4.0)) y=(px(y + 14.0)) { (words) }
            }
        }
    }

    fn lane(&self, process: &str, lane: usize) -> Markup {
        let y = self.top + LANE * lane as f64;
        let middle = y + 20.0 + BAR / 2.0;
        html! {
            line.lane x1=(px(LEFT)) x2=(px(self.width)) y1=(px(middle)) y2=(px(middle)) {}
            text.lanename x="2" y=(px(y + 31.0)) { "process " (cut(process.to_owned(), 6)) }
        }
    }

    fn cut(&self, place: f64, silence: u64) -> Markup {
        let (top, bottom) = (self.top, self.bottom() + 3.0);
        html! {
            g {
                title { "Here " (span(silence)) " are left out" }
                line.cut x1=(px(place)) x2=(px(place)) y1=(px(top)) y2=(px(bottom)) {}
                text.cutname x=(px(place)) y=(px(bottom + 11.0)) text-anchor="middle" { (later(silence)) }
            }
        }
    }

    fn bar(&self, op: &Part) -> Markup {
        let (from, to, y) = (self.start(op), self.ends(op), self.y(op));
        let role = match op.role {
            Role::Victim => "victim",
            Role::Culprit => "culprit",
            Role::Shows => "shows",
            Role::Beside => "beside",
        };
        let outcome = match op.outcome {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Info => "info",
        };
        html! {
            g class=(format!("op {role} {outcome}")) data-op=(op.name) {
                title {
                    "#" (op.name) " by process " (op.process) ": " (op.label) ", from " (at(op.from))
                    @if let Some(to) = op.to { " to " (at(to)) } @else { ", never answered" }
                    @if let Some(node) = &op.node { ", through " (node) }
                }
                rect.bar x=(px(from)) y=(px(y)) width=(px(to - from)) height=(px(BAR)) rx="2" {}
            }
        }
    }

    /// What is written at an operation: above everything that is drawn.
    fn words(&self, op: &Part) -> Markup {
        let (from, y) = (self.start(op), self.y(op));
        let label = if op.role == Role::Beside { "label" } else { "label strong" };
        html! {
            text class=(label) x=(px(from)) y=(px(y - 5.0)) {
                tspan.number { "#" (op.name) } " " (cut(op.label.clone(), 30))
            }
            text.when x=(px(from)) y=(px(y + BAR + 11.0)) { (when(op, self.clock)) }
        }
    }

    fn arrow(&self, arrow: &Arrow, head: &str, replaced: &str) -> Markup {
        let find = |name| self.story.ops.iter().find(|op| op.name == name);
        let (Some(from), Some(to)) = (find(arrow.from), find(arrow.to)) else { return html! {} };
        let (y1, y2) = (self.y(from), self.y(to));
        let (class, marker, words, path) = match arrow.why {
            Why::Context => {
                let (x1, x2) = (self.ends(from), self.start(to));
                let (y1, y2) = (y1 + BAR / 2.0, y2 + BAR / 2.0);
                // From the end of a get to the beginning of the put that used it.
                let path = format!("M{x1:.1} {y1:.1} L{:.1} {y2:.1}", x2.max(x1 + 6.0));
                ("arrow", head, "builds on", path)
            }
            Why::Replaced => {
                let (x1, x2) = (self.start(from) + 5.0, self.start(to) + 5.0);
                let (y1, y2) =
                    if y2 > y1 { (y1 + BAR, y2 - 16.0) } else { (y1 - 16.0, y2 + BAR - 1.0) };
                let path =
                    format!("M{x1:.1} {y1:.1} C{x1:.1} {y2:.1} {x2:.1} {y1:.1} {x2:.1} {y2:.1}");
                ("arrow replaced", replaced, "takes the place of", path)
            }
        };
        html! {
            path class=(class) d=(path) marker-end=(format!("url(#{marker})")) {
                title { "#" (arrow.from) " " (words) " #" (arrow.to) }
            }
        }
    }

    /// The order that was tried: a number in each bar, at an instant at which it can have happened.
    fn order(&self) -> Markup {
        let Some(order) = &self.story.order else { return html! {} };
        let mut instant = 0;
        let mut dots = Vec::new();
        for (number, name) in (1..).zip(&order.explained) {
            let Some(op) = self.story.ops.iter().find(|op| op.name == *name) else { continue };
            instant = op.from.max(instant);
            dots.push((number, self.x(instant).max(self.start(op)), self.y(op)));
        }
        let stuck = self.story.ops.iter().find(|op| op.name == order.stuck);
        html! {
            @for (number, x, y) in dots {
                circle.point cx=(px(x + 5.0)) cy=(px(y + BAR / 2.0)) r="7" {}
                text.pointname x=(px(x + 5.0)) y=(px(y + BAR / 2.0 + 3.5)) text-anchor="middle" { (number) }
            }
            @if let Some(op) = stuck {
                text.nowhere x=(px(self.ends(op) + 4.0)) y=(px(self.y(op) + BAR - 2.0)) { "?" }
            }
        }
    }
}

/// How wide what is written at an operation is.
fn written(op: &Part, clock: Clock) -> f64 {
    let label = op.label.chars().count().min(30) + 2 + op.name.to_string().len();
    let when = when(op, clock).chars().count();
    LETTER * label.max(when) as f64
}

fn when(op: &Part, clock: Clock) -> String {
    let through = op.node.as_ref().map(|node| format!(" via {}", cut(node.clone(), 12)));
    let took = op.to.map_or_else(|| "no answer".to_owned(), |to| span(to - op.from));
    format!("{}, {took}{}", clock.at(op.from), through.unwrap_or_default())
}

/// What is written where a silence was cut.
fn later(silence: u64) -> String {
    format!("{} later", span(silence))
}

fn px(place: f64) -> String {
    format!("{place:.1}")
}
