//! [`WindowLinks`] as bytes that can be searched.
//!
//! One version byte (2), then little-endian: ids left out (u64), numbers of traces and spans (u32 each), then for
//! each trace and for each span 32 bits of a hash of its id, sorted, then the check value of [`seal`](super::seal), which
//! version 1 does not have. Ids are not kept whole: a window that is
//! found by chance (one in some ten thousand) is read in vain, which costs time and nothing else.
//!
//! The bytes belong to their window and are no tree over all windows: random ids in one tree would make every
//! append write a page for each id.

use super::seal::{seal, unseal};
use crate::profile::{LinkFilter, WindowLinks};

const VERSION: u8 = 2;
/// Without a check value.
const UNSEALED: u8 = 1;
const HEAD: usize = 17;

/// The links as bytes; empty where there are none.
pub(super) fn encode(links: &WindowLinks) -> Vec<u8> {
    if *links == WindowLinks::default() {
        return Vec::new();
    }
    let mut out = vec![VERSION];
    out.extend(links.left_out.to_le_bytes());
    out.extend((links.traces.len() as u32).to_le_bytes());
    out.extend((links.spans.len() as u32).to_le_bytes());
    prints(&mut out, links.traces.iter().map(|id| print(id)));
    prints(&mut out, links.spans.iter().map(|id| print(id)));
    seal(&mut out);
    out
}

fn prints(out: &mut Vec<u8>, prints: impl Iterator<Item = u32>) {
    let mut prints: Vec<u32> = prints.collect();
    prints.sort_unstable();
    out.extend(prints.into_iter().flat_map(u32::to_le_bytes));
}

/// May the window with these bytes hold samples of `wanted`? Bytes that are not understood may.
pub(super) fn may_hold(bytes: &[u8], wanted: &LinkFilter) -> bool {
    if bytes.is_empty() {
        return wanted.is_everything();
    }
    search(bytes, wanted).unwrap_or(true)
}

fn search(bytes: &[u8], wanted: &LinkFilter) -> Option<bool> {
    let bytes = match *bytes.first()? {
        VERSION => unseal(bytes)?,
        UNSEALED => bytes,
        _ => return None,
    };
    let (head, prints) = bytes.split_first_chunk::<HEAD>()?;
    let (_, numbers) = head.split_first()?;
    let (left_out, counts) = numbers.split_first_chunk::<8>()?;
    let (traces, spans) = counts.split_first_chunk::<4>()?;
    if u64::from_le_bytes(*left_out) > 0 {
        return None;
    }
    let traces = u32::from_le_bytes(*traces) as usize;
    let spans = u32::from_le_bytes(spans.try_into().ok()?) as usize;
    let (traces, rest) = prints.split_at_checked(traces.checked_mul(4)?)?;
    let spans = rest.get(..spans.checked_mul(4)?)?;
    let has_trace = wanted.trace_id.is_none_or(|id| holds(traces, print(&id)));
    Some(has_trace && wanted.span_id.is_none_or(|id| holds(spans, print(&id))))
}

fn holds(prints: &[u8], wanted: u32) -> bool {
    let (prints, _) = prints.as_chunks::<4>();
    let wanted = prints.binary_search_by_key(&wanted, |print| u32::from_le_bytes(*print));
    wanted.is_ok()
}

/// 32 bits of an id's hash (FNV-1a, mixed once more): ids of some programs differ in few bits.
fn print(id: &[u8]) -> u32 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = id.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    let mixed = (hash ^ hash >> 32).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed >> 32) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{encode, may_hold};
    use crate::profile::{LinkFilter, WindowLinks};

    fn links(numbers: std::ops::Range<u64>) -> WindowLinks {
        WindowLinks {
            traces: numbers
                .clone()
                .map(|number| u128::from(number).to_be_bytes())
                .collect(),
            spans: numbers.map(u64::to_be_bytes).collect(),
            left_out: 0,
        }
    }

    fn trace(number: u64) -> LinkFilter {
        LinkFilter {
            trace_id: Some(u128::from(number).to_be_bytes()),
            span_id: None,
        }
    }

    fn span(number: u64) -> LinkFilter {
        LinkFilter {
            trace_id: None,
            span_id: Some(number.to_be_bytes()),
        }
    }

    #[test]
    fn what_is_there_is_found_and_little_else() {
        let bytes = encode(&links(1..10_000));
        assert_eq!(bytes.len(), 17 + 2 * 4 * 9_999 + 4);
        for number in 1..10_000 {
            assert!(may_hold(&bytes, &trace(number)) && may_hold(&bytes, &span(number)));
        }
        let chance = (10_000..110_000).filter(|number| may_hold(&bytes, &trace(*number)));
        assert!(chance.count() < 10);
        let both = LinkFilter {
            trace_id: trace(7).trace_id,
            span_id: span(20_000).span_id,
        };
        assert!(!may_hold(&bytes, &both));
    }

    #[test]
    fn a_window_without_links_is_not_found_and_an_overfull_one_is() {
        let none = encode(&WindowLinks::default());
        assert!(none.is_empty() && !may_hold(&none, &trace(1)));
        let overfull = WindowLinks {
            left_out: 1,
            ..links(1..3)
        };
        assert!(may_hold(&encode(&overfull), &trace(9)));
    }

    #[test]
    fn damaged_links_may_hold_everything() {
        let mut bytes = encode(&links(1..3));
        assert!(!may_hold(&bytes, &trace(9)));
        for place in 0..bytes.len() {
            bytes[place] ^= 4;
            assert!(may_hold(&bytes, &trace(1)), "byte {place}");
            bytes[place] ^= 4;
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = may_hold(&bytes, &trace(1));
        }
    }
}
