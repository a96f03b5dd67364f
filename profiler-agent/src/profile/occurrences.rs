//! When samples were taken, and what each of them stands for.

/// Samples of one thread with one stack and one context, one by one. Where all stand for the same, that is kept once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrences<T> {
    times: Vec<T>,
    values: Values,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Values {
    /// Each has this value.
    Equal(u64),
    /// One for each time.
    Own(Vec<u64>),
}

impl<T> Default for Occurrences<T> {
    fn default() -> Self {
        Self {
            times: Vec::new(),
            values: Values::Equal(0),
        }
    }
}

impl<T: Copy> Occurrences<T> {
    /// Samples at `times` that stand for `each`.
    #[must_use]
    pub const fn equal(each: u64, times: Vec<T>) -> Self {
        Self {
            times,
            values: Values::Equal(each),
        }
    }

    /// Adds a sample that stands for `value`, in the unit of its kind.
    pub fn push(&mut self, time: T, value: u64) {
        match &mut self.values {
            Values::Equal(each) if self.times.is_empty() => *each = value,
            Values::Equal(each) if *each == value => {}
            Values::Equal(each) => {
                let mut values = vec![*each; self.times.len()];
                values.push(value);
                self.values = Values::Own(values);
            }
            Values::Own(values) => values.push(value),
        }
        self.times.push(time);
    }

    /// Adds all of `others`.
    pub fn extend(&mut self, others: impl IntoIterator<Item = (T, u64)>) {
        for (time, value) in others {
            self.push(time, value);
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.times.len()
    }

    /// Is there none?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// When each was taken.
    #[must_use]
    pub fn times(&self) -> &[T] {
        &self.times
    }

    /// What each stands for, where that is the same for all.
    #[must_use]
    pub const fn each(&self) -> Option<u64> {
        match self.values {
            Values::Equal(each) => Some(each),
            Values::Own(_) => None,
        }
    }

    /// What all together stand for.
    #[must_use]
    pub fn total(&self) -> u64 {
        match &self.values {
            Values::Equal(each) => each.saturating_mul(self.times.len() as u64),
            Values::Own(values) => values
                .iter()
                .fold(0, |sum, value| sum.saturating_add(*value)),
        }
    }

    /// Time and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (T, u64)> + '_ {
        let value = |place: usize| match &self.values {
            Values::Equal(each) => *each,
            Values::Own(values) => values[place],
        };
        let times = self.times.iter().enumerate();
        times.map(move |(place, time)| (*time, value(place)))
    }

    /// The same samples at other times.
    #[must_use]
    pub fn at<U>(&self, time: impl FnMut(&T) -> U) -> Occurrences<U> {
        Occurrences {
            times: self.times.iter().map(time).collect(),
            values: self.values.clone(),
        }
    }

    /// Those at times that `keep` wants, which it may change.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T, u64) -> bool) {
        let old = std::mem::take(self);
        for (mut time, value) in old.iter() {
            if keep(&mut time, value) {
                self.push(time, value);
            }
        }
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let values = match &self.values {
            Values::Equal(_) => 0,
            Values::Own(values) => size_of_val(values.as_slice()),
        };
        size_of_val(self.times.as_slice()) + values
    }
}

impl<T: Copy> FromIterator<(T, u64)> for Occurrences<T> {
    fn from_iter<I: IntoIterator<Item = (T, u64)>>(samples: I) -> Self {
        let mut occurrences = Self::default();
        occurrences.extend(samples);
        occurrences
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Occurrences;

    #[test]
    fn equal_values_are_kept_once() {
        let same: Occurrences<u64> = (0..100).map(|time| (time, 7)).collect();
        assert_eq!(
            (same.each(), same.bytes(), same.total()),
            (Some(7), 800, 700)
        );
        let mut other = same.clone();
        other.push(100, 8);
        assert_eq!((other.each(), other.total()), (None, 708));
        other.retain(|_, value| value == 8);
        assert_eq!((other.each(), other.len()), (Some(8), 1));
    }

    proptest! {
        #[test]
        fn what_comes_in_comes_out(samples in prop::collection::vec((any::<u64>(), 0u64..3), 0..40)) {
            let mut all: Occurrences<u64> = samples.iter().copied().collect();
            prop_assert_eq!(all.iter().collect::<Vec<_>>(), samples.clone());
            prop_assert_eq!(all.total(), samples.iter().map(|(_, value)| value).sum::<u64>());
            prop_assert_eq!(all.at(|time| *time).iter().collect::<Vec<_>>(), samples.clone());
            all.retain(|time, value| { *time /= 2; value != 1 });
            let kept: Vec<_> = samples.iter().filter(|(_, value)| *value != 1).map(|(time, value)| (time / 2, *value)).collect();
            prop_assert_eq!(all.iter().collect::<Vec<_>>(), kept);
        }
    }
}
