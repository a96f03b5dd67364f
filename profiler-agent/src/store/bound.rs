//! How much the file may hold so that its length stays within the limit.

use super::CHUNK;

/// Bytes of a page of redb.
pub(super) const PAGE: u64 = 4096;

/// Pages that a window takes: four a piece, one for the last piece's rounding, and its share of
/// the tables.
pub(super) const fn pages_of(
    profile_bytes: usize,
    summary_bytes: usize,
    links_bytes: usize,
) -> u64 {
    let pieces = (profile_bytes.div_ceil(CHUNK) + links_bytes.div_ceil(CHUNK)) as u64;
    let summary = summary_bytes.next_power_of_two() as u64;
    pieces * 4 + summary.div_ceil(PAGE) + 2
}

/// Bytes of pages that windows may take: three quarters of the length that the file reaches by doubling
/// within the limit. The last quarter is for the pages that a transaction writes while those it
/// frees are not free yet, and for the tables' branches.
pub(super) fn room(file_bytes: u64, max_bytes: u64) -> u64 {
    let mut length = file_bytes.max(PAGE);
    while let Some(doubled) = length
        .checked_mul(2)
        .filter(|doubled| *doubled <= max_bytes)
    {
        length = doubled;
    }
    length / 4 * 3
}

#[cfg(test)]
mod tests {
    use super::{PAGE, pages_of, room};

    #[test]
    fn a_file_that_may_not_double_is_three_quarters_full() {
        assert_eq!(room(8 << 20, 15 << 20), 6 << 20);
        assert_eq!(room(1 << 20, 15 << 20), 6 << 20);
        assert_eq!(room(1 << 20, 16 << 20), 12 << 20);
    }

    #[test]
    fn a_window_takes_at_least_its_bytes() {
        for bytes in [0, 1, 16_128, 16_129, 300_000] {
            assert!(pages_of(bytes, 3_000, 20_000) * PAGE > bytes as u64 + 23_000);
        }
    }
}
