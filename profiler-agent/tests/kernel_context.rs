//! What the running kernel reads of a request: goroutine, labels and links that this process lays out in
//! its own memory as a Go runtime and a tracer would. Needs root.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aya::maps::{HashMap, Map, MapData};
use profiler_agent::collect::{Kernel, LoadOptions, Selection, Way};
use profiler_agent::profile::{BootTime, LinkSource, RawContext, SamplePeriod};
use profiler_common::layout::context::{MAX_KEY, MAX_LABELS, MAX_VALUE};
use profiler_common::layout::runtime::MAX_RUNTIMES;
use profiler_common::layout::{GoRuntime, RuntimeEntry, ThreadLocal};
use tempfile::TempDir;

/// `BPF_MAP_TYPE_HASH`, `BPF_MAP_TYPE_LRU_HASH` of `include/uapi/linux/bpf.h`.
const HASH: u32 = 1;
const LRU_HASH: u32 = 9;

/// Places in the structures below, as one version of Go might have them.
const G_M: u16 = 48;
const G_GOID: u16 = 160;
const G_LABELS: u16 = 352;
const M_CURG: u16 = 184;
const GOROUTINE: u64 = 4711;

/// What a thread-local variable of a tracer and of a Go runtime would hold.
#[repr(C)]
#[derive(Default)]
struct Variables {
    g: u64,
    thread_context: u64,
    elastic: u64,
}

std::thread_local! {
    /// How the kernel side repeats the steps of its walks in this thread's test.
    static WAY: std::cell::Cell<Way> = const { std::cell::Cell::new(Way::Helper) };
    static VARIABLES: std::cell::UnsafeCell<Variables> =
        const { std::cell::UnsafeCell::new(Variables { g: 0, thread_context: 0, elastic: 0 }) };
}

#[cfg(target_arch = "x86_64")]
fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: the first word of a thread's control block is its own address (psABI, TLS variant II).
    unsafe { std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly)) };
    pointer
}

#[cfg(target_arch = "aarch64")]
fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: reads a register.
    unsafe { std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, nomem)) };
    pointer
}

/// Memory that is laid out like another program's.
#[derive(Default)]
struct Memory(Vec<Box<[u64]>>);

impl Memory {
    fn words(&mut self, words: &[u64]) -> u64 {
        self.0.push(words.into());
        self.0.last().map_or(0, |words| words.as_ptr() as u64)
    }
    fn text(&mut self, text: &str) -> [u64; 2] {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let words: Vec<u64> = bytes
            .chunks_exact(8)
            .filter_map(|word| word.try_into().ok().map(u64::from_ne_bytes))
            .collect();
        [self.words(&words), text.len() as u64]
    }
    /// A `g` that is its thread's user goroutine and has these labels.
    fn goroutine(&mut self, labels: u64) -> u64 {
        let g = self.words(&[0; 64]);
        let mut machine = [0; 64];
        machine[usize::from(M_CURG) / 8] = g;
        let machine = self.words(&machine);
        let words = self.0.iter_mut().find(|words| words.as_ptr() as u64 == g);
        let words = words.expect("it was just made");
        words[usize::from(G_M) / 8] = machine;
        words[usize::from(G_GOID) / 8] = GOROUTINE;
        words[usize::from(G_LABELS) / 8] = labels;
        g
    }
    fn slice(&mut self, labels: &[(String, String)]) -> u64 {
        let mut array = Vec::new();
        for (key, value) in labels {
            array.extend(self.text(key));
            array.extend(self.text(value));
        }
        let array = self.words(&array);
        self.words(&[array, labels.len() as u64, labels.len() as u64])
    }
    /// A map of two buckets, with what does not fit into the first in an overflow bucket.
    fn map(&mut self, labels: &[(String, String)]) -> u64 {
        let mut overflow = 0;
        let mut buckets = Vec::new();
        for chunk in labels.chunks(8).rev() {
            let mut bucket = vec![0; 34];
            let mut hashes = [0u8; 8];
            for (slot, (key, value)) in chunk.iter().enumerate() {
                hashes[slot] = 5 + slot as u8;
                bucket[1 + 2 * slot..3 + 2 * slot].copy_from_slice(&self.text(key));
                bucket[17 + 2 * slot..19 + 2 * slot].copy_from_slice(&self.text(value));
            }
            bucket[0] = u64::from_ne_bytes(hashes);
            bucket[33] = overflow;
            buckets = bucket;
            overflow = self.words(&buckets);
        }
        buckets.extend([0; 34]);
        let array = self.words(&buckets);
        let header = self.words(&[labels.len() as u64, 1 << 8, array, 0]);
        self.words(&[header])
    }
}

fn labels(count: usize) -> Vec<(String, String)> {
    (0..count)
        .map(|index| (format!("key{index:02}"), "v".repeat(17 * index)))
        .collect()
}

fn burn(time: Duration) {
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let start = now();
    let mut sum = 0u64;
    while now() - start < time {
        sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
    }
}

fn load() -> Kernel {
    let options = LoadOptions {
        period: SamplePeriod::from_hertz(999),
        selection: Selection::Processes { children: false },
        table_budget: 1 << 20,
        way: Some(WAY.get()),
        off_cpu: None,
    };
    Kernel::load(&options).expect("the programs load").0
}

/// The distinct contexts of the samples of this thread while its variables are these.
fn contexts(form: u16, variables: Variables) -> Vec<RawContext> {
    let mut kernel = load();
    let go = GoRuntime {
        labels: form,
        ..GoRuntime::default()
    };
    publish(&mut kernel, BootTime(1), go, variables);
    seen(&mut kernel)
}

/// Sets this thread's variables, and says where they and the fields of Go's structures are.
fn publish(kernel: &mut Kernel, image: BootTime, go: GoRuntime, variables: Variables) {
    let variable = VARIABLES.with(|place| {
        // SAFETY: only this thread uses its variables, and nobody holds a reference.
        unsafe { *place.get() = variables };
        place.get() as u64
    });
    let place = |offset: u64| ThreadLocal {
        kind: ThreadLocal::STATIC,
        offset: variable.wrapping_add(offset).wrapping_sub(thread_pointer()) as i64,
        ..ThreadLocal::default()
    };
    let runtime = RuntimeEntry {
        go: GoRuntime {
            g: place(0),
            g_m: G_M,
            g_goid: G_GOID,
            g_labels: G_LABELS,
            m_curg: M_CURG,
            ..go
        },
        thread_context: place(8),
        elastic: place(16),
        ..RuntimeEntry::default()
    };
    let own = std::process::id();
    let publisher = &mut kernel.publisher;
    publisher.publish(own, image, std::iter::empty(), BootTime(u64::MAX));
    assert!(publisher.set_runtime(own, image, &runtime, BootTime(u64::MAX)));
}

/// The distinct contexts of the samples of this thread.
fn seen(kernel: &mut Kernel) -> Vec<RawContext> {
    kernel.select(std::process::id()).expect("selecting works");
    kernel.follow_cpus().expect("sampling starts");
    burn(Duration::from_millis(100));
    kernel.sampler.stop();
    let mut found: Vec<RawContext> = Vec::new();
    let mut samples = 0;
    let drained = kernel.rings.drain(100_000, |sample| {
        if sample.tid == thread() {
            samples += 1;
            let context = sample
                .context
                .map_or_else(RawContext::default, |context| *context);
            if !found.contains(&context) {
                found.push(context);
            }
        }
    });
    assert_eq!(drained.malformed, 0);
    assert!(samples > 50, "{samples} samples");
    found
}

fn thread() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .cast_unsigned()
}

fn check_labels(form: u16, count: usize) {
    let labels = labels(count);
    let mut memory = Memory::default();
    let root = if form == GoRuntime::LABELS_SLICE {
        memory.slice(&labels)
    } else {
        memory.map(&labels)
    };
    let g = memory.goroutine(root);
    let contexts = contexts(
        form,
        Variables {
            g,
            ..Variables::default()
        },
    );
    assert_eq!(contexts.len(), 1, "{contexts:?}");
    let context = &contexts[0];
    assert_eq!(context.goroutine, Some(GOROUTINE));
    assert_eq!(context.incomplete, count > MAX_LABELS);
    let read: Vec<(String, String, bool)> = context
        .labels
        .iter()
        .map(|label| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (text(&label.key), text(&label.value), label.cut)
        })
        .collect();
    let expected: Vec<(String, String, bool)> = labels
        .into_iter()
        .take(MAX_LABELS)
        .map(|(key, value)| {
            let (key_end, value_end) = (key.len().min(MAX_KEY), value.len().min(MAX_VALUE));
            let cut = key_end < key.len() || value_end < value.len();
            (
                key[..key_end].to_owned(),
                value[..value_end].to_owned(),
                cut,
            )
        })
        .collect();
    assert_eq!(read, expected);
}

fn labels_in_a_slice_are_read_as_they_lie_there() {
    check_labels(GoRuntime::LABELS_SLICE, 3);
    check_labels(GoRuntime::LABELS_SLICE, 20);
}

fn labels_in_a_map_are_read_as_they_lie_there() {
    check_labels(GoRuntime::LABELS_MAP, 3);
    check_labels(GoRuntime::LABELS_MAP, 13);
    check_labels(GoRuntime::LABELS_MAP, 20);
}

/// It is written to here, as no program does: then what was remembered shows.
fn read_only_data_is_read_once_and_again_after_an_exec() {
    // Each CPU remembers for itself.
    let mut here = rustix::thread::CpuSet::new();
    here.set(rustix::thread::sched_getcpu());
    rustix::thread::sched_setaffinity(None, &here).expect("a thread stays where it is");
    let mut memory = Memory::default();
    let before = [("key".to_owned(), "value".to_owned())];
    let root = memory.slice(&before);
    let g = memory.goroutine(root);
    let (key, value) = (memory.0[0].as_mut_ptr(), memory.0[1].as_mut_ptr());
    let write = |text: *mut u64, word: &[u8; 8]| {
        // SAFETY: memory of this test's own, of at least a word; nobody holds a reference.
        unsafe { text.write_volatile(u64::from_ne_bytes(*word)) };
    };
    let mut kernel = load();
    let go = GoRuntime {
        labels: GoRuntime::LABELS_SLICE,
        constants: key as u64,
        constants_bytes: 3,
        ..GoRuntime::default()
    };
    let mut check = |image, expected: (&str, &str)| {
        let variables = Variables {
            g,
            ..Variables::default()
        };
        publish(&mut kernel, image, go, variables);
        for context in seen(&mut kernel) {
            let label = &context.labels[0];
            let read = [&label.key, &label.value].map(|bytes| String::from_utf8_lossy(bytes));
            assert_eq!((&*read[0], &*read[1]), expected);
        }
    };
    check(BootTime(1), ("key", "value"));
    write(key, b"KEY\0\0\0\0\0");
    write(value, b"VALUE\0\0\0");
    check(BootTime(1), ("key", "VALUE"));
    check(BootTime(2), ("KEY", "VALUE"));
}

fn more_programs_than_there_are_entries_share_what_is_equal() {
    let mut kernel = load();
    let publisher = &mut kernel.publisher;
    let now = BootTime(u64::MAX);
    for number in 0..2 * MAX_RUNTIMES as u32 {
        // More than any process has (`PID_MAX_LIMIT` of `include/linux/threads.h`).
        let pid = (1 << 22) + 1 + number;
        publisher.publish(pid, BootTime(1), std::iter::empty(), now);
        let mut runtime = RuntimeEntry::default();
        runtime.go.g_labels = G_LABELS;
        runtime.go.constants = u64::from(number) << 12;
        runtime.go.constants_bytes = 1;
        assert!(publisher.set_runtime(pid, BootTime(1), &runtime, now));
    }
    assert!(publisher.take_losses().is_empty());
}

fn labels_that_cannot_be_read_are_told_apart_from_none() {
    for labels in [8, u64::MAX, 0x7fff_ffff_f000] {
        let mut memory = Memory::default();
        let g = memory.goroutine(labels);
        for form in [GoRuntime::LABELS_SLICE, GoRuntime::LABELS_MAP] {
            let variables = Variables {
                g,
                ..Variables::default()
            };
            let contexts = contexts(form, variables);
            assert_eq!(contexts.len(), 1, "{contexts:?}");
            assert!(contexts[0].incomplete && contexts[0].labels.is_empty());
        }
    }
}

fn links_are_read_with_their_source() {
    let ids = [
        0x0102_0304_0506_0708,
        0x1112_1314_1516_1718,
        0x2122_2324_2526_2728,
    ];
    let mut bytes = vec![1u8, 0, 1, 1, 0];
    bytes.extend(ids.iter().flat_map(|word: &u64| word.to_ne_bytes()));
    let expected: [u8; 24] = bytes[5..].try_into().expect("24 bytes");
    bytes.resize(40, 0);
    let mut memory = Memory::default();
    let elastic: Vec<u64> = bytes
        .chunks_exact(8)
        .filter_map(|word| word.try_into().ok().map(u64::from_ne_bytes))
        .collect();
    let variables = Variables {
        g: 0,
        thread_context: memory.words(&[ids[0], ids[1], ids[2], 1]),
        elastic: memory.words(&elastic),
    };
    let contexts = contexts(GoRuntime::LABELS_NONE, variables);
    assert_eq!(contexts.len(), 1, "{contexts:?}");
    assert_eq!(
        contexts[0].links,
        [
            (LinkSource::ThreadContext, expected),
            (LinkSource::Elastic, expected)
        ]
    );
    assert_eq!(contexts[0].goroutine, None);
}

fn what_is_invalid_is_no_link() {
    let mut memory = Memory::default();
    let variables = Variables {
        g: 0,
        thread_context: memory.words(&[1, 2, 3, 0]),
        elastic: 0xdead_0000,
    };
    let contexts = contexts(GoRuntime::LABELS_NONE, variables);
    assert_eq!(contexts, [RawContext::default()]);
}

/// A file system for pinned maps, gone when dropped.
struct BpfFileSystem(TempDir);

impl BpfFileSystem {
    fn mount() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        run(Command::new("mount")
            .args(["-t", "bpf", "none"])
            .arg(directory.path()));
        Self(directory)
    }
}

impl Drop for BpfFileSystem {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.0.path()));
    }
}

fn run(command: &mut Command) {
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?}: {status:?}"
    );
}

/// A map of this type, pinned, that notes these ids for this thread.
fn pin(kind: u32, path: &Path, ids: [u64; 3]) {
    let definition = aya_obj::Map::new_from_params(kind, 8, 24, 64, 0);
    let map = MapData::create(definition, "traces", None).expect("the map can be made");
    map.pin(path).expect("the map can be pinned");
    let map = match kind {
        LRU_HASH => Map::LruHashMap(map),
        _ => Map::HashMap(map),
    };
    let mut map = HashMap::<_, u64, [u64; 3]>::try_from(map).expect("it is a hash map");
    let key = u64::from(std::process::id()) << 32 | u64::from(thread());
    map.insert(key, ids, 0).expect("it takes an entry");
}

fn the_map_of_an_instrumentation_is_looked_into_while_it_is_there() {
    let files = BpfFileSystem::mount();
    let path = files.0.path().join("traces_ctx_v1");
    let linked = |number: u64| {
        let ids = [number; 3];
        let bytes: Vec<u8> = ids.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let ids: [u8; 24] = bytes.try_into().expect("24 bytes");
        RawContext {
            links: vec![(LinkSource::Instrumentation, ids)],
            ..RawContext::default()
        }
    };
    let check = |expected: RawContext| {
        let mut kernel = load();
        kernel.traces.follow(&path);
        assert_eq!(seen(&mut kernel), [expected]);
    };
    check(RawContext::default());
    pin(LRU_HASH, &path, [7; 3]);
    check(linked(7));
    // It goes and another one comes while the same programs run.
    let mut kernel = load();
    kernel.traces.follow(&path);
    std::fs::remove_file(&path).expect("it can be unpinned");
    kernel.traces.follow(&path);
    pin(LRU_HASH, &path, [8; 3]);
    kernel.traces.follow(&path);
    assert_eq!(seen(&mut kernel), [linked(8)]);
    let mut kernel = load();
    kernel.traces.follow(&path);
    std::fs::remove_file(&path).expect("it can be unpinned");
    kernel.traces.follow(&path);
    assert_eq!(seen(&mut kernel), [RawContext::default()]);
    // What is of another kind is left alone.
    pin(HASH, &path, [9; 3]);
    check(RawContext::default());
}

macro_rules! in_every_way {
    ($($test:ident),* $(,)?) => {
        mod by_helper {
            $(
                #[test]
                fn $test() {
                    super::WAY.set(super::Way::Helper);
                    super::$test();
                }
            )*
        }
        mod bounded {
            $(
                #[test]
                fn $test() {
                    super::WAY.set(super::Way::Bounded);
                    super::$test();
                }
            )*
        }
    };
}
in_every_way! {
    labels_in_a_slice_are_read_as_they_lie_there,
    labels_in_a_map_are_read_as_they_lie_there,
    read_only_data_is_read_once_and_again_after_an_exec,
    more_programs_than_there_are_entries_share_what_is_equal,
    labels_that_cannot_be_read_are_told_apart_from_none,
    links_are_read_with_their_source,
    what_is_invalid_is_no_link,
    the_map_of_an_instrumentation_is_looked_into_while_it_is_there,
}
