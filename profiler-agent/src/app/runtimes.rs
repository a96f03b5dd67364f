//! What the kernel side is told of a process beside its mappings: where the language runtime whose insides are
//! known keeps its goroutines, and where its threads say which request they work for.
//!
//! What an executable says of these comes with its unwind table, from the same thread. It becomes a
//! process's entry when both are there: the facts of a file, and where this process mapped it. The place of a
//! variable in a library is known when the dynamic linker has noted it: until then it is looked for again,
//! less and less often.

mod variables;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use profiler_common::layout::{RuntimeEntry, ThreadLocal};

use crate::collect::publish::Publisher;
use crate::elf::MappedFile;
use crate::go::{self, LineTable, Runtime, Slot};
use crate::profile::{
    BootTime, Degradation, ElfAddress, Executable, ExecutableId, ExecutableMapping, Losses,
    MappingKind, VirtualAddress, mapping_bias,
};
use crate::thread_local::{self, Resolved, Role};
use variables::{Known, Variables};

/// Time to the second look for a variable whose place was not noted yet; each further one doubles it.
const FIRST_LOOK: Duration = Duration::from_millis(50);
/// The longest time between two looks.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// Time to the next attempt after the kernel refused what was found.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// What a file says that is no unwind table.
#[derive(Clone, Debug, Default)]
pub struct FileFacts {
    /// Its Go runtime.
    pub go: Option<Runtime>,
    /// Its variables of thread contexts.
    pub variables: thread_local::Facts,
}

impl FileFacts {
    /// Reads the facts of a file; `go` is its line table, where it has Go code.
    #[must_use]
    pub fn read(executable: &Executable, go: Option<(&MappedFile, &LineTable<'_>)>) -> Self {
        let Some(file) = &executable.file else {
            return Self::default();
        };
        let path = executable.path.escape_debug();
        let variables = thread_local::facts_of(file).unwrap_or_else(|absent| {
            tracing::debug!(%absent, %path, "no variables of thread contexts");
            thread_local::Facts::default()
        });
        let facts = Self {
            go: go.and_then(|(file, lines)| go_runtime(file, lines)),
            variables,
        };
        if facts.matters() {
            tracing::debug!(path = %executable.path.escape_debug(), ?facts, "a runtime");
        }
        facts
    }

    /// Does it say nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.matters() && self.variables.interpreter.is_none()
    }

    /// Does it say something by itself, not only together with another file?
    fn matters(&self) -> bool {
        self.go.is_some() || !self.variables.is_empty()
    }
}

fn go_runtime(file: &MappedFile, lines: &LineTable<'_>) -> Option<Runtime> {
    let runtime = go::runtime_of(file, lines);
    if file.truncated() {
        return None;
    }
    runtime
}

/// A process whose mappings are told.
#[derive(Clone, Copy)]
pub(super) struct Mapped<'a> {
    pub(super) pid: u32,
    pub(super) image: BootTime,
    /// Path of its program.
    pub(super) program: &'a str,
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
pub(super) struct Runtimes {
    by_file: HashMap<ExecutableId, Arc<FileFacts>>,
    looks: HashMap<u32, Look>,
    variables: Variables,
    losses: Losses,
}

impl Runtimes {
    /// Nothing is known. `notify` is called from another thread when there is something to [`take`](Runtimes::take).
    pub(super) fn new(notify: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            by_file: HashMap::new(),
            looks: HashMap::new(),
            variables: Variables::new(notify),
            losses: Losses::default(),
        }
    }

    /// Notes what a file says. Is it something that its processes are to be told of?
    pub(super) fn learn(&mut self, executable: ExecutableId, facts: FileFacts) -> bool {
        let matters = facts.matters();
        self.by_file.insert(executable, Arc::new(facts));
        matters
    }

    /// Tells the kernel side of the runtime of the process with these mappings, if there is one.
    pub(super) fn publish<'a>(
        &mut self,
        process: Mapped<'_>,
        mappings: impl Iterator<Item = &'a ExecutableMapping>,
        publisher: &mut Publisher,
        now: BootTime,
    ) {
        let files = self.files(process.program, mappings);
        let mut entry = with_go(&files).unwrap_or_default();
        self.resolve(process, &files, now).write(&mut entry);
        if entry == RuntimeEntry::default() {
            return;
        }
        if !publisher.set_runtime(process.pid, process.image, &entry, now) {
            self.looks
                .entry(process.pid)
                .or_insert_with(|| Look::after_refusal(process, now));
        }
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

    /// The processes of which more is known since the last call: they are to be published.
    pub(super) fn take(&mut self) -> Vec<u32> {
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
    pub(super) fn follow(&mut self, now: BootTime) {
        let late = self.variables.follow(now);
        self.losses.add(Degradation::FileUnanswered, late);
    }

    /// What a walk needs to know of Go in a process with these mappings, which may be gone by now.
    pub(super) fn go_of<'a>(
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
    pub(super) fn looking(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.looks.keys().copied().collect();
        pids.extend(self.variables.asked());
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// The processes that are to be looked at again now.
    pub(super) fn due(&self, now: BootTime) -> Vec<u32> {
        let due = self
            .looks
            .iter()
            .filter(|(pid, look)| look.next <= now && !self.variables.is_asked(**pid, look.image));
        due.map(|(pid, _)| *pid).collect()
    }

    /// Forgets the files that are not in use any more, and the processes that are gone.
    pub(super) fn prune(
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
    pub(super) fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}

/// A file that something is known of, in a process.
struct KnownFile<'a> {
    id: ExecutableId,
    facts: Arc<FileFacts>,
    mapping: &'a ExecutableMapping,
    role: Role,
}

/// The entry of a process with the first of these files that has Go in it.
fn with_go(files: &[KnownFile<'_>]) -> Option<RuntimeEntry> {
    let mut all = files.iter();
    let (runtime, mapping) = all.find_map(|file| Some((file.facts.go.as_ref()?, file.mapping)))?;
    entry(runtime, mapping)
}

/// The entry of a process that maps the file of `runtime` as `mapping` says.
fn entry(runtime: &Runtime, mapping: &ExecutableMapping) -> Option<RuntimeEntry> {
    let mut entry = RuntimeEntry {
        go: runtime.offsets,
        ..RuntimeEntry::default()
    };
    entry.go.g = match runtime.slot {
        Slot::ThreadPointer(offset) => ThreadLocal {
            kind: ThreadLocal::STATIC,
            offset,
            ..ThreadLocal::default()
        },
        Slot::Register(number) => ThreadLocal {
            kind: ThreadLocal::REGISTER,
            offset: i64::from(number),
            ..ThreadLocal::default()
        },
        Slot::Indirect(address) => ThreadLocal {
            kind: ThreadLocal::INDIRECT,
            offset: place_of(address, mapping)?.0.cast_signed(),
            ..ThreadLocal::default()
        },
    };
    if let Some(start) = place_of(runtime.constants.start, mapping) {
        entry.go.constants = start.0;
        entry.go.constants_bytes = runtime.constants.length;
    }
    Some(entry)
}

/// Where an address of a file lies in a process that maps one of its executable segments so.
fn place_of(address: ElfAddress, mapping: &ExecutableMapping) -> Option<VirtualAddress> {
    let MappingKind::File { executable, offset } = &mapping.kind else {
        return None;
    };
    let bias = mapping_bias(&executable.segments, &mapping.range, *offset)?;
    Some(VirtualAddress(address.0.wrapping_sub(bias)))
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use profiler_common::layout::GoRuntime;

    use super::*;
    use crate::go::{ElfRange, Origin};
    use crate::profile::{Executable, FileOffset, Segment};

    fn mapping() -> ExecutableMapping {
        let executable = Executable {
            id: ExecutableId(1),
            path: "/program".into(),
            file: None,
            image: None,
            length: 0x10_0000,
            build_id: None,
            htl_hash: OnceLock::new(),
            constants: Box::default(),
            segments: Box::new([Segment {
                offset: FileOffset(0x1000),
                address: ElfAddress(0x2000),
                length: 0x5000,
            }]),
            root: None,
        };
        ExecutableMapping {
            range: VirtualAddress(0x55_0000_2000)..VirtualAddress(0x55_0000_7000),
            kind: MappingKind::File {
                executable: Arc::new(executable),
                offset: FileOffset(0x1000),
            },
        }
    }

    #[test]
    fn a_word_of_the_file_is_found_in_the_process() {
        let runtime = |slot| Runtime {
            offsets: GoRuntime {
                g_m: 48,
                ..GoRuntime::default()
            },
            origin: Origin::Version,
            slot,
            constants: ElfRange {
                start: ElfAddress(0x1000),
                length: 0x3000,
            },
        };
        let found = entry(&runtime(Slot::Indirect(ElfAddress(0x9008))), &mapping()).unwrap();
        assert_eq!(found.go.g.kind, ThreadLocal::INDIRECT);
        assert_eq!(found.go.g.offset, 0x55_0000_9008);
        assert_eq!(found.go.g_m, 48);
        let constants = (found.go.constants, found.go.constants_bytes);
        assert_eq!(constants, (0x55_0000_1000, 0x3000));
        let found = entry(&runtime(Slot::ThreadPointer(-8)), &mapping()).unwrap();
        assert_eq!(
            (found.go.g.kind, found.go.g.offset),
            (ThreadLocal::STATIC, -8)
        );
    }
}
