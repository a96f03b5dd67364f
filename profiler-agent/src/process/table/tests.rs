//! The table over a reader that answers from values.

mod attributes;
mod unread;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use profiler_common::layout::{InterpretedFrame, Interpreter, RawFrame, SampleFlags};
use profiler_common::unwind::Outcome;

use super::reads::READS_PER_SECOND;
use super::*;
use crate::process::cgroup::Cgroup;
use crate::process::executables::MappedFile;
use crate::profile::SampleLoss;
use crate::profile::{
    BuildId, ContainerId, Executable, ExecutableId, FileIdentity, FileOffset, KernelAddress,
    LocatedSample, LocationKey, MappingKind, ProcessEvent, ProcessEventKind, ProfileKind,
    RawSample, ThreadName, VirtualAddress,
};

const SECOND: u64 = 1_000_000_000;

#[derive(Debug, Default)]
struct Values {
    processes: BTreeMap<u32, FoundProcess>,
    cgroups: BTreeMap<u32, Cgroup>,
    threads: BTreeMap<u32, u32>,
    executables: BTreeMap<Vec<u8>, Arc<Executable>>,
    reads: usize,
}

impl Reader for Values {
    fn pids(&mut self) -> Vec<u32> {
        self.processes.keys().copied().collect()
    }
    fn process(&mut self, pid: u32) -> Option<FoundProcess> {
        self.reads += 1;
        self.processes.get(&pid).cloned()
    }
    fn cgroup(&mut self, pid: u32) -> Option<Cgroup> {
        self.reads += 1;
        self.cgroups.get(&pid).cloned()
    }
    fn threads(&mut self, pid: u32) -> u32 {
        self.threads.get(&pid).copied().unwrap_or(0)
    }
    fn content(&mut self, mapped: &MappedFile<'_>) -> MappingKind {
        if mapped.path.starts_with(b"//anon") {
            return MappingKind::Anonymous;
        }
        let id = self.executables.len() as u32;
        let executable = self
            .executables
            .entry(mapped.path.to_vec())
            .or_insert_with(|| executable(id, mapped.path));
        MappingKind::File {
            executable: Arc::clone(executable),
            offset: mapped.offset,
        }
    }
    fn prune(&mut self, _now: BootTime) {}
    fn take_losses(&mut self) -> Losses {
        Losses::default()
    }
}

fn executable(id: u32, path: &[u8]) -> Arc<Executable> {
    Arc::new(Executable {
        id: ExecutableId(id),
        path: String::from_utf8_lossy(path).into(),
        file: None,
        image: None,
        length: 0,
        build_id: None,
        htl_hash: OnceLock::new(),
        segments: Box::default(),
        constants: Box::default(),
        root: None,
    })
}

fn found(at: u64, comm: &str, mappings: Vec<ExecutableMapping>) -> FoundProcess {
    FoundProcess {
        at: BootTime(at),
        done: BootTime(at),
        started: BootTime(SECOND),
        comm: comm.into(),
        parent: 1,
        kernel: false,
        threads: 1,
        executable: format!("/bin/{comm}").into(),
        cgroup: None,
        mappings: Some(mappings),
    }
}

fn name(text: &str) -> ThreadName {
    let mut name = ThreadName::default();
    name.0[..text.len()].copy_from_slice(text.as_bytes());
    name
}

type Table = ProcessTable<Values>;

impl Table {
    fn tell(&mut self, time: u64, kind: ProcessEventKind) {
        self.apply(&ProcessEvent {
            time: BootTime(time),
            kind,
        });
    }
    fn fork_(&mut self, time: u64, parent_pid: u32, pid: u32) {
        self.tell(
            time,
            ProcessEventKind::Fork {
                pid,
                tid: pid,
                parent_pid,
            },
        );
    }
    fn thread_(&mut self, time: u64, pid: u32, tid: u32) {
        self.tell(
            time,
            ProcessEventKind::Fork {
                pid,
                tid,
                parent_pid: pid,
            },
        );
    }
    fn exec_(&mut self, time: u64, pid: u32, comm: &str) {
        self.tell(
            time,
            ProcessEventKind::Exec {
                pid,
                name: name(comm),
            },
        );
    }
    fn map_(&mut self, time: u64, pid: u32, range: std::ops::Range<u64>, path: &str) {
        self.tell(
            time,
            ProcessEventKind::Map {
                pid,
                range: VirtualAddress(range.start)..VirtualAddress(range.end),
                offset: FileOffset(0x100),
                identity: FileIdentity::BuildId(BuildId::new(&[1; 20]).unwrap()),
                path: path.as_bytes().into(),
            },
        );
    }
    fn exit_(&mut self, time: u64, pid: u32, tid: u32) {
        self.tell(time, ProcessEventKind::Exit { pid, tid });
    }
    fn sample(&mut self, time: u64, pid: u32, pcs: &[u64]) -> Result<LocatedSample, SampleLoss> {
        self.locate(&raw(time, pid, pcs))
    }
    /// The path of the file that `pc` of `pid` is in at `time`, and the offset in it.
    fn place(&mut self, time: u64, pid: u32, pc: u64) -> Option<(String, u64)> {
        let located = self.sample(time, pid, &[pc | RawFrame::INTERRUPTED]).ok()?;
        let frame = &located.frames[0];
        match frame.key {
            LocationKey::File(_, offset) => {
                let executable = frame.executable.as_ref()?;
                Some((executable.path.to_string(), offset.0))
            }
            _ => None,
        }
    }
}

fn raw(time: u64, pid: u32, pcs: &[u64]) -> RawSample {
    RawSample {
        time: BootTime(time),
        kind: ProfileKind::OnCpu,
        value: 0,
        runnable: 0,
        image: BootTime(0),
        cgroup: 0,
        pid,
        tid: pid,
        cpu: 0,
        thread_name: name("thread"),
        outcome: Outcome::Root,
        flags: SampleFlags(0),
        kernel: Vec::new(),
        user: pcs.iter().map(|pc| RawFrame(*pc)).collect(),
        context: None,
        snapshot: None,
    }
}

fn at(path: &str, offset: u64) -> Option<(String, u64)> {
    Some((path.to_owned(), offset))
}

#[test]
fn a_process_from_exec_to_exit() {
    let mut table = Table::new(Values::default());
    table.exec_(10 * SECOND, 5, "prog");
    table.map_(10 * SECOND + 1, 5, 0x1000..0x2000, "/bin/prog");
    table.map_(10 * SECOND + 2, 5, 0x3000..0x4000, "/lib/c.so");
    assert_eq!(
        table.place(10 * SECOND + 5, 5, 0x1010),
        at("/bin/prog", 0x110)
    );
    let process = Arc::clone(table.process(5).unwrap());
    assert_eq!(
        (&*process.comm, &*process.executable),
        ("prog", "/bin/prog")
    );
    assert_eq!(table.image(5), Some(BootTime(10 * SECOND)));
    assert_eq!(table.mappings(5).count(), 2);
    assert_eq!(table.take_changed(), [5]);
    assert_eq!(table.take_changed(), [0_u32; 0]);
    table.exit_(11 * SECOND, 5, 5);
    assert!(table.ended(5));
    assert_eq!(table.take_changed(), [5]);
    // A late sample of it is located; one long after is of nobody who is known.
    assert_eq!(table.place(11 * SECOND, 5, 0x3010), at("/lib/c.so", 0x110));
    assert_eq!(
        table.sample(12 * SECOND, 5, &[0x3010]).unwrap_err(),
        SampleLoss::ProcessUnknown
    );
    table.prune(BootTime(12 * SECOND));
    assert_eq!(table.place(11 * SECOND, 5, 0x3010), at("/lib/c.so", 0x110));
    table.prune(BootTime(14 * SECOND));
    assert!(table.is_empty());
}

#[test]
fn a_process_whose_memory_is_freed_for_seconds_stays_known() {
    let mut table = Table::new(Values::default());
    table.exec_(10 * SECOND, 5, "large");
    table.exit_(11 * SECOND, 5, 5);
    // The last of its threads frees what it had: its pid is taken until then.
    for tenth in 1..50 {
        let mut sample = raw(11 * SECOND + tenth * SECOND / 10, 5, &[]);
        sample.flags = SampleFlags(SampleFlags::EXITING | SampleFlags::IN_KERNEL);
        sample.outcome = Outcome::NoUserStack;
        sample.kernel = vec![KernelAddress(0xffff_1000)];
        let located = table.locate(&sample).unwrap();
        assert_eq!(&*located.process.comm, "large");
        assert_eq!(located.frames.len(), 1);
        table.prune(sample.time);
    }
    assert!(table.ended(5));
    // Who comes later has another process's pid.
    assert_eq!(
        table.sample(17 * SECOND, 5, &[]).unwrap_err(),
        SampleLoss::ProcessUnknown
    );
    table.prune(BootTime(19 * SECOND));
    assert!(table.is_empty());
}

#[test]
fn an_exec_leaves_the_past_as_it_was() {
    let mut table = Table::new(Values::default());
    table.exec_(100, 5, "a");
    table.map_(101, 5, 0x1000..0x2000, "/bin/a");
    table.exec_(200, 5, "b");
    assert_eq!(table.place(250, 5, 0x1010), None);
    table.map_(201, 5, 0x1000..0x2000, "/bin/b");
    assert_eq!(table.place(150, 5, 0x1010), at("/bin/a", 0x110));
    assert_eq!(table.place(250, 5, 0x1010), at("/bin/b", 0x110));
    let (old, new) = (
        table.sample(150, 5, &[]).unwrap().process,
        table.sample(250, 5, &[]).unwrap().process,
    );
    assert_eq!((&*old.comm, &*new.comm), ("a", "b"));
    assert_ne!(old.key, new.key);
    table.prune(BootTime(200 + 6 * SECOND));
    assert_eq!(table.place(150, 5, 0x1010), None);
}

#[test]
fn a_fork_shares_until_one_side_changes() {
    let mut table = Table::new(Values::default());
    table.exec_(100, 5, "a");
    table.map_(101, 5, 0x1000..0x2000, "/bin/a");
    table.fork_(200, 5, 6);
    assert_eq!(table.place(250, 6, 0x1010), at("/bin/a", 0x110));
    assert_eq!(table.process(6).unwrap().parent, 5);
    table.map_(300, 6, 0x1000..0x2000, "/bin/b");
    assert_eq!(table.place(350, 6, 0x1010), at("/bin/b", 0x110));
    assert_eq!(table.place(250, 6, 0x1010), at("/bin/a", 0x110));
    assert_eq!(table.place(350, 5, 0x1010), at("/bin/a", 0x110));
    assert_eq!(table.take_changed(), [5, 6]);
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut table = Table::new(Values::default());
    table.exec_(100, 1, "shell");
    table.exec_(100, 5, "a");
    table.map_(101, 5, 0x1000..0x2000, "/bin/a");
    table.exit_(200, 5, 5);
    table.fork_(300, 1, 5);
    table.map_(301, 5, 0x1000..0x2000, "/bin/b");
    assert_eq!(table.place(150, 5, 0x1010), at("/bin/a", 0x110));
    assert_eq!(table.place(350, 5, 0x1010), at("/bin/b", 0x110));
    assert_eq!(table.image(5), Some(BootTime(300)));
}

#[test]
fn a_process_lives_as_long_as_any_thread() {
    let mut table = Table::new(Values::default());
    table.exec_(100, 5, "a");
    table.thread_(200, 5, 6);
    table.exit_(300, 5, 5);
    assert!(!table.ended(5));
    table.exit_(400, 5, 6);
    assert!(table.ended(5));
    // The same when the thread's exit was lost: the machine is asked.
    table.exec_(500, 7, "b");
    table.thread_(600, 7, 8);
    table.exit_(700, 7, 7);
    table.reader.threads.insert(7, 1);
    table.prune(BootTime(3 * SECOND));
    assert!(!table.ended(7));
    table.reader.threads.clear();
    table.prune(BootTime(6 * SECOND));
    assert!(table.ended(7));
}

#[test]
fn what_a_scan_saw_is_not_applied_again() {
    let mut table = Table::new(Values::default());
    let mapping = |start: u64, path: &str| ExecutableMapping {
        range: VirtualAddress(start)..VirtualAddress(start + 0x1000),
        kind: MappingKind::File {
            executable: executable(90, path.as_bytes()),
            offset: FileOffset(0),
        },
    };
    table.reader.processes.insert(
        5,
        found(50 * SECOND, "old", vec![mapping(0x1000, "/bin/old")]),
    );
    table.scan(BootTime(50 * SECOND));
    // Records from before the scan come late.
    table.fork_(49 * SECOND, 1, 5);
    table.exec_(49 * SECOND + 1, 5, "older");
    table.map_(49 * SECOND + 2, 5, 0x1000..0x2000, "/bin/older");
    table.exit_(49 * SECOND + 3, 5, 5);
    assert_eq!(table.place(50 * SECOND, 5, 0x1010), at("/bin/old", 0x10));
    // Its samples from before are located too: it had been there.
    assert_eq!(table.place(40 * SECOND, 5, 0x1010), at("/bin/old", 0x10));
    assert_eq!(table.image(5), Some(BootTime(50 * SECOND)));
    // After lost records the machine is read again: one process ended, one changed a mapping.
    table.exec_(51 * SECOND, 9, "gone");
    table.tell(
        52 * SECOND,
        ProcessEventKind::Lost {
            records: 7,
            since: BootTime(52 * SECOND),
        },
    );
    assert!(table.scan_wanted());
    table.reader.processes.insert(
        5,
        found(53 * SECOND, "old", vec![mapping(0x1000, "/bin/new")]),
    );
    table.scan(BootTime(53 * SECOND));
    assert!(!table.scan_wanted());
    assert!(table.ended(9));
    assert_eq!(table.place(54 * SECOND, 5, 0x1010), at("/bin/new", 0x10));
    assert_eq!(table.place(51 * SECOND, 5, 0x1010), at("/bin/old", 0x10));
    assert_eq!(table.image(5), Some(BootTime(50 * SECOND)));
}

#[test]
fn an_exec_that_was_lost_shows_in_the_next_scan() {
    let mut table = Table::new(Values::default());
    table
        .reader
        .processes
        .insert(5, found(2 * SECOND, "a", vec![]));
    table.scan(BootTime(2 * SECOND));
    table
        .reader
        .processes
        .insert(5, found(9 * SECOND, "b", vec![]));
    table.scan(BootTime(9 * SECOND));
    assert_eq!(table.image(5), Some(BootTime(9 * SECOND)));
    assert_eq!(&*table.process(5).unwrap().executable, "/bin/b");
    assert_eq!(
        &*table.sample(5 * SECOND, 5, &[]).unwrap().process.comm,
        "a"
    );
}

#[test]
fn unknown_processes_are_read_within_bounds() {
    let mut table = Table::new(Values::default());
    table
        .reader
        .processes
        .insert(5, found(2 * SECOND, "late", vec![]));
    assert_eq!(
        &*table.sample(2 * SECOND, 5, &[]).unwrap().process.comm,
        "late"
    );
    let reads = table.reader.reads;
    for _ in 0..10 {
        assert_eq!(
            table.sample(2 * SECOND, 77, &[]).unwrap_err(),
            SampleLoss::ProcessUnknown
        );
    }
    assert_eq!(table.reader.reads - reads, 1);
    for pid in 1000..2000 {
        assert!(table.sample(3 * SECOND, pid, &[]).is_err());
    }
    let reads = table.reader.reads - reads;
    assert!(
        (100..=1 + READS_PER_SECOND as usize).contains(&reads),
        "{reads}"
    );
}

#[test]
fn kernel_threads_have_a_process_of_their_own() {
    let mut table = Table::new(Values::default());
    let mut sample = raw(5 * SECOND, 17, &[]);
    sample.flags = SampleFlags(SampleFlags::KERNEL_THREAD | SampleFlags::IN_KERNEL);
    sample.outcome = Outcome::NoUserStack;
    sample.thread_name = name("kworker/0:1");
    sample.kernel = vec![KernelAddress(0xffff_1000), KernelAddress(0xffff_2000)];
    let located = table.locate(&sample).unwrap();
    assert!(located.process.kernel);
    assert_eq!(&*located.process.comm, "kworker/0:1");
    let keys: Vec<_> = located.frames.iter().map(|frame| frame.key).collect();
    assert_eq!(
        keys,
        [
            LocationKey::Kernel(KernelAddress(0xffff_1000)),
            LocationKey::Kernel(KernelAddress(0xffff_1fff)),
        ]
    );
    sample.thread_name = name("kworker/0:10");
    assert_eq!(
        &*table.locate(&sample).unwrap().process.comm,
        "kworker/0:10"
    );
    assert_eq!(table.reader.reads, 0);
    table.exit_(6 * SECOND, 17, 17);
    table.prune(BootTime(9 * SECOND));
    assert!(table.is_empty());
}

#[test]
fn every_kind_of_frame() {
    let mut table = Table::new(Values::default());
    table.exec_(100, 5, "a");
    table.map_(101, 5, 0x1000..0x2000, "/bin/a");
    table.map_(102, 5, 0x2000..0x3000, "//anon");
    let mut sample = raw(
        200,
        5,
        &[0x1000 | RawFrame::INTERRUPTED, 0x2000, 0x2010, 0x9000],
    );
    sample.outcome = Outcome::Truncated;
    sample.kernel = vec![KernelAddress(0xffff_1000)];
    let located = table.locate(&sample).unwrap();
    let key = located.process.key;
    let file = located.frames[1].executable.as_ref().unwrap().id;
    let keys: Vec<_> = located.frames.iter().map(|frame| frame.key).collect();
    assert_eq!(
        keys,
        [
            // Not interrupted there: the kernel was called, and returns to it.
            LocationKey::Kernel(KernelAddress(0xffff_0fff)),
            LocationKey::File(file, FileOffset(0x100)),
            // Returns to the first byte behind the file: the call is the file's last byte.
            LocationKey::File(file, FileOffset(0x10ff)),
            LocationKey::Anonymous(key, VirtualAddress(0x200f)),
            LocationKey::Unmapped(key, VirtualAddress(0x8fff)),
            LocationKey::Broken(Outcome::Truncated),
        ]
    );
    // Frames of interpreters are the process's, wherever they stand.
    let frame = InterpretedFrame::new(Interpreter::V8, 0x1000, 7, 9);
    let words = sample.user.clone();
    sample.user = words
        .iter()
        .flat_map(|word| [frame.words()[0], frame.words()[1], word.0])
        .map(RawFrame)
        .collect();
    let mixed = table.locate(&sample).unwrap();
    let interpreted = LocationKey::interpreted(key, frame);
    let mixed: Vec<_> = mixed.frames.iter().map(|frame| frame.key).collect();
    let expected = keys[1..5].iter().flat_map(|key| [interpreted, *key]);
    let expected: Vec<_> = [keys[0]]
        .into_iter()
        .chain(expected)
        .chain([keys[5]])
        .collect();
    assert_eq!(mixed, expected);
    sample.user = words;
    // The outermost frame of a stack that breaks off may be no code at all.
    assert!(!located.has_unknown_code());
    sample.outcome = Outcome::Root;
    assert!(table.locate(&sample).unwrap().has_unknown_code());
}

#[test]
fn the_cgroup_is_that_of_the_samples() {
    let mut table = Table::new(Values::default());
    let cgroup = |path: &str, id| Cgroup {
        id,
        path: path.into(),
        container: Some(ContainerId(path.trim_start_matches('/').into())),
        unified: true,
    };
    table.exec_(100, 5, "a");
    table.fork_(200, 5, 6);
    table.reader.cgroups.insert(5, cgroup("/one", 11));
    let mut sample = raw(300, 5, &[]);
    sample.cgroup = 11;
    assert_eq!(&*table.locate(&sample).unwrap().process.cgroup, "/one");
    // The other process of the cgroup needs no reading, and need not be there any more.
    (sample.pid, sample.tid) = (6, 6);
    let process = table.locate(&sample).unwrap().process;
    assert_eq!(
        (&*process.cgroup, &process.container),
        ("/one", &Some(ContainerId("one".into())))
    );
    assert_eq!(table.reader.reads, 1);
    // It is moved.
    table.reader.cgroups.insert(6, cgroup("/two", 12));
    sample.cgroup = 12;
    assert_eq!(&*table.locate(&sample).unwrap().process.cgroup, "/two");
    // A process that was moved on before its cgroup was read says nothing of the cgroup it left.
    table.exec_(400, 7, "b");
    table.reader.cgroups.insert(7, cgroup("/two", 12));
    let mut sample = raw(500, 7, &[]);
    sample.cgroup = 13;
    assert_eq!(&*table.locate(&sample).unwrap().process.cgroup, "/two");
    table.exec_(400, 8, "c");
    table.reader.cgroups.insert(8, cgroup("/three", 13));
    (sample.pid, sample.tid) = (8, 8);
    assert_eq!(&*table.locate(&sample).unwrap().process.cgroup, "/three");
}

#[test]
fn a_rename_makes_a_new_process_value() {
    let mut table = Table::new(Values::default());
    table.exec_(100, 5, "a");
    let before = Arc::clone(table.process(5).unwrap());
    let rename = |tid, text| ProcessEventKind::Rename {
        pid: 5,
        tid,
        name: name(text),
    };
    table.tell(200, rename(6, "thread"));
    table.tell(201, rename(5, "b"));
    assert_eq!(&*before.comm, "a");
    assert_eq!(&*table.process(5).unwrap().comm, "b");
    assert_eq!(table.process(5).unwrap().key, before.key);
}

#[test]
fn the_number_of_processes_is_bounded() {
    let mut table = Table::new(Values::default());
    for pid in 0..MAX_PROCESSES as u32 + 10 {
        table.exec_(100, pid, "a");
    }
    assert_eq!(table.len(), MAX_PROCESSES);
    assert_eq!(table.take_losses().of(Degradation::ProcessTableFull), 10);
}

#[test]
fn one_process_cannot_take_all_the_room_for_mappings() {
    let mut table = Table::new(Values::default());
    let apart = |index: u64| 0x1000 * index..0x1000 * index + 0x800;
    // Together more than there is room for; forks share, but count.
    table.exec_(100, 1, "greedy");
    for index in 0..40_000 {
        table.map_(200, 1, apart(index), "/lib/greedy.so");
    }
    for pid in 2..30 {
        table.fork_(300, 1, pid);
    }
    table.exec_(400, 50, "modest");
    assert_eq!(table.take_losses().of(Degradation::MappingTableFull), 0);
    table.prune(BootTime(500));
    table.map_(600, 1, apart(50_000), "/lib/more.so");
    table.map_(600, 50, apart(1), "/lib/c.so");
    assert_eq!(table.mappings(1).count(), 40_000);
    assert_eq!(table.mappings(50).count(), 1);
    assert_eq!(table.take_losses().of(Degradation::MappingTableFull), 1);
}
