//! When samples were taken within each second: columns of seconds, rows of parts of a second.
//!
//! Only samples whose times are kept are in a bucket. The others are counted apart, with where their windows lie: an empty
//! bucket means idleness only where there are windows with times.

use hashbrown::HashMap;
use serde::Serialize;

use super::engine::{Engine, QueryError};
use super::filter::Filter;
use super::names::{LocationFrames, Names};
use super::query::{Misunderstood, Selection};
use super::run::Run;
use super::search::Search;
use crate::profile::{Profile, ProfileKind, StackIndex, UnixTime, samples_of};

/// Columns of an answer.
const MAX_SECONDS: u64 = 900;

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// The answer. Buckets are samples, times ms since 1970.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct HeatAnswer {
    /// What is measured.
    r#type: &'static str,
    /// Time that one sample stands for, in ns.
    period_ns: u64,
    /// Start of the first column, a whole second, and end of the last.
    from: u64,
    until: u64,
    /// Buckets of a second, and the length of each in ms.
    rows: usize,
    bucket_ms: u64,
    /// In all buckets together.
    samples: u64,
    /// Of windows that do not keep times: in no bucket.
    untimed_samples: u64,
    /// Column after column, each from the start of its second on.
    buckets: Vec<u64>,
    /// Where windows lie, and those that do not keep times.
    covered: Vec<[u64; 2]>,
    untimed: Vec<[u64; 2]>,
}

/// The buckets of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Second of the first column.
    first: u64,
    columns: usize,
    rows: usize,
}

impl Grid {
    /// The whole seconds that have a part of a range, each in so many buckets.
    ///
    /// # Errors
    /// The range is too long, or buckets would not be of whole milliseconds.
    pub(super) fn over(
        from: UnixTime,
        until: UnixTime,
        rows: usize,
    ) -> Result<Self, Misunderstood> {
        if !1_000usize.is_multiple_of(rows) {
            return Err(Misunderstood(format!(
                "rows is {rows}: give a number that divides 1,000 ms, as 10, 20, 25, 50 or 100"
            )));
        }
        let first = from.0 / SECOND;
        let seconds = until.0.div_ceil(SECOND).saturating_sub(first);
        if seconds > MAX_SECONDS {
            return Err(Misunderstood(format!(
                "the range has {seconds} seconds and a heat map {MAX_SECONDS} at most: choose a from and an until of at most 15 minutes"
            )));
        }
        Ok(Self {
            first,
            columns: seconds as usize,
            rows,
        })
    }

    /// Start of the first and end of the last column.
    fn bounds(self) -> [UnixTime; 2] {
        let until = self.first.saturating_add(self.columns as u64);
        [self.first, until].map(|second| UnixTime(second.saturating_mul(SECOND)))
    }

    /// The bucket that has a time.
    fn bucket(self, time: UnixTime) -> Option<usize> {
        let column = (time.0 / SECOND).checked_sub(self.first)? as usize;
        let row = (time.0 % SECOND) as usize * self.rows / SECOND as usize;
        (column < self.columns).then_some(column * self.rows + row)
    }
}

/// The heat map while profiles are added.
#[derive(Debug)]
struct HeatBuilder {
    kind: ProfileKind,
    grid: Grid,
    quantum: Option<u64>,
    /// Time of each bucket, in ns.
    times: Vec<u64>,
    untimed_time: u64,
    covered: Vec<[UnixTime; 2]>,
    untimed: Vec<[UnixTime; 2]>,
}

impl HeatBuilder {
    fn new(kind: ProfileKind, grid: Grid) -> Self {
        Self {
            kind,
            grid,
            quantum: None,
            times: vec![0; grid.columns * grid.rows],
            untimed_time: 0,
            covered: Vec::new(),
            untimed: Vec::new(),
        }
    }

    /// Notes that a window lies there.
    fn window(&mut self, start: UnixTime, end: UnixTime) {
        widen(&mut self.covered, [start, end]);
    }

    /// Adds the samples that `filter` keeps, on stacks with a function that is found, if the profile is of the kind that is
    /// wanted.
    fn add(
        &mut self,
        profile: &Profile,
        filter: &Filter,
        search: (&Search, usize),
        run: &Run,
    ) -> Result<(), QueryError> {
        if !self.kind.includes(profile.kind.kind) {
            return Ok(());
        }
        self.quantum
            .get_or_insert(self.kind.quantum_by(profile.kind));
        let wanted = filter.over(profile);
        let mut found = Found::new(profile, search, run)?;
        let mut pace = run.pace();
        let mut is_untimed = false;
        for sample in profile.samples.iter().filter(|sample| wanted.keeps(sample)) {
            pace.spend(1 + sample.occurrences.len())?;
            if !found.has(sample.stack) {
                continue;
            }
            if sample.occurrences.is_empty() && sample.count > 0 {
                is_untimed = true;
                self.untimed_time = self.untimed_time.saturating_add(sample.value);
            }
            for (time, value) in sample.occurrences.iter() {
                if let Some(bucket) = self.grid.bucket(time) {
                    let sum = &mut self.times[bucket];
                    *sum = sum.saturating_add(value);
                }
            }
        }
        if is_untimed {
            widen(&mut self.untimed, [profile.start, profile.end]);
        }
        Ok(())
    }

    /// The answer. Running sums of time are made samples, as those of stacks are: the whole is right whatever was sampled at
    /// other rates.
    fn finish(self) -> HeatAnswer {
        let quantum = self.quantum.unwrap_or(SECOND);
        let (mut time, mut samples) = (0u64, 0);
        let buckets = self.times.iter().map(|own| {
            time = time.saturating_add(*own);
            let before = std::mem::replace(&mut samples, samples_of(time, quantum));
            samples - before
        });
        let buckets = buckets.collect();
        let [from, until] = self.grid.bounds().map(|time| time.0 / MILLISECOND);
        let ranges = |ranges: Vec<[UnixTime; 2]>| {
            let ranges = union(ranges).into_iter().map(|[start, end]| {
                let start = (start.0 / MILLISECOND).max(from);
                [start, end.0.div_ceil(MILLISECOND).min(until)]
            });
            ranges.filter(|[start, end]| start < end).collect()
        };
        HeatAnswer {
            r#type: self.kind.name(),
            period_ns: quantum,
            from,
            until,
            rows: self.grid.rows,
            bucket_ms: 1_000 / self.grid.rows as u64,
            samples,
            untimed_samples: samples_of(self.untimed_time, quantum),
            buckets,
            covered: ranges(self.covered),
            untimed: ranges(self.untimed),
        }
    }
}

/// Adds a range, to the last one where they touch: windows come by time.
fn widen(ranges: &mut Vec<[UnixTime; 2]>, [start, end]: [UnixTime; 2]) {
    match ranges.last_mut() {
        Some([first, last]) if *first <= start && start <= *last => *last = (*last).max(end),
        _ => ranges.push([start, end]),
    }
}

/// The same times in ranges that do not touch, by time.
fn union(mut ranges: Vec<[UnixTime; 2]>) -> Vec<[UnixTime; 2]> {
    ranges.sort_unstable();
    let mut united = Vec::new();
    ranges
        .into_iter()
        .for_each(|range| widen(&mut united, range));
    united
}

/// Which stacks of a profile have a function that is searched for.
struct Found<'a> {
    profile: &'a Profile,
    /// By location; none where everything is found.
    locations: Option<Vec<bool>>,
    stacks: HashMap<StackIndex, bool>,
}

impl<'a> Found<'a> {
    fn new(
        profile: &'a Profile,
        (search, name_bytes): (&Search, usize),
        run: &Run,
    ) -> Result<Self, QueryError> {
        let locations = match search {
            Search::All => None,
            Search::Part(_) | Search::Expression(_) => {
                let mut names = Names::new(name_bytes);
                let mut frames = LocationFrames::new(profile);
                let steps = (0..profile.locations.len()).map(|location| {
                    let found = frames.get(location, &mut names).unwrap_or_default();
                    found.iter().map(|step| step.frame()).collect()
                });
                let steps: Vec<Vec<_>> = steps.collect();
                let found = search.frames(&names, run)?;
                let has = |frames: Vec<u32>| frames.iter().any(|frame| found[*frame as usize]);
                Some(steps.into_iter().map(has).collect())
            }
        };
        Ok(Self {
            profile,
            locations,
            stacks: HashMap::new(),
        })
    }

    fn has(&mut self, stack: StackIndex) -> bool {
        let Some(locations) = &self.locations else {
            return true;
        };
        let profile = self.profile;
        *self.stacks.entry(stack).or_insert_with(|| {
            let stack = profile.stacks.get(stack).iter();
            stack
                .map(|location| locations.get(location.0 as usize))
                .any(|found| found == Some(&true))
        })
    }
}

impl Engine {
    /// The heat map of a selection.
    pub(super) fn heat(
        &self,
        selection: Selection,
        grid: Grid,
        search: &Search,
        run: &Run,
    ) -> Result<HeatAnswer, QueryError> {
        let [from, until] = grid.bounds();
        let selection = Selection {
            from,
            until,
            ..selection
        };
        let mut builder = HeatBuilder::new(selection.kind, grid);
        self.windows(&selection, run, |window| {
            builder.window(window.start, window.end);
        })?;
        let ids = self.ids(&selection, run)?;
        let (filter, names) = (&selection.filter, self.limits.name_bytes);
        self.profiles(&ids, filter, run, |profile| {
            builder.add(&profile, filter, (search, names), run)
        })?;
        Ok(builder.finish())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::page::filter::Taken;
    use crate::page::run::scripted::endless;
    use crate::profile::Occurrences;
    use crate::profile::example::example;

    const AT: u64 = 1_767_225_600 * SECOND;

    fn grid(seconds: u64) -> Grid {
        Grid::over(UnixTime(AT), UnixTime(AT + seconds * SECOND), 50).unwrap()
    }

    /// The example with samples at these times alone.
    fn taken(times: &[u64]) -> Profile {
        let mut profile = example();
        profile.samples.truncate(1);
        let each = profile.kind.quantum();
        let times: Vec<UnixTime> = times.iter().map(|time| UnixTime(AT + time)).collect();
        let sample = &mut profile.samples[0];
        sample.count = times.len() as u64;
        sample.value = each * sample.count;
        sample.occurrences = Occurrences::equal(each, times);
        profile
    }

    fn heat(profile: &Profile, grid: Grid) -> HeatAnswer {
        let mut builder = HeatBuilder::new(ProfileKind::OnCpu, grid);
        let filter = Filter::default();
        let search = (&Search::All, 1 << 20);
        builder.add(profile, &filter, search, &endless()).unwrap();
        builder.finish()
    }

    #[test]
    fn samples_are_in_the_bucket_of_their_time() {
        let times = [0, 19_999_999, 20_000_000, SECOND - 1, SECOND, 3 * SECOND];
        let answer = heat(&taken(&times), grid(3));
        let full = answer.buckets.iter().enumerate();
        let full: Vec<(usize, u64)> = full
            .filter(|(_, samples)| **samples > 0)
            .map(|(place, samples)| (place, *samples))
            .collect();
        // The last lies behind the last column.
        assert_eq!(full, [(0, 2), (1, 1), (49, 1), (50, 1)]);
        assert_eq!((answer.samples, answer.bucket_ms), (5, 20));
        assert_eq!(answer.until - answer.from, 3_000);
        assert_eq!(answer.buckets.len(), 150);
    }

    #[test]
    fn samples_without_times_are_counted_apart() {
        let mut profile = taken(&[0, 1, 2]);
        profile.samples[0].occurrences = Occurrences::default();
        (profile.start, profile.end) = (UnixTime(AT + SECOND), UnixTime(AT + 9 * SECOND));
        let answer = heat(&profile, grid(3));
        assert_eq!((answer.samples, answer.untimed_samples), (0, 3));
        let from = AT / MILLISECOND;
        assert_eq!(answer.untimed, [[from + 1_000, from + 3_000]]);
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let range = |start, end| [UnixTime(start), UnixTime(end)];
        let ranges = vec![range(5, 9), range(0, 2), range(2, 3), range(6, 7)];
        assert_eq!(union(ranges), [range(0, 3), range(5, 9)]);
    }

    #[test]
    fn what_is_too_long_or_too_fine_is_refused_with_the_fix() {
        let over =
            |seconds, rows| Grid::over(UnixTime(AT + 1), UnixTime(AT + seconds * SECOND), rows);
        assert_eq!(over(900, 50).unwrap().columns, 900);
        assert!(over(901, 50).unwrap_err().0.contains("15 minutes"));
        assert!(over(1, 30).unwrap_err().0.contains("divides"));
    }

    proptest! {
        #[test]
        fn a_part_has_as_many_samples_as_its_buckets(
            times in prop::collection::vec(0..10 * SECOND, 0..60),
            first in 0usize..500,
            length in 1usize..100,
        ) {
            let profile = taken(&times);
            let whole = heat(&profile, grid(10));
            prop_assert_eq!(whole.samples, times.len() as u64);
            prop_assert_eq!(whole.buckets.iter().sum::<u64>(), profile.sample_count());
            let at = |bucket: usize| UnixTime(AT + bucket as u64 * 20 * MILLISECOND);
            let taken = Taken { from: at(first), until: at(first + length) };
            let filter = Filter { taken: Some(taken), ..Filter::default() };
            let part = filter.part_of(std::sync::Arc::new(profile));
            let buckets = whole.buckets.iter().skip(first).take(length);
            prop_assert_eq!(part.sample_count(), buckets.sum::<u64>());
        }
    }
}
