//! The labels of a selection: what it can be narrowed to.

use std::sync::Arc;

use hashbrown::HashMap;
use serde::Serialize;

use crate::profile::{Profile, samples_of};

/// Distinct keys that are told apart.
const MAX_KEYS: usize = 200;
/// Distinct values of a key that are told apart.
const MAX_VALUES: usize = 5_000;
/// Distinct values of all keys together.
const MAX_ALL_VALUES: usize = 20_000;
/// Values of a key that are told apart whatever others have: as many as a person is shown.
const SURE_VALUES: usize = 50;
/// About the bytes that a value takes beside its letters.
const ENTRY_BYTES: usize = 64;

/// Time per label, in ns; bounded, whatever programs label themselves with.
#[derive(Debug, Default)]
pub(super) struct LabelCounts {
    keys: HashMap<Arc<str>, Key>,
    values: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Key {
    values: HashMap<Arc<str>, u64>,
    time: u64,
    rest: u64,
}

impl LabelCounts {
    /// About the bytes that they take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds up the labels of the samples of `profile` that are wanted: the set of each, and its time.
    pub(super) fn add(&mut self, profile: &Profile, wanted: impl Iterator<Item = (u32, u64)>) {
        let mut sums = vec![0u64; profile.label_sets.len()];
        for (set, time) in wanted {
            if let Some(sum) = sums.get_mut(set as usize) {
                *sum = sum.saturating_add(time);
            }
        }
        for (set, time) in profile.label_sets.iter().zip(sums) {
            if time == 0 {
                continue;
            }
            for label in &set.labels {
                self.count(&label.key, &label.value, time);
            }
        }
    }

    /// Adds up the threads of samples as if what they are were labels: the name of the thread, the name and the id of the
    /// process; the thread of each sample, and its time.
    pub(super) fn add_threads(
        &mut self,
        profile: &Profile,
        wanted: impl Iterator<Item = (u32, u64)>,
    ) {
        let mut sums = vec![0u64; profile.threads.len()];
        for (thread, time) in wanted {
            if let Some(sum) = sums.get_mut(thread as usize) {
                *sum = sum.saturating_add(time);
            }
        }
        let keys: [Arc<str>; 3] = ["thread", "comm", "pid"].map(Arc::from);
        for (thread, time) in profile.threads.iter().zip(sums) {
            let Some(process) = profile.processes.get(thread.process as usize) else {
                continue;
            };
            if time > 0 {
                let pid = process.key.pid.to_string();
                let values = [
                    Arc::clone(&thread.name),
                    Arc::from(&*process.comm),
                    pid.into(),
                ];
                for (key, value) in keys.iter().zip(values) {
                    self.count(key, &value, time);
                }
            }
        }
    }

    fn count(&mut self, key: &Arc<str>, value: &Arc<str>, time: u64) {
        if self.keys.len() >= MAX_KEYS && !self.keys.contains_key(key) {
            return;
        }
        let entry = self.keys.entry(Arc::clone(key)).or_default();
        entry.time = entry.time.saturating_add(time);
        if let Some(sum) = entry.values.get_mut(value) {
            *sum = sum.saturating_add(time);
        } else if entry.values.len() < SURE_VALUES
            || (entry.values.len() < MAX_VALUES && self.values < MAX_ALL_VALUES)
        {
            self.values += 1;
            self.bytes += value.len() + ENTRY_BYTES;
            entry.values.insert(Arc::clone(value), time);
        } else {
            entry.rest = entry.rest.saturating_add(time);
        }
    }

    /// The keys by samples of `quantum` ns, the most first, each with its `limit` first values.
    pub(super) fn list(&self, limit: usize, quantum: u64) -> Vec<LabelKey> {
        let mut keys: Vec<LabelKey> = self
            .keys
            .iter()
            .map(|(name, key)| {
                let mut values: Vec<LabelValue> = key
                    .values
                    .iter()
                    .map(|(value, time)| LabelValue {
                        value: value.to_string(),
                        samples: samples_of(*time, quantum),
                    })
                    .collect();
                values.sort_by(|a, b| {
                    b.samples
                        .cmp(&a.samples)
                        .then_with(|| a.value.cmp(&b.value))
                });
                let value_count = values.len();
                let listed_before = values.len().min(limit);
                let more = values[listed_before..].iter().map(|v| v.samples);
                let more = more.fold(0, u64::saturating_add);
                values.truncate(limit);
                LabelKey {
                    key: name.to_string(),
                    samples: samples_of(key.time, quantum),
                    value_count,
                    values,
                    rest_samples: samples_of(key.rest, quantum).saturating_add(more),
                }
            })
            .collect();
        keys.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.key.cmp(&b.key)));
        keys
    }
}

/// The answer. Numbers are samples.
#[derive(Debug, Serialize)]
pub(super) struct LabelList {
    /// What is measured.
    pub(super) r#type: &'static str,
    /// Time that one sample stands for, in ns.
    pub(super) period_ns: u64,
    /// All samples, labelled or not.
    pub(super) samples: u64,
    /// The keys.
    pub(super) keys: Vec<LabelKey>,
    /// What every sample has: `thread`, `comm` and `pid`, as if they were labels.
    pub(super) attributes: Vec<LabelKey>,
}

/// A key with its values.
#[derive(Debug, Serialize)]
pub(super) struct LabelKey {
    key: String,
    samples: u64,
    value_count: usize,
    values: Vec<LabelValue>,
    /// Samples with values that are not listed.
    rest_samples: u64,
}

#[derive(Debug, Serialize)]
struct LabelValue {
    value: String,
    samples: u64,
}

#[cfg(test)]
mod tests {
    use super::{LabelCounts, MAX_ALL_VALUES, MAX_VALUES, SURE_VALUES};
    use crate::profile::example::example;

    #[test]
    fn labels_are_counted_by_sample_and_bounded() {
        let profile = example();
        let mut counts = LabelCounts::default();
        counts.add(
            &profile,
            profile
                .samples
                .iter()
                .map(|sample| (sample.labels.0, sample.count)),
        );
        let list = counts.list(10, 1);
        let keys: Vec<_> = list.iter().map(|key| (&*key.key, key.samples)).collect();
        assert_eq!(keys, [("endpoint", 1), ("user", 1)]);
        assert_eq!(list[0].values[0].value, "/cart");
        for number in 0..2 * MAX_VALUES {
            counts.count(&"id".into(), &number.to_string().into(), 2);
        }
        let list = counts.list(10, 1);
        assert_eq!(list[0].samples, 4 * MAX_VALUES as u64);
        assert_eq!(list[0].values.len(), 10);
        assert_eq!(list[0].rest_samples, 4 * MAX_VALUES as u64 - 20);
    }
    #[test]
    fn a_key_with_many_values_leaves_the_others_theirs() {
        let mut counts = LabelCounts::default();
        for key in 0..2 * MAX_ALL_VALUES / MAX_VALUES {
            for value in 0..MAX_VALUES + 1 {
                counts.count(&format!("id{key}").into(), &value.to_string().into(), 1);
            }
        }
        for value in 0..2 * SURE_VALUES {
            counts.count(&"endpoint".into(), &value.to_string().into(), 1);
        }
        let list = counts.list(MAX_VALUES, 1);
        let of = |name: &str| list.iter().find(|key| key.key == name).unwrap();
        assert_eq!(of("id0").value_count, MAX_VALUES);
        assert_eq!(of("id0").rest_samples, 1);
        assert_eq!(of("endpoint").value_count, SURE_VALUES);
        assert_eq!(of("endpoint").rest_samples, SURE_VALUES as u64);
        let all: usize = list.iter().map(|key| key.value_count).sum();
        assert!(all <= MAX_ALL_VALUES + list.len() * SURE_VALUES, "{all}");
    }

    #[test]
    fn sums_end_at_the_largest_number() {
        let mut counts = LabelCounts::default();
        for value in 0..2 * SURE_VALUES {
            counts.count(&"id".into(), &value.to_string().into(), u64::MAX - 1);
        }
        let list = counts.list(1, 1);
        assert_eq!(
            (list[0].samples, list[0].rest_samples),
            (u64::MAX, u64::MAX)
        );
    }
}
