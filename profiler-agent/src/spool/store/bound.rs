//! What a payload takes of the file.

use crate::bounded_file::{CHUNK, PAGE};

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

#[cfg(test)]
mod tests {
    use super::cost;

    #[test]
    fn a_payload_takes_more_than_its_bytes() {
        for length in [0, 1, 4_096, 16_128, 16_129, 102_400, 4 << 20] {
            assert!(cost(length) > length, "{length}");
        }
        assert_eq!(cost(0), 4096 + 512);
        assert_eq!(cost(100 << 10), (6 * 4 + 2) * 4096 + 512);
    }
}
