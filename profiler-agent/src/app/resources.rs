//! When to look for what processes publish of themselves. A process is looked at once it is sampled.
//!
//! Looking for the mapping reads all of /proc/PID/maps: done less and less often while there is none, and for so many
//! processes at a time. Once it is found, a look is one short read of memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use crate::confine;
use crate::process::published::{self, Published, Unpublished};
use crate::profile::{BootTime, Degradation, Losses, ResourceAttribute, VirtualAddress};

/// Time to the second search of a process without a mapping; each further one doubles it.
const FIRST_SEARCH: Duration = Duration::from_millis(500);
/// The longest time between two searches.
const LAST_SEARCH: Duration = Duration::from_secs(60);
/// Time between two looks at a mapping.
const LOOK: Duration = Duration::from_secs(5);
/// Processes that are looked at in a turn.
const LOOKS_IN_A_TURN: usize = 16;
/// Bytes of /proc/PID/maps that are read.
const MAX_MAPS_BYTES: u64 = 16 << 20;
/// The longest line of it.
const MAX_LINE: usize = 8192;

/// What is known of one process image.
struct Known {
    image: BootTime,
    /// Where its context is.
    address: Option<VirtualAddress>,
    /// Which one was read.
    read: Option<Published>,
    next: BootTime,
    wait: Duration,
}

/// Attributes that are new.
pub(super) struct NewResource {
    pub(super) pid: u32,
    pub(super) image: BootTime,
    pub(super) attributes: Arc<[ResourceAttribute]>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Resources {
    known: HashMap<u32, Known>,
    sampled: HashSet<u32>,
    losses: Losses,
}

impl Resources {
    /// Notes that a process was sampled.
    pub(super) fn sampled(&mut self, pid: u32) {
        self.sampled.insert(pid);
    }

    /// Looks at the sampled processes whose time has come.
    pub(super) fn look(
        &mut self,
        image: impl Fn(u32) -> Option<BootTime>,
        now: BootTime,
    ) -> Vec<NewResource> {
        let mut found = Vec::new();
        let mut looks = 0;
        let sampled = std::mem::take(&mut self.sampled);
        for pid in sampled {
            let Some(image) = image(pid) else {
                continue;
            };
            let known = self.known.entry(pid).or_insert_with(|| Known::new(image));
            if known.image != image {
                *known = Known::new(image);
            }
            if known.next > now {
                continue;
            }
            looks += 1;
            if looks > LOOKS_IN_A_TURN {
                self.sampled.insert(pid);
                continue;
            }
            match known.look(pid, now) {
                Ok(Some(attributes)) => found.push(NewResource {
                    pid,
                    image,
                    attributes,
                }),
                Ok(None) | Err(Unpublished::Absent | Unpublished::Updating) => {}
                Err(reason) => {
                    tracing::debug!(pid, %reason, "no resource");
                    self.losses.add(Degradation::ProcessContextMalformed, 1);
                }
            }
        }
        found
    }

    /// Forgets the processes that are gone.
    pub(super) fn prune(&mut self, image: impl Fn(u32) -> Option<BootTime>) {
        self.known
            .retain(|pid, known| image(*pid) == Some(known.image));
    }

    /// What could not be read since the last call.
    pub(super) fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}

impl Known {
    const fn new(image: BootTime) -> Self {
        Self {
            image,
            address: None,
            read: None,
            next: BootTime(0),
            wait: FIRST_SEARCH,
        }
    }

    /// Searches the mapping if it is not known, reads it if it changed.
    fn look(
        &mut self,
        pid: u32,
        now: BootTime,
    ) -> Result<Option<Arc<[ResourceAttribute]>>, Unpublished> {
        if self.address.is_none() {
            self.address = search(pid);
        }
        let Some(address) = self.address else {
            self.next = now.plus(self.wait);
            self.wait = (self.wait * 2).min(LAST_SEARCH);
            return Ok(None);
        };
        self.next = now.plus(LOOK);
        let file = confine::memory_of(pid).map_err(|_| Unpublished::Absent)?;
        let memory = |at: u64, into: &mut [u8]| {
            i64::try_from(at).is_ok() && file.read_exact_at(into, at).is_ok()
        };
        let now_published = published::published(address, memory);
        if now_published == Err(Unpublished::Absent) {
            // It moved, or never was one.
            self.address = None;
            self.next = now.plus(self.wait);
            self.wait = (self.wait * 2).min(LAST_SEARCH);
        }
        if now_published? == self.read.unwrap_or_default() {
            return Ok(None);
        }
        let (published, attributes) = published::read(address, memory).inspect_err(|reason| {
            if *reason == Unpublished::Updating {
                self.next = now.plus(FIRST_SEARCH);
            }
        })?;
        self.read = Some(published);
        self.wait = FIRST_SEARCH;
        Ok(Some(attributes))
    }
}

/// Where a process has its context.
fn search(pid: u32) -> Option<VirtualAddress> {
    let file = File::open(format!("/proc/{pid}/maps")).ok()?;
    let mut lines = BufReader::with_capacity(32 << 10, file.take(MAX_MAPS_BYTES));
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = (&mut lines)
            .take(MAX_LINE as u64)
            .read_until(b'\n', &mut line)
            .ok()?;
        if length == 0 {
            return None;
        }
        if let Some(address) = published::find(line.trim_ascii_end()) {
            return Some(address);
        }
    }
}
