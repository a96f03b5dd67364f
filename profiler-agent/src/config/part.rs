//! A part of a whole.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::collect::OffCpu;

/// A part of the whole, from 0.0001 to 1: in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part(u32);

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self(1_000_000);

    /// The part as a number.
    #[must_use]
    pub fn get(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<f64>() {
            Ok(part) if OffCpu::PROBABILITIES.contains(&part) => {
                Ok(Self((part * 1e6).round() as u32))
            }
            _ => Err(de::Error::custom(format!(
                "`{text}` is no part of a whole: write a number from 0.0001 to 1"
            ))),
        }
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.get())
    }
}
