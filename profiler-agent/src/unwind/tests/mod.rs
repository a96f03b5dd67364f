//! Tests of the whole stage on small files made here.

mod elf_file;
mod hostile;
mod shapes;
mod words;

use profiler_common::unwind::Rule;
use profiler_common::unwind::table::rule_index;

use super::{Built, build};

/// The rule that a table has for `address`.
pub(super) fn rule_at(built: &Built, address: u64) -> Rule {
    let table = &built.table;
    let offset = address - table.start.0;
    let index = rule_index(table.words.as_slice(), table.buckets, offset);
    table.rules[usize::from(index.expect("the table covers the address"))]
}

/// Panics unless every word of the table can be followed.
fn assert_consistent(built: &Built) {
    let table = &built.table;
    assert_eq!(table.start.0 % 65_536, 0);
    let (index, rows) = table.words.split_at(table.buckets as usize + 1);
    assert_eq!(*index.last().unwrap() as usize, table.words.len());
    for (bucket, bounds) in index.windows(2).enumerate() {
        assert!(bounds[0] < bounds[1], "bucket {bucket} has a row");
        let rows = &table.words[bounds[0] as usize..bounds[1] as usize];
        assert_eq!(u64::from(rows[0] >> 16), (bucket as u64 * 1024) & 0xffff);
        assert!(rows.windows(2).all(|pair| pair[0] >> 16 < pair[1] >> 16));
    }
    assert!(
        rows.iter()
            .all(|row| ((row & 0xffff) as usize) < table.rules.len())
    );
    assert_eq!(
        table.rules[..3],
        [Rule::NONE, Rule::END_OF_STACK, Rule::UNSUPPORTED]
    );
}
