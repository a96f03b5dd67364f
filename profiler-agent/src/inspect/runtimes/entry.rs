//! What files say of runtimes, where a process has mapped them. Pure.

use std::sync::Arc;

use profiler_common::layout::{RuntimeEntry, ThreadLocal};

use crate::go::{Runtime, Slot};
use crate::inspect::facts::FileFacts;
use crate::profile::{
    ElfAddress, ExecutableId, ExecutableMapping, MappingKind, VirtualAddress, mapping_bias,
};
use crate::thread_local::Role;

/// A file that something is known of, in a process.
pub(super) struct KnownFile<'a> {
    pub(super) id: ExecutableId,
    pub(super) facts: Arc<FileFacts>,
    pub(super) mapping: &'a ExecutableMapping,
    pub(super) role: Role,
}

/// The entry of a process with the first of these files that has Go in it.
pub(super) fn with_go(files: &[KnownFile<'_>]) -> Option<RuntimeEntry> {
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
pub(super) fn place_of(address: ElfAddress, mapping: &ExecutableMapping) -> Option<VirtualAddress> {
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
