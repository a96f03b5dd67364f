//! Quantities as people write them, with their unit: `10s`, `512MiB`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration: `100us`, `500ms`, `10s`, `5m`, `2h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A number of bytes: `64KiB`, `512MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const MICROSECONDS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];
const BYTES: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        product(&text, &MICROSECONDS)
            .map(|microseconds| Self(Duration::from_micros(microseconds)))
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "`{text}` is no duration: write 500ms, 10s, 5m, 2h or 7d"
                ))
            })
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        product(&text, &BYTES).map(Self).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is no size: write 64KiB, 512MiB or 1GiB"))
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let microseconds = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        serializer.serialize_str(&quotient(microseconds, &MICROSECONDS))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&quotient(self.0, &BYTES))
    }
}

/// The number in the largest unit that it is a multiple of; in the smallest, rounded up, else.
fn quotient(number: u64, units: &[(&str, u64)]) -> String {
    let whole = |(_, factor): &&(&str, u64)| number > 0 && number.is_multiple_of(*factor);
    let (name, factor) = units.iter().rev().find(whole).unwrap_or(&units[0]);
    format!("{}{name}", number.div_ceil(*factor))
}

/// The number times its unit; `None` without a known unit, or when it does not fit.
fn product(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (microseconds, text) in [
            (0, "0us"),
            (100, "100us"),
            (500_000, "500ms"),
            (1_500_000, "1500ms"),
            (10_000_000, "10s"),
            (60_000_000, "1m"),
            (86_400_000_000, "1d"),
        ] {
            assert_eq!(quotient(microseconds, &MICROSECONDS), text);
            assert_eq!(product(text, &MICROSECONDS), Some(microseconds));
        }
        for (bytes, text) in [
            (4 << 20, "4MiB"),
            (1 << 30, "1GiB"),
            (1536 << 10, "1536KiB"),
        ] {
            assert_eq!(quotient(bytes, &BYTES), text);
            assert_eq!(product(text, &BYTES), Some(bytes));
        }
    }
}
