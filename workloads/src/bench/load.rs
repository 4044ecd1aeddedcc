//! A load, the same whoever serves it: callers, keys, values, and how soon each request begins.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use dyno_command::{Span, span_within, within};
use hdrhistogram::Histogram;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::usage::Usage;
use super::{Failure, rounded};

/// How long a caller that was refused waits before it asks again: a refusal is an answer, and asking at once
/// would measure how fast a server can refuse.
const AFTER_A_REFUSAL: Duration = Duration::from_millis(1);
/// How often a key is put beforehand until it is there: a machine that is busy for a moment ends no bench.
const TRIES: u32 = 10;
/// How long requests under way may take when the time is up.
const LAST: Duration = Duration::from_secs(10);

/// What is asked, and how often.
#[derive(Clone, Debug, Args)]
pub(super) struct LoadArgs {
    /// How many requests are under way at a time, at most.
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = within(1_usize, 10_000))]
    pub(super) callers: usize,
    /// How many of a hundred requests are puts; the others are gets.
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = within(0_u8, 100))]
    pub(super) put: u8,
    /// How long values are, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = within(0_usize, 1 << 20))]
    pub(super) value: usize,
    /// Of how many keys one is drawn for each request.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000,
          value_parser = within(1_usize, 10_000_000))]
    pub(super) keys: usize,
    /// How uneven that is: the exponent of Zipf's law; 0 draws all keys alike.
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.0, value_parser = within(0.0, 5.0))]
    pub(super) zipf: f64,
    /// Begin this many requests a second, evenly, whether or not earlier ones are answered, and measure each
    /// from when it should have begun; if not given, a caller asks when it was answered.
    #[arg(long, value_name = "PER_SECOND", value_parser = within(0.1, 1e7))]
    pub(super) rate: Option<f64>,
    /// How long it is measured.
    #[arg(long, value_name = "TIME", default_value = "10s",
          value_parser = span_within(Span::millis(100), Span::secs(24 * 3600)))]
    pub(super) time: Span,
    /// How long the same load runs before that.
    #[arg(long, value_name = "TIME", default_value = "1s",
          value_parser = span_within(Span::millis(0), Span::secs(3600)))]
    pub(super) warm_up: Span,
    /// Where every draw comes from.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As hoped.
    Done,
    /// Surely not applied.
    Refused,
    /// Nobody knows.
    Unanswered,
}

/// Somebody who serves: each caller has one of its own.
pub(super) trait Store {
    /// Puts a value under a key that has none, or whose value may be overwritten.
    async fn put(&self, key: &str, value: Bytes) -> Ending;

    /// Gets what is under a key.
    async fn get(&self, key: &str) -> Ending;
}

/// What came of a load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Measured {
    /// Requests that were done, a second.
    pub(super) ops_per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    /// Processor time of all servers together, in microseconds, over the requests that were done.
    pub(super) server_cpu_us_per_op: f64,
    /// Memory of all servers together, in MB (10^6 bytes), when the time was up.
    pub(super) rss_mb: f64,
    /// Requests that were refused.
    pub(super) refused: u64,
    /// Requests of which nobody knows what became.
    pub(super) unanswered: u64,
    /// The longest any took that was done.
    pub(super) max_ms: f64,
    /// How many were done.
    pub(super) ops: u64,
    /// How long it was measured.
    pub(super) seconds: f64,
}

/// Draws keys by Zipf's law.
#[derive(Debug)]
struct Keys {
    /// What part of all draws is of this key or one before it; none if all are alike.
    up_to: Vec<f64>,
    count: usize,
}

impl Keys {
    fn new(count: usize, exponent: f64) -> Self {
        if exponent == 0.0 {
            return Self { up_to: Vec::new(), count };
        }
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = Vec::with_capacity(count);
        for rank in 1..=count {
            sum += (rank as f64).powf(-exponent);
            up_to.push(sum);
        }
        up_to.iter_mut().for_each(|share| *share /= sum);
        Self { up_to, count }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> usize {
        if self.up_to.is_empty() {
            return rng.random_range(0..self.count);
        }
        let drawn = rng.random::<f64>();
        self.up_to.partition_point(|share| *share < drawn).min(self.count - 1)
    }
}

/// When requests begin.
struct Pace {
    /// Of the open loop: a permit for each request that is due.
    due: Option<Arc<Semaphore>>,
    begun: Cell<u64>,
    start: Instant,
    rate: f64,
}

impl Pace {
    /// From when the next request is measured: in the open loop from when it should have begun.
    async fn next(&self) -> Instant {
        let Some(due) = &self.due else { return Instant::now() };
        // It is never closed.
        if let Ok(permit) = due.acquire().await {
            permit.forget();
        }
        let number = self.begun.replace(self.begun.get() + 1);
        self.start + Duration::from_secs_f64(number as f64 / self.rate)
    }
}

/// Adds a permit whenever a request is due, until it is dropped. A thread of its own: timers of the runtime
/// are a millisecond late.
struct Ticker(Arc<AtomicBool>);

impl Ticker {
    fn start(due: Arc<Semaphore>, start: Instant, rate: f64) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        std::thread::spawn(move || {
            let mut added = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                let until_now = (start.elapsed().as_secs_f64() * rate) as u64 + 1;
                due.add_permits(usize::try_from(until_now - added).unwrap_or(0));
                added = until_now;
                let next = Duration::from_secs_f64(added as f64 / rate);
                std::thread::sleep(next.saturating_sub(start.elapsed()));
            }
        });
        Self(ends)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What callers have in common.
struct Round {
    pace: Pace,
    keys: Keys,
    value: Bytes,
    put: u8,
    /// From when on requests are counted, and until when they begin.
    from: Instant,
    until: Instant,
    tally: RefCell<Tally>,
}

struct Tally {
    /// Of what was done, in microseconds.
    latency: Histogram<u64>,
    refused: u64,
    unanswered: u64,
}

impl Round {
    async fn call<S: Store>(self: Rc<Self>, store: S, mut rng: ChaCha8Rng) {
        loop {
            let begins = self.pace.next().await;
            if Instant::now() >= self.until {
                return;
            }
            let key = format!("key-{}", self.keys.draw(&mut rng));
            let ending = if rng.random_range(0..100) < self.put {
                store.put(&key, self.value.clone()).await
            } else {
                store.get(&key).await
            };
            if begins >= self.from {
                self.count(&ending, begins.elapsed());
            }
            if ending == Ending::Refused {
                tokio::time::sleep(AFTER_A_REFUSAL).await;
            }
        }
    }

    fn count(&self, ending: &Ending, took: Duration) {
        let mut tally = self.tally.borrow_mut();
        match ending {
            Ending::Done => {
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                // It has room for any number: it grows.
                let _ = tally.latency.record(micros.max(1));
            }
            Ending::Refused => tally.refused += 1,
            Ending::Unanswered => tally.unanswered += 1,
        }
    }
}

/// Puts every key once, if some requests are gets: what is not there is found quickly.
async fn prepare<S: Store>(args: &LoadArgs, stores: &[S]) -> Result<(), Failure> {
    if args.put == 100 {
        return Ok(());
    }
    let next = Cell::new(0);
    let value = Bytes::from(vec![b'v'; args.value]);
    let fill = async |store: &S| {
        while next.get() < args.keys {
            let key = format!("key-{}", next.replace(next.get() + 1));
            let mut tries = 0;
            while store.put(&key, value.clone()).await != Ending::Done {
                tries += 1;
                if tries == TRIES {
                    return Err(Failure::Broken(format!("{key} could not be put beforehand")));
                }
                tokio::time::sleep(AFTER_A_REFUSAL).await;
            }
        }
        Ok(())
    };
    let filled = futures::future::join_all(stores.iter().map(fill)).await;
    filled.into_iter().collect()
}

/// Lets each of `stores` be called by one caller, and tells what came of it; `pids` are the servers' whose
/// processor time and memory count.
pub(super) async fn run<S: Store + 'static>(
    args: &LoadArgs,
    stores: Vec<S>,
    pids: &[u32],
) -> Result<Measured, Failure> {
    prepare(args, &stores).await?;
    let start = Instant::now();
    let rate = args.rate.unwrap_or_default();
    let due = args.rate.map(|_| Arc::new(Semaphore::new(0)));
    let from = start + args.warm_up.0;
    let until = from + args.time.0;
    // Three digits of any latency; it grows as it must.
    let latency = Histogram::new(3).map_err(|error| super::broken("count", &error))?;
    let round = Rc::new(Round {
        pace: Pace { due: due.clone(), begun: Cell::new(0), start, rate },
        keys: Keys::new(args.keys, args.zipf),
        value: Bytes::from(vec![b'v'; args.value]),
        put: args.put,
        from,
        until,
        tally: RefCell::new(Tally { latency, refused: 0, unanswered: 0 }),
    });
    let ticker = due.map(|due| Ticker::start(due, start, rate));
    let mut callers = JoinSet::new();
    for (number, store) in (0..).zip(stores) {
        let rng = ChaCha8Rng::seed_from_u64(args.seed ^ number << 32);
        callers.spawn_local(Rc::clone(&round).call(store, rng));
    }
    let usage = || Usage::of(pids.iter().copied()).map_err(Failure::Broken);
    tokio::time::sleep_until(from.into()).await;
    let (before, began) = (usage()?, Instant::now());
    tokio::time::sleep_until(until.into()).await;
    let (used, seconds) = (usage()? - before, began.elapsed().as_secs_f64());
    let ended = tokio::time::timeout(LAST, async { while callers.join_next().await.is_some() {} });
    let ended = ended.await;
    drop(ticker);
    if ended.is_err() {
        return Err(Failure::Broken(format!("requests were still open {LAST:?} after the end")));
    }
    let tally = round.tally.borrow();
    Ok(measured(&tally, used, seconds))
}

fn measured(tally: &Tally, used: Usage, seconds: f64) -> Measured {
    let ops = tally.latency.len();
    let quantile = |share| rounded(tally.latency.value_at_quantile(share) as f64 / 1e3);
    let Tally { refused, unanswered, .. } = *tally;
    Measured {
        ops_per_s: (ops as f64 / seconds).round(),
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        p999_ms: quantile(0.999),
        server_cpu_us_per_op: rounded(used.processor.as_secs_f64() * 1e6 / ops.max(1) as f64),
        rss_mb: rounded(used.resident as f64 / 1e6),
        refused,
        unanswered,
        max_ms: rounded(tally.latency.max() as f64 / 1e3),
        ops,
        seconds: rounded(seconds),
    }
}

impl Measured {
    /// In one line.
    pub(super) fn told(&self) -> String {
        let Self { ops_per_s, p50_ms, p99_ms, p999_ms, max_ms, .. } = self;
        let Self { server_cpu_us_per_op, rss_mb, refused, unanswered, .. } = self;
        format!(
            "{ops_per_s:.0} ops/s; p50 {p50_ms} ms, p99 {p99_ms} ms, p99.9 {p999_ms} ms, max {max_ms} ms; \
             servers {server_cpu_us_per_op:.1} us of processor an op, {rss_mb:.0} MB; {refused} refused, \
             {unanswered} unanswered"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers after a while; the first one after a long one.
    #[derive(Clone)]
    struct Slow(Rc<Cell<u64>>);

    impl Store for Slow {
        async fn put(&self, _: &str, _: Bytes) -> Ending {
            let number = self.0.replace(self.0.get() + 1);
            if number == 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            if number % 10 == 9 { Ending::Refused } else { Ending::Done }
        }

        async fn get(&self, _: &str) -> Ending {
            Ending::Unanswered
        }
    }

    fn args(rate: Option<f64>, put: u8) -> LoadArgs {
        LoadArgs {
            callers: 1,
            put,
            value: 1,
            keys: 10,
            zipf: 0.0,
            rate,
            time: Span::millis(400),
            warm_up: Span::millis(0),
            seed: 1,
        }
    }

    fn load(args: &LoadArgs) -> Measured {
        let store = Slow(Rc::default());
        let load = async { run(args, vec![store], &[std::process::id()]).await };
        super::super::block_on(load).unwrap()
    }

    #[test]
    fn what_should_have_begun_while_one_was_slow_is_measured_from_then() {
        let open = load(&args(Some(1000.0), 100));
        assert!(
            open.p50_ms > 20.0,
            "half of all were due while the first one took 200 ms: {open:?}"
        );
        assert!(open.refused > 10, "{open:?}");
        let closed = load(&args(None, 100));
        assert!(closed.p50_ms < 20.0 && closed.max_ms >= 200.0, "{closed:?}");
    }

    #[test]
    fn what_nobody_knows_is_no_op_that_was_done() {
        // Keys are put beforehand; the store refuses the tenth.
        let mut args = args(Some(200.0), 0);
        args.keys = 5;
        let told = load(&args);
        assert!(told.ops == 0 && told.unanswered > 10, "{told:?}");
    }

    #[test]
    fn keys_are_drawn_by_zipfs_law() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut draw = |exponent| {
            let keys = Keys::new(1000, exponent);
            let mut counts = vec![0_u32; 1000];
            (0..100_000).for_each(|_| counts[keys.draw(&mut rng)] += 1);
            counts
        };
        let even = draw(0.0);
        assert!(even.iter().all(|count| (50..200).contains(count)));
        let skewed = draw(1.0);
        let [first, second] = [skewed[0], skewed[1]].map(f64::from);
        assert!((1.8..2.2).contains(&(first / second)), "{first} {second}");
        assert!(skewed[0] > 50 * skewed[999].max(1) / 2);
    }
}
