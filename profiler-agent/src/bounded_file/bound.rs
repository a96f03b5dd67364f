//! How much a file may hold so that its length stays within the limit.

/// Bytes of a page of redb.
pub(crate) const PAGE: u64 = 4096;
/// Bytes of a value: with redb's own, just under 4 pages. Values of one size keep redb's page allocator free of holes: one
/// of any length would take the next power of two of pages.
pub(crate) const CHUNK: usize = 4 * 4096 - 256;

/// Bytes of pages that values may take: three quarters of the length that the file reaches by doubling
/// within the limit. The last quarter is for the pages that a transaction writes while those it
/// frees are not free yet, and for the tables' branches.
pub(crate) fn room(file_bytes: u64, max_bytes: u64) -> u64 {
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
    use super::room;

    #[test]
    fn a_file_that_may_not_double_is_three_quarters_full() {
        assert_eq!(room(8 << 20, 15 << 20), 6 << 20);
        assert_eq!(room(1 << 20, 15 << 20), 6 << 20);
        assert_eq!(room(1 << 20, 16 << 20), 12 << 20);
    }
}
