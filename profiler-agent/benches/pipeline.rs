//! A ring's bytes to a closed window, as one, on one thread: decoded, located, added, closed.
//!
//! The load: 300 processes of 40 programs, 3 threads each, every process with its own addresses and 6
//! to 45 libraries; stacks of 30 frames, kernel frames in every fourth and JIT code in some programs.
//! Few stacks are most of the samples and a leaf is interrupted anywhere in its function, as in real
//! profiles. Samples come 150,000 a second in windows of ten seconds; nothing may be lost.

use std::hint::black_box;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use profiler_agent::aggregate::{Aggregator, Config, Limits};
use profiler_agent::collect::decode::{Record, decode};
use profiler_agent::process::cgroup::Cgroup;
use profiler_agent::process::{FoundProcess, MappedFile, ProcessTable, Reader};
use profiler_agent::profile::{
    BootTime, BuildId, Executable, ExecutableId, ExecutableMapping, FileOffset, Losses,
    MappingKind, SampleKind, SamplePeriod, VirtualAddress, Window,
};
use profiler_common::layout::RawFrame;
use profiler_common::layout::SampleFlags;
use profiler_common::layout::sample::RECORD_ON_CPU;
use profiler_common::unwind::Outcome;
use rustix::time::{ClockId, clock_gettime};

const PROGRAMS: u64 = 40;
const PROCESSES: u64 = 300;
const THREADS: u64 = 3;
const LIBRARIES: u64 = 120;
const FRAMES: usize = 30;
const SECOND: u64 = 1_000_000_000;
const SAMPLES_PER_SECOND: u64 = 150_000;
const WINDOW_SECONDS: u64 = 10;
const WINDOWS: u64 = 4;
const TEXT_BYTES: u64 = 2 << 20;
/// Records that are made; they come again and again, at other times.
const RECORDS: usize = 200_000;
/// Bytes of a record's fixed part, which begins with its time.
const HEADER_BYTES: usize = 64;

/// A random number generator (xorshift64*): the same load in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
    /// The product of two uniform numbers: small ones are frequent.
    fn skewed(&mut self, limit: u64) -> u64 {
        self.below(limit) * self.below(limit) / limit
    }
}

/// A frame of a program's stack: an offset in the text of its `module`th mapping.
#[derive(Clone, Copy)]
struct Place {
    module: u64,
    offset: u64,
}

/// What processes of one program have in common.
struct Program {
    /// The program itself and its libraries; `None` is JIT code.
    modules: Vec<Option<Arc<Executable>>>,
    /// Leaf first.
    stacks: Vec<Vec<Place>>,
}

impl Program {
    fn new(number: u64, libraries: &[Arc<Executable>], random: &mut Random) -> Self {
        let mut modules = vec![Some(executable(number))];
        // The C library and the dynamic linker, then its own choice.
        let own = 4 + random.below(40);
        modules.extend(libraries[..2].iter().cloned().map(Some));
        modules.extend((0..own).map(|library| {
            let library = (number * 7 + library * 3) % (LIBRARIES - 2) + 2;
            Some(Arc::clone(&libraries[library as usize]))
        }));
        if number.is_multiple_of(8) {
            modules.push(None);
        }
        let count = modules.len() as u64;
        // Runs of frames in one file, as in real stacks; outer frames are shared.
        let run = |length: u64, random: &mut Random| -> Vec<Place> {
            let mut module = random.skewed(count);
            (0..length)
                .map(|_| {
                    if random.below(4) == 0 {
                        module = random.skewed(count);
                    }
                    let offset = random.skewed(2_000) * 0x400 + random.below(3) * 0x40 + 5;
                    Place { module, offset }
                })
                .collect()
        };
        let outer: Vec<Vec<Place>> = (0..8).map(|_| run(25, random)).collect();
        let stacks = (0..150 + random.below(300))
            .map(|_| {
                let own = 5 + random.below(20);
                let outer = &outer[random.skewed(8) as usize];
                let mut stack = run(own, random);
                stack.extend(&outer[outer.len() - (FRAMES - stack.len())..]);
                stack
            })
            .collect();
        Self { modules, stacks }
    }
}

fn executable(id: u64) -> Arc<Executable> {
    Arc::new(Executable {
        id: ExecutableId(id as u32),
        path: format!("/usr/lib/file{id}.so").into(),
        file: None,
        image: None,
        length: TEXT_BYTES,
        build_id: BuildId::new(&[id as u8 + 1; 20]),
        htl_hash: OnceLock::new(),
        segments: Box::default(),
        constants: Box::default(),
        root: None,
    })
}

/// A process: a program at its own addresses.
struct Running {
    pid: u32,
    program: usize,
    bases: Vec<u64>,
}

impl Running {
    fn new(pid: u32, program: usize, modules: usize, random: &mut Random) -> Self {
        let low = 0x7f00_0000_0000 + random.below(1 << 26) * 0x1000;
        // Libraries lie behind each other with their data in between.
        let bases = (0..modules as u64)
            .map(|module| match module {
                0 => 0x5500_0000_0000 + random.below(1 << 26) * 0x1000,
                _ => low + module * (TEXT_BYTES + 0x10_0000),
            })
            .collect();
        Self {
            pid,
            program,
            bases,
        }
    }

    fn range(&self, module: usize) -> Range<VirtualAddress> {
        let start = self.bases[module];
        VirtualAddress(start)..VirtualAddress(start + TEXT_BYTES)
    }

    fn mappings(&self, program: &Program) -> Vec<ExecutableMapping> {
        let mapping = |(module, executable): (usize, &Option<Arc<Executable>>)| ExecutableMapping {
            range: self.range(module),
            kind: match executable {
                Some(executable) => MappingKind::File {
                    executable: Arc::clone(executable),
                    offset: FileOffset(0x1000),
                },
                None => MappingKind::Anonymous,
            },
        };
        program.modules.iter().enumerate().map(mapping).collect()
    }
}

/// A machine whose processes are known.
struct Machine {
    programs: Vec<Program>,
    processes: Vec<Running>,
}

impl Machine {
    fn new(random: &mut Random) -> Self {
        let libraries: Vec<_> = (0..LIBRARIES).map(|id| executable(PROGRAMS + id)).collect();
        let programs: Vec<_> = (0..PROGRAMS)
            .map(|number| Program::new(number, &libraries, random))
            .collect();
        let processes = (0..PROCESSES)
            .map(|number| {
                let program = (number % PROGRAMS) as usize;
                let modules = programs[program].modules.len();
                Running::new(1_000 + number as u32, program, modules, random)
            })
            .collect();
        Self {
            programs,
            processes,
        }
    }

    /// The bytes of one sample, as the kernel side writes them, but for its time.
    fn record(&self, random: &mut Random) -> Vec<u8> {
        let process = &self.processes[random.skewed(PROCESSES) as usize];
        let program = &self.programs[process.program];
        let stack = &program.stacks[random.skewed(program.stacks.len() as u64) as usize];
        let kernel = if random.below(4) == 0 { 8 } else { 0 };
        let tid = process.pid * 10 + random.skewed(THREADS) as u32;
        let mut bytes = Vec::new();
        for word in [0, 1, 1] {
            bytes.extend(u64::to_ne_bytes(word));
        }
        for word in [process.pid, tid, random.below(64) as u32] {
            bytes.extend(word.to_ne_bytes());
        }
        for count in [kernel, FRAMES as u16 - kernel] {
            bytes.extend(count.to_ne_bytes());
        }
        bytes.extend(b"worker\0\0\0\0\0\0\0\0\0\0");
        bytes.extend([RECORD_ON_CPU, Outcome::Root as u8]);
        let in_kernel = if kernel > 0 {
            SampleFlags::IN_KERNEL
        } else {
            0
        };
        bytes.extend(in_kernel.to_ne_bytes());
        bytes.extend([0; 4]);
        assert_eq!(bytes.len(), HEADER_BYTES);
        let system_call = random.skewed(200);
        for depth in 0..u64::from(kernel) {
            let within = if depth == 0 { random.below(32) * 4 } else { 0 };
            let address = 0xffff_ffff_8100_0000 + (system_call * 8 + depth) * 0x200 + within;
            bytes.extend(address.to_ne_bytes());
        }
        let user = stack.iter().skip(usize::from(kernel)).enumerate();
        for (depth, place) in user {
            let interrupted = depth == 0 && kernel == 0;
            let within = if interrupted {
                random.skewed(32) * 4
            } else {
                0
            };
            let flags = if interrupted {
                RawFrame::INTERRUPTED
            } else {
                0
            };
            let pc = process.bases[place.module as usize] + place.offset + within;
            bytes.extend(RawFrame::new(pc, flags).0.to_ne_bytes());
        }
        bytes
    }
}

impl Reader for Machine {
    fn pids(&mut self) -> Vec<u32> {
        self.processes.iter().map(|process| process.pid).collect()
    }
    fn process(&mut self, pid: u32) -> Option<FoundProcess> {
        let cgroup = self.cgroup(pid);
        let process = self.processes.iter().find(|process| process.pid == pid)?;
        Some(FoundProcess {
            at: BootTime(1),
            done: BootTime(1),
            started: BootTime(0),
            comm: "server".into(),
            parent: 1,
            kernel: false,
            threads: THREADS as u32,
            executable: format!("/usr/bin/server{}", process.program).into(),
            cgroup,
            mappings: Some(process.mappings(&self.programs[process.program])),
        })
    }
    fn cgroup(&mut self, _tid: u32) -> Option<Cgroup> {
        Some(Cgroup {
            path: "/system.slice/server.service".into(),
            container: None,
            unified: true,
            id: 1,
        })
    }
    fn threads(&mut self, _pid: u32) -> u32 {
        THREADS as u32
    }
    fn content(&mut self, _mapped: &MappedFile<'_>) -> MappingKind {
        MappingKind::Anonymous
    }
    fn prune(&mut self, _now: BootTime) {}
    fn take_losses(&mut self) -> Losses {
        Losses::default()
    }
}

fn main() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let machine = Machine::new(&mut random);
    let mut records: Vec<_> = (0..RECORDS).map(|_| machine.record(&mut random)).collect();
    let mut table = ProcessTable::new(machine);
    table.scan(BootTime(1));
    let config = Config {
        kind: SampleKind::on_cpu(SamplePeriod::from_hertz(99)),
        limits: Limits::default(),
    };
    let mut aggregator = Aggregator::new(config, BootTime(0));
    let mut best = Duration::MAX;
    for window in 0..WINDOWS {
        let (took, closed) = measure(window, &mut records, &mut table, &mut aggregator);
        best = best.min(took);
        if window + 1 == WINDOWS {
            report(&closed, best);
        }
    }
}

/// One window; the CPU time in which it was filled and closed.
fn measure(
    number: u64,
    records: &mut [Vec<u8>],
    table: &mut ProcessTable<Machine>,
    aggregator: &mut Aggregator,
) -> (Duration, Window) {
    let samples = SAMPLES_PER_SECOND * WINDOW_SECONDS;
    let start = number * WINDOW_SECONDS * SECOND + 1;
    let mut took = Duration::ZERO;
    let mut sent = 0;
    while sent < samples {
        // Other orders in other rounds: nothing is learnt by heart.
        let count = (samples - sent).min(records.len() as u64);
        let mut order = Random(number * samples + sent + 1);
        records.rotate_left(order.below(RECORDS as u64) as usize);
        for record in &mut records[..count as usize] {
            let time = start + sent * SECOND / SAMPLES_PER_SECOND;
            record[..8].copy_from_slice(&time.to_ne_bytes());
            sent += 1;
        }
        let began = processor_time();
        for record in &records[..count as usize] {
            let Ok(Record::Sample(sample)) = decode(black_box(record)) else {
                panic!("the records are well-formed samples");
            };
            let located = table.locate(&sample).expect("every process is known");
            aggregator.add(&located);
        }
        drop(aggregator.take_new_locations());
        took += processor_time() - began;
    }
    let end = BootTime((number + 1) * WINDOW_SECONDS * SECOND + 1);
    let began = processor_time();
    let window = black_box(aggregator.close(end, table.take_losses()));
    took += processor_time() - began;
    assert_eq!(window.sample_count(), samples, "samples were lost");
    assert!(window.losses.is_empty(), "{:?}", window.losses);
    (took, window)
}

fn report(window: &Window, took: Duration) {
    let samples = window.sample_count();
    println!(
        "a window: {} processes, {} threads, {} locations, {} stacks, {} samples of {FRAMES} frames",
        window.processes.len(),
        window.threads.len(),
        window.locations.len(),
        window.stacks.len(),
        samples,
    );
    println!(
        "decode to closed window: {:.0} ns/sample, {:.0} samples/s on one core",
        took.as_nanos() as f64 / samples as f64,
        samples as f64 / took.as_secs_f64(),
    );
}

/// CPU time of this thread: what else the machine does is no part of it.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
