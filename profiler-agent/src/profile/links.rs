//! Which requests the samples of a window belong to: what a search by trace or span finds the window by.

use super::{Link, Profile};

/// The request that is asked for: what is given has to be equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkFilter {
    /// Samples of this trace.
    pub trace_id: Option<[u8; 16]>,
    /// Samples of this span.
    pub span_id: Option<[u8; 8]>,
}

impl LinkFilter {
    /// Is nothing given?
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
    /// Is a sample with this link wanted?
    #[must_use]
    pub fn keeps(&self, link: Option<&Link>) -> bool {
        let Some(link) = link else {
            return self.is_everything();
        };
        self.trace_id.is_none_or(|id| id == link.trace_id)
            && self.span_id.is_none_or(|id| id == link.span_id)
    }
}

/// The distinct ids of a window's links; bounded in size whatever ran in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowLinks {
    /// Trace ids, sorted; at most [`WindowLinks::MAX`].
    pub traces: Vec<[u8; 16]>,
    /// Span ids, sorted; at most [`WindowLinks::MAX`].
    pub spans: Vec<[u8; 8]>,
    /// Ids that had no room: the window has to be read to know.
    pub left_out: u64,
}

impl WindowLinks {
    /// Ids of each kind that are listed.
    pub const MAX: usize = 16_384;

    /// The ids of a profile.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        let links = || profile.samples.iter().filter_map(|sample| sample.link);
        let (traces, more_traces) = distinct(links().map(|link| link.trace_id));
        let (spans, more_spans) = distinct(links().map(|link| link.span_id));
        Self {
            traces,
            spans,
            left_out: more_traces + more_spans,
        }
    }
}

/// The first of the distinct ids that are not zero, and how many more there are.
fn distinct<const BYTES: usize>(ids: impl Iterator<Item = [u8; BYTES]>) -> (Vec<[u8; BYTES]>, u64) {
    let mut ids: Vec<_> = ids.filter(|id| *id != [0; BYTES]).collect();
    ids.sort_unstable();
    ids.dedup();
    let more = ids.len().saturating_sub(WindowLinks::MAX);
    ids.truncate(WindowLinks::MAX);
    ids.shrink_to_fit();
    (ids, more as u64)
}

#[cfg(test)]
mod tests {
    use super::super::example::example;
    use super::*;

    #[test]
    fn a_profile_has_each_id_once_and_no_zeros() {
        let mut profile = example();
        let link = |trace, span| {
            Some(Link {
                trace_id: [trace; 16],
                span_id: [span; 8],
            })
        };
        let links = [link(2, 5), link(1, 5), None, link(0, 7), link(2, 0)];
        for (sample, link) in profile.samples.iter_mut().zip(links) {
            sample.link = link;
        }
        profile.samples.truncate(links.len());
        let links = WindowLinks::of(&profile);
        assert_eq!(links.traces, [[1; 16], [2; 16]]);
        assert_eq!(links.spans, [[5; 8], [7; 8]]);
        assert_eq!(links.left_out, 0);
    }

    #[test]
    fn more_ids_than_there_is_room_for_are_counted() {
        let ids = (1..=20_000u64).rev().map(u64::to_be_bytes);
        let (kept, more) = distinct(ids);
        assert_eq!((kept.len(), more), (16_384, 3_616));
        assert_eq!(kept[0], 1u64.to_be_bytes());
    }

    #[test]
    fn a_filter_keeps_what_is_equal() {
        let link = Link {
            trace_id: [1; 16],
            span_id: [2; 8],
        };
        let filter = |trace_id, span_id| LinkFilter { trace_id, span_id };
        assert!(filter(None, None).keeps(None) && filter(None, None).keeps(Some(&link)));
        assert!(filter(Some([1; 16]), None).keeps(Some(&link)));
        assert!(filter(Some([1; 16]), Some([2; 8])).keeps(Some(&link)));
        assert!(!filter(Some([1; 16]), Some([1; 8])).keeps(Some(&link)));
        assert!(!filter(None, Some([2; 8])).keeps(None));
    }
}
