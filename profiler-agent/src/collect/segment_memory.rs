//! The memory of segments: arrays under one outer map, written through a mapping.
//!
//! A segment is mapped only while tables are written or read: its pages would count as the agent's own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use aya::maps::MapData;
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use profiler_common::layout::TablePlace;
use profiler_common::unwind::table::{BLOCK_WORDS, TableBlock};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::CollectError;
use super::of_maps::ArrayOf;

/// `BPF_F_MMAPABLE | BPF_F_INNER_MAP`, as the kernel side's definition of segments has them. Like that definition, segments
/// have no type information.
const FLAGS: u32 = 1 << 10 | 1 << 12;

/// The segments that exist.
pub struct SegmentMemory {
    outer: ArrayOf,
    segments: BTreeMap<u32, (MapData, u32)>,
    /// Segments that are being read.
    mapped: RefCell<BTreeMap<u32, Option<Mapped>>>,
}

impl SegmentMemory {
    pub(super) const fn new(outer: ArrayOf) -> Self {
        Self {
            outer,
            segments: BTreeMap::new(),
            mapped: RefCell::new(BTreeMap::new()),
        }
    }

    /// Creates segment `index` with this many blocks.
    pub(super) fn create(&mut self, index: u32, blocks: u32) -> Result<(), CollectError> {
        let map = array(blocks)?;
        self.outer.put(index, &map)?;
        self.segments.insert(index, (map, blocks));
        Ok(())
    }

    /// Gives segment `index` back to the kernel.
    pub(super) fn remove(&mut self, index: u32) -> Result<(), CollectError> {
        self.outer.remove(index)?;
        self.segments.remove(&index);
        self.mapped.get_mut().remove(&index);
        Ok(())
    }

    /// Writes a table's words to its place.
    pub(super) fn write(&mut self, place: TablePlace, words: &[u32]) -> Result<(), CollectError> {
        let outside = || {
            system(
                "writing an unwind table",
                io::ErrorKind::InvalidInput.into(),
            )
        };
        let (map, blocks) = self.segments.get(&place.segment()).ok_or_else(outside)?;
        let first = place.block() as usize * BLOCK_WORDS;
        let length = *blocks as usize * BLOCK_WORDS;
        if first
            .checked_add(words.len())
            .is_none_or(|end| end > length)
        {
            return Err(outside());
        }
        let memory = Mapped::new(map.fd().as_fd(), length * 4)?;
        // SAFETY: the range lies within the mapping (checked above) and is aligned to words; the
        // kernel side reads it only once a mapping refers to it.
        unsafe {
            memory
                .start
                .cast::<u32>()
                .add(first)
                .copy_from_nonoverlapping(NonNull::from(words).cast(), words.len());
        }
        Ok(())
    }
}

impl SegmentMemory {
    /// The word at `index` of the table at `place`. The segment stays mapped until [`SegmentMemory::unmap`].
    pub(super) fn word(&self, place: TablePlace, index: u32) -> Option<u32> {
        self.with_word(place, index, |word| word.load(Ordering::Relaxed))
    }

    /// Writes the word at `index` of the table at `place`, which the kernel side reads: it sees what was written before
    /// too. The segment stays mapped until [`SegmentMemory::unmap`].
    pub(super) fn set_word(
        &self,
        place: TablePlace,
        index: u32,
        value: u32,
    ) -> Result<(), CollectError> {
        let written = self.with_word(place, index, |word| word.store(value, Ordering::Release));
        written.ok_or_else(|| {
            system(
                "writing a directory of unwind tables",
                io::ErrorKind::InvalidInput.into(),
            )
        })
    }

    fn with_word<T>(
        &self,
        place: TablePlace,
        index: u32,
        access: impl FnOnce(&AtomicU32) -> T,
    ) -> Option<T> {
        let mut mapped = self.mapped.borrow_mut();
        let memory = mapped.entry(place.segment()).or_insert_with(|| {
            let (map, blocks) = self.segments.get(&place.segment())?;
            Mapped::new(map.fd().as_fd(), *blocks as usize * BLOCK_WORDS * 4).ok()
        });
        let memory = memory.as_ref()?;
        let at = (place.block() as usize * BLOCK_WORDS).checked_add(index as usize)?;
        if at >= memory.length / 4 {
            return None;
        }
        // SAFETY: within the mapping, aligned to words, and mapped for as long as it is borrowed.
        Some(access(unsafe {
            AtomicU32::from_ptr(memory.start.cast::<u32>().add(at).as_ptr())
        }))
    }

    /// Unmaps what was mapped to be read.
    pub(super) fn unmap(&mut self) {
        self.mapped.get_mut().clear();
    }
}

fn array(blocks: u32) -> Result<MapData, CollectError> {
    let definition = aya_obj::Map::new_from_params(
        BPF_MAP_TYPE_ARRAY as u32,
        4,
        size_of::<TableBlock>() as u32,
        blocks,
        FLAGS,
    );
    MapData::create(definition, "unwind_tables", None).map_err(map_error)
}

struct Mapped {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread, and whoever has this is the only one to use it.
unsafe impl Send for Mapped {}

impl Mapped {
    fn new(map: BorrowedFd<'_>, length: usize) -> Result<Self, CollectError> {
        let length = length.next_multiple_of(rustix::param::page_size());
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                map,
                0,
            )
        }
        .map_err(|error| system("mapping a segment of unwind tables", error.into()))?;
        let start = NonNull::new(start.cast()).ok_or_else(|| {
            system(
                "mapping a segment of unwind tables",
                io::ErrorKind::Other.into(),
            )
        })?;
        Ok(Self { start, length })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` and nothing refers to it any more. A failure would
        // leave it mapped, which is harmless.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

const fn map_error(source: aya::maps::MapError) -> CollectError {
    CollectError::Map {
        map: "SEGMENTS",
        source,
    }
}

fn system(call: &str, source: io::Error) -> CollectError {
    CollectError::System {
        call: call.to_owned(),
        source,
    }
}
