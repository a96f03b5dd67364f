//! What a window takes of the file.

use crate::bounded_file::{CHUNK, PAGE};

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

#[cfg(test)]
mod tests {
    use super::{PAGE, pages_of};

    #[test]
    fn a_window_takes_at_least_its_bytes() {
        for bytes in [0, 1, 16_128, 16_129, 300_000] {
            assert!(pages_of(bytes, 3_000, 20_000) * PAGE > bytes as u64 + 23_000);
        }
    }
}
