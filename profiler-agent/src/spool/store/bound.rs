//! How much the file may hold so that its length stays within the limit.

use super::CHUNK;

/// Bytes of a page of redb.
const PAGE: u64 = 4096;
/// Bytes that a header takes with its share of the tables.
const HEADER: u64 = 512;

/// Bytes of the pages that a payload takes: four a full piece; for the last one, the power of two that holds it with
/// its neighbours' rounding. Headers share their pages.
#[must_use]
pub const fn cost(length: u64) -> u64 {
    let rest = length % CHUNK as u64;
    let pages_of_rest = (rest + rest / 4).div_ceil(PAGE).next_power_of_two();
    (length / CHUNK as u64 * 4 + pages_of_rest) * PAGE + HEADER
}

/// Bytes of pages that payloads may take: three quarters of the length that the file reaches by doubling
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
    use super::{cost, room};

    #[test]
    fn a_file_that_may_not_double_is_three_quarters_full() {
        assert_eq!(room(8 << 20, 15 << 20), 6 << 20);
        assert_eq!(room(1 << 20, 15 << 20), 6 << 20);
        assert_eq!(room(1 << 20, 16 << 20), 12 << 20);
    }

    #[test]
    fn a_payload_takes_more_than_its_bytes() {
        for length in [0, 1, 4_096, 16_128, 16_129, 102_400, 4 << 20] {
            assert!(cost(length) > length, "{length}");
        }
        assert_eq!(cost(0), 4096 + 512);
        assert_eq!(cost(100 << 10), (6 * 4 + 2) * 4096 + 512);
    }
}
