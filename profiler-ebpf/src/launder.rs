//! Numbers of which the verifier forgets where they came from.

/// A word of map memory. What is read back from it is any number to the verifier: used as an index, the number
/// itself would make the verifier remember each path of the search that led to it, and all paths are one now.
/// The compiler, too, does not know what is read: bounds that are checked behind it stay in the program.
#[repr(transparent)]
pub struct Cell(u64);

impl Cell {
    /// `value`, laundered for the verifier.
    ///
    /// # Safety
    /// `cell` points to a live element of a map that nobody else writes to.
    #[inline(always)]
    pub unsafe fn launder(cell: *mut Self, value: u64) -> u64 {
        let word = cell.cast::<u64>();
        // SAFETY: the caller answers for it.
        unsafe {
            word.write_volatile(value);
            word.read_volatile()
        }
    }
}
