//! The agent's own memory.

/// Makes the allocator give memory back. To be called before there are threads.
///
/// glibc would give each thread an arena of its own, and after the first large buffer was freed it
/// would keep later ones: a table or a window that was large once would stay resident for ever.
pub fn keep_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; a refused setting leaves the default.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
    }
}
