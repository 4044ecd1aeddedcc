//! Values, times and counts for sentences.

use serde_json::Value;

/// As many characters of a value are shown.
const LONGEST: usize = 48;

/// A value as people write it: a text without quotes, what else there is as JSON; cut short, and said to be.
#[must_use]
pub fn thing(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    cut(text, LONGEST)
}

/// The same, of what stands alone: texts in quotes, carts and lists by what they hold.
#[must_use]
pub fn short(value: &Value) -> String {
    match value {
        Value::Array(all) if all.len() > 4 => {
            let first: Vec<String> = all.iter().take(3).map(short).collect();
            cut(format!("[{}, and {} more]", first.join(", "), all.len() - 3), LONGEST)
        }
        Value::Array(all) => {
            let all: Vec<String> = all.iter().map(short).collect();
            cut(format!("[{}]", all.join(", ")), LONGEST)
        }
        Value::Object(_) => match value.get("id") {
            Some(id) => thing(id),
            None => cut(value.to_string(), LONGEST),
        },
        _ => cut(value.to_string(), LONGEST),
    }
}

/// A name in quotes, cut short.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("{:?}", cut(name.to_owned(), LONGEST))
}

/// A text of at most so many characters, with a mark where it was cut.
#[must_use]
pub fn cut(text: String, most: usize) -> String {
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most - 1).chain(['\u{2026}']).collect()
}

/// A time since the start, in seconds.
#[must_use]
pub fn at(nanos: u64) -> String {
    Clock::default().at(nanos)
}

/// Tells times with as many digits as it takes to tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    digits: usize,
}

impl Default for Clock {
    fn default() -> Self {
        Self { digits: 4 }
    }
}

impl Clock {
    /// For what happens within so many nanoseconds.
    #[must_use]
    pub fn within(nanos: u64) -> Self {
        // A hundredth of it is told, and never less than a ten-thousandth of a second.
        let digits = (1..=9).find(|digits| 10_u64.pow(9 - digits) * 100 <= nanos.max(100));
        Self { digits: digits.unwrap_or(9).clamp(4, 9) as usize }
    }

    /// A time since the start, in seconds.
    #[must_use]
    pub fn at(self, nanos: u64) -> String {
        let (seconds, digits) = (nanos as f64 / 1e9, self.digits);
        match seconds {
            0.0..10.0 => format!("{seconds:.digits$} s"),
            10.0..1000.0 => format!("{seconds:.*} s", digits - 1),
            _ => format!("{seconds:.*} s", digits - 3),
        }
    }
}

/// How long something took, in the unit in which it is short.
#[must_use]
pub fn span(nanos: u64) -> String {
    let nanos = nanos as f64;
    match nanos {
        0.0..1e3 => format!("{nanos:.0} ns"),
        1e3..1e4 => format!("{:.1} us", nanos / 1e3),
        1e4..1e6 => format!("{:.0} us", nanos / 1e3),
        1e6..1e7 => format!("{:.1} ms", nanos / 1e6),
        1e7..1e9 => format!("{:.0} ms", nanos / 1e6),
        1e9..1e11 => format!("{:.1} s", nanos / 1e9),
        _ => format!("{:.0} s", nanos / 1e9),
    }
}

/// A number with its thousands apart, so that it is read at a glance.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_times_and_values_are_read_at_a_glance() {
        assert_eq!([7, 1234, 1_000_000].map(grouped), ["7", "1,234", "1,000,000"]);
        assert_eq!([47_394_628, 31_204_000_000].map(at), ["0.0474 s", "31.204 s"]);
        let spans = [0, 4_200, 2_140_000, 87_000_000, 1_500_000_000].map(span);
        assert_eq!(spans, ["0 ns", "4.2 us", "2.1 ms", "87 ms", "1.5 s"]);
        let clocks = [31_000_000_000, 20_000_000, 90_000, 50].map(Clock::within);
        let told = clocks.map(|clock| clock.at(4_905_840));
        assert_eq!(told, ["0.0049 s", "0.0049 s", "0.0049058 s", "0.004905840 s"]);
        assert_eq!(short(&json!([{ "id": "put-1" }, 2])), "[put-1, 2]");
        assert_eq!(short(&json!([1, 2, 3, 4, 5])), "[1, 2, 3, and 2 more]");
        let long = thing(&json!("\u{e9}".repeat(200)));
        assert!(long.chars().count() == 48 && long.ends_with('\u{2026}'));
    }
}
