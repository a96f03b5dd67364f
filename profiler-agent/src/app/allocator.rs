//! What is free goes back to the system.

/// What a window needed while it was encoded, or a query, would stay with the allocator until the next one.
pub(super) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
