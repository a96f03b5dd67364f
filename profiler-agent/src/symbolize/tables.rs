//! A profile's tables, each entry once, from a window and the names of its locations.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use hashbrown::HashMap;
use sha2::{Digest as _, Sha256};

use super::go::Wrappers;
use super::kernel::KernelSymbols;
use crate::profile::{
    ClockPair, ContextIndex, Executable, ExecutableId, FileOffset, Function, FunctionIndex,
    HtlHash, KernelCodeKind, LabelSet, LabelSetIndex, LineEntry, Link, Location, LocationIndex,
    LocationKey, Losses, Mapping, MappingIndex, Mark, Profile, ProfileSample, ResolvedFrames,
    StackIndex, Stacks, Thread, ThreadIndex, Window, WindowSample,
};

/// Bytes at each end of a file that its head-tail-length hash covers.
const HASHED: usize = 4096;

/// The place of a location that no stack shows.
const HIDDEN: LocationIndex = LocationIndex(u32::MAX);

/// The entries of a table, each once, in the order of their first use.
struct Table<T> {
    entries: Vec<T>,
    indices: HashMap<T, u32>,
}

impl<T: Clone + Eq + std::hash::Hash> Table<T> {
    fn new() -> Self {
        Self {
            entries: Vec::new(),
            indices: HashMap::new(),
        }
    }

    fn intern(&mut self, entry: T) -> u32 {
        if let Some(index) = self.indices.get(&entry) {
            return *index;
        }
        let index = self.entries.len() as u32;
        self.entries.push(entry.clone());
        self.indices.insert(entry, index);
        index
    }
}

/// The profile of `window`, whose locations are called `frames` (parallel to `Window::locations`).
pub(super) fn build(
    window: &Window,
    clocks: &ClockPair,
    frames: &[ResolvedFrames],
    kernel: &mut KernelSymbols,
    mut losses: Losses,
) -> Profile {
    let mut functions = Table::new();
    let mut mappings = Mappings {
        table: Table::new(),
        segments: HashMap::new(),
    };
    let mut locations = Table::new();
    let wrappers = Wrappers::find(frames);
    let used = wrappers
        .as_ref()
        .map(|wrappers| wrappers.used(&window.stacks));
    let places: Vec<LocationIndex> = window
        .locations
        .iter()
        .zip(frames)
        .enumerate()
        .map(|(index, (key, named))| {
            if used.as_ref().is_some_and(|used| !used[index]) {
                return HIDDEN;
            }
            let (mapping, address) = mappings.place(window, *key, kernel);
            LocationIndex(locations.intern(Location {
                mapping,
                address,
                lines: lines(named, &mut functions),
                frame_type: named.frame_type,
                kind: named.kind,
            }))
        })
        .collect();
    let mut label_sets = Table::new();
    label_sets.intern(LabelSet::default());
    let contexts: Vec<(LabelSetIndex, Option<Link>)> = window
        .contexts
        .iter()
        .map(|context| {
            let labels = label_sets.intern(context.labels.clone());
            (LabelSetIndex(labels), context.link)
        })
        .collect();
    let merged = wrappers.is_some() || locations.entries.len() < window.locations.len();
    let (stacks, samples) = if merged {
        merge_stacks(window, clocks, &places, &contexts, wrappers.as_ref())
    } else {
        let samples = window
            .samples
            .iter()
            .map(|s| sample(s, s.stack, clocks, &contexts))
            .collect();
        (window.stacks.clone(), samples)
    };
    losses.merge(&window.losses);
    Profile {
        start: clocks.unix(window.start),
        end: clocks.unix(window.end),
        kind: window.kind,
        processes: window.processes.clone(),
        threads: window
            .threads
            .iter()
            .map(|thread| Thread {
                process: thread.process,
                tid: thread.tid,
                name: Arc::from(thread.name.to_text()),
            })
            .collect(),
        functions: functions.entries,
        mappings: mappings.table.entries,
        locations: locations.entries,
        stacks,
        label_sets: label_sets.entries,
        samples,
        outcomes: window.outcomes.clone(),
        losses,
    }
}

fn lines(named: &ResolvedFrames, functions: &mut Table<Function>) -> Box<[LineEntry]> {
    named
        .frames
        .iter()
        .map(|frame| {
            let source = frame.source.as_ref();
            let function = functions.intern(Function {
                name: Arc::clone(&frame.name),
                system_name: Arc::clone(&frame.system_name),
                file: source.map_or_else(|| Arc::from(""), |source| Arc::clone(&source.file)),
                start_line: frame.start_line,
            });
            LineEntry {
                function: FunctionIndex(function),
                line: source.map_or(0, |source| source.line),
                column: source.map_or(0, |source| source.column),
            }
        })
        .collect()
}

fn sample(
    sample: &WindowSample,
    stack: StackIndex,
    clocks: &ClockPair,
    contexts: &[(LabelSetIndex, Option<Link>)],
) -> ProfileSample {
    let (labels, link) = contexts[sample.context.0 as usize];
    ProfileSample {
        thread: sample.thread,
        stack,
        labels,
        link,
        count: sample.occurrences.len() as u64,
        value: sample.occurrences.total(),
        occurrences: sample.occurrences.at(|time| clocks.unix(*time)),
    }
}

/// Distinct keys may be one location (an address outside of any mapping, in two processes), and stacks
/// leave wrappers out: then stacks may have become equal, and samples of one thread with them.
fn merge_stacks(
    window: &Window,
    clocks: &ClockPair,
    places: &[LocationIndex],
    contexts: &[(LabelSetIndex, Option<Link>)],
    wrappers: Option<&Wrappers<'_>>,
) -> (Stacks, Vec<ProfileSample>) {
    let mut stacks = Stacks::default();
    let mut known: HashMap<Vec<LocationIndex>, StackIndex> = HashMap::new();
    let renumbered: Vec<StackIndex> = (0..window.stacks.len() as u32)
        .map(|index| {
            let mut stack = Cow::Borrowed(window.stacks.get(StackIndex(index)));
            if let Some(wrappers) = wrappers {
                stack = Cow::Owned(wrappers.shown(&stack));
            }
            let stack: Vec<LocationIndex> = stack
                .iter()
                .map(|location| places[location.0 as usize])
                .collect();
            *known
                .entry(stack)
                .or_insert_with_key(|stack| stacks.push(stack))
        })
        .collect();
    let mut samples: Vec<ProfileSample> = Vec::with_capacity(window.samples.len());
    let mut seen: HashMap<(ThreadIndex, StackIndex, ContextIndex), usize> = HashMap::new();
    for old in &window.samples {
        let new = sample(old, renumbered[old.stack.0 as usize], clocks, contexts);
        let key = (new.thread, new.stack, old.context);
        match seen.get(&key) {
            Some(index) => {
                let same = &mut samples[*index];
                same.count += new.count;
                same.value = same.value.saturating_add(new.value);
                same.occurrences.extend(new.occurrences.iter());
            }
            None => {
                seen.insert(key, samples.len());
                samples.push(new);
            }
        }
    }
    (stacks, samples)
}

/// A mapping of which nothing is known but what it is called.
fn unmapped(name: &str) -> Mapping {
    Mapping {
        file: Arc::from(name),
        memory_start: 0,
        memory_limit: 0,
        file_offset: 0,
        build_id: None,
        htl_hash: None,
    }
}

struct Mappings {
    table: Table<Mapping>,
    /// The mapping of a file's segment (by its number; none for an offset in no segment).
    segments: HashMap<(ExecutableId, Option<usize>), MappingIndex>,
}

impl Mappings {
    /// The mapping that a location lies in, and its address there.
    fn place(
        &mut self,
        window: &Window,
        key: LocationKey,
        kernel: &mut KernelSymbols,
    ) -> (Option<MappingIndex>, u64) {
        match key {
            LocationKey::Kernel(address) => {
                let mapping = self.table.intern(kernel.mapping(address));
                (Some(MappingIndex(mapping)), address.0)
            }
            LocationKey::KernelCode(id, address) => {
                let kind = window.kernel_code.get(&id).map(|code| code.kind);
                let mapping = self.table.intern(unmapped(match kind {
                    Some(KernelCodeKind::Trampoline) => Mark::Trampoline.name(),
                    _ => Mark::Bpf.name(),
                }));
                (Some(MappingIndex(mapping)), address.0)
            }
            LocationKey::File(id, offset) => match window.executables.get(&id) {
                Some(executable) => self.segment(executable, offset),
                None => (None, offset.0),
            },
            LocationKey::Anonymous(_, address) => {
                let mapping = self.table.intern(unmapped(Mark::Anonymous.name()));
                (Some(MappingIndex(mapping)), address.0)
            }
            LocationKey::Unmapped(_, address) => (None, address.0),
            LocationKey::Interpreted { frame, .. } => (None, frame.pointer()),
            LocationKey::ReturnProbe | LocationKey::Broken(_) => (None, 0),
        }
    }

    fn segment(
        &mut self,
        executable: &Executable,
        offset: FileOffset,
    ) -> (Option<MappingIndex>, u64) {
        let number = executable
            .segments
            .iter()
            .position(|segment| offset.0.wrapping_sub(segment.offset.0) < segment.length);
        let segment = number.map(|number| executable.segments[number]);
        let address = executable
            .elf_address(offset)
            .map_or(offset.0, |address| address.0);
        if let Some(known) = self.segments.get(&(executable.id, number)) {
            return (Some(*known), address);
        }
        let (start, length, file_offset) = segment.map_or((0, executable.length, 0), |segment| {
            (segment.address.0, segment.length, segment.offset.0)
        });
        let index = MappingIndex(self.table.intern(Mapping {
            file: Arc::from(&*executable.path),
            memory_start: start,
            memory_limit: start.saturating_add(length),
            file_offset,
            build_id: executable.build_id,
            htl_hash: htl_hash(executable),
        }));
        self.segments.insert((executable.id, number), index);
        (Some(index), address)
    }
}

/// The executable's head-tail-length hash, computed when it is first asked for.
fn htl_hash(executable: &Executable) -> Option<HtlHash> {
    *executable.htl_hash.get_or_init(|| {
        if let Some(image) = &executable.image {
            let head = &image[..image.len().min(HASHED)];
            let tail = &image[image.len().saturating_sub(HASHED)..];
            return Some(hash(head, tail, image.len() as u64));
        }
        let file = executable.file.as_ref()?;
        let length = file.metadata().ok()?.len();
        let head = read_at(file, 0, length)?;
        let tail = read_at(file, length.saturating_sub(HASHED as u64), length)?;
        Some(hash(&head, &tail, length))
    })
}

fn read_at(file: &File, position: u64, length: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; (length - position).min(HASHED as u64) as usize];
    file.read_exact_at(&mut bytes, position).ok()?;
    Some(bytes)
}

fn hash(head: &[u8], tail: &[u8], length: u64) -> HtlHash {
    let digest = Sha256::new()
        .chain_update(head)
        .chain_update(tail)
        .chain_update(length.to_be_bytes())
        .finalize();
    let mut kept = [0; 16];
    kept.copy_from_slice(&digest[..16]);
    HtlHash(kept)
}
