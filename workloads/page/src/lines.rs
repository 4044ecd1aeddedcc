//! Lines over time: what was measured again and again, as an SVG file that needs nothing else.

use maud::{Markup, PreEscaped, html};

use crate::words::grouped;

const WIDE: f64 = 760.0;
/// Where the axes stand.
const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDE - 12.0;
/// Above the first panel, of each panel with its title, and of what is drawn of it.
const HEAD: f64 = 34.0;
const PANEL: f64 = 152.0;
const DRAWN: f64 = 104.0;
/// The width of a letter.
const LETTER: f64 = 6.6;
/// Into how many parts an axis of time is cut, at most.
const TICKS: f64 = 10.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600}\
    .axis{stroke:#888}.grid{stroke:#e4e4e4}.stretch{fill:#f3e8d6}\
    polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}\
    polyline.l0,rect.l0{stroke:#1b6ca8}polyline.l1,rect.l1{stroke:#b3401f}polyline.l2,rect.l2{stroke:#3f7d3a}\
    rect.l0{fill:#1b6ca8}rect.l1{fill:#b3401f}rect.l2{fill:#3f7d3a}";

/// What has one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What is measured, and in what.
    pub title: &'static str,
    /// Three at most are told apart by their colours.
    pub lines: Vec<Line>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Whose it is; empty if the panel's title says it.
    pub name: &'static str,
    /// When, in seconds, and how much: from 0 up.
    pub points: Vec<(f64, f64)>,
}

/// A time that has a name, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// What went on.
    pub name: String,
    /// From when.
    pub from: f64,
    /// Until when.
    pub to: f64,
}

/// The picture: `panels` below each other, over one axis of time.
#[must_use]
pub fn lines(title: &str, panels: &[Panel], stretches: &[Stretch]) -> String {
    let all = panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let ends = all.map(|(at, _)| *at).chain(stretches.iter().map(|stretch| stretch.to));
    let span = ends.fold(1.0, f64::max);
    let high = HEAD + PANEL * panels.len() as f64 + 16.0;
    let drawn = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDE} {high}")) role="img" {
            title { (title) }
            style { (PreEscaped(STYLE)) }
            rect width=(WIDE) height=(high) fill="#fff" {}
            text.title x="8" y="20" { (title) }
            @for (place, panel) in panels.iter().enumerate() {
                (drawn(panel, HEAD + PANEL * place as f64, span, stretches, place == 0))
            }
            @for second in ticks(span) {
                text x=(px(x(second, span))) y=(px(high - 8.0)) text-anchor="middle" {
                    (number(second)) " s"
                }
            }
        }
    };
    drawn.into_string()
}

fn drawn(panel: &Panel, top: f64, span: f64, stretches: &[Stretch], is_first: bool) -> Markup {
    let (above, below) = (top + 24.0, top + 24.0 + DRAWN);
    let points = panel.lines.iter().flat_map(|line| &line.points);
    let most = round_up(points.map(|(_, value)| *value).fold(0.0, f64::max));
    let y = |value: f64| below - DRAWN * value / most;
    // Where each line's name begins.
    let mut end = LEFT + LETTER * (panel.title.chars().count() + 3) as f64;
    let width = |line: &Line| LETTER * (line.name.chars().count() + 5) as f64;
    let begin = |line| {
        end += width(line);
        end - width(line)
    };
    let names: Vec<_> = panel.lines.iter().map(begin).collect();
    html! {
        @for stretch in stretches {
            @let (from, to) = (x(stretch.from, span), x(stretch.to, span));
            rect.stretch x=(px(from)) y=(px(above)) width=(px(to - from)) height=(px(DRAWN)) {
                title { (stretch.name) }
            }
            @if is_first {
                text x=(px(from + 4.0)) y=(px(above + 13.0)) { (stretch.name) }
            }
        }
        text.title x=(px(LEFT)) y=(px(top + 16.0)) { (panel.title) }
        @for (which, line) in panel.lines.iter().enumerate().filter(|(_, line)| !line.name.is_empty()) {
            @let begin = names[which];
            rect class=(format!("l{which}")) x=(px(begin)) y=(px(top + 8.0)) width="12" height="6" {}
            text x=(px(begin + 17.0)) y=(px(top + 16.0)) { (line.name) }
        }
        @for part in [0.0, 0.5, 1.0] {
            @let class = if part == 0.0 { "axis" } else { "grid" };
            line class=(class) x1=(px(LEFT)) x2=(px(RIGHT)) y1=(px(y(most * part))) y2=(px(y(most * part))) {}
            text x=(px(LEFT - 6.0)) y=(px(y(most * part) + 4.0)) text-anchor="end" { (number(most * part)) }
        }
        @for (which, line) in panel.lines.iter().enumerate() {
            @let point = |(at, value): &(f64, f64)| format!("{},{} ", px(x(*at, span)), px(y(*value)));
            polyline class=(format!("l{which}")) points=(line.points.iter().map(point).collect::<String>()) {}
        }
    }
}

fn x(second: f64, span: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * second / span
}

/// Whole steps of time, from 0.
fn ticks(span: f64) -> impl Iterator<Item = f64> {
    let step = round_up(span / TICKS);
    (0..).map(move |tick| f64::from(tick) * step).take_while(move |at| *at <= span)
}

/// The next that is 1, 2 or 5 times a power of ten; 1 of nothing.
fn round_up(most: f64) -> f64 {
    if most <= 0.0 || !most.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    // A hair above a step is that step: it came of rounding.
    steps.into_iter().find(|step| most <= *step * (1.0 + 1e-9)).unwrap_or(10.0 * power)
}

fn number(value: f64) -> String {
    match value {
        value if value == value.round() => grouped(value as u64),
        value => format!("{value}"),
    }
}

fn px(place: f64) -> String {
    format!("{place:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_that_holds_all() {
        for (most, end) in
            [(0.0, 1.0), (1.0, 1.0), (1.01, 2.0), (0.3, 0.5), (4999.0, 5000.0), (5001.0, 10000.0)]
        {
            assert!((round_up(most) - end).abs() < 1e-9, "{most}: {}", round_up(most));
        }
        assert_eq!(
            ticks(70.0).collect::<Vec<_>>(),
            [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0]
        );
    }

    #[test]
    fn every_point_lies_within_the_picture_and_nothing_of_it_is_markup() {
        let points = (0..50).map(|at| (f64::from(at), f64::from(at * at)));
        let line = Line { name: "squares", points: points.collect() };
        let panel = Panel { title: "numbers", lines: vec![line.clone(), line] };
        let stretch = Stretch { name: "<b>".to_owned(), from: 10.0, to: 49.0 };
        let drawn = lines("what it is", &[panel.clone(), panel], &[stretch]);
        assert!(
            drawn.starts_with("<svg xmlns=")
                && drawn.contains("&lt;b&gt;")
                && !drawn.contains("<b>")
        );
        let polylines: Vec<_> = drawn.split("points=\"").skip(1).collect();
        assert_eq!(polylines.len(), 4);
        for polyline in polylines {
            let points = polyline.split('"').next().unwrap().split_whitespace();
            for point in points {
                let (x, y) = point.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!(
                    (LEFT..=RIGHT).contains(&x) && (HEAD..=HEAD + 2.0 * PANEL).contains(&y),
                    "{point}"
                );
            }
        }
    }
}
