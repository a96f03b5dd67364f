//! Look-ups in tables.

use profiler_common::unwind::table::{BUCKET_BYTES, MAX_WORDS, Row, SEARCH_STEPS, rule_index};
use proptest::prelude::*;

/// A table of one rule for each byte range that starts at a key of `changes`, by the definition.
fn table(buckets: u32, changes: &std::collections::BTreeMap<u64, u16>) -> Vec<u32> {
    let mut index = Vec::new();
    let mut rows = Vec::new();
    let mut rule = 0;
    for bucket in 0..u64::from(buckets) {
        index.push(buckets + 1 + rows.len() as u32);
        let start = bucket * BUCKET_BYTES;
        if !changes.contains_key(&start) {
            rows.push(Row::new(start as u16, rule).0);
        }
        for (at, next) in changes.range(start..start + BUCKET_BYTES) {
            rows.push(Row::new(*at as u16, *next).0);
            rule = *next;
        }
    }
    index.push(buckets + 1 + rows.len() as u32);
    index.extend(rows);
    index
}

#[test]
fn a_full_bucket_is_found_in_the_steps_there_are() {
    let changes = (0..BUCKET_BYTES).map(|at| (at, at as u16)).collect();
    let words = table(1, &changes);
    for at in 0..BUCKET_BYTES {
        assert_eq!(rule_index(words.as_slice(), 1, at), Some(at as u16));
    }
}
const _: () = assert!(1 << SEARCH_STEPS > BUCKET_BYTES && MAX_WORDS <= u32::MAX as usize);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn search_agrees_with_the_definition(
        buckets in 1u32..200,
        changes in prop::collection::btree_map(0u64..200 * 1024, any::<u16>(), 0..400),
        wanted in prop::collection::vec(0u64..210 * 1024, 1..200),
    ) {
        let words = table(buckets, &changes);
        let near = changes.keys().flat_map(|at| [at.saturating_sub(1), *at, at + 1]);
        for offset in wanted.iter().copied().chain(near) {
            let naive = changes.range(..=offset).next_back().map_or(0, |(_, rule)| *rule);
            let inside = offset < u64::from(buckets) * BUCKET_BYTES;
            prop_assert_eq!(
                rule_index(words.as_slice(), buckets, offset),
                inside.then_some(naive)
            );
        }
    }

    #[test]
    fn words_that_are_no_table_never_panic(
        words in prop::collection::vec(prop_oneof![0u32..64, any::<u32>()], 0..64),
        buckets in prop_oneof![0u32..64, any::<u32>()],
        offset in prop_oneof![0u64..65_536, any::<u64>()],
    ) {
        rule_index(words.as_slice(), buckets, offset);
    }
}
