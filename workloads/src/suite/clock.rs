//! When a night has to end, by the clock on the wall of where it runs.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Days, Local, NaiveDateTime, NaiveTime, TimeZone};
use dyno_command::Span;

/// A time of the day, as in `06:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeOfDay(NaiveTime);

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = NaiveTime::parse_from_str(text, "%H:%M");
        parsed.map(Self).map_err(|_| format!("`{text}` is no time of the day: write 06:00"))
    }
}

/// When to end, if there is an end: the earlier one of both.
#[must_use]
pub(super) fn end(
    now: SystemTime,
    until: Option<TimeOfDay>,
    budget: Option<Span>,
) -> Option<SystemTime> {
    let until = until.map(|time| next(DateTime::<Local>::from(now), time).into());
    let spent = budget.and_then(|budget| now.checked_add(budget.0));
    until.into_iter().chain(spent).min()
}

/// The next time that a clock shows it.
fn next<Z: TimeZone>(now: DateTime<Z>, TimeOfDay(time): TimeOfDay) -> DateTime<Z> {
    let zone = now.timezone();
    let on = |days| {
        let day = now.date_naive().checked_add_days(Days::new(days))?;
        at(&zone, day.and_time(time))
    };
    let next = (0..3).filter_map(on).find(|then| *then > now);
    next.unwrap_or_else(|| now + Duration::from_secs(24 * 3600))
}

/// An hour that a change of the clock leaves out is the one after it.
fn at<Z: TimeZone>(zone: &Z, time: NaiveDateTime) -> Option<DateTime<Z>> {
    let later = || zone.from_local_datetime(&(time + Duration::from_secs(3600))).earliest();
    zone.from_local_datetime(&time).earliest().or_else(later)
}

/// The time of the day, in hours and minutes.
#[must_use]
pub(super) fn shown(time: SystemTime) -> String {
    DateTime::<Local>::from(time).format("%H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, Utc};

    use super::*;

    #[test]
    fn a_night_ends_when_the_clock_shows_it_next() {
        let zone = FixedOffset::east_opt(3600).unwrap();
        let time = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&zone);
        let six = "06:00".parse().unwrap();
        let evening = time("2026-03-01T22:00:00+01:00");
        assert_eq!(next(evening, six), time("2026-03-02T06:00:00+01:00"));
        let morning = time("2026-03-01T05:59:00+01:00");
        assert_eq!(next(morning, six), time("2026-03-01T06:00:00+01:00"));
        let just = time("2026-03-01T06:00:00+01:00");
        assert_eq!(next(just, six), time("2026-03-02T06:00:00+01:00"));
        assert_eq!(next(Utc::now(), six).time(), NaiveTime::from_hms_opt(6, 0, 0).unwrap());
    }

    #[test]
    fn of_a_budget_and_a_time_the_earlier_one_ends_it() {
        let now = SystemTime::now();
        let second = Span::secs(1);
        let six = "06:00".parse().unwrap();
        assert_eq!(end(now, None, None), None);
        assert_eq!(end(now, None, Some(second)), Some(now + second.0));
        assert!(end(now, Some(six), Some(second)).unwrap() <= now + second.0);
        assert!("25:00".parse::<TimeOfDay>().is_err() && "6".parse::<TimeOfDay>().is_err());
    }
}
