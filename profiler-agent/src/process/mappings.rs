//! The executable mappings of one process image, versioned: what is mapped now, and what was until
//! when. Pure.
//!
//! - `current` is sorted by start and free of overlaps.
//! - A new mapping retires what it covers of older ones, at its time. Equal content (all anonymous
//!   memory is alike; a file's mapping is equal to another of the same file with the same bias) is
//!   not retired but merged, so a JIT that flips its pages, or an `mprotect` within a library,
//!   leaves one mapping.
//! - [`MappingSet::at`] looks for what was valid at a time. The kernel reports a mapping after it
//!   made it, and a scan sees mappings of unknown age; so an address that was in nothing older at
//!   that time is looked up in what came later.
//! - Where records were lost, or a scan took its time, an address at which different things are mapped in turn is in
//!   nothing ([`Doubts`]): a frame without a name is better than one with another's. So is what was
//!   retired before anything that is still kept.

mod doubt;

use std::ops::Range;
use std::sync::Arc;

use self::doubt::Doubts;
use crate::profile::{
    BootTime, ElfAddress, Executable, ExecutableMapping, FileOffset, MappingKind, VirtualAddress,
    mapping_bias,
};

/// Executable mappings of one process image that are kept.
pub const MAX_MAPPINGS: usize = 65_536;
/// Retired mappings of one process image that are kept.
pub const MAX_RETIRED: usize = 1_024;

/// What inserting a mapping did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was there already.
    Unchanged,
    /// Only anonymous memory changed.
    Anonymous,
    /// The set of file mappings changed.
    Files,
    /// There is no room.
    Full,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct MappingSet {
    current: Vec<Current>,
    retired: Vec<Retired>,
    doubts: Doubts,
    /// What was retired before is not known any more.
    forgotten: BootTime,
    /// When something was last retired.
    retired_until: BootTime,
}

#[derive(Clone, Debug)]
struct Current {
    mapping: ExecutableMapping,
    since: BootTime,
}

#[derive(Clone, Debug)]
struct Retired {
    mapping: ExecutableMapping,
    since: BootTime,
    until: BootTime,
}

impl MappingSet {
    /// The mappings of now, sorted by address.
    pub fn current(&self) -> impl Iterator<Item = &ExecutableMapping> {
        self.current.iter().map(|current| &current.mapping)
    }

    /// Number of mappings of now.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.current.len()
    }

    /// Is nothing mapped now?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.current.is_empty()
    }

    /// The mapping that `address` was in at `time`; `None` also where that is not known.
    #[must_use]
    pub fn at(&self, address: VirtualAddress, time: BootTime) -> Option<&ExecutableMapping> {
        let behind = self
            .current
            .partition_point(|current| current.mapping.range.start <= address);
        let now = behind
            .checked_sub(1)
            .map(|index| &self.current[index])
            .filter(|current| address < current.mapping.range.end);
        if let Some(now) = now
            && now.since <= time
        {
            return self.unless_doubtful(&now.mapping, now.since, address, time);
        }
        let earlier = || {
            self.retired
                .iter()
                .filter(|retired| retired.mapping.range.contains(&address))
        };
        if let Some(then) = earlier().find(|retired| retired.since <= time && time < retired.until)
        {
            return self.unless_doubtful(&then.mapping, then.since, address, time);
        }
        if time < self.forgotten {
            return None;
        }
        let next = || earlier().filter(|retired| retired.since > time);
        next()
            .min_by_key(|retired| retired.since)
            .map(|retired| (&retired.mapping, retired.since))
            .or(now.map(|now| (&now.mapping, now.since)))
            .and_then(|(mapping, since)| {
                let since = since.min(time);
                self.unless_doubtful(mapping, since, address, time)
            })
    }

    /// The file whose read-only data `length` bytes at `address` are, with their place in it. A loader puts a file's data beside
    /// its code, so only the mappings of code next to the address are asked.
    #[must_use]
    pub fn constant_at(
        &self,
        address: VirtualAddress,
        length: u64,
        time: BootTime,
    ) -> Option<(&Arc<Executable>, FileOffset)> {
        let behind = self
            .current
            .partition_point(|current| current.mapping.range.start <= address);
        let below = behind.checked_sub(1);
        let beside = below.into_iter().chain(Some(behind));
        let beside = beside.filter_map(|index| self.current.get(index));
        beside
            .filter(|current| current.since <= time)
            .find_map(|current| {
                let ExecutableMapping { range, kind } = &current.mapping;
                let MappingKind::File { executable, offset } = kind else {
                    return None;
                };
                let bias = mapping_bias(&executable.segments, range, *offset)?;
                let own = ElfAddress(address.0.wrapping_add(bias));
                let offset = executable.constant_offset(own, length)?;
                Some((executable, offset))
            })
    }

    /// `mapping`, which is known to be at `address` since `since`, unless something else may have been there at `time`.
    fn unless_doubtful<'a>(
        &self,
        mapping: &'a ExecutableMapping,
        since: BootTime,
        address: VirtualAddress,
        time: BootTime,
    ) -> Option<&'a ExecutableMapping> {
        let doubtful = self.doubts.cover(since, time) && self.is_contested(mapping, address);
        (!doubtful).then_some(mapping)
    }

    /// Is, or was, anything but `mapping` at `address`; or was its file elsewhere?
    fn is_contested(&self, mapping: &ExecutableMapping, address: VirtualAddress) -> bool {
        let current = self.current.iter().map(|current| &current.mapping);
        let mut retired = self.retired.iter().map(|retired| &retired.mapping);
        let others = current.chain(retired.clone());
        let mut others = others.filter(|other| !same_content(other, mapping));
        others.any(|other| other.range.contains(&address))
            || retired.any(|other| !same_content(other, mapping) && same_file(other, mapping))
    }

    /// Records of changes between `from` and `until` were lost.
    pub fn doubt(&mut self, from: BootTime, until: BootTime) {
        self.doubts.begin(from, until);
    }

    /// Is there something that was mapped and is not mapped any more? Else what is mapped is taken to stay.
    #[must_use]
    pub const fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Inserts `mapping`, made at `time`.
    pub fn insert(&mut self, time: BootTime, mapping: ExecutableMapping) -> Inserted {
        let mut range = mapping.range.clone();
        if range.is_empty() {
            return Inserted::Unchanged;
        }
        // Anonymous memory also merges with what it only touches.
        let reach = u64::from(matches!(mapping.kind, MappingKind::Anonymous));
        let low = self
            .current
            .partition_point(|c| c.mapping.range.end.0.saturating_add(reach) <= range.start.0);
        let high = self
            .current
            .partition_point(|c| c.mapping.range.start.0 < range.end.0.saturating_add(reach))
            .max(low);
        if let [only] = &mut self.current[low..high]
            && same_content(&only.mapping, &mapping)
            && only.mapping.range.start <= range.start
            && range.end <= only.mapping.range.end
        {
            if time < only.since {
                // It was found before it was told.
                only.since = time;
                self.cut(time, &mapping);
            } else if self.doubts.are_open(only.since, time) {
                // Now it is known again.
                let known = Retired {
                    mapping: only.mapping.clone(),
                    since: std::mem::replace(&mut only.since, time),
                    until: time,
                };
                self.retire(known);
            }
            return Inserted::Unchanged;
        }
        let replaced = self.current[low..high].iter().filter(|old| {
            old.since > time
                && !same_content(&old.mapping, &mapping)
                && overlap(&old.mapping.range, &range)
        });
        if let Some(until) = replaced.map(|old| old.since).min() {
            // Told late: something else has been mapped there since.
            self.cut(time, &mapping);
            self.retire(Retired {
                mapping,
                since: time,
                until,
            });
            return Inserted::Unchanged;
        }
        self.cut(time, &mapping);
        // At most one more on either side than what is taken out.
        if self.current.len() - (high - low) + 3 > MAX_MAPPINGS {
            return Inserted::Full;
        }
        let mut files = is_file(&mapping);
        let mut since = time;
        let (mut before, mut after) = (None, None);
        let mut retired = Vec::new();
        for old in &self.current[low..high] {
            if same_content(&old.mapping, &mapping) {
                range =
                    range.start.min(old.mapping.range.start)..range.end.max(old.mapping.range.end);
                since = since.max(old.since);
                continue;
            }
            let old_range = &old.mapping.range;
            let covered =
                old_range.start.max(mapping.range.start)..old_range.end.min(mapping.range.end);
            if covered.start >= covered.end {
                // Touched from the side, by anonymous memory: stays as it is.
                if old_range.end <= mapping.range.start {
                    before = Some(old.clone());
                } else {
                    after = Some(old.clone());
                }
                continue;
            }
            files |= is_file(&old.mapping);
            if old_range.start < covered.start {
                before = Some(Current {
                    mapping: part(&old.mapping, old_range.start..covered.start),
                    since: old.since,
                });
            }
            if covered.end < old_range.end {
                after = Some(Current {
                    mapping: part(&old.mapping, covered.end..old_range.end),
                    since: old.since,
                });
            }
            retired.push(Retired {
                mapping: part(&old.mapping, covered),
                since: old.since,
                until: time,
            });
        }
        for retired in retired {
            self.retire(retired);
        }
        let new = Current {
            mapping: widened(mapping, range),
            since,
        };
        self.current
            .splice(low..high, before.into_iter().chain([new]).chain(after));
        if files {
            Inserted::Files
        } else {
            Inserted::Anonymous
        }
    }

    /// Keeps what was mapped until now, and forgets the oldest where there is no room.
    fn retire(&mut self, retired: Retired) {
        if self.retired.len() >= MAX_RETIRED {
            let oldest = self.retired.remove(0);
            self.forgotten = self.forgotten.max(oldest.until);
        }
        self.retired_until = self.retired_until.max(retired.until);
        self.retired.push(retired);
    }

    /// `mapping` was made at `time`, as is known only now: what it covers ended then.
    fn cut(&mut self, time: BootTime, mapping: &ExecutableMapping) {
        if self.retired_until <= time {
            return;
        }
        for old in &mut self.retired {
            if old.since < time
                && time < old.until
                && mapping.range.start <= old.mapping.range.start
                && old.mapping.range.end <= mapping.range.end
                && !same_content(&old.mapping, mapping)
            {
                old.until = time;
            }
        }
    }

    /// Makes `found` (in any order) the mappings of now, as seen at some moment of `seen`: what is not in it is
    /// retired. `lost`: between when records of changes were lost, if any were.
    pub fn replace(
        &mut self,
        seen: Range<BootTime>,
        lost: Option<Range<BootTime>>,
        found: Vec<ExecutableMapping>,
    ) -> Inserted {
        let time = seen.start;
        let mut fresh = Self::default();
        let mut full = false;
        let mut files = false;
        for mapping in found {
            full |= fresh.insert(time, mapping) == Inserted::Full;
        }
        for current in &mut fresh.current {
            match self.same(&current.mapping) {
                Some(known) => current.since = known.since,
                None => files |= is_file(&current.mapping),
            }
        }
        for old in std::mem::take(&mut self.current) {
            if fresh.same(&old.mapping).is_none() {
                files |= is_file(&old.mapping);
                self.retire(Retired {
                    mapping: old.mapping,
                    since: old.since,
                    until: time,
                });
            }
        }
        self.current = fresh.current;
        if self.retired.is_empty() {
            self.doubts.clear();
        } else {
            if let Some(lost) = lost {
                self.doubts.begin(lost.start, lost.end);
            }
            self.doubts.settle(seen.start, seen.end);
        }
        match (full, files) {
            (true, _) => Inserted::Full,
            (false, true) => Inserted::Files,
            (false, false) => Inserted::Unchanged,
        }
    }

    /// The current mapping with the range and content of `mapping`.
    fn same(&self, mapping: &ExecutableMapping) -> Option<&Current> {
        let index = self
            .current
            .binary_search_by_key(&mapping.range.start, |current| current.mapping.range.start)
            .ok()?;
        let current = &self.current[index];
        (current.mapping.range == mapping.range && same_content(&current.mapping, mapping))
            .then_some(current)
    }

    /// Was a mapping retired before `time`?
    #[must_use]
    pub fn has_retired_before(&self, time: BootTime) -> bool {
        self.retired.iter().any(|retired| retired.until < time)
    }

    /// Forgets what was retired before `time`.
    pub fn prune(&mut self, time: BootTime) {
        let forgotten = &mut self.forgotten;
        self.retired.retain(|retired| {
            let kept = retired.until >= time;
            if !kept {
                *forgotten = (*forgotten).max(retired.until);
            }
            kept
        });
        self.doubts.prune(time);
        if self.retired.is_empty() {
            self.retired.shrink_to_fit();
        }
    }
}

fn overlap(a: &Range<VirtualAddress>, b: &Range<VirtualAddress>) -> bool {
    a.start < b.end && b.start < a.end
}

const fn is_file(mapping: &ExecutableMapping) -> bool {
    matches!(mapping.kind, MappingKind::File { .. })
}

/// Are both of one file, wherever they lie?
fn same_file(a: &ExecutableMapping, b: &ExecutableMapping) -> bool {
    match (&a.kind, &b.kind) {
        (MappingKind::File { executable: a, .. }, MappingKind::File { executable: b, .. }) => {
            a.path == b.path
        }
        _ => false,
    }
}

/// Do both say the same of an address that lies in both?
fn same_content(a: &ExecutableMapping, b: &ExecutableMapping) -> bool {
    match (&a.kind, &b.kind) {
        (MappingKind::Anonymous, MappingKind::Anonymous) => true,
        (
            MappingKind::File {
                executable: file_a,
                offset: offset_a,
            },
            MappingKind::File {
                executable: file_b,
                offset: offset_b,
            },
        ) => {
            Arc::ptr_eq(file_a, file_b)
                && a.range.start.0.wrapping_sub(offset_a.0)
                    == b.range.start.0.wrapping_sub(offset_b.0)
        }
        _ => false,
    }
}

/// The part of `mapping` at `range`, which lies within it.
fn part(mapping: &ExecutableMapping, range: Range<VirtualAddress>) -> ExecutableMapping {
    widened(mapping.clone(), range)
}

/// `mapping` at `range`, with the file offset moved along.
fn widened(mapping: ExecutableMapping, range: Range<VirtualAddress>) -> ExecutableMapping {
    let kind = match mapping.kind {
        MappingKind::File { executable, offset } => MappingKind::File {
            executable,
            offset: FileOffset(
                offset
                    .0
                    .wrapping_add(range.start.0)
                    .wrapping_sub(mapping.range.start.0),
            ),
        },
        MappingKind::Anonymous => MappingKind::Anonymous,
    };
    ExecutableMapping { range, kind }
}

#[cfg(test)]
mod tests;
