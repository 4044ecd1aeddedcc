//! Operations a second, and the faults in force: small enough to stand beside another.

use dyno_page::Band;
use dyno_page::words::{at, grouped};
use maud::{Markup, html};

use crate::tail::Second;

const WIDE: f64 = 600.0;
const HIGH: f64 = 150.0;
/// Where the axes are.
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 132.0;
/// A point for each, at most; beyond that several seconds share one.
const MOST_POINTS: usize = 500;

/// The chart. `span` is how many seconds it shows, `most` how many operations a second are at its top: of two
/// that stand beside each other both are the same.
pub(crate) fn rate(seconds: &[Second], bands: &[Band], span: usize, most: u32) -> Markup {
    let x = |second: f64| LEFT + (WIDE - LEFT - 4.0) * second / span.max(1) as f64;
    let y = |ops: f64| BOTTOM - (BOTTOM - 12.0) * ops / f64::from(most.max(1));
    let proven = bands.iter().filter(|band| band.is_proven);
    html! {
        svg.rate viewBox=(format!("0 0 {WIDE} {HIGH}")) role="img"
            aria-label="Operations a second that ended well, and the faults in force" {
            @for band in proven {
                @let (from, to) = (x(band.from as f64 / 1e9), x(band.to as f64 / 1e9));
                rect.band x=(px(from)) y="12" width=(px((to - from).max(1.0))) height=(px(BOTTOM - 12.0)) {
                    title { (band.in_words()) ", " (at(band.from)) " to " (at(band.to)) }
                }
            }
            @for (class, which) in [("ok", 0), ("fail", 1), ("info", 2)] {
                polyline class=(class) points=(points(seconds, which, &x, &y)) {}
            }
            line.axis x1=(px(LEFT)) x2=(px(WIDE - 4.0)) y1=(px(BOTTOM)) y2=(px(BOTTOM)) {}
            text x=(px(LEFT - 6.0)) y="18" text-anchor="end" { (grouped(u64::from(most))) "/s" }
            text x=(px(LEFT - 6.0)) y=(px(BOTTOM + 3.0)) text-anchor="end" { "0" }
            text x=(px(LEFT)) y=(px(HIGH - 3.0)) { "0 s" }
            text x=(px(WIDE - 4.0)) y=(px(HIGH - 3.0)) text-anchor="end" { (span) " s" }
        }
    }
}

fn points(
    seconds: &[Second],
    which: usize,
    x: &impl Fn(f64) -> f64,
    y: &impl Fn(f64) -> f64,
) -> String {
    let each = seconds.len().div_ceil(MOST_POINTS).max(1);
    let mut points = String::new();
    for (at, group) in seconds.chunks(each).enumerate() {
        let sum: u64 = group.iter().map(|second| u64::from(second.ops[which])).sum();
        let middle = at as f64 * each as f64 + group.len() as f64 / 2.0;
        points += &format!("{},{} ", px(x(middle)), px(y(sum as f64 / group.len() as f64)));
    }
    points
}

fn px(place: f64) -> String {
    format!("{place:.1}")
}
