//! The times of foreign logs.
//!
//! In them the order of events is that of lines or of indices; a time is read off whichever clock
//! the writer had, by whichever thread. So times are for display and staleness: here they become
//! timestamps that rise with the events, as near to the times as that lets them.

use serde_json::Value;

/// When an op says that it was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Clock {
    /// It does not say.
    #[default]
    None,
    /// Nanoseconds.
    Nanos(i64),
    /// Seconds and a part of one.
    Seconds(f64),
    /// A date: nanoseconds since 1970.
    Date(i64),
}

impl Clock {
    /// The time that a field holds.
    pub(crate) fn of(value: &Value) -> Result<Self, String> {
        let clock = match value {
            Value::Null => Some(Self::None),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(nanos), _) => Some(Self::Nanos(nanos)),
                (None, seconds) => seconds.map(Self::Seconds),
            },
            Value::String(text) => date(text),
            // #inst "2024-05-01T12:00:00.000-00:00"
            Value::Object(tagged) => tagged.get("#inst").and_then(Value::as_str).and_then(date),
            Value::Bool(_) | Value::Array(_) => None,
        };
        clock.ok_or_else(|| {
            format!(
                ":time {value} is no time: it is an integer of nanoseconds, seconds with a \
                 fraction, or a date as 2024-05-01T12:00:00.5Z"
            )
        })
    }
}

fn date(text: &str) -> Option<Clock> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return Some(Clock::Nanos(number));
    }
    // The zone: `Z`, `+01:00`, `-0800` or none. A date itself has no sign after the day.
    let days = "2024-05-01".len();
    let sign = text.get(days..)?.rfind(['+', '-']).map(|at| at + days);
    let (local, zone) = text.split_at(sign.unwrap_or(text.len()));
    let since = humantime::parse_rfc3339_weak(local).ok()?.duration_since(std::time::UNIX_EPOCH);
    let nanos = i64::try_from(since.ok()?.as_nanos()).ok()?;
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let minutes = match (zone.is_empty(), digits.len()) {
        (true, _) => 0,
        (false, 2) => digits.parse::<i64>().ok()? * 60,
        (false, 4) => digits[..2].parse::<i64>().ok()? * 60 + digits[2..].parse::<i64>().ok()?,
        (false, _) => return None,
    };
    let east = if zone.starts_with('-') { -minutes } else { minutes };
    Some(Clock::Date(nanos.saturating_sub(east * 60_000_000_000)))
}

/// Nanoseconds from 0; as they are, where they are integers that can stay so.
pub(crate) fn nanos(clocks: &[Clock]) -> Vec<Option<u64>> {
    let has_seconds = clocks.iter().any(|clock| matches!(clock, Clock::Seconds(_)));
    let of = |clock: &Clock| match *clock {
        Clock::None => None,
        // Of times with a fraction the whole ones have none by chance.
        Clock::Nanos(seconds) if has_seconds => Some(seconds.saturating_mul(1_000_000_000)),
        Clock::Nanos(nanos) | Clock::Date(nanos) => Some(nanos),
        Clock::Seconds(seconds) => Some((seconds * 1e9) as i64),
    };
    let is_shifted = |clock: &Clock| match *clock {
        Clock::Nanos(nanos) => nanos < 0,
        Clock::Seconds(_) | Clock::Date(_) => true,
        Clock::None => false,
    };
    let all: Vec<Option<i64>> = clocks.iter().map(of).collect();
    let first =
        if clocks.iter().any(is_shifted) { all.iter().flatten().min().copied() } else { None };
    let first = first.unwrap_or(0);
    all.into_iter().map(|time| time.map(|time| time.abs_diff(first))).collect()
}

/// Timestamps that rise from event to event. The fewest times that would go back are taken for wrong,
/// and those events, as those without a time and those at the time of the event before, are put
/// right after it.
pub(crate) fn rising(times: &[Option<u64>]) -> Vec<u64> {
    if times.iter().all(Option::is_none) {
        return (0..times.len() as u64).collect();
    }
    let kept = longest_rise(times);
    let mut next = 0;
    let mut timestamp = |(time, kept): (&Option<u64>, bool)| {
        let time = time.filter(|_| kept).unwrap_or(0).max(next);
        next = time.saturating_add(1);
        time
    };
    times.iter().zip(kept).map(&mut timestamp).collect()
}

/// Which events to keep so that times do not go back and as many as can be are kept.
fn longest_rise(times: &[Option<u64>]) -> Vec<bool> {
    let known = || (0..times.len()).filter_map(|at| Some((at, times[at]?)));
    let rises = known().zip(known().skip(1)).all(|((_, a), (_, b))| a <= b);
    if rises {
        return vec![true; times.len()];
    }
    // Of each length the rise that ends lowest (Fredman, 1975), by its last event.
    let mut ends: Vec<(u64, usize)> = Vec::new();
    let mut before = vec![usize::MAX; times.len()];
    for (at, time) in known() {
        let length = ends.partition_point(|(end, _)| *end <= time);
        if let Some(shorter) = length.checked_sub(1) {
            before[at] = ends[shorter].1;
        }
        if length == ends.len() {
            ends.push((time, at));
        } else {
            ends[length] = (time, at);
        }
    }
    let mut kept = vec![false; times.len()];
    let mut at = ends.last().map_or(usize::MAX, |end| end.1);
    while let Some(keep) = kept.get_mut(at) {
        *keep = true;
        at = before[at];
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rise(times: &[u64]) -> Vec<u64> {
        rising(&times.iter().map(|time| Some(*time)).collect::<Vec<_>>())
    }

    #[test]
    fn stamps_rise_and_stay_near_the_times() {
        assert_eq!(rise(&[10, 20, 30]), [10, 20, 30]);
        assert_eq!(rise(&[7, 7, 7, 8]), [7, 8, 9, 10], "a coarse clock");
        assert_eq!(rise(&[900, 20, 30, 40]), [0, 20, 30, 40], "one timestamp too high");
        assert_eq!(rise(&[20, 30, 5, 40]), [20, 30, 31, 40], "one too low");
        assert_eq!(rising(&[None, None]), [0, 1], "without times the place is the time");
        assert_eq!(rising(&[Some(5), None, Some(9)]), [5, 6, 9]);
        assert_eq!(rise(&[]), [0; 0]);
    }

    #[test]
    fn times_are_told_in_every_way() {
        let check = |value, expected| assert_eq!(Clock::of(&value), Ok(expected), "{value}");
        check(json!(12), Clock::Nanos(12));
        check(json!("12"), Clock::Nanos(12));
        check(json!(-12), Clock::Nanos(-12));
        check(json!(0.5), Clock::Seconds(0.5));
        check(json!("1970-01-01T00:00:01.5Z"), Clock::Date(1_500_000_000));
        check(json!("1970-01-01 01:00:01+01:00"), Clock::Date(1_000_000_000));
        check(json!({"#inst": "1970-01-01T00:00:00.001-00:00"}), Clock::Date(1_000_000));
        for wrong in [
            json!("soon"),
            json!(true),
            json!([1]),
            json!("2024-05-01T12:00:00+1"),
            json!("\u{e9}-\u{e9}-\u{e9}-\u{e9}-\u{e9}-"),
        ] {
            assert!(Clock::of(&wrong).is_err(), "{wrong}");
        }
        let seconds = [Clock::Seconds(1.25), Clock::Nanos(1), Clock::None];
        assert_eq!(nanos(&seconds), [Some(250_000_000), Some(0), None]);
        assert_eq!(nanos(&[Clock::Nanos(-3), Clock::Nanos(4)]), [Some(0), Some(7)]);
    }
}
