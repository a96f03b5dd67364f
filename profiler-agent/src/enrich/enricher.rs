//! When to look at processes. A process is looked at once it is sampled.
//!
//! Its environment is read once. Looking for the mapping that it publishes reads all of /proc/PID/maps: done less and less often
//! while there is none, and for so many processes at a time. Once it is found, a look is one short read of memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::environment::{self, Environment};
use super::layers::{Layers, Source};
use super::published::{self, Published, Unpublished};
use crate::confine::{self, Attempts};
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

/// How long a process's environment is waited for: it is the process's memory, and who owns that may let a reader hang.
const PATIENCE: Duration = Duration::from_millis(100);
/// Environments that may hang at a time; while they do, none is read.
const MAX_HANGING: usize = 2;

/// What is known of one process image.
#[derive(Debug)]
struct Known {
    image: BootTime,
    layers: Layers,
    /// Is its environment still to be read?
    unread: bool,
    /// Where its context is.
    address: Option<VirtualAddress>,
    /// Which one was read.
    read: Option<Published>,
    next: BootTime,
    wait: Duration,
}

/// A process whose attributes are others than before.
#[derive(Debug)]
pub struct Amended {
    /// Its pid.
    pub pid: u32,
    /// When its image began.
    pub image: BootTime,
    /// All of them, sorted by key, each key once.
    pub attributes: Arc<[ResourceAttribute]>,
}

/// See the module.
#[derive(Debug)]
pub struct Enricher {
    known: HashMap<u32, Known>,
    sampled: HashSet<u32>,
    readers: Attempts,
    losses: Losses,
}

impl Default for Enricher {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            sampled: HashSet::new(),
            readers: Attempts::new("environment", MAX_HANGING),
            losses: Losses::default(),
        }
    }
}

impl Enricher {
    /// Notes that a process was sampled.
    pub fn sampled(&mut self, pid: u32) {
        self.sampled.insert(pid);
    }

    /// Looks at the sampled processes whose time has come.
    pub fn look(&mut self, image: impl Fn(u32) -> Option<BootTime>, now: BootTime) -> Vec<Amended> {
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
            let mut changed = known.read_environment(pid, &self.readers, &mut self.losses);
            match known.look(pid, now) {
                Ok(Some(attributes)) => {
                    changed |= known.layers.put(Source::ProcessContext, attributes);
                }
                Ok(None) | Err(Unpublished::Absent | Unpublished::Updating) => {}
                Err(reason) => {
                    tracing::debug!(pid, %reason, "no resource");
                    self.losses.add(Degradation::ProcessContextMalformed, 1);
                }
            }
            if changed {
                found.push(Amended {
                    pid,
                    image,
                    attributes: known.layers.attributes(),
                });
            }
        }
        found
    }

    /// Forgets the processes that are gone.
    pub fn prune(&mut self, image: impl Fn(u32) -> Option<BootTime>) {
        self.known
            .retain(|pid, known| image(*pid) == Some(known.image));
    }

    /// What could not be read since the last call.
    pub fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}

impl Known {
    fn new(image: BootTime) -> Self {
        Self {
            image,
            layers: Layers::default(),
            unread: true,
            address: None,
            read: None,
            next: BootTime(0),
            wait: FIRST_SEARCH,
        }
    }

    /// Reads the environment if it was not; true where it says something.
    fn read_environment(&mut self, pid: u32, readers: &Attempts, losses: &mut Losses) -> bool {
        if !self.unread || readers.is_full() {
            return false;
        }
        let read = readers.run(PATIENCE, move || {
            confine::environment_of(pid, environment::MAX_BYTES)
        });
        let content = match read {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => {
                tracing::debug!(pid, %error, "no environment");
                Vec::new()
            }
            Err(unfinished) => {
                self.unread = false;
                unfinished.count(losses);
                return false;
            }
        };
        // It is empty for a moment in an exec; the next look is later each time.
        self.unread = content.is_empty();
        let Environment {
            attributes,
            malformed,
        } = environment::parse(&content);
        if let Some(reason) = malformed {
            tracing::debug!(pid, reason, "an environment is malformed");
            losses.add(Degradation::EnvironmentMalformed, 1);
        }
        self.layers.put(Source::Environment, attributes)
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
