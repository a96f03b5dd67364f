//! Which files have to go.

use std::collections::BTreeMap;
use std::time::Duration;

use super::name::stamp;
use crate::profile::UnixTime;

/// The files of a directory, and how many of them may stay.
#[derive(Debug)]
pub(super) struct Bounds {
    max_bytes: u64,
    max_age: Duration,
    /// Sizes by name: the oldest first.
    files: BTreeMap<String, u64>,
    bytes: u64,
}

impl Bounds {
    pub(super) fn new(max_bytes: u64, max_age: Duration) -> Self {
        Self {
            max_bytes,
            max_age,
            files: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// A file is there.
    pub(super) fn add(&mut self, name: String, bytes: u64) {
        self.bytes += bytes;
        if let Some(before) = self.files.insert(name, bytes) {
            self.bytes -= before;
        }
    }

    /// A file is gone.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(bytes) = self.files.remove(name) {
            self.bytes -= bytes;
        }
    }

    /// The oldest file, where it has to go: it is too old at `now`, or all together are too large and it is not the
    /// newest.
    pub(super) fn next(&self, now: UnixTime) -> Option<&str> {
        let (name, _) = self.files.first_key_value()?;
        let age = u64::try_from(self.max_age.as_nanos()).unwrap_or(u64::MAX);
        let oldest = stamp(UnixTime(now.0.saturating_sub(age)));
        let too_large = self.bytes > self.max_bytes && self.files.len() > 1;
        (too_large || **name < *oldest).then_some(name)
    }
}
