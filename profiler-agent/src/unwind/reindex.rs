//! A file's own rule numbers to those that all loaded tables share.

use profiler_common::unwind::table::Row;

use super::interner::RuleInterner;
use crate::profile::UnwindTable;

/// The words to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reindexed {
    /// Index and rows; a row's rule is a number of the interner.
    pub words: Vec<u32>,
    /// Rows that became `Rule::UNSUPPORTED` because the interner was full, or because the table
    /// has no such rule.
    pub degraded_rows: u64,
}

/// Rewrites the rows of `table` in place with numbers of `interner`, which takes up the rules that
/// are used. `interner.added_since` tells which of them are new.
#[must_use]
pub fn reindex(table: UnwindTable, interner: &mut RuleInterner) -> Reindexed {
    let UnwindTable {
        buckets,
        mut words,
        rules,
        ..
    } = table;
    let mut numbers: Vec<Option<Option<u16>>> = vec![None; rules.len()];
    let mut degraded_rows = 0;
    for word in words.iter_mut().skip(buckets as usize + 1) {
        let row = Row(*word);
        let own = usize::from(row.rule());
        let number = match (numbers.get_mut(own), rules.get(own)) {
            (Some(number), Some(rule)) => *number.get_or_insert_with(|| interner.intern(rule)),
            _ => None,
        };
        let number = number.unwrap_or_else(|| {
            degraded_rows += 1;
            RuleInterner::UNSUPPORTED
        });
        *word = Row::new(row.low(), number).0;
    }
    Reindexed {
        words,
        degraded_rows,
    }
}
