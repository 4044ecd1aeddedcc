//! What nodes measure of themselves, read again and again while something happens to them, as a picture.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use dyno_page::{Line, Panel, Stretch, lines};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Between two readings: as often as is seen in a picture of a minute.
const READ_EVERY: Duration = Duration::from_millis(500);
/// One that has not answered by then has too much to do; there is none of that moment.
const PATIENCE: Duration = Duration::from_millis(400);
/// What is slower than one request in so many.
const SLOWEST: f64 = 0.99;
/// How long puts took, by how many took no longer than this.
const TOOK: &str = "dynamo_request_seconds_bucket{op=\"put\",le=\"";

/// What nodes said, and when.
pub(super) struct Watch {
    addresses: Vec<SocketAddr>,
    begun: Instant,
    readings: Vec<(f64, Reading)>,
}

/// What all nodes said at one time, added up.
#[derive(Clone, Debug, Default, PartialEq)]
struct Reading(BTreeMap<String, f64>);

impl Watch {
    /// Of nodes that tell it there. Of none nothing is read.
    pub(super) fn begin(addresses: &[SocketAddr]) -> Self {
        let (addresses, begun) = (addresses.to_vec(), Instant::now());
        Self { addresses, begun, readings: Vec::new() }
    }

    /// How many seconds ago it began.
    pub(super) fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Reads until this is done.
    pub(super) async fn during<T>(&mut self, what: impl Future<Output = T>) -> T {
        let mut what = pin!(what);
        if self.addresses.is_empty() {
            return what.await;
        }
        let mut ticks = interval(READ_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut what => return done,
                _ = ticks.tick() => {}
            }
            let reading = timeout(PATIENCE, read_all(&self.addresses));
            let read = tokio::select! {
                done = &mut what => return done,
                read = reading => read,
            };
            if let Ok(Ok(reading)) = read {
                self.readings.push((self.now(), reading));
            }
        }
    }

    /// The picture, with what was asked of them and when, in seconds.
    pub(super) fn drawn(&self, stretches: &[(String, f64, f64)]) -> String {
        let stretches: Vec<_> = stretches
            .iter()
            .map(|(name, from, to)| Stretch { name: name.clone(), from: *from, to: *to })
            .collect();
        let panels = [
            Panel {
                title: "Requests a second",
                lines: vec![
                    self.changes("done", |change| {
                        change.of("dynamo_acknowledged_total") + change.of("dynamo_gets_total")
                    }),
                    self.changes("refused", |change| change.of("dynamo_overloaded_total")),
                ],
            },
            Panel {
                title: "Requests that are not answered",
                lines: vec![self.moments("", |now| now.of("dynamo_open_requests"))],
            },
            Panel {
                title: "MB held for clients, peers and disks",
                lines: vec![self.moments("", |now| {
                    let held = ["open_request_bytes", "undurable_bytes", "link_queue_bytes"];
                    held.map(|of| now.all(&format!("dynamo_{of}"))).iter().sum::<f64>() / 1e6
                })],
            },
            Panel {
                title: "Milliseconds from reading a put to its answer: 99 of 100 take no longer",
                lines: vec![self.slowest()],
            },
        ];
        let title = "Three nodes with too much to do, as they measured it themselves";
        lines(title, &panels, &stretches)
    }

    /// What is of a moment.
    fn moments(&self, name: &'static str, of: impl Fn(&Reading) -> f64) -> Line {
        Line { name, points: self.readings.iter().map(|(at, now)| (*at, of(now))).collect() }
    }

    /// What is counted, a second.
    fn changes(&self, name: &'static str, of: impl Fn(&Reading) -> f64) -> Line {
        let rates = self.pairs().map(|(at, seconds, change)| (at, of(&change) / seconds));
        Line { name, points: rates.collect() }
    }

    fn slowest(&self) -> Line {
        let took = self.pairs().filter_map(|(at, _, change)| Some((at, 1e3 * change.slowest()?)));
        Line { name: "", points: took.collect() }
    }

    /// The middle between each two readings, how many seconds lie between them, and what was counted.
    fn pairs(&self) -> impl Iterator<Item = (f64, f64, Reading)> + '_ {
        self.readings.windows(2).map(|pair| {
            let [(from, before), (to, after)] = pair else { unreachable!("windows of two") };
            ((from + to) / 2.0, to - from, after.since(before))
        })
    }
}

impl Reading {
    fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Whatever it is told of.
    fn all(&self, name: &str) -> f64 {
        let told = self.0.range(name.to_owned()..).take_while(|(told, _)| told.starts_with(name));
        told.map(|(_, value)| value).sum()
    }

    fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().map(|(name, now)| (name.clone(), now - before.of(name))).collect())
    }

    /// How long the slowest of a hundred puts took at least, in seconds: within the step of the histogram as
    /// if they lay evenly in it. None if there was no put.
    fn slowest(&self) -> Option<f64> {
        let told = self.0.range(TOOK.to_owned()..).take_while(|(name, _)| name.starts_with(TOOK));
        let mut steps: Vec<(f64, f64)> = told
            .filter_map(|(name, count)| {
                let most = name.strip_prefix(TOOK)?.strip_suffix("\"}")?;
                Some((if most == "+Inf" { f64::INFINITY } else { most.parse().ok()? }, *count))
            })
            .collect();
        steps.sort_by(|one, other| one.0.total_cmp(&other.0));
        let rank = SLOWEST * steps.last().filter(|all| all.1 > 0.0)?.1;
        let at = steps.iter().position(|(_, count)| *count >= rank)?;
        let (from, below) = at.checked_sub(1).map_or((0.0, 0.0), |before| steps[before]);
        let (to, within) = (steps[at].0, steps[at].1 - below);
        Some(if to.is_finite() { from + (to - from) * (rank - below) / within } else { from })
    }
}

async fn read_all(addresses: &[SocketAddr]) -> io::Result<Reading> {
    let read = futures::future::try_join_all(addresses.iter().map(|address| read(*address)));
    let mut all = Reading::default();
    for text in read.await? {
        for (name, value) in samples(&text) {
            *all.0.entry(name.to_owned()).or_default() += value;
        }
    }
    Ok(all)
}

async fn read(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// The samples of Prometheus' text, each with all its labels; what comes before them is no sample.
fn samples(text: &str) -> impl Iterator<Item = (&str, f64)> {
    let told = text.lines().filter(|line| line.starts_with("dynamo_"));
    told.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name, value.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Reading {
        Reading(samples(text).map(|(name, value)| (name.to_owned(), value)).collect())
    }

    #[test]
    fn how_long_the_slowest_took_is_read_off_a_histogram() {
        let text = |counts: [u32; 3]| {
            let steps = ["0.001", "0.01", "+Inf"].iter().zip(counts);
            steps.map(|(most, count)| format!("{TOOK}{most}\"}} {count}\n")).collect::<String>()
        };
        let slowest = |counts| reading(&text(counts)).slowest();
        assert_eq!(slowest([0, 0, 0]), None);
        let near = |took: Option<f64>, expected: f64| {
            assert!(took.is_some_and(|took| (took - expected).abs() < 1e-9), "{took:?}");
        };
        near(slowest([100, 100, 100]), 0.00099);
        near(slowest([98, 100, 100]), 0.0055);
        near(slowest([50, 90, 100]), 0.01);
    }

    #[test]
    fn what_nodes_say_is_told_a_second_and_in_the_order_of_time() {
        let said = |done: u32, open: u32| {
            reading(&format!(
                "HTTP/1.0 200 OK\r\n# HELP dynamo_acknowledged_total\ndynamo_acknowledged_total {done}\n\
                 dynamo_link_queue_bytes{{peer=\"2\"}} {open}\ndynamo_link_queue_bytes{{peer=\"3\"}} 1\n"
            ))
        };
        let mut watch = Watch::begin(&[]);
        watch.readings = vec![(1.0, said(10, 0)), (3.0, said(110, 7)), (4.0, said(110, 9))];
        let done = watch.changes("done", |change| change.of("dynamo_acknowledged_total"));
        assert_eq!(done.points, [(2.0, 50.0), (3.5, 0.0)]);
        let held = watch.moments("", |now| now.all("dynamo_link_queue_bytes"));
        assert_eq!(held.points, [(1.0, 1.0), (3.0, 8.0), (4.0, 10.0)]);
        assert!(watch.drawn(&[("more".to_owned(), 2.0, 4.0)]).starts_with("<svg"));
    }
}
