//! How many files are kept open.

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Files that the cache keeps open.
    pub pinned: usize,
    /// Names that are known at a time, those of files in use included: a file has one or two.
    pub open: usize,
}

impl Limits {
    /// The bounds for a process that may have `descriptors` open: a part of them, at most
    /// [`Limits::default`].
    #[must_use]
    pub fn within(descriptors: u64) -> Self {
        let Self { pinned, open } = Self::default();
        // A file of a container also has a descriptor of its root; some are for others.
        let fitting = usize::try_from(descriptors / 4).unwrap_or(usize::MAX);
        Self {
            pinned: pinned.min(fitting),
            open: open.min(fitting),
        }
    }

    /// The bounds for this process, by its limit of descriptors (`RLIMIT_NOFILE`).
    #[must_use]
    pub fn of_this_process() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current.map_or_else(Self::default, Self::within)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pinned: 1_024,
            open: 4_096,
        }
    }
}
