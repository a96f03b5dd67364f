//! Where the kernel side keeps what it notes of a thread that is off CPU.

use aya_obj::generated::bpf_map_type::{BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_TASK_STORAGE};
use object::{Object as _, ObjectSection as _};

use super::super::btf::KernelTypes;

/// Where stays are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// With the task, by the kernel.
    Task,
    /// In a hash, from which they are removed when the thread is no more.
    Hash,
}

impl Storage {
    /// What users call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Task => "task storage",
            Self::Hash => "hash",
        }
    }
}

/// Threads that the hash has room for: as many as `pid_max` lets by default where it is not raised.
pub(in super::super) const MAX_THREADS: u32 = 32_768;

/// The map of stays that the kernel keeps with its tasks.
const MAP: &str = "TASK_STAYS";

/// Can programs keep something with a task while the scheduler has its locks? Kernels that take the memory for it from the
/// general allocator may wake a thread then, which takes the same locks. Those that do not have allocators of their
/// own for it (`bpf_mem_alloc`, then `kmalloc_nolock`).
pub(in super::super) fn keeps_stays(types: &KernelTypes<'_>) -> bool {
    types.offset("task_struct", "bpf_storage").is_ok()
        && (types.offset("bpf_local_storage_map", "selem_ma").is_ok()
            || types.has_function("bpf_map_kmalloc_nolock"))
}

/// The object with a hash in the place of the map that only newer kernels can make: all maps are made, also those that no
/// program uses that is loaded. `None`: the object has no such map.
pub(in super::super) fn without_task_storage(object: &[u8]) -> Option<Vec<u8>> {
    let file = object::File::parse(object).ok()?;
    let section = file.section_by_name(".BTF")?;
    let (offset, _) = section.file_range()?;
    let at = KernelTypes::map_attribute(section.data().ok()?, MAP, "type")?;
    let at = usize::try_from(offset).ok()?.checked_add(at)?;
    let mut patched = object.to_vec();
    let word = patched.get_mut(at..at + 4)?;
    if *word != (BPF_MAP_TYPE_TASK_STORAGE as u32).to_ne_bytes() {
        return None;
    }
    word.copy_from_slice(&(BPF_MAP_TYPE_HASH as u32).to_ne_bytes());
    Some(patched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(object: &[u8]) -> Vec<(String, u32)> {
        let object = aya_obj::Object::parse(object).unwrap();
        let maps = object.maps.iter();
        let mut maps: Vec<_> = maps
            .map(|(name, map)| (name.clone(), map.map_type()))
            .collect();
        maps.sort();
        maps
    }

    #[test]
    fn only_the_map_of_stays_is_another_one() {
        for machine in ["x86_64", "aarch64"] {
            let path = format!(
                "{}/../profiler-ebpf/object/profiler-{machine}.bpf.o",
                env!("CARGO_MANIFEST_DIR")
            );
            let object = std::fs::read(path).unwrap();
            let mut expected = maps(&object);
            let stays = expected.iter_mut().find(|(name, _)| name == MAP).unwrap();
            assert_eq!(stays.1, BPF_MAP_TYPE_TASK_STORAGE as u32);
            stays.1 = BPF_MAP_TYPE_HASH as u32;
            assert_eq!(maps(&without_task_storage(&object).unwrap()), expected);
        }
    }

    #[test]
    fn what_is_no_object_is_not_changed() {
        assert_eq!(without_task_storage(b"no object"), None);
    }
}
