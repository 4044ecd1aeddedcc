//! Sizes as people write them: `2GiB`, `512MiB`, `100MB`.

use std::fmt;
use std::str::FromStr;

/// A number of bytes in a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// From large to small, so that of two that end alike the longer is tried first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for Size {
    type Err = String;

    /// A plain number is refused: one would mean bytes, another MiB.
    fn from_str(text: &str) -> Result<Self, String> {
        let found = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
        let number = found.and_then(|(number, _)| number.trim().parse::<f64>().ok());
        let bytes = number.zip(found).map_or(f64::NAN, |(number, (_, unit))| number * unit as f64);
        // A float has 53 bits: larger sizes are none that anybody means.
        if (1.0..=9e15).contains(&bytes) {
            Ok(Self(bytes as u64))
        } else {
            Err(format!("`{text}` is no size: write 512MiB, 2GiB or 100MB"))
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, unit): &&(&str, u64)| self.0 >= *unit && self.0.is_multiple_of(*unit);
        let (name, unit) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit() {
        assert_eq!("2GiB".parse(), Ok(Size(2 << 30)));
        assert_eq!("1.5 MiB".parse(), Ok(Size(3 << 19)));
        assert_eq!("100MB".parse(), Ok(Size(100_000_000)));
        for wrong in ["", "12", "12288", "GiB", "0B", "-1MB", "12 apples", "NaN", "1e300GiB", "inf"]
        {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_is_written_as_it_is_read() {
        for text in ["2GiB", "512MiB", "100MB", "7B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
    }
}
