//! The publisher over maps that fail as a test, or chance, has it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use profiler_common::layout::TablePlace;
use profiler_common::layout::process::NO_TABLE;
use profiler_common::unwind::table::{PAGE_EMPTY, PAGE_MISSING};
use proptest::prelude::*;

use super::*;
use crate::profile::{ElfAddress, Executable, FileOffset, MappingKind, Segment, VirtualAddress};

/// What the kernel side would read.
#[derive(Default)]
struct Kernel {
    entries: BTreeMap<u32, ProcessEntry>,
    chunks: BTreeMap<u32, MappingChunk>,
    runtimes: BTreeMap<u32, RuntimeEntry>,
    segments: BTreeMap<u32, Vec<u32>>,
    /// Words of the table at a place.
    lengths: BTreeMap<u32, usize>,
    /// What each entry came to when it was written.
    meant: BTreeMap<u32, Resolved>,
    /// The errors of the next operations; none when it is empty.
    errors: Vec<Option<i32>>,
    operations: usize,
}

/// All that an entry refers to, by value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Resolved {
    image: u64,
    /// Start of each mapping, and the words of its table.
    mappings: Vec<(u64, Option<Vec<u32>>)>,
    runtime: Option<RuntimeEntry>,
}

impl Kernel {
    fn next(&mut self) -> Result<(), CollectError> {
        self.operations += 1;
        match self.errors.pop().flatten() {
            None => Ok(()),
            Some(number) => Err(CollectError::System {
                call: "bpf".to_owned(),
                source: io::Error::from_raw_os_error(number),
            }),
        }
    }

    fn resolve(&self, entry: &ProcessEntry) -> Resolved {
        let mut mappings = Vec::new();
        let used = |slot: &u32| {
            let mappings = self.chunks[slot].mappings.into_iter();
            mappings.filter(|mapping| *mapping != MappingEntry::UNUSED)
        };
        let mut leaves = entry.table.slot[..entry.chunks as usize].to_vec();
        if entry.index == 1 {
            leaves = leaves
                .iter()
                .flat_map(used)
                .map(|entry| entry.table)
                .collect();
        }
        for slot in leaves {
            let chunk = &self.chunks[&slot];
            let used = chunk
                .mappings
                .iter()
                .filter(|mapping| **mapping != MappingEntry::UNUSED);
            mappings.extend(used.map(|mapping| {
                let table = (mapping.table != NO_TABLE && mapping.pages > 0).then(|| {
                    let directory = self.words(mapping.table);
                    match directory[..] {
                        [PAGE_MISSING | PAGE_EMPTY] => directory,
                        [page] => self.words(page),
                        _ => panic!("files of these tests have one page"),
                    }
                });
                (mapping.start, table)
            }));
        }
        Resolved {
            image: entry.image,
            mappings,
            runtime: (entry.runtime != 0).then(|| self.runtimes[&entry.runtime]),
        }
    }

    /// The words at a place.
    fn words(&self, place: u32) -> Vec<u32> {
        let length = self.lengths[&place];
        let place = TablePlace(place);
        let first = place.block() as usize * BLOCK_WORDS;
        self.segments[&place.segment()][first..first + length].to_vec()
    }

    /// Whatever was written since: what an entry refers to is still what was meant.
    fn check(&self) {
        for (pid, entry) in &self.entries {
            if entry.state == ProcessEntry::KNOWN {
                assert_eq!(self.resolve(entry), self.meant[pid], "process {pid}");
            }
        }
    }

    /// An exec, as the kernel side notes it.
    fn exec(&mut self, pid: u32, image: u64) {
        self.entries.insert(pid, ProcessEntry::empty(image));
    }
}

#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Kernel>>);

impl Maps for Fake {
    fn entry(&self, pid: u32) -> Option<ProcessEntry> {
        self.0.borrow().entries.get(&pid).copied()
    }
    fn insert(&mut self, pid: u32, entry: ProcessEntry) -> Result<(), CollectError> {
        let mut kernel = self.0.borrow_mut();
        kernel.next()?;
        let meant = kernel.resolve(&entry);
        kernel.meant.insert(pid, meant);
        kernel.entries.insert(pid, entry);
        Ok(())
    }
    fn remove(&mut self, pid: u32) -> Result<(), CollectError> {
        let mut kernel = self.0.borrow_mut();
        kernel.next()?;
        kernel.entries.remove(&pid);
        Ok(())
    }
    fn set_chunk(&mut self, slot: u32, chunk: MappingChunk) -> Result<(), CollectError> {
        let mut kernel = self.0.borrow_mut();
        kernel.next()?;
        kernel.chunks.insert(slot, chunk);
        Ok(())
    }
    fn set_rule(&mut self, _: u32, _: Rule) -> Result<(), CollectError> {
        self.0.borrow_mut().next()
    }
    fn set_runtime(&mut self, slot: u32, runtime: RuntimeEntry) -> Result<(), CollectError> {
        let mut kernel = self.0.borrow_mut();
        kernel.next()?;
        kernel.runtimes.insert(slot, runtime);
        Ok(())
    }
    fn create_segment(&mut self, index: u32, blocks: u32) -> Result<(), CollectError> {
        let mut kernel = self.0.borrow_mut();
        kernel.next()?;
        let words = vec![0; blocks as usize * BLOCK_WORDS];
        kernel.segments.insert(index, words);
        Ok(())
    }
    fn remove_segment(&mut self, index: u32) -> Result<(), CollectError> {
        let mut kernel = self.0.borrow_mut();
        kernel.next()?;
        kernel.segments.remove(&index);
        Ok(())
    }
    fn write_table(&mut self, place: TablePlace, words: &[u32]) -> Result<(), CollectError> {
        let mut kernel = self.0.borrow_mut();
        kernel.next()?;
        kernel.lengths.insert(place.0, words.len());
        let first = place.block() as usize * BLOCK_WORDS;
        let segment = kernel.segments.get_mut(&place.segment()).unwrap();
        segment[first..first + words.len()].copy_from_slice(words);
        Ok(())
    }
    fn set_word(&mut self, place: TablePlace, index: u32, word: u32) -> Result<(), CollectError> {
        let mut kernel = self.0.borrow_mut();
        kernel.next()?;
        kernel.check();
        let first = place.block() as usize * BLOCK_WORDS;
        let segment = kernel.segments.get_mut(&place.segment()).unwrap();
        segment[first + index as usize] = word;
        // Every entry that refers to the directory is meant to have the page.
        let entries = kernel.entries.iter();
        let known = entries.filter(|(_, entry)| entry.state == ProcessEntry::KNOWN);
        kernel.meant = known
            .map(|(pid, entry)| (*pid, kernel.resolve(entry)))
            .collect();
        Ok(())
    }
    fn word(&self, place: TablePlace, index: u32) -> Option<u32> {
        let kernel = self.0.borrow();
        let first = place.block() as usize * BLOCK_WORDS;
        let segment = kernel.segments.get(&place.segment())?;
        segment.get(first + index as usize).copied()
    }
    fn rest(&mut self) {}
}

struct Test {
    kernel: Fake,
    publisher: Publisher<Fake>,
    now: BootTime,
}

impl Test {
    fn new() -> Self {
        let kernel = Fake::default();
        Self {
            publisher: Publisher::over(kernel.clone(), 64 << 20),
            kernel,
            now: BootTime(1_000_000_000),
        }
    }
    /// The next operations fail so.
    fn fail(&self, errors: &[Option<i32>]) {
        self.kernel.0.borrow_mut().errors = errors.iter().rev().copied().collect();
    }
    fn publish(&mut self, pid: u32, image: u64, executables: &[u32]) {
        let mappings: Vec<ExecutableMapping> = executables.iter().map(|id| mapping(*id)).collect();
        self.publisher
            .publish(pid, BootTime(image), mappings.iter(), self.now);
    }
    fn load(&mut self, executable: u32, generation: u32, words: usize) -> bool {
        let words: Vec<u32> = (0..words as u32)
            .map(|word| generation << 16 | word)
            .collect();
        let id = ExecutableId(executable);
        let mut loaded = self.publisher.load_table(id, ElfAddress(0), 1, self.now);
        if loaded == TableLoad::Loaded {
            loaded = self.publisher.load_page(id, 0, &words, self.now);
        }
        assert_ne!(loaded, TableLoad::NoRoom);
        loaded == TableLoad::Loaded
    }
    fn seen(&self, pid: u32) -> Option<Resolved> {
        let kernel = self.kernel.0.borrow();
        kernel.entries.get(&pid).map(|entry| kernel.resolve(entry))
    }
    fn starts(&self, pid: u32) -> Vec<u64> {
        let seen = self.seen(pid).unwrap();
        seen.mappings.iter().map(|mapping| mapping.0).collect()
    }
    fn retry(&mut self) {
        self.publisher.retry(self.now);
    }
}

const fn start_of(executable: u32) -> u64 {
    0x10_0000 * (executable as u64 + 1)
}

fn mapping(id: u32) -> ExecutableMapping {
    let executable = Executable {
        id: ExecutableId(id),
        path: "/program".into(),
        file: None,
        image: None,
        length: 0x1000,
        build_id: None,
        htl_hash: OnceLock::new(),
        constants: Box::default(),
        segments: Box::new([Segment {
            offset: FileOffset(0),
            address: ElfAddress(0),
            length: 0x1000,
        }]),
        root: None,
    };
    ExecutableMapping {
        range: VirtualAddress(start_of(id))..VirtualAddress(start_of(id) + 0x1000),
        kind: MappingKind::File {
            executable: Arc::new(executable),
            offset: FileOffset(0),
        },
    }
}

fn runtime(number: u16) -> RuntimeEntry {
    let mut runtime = RuntimeEntry::default();
    runtime.go.g_labels = number;
    runtime
}

const NO_MEMORY: Option<i32> = Some(libc::ENOMEM);

#[test]
fn a_process_that_cannot_be_written_keeps_its_entry_until_it_can() {
    for errors in [
        &[NO_MEMORY][..],
        &[None, NO_MEMORY],
        &[None, Some(libc::EBUSY)],
    ] {
        let mut test = Test::new();
        test.publish(7, 1, &[0]);
        test.fail(errors);
        test.publish(7, 1, &[0, 1]);
        assert_eq!(test.starts(7), [start_of(0)]);
        assert_eq!(test.publisher.take_losses().of(Degradation::MapFailed), 1);
        let trouble = test.publisher.take_trouble().unwrap();
        assert!(trouble.contains("tried again every second"), "{trouble}");
        // Other processes come and go, long enough for slots to be used again.
        for pid in 8..20 {
            test.now = test.now.plus(Duration::from_secs(6));
            test.publish(pid, 1, &[pid]);
            test.publisher.forget(pid, test.now);
            test.kernel.0.borrow().check();
        }
        test.retry();
        assert_eq!(test.starts(7), [start_of(0), start_of(1)]);
        assert_eq!(test.publisher.take_trouble(), None);
    }
}

#[test]
fn a_full_table_is_counted_once_a_process_and_filled_when_there_is_room() {
    let mut test = Test::new();
    let full = Some(libc::E2BIG);
    test.fail(&[None, full, full, full]);
    test.publish(7, 1, &[0]);
    test.retry();
    test.retry();
    let losses = test.publisher.take_losses();
    assert_eq!(losses.of(Degradation::ProcessTableFull), 1);
    assert_eq!(losses.of(Degradation::MapFailed), 0);
    test.fail(&[]);
    test.retry();
    assert_eq!(test.starts(7), [start_of(0)]);
}

#[test]
fn a_process_that_cannot_be_removed_is_removed_later_or_replaced() {
    let mut test = Test::new();
    for pid in [7, 8] {
        test.publish(pid, 1, &[0]);
        test.fail(&[Some(libc::EBUSY)]);
        test.publisher.forget(pid, test.now);
        assert!(test.seen(pid).is_some());
    }
    test.publish(8, 2, &[1]);
    test.retry();
    assert_eq!(test.seen(7), None);
    assert_eq!(test.starts(8), [start_of(1)]);
    test.publisher.forget(8, test.now);
    assert_eq!(test.seen(8), None);
}

#[test]
fn an_exec_that_the_agent_has_not_seen_ends_the_attempts() {
    let mut test = Test::new();
    test.fail(&[NO_MEMORY]);
    test.publish(7, 1, &[0]);
    test.kernel.0.borrow_mut().exec(7, test.now.0 + 1);
    test.retry();
    assert_eq!(test.starts(7), [0; 0]);
    let operations = test.kernel.0.borrow().operations;
    test.retry();
    assert_eq!(test.kernel.0.borrow().operations, operations);
}

#[test]
fn a_table_that_the_kernel_has_no_memory_for_takes_no_place() {
    for errors in [&[NO_MEMORY][..], &[None, NO_MEMORY]] {
        let mut test = Test::new();
        test.publish(7, 1, &[0]);
        test.fail(errors);
        assert!(!test.load(0, 1, 100));
        assert_eq!(test.publisher.segments.blocks(), 0);
        assert!(!test.publisher.has_table(ExecutableId(0)));
        assert_eq!(test.publisher.take_losses().of(Degradation::MapFailed), 1);
        assert!(test.load(0, 2, 100));
        let seen = test.seen(7).unwrap();
        assert_eq!(seen.mappings[0].1.as_ref().unwrap().len(), 100);
    }
}

#[test]
fn a_table_stays_while_an_entry_that_cannot_be_written_refers_to_it() {
    let mut test = Test::new();
    test.publish(7, 1, &[0]);
    assert!(test.load(0, 1, 100));
    test.fail(&[NO_MEMORY]);
    assert!(!test.publisher.unload_table(ExecutableId(0), test.now));
    test.kernel.0.borrow().check();
    // The process lets go of the file, and that cannot be written either.
    test.fail(&[NO_MEMORY]);
    test.publish(7, 1, &[1]);
    assert!(!test.publisher.unload_table(ExecutableId(0), test.now));
    assert!(test.load(2, 2, 100));
    test.kernel.0.borrow().check();
    test.retry();
    assert!(test.publisher.unload_table(ExecutableId(0), test.now));
    assert!(!test.publisher.has_table(ExecutableId(0)));
}

#[test]
fn a_runtime_that_cannot_be_written_is_to_be_tried_again() {
    let mut test = Test::new();
    test.publish(7, 1, &[0]);
    test.fail(&[NO_MEMORY]);
    assert!(
        !test
            .publisher
            .set_runtime(7, BootTime(1), &runtime(5), test.now)
    );
    assert_eq!(test.seen(7).unwrap().runtime, None);
    assert!(
        test.publisher
            .set_runtime(7, BootTime(1), &runtime(5), test.now)
    );
    assert_eq!(test.seen(7).unwrap().runtime, Some(runtime(5)));
    // It is written, but the entry that names it is not.
    test.fail(&[None, NO_MEMORY]);
    assert!(
        test.publisher
            .set_runtime(7, BootTime(1), &runtime(6), test.now)
    );
    assert_eq!(test.seen(7).unwrap().runtime, Some(runtime(5)));
    test.retry();
    assert_eq!(test.seen(7).unwrap().runtime, Some(runtime(6)));
    test.publisher.forget(7, test.now);
    assert_eq!(test.publisher.runtime_slots.in_use(), 0);
}

#[test]
fn rules_that_cannot_be_written_are_told() {
    let mut test = Test::new();
    test.fail(&[None, NO_MEMORY]);
    let rules = vec![Rule::default(); 3];
    assert!(!test.publisher.write_rules(0, &rules));
    assert!(test.publisher.write_rules(0, &rules));
}

#[derive(Clone, Debug)]
enum Act {
    Publish(u32, Vec<u32>, bool),
    Forget(u32),
    Exec(u32),
    Load(u32, usize),
    Unload(u32),
    Runtime(u32, u16),
    Pass(u64),
    Retry,
}

fn act() -> impl Strategy<Value = Act> {
    let pid = || 1u32..5;
    let executable = || 0u32..5;
    prop_oneof![
        3 => (pid(), proptest::collection::btree_set(0u32..40, 0..36), any::<bool>())
            .prop_map(|(pid, set, exec)| Act::Publish(pid, set.into_iter().collect(), exec)),
        1 => pid().prop_map(Act::Forget),
        1 => pid().prop_map(Act::Exec),
        2 => (executable(), 0usize..200).prop_map(|(id, words)| Act::Load(id, words)),
        1 => executable().prop_map(Act::Unload),
        2 => (pid(), 1u16..4).prop_map(|(pid, number)| Act::Runtime(pid, number)),
        2 => (0u64..7).prop_map(Act::Pass),
        1 => Just(Act::Retry),
    ]
}

fn errors() -> impl Strategy<Value = Vec<Option<i32>>> {
    let error = prop_oneof![
        4 => Just(None),
        1 => Just(NO_MEMORY),
        1 => Just(Some(libc::EBUSY)),
        1 => Just(Some(libc::E2BIG)),
    ];
    proptest::collection::vec(error, 0..12)
}

proptest! {
    /// Whatever fails: no entry ever refers to what it does not mean, and once nothing fails any more everything is as
    /// if nothing had.
    #[test]
    fn failures_delay_and_never_damage(
        acts in proptest::collection::vec((act(), errors()), 0..60),
    ) {
        let mut test = Test::new();
        // What is to be seen in the end: image, executables and runtime of each live process.
        let mut live: BTreeMap<u32, (u64, Vec<u32>, Option<u16>)> = BTreeMap::new();
        let mut generation = 0;
        for (act, errors) in acts {
            test.fail(&errors);
            test.now = test.now.plus(Duration::from_millis(1));
            match act {
                Act::Publish(pid, executables, exec) => {
                    let before = live.get(&pid).map(|live| (live.0, live.2));
                    let (image, runtime) = match before {
                        Some(before) if !exec => before,
                        _ => (test.now.0, None),
                    };
                    test.publish(pid, image, &executables);
                    live.insert(pid, (image, executables, runtime));
                }
                Act::Forget(pid) => {
                    test.publisher.forget(pid, test.now);
                    live.remove(&pid);
                }
                Act::Exec(pid) => {
                    // The agent hears of it at once: it is the next to be published.
                    test.kernel.0.borrow_mut().exec(pid, test.now.0);
                    test.publish(pid, test.now.0, &[]);
                    live.insert(pid, (test.now.0, Vec::new(), None));
                }
                Act::Load(executable, words) => {
                    generation += 1;
                    test.load(executable, generation, words);
                }
                Act::Unload(executable) => {
                    test.publisher.unload_table(ExecutableId(executable), test.now);
                }
                Act::Runtime(pid, number) => {
                    if let Some((image, _, expected)) = live.get_mut(&pid)
                        && test.publisher.set_runtime(pid, BootTime(*image), &runtime(number), test.now)
                    {
                        *expected = Some(number);
                    }
                }
                Act::Pass(seconds) => test.now = test.now.plus(Duration::from_secs(seconds)),
                Act::Retry => test.retry(),
            }
            test.kernel.0.borrow().check();
        }
        test.fail(&[]);
        test.retry();
        test.kernel.0.borrow().check();
        let pids: Vec<u32> = test.kernel.0.borrow().entries.keys().copied().collect();
        prop_assert_eq!(&pids, &live.keys().copied().collect::<Vec<u32>>());
        for (pid, (image, executables, number)) in &live {
            let seen = test.seen(*pid).unwrap();
            prop_assert_eq!(seen.image, *image);
            let starts: Vec<u64> = executables.iter().map(|id| start_of(*id)).collect();
            prop_assert_eq!(test.starts(*pid), starts);
            for (start, table) in &seen.mappings {
                let id = ExecutableId((start / 0x10_0000 - 1) as u32);
                let loaded = test.publisher.tables.get(&id);
                prop_assert_eq!(table.is_some(), loaded.is_some_and(|table| table.pages > 0));
            }
            prop_assert_eq!(seen.runtime, number.map(runtime));
        }
        // Nothing leaks.
        for pid in live.keys() {
            test.publisher.forget(*pid, test.now);
        }
        prop_assert_eq!(test.publisher.slots.in_use(), 0);
        prop_assert_eq!(test.publisher.runtime_slots.in_use(), 0);
        for id in 0..5 {
            prop_assert!(test.publisher.unload_table(ExecutableId(id), test.now));
        }
        prop_assert_eq!(test.publisher.segments.blocks(), 0);
    }
}
