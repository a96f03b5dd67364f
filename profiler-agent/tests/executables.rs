//! Processes as they are found on a machine: deleted and nameless files, other roots and
//! namespaces, libraries that come and go, files that are not what they were.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod machine;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use machine::{Agent, build_id, now};
use profiler_agent::process::{Limits, ProcFs, ProcessTable};
use profiler_agent::profile::{
    BootTime, Degradation, Executable, LocationKey, MappingKind, ProcessEventKind, ProfileKind,
    RawSample, ThreadName,
};
use profiler_common::layout::{RawFrame, SampleFlags};
use profiler_common::unwind::Outcome;

/// A program that says when it is ready and ends when its standard input does.
const WAITS: &str = r#"
#include <stdio.h>
#include <unistd.h>
int main(void) { char c; puts("ready"); fflush(stdout); while (read(0, &c, 1) > 0) {} return 0; }
"#;

struct Workload {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Workload {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
    fn ready(command: &mut Command) -> Self {
        let mut workload = Self::start(command);
        assert_eq!(workload.line(), "ready");
        workload
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}

fn compile(directory: &Path, name: &str, source: &str, arguments: &[&str]) -> PathBuf {
    let path = directory.join(name);
    let input = directory.join(format!("{name}.c"));
    fs::write(&input, source).unwrap();
    let status = Command::new("gcc")
        .args(["-O1", "-Wl,--build-id=sha1"])
        .args(arguments)
        .arg("-o")
        .args([&path, &input])
        .status()
        .unwrap();
    assert!(status.success());
    path
}

fn scanned() -> ProcessTable<ProcFs> {
    let mut table = ProcessTable::new(ProcFs::new(Limits::default()));
    table.scan(now());
    table
}

/// The program that `pid` runs.
fn program(table: &ProcessTable<ProcFs>, pid: u32) -> Arc<Executable> {
    let name = table.process(pid).unwrap().executable.clone();
    files(table, pid)
        .into_iter()
        .find(|file| file.path == name)
        .unwrap_or_else(|| panic!("{name} has no mapping in {pid}"))
}

fn files(table: &ProcessTable<ProcFs>, pid: u32) -> Vec<Arc<Executable>> {
    table
        .mappings(pid)
        .filter_map(|mapping| match &mapping.kind {
            MappingKind::File { executable, .. } => Some(Arc::clone(executable)),
            MappingKind::Anonymous => None,
        })
        .collect()
}

fn shown_build_id(executable: &Executable) -> Option<String> {
    Some(executable.build_id?.to_string())
}

fn sample(pid: u32, time: u64, pc: u64) -> RawSample {
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
        thread_name: ThreadName::default(),
        outcome: Outcome::Root,
        flags: SampleFlags(0),
        kernel: Vec::new(),
        user: vec![RawFrame(pc | RawFrame::INTERRUPTED)],
        context: None,
        snapshot: None,
    }
}

#[test]
fn a_deleted_program_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = compile(directory.path(), "deleted", WAITS, &[]);
    let expected = build_id(&path);
    let workload = Workload::ready(&mut Command::new(&path));
    fs::remove_file(&path).unwrap();
    let table = scanned();
    let executable = program(&table, workload.child.id());
    assert_eq!(Path::new(&*executable.path), path);
    assert_eq!(shown_build_id(&executable), expected);
    assert!(executable.file.is_some() && executable.root.is_none());
}

#[test]
fn a_program_in_memory_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = compile(directory.path(), "nameless", WAITS, &[]);
    let script = format!(
        "import os; fd = os.memfd_create('nameless', os.MFD_CLOEXEC); \
         os.write(fd, open('{}', 'rb').read()); os.execve(fd, ['nameless'], os.environ)",
        path.display()
    );
    let workload = Workload::ready(Command::new("python3").args(["-c", &script]));
    let table = scanned();
    let executable = program(&table, workload.child.id());
    assert_eq!(&*executable.path, "/memfd:nameless");
    assert_eq!(shown_build_id(&executable), build_id(&path));
    assert_eq!(executable.length, fs::metadata(&path).unwrap().len());
}

#[test]
fn a_program_in_another_root_and_namespaces_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = compile(directory.path(), "confined", WAITS, &["-static"]);
    // On a file system that only the workload's mount namespace has.
    let script = format!(
        "mount -t tmpfs none /mnt && cp {} /mnt/elsewhere && exec chroot /mnt /elsewhere",
        path.display()
    );
    let mut agent = Agent::start();
    let workload = Workload::ready(
        Command::new("unshare").args(["--mount", "--pid", "--fork", "sh", "-c", &script]),
    );
    assert!(!Path::new("/mnt/elsewhere").exists());
    let mut pid = 0;
    agent.run_until(|table, event| match &event.kind {
        ProcessEventKind::Map { pid: of, .. }
            if table
                .process(*of)
                .is_some_and(|p| &*p.executable == "/elsewhere") =>
        {
            pid = *of;
            true
        }
        _ => false,
    });
    let by_scan = scanned();
    for table in [&agent.table, &by_scan] {
        let executable = program(table, pid);
        assert_eq!(&*executable.path, "/elsewhere");
        assert_eq!(shown_build_id(&executable), build_id(&path));
        let root = executable.root.as_ref().unwrap().metadata().unwrap();
        let expected = fs::metadata(format!("/proc/{pid}/root")).unwrap();
        assert_eq!((root.dev(), root.ino()), (expected.dev(), expected.ino()));
    }
    drop(workload);
}

#[test]
fn a_program_in_a_directory_as_its_root_has_the_path_it_sees() {
    let directory = tempfile::tempdir().unwrap();
    let path = compile(directory.path(), "confined", WAITS, &["-static"]);
    let workload = Workload::ready(
        Command::new("chroot")
            .arg(directory.path())
            .arg("/confined"),
    );
    let table = scanned();
    let executable = program(&table, workload.child.id());
    assert_eq!(&*executable.path, "/confined");
    assert_eq!(shown_build_id(&executable), build_id(&path));
    assert!(executable.root.is_some());
}

/// Runs `check` on a thread without the capabilities that `map_files` asks for.
fn without_map_files(check: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let mut sets = capabilities(None).unwrap();
        sets.effective -= CapabilitySet::SYS_ADMIN | CapabilitySet::CHECKPOINT_RESTORE;
        set_capabilities(None, sets).unwrap();
        let own = fs::read_dir("/proc/self/map_files").unwrap().next();
        assert!(own.is_none_or(|entry| fs::File::open(entry.unwrap().path()).is_err()));
        check();
    })
    .join()
    .unwrap();
}

#[test]
fn without_the_capability_files_are_opened_by_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = compile(directory.path(), "confined", WAITS, &["-static"]);
    // Another inode: what two processes map of one file is one executable, whatever their roots.
    let plain_path = compile(directory.path(), "plain", WAITS, &["-static"]);
    let plain = Workload::ready(&mut Command::new(&plain_path));
    let confined = Workload::ready(
        Command::new("chroot")
            .arg(directory.path())
            .arg("/confined"),
    );
    let programs = [(plain.child.id(), plain_path), (confined.child.id(), path)];
    without_map_files(move || {
        let table = scanned();
        for (pid, path) in programs {
            let executable = program(&table, pid);
            assert!(executable.file.is_some(), "{}", executable.path);
            assert_eq!(shown_build_id(&executable), build_id(&path));
        }
    });
}

/// What stands at the path of a program while it runs: nothing of it may be taken for the program,
/// or be opened at all (the open of a FIFO would not return).
#[test]
fn what_was_put_in_a_program_s_place_is_not_taken_for_it() {
    type Plant = fn(&Path);
    let plants: [(Plant, Degradation); 4] = [
        (
            |path| {
                let status = Command::new("mkfifo").arg(path).status().unwrap();
                assert!(status.success());
            },
            Degradation::ExecutableUnopened,
        ),
        (
            |path| symlink("/dev/zero", path).unwrap(),
            Degradation::ExecutableUnopened,
        ),
        (
            |path| symlink("/bin/true", path).unwrap(),
            Degradation::ExecutableReplaced,
        ),
        (
            |path| assert!(fs::copy("/bin/true", path).unwrap() > 0),
            Degradation::ExecutableReplaced,
        ),
    ];
    for (plant, cause) in plants {
        let directory = tempfile::tempdir().unwrap();
        let path = compile(directory.path(), "program", WAITS, &[]);
        let workload = Workload::ready(&mut Command::new(&path));
        fs::remove_file(&path).unwrap();
        plant(&path);
        let pid = workload.child.id();
        without_map_files(move || {
            let mut table = ProcessTable::new(ProcFs::new(Limits::default()));
            // Reads this one process on demand.
            let located = table.locate(&sample(pid, now().0, 0)).unwrap();
            let path = format!("{} (deleted)", path.display());
            assert!(path.starts_with(&*located.process.executable));
            let executable = files(&table, pid)
                .into_iter()
                .find(|file| path.starts_with(&*file.path))
                .unwrap();
            assert!(executable.file.is_none());
            assert_eq!(executable.build_id, None);
            assert_eq!(table.take_losses().of(cause), 1, "{cause:?}");
        });
    }
}

#[test]
fn libraries_that_come_and_go_are_told_apart_by_time() {
    const LIBRARY: &str = "int work(void) { return NUMBER; }";
    const LOADS: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>
static unsigned long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}
int main(int argc, char **argv) {
    for (int i = 0; i < 50; i++) {
        void *library = dlopen(argv[1 + i % 2], RTLD_NOW);
        if (!library) return 1;
        int (*work)(void) = (int (*)(void)) dlsym(library, "work");
        printf("%d %llu %llu\n", work(), (unsigned long long) work, now());
        dlclose(library);
    }
    puts("ready"); fflush(stdout);
    return getchar() != EOF;
}
"#;
    let directory = tempfile::tempdir().unwrap();
    let libraries: Vec<_> = ["1", "2"]
        .map(|number| {
            let define = format!("-DNUMBER={number}");
            let name = format!("lib{number}.so");
            compile(
                directory.path(),
                &name,
                LIBRARY,
                &["-shared", "-fPIC", &define],
            )
        })
        .into();
    let loads = compile(directory.path(), "loads", LOADS, &[]);
    let mut agent = Agent::start();
    let mut workload = Workload::start(Command::new(&loads).args(&libraries));
    let pid = workload.child.id();
    let mut expected = Vec::new();
    loop {
        let line = workload.line();
        if line == "ready" {
            break;
        }
        let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        expected.push((numbers[0] as usize - 1, numbers[1], numbers[2]));
    }
    assert_eq!(expected.len(), 50);
    drop(workload);
    let ended = |event: &ProcessEventKind| matches!(event, ProcessEventKind::Exit { pid: of, tid } if *of == pid && *tid == pid);
    agent.run_until(|_, event| ended(&event.kind));
    let addresses: std::collections::BTreeSet<_> = expected.iter().map(|line| line.1).collect();
    assert!(
        addresses.len() < 50,
        "both were loaded at the same addresses"
    );
    for (library, address, time) in expected {
        let located = agent.table.locate(&sample(pid, time, address)).unwrap();
        let frame = &located.frames[0];
        let executable = frame.executable.as_ref().unwrap();
        assert_eq!(Path::new(&*executable.path), libraries[library]);
        assert_eq!(shown_build_id(executable), build_id(&libraries[library]));
        // The function's own address, as `nm` shows it.
        let LocationKey::File(_, offset) = frame.key else {
            panic!("{:?}", frame.key)
        };
        let symbols = Command::new("nm")
            .arg(&libraries[library])
            .output()
            .unwrap();
        let symbols = String::from_utf8(symbols.stdout).unwrap();
        let shown = symbols
            .lines()
            .find(|line| line.ends_with(" T work"))
            .unwrap();
        let shown = u64::from_str_radix(shown.split(' ').next().unwrap(), 16).unwrap();
        assert_eq!(executable.elf_address(offset).unwrap().0, shown);
    }
}

/// Executable ranges with a file, as /proc shows them.
fn listed(pid: u32) -> Vec<(u64, u64, String)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let path = *words.get(5)?;
            let (start, end) = words[0].split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            (words[1].contains('x') && path != "[vsyscall]")
                .then(|| (number(start), number(end), path.to_owned()))
        })
        .collect()
}

#[test]
fn events_alone_give_what_proc_shows() {
    // Imports load libraries; the fork shares them; the child execs or stays.
    let script = "import os, sys, ctypes, sqlite3, ssl\n\
        child = os.fork()\n\
        if child == 0:\n\
        \x20   ctypes.CDLL('libz.so.1') if os.path.exists('/usr/lib/x86_64-linux-gnu/libz.so.1') else None\n\
        \x20   os.write(1, b'%d\\n' % os.getpid()); sys.stdin.read(); os._exit(0)\n\
        os.write(1, b'%d\\n' % os.getpid()); sys.stdin.read(); os.waitpid(child, 0)";
    let mut agent = Agent::start();
    let mut workload = Workload::start(Command::new("python3").args(["-c", script]));
    let pids: Vec<u32> = (0..2).map(|_| workload.line().parse().unwrap()).collect();
    // What it prints comes after what it loads; one more event ends the waiting.
    let marker = Workload::ready(Command::new("sh").args(["-c", "echo ready; read x"]));
    let last = marker.child.id();
    drop(marker);
    agent.run_until(
        |_, event| matches!(event.kind, ProcessEventKind::Exit { pid, .. } if pid == last),
    );
    for pid in pids {
        let by_events: Vec<_> = agent
            .table
            .mappings(pid)
            .filter_map(|mapping| match &mapping.kind {
                MappingKind::File { executable, .. } => Some((
                    mapping.range.start.0,
                    mapping.range.end.0,
                    executable.path.to_string(),
                )),
                MappingKind::Anonymous => None,
            })
            .collect();
        assert_eq!(by_events, listed(pid));
        assert!(by_events.len() > 5);
    }
    let mut input = workload.input.take().unwrap();
    input.flush().unwrap();
}

#[test]
fn an_exec_shows_the_new_program_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = compile(directory.path(), "second", WAITS, &[]);
    let script = format!("read x; exec {}", path.display());
    let mut workload = Workload::start(Command::new("sh").args(["-c", &script]));
    let pid = workload.child.id();
    let mut agent = Agent::start();
    let before = agent.table.image(pid).unwrap();
    assert_ne!(
        &*agent.table.process(pid).unwrap().executable,
        path.to_str().unwrap()
    );
    let start = now();
    workload.input.as_mut().unwrap().write_all(b"\n").unwrap();
    assert_eq!(workload.line(), "ready");
    agent.run_until(|table, _| {
        table
            .process(pid)
            .is_some_and(|p| Path::new(&*p.executable) == path)
    });
    let image = agent.table.image(pid).unwrap();
    assert!(image > before && image >= start && image <= now());
    assert_eq!(shown_build_id(&program(&agent.table, pid)), build_id(&path));
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(&*agent.table.process(pid).unwrap().comm, comm.trim());
}
