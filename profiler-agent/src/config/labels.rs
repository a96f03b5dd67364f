//! What is kept of the labels that programs give themselves.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::correlate::{self, KeyPattern, Keys};

/// Labels of the code itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Labels {
    /// Keys that are kept.
    pub include: Vec<Pattern>,
    /// Keys of those that are not.
    pub exclude: Vec<Pattern>,
    /// Distinct values per process image and key: 1 to [`Labels::MOST_VALUES`].
    pub max_values: usize,
    /// Keeps goroutine ids.
    pub goroutine_ids: bool,
}

/// A key; a trailing `*` stands for any ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub KeyPattern);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        KeyPattern::parse(&text).map(Self).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is no key: write one whole, or its beginning and `*`"
            ))
        })
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Default for Labels {
    fn default() -> Self {
        let correlate::Config {
            keys,
            max_values,
            goroutine_ids,
        } = correlate::Config::default();
        let patterns = |keys: Vec<KeyPattern>| keys.into_iter().map(Pattern).collect();
        Self {
            include: patterns(keys.include),
            exclude: patterns(keys.exclude),
            max_values,
            goroutine_ids,
        }
    }
}

impl Labels {
    /// The most that `max_values` may be.
    pub const MOST_VALUES: usize = 10_000;

    /// As the stage takes it.
    #[must_use]
    pub fn correlation(&self) -> correlate::Config {
        let patterns = |patterns: &[Pattern]| patterns.iter().map(|p| p.0.clone()).collect();
        correlate::Config {
            keys: Keys {
                include: patterns(&self.include),
                exclude: patterns(&self.exclude),
            },
            max_values: self.max_values,
            goroutine_ids: self.goroutine_ids,
        }
    }
}
