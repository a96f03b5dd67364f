//! Names of locations, kept between windows within a byte budget.
//!
//! Recency is counted in windows: an entry remembers the last window that asked for it. When the
//! budget is exceeded, whole windows go, the least recent first, until three quarters of it are
//! used; so trimming is rare and its cost is spread over many insertions.

use hashbrown::HashMap;

use super::strings::Strings;
use crate::profile::{FrameName, LocationKey, ResolvedFrames};

/// Bytes that an entry costs besides its frames: key, counts, slot in the table.
const OVERHEAD: usize = 112;

#[derive(Debug)]
struct Entry {
    frames: ResolvedFrames,
    window: u64,
}

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<LocationKey, Entry>,
    bytes: usize,
    budget: usize,
    window: u64,
}

fn cost(frames: &ResolvedFrames) -> usize {
    OVERHEAD + frames.frames.len() * size_of::<FrameName>()
}

impl Cache {
    /// An empty cache of at most `budget` bytes.
    pub(super) fn new(budget: usize) -> Self {
        Self {
            entries: HashMap::new(),
            bytes: 0,
            budget,
            window: 0,
        }
    }

    /// The names of `key`, marked as used now.
    pub(super) fn get(&mut self, key: &LocationKey) -> Option<ResolvedFrames> {
        let window = self.window;
        let entry = self.entries.get_mut(key)?;
        entry.window = window;
        Some(entry.frames.clone())
    }

    /// Keeps `frames` as the names of `key`.
    pub(super) fn insert(&mut self, key: LocationKey, frames: ResolvedFrames) {
        self.bytes += cost(&frames);
        let entry = Entry {
            frames,
            window: self.window,
        };
        if let Some(old) = self.entries.insert(key, entry) {
            self.bytes -= cost(&old.frames);
        }
    }

    /// Forgets the names of such locations.
    pub(super) fn forget(&mut self, such: impl Fn(&LocationKey) -> bool) {
        let bytes = &mut self.bytes;
        self.entries.retain(|key, entry| {
            let kept = !such(key);
            if !kept {
                *bytes -= cost(&entry.frames);
            }
            kept
        });
    }

    /// Ends a window: trims to the budget, which the cached strings share.
    pub(super) fn end_window(&mut self, strings: &mut Strings) {
        self.window += 1;
        if self.bytes + strings.bytes() <= self.budget {
            return;
        }
        strings.sweep();
        let total = self.bytes + strings.bytes();
        if total <= self.budget {
            return;
        }
        // Strings go with the entries that hold them: both are cut by the same share.
        let kept = self.budget / 4 * 3;
        let target = (self.bytes as u128 * kept as u128 / total as u128) as usize;
        let mut ages: Vec<(u64, LocationKey)> = self
            .entries
            .iter()
            .map(|(key, entry)| (entry.window, *key))
            .collect();
        ages.sort_unstable_by_key(|(window, _)| *window);
        for (_, key) in ages {
            if self.bytes <= target {
                break;
            }
            if let Some(entry) = self.entries.remove(&key) {
                self.bytes -= cost(&entry.frames);
            }
        }
        self.entries.shrink_to_fit();
        strings.sweep();
    }

    /// Number of locations that are cached.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the entries.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::profile::{FrameType, KernelAddress, LocationKind};

    fn key(number: u64) -> LocationKey {
        LocationKey::Kernel(KernelAddress(number))
    }

    fn frames(strings: &mut Strings, name: &str) -> ResolvedFrames {
        let name = strings.intern(name);
        ResolvedFrames {
            frames: Arc::from([FrameName {
                system_name: Arc::clone(&name),
                name,
                source: None,
                start_line: 0,
            }]),
            frame_type: FrameType::Native,
            kind: LocationKind::Named,
            wrapper: false,
        }
    }

    #[test]
    fn least_recent_windows_go_first_and_the_budget_holds() {
        let budget = 64 << 10;
        let mut cache = Cache::new(budget);
        let mut strings = Strings::default();
        for number in 0..10_000_u64 {
            let named = frames(&mut strings, &format!("function_{number}"));
            cache.insert(key(number), named);
            assert!(cache.get(&key(0)).is_some(), "used in every window");
            if number % 100 == 99 {
                cache.end_window(&mut strings);
                assert!(cache.bytes() + strings.bytes() <= budget);
            }
        }
        assert!(cache.get(&key(9_999)).is_some());
        assert!(cache.get(&key(1)).is_none());
        assert!(cache.len() > 50);
    }

    #[test]
    fn replacing_an_entry_does_not_count_twice() {
        let mut cache = Cache::new(1 << 20);
        let mut strings = Strings::default();
        let named = frames(&mut strings, "a");
        cache.insert(key(1), named.clone());
        let once = cache.bytes();
        cache.insert(key(1), named);
        assert_eq!(cache.bytes(), once);
    }
}
