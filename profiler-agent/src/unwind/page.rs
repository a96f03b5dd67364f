//! The table of a page, cut out of that of its whole file.

use hashbrown::HashMap;
use profiler_common::unwind::table::{BUCKET_BYTES, PAGE_BUCKETS, Row};

use super::interner::RuleInterner;
use crate::profile::{ElfAddress, UnwindTable};

/// The table of `page`; `None` where nothing is known of any code in it.
#[must_use]
pub fn page_of(table: &UnwindTable, page: u32) -> Option<UnwindTable> {
    let first = page.checked_mul(PAGE_BUCKETS)?;
    if first >= table.buckets {
        return None;
    }
    let behind = (first + PAGE_BUCKETS).min(table.buckets);
    let index = table.words.get(first as usize..=behind as usize)?;
    let (begin, end) = (*index.first()? as usize, *index.last()? as usize);
    let rows = table.words.get(begin..end)?;
    let mut rules = vec![profiler_common::unwind::Rule::NONE];
    let mut numbers: HashMap<u16, u16> = HashMap::new();
    numbers.insert(RuleInterner::NONE, RuleInterner::NONE);
    let head = PAGE_BUCKETS + 1;
    let mut words: Vec<u32> = index
        .iter()
        .map(|at| head + (*at as usize).saturating_sub(begin) as u32)
        .collect();
    words.pop();
    // A table may end within a page: nothing is known of the rest.
    let rest = words.len() as u32..PAGE_BUCKETS;
    let mut behind_rows = head + rows.len() as u32;
    for _ in rest.clone() {
        words.push(behind_rows);
        behind_rows += 1;
    }
    words.push(behind_rows);
    for row in rows {
        let row = Row(*row);
        let number = *numbers.entry(row.rule()).or_insert_with(|| {
            let rule = table.rules.get(usize::from(row.rule()));
            rules.push(
                rule.copied()
                    .unwrap_or(profiler_common::unwind::Rule::UNSUPPORTED),
            );
            // Not more than there are in `table`.
            (rules.len() - 1) as u16
        });
        words.push(Row::new(row.low(), number).0);
    }
    let low_of = |bucket: u32| (u64::from(bucket) * BUCKET_BYTES) as u16;
    words.extend(rest.map(|bucket| Row::new(low_of(bucket), RuleInterner::NONE).0));
    (rules.len() > 1).then(|| UnwindTable {
        start: ElfAddress(table.start.0 + u64::from(first) * BUCKET_BYTES),
        buckets: PAGE_BUCKETS,
        words,
        rules,
    })
}
