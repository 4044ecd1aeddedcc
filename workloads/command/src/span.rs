//! Lengths of time as people write them: `30s`, `100ms`, `2m`, or `30` for seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time in a plan or a flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Longer than anything here takes: sums of some such spans are far from overflowing.
    pub const LONGEST: Self = Self::secs(366 * 24 * 3600);

    /// So many milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// So many seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    fn of_seconds(seconds: f64) -> Result<Self, String> {
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|error| error.to_string())
    }
}

/// A parser for clap of a span that is neither shorter than `least` nor longer than `most`.
pub fn span_within(
    least: Span,
    most: Span,
) -> impl Fn(&str) -> Result<Span, String> + Clone + Send + Sync {
    move |text: &str| {
        let span: Span = text.parse()?;
        if (least..=most).contains(&span) {
            Ok(span)
        } else {
            Err(format!("a length of time from {least} to {most}"))
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |error: String| format!("`{text}` is no length of time ({error}): write 30s or 100ms");
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let span = match text.parse::<f64>() {
            Ok(seconds) if plain => Self::of_seconds(seconds),
            _ => humantime::parse_duration(text).map(Self).map_err(|error| error.to_string()),
        };
        match span {
            Ok(span) if span <= Self::LONGEST => Ok(span),
            Ok(_) => Err(wrong("longer than a year".to_owned())),
            Err(error) => Err(wrong(error)),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    /// From text, or from a number of seconds.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time, as \"30s\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Span, E> {
                self.visit_str(&seconds.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Span, E> {
                self.visit_str(&seconds.to_string())
            }

            fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Span, E> {
                self.visit_str(&seconds.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_it_is_read() {
        for text in ["30s", "100ms", "2m", "1m 30s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_plain_number_is_seconds_and_a_unit_is_welcome() {
        for (text, expected) in
            [("30", 30_000), ("0.5", 500), ("1.5m", 90_000), ("250ms", 250), ("2h", 7_200_000)]
        {
            assert_eq!(text.parse(), Ok(Span::millis(expected)), "{text}");
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_told_what_is() {
        for text in
            ["", "s", "-1s", "1e400s", "NaNs", "NaN", "inf", "30 apples", "99999999999h", "1e9"]
        {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains(&format!("`{text}`")) && error.contains("30s"), "{error}");
        }
    }
}
