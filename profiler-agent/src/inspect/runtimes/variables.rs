//! Where processes have the variables of thread contexts.
//!
//! In libraries, the dynamic linker noted it: that is read in the process's memory, at addresses that its files name. Such a page
//! may be of a file whose file system does not answer: nobody waits for it ([`Readers`]). The process has what was known
//! before meanwhile, or what is known without its memory.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::confine::{self, Readers};
use crate::elf::ReadAt;
use crate::inspect::facts::FileFacts;
use crate::profile::BootTime;
use crate::thread_local::{self, ProcessMemory, Resolved, Role};

/// Processes whose memory may hang who reads it at a time.
const MAX_HANGING: usize = 8;

/// What is known of a file that a process maps, and what the file is to it.
pub(super) type Mapped = (Arc<FileFacts>, Role);
type Resolve = dyn Fn(u32, &[Mapped]) -> Resolved + Send + Sync;

/// What was read in the memory of a process image.
struct Found {
    image: BootTime,
    resolved: Resolved,
    /// Nobody has asked since.
    is_new: bool,
}

/// What is known of a process.
pub(super) enum Known {
    /// All that there is.
    Whole(Resolved),
    /// Its memory is being read.
    Meanwhile(Resolved),
    /// Its memory cannot be read just now: too much waits to be.
    Refused(Resolved),
}

/// See the module.
pub(super) struct Variables {
    /// By pid and when the image began.
    readers: Readers<(u32, BootTime), Resolved>,
    resolve: Arc<Resolve>,
    found: HashMap<u32, Found>,
    /// Processes whose files are others than when their memory was asked for.
    stale: HashSet<u32>,
}

impl Variables {
    /// Nothing is known. `notify` is called from another thread when there is something to [`take`](Variables::take).
    pub(super) fn new(notify: impl Fn() + Send + Sync + 'static) -> Self {
        let in_memory = |pid, files: &[Mapped]| {
            resolved(files, &ProcessMemory::new(|| confine::memory_of(pid).ok()))
        };
        Self::over(Arc::new(in_memory), notify)
    }

    fn over(resolve: Arc<Resolve>, notify: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            readers: Readers::new("process-memory", MAX_HANGING, notify),
            resolve,
            found: HashMap::new(),
            stale: HashSet::new(),
        }
    }

    /// What is known of a process image that maps these files; what is not is asked for.
    pub(super) fn of(
        &mut self,
        pid: u32,
        image: BootTime,
        files: Vec<Mapped>,
        now: BootTime,
    ) -> Known {
        let needs_memory =
            |(facts, role): &Mapped| *role != Role::Program && !facts.variables.is_empty();
        if !files.iter().any(needs_memory) {
            self.found.remove(&pid);
            return Known::Whole(resolved(&files, &Unread));
        }
        let found = self.found.get_mut(&pid);
        let found = found.filter(|found| found.image == image);
        let (known, is_new) = match found {
            Some(found) => (found.resolved, std::mem::take(&mut found.is_new)),
            None => (resolved(&files, &Unread), false),
        };
        if is_new && !self.stale.remove(&pid) {
            return Known::Whole(known);
        }
        let resolve = Arc::clone(&self.resolve);
        if self
            .readers
            .ask((pid, image), now, move || resolve(pid, &files))
        {
            return Known::Meanwhile(known);
        }
        if self.is_asked(pid, image) {
            self.stale.insert(pid);
            return Known::Meanwhile(known);
        }
        Known::Refused(known)
    }

    /// Is the memory of a process image being read?
    pub(super) fn is_asked(&self, pid: u32, image: BootTime) -> bool {
        self.readers.is_asked(&(pid, image))
    }

    /// The processes whose memory is being read.
    pub(super) fn asked(&self) -> impl Iterator<Item = u32> {
        self.readers.asked().map(|((pid, _), _)| *pid)
    }

    /// Takes what was read since the last call: a process, and whether reading its memory succeeded.
    pub(super) fn take(&mut self) -> Option<(u32, bool)> {
        let ((pid, image), resolved) = self.readers.take()?;
        let is_read = resolved.is_some();
        let found = Found {
            image,
            resolved: resolved.unwrap_or_default(),
            is_new: true,
        };
        self.found.insert(pid, found);
        Some((pid, is_read))
    }

    /// Goes on where the memory of a process hangs; how many became late since the last call.
    pub(super) fn follow(&mut self, now: BootTime) -> u64 {
        self.readers.follow(now)
    }

    /// Forgets the processes that are gone.
    pub(super) fn prune(&mut self, image: impl Fn(u32) -> Option<BootTime>) {
        self.found
            .retain(|pid, found| image(*pid) == Some(found.image));
        self.stale.retain(|pid| image(*pid).is_some());
    }
}

/// Memory that is not read.
struct Unread;

impl ReadAt for Unread {
    fn read(&self, _at: u64, _into: &mut [u8]) -> bool {
        false
    }
}

/// Where the variables are in a process with this `memory`.
fn resolved(files: &[Mapped], memory: &impl ReadAt) -> Resolved {
    let files = files.iter().map(|(facts, role)| (&facts.variables, *role));
    thread_local::resolve(files, memory)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::thread_local::{CLibrary, Declared, Facts, Place, Slot, SlotKind};

    const IMAGE: BootTime = BootTime(1);

    fn facts(in_program: i64) -> Arc<FileFacts> {
        let slot = Slot {
            kind: SlotKind::ThreadPointerOffset,
            address: 8,
        };
        let declared = Declared {
            offset: 0,
            in_program,
            slots: Box::new([slot]),
        };
        Arc::new(FileFacts {
            go: None,
            variables: Facts {
                interpreter: Some(CLibrary::Gnu),
                thread_context: Some(declared),
                elastic: None,
            },
        })
    }

    fn program() -> Mapped {
        (facts(-64), Role::Program)
    }

    fn library() -> Mapped {
        (facts(0), Role::Library { bias: 0x1000 })
    }

    /// Memory that is read as if of a program with as many files as were asked for, once that is released.
    fn held() -> (Variables, Receiver<()>, Sender<()>) {
        let (release, held) = channel::<()>();
        let (notify, notified) = channel();
        let held = Mutex::new(held);
        let resolve = move |_, files: &[Mapped]| {
            held.lock().unwrap().recv().unwrap();
            let alone = vec![(facts(-8 * files.len() as i64), Role::Program)];
            resolved(&alone, &Unread)
        };
        let notify = move || {
            let _ = notify.send(());
        };
        (
            Variables::over(Arc::new(resolve), notify),
            notified,
            release,
        )
    }

    fn offset(resolved: Resolved) -> Option<i64> {
        match resolved.thread_context {
            Place::At(place) => Some(place.offset),
            Place::Undefined | Place::Unknown(_) => None,
        }
    }

    fn of(variables: &mut Variables, files: Vec<Mapped>) -> (&'static str, Option<i64>) {
        match variables.of(7, IMAGE, files, BootTime(0)) {
            Known::Whole(resolved) => ("whole", offset(resolved)),
            Known::Meanwhile(resolved) => ("meanwhile", offset(resolved)),
            Known::Refused(resolved) => ("refused", offset(resolved)),
        }
    }

    #[test]
    fn the_program_s_own_is_known_at_once() {
        let (mut variables, ..) = held();
        assert_eq!(of(&mut variables, vec![]), ("whole", None));
        assert_eq!(of(&mut variables, vec![program()]), ("whole", Some(-64)));
        assert!(!variables.is_asked(7, IMAGE));
    }

    #[test]
    fn nobody_waits_for_memory_and_what_was_known_stays_meanwhile() {
        let (mut variables, notified, release) = held();
        assert_eq!(of(&mut variables, vec![library()]), ("meanwhile", None));
        assert!(variables.is_asked(7, IMAGE) && variables.take().is_none());
        assert_eq!(variables.asked().collect::<Vec<_>>(), [7]);
        release.send(()).unwrap();
        notified.recv().unwrap();
        assert_eq!(variables.take(), Some((7, true)));
        assert_eq!(of(&mut variables, vec![library()]), ("whole", Some(-8)));
        // Its mappings changed, and change again while it is read.
        let two = || vec![library(), library()];
        assert_eq!(of(&mut variables, two()), ("meanwhile", Some(-8)));
        let three = || vec![library(), library(), library()];
        assert_eq!(of(&mut variables, three()), ("meanwhile", Some(-8)));
        for (now, expected) in [
            (three(), ("meanwhile", Some(-16))),
            (three(), ("whole", Some(-24))),
        ] {
            release.send(()).unwrap();
            notified.recv().unwrap();
            assert_eq!(variables.take(), Some((7, true)));
            assert_eq!(of(&mut variables, now), expected);
        }
        // Of another image nothing is known.
        variables.prune(|_| Some(BootTime(2)));
        assert_eq!(of(&mut variables, vec![library()]), ("meanwhile", None));
        drop(release);
    }

    #[test]
    fn what_panics_is_told() {
        let (mut variables, notified, release) = held();
        assert_eq!(of(&mut variables, vec![library()]), ("meanwhile", None));
        drop(release);
        notified.recv().unwrap();
        assert_eq!(variables.take(), Some((7, false)));
        assert_eq!(of(&mut variables, vec![library()]), ("whole", None));
    }
}
