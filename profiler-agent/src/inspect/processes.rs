//! What processes say of themselves: in their environment, and by what they publish.
//!
//! A process is looked at once it is sampled.
//!
//! Nobody waits for a look: the collector asks for it, and takes what was seen when that is there ([`Readers`]). A process
//! is looked at again while it is sampled: less and less often while it publishes nothing, then as often as its context may
//! change.

pub mod environment;
mod look;
mod published;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use self::look::{Look, Seen};
use self::published::{Published, Unpublished};
use super::Notify;
use crate::confine::Readers;
use crate::profile::{BootTime, Degradation, Losses, ResourceAttribute, VirtualAddress};

/// Time to the second search of a process without a mapping; each further one doubles it.
const FIRST_SEARCH: Duration = Duration::from_millis(500);
/// The longest time between two searches.
const LAST_SEARCH: Duration = Duration::from_secs(60);
/// Time between two looks at a mapping.
const LOOK: Duration = Duration::from_secs(5);
/// How long the end of a window waits for what is said of a process that was first sampled in it.
const PATIENCE: Duration = Duration::from_millis(250);
/// A process that could not be looked at for as long is counted.
const UNSEEN: Duration = Duration::from_secs(10);
/// Looks that may hang at a time.
const MAX_HANGING: usize = 16;

/// What is known of one process image.
#[derive(Debug)]
struct Known {
    image: BootTime,
    /// Its first sample.
    sampled: BootTime,
    /// Is its environment still to be read?
    unread: bool,
    /// Was anything seen of it?
    seen: bool,
    /// Is it counted as one that could not be looked at?
    counted: bool,
    /// Where its context is.
    address: Option<VirtualAddress>,
    /// Which one was read.
    read: Option<Published>,
    next: BootTime,
    wait: Duration,
}

/// What a process was found to say.
#[derive(Debug)]
pub struct Said {
    /// Its pid.
    pub pid: u32,
    /// When its image began.
    pub image: BootTime,
    /// By its environment, where that was read: it is once.
    pub environment: Option<Arc<[ResourceAttribute]>>,
    /// By the context that it publishes, where that is another one than before.
    pub context: Option<Arc<[ResourceAttribute]>>,
}

type LookAt = dyn Fn(Look, u32) -> Seen + Send + Sync;

/// See the module.
pub struct ProcessLooks {
    known: HashMap<u32, Known>,
    /// The processes that are to be looked at, each with a sample.
    sampled: HashMap<u32, BootTime>,
    /// By pid and when the image began.
    readers: Readers<(u32, BootTime), Seen>,
    look: Arc<LookAt>,
    losses: Losses,
}

impl ProcessLooks {
    /// Nothing is known. `notify` is called from another thread when there is something to [`take`](ProcessLooks::take).
    #[must_use]
    pub fn new(notify: Notify) -> Self {
        Self::over(Arc::new(Look::at), move || notify())
    }

    fn over(look: Arc<LookAt>, notify: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            known: HashMap::new(),
            sampled: HashMap::new(),
            readers: Readers::new("process-look", MAX_HANGING, notify),
            look,
            losses: Losses::default(),
        }
    }

    /// Notes that a process was sampled.
    pub fn sampled(&mut self, pid: u32, time: BootTime) {
        self.sampled.entry(pid).or_insert(time);
    }

    /// Asks for looks at the sampled processes whose time has come; the images that were sampled for the first time.
    pub fn ask(
        &mut self,
        image: impl Fn(u32) -> Option<BootTime>,
        now: BootTime,
    ) -> Vec<(u32, BootTime)> {
        let mut new = Vec::new();
        for (pid, time) in std::mem::take(&mut self.sampled) {
            let Some(image) = image(pid) else {
                continue;
            };
            if !self.knows(pid, image) {
                new.push((pid, image));
                self.known.insert(pid, Known::new(image, time));
            }
            let Some(known) = self.known.get_mut(&pid) else {
                continue;
            };
            if known.next > now || self.readers.is_asked(&(pid, image)) {
                continue;
            }
            let (wanted, look) = (known.look(), Arc::clone(&self.look));
            if !self
                .readers
                .ask((pid, image), now, move || look(wanted, pid))
            {
                self.sampled.insert(pid, time);
                let is_long = now.since(known.sampled.max(known.next)) >= UNSEEN;
                if is_long && !std::mem::replace(&mut known.counted, true) {
                    self.losses.add(Degradation::FileUnanswered, 1);
                }
            }
        }
        let late = self.readers.follow(now);
        self.losses.add(Degradation::FileUnanswered, late);
        new
    }

    /// Takes what was seen since the last call.
    pub fn take(&mut self, now: BootTime) -> Vec<Said> {
        let mut found = Vec::new();
        while let Some(((pid, image), seen)) = self.readers.take() {
            let known = self.known.get_mut(&pid);
            if let Some(known) = known.filter(|known| known.image == image) {
                found.extend(known.take(pid, seen, now, &mut self.losses));
            }
        }
        found
    }

    /// Is this image of a process one that was sampled and is not forgotten?
    #[must_use]
    pub fn knows(&self, pid: u32, image: BootTime) -> bool {
        self.known
            .get(&pid)
            .is_some_and(|known| known.image == image)
    }

    /// Is a process with a sample up to `until` being looked at for the first time, and was that asked for a moment ago?
    #[must_use]
    pub fn is_waited_for(&self, until: BootTime, now: BootTime) -> bool {
        self.readers.asked().any(|((pid, image), at)| {
            let is_first = |known: &Known| known.image == *image && !known.seen;
            let known = self.known.get(pid).filter(|known| is_first(known));
            known.is_some_and(|known| known.sampled <= until) && now.since(at) < PATIENCE
        })
    }

    /// Forgets the processes that are gone and of which nothing is asked for.
    pub fn prune(&mut self, image: impl Fn(u32) -> Option<BootTime>) {
        let readers = &self.readers;
        self.known.retain(|pid, known| {
            image(*pid) == Some(known.image) || readers.is_asked(&(*pid, known.image))
        });
    }

    /// What could not be read since the last call.
    pub fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}

impl Known {
    fn new(image: BootTime, sampled: BootTime) -> Self {
        Self {
            image,
            sampled,
            unread: true,
            seen: false,
            counted: false,
            address: None,
            read: None,
            next: BootTime(0),
            wait: FIRST_SEARCH,
        }
    }

    const fn look(&self) -> Look {
        Look {
            environment: self.unread,
            address: self.address,
            read: self.read,
        }
    }

    /// Takes in what was seen, nothing where that panicked; what is said by it.
    fn take(
        &mut self,
        pid: u32,
        seen: Option<Seen>,
        now: BootTime,
        losses: &mut Losses,
    ) -> Option<Said> {
        self.seen = true;
        let Some(seen) = seen else {
            // It would again.
            self.unread = false;
            self.next = now.plus(LAST_SEARCH);
            losses.add(Degradation::ProcessContextMalformed, 1);
            return None;
        };
        let mut said = Said {
            pid,
            image: self.image,
            environment: None,
            context: None,
        };
        if let Some(environment) = seen.environment {
            self.unread = false;
            if let Some(reason) = environment.malformed {
                tracing::debug!(pid, reason, "an environment is malformed");
                losses.add(Degradation::EnvironmentMalformed, 1);
            }
            said.environment = Some(environment.attributes);
        }
        (self.address, self.read) = (seen.address, seen.read);
        self.next = now.plus(LOOK);
        match seen.context {
            Ok(Some(attributes)) => {
                self.wait = FIRST_SEARCH;
                said.context = Some(attributes);
            }
            Ok(None) if self.address.is_some() => {}
            // It moved, never was one, or is not there yet.
            Ok(None) | Err(Unpublished::Absent) => {
                self.address = None;
                self.next = now.plus(self.wait);
                self.wait = (self.wait * 2).min(LAST_SEARCH);
            }
            Err(Unpublished::Updating) => self.next = now.plus(FIRST_SEARCH),
            Err(reason @ (Unpublished::TooLong(_) | Unpublished::Malformed)) => {
                tracing::debug!(pid, %reason, "no resource");
                losses.add(Degradation::ProcessContextMalformed, 1);
            }
        }
        Some(said)
    }
}

#[cfg(test)]
mod tests;
