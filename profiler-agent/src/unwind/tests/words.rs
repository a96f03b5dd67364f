//! Words: written, and renumbered for the shared array.

use profiler_common::unwind::table::{BUCKET_BYTES, rule_index};
use profiler_common::unwind::{CfaKind, Rule};
use proptest::prelude::*;

use crate::profile::{ElfAddress, UnwindTable};
use crate::unwind::writer::Writer;
use crate::unwind::{RuleInterner, reindex};

fn rule(offset: i32) -> Rule {
    Rule {
        cfa_offset: offset,
        ..Rule::of(CfaKind::Register)
    }
}

proptest! {
    #[test]
    fn what_is_written_is_found(
        span in 1u64..300_000,
        changes in prop::collection::btree_map(0u64..300_000, 0u16..6, 0..300),
    ) {
        let mut writer = Writer::new(span).unwrap();
        for (at, rule) in &changes {
            // What comes later at the same place counts.
            writer.switch(*at, 77).unwrap();
            writer.switch(*at, *rule).unwrap();
        }
        let (buckets, words) = writer.finish().unwrap();
        prop_assert_eq!(u64::from(buckets), span.div_ceil(BUCKET_BYTES));
        let inside = u64::from(buckets) * BUCKET_BYTES;
        let near = changes.keys().flat_map(|at| [at.saturating_sub(1), *at]);
        for offset in (0..inside).step_by(501).chain(near.filter(|at| *at < inside)) {
            let wanted = changes.range(..=offset).next_back().map_or(0, |(_, rule)| *rule);
            prop_assert_eq!(rule_index(words.as_slice(), buckets, offset), Some(wanted));
        }
        // Equal neighbours are one row: a bucket's first, or a change.
        let mut rules: Vec<u16> = vec![0];
        rules.extend(changes.range(..inside).map(|(_, rule)| rule));
        rules.dedup();
        prop_assert!(words.len() as u64 <= 2 * u64::from(buckets) + rules.len() as u64);
    }

    /// Each offset has the same rule before and after.
    #[test]
    fn renumbered_tables_say_the_same(tables in prop::collection::vec(
        (prop::collection::vec(0u16..10, 10), prop::collection::vec(-3i32..30, 10)),
        1..6,
    )) {
        let mut shared = RuleInterner::new();
        let mut uploaded = 0;
        let mut array = Vec::new();
        let mut loaded = Vec::new();
        for (rows, offsets) in &tables {
            let mut own = RuleInterner::new();
            let numbers: Vec<u16> = offsets.iter().map(|offset| own.intern(&rule(*offset)).unwrap()).collect();
            let mut writer = Writer::new(2048).unwrap();
            for (at, row) in rows.iter().enumerate() {
                writer.switch(at as u64 * 150, numbers[usize::from(*row)]).unwrap();
            }
            let (buckets, words) = writer.finish().unwrap();
            let table = UnwindTable { start: ElfAddress(0), buckets, words, rules: own.into_rules() };
            let reindexed = reindex(table.clone(), &mut shared);
            prop_assert_eq!(reindexed.degraded_rows, 0);
            array.extend_from_slice(shared.added_since(uploaded));
            uploaded = shared.rules().len();
            loaded.push((table, reindexed));
        }
        prop_assert_eq!(&array[..3], &[Rule::NONE, Rule::END_OF_STACK, Rule::UNSUPPORTED]);
        for (table, reindexed) in &loaded {
            for offset in 0..2048 {
                let own = rule_index(table.words.as_slice(), table.buckets, offset).unwrap();
                let number = rule_index(reindexed.words.as_slice(), table.buckets, offset).unwrap();
                prop_assert_eq!(table.rules[usize::from(own)], array[usize::from(number)]);
            }
        }
    }
}

#[test]
fn rules_beyond_the_last_number_are_unsupported_and_counted() {
    let mut shared = RuleInterner::new();
    let table = |offset: i32| {
        let mut writer = Writer::new(2048).unwrap();
        writer.switch(100, 3).unwrap();
        let (buckets, words) = writer.finish().unwrap();
        UnwindTable {
            start: ElfAddress(0),
            buckets,
            words,
            rules: vec![
                Rule::NONE,
                Rule::END_OF_STACK,
                Rule::UNSUPPORTED,
                rule(offset),
            ],
        }
    };
    for offset in 0..Rule::MAX as i32 - 3 {
        assert!(shared.intern(&rule(offset)).is_some());
    }
    assert_eq!(shared.intern(&rule(-1)), None);
    // Known ones still are numbered.
    assert_eq!(reindex(table(5), &mut shared).degraded_rows, 0);
    let full = reindex(table(-1), &mut shared);
    // In the first bucket from byte 100 on, and the whole second bucket.
    assert_eq!(full.degraded_rows, 2);
    let found = |offset| rule_index(full.words.as_slice(), 2, offset);
    assert_eq!(found(99), Some(RuleInterner::NONE));
    assert_eq!(found(100), Some(RuleInterner::UNSUPPORTED));
    assert_eq!(shared.rules().len(), Rule::MAX);
}

#[test]
fn a_row_without_a_rule_is_unsupported() {
    let table = UnwindTable {
        start: ElfAddress(0),
        buckets: 1,
        words: vec![2, 3, 9],
        rules: vec![Rule::NONE],
    };
    let reindexed = reindex(table, &mut RuleInterner::new());
    assert_eq!(
        reindexed.words,
        [2, 3, u32::from(RuleInterner::UNSUPPORTED)]
    );
    assert_eq!(reindexed.degraded_rows, 1);
}
