//! What is read for windows of a range: merged spans where they stand for all of their windows, the others one by one. Pure.

use std::cmp::Reverse;

use hashbrown::HashMap;

use super::{MergedSpan, WindowId};

/// A window of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visited {
    /// Which one.
    pub id: WindowId,
    /// Length of its encoded profile.
    pub bytes: u64,
    /// May it have samples that are wanted?
    pub wanted: bool,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A window alone.
    Window(WindowId),
    /// What is merged of several.
    Merged {
        /// The span.
        span: MergedSpan,
        /// Those of its windows that are wanted, by time: what is read where it turns out not to be there.
        windows: Vec<WindowId>,
    },
}

/// The parts that have the wanted windows, each of them once, by time of their first. `visited` is by time.
///
/// A span is read only where all of its windows were visited (none is out of the range, damaged or gone) and where
/// it is shorter than the windows that it spares.
#[must_use]
pub fn cover(visited: &[Visited], mut spans: Vec<MergedSpan>) -> Vec<Part> {
    let places: HashMap<WindowId, usize> =
        visited.iter().map(|window| window.id).zip(0..).collect();
    let mut taken = vec![false; visited.len()];
    let mut parts: Vec<(usize, Part)> = Vec::new();
    spans.sort_by_key(|span| Reverse(span.level));
    for span in spans {
        let found = span.windows.iter().map(|id| places.get(id).copied());
        let Some(mut found) = found.collect::<Option<Vec<usize>>>() else {
            continue;
        };
        found.sort_unstable();
        let wanted = || {
            found
                .iter()
                .map(|place| &visited[*place])
                .filter(|window| window.wanted)
        };
        let spared = wanted().fold(0u64, |sum, window| sum.saturating_add(window.bytes));
        let Some(first) = found.iter().copied().find(|place| visited[*place].wanted) else {
            continue;
        };
        if span.bytes > spared || found.iter().any(|place| taken[*place]) {
            continue;
        }
        let windows = wanted().map(|window| window.id).collect();
        found.iter().for_each(|place| taken[*place] = true);
        parts.push((first, Part::Merged { span, windows }));
    }
    let left = visited.iter().enumerate();
    let left = left.filter(|(place, window)| window.wanted && !taken[*place]);
    parts.extend(left.map(|(place, window)| (place, Part::Window(window.id))));
    parts.sort_by_key(|(place, _)| *place);
    parts.into_iter().map(|(_, part)| part).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Part, Visited, cover};
    use crate::profile::{MergedSpan, UnixTime, WindowId};

    fn span(level: u8, windows: std::ops::Range<u64>, bytes: u64) -> MergedSpan {
        MergedSpan {
            kind: crate::profile::ProfileKind::OnCpu,
            level,
            start: UnixTime(windows.start),
            windows: windows.map(WindowId).collect(),
            bytes,
        }
    }

    fn visited(ids: impl IntoIterator<Item = u64>) -> Vec<Visited> {
        let window = |id| Visited {
            id: WindowId(id),
            bytes: 100,
            wanted: true,
        };
        ids.into_iter().map(window).collect()
    }

    /// Each part as its first window and how many there are.
    fn told(parts: &[Part]) -> Vec<(u64, usize)> {
        let told = parts.iter().map(|part| match part {
            Part::Window(id) => (id.0, 1),
            Part::Merged { windows, .. } => (windows[0].0, windows.len()),
        });
        told.collect()
    }

    #[test]
    fn whole_spans_inside_and_windows_at_the_edges() {
        let spans = || {
            vec![
                span(0, 0..6, 90),
                span(0, 6..12, 90),
                span(1, 0..12, 90),
                span(0, 12..18, 90),
            ]
        };
        let parts = cover(&visited(3..20), spans());
        assert_eq!(
            told(&parts),
            [(3, 1), (4, 1), (5, 1), (6, 6), (12, 6), (18, 1), (19, 1)]
        );
        assert_eq!(told(&cover(&visited(0..18), spans())), [(0, 12), (12, 6)]);
    }

    #[test]
    fn a_span_with_a_window_that_is_not_there_is_not_read() {
        let without = visited((0..12).filter(|id| *id != 4));
        let parts = cover(&without, vec![span(1, 0..12, 90), span(0, 6..12, 90)]);
        assert_eq!(
            told(&parts),
            [(0, 1), (1, 1), (2, 1), (3, 1), (5, 1), (6, 6)]
        );
        // A late window that the span does not stand for is read beside it.
        let parts = cover(&visited([0, 1, 99, 2]), vec![span(0, 0..3, 90)]);
        assert_eq!(told(&parts), [(0, 3), (99, 1)]);
    }

    #[test]
    fn a_span_is_not_read_for_a_few_of_its_windows() {
        let mut few = visited(0..12);
        few.iter_mut()
            .for_each(|window| window.wanted = [3, 8].contains(&window.id.0));
        let parts = cover(&few, vec![span(1, 0..12, 201), span(0, 0..6, 100)]);
        assert_eq!(told(&parts), [(3, 1), (8, 1)]);
        assert!(matches!(parts[0], Part::Merged { .. }));
        assert!(cover(&[], vec![span(0, 0..0, 0)]).is_empty());
    }

    proptest! {
        #[test]
        fn every_wanted_window_is_read_once(
            windows in prop::collection::btree_map(0u64..60, any::<bool>(), 0..60),
            spans in prop::collection::vec((0u8..3, 0u64..60, 0u64..20, 0u64..400), 0..20),
        ) {
            let mut all = visited(windows.keys().copied());
            all.iter_mut().for_each(|window| window.wanted = windows[&window.id.0]);
            let spans = spans.into_iter().map(|(level, start, count, bytes)| span(level, start..start + count, bytes));
            let mut read = Vec::new();
            for part in cover(&all, spans.collect()) {
                match part {
                    Part::Window(id) => read.push(id.0),
                    Part::Merged { span, windows } => {
                        prop_assert!(span.windows.iter().all(|id| all.iter().any(|window| window.id == *id)));
                        read.extend(windows.iter().map(|id| id.0));
                    }
                }
            }
            read.sort_unstable();
            let wanted: Vec<u64> = windows.iter().filter(|(_, wanted)| **wanted).map(|(id, _)| *id).collect();
            prop_assert_eq!(read, wanted);
        }
    }
}
