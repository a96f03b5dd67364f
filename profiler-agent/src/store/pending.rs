//! Which spans of time are to be merged next. Pure: what is over follows from what was appended.

use std::collections::BTreeMap;

use crate::profile::ProfileKind;

/// Lengths of the parts of time whose windows are merged, in ns: a minute, ten, an hour. Each is made of the ones before.
pub(super) const LEVELS: [u64; 3] = [60_000_000_000, 600_000_000_000, 3_600_000_000_000];
/// A span is over when as many windows were appended beside it: also where clocks step.
const QUIET_WINDOWS: u64 = 3;

/// A part of time, and one kind of windows in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SpanKey {
    /// What its windows measure.
    pub(super) kind: ProfileKind,
    /// Index of its length.
    pub(super) level: u8,
    /// When it begins, in ns since 1970.
    pub(super) start: u64,
}

impl SpanKey {
    /// The parts of time that a window of this kind with this start is in, the shortest first.
    pub(super) fn all_of(kind: ProfileKind, window_start: u64) -> [Self; LEVELS.len()] {
        std::array::from_fn(|level| Self {
            kind,
            level: level as u8,
            start: window_start - window_start % LEVELS[level],
        })
    }

    /// When the next one begins.
    pub(super) fn end(self) -> u64 {
        let length = LEVELS.get(usize::from(self.level)).copied();
        self.start.saturating_add(length.unwrap_or(0))
    }
}

/// The spans that are not merged as they are now, each with the id of its newest window.
#[derive(Debug, Default)]
pub(super) struct Pending {
    kinds: BTreeMap<ProfileKind, Levels>,
}

/// By start the id of the newest window, for each length.
type Levels = [BTreeMap<u64, u64>; LEVELS.len()];

impl Pending {
    /// Notes a window of this kind with this start.
    pub(super) fn add(&mut self, kind: ProfileKind, window_start: u64, id: u64) {
        for key in SpanKey::all_of(kind, window_start) {
            self.note(key, id);
        }
    }

    /// Notes a span whose newest window has this id.
    pub(super) fn note(&mut self, key: SpanKey, id: u64) {
        let newest = self.level(key).entry(key.start).or_insert(id);
        *newest = id.max(*newest);
    }

    /// The span is merged as far as it will be, unless a window newer than `id` came.
    pub(super) fn done(&mut self, key: SpanKey, id: u64) {
        let spans = self.level(key);
        if spans.get(&key.start).is_some_and(|newest| *newest <= id) {
            spans.remove(&key.start);
        }
    }

    /// The id of the newest window of a span that is to be merged.
    pub(super) fn newest(&self, key: SpanKey) -> Option<u64> {
        self.kinds
            .get(&key.kind)?
            .get(usize::from(key.level))?
            .get(&key.start)
            .copied()
    }

    /// The span to merge next: the longest whose parts are merged, the newest of those. `next` is the id of the next
    /// window.
    pub(super) fn due(&self, next: u64) -> Option<SpanKey> {
        let kinds = self.kinds.iter();
        let mut due = kinds.filter_map(|(kind, levels)| due_of(*kind, levels, next));
        due.next()
    }

    fn level(&mut self, key: SpanKey) -> &mut BTreeMap<u64, u64> {
        let levels = self.kinds.entry(key.kind).or_default();
        &mut levels[usize::from(key.level)]
    }
}

fn due_of(kind: ProfileKind, levels: &Levels, next: u64) -> Option<SpanKey> {
    (0..LEVELS.len()).rev().find_map(|level| {
        let mut spans = levels[level].iter().rev();
        let (start, _) = spans.find(|(start, newest)| {
            let end = start.saturating_add(LEVELS[level]);
            let has_parts = level > 0 && {
                let mut parts = levels[level - 1].range(**start..end);
                parts.next().is_some()
            };
            newest.saturating_add(QUIET_WINDOWS) < next && !has_parts
        })?;
        Some(SpanKey {
            kind,
            level: level as u8,
            start: *start,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{LEVELS, Pending, SpanKey};
    use crate::profile::ProfileKind;

    const SECOND: u64 = 1_000_000_000;

    fn key(level: u8, start_seconds: u64) -> SpanKey {
        SpanKey {
            kind: ProfileKind::OnCpu,
            level,
            start: start_seconds * SECOND,
        }
    }

    /// Windows of 10 s.
    fn appended(pending: &mut Pending, windows: std::ops::Range<u64>) {
        for number in windows {
            pending.add(ProfileKind::OnCpu, number * 10 * SECOND, number);
        }
    }

    #[test]
    fn a_span_is_due_when_windows_came_beside_it() {
        let mut pending = Pending::default();
        appended(&mut pending, 0..8);
        assert_eq!(pending.due(8), None);
        appended(&mut pending, 8..9);
        assert_eq!(pending.due(9), Some(key(0, 0)));
        pending.done(key(0, 0), 5);
        assert_eq!(pending.due(9), None);
    }

    #[test]
    fn the_longest_is_merged_of_its_parts_and_the_newest_first() {
        let mut pending = Pending::default();
        appended(&mut pending, 0..130);
        let mut order = Vec::new();
        while let Some(due) = pending.due(130) {
            order.push(due);
            pending.done(due, 129);
        }
        assert_eq!(&order[..3], &[key(0, 1_200), key(0, 1_140), key(0, 1_080)]);
        // The minute that goes on is not over, and so are the longer ones that it is in.
        assert_eq!(order.iter().filter(|key| key.level == 0).count(), 21);
        assert_eq!(order[11], key(1, 600));
        assert_eq!(order.last(), Some(&key(1, 0)));
    }

    #[test]
    fn a_late_window_makes_its_spans_due_again_and_no_sooner_than_it_is_quiet() {
        let mut pending = Pending::default();
        appended(&mut pending, 0..10);
        let newest = pending.newest(key(0, 0)).unwrap();
        pending.add(ProfileKind::OnCpu, 30 * SECOND, 10);
        pending.done(key(0, 0), newest);
        assert_eq!(pending.newest(key(0, 0)), Some(10));
        assert_eq!(pending.due(11), None);
        assert_eq!(pending.due(14), Some(key(0, 60)));
    }

    #[test]
    fn levels_are_made_of_each_other() {
        for pair in LEVELS.windows(2) {
            assert!(pair[1].is_multiple_of(pair[0]));
        }
    }
}
