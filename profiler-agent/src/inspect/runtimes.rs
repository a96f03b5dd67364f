//! What the kernel side is to know of a process beside its mappings: where the language runtime whose insides are
//! known keeps its goroutines, and where its threads say which request they work for.
//!
//! What an executable says of these comes with its unwind table, from the same thread. It becomes a
//! process's entry when both are there: the facts of a file, and where this process mapped it. The place of a
//! variable in a library is known when the dynamic linker has noted it: until then it is looked for again,
//! less and less often.

mod entry;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use profiler_common::layout::RuntimeEntry;

use self::entry::{KnownFile, place_of, with_go};
use self::variables::{Known, Variables};
use super::Notify;
use super::facts::FileFacts;
use crate::profile::{
    BootTime, Degradation, ElfAddress, ExecutableId, ExecutableMapping, Losses, MappingKind,
};
use crate::thread_local::{Resolved, Role};

/// Time to the second look for a variable whose place was not noted yet; each further one doubles it.
const FIRST_LOOK: Duration = Duration::from_millis(50);
/// The longest time between two looks.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// Time to the next attempt after the kernel refused what was found.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// A process whose mappings are told.
#[derive(Clone, Copy, Debug)]
pub struct Mapped<'a> {
    /// Its pid.
    pub pid: u32,
    /// When its image began.
    pub image: BootTime,
    /// Path of its program.
    pub program: &'a str,
}

/// When a process is looked at again.
struct Look {
    image: BootTime,
    next: BootTime,
    wait: Duration,
}

impl Look {
    fn after_refusal(process: Mapped<'_>, now: BootTime) -> Self {
        Self {
            image: process.image,
            next: now.plus(AFTER_REFUSAL),
            wait: AFTER_REFUSAL,
        }
    }
}

/// What is known of the runtimes in executables, and in which processes it is still to be found.
pub struct Runtimes {
    by_file: HashMap<ExecutableId, Arc<FileFacts>>,
    looks: HashMap<u32, Look>,
    variables: Variables,
    losses: Losses,
}

impl Runtimes {
    /// Nothing is known. `notify` is called from another thread when there is something to [`take`](Runtimes::take).
    #[must_use]
    pub fn new(notify: Notify) -> Self {
        Self {
            by_file: HashMap::new(),
            looks: HashMap::new(),
            variables: Variables::new(move || notify()),
            losses: Losses::default(),
        }
    }

    /// Notes what a file says. Is it something that its processes are to be told of?
    pub fn learn(&mut self, executable: ExecutableId, facts: FileFacts) -> bool {
        let matters = facts.matters();
        self.by_file.insert(executable, Arc::new(facts));
        matters
    }

    /// What the kernel side is to know of the runtime of the process with these mappings, if there is anything.
    pub fn entry<'a>(
        &mut self,
        process: Mapped<'_>,
        mappings: impl Iterator<Item = &'a ExecutableMapping>,
        now: BootTime,
    ) -> Option<RuntimeEntry> {
        let files = self.files(process.program, mappings);
        let mut entry = with_go(&files).unwrap_or_default();
        self.resolve(process, &files, now).write(&mut entry);
        (entry != RuntimeEntry::default()).then_some(entry)
    }

    /// Notes that the kernel refused what is known of a process: it is due again after a while.
    pub fn refused(&mut self, process: Mapped<'_>, now: BootTime) {
        self.looks
            .entry(process.pid)
            .or_insert_with(|| Look::after_refusal(process, now));
    }

    /// Where the variables of a process are, as far as that is known.
    fn resolve(&mut self, process: Mapped<'_>, files: &[KnownFile<'_>], now: BootTime) -> Resolved {
        let files = files
            .iter()
            .map(|file| (Arc::clone(&file.facts), file.role));
        let files = files.collect();
        match self.variables.of(process.pid, process.image, files, now) {
            Known::Whole(resolved) => {
                self.look_again(process, &resolved, now);
                resolved
            }
            Known::Meanwhile(resolved) => resolved,
            Known::Refused(resolved) => {
                let look = Look::after_refusal(process, now);
                self.looks.insert(process.pid, look);
                resolved
            }
        }
    }

    /// The processes of which more is known since the last call: they are to be told of.
    pub fn take(&mut self) -> Vec<u32> {
        let mut pids = Vec::new();
        while let Some((pid, is_read)) = self.variables.take() {
            if !is_read {
                self.losses.add(Degradation::ThreadContextUnresolved, 1);
            }
            pids.push(pid);
        }
        pids
    }

    /// Goes on where the memory of a process hangs; to be called a few times a second.
    pub fn follow(&mut self, now: BootTime) {
        let late = self.variables.follow(now);
        self.losses.add(Degradation::FileUnanswered, late);
    }

    /// What a walk needs to know of Go in a process with these mappings, which may be gone by now.
    #[must_use]
    pub fn go_of<'a>(
        &self,
        mappings: impl Iterator<Item = &'a ExecutableMapping>,
    ) -> Option<RuntimeEntry> {
        with_go(&self.files("", mappings))
    }

    /// The files of a process that something is known of, each once.
    fn files<'a>(
        &self,
        program: &str,
        mappings: impl Iterator<Item = &'a ExecutableMapping>,
    ) -> Vec<KnownFile<'a>> {
        let mut files: Vec<KnownFile<'a>> = Vec::new();
        if self.by_file.is_empty() {
            return files;
        }
        for mapping in mappings {
            let MappingKind::File { executable, .. } = &mapping.kind else {
                continue;
            };
            if let Some(facts) = self.by_file.get(&executable.id)
                && files.iter().all(|file| file.id != executable.id)
                && let Some(start) = place_of(ElfAddress(0), mapping)
            {
                files.push(KnownFile {
                    id: executable.id,
                    facts: Arc::clone(facts),
                    mapping,
                    role: if *executable.path == *program {
                        Role::Program
                    } else {
                        Role::Library { bias: start.0 }
                    },
                });
            }
        }
        files
    }

    /// Plans another look at a process where that is worth it; counts what stays unknown.
    fn look_again(&mut self, process: Mapped<'_>, resolved: &Resolved, now: BootTime) {
        let before = self.looks.remove(&process.pid);
        if !resolved.is_pending() {
            for (variable, reason) in resolved.unresolved() {
                tracing::debug!(pid = process.pid, ?variable, %reason, "no thread context");
                self.losses.add(Degradation::ThreadContextUnresolved, 1);
            }
            return;
        }
        let wait = match before {
            Some(look) if look.image == process.image => (look.wait * 2).min(LAST_LOOK),
            _ => FIRST_LOOK,
        };
        let look = Look {
            image: process.image,
            next: now.plus(wait),
            wait,
        };
        self.looks.insert(process.pid, look);
    }

    /// The processes that are to be looked at again, or whose memory is being read: what becomes known of a file may be what
    /// is missing there.
    #[must_use]
    pub fn looking(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.looks.keys().copied().collect();
        pids.extend(self.variables.asked());
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// The processes that are to be looked at again now.
    #[must_use]
    pub fn due(&self, now: BootTime) -> Vec<u32> {
        let due = self
            .looks
            .iter()
            .filter(|(pid, look)| look.next <= now && !self.variables.is_asked(**pid, look.image));
        due.map(|(pid, _)| *pid).collect()
    }

    /// Forgets the files that are not in use any more, and the processes that are gone.
    pub fn prune(
        &mut self,
        used: impl Fn(ExecutableId) -> bool,
        image: impl Fn(u32) -> Option<BootTime>,
    ) {
        self.by_file.retain(|executable, _| used(*executable));
        self.looks
            .retain(|pid, look| image(*pid) == Some(look.image));
        self.variables.prune(image);
    }

    /// What could not be found since the last call.
    pub fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}
