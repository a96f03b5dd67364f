//! Which processes have a language runtime whose insides are known, and telling the kernel side.
//!
//! What an executable says of its runtime comes with its unwind table, from the same thread. It becomes a
//! process's entry when both are there: the facts of a file, and where this process mapped it.

use std::sync::Arc;

use hashbrown::HashMap;
use profiler_common::layout::{RuntimeEntry, ThreadLocal};

use crate::collect::CollectError;
use crate::collect::publish::Publisher;
use crate::go::{Runtime, Slot};
use crate::profile::{
    BootTime, ElfAddress, ExecutableId, ExecutableMapping, MappingKind, VirtualAddress,
};

/// What is known of the runtimes in executables.
#[derive(Default)]
pub(super) struct Runtimes {
    by_file: HashMap<ExecutableId, Arc<Runtime>>,
}

impl Runtimes {
    /// Notes what a file says of its runtime.
    pub(super) fn learn(&mut self, executable: ExecutableId, runtime: Runtime) {
        self.by_file.insert(executable, Arc::new(runtime));
    }

    /// Tells the kernel side of the runtime of the process with these mappings, if there is one.
    pub(super) fn publish<'a>(
        &self,
        pid: u32,
        image: BootTime,
        mappings: impl Iterator<Item = &'a ExecutableMapping>,
        publisher: &mut Publisher,
        now: BootTime,
    ) -> Result<(), CollectError> {
        if self.by_file.is_empty() {
            return Ok(());
        }
        for mapping in mappings {
            if let MappingKind::File { executable, .. } = &mapping.kind
                && let Some(runtime) = self.by_file.get(&executable.id)
                && let Some(entry) = entry(runtime, mapping)
            {
                return publisher.set_runtime(pid, image, &entry, now);
            }
        }
        Ok(())
    }

    /// Forgets the files that are not in use any more.
    pub(super) fn prune(&mut self, used: impl Fn(ExecutableId) -> bool) {
        self.by_file.retain(|executable, _| used(*executable));
    }
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
    Some(entry)
}

/// Where an address of a file lies in a process that maps one of its executable segments so.
fn place_of(address: ElfAddress, mapping: &ExecutableMapping) -> Option<VirtualAddress> {
    let MappingKind::File { executable, offset } = &mapping.kind else {
        return None;
    };
    let start = executable.elf_address(*offset)?;
    let distance = address.0.wrapping_sub(start.0);
    Some(VirtualAddress(mapping.range.start.0.wrapping_add(distance)))
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use profiler_common::layout::GoRuntime;

    use super::*;
    use crate::go::Origin;
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
        };
        let found = entry(&runtime(Slot::Indirect(ElfAddress(0x9008))), &mapping()).unwrap();
        assert_eq!(found.go.g.kind, ThreadLocal::INDIRECT);
        assert_eq!(found.go.g.offset, 0x55_0000_9008);
        assert_eq!(found.go.g_m, 48);
        let found = entry(&runtime(Slot::ThreadPointer(-8)), &mapping()).unwrap();
        assert_eq!(
            (found.go.g.kind, found.go.g.offset),
            (ThreadLocal::STATIC, -8)
        );
    }
}
