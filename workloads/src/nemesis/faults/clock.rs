//! The wall clock of a host is wrong: ahead or back, jumping, or too fast or too slow.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dynamo_protocol::{NodeId, Skew};
use dynamo_sim::World;
use rand::Rng;
use serde_json::{Value, json};

use super::kind::{Kind, Nature, Whom};
use crate::cluster::{Cluster, Life};
use crate::nemesis::draw::Draw;
use crate::nemesis::proof::{Site, Unproven, until};
use crate::plan::{FaultPlan, Plan, Span, Wrong, within};
use crate::simulated::twin::{Drawn, Each, Twin};

/// A clock that is further off than this is another century's.
const MOST: Span = Span::secs(24 * 3600);
/// A clock that is as little off as this, beside what a question takes, goes as it should, in microseconds:
/// the driver's own may be stepped meanwhile.
const RIGHT: i64 = 100_000;
/// What a clock of another speed has to gain or lose until that is seen, in microseconds.
const GAIN: i64 = 150_000;
/// In parts per million: half as fast, and three times as fast.
const RATES: [u64; 2] = [500_000, 3_000_000];
/// For how long a clock that jumps stays where it is, in milliseconds.
const PERIODS: std::ops::Range<u64> = 20..200;

/// The clock of this node is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Whose.
    pub node: NodeId,
    /// By how much it is ahead, or, if that is negative, back, in microseconds.
    pub offset: i64,
    /// How it comes to be.
    pub how: How,
}

/// How a clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was set wrong once.
    Bump,
    /// It jumps to and fro, and stays for so long.
    Strobe(Duration),
    /// It goes at this rate, in parts per million, until it is set right.
    Rate(u64),
}

impl Clock {
    fn skew(&self) -> Skew {
        match self.how {
            How::Bump => Skew { offset_us: self.offset, ..Skew::NONE },
            How::Strobe(period) => {
                let strobe_us = u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
                Skew { offset_us: self.offset, strobe_us, ..Skew::NONE }
            }
            How::Rate(rate_ppm) => Skew { rate_ppm, ..Skew::NONE },
        }
    }

    /// What readings have shown of it so far, if it is as it is to be. Each is a bound from below and one
    /// from above of how far the clock is ahead of what it was ahead before.
    fn shows(&self, readings: &[(i64, i64)]) -> bool {
        let half = self.offset / 2;
        let is_off = |(least, most): &(i64, i64)| {
            if half > 0 { *least > half } else { *most < half }
        };
        let is_right = |(least, most): &(i64, i64)| *least < RIGHT && *most > -RIGHT;
        match self.how {
            How::Bump => readings.last().is_some_and(is_off),
            How::Strobe(_) => readings.iter().any(is_off) && readings.iter().any(is_right),
            How::Rate(rate) => readings.last().is_some_and(|(least, most)| match rate {
                0..1_000_000 => *most < -GAIN,
                _ => *least > GAIN,
            }),
        }
    }
}

impl Kind for Clock {
    const NATURE: Nature = Nature::of_hooks("the node's clock hook");

    fn bounds(settings: &FaultPlan) -> Result<(), Wrong> {
        // What is less may be taken for what a question takes.
        within(&["fault.clock"], settings.clock, Span::millis(500), MOST)
    }

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_targets()
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let node = *draw.running(at)?.first()?;
        let size = i64::try_from(draw.plan.fault.clock.0.as_micros()).unwrap_or(i64::MAX);
        let offset = if draw.rng.random() { size } else { -size };
        let how = match draw.rng.random_range(0..3) {
            0 => How::Bump,
            1 => How::Strobe(Duration::from_millis(draw.rng.random_range(PERIODS))),
            _ => How::Rate(RATES[usize::from(offset > 0)]),
        };
        Some(Self { node, offset, how })
    }

    fn aimed_at(&self, node: NodeId) -> Self {
        Self { node, ..self.clone() }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(std::slice::from_ref(&self.node))
    }

    /// Who ends forgets what it was told to do.
    fn holds(&self) -> &[NodeId] {
        std::slice::from_ref(&self.node)
    }

    /// In force when the clock has been read and was wrong as it is to be.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let before = read(site.cluster, self.node, Some(Skew::NONE)).await?;
        read(site.cluster, self.node, Some(self.skew())).await?;
        let mut readings = Vec::new();
        let seen = until(async || {
            let now = read(site.cluster, self.node, None).await.ok()?;
            let ahead = (now.0 - before.1, now.1 - before.0);
            readings.push(ahead);
            self.shows(&readings).then_some(ahead)
        });
        let (least, most) = seen.await;
        let (node, how) = (self.node, self.how);
        Ok(json!([format!("{node}: {how:?}, seen ahead by {least} to {most} us")]))
    }

    /// Healed when it has been read again and is right.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let (cluster, node) = (site.cluster, self.node);
        let seen = until(async || match cluster.life(node) {
            Life::Runs(_) => {
                read(cluster, node, Some(Skew::NONE)).await.ok()?;
                let (least, most) = read(cluster, node, None).await.ok()?;
                // Hosts whose own clocks are far apart are not told by it, but those agree that are one's.
                Some(format!("{node}: is set right, ahead of the driver's by {least} to {most} us"))
            }
            Life::Gone => Some(format!("{node}: is down, and forgets it")),
            Life::Stopped(_) => None,
        });
        Ok(json!([seen.await]))
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        skewed(self.node, self.skew())
    }
}

/// Reads a node's clock, once it is set wrong, if it is to be: how far it is ahead of this one, at least
/// and at most, in microseconds.
async fn read(
    cluster: &impl Cluster,
    node: NodeId,
    skew: Option<Skew>,
) -> Result<(i64, i64), Unproven> {
    let asked = now();
    let reads = i64::try_from(cluster.clock(node, skew).await?).unwrap_or(i64::MAX);
    Ok((reads - now(), reads - asked))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("clock", |luck| {
    Some(skewed(luck.one, drawn(luck.rng.random_range(-2_000_000..2_000_000))))
});

/// Of one number, so that what else is drawn is what it was when all clocks were set wrong once.
fn drawn(number: i64) -> Skew {
    let (which, rest) = (number.rem_euclid(3), number.unsigned_abs() / 3);
    let how = match which {
        0 => How::Bump,
        1 => {
            How::Strobe(Duration::from_millis(PERIODS.start + rest % (PERIODS.end - PERIODS.start)))
        }
        _ => How::Rate(RATES[usize::from(number > 0)]),
    };
    Clock { node: NodeId(1), offset: number, how }.skew()
}

/// The clock of this node's host is off like this.
#[must_use]
pub fn skewed(node: NodeId, skew: Skew) -> Arc<dyn Twin> {
    let is_off = |world: &World, node| world.bench().host(node).skew() != Skew::NONE;
    let begin = move |world: &mut World, node| world.clock(node, skew);
    let each = Each::new(vec![node], begin, |world, node| world.clock(node, Skew::NONE));
    Arc::new(each.seen(is_off))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AHEAD: (i64, i64) = (1_999_000, 2_001_000);
    const RIGHT: (i64, i64) = (-900, 1_100);

    fn shows(offset: i64, how: How, readings: &[(i64, i64)]) -> bool {
        Clock { node: NodeId(1), offset, how }.shows(readings)
    }

    #[test]
    fn a_clock_that_is_right_is_none_that_was_set_wrong() {
        assert!(shows(2_000_000, How::Bump, &[AHEAD]));
        assert!(!shows(2_000_000, How::Bump, &[RIGHT]));
        assert!(!shows(-2_000_000, How::Bump, &[AHEAD]), "it is ahead, and not back");
    }

    #[test]
    fn a_clock_jumps_that_was_seen_at_both_places() {
        let strobe = How::Strobe(Duration::from_millis(50));
        assert!(shows(2_000_000, strobe, &[AHEAD, AHEAD, RIGHT]));
        assert!(!shows(2_000_000, strobe, &[AHEAD, AHEAD]));
        assert!(!shows(2_000_000, strobe, &[RIGHT]));
    }

    #[test]
    fn drawn_clocks_are_wrong_in_every_way_that_a_plan_has() {
        let skews: Vec<_> = (-3_000..3_000).map(|number| drawn(number * 601)).collect();
        let count = |is: fn(&Skew) -> bool| skews.iter().filter(|skew| is(skew)).count();
        for rate in RATES {
            assert!(skews.iter().filter(|skew| skew.rate_ppm == rate).count() > 500);
        }
        assert!(count(|skew| skew.strobe_us > 0) > 1_500);
        assert!(count(|skew| skew.rate_ppm == 1_000_000 && skew.strobe_us == 0) > 1_500);
        for Skew { strobe_us, .. } in skews.iter().filter(|skew| skew.strobe_us > 0) {
            assert!(PERIODS.contains(&(strobe_us / 1_000)));
        }
    }

    #[test]
    fn a_clock_that_gains_is_fast() {
        assert!(shows(1, How::Rate(3_000_000), &[RIGHT, (200_000, 201_000)]));
        assert!(!shows(1, How::Rate(3_000_000), &[RIGHT]));
        assert!(shows(-1, How::Rate(500_000), &[(-301_000, -300_000)]));
        assert!(!shows(-1, How::Rate(500_000), &[AHEAD]));
    }
}
