//! Code of living processes and of the running kernel.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};

use profiler_common::layout::{InterpretedFrame, Interpreter};

use super::*;
use crate::profile::{
    Degradation, FrameType, KernelAddress, LocatedFrame, LocationKind, MappingIndex, VirtualAddress,
};
use crate::symbolize::SymbolizerThread;

/// A process that said `ready` and now waits for its standard input to close.
struct Waiting(Child);

impl Waiting {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), "ready");
        Self(child)
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

fn key(pid: u32) -> ProcessKey {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    ProcessKey {
        pid,
        started: BootTime(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64),
    }
}

fn anonymous(process: ProcessKey, address: u64) -> LocationKey {
    LocationKey::Anonymous(process, VirtualAddress(address))
}

fn announce(symbolizer: &mut Symbolizer, key: LocationKey) {
    symbolizer.prefetch(&[LocatedFrame {
        key,
        executable: None,
        kernel_code: None,
    }]);
}

fn name(profile: &Profile, index: usize) -> &str {
    let line = profile.locations[index].lines[0];
    &profile.functions[line.function.0 as usize].name
}

#[test]
fn a_script_s_functions_also_after_its_process_ended() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("hot loop.js");
    std::fs::write(
        &script,
        "function other() {}\nfunction hotFunction(n) {\n  let s = 0;\n  for (let i = 0; i < n; i++) s += i % 7;\n  return s;\n}\n\
         for (let i = 0; i < 2000; i++) hotFunction(10000);\nconsole.log('ready');\nprocess.stdin.resume();\nprocess.stdin.on('end', () => process.exit(0));\n",
    )
    .unwrap();
    let node = Waiting::start(
        Command::new("node")
            .args(["--perf-basic-prof", "--interpreted-frames-native-stack"])
            .arg(&script),
    );
    let pid = node.0.id();
    let map = std::fs::read_to_string(format!("/tmp/perf-{pid}.map")).unwrap();
    let address = map
        .lines()
        .filter(|line| line.contains("hotFunction "))
        .map(|line| {
            u64::from_str_radix(line.split(' ').next().unwrap().trim_start_matches("0x"), 16)
                .unwrap()
        })
        .next_back()
        .unwrap();
    let process = process(key(pid), "/usr/bin/node");
    let location = anonymous(process.key, address + 1);
    let mut symbolizer = symbolizer();
    announce(&mut symbolizer, location);
    node.end();
    std::fs::remove_file(format!("/tmp/perf-{pid}.map")).unwrap();
    let nowhere = anonymous(process.key, 8);
    let profile = symbolizer.resolve(&window(&process, vec![location, nowhere], &[]), &clocks());
    assert_eq!(
        name(&profile, 0),
        format!("hotFunction {}:2", script.display())
    );
    assert_eq!(profile.locations[0].frame_type, FrameType::V8js);
    assert!(profile.locations[0].kind.is_named());
    assert_eq!(profile.functions[0].start_line, 2);
    assert_eq!(name(&profile, 1), "[jit]");
    assert!(!profile.locations[1].kind.is_named());
    assert_eq!(&*profile.mappings[0].file, "[anonymous]");
}

#[test]
fn a_map_in_another_mount_and_pid_namespace_that_grows() {
    let mut inside = Waiting::start(Command::new("unshare").args([
        "--mount",
        "--pid",
        "--fork",
        "sh",
        "-c",
        "mount -t tmpfs none /tmp; echo 1000 10 first > /tmp/perf-1.map; echo ready; \
         read x; echo 1000 8 second >> /tmp/perf-1.map; echo grown; read x",
    ]));
    let outer = inside.0.id();
    let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
    let process = process(key(children.trim().parse().unwrap()), "/bin/sh");
    let locations = vec![
        anonymous(process.key, 0x1001),
        anonymous(process.key, 0x100f),
    ];
    let mut symbolizer = symbolizer();
    let profile = symbolizer.resolve(&window(&process, locations.clone(), &[]), &clocks());
    assert_eq!([name(&profile, 0), name(&profile, 1)], ["first", "first"]);
    inside.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let mut line = String::new();
    BufReader::new(inside.0.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "grown\n");
    let profile = symbolizer.resolve(&window(&process, locations, &[]), &clocks());
    assert_eq!([name(&profile, 0), name(&profile, 1)], ["second", "first"]);
    inside.end();
}

#[test]
fn a_map_of_another_user_is_not_believed() {
    let child = Waiting::start(Command::new("sh").args(["-c", "echo ready; read x"]));
    let path = format!("/tmp/perf-{}.map", child.0.id());
    std::fs::write(&path, "1000 10 forged\n").unwrap();
    std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
    let process = process(key(child.0.id()), "/bin/sh");
    let profile = symbolizer().resolve(
        &window(&process, vec![anonymous(process.key, 0x1000)], &[]),
        &clocks(),
    );
    std::fs::remove_file(&path).unwrap();
    child.end();
    assert_eq!(name(&profile, 0), "[jit]");
    assert_eq!(profile.losses.of(Degradation::PerfMapMalformed), 1);
}

#[test]
fn kernel_functions_with_their_mapping() {
    let list = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let schedule = list
        .lines()
        .find(|line| line.ends_with(" T schedule"))
        .unwrap();
    let address = u64::from_str_radix(schedule.split(' ').next().unwrap(), 16).unwrap();
    let process = process(key(1), "/sbin/init");
    let locations = vec![
        LocationKey::Kernel(KernelAddress(address + 3)),
        LocationKey::Kernel(KernelAddress(1)),
    ];
    let profile = symbolizer().resolve(&window(&process, locations, &[]), &clocks());
    if address == 0 {
        assert_eq!(profile.losses.of(Degradation::KernelSymbolsHidden), 1);
        return;
    }
    assert_eq!(name(&profile, 0), "schedule");
    assert_eq!(profile.locations[0].frame_type, FrameType::Kernel);
    assert_eq!(profile.locations[0].mapping, Some(MappingIndex(0)));
    let mapping = &profile.mappings[0];
    assert_eq!(&*mapping.file, "[kernel]");
    assert!((mapping.memory_start..mapping.memory_limit).contains(&address));
    assert_eq!(name(&profile, 1), "[kernel]+0x1");
    assert!(!profile.locations[1].kind.is_named());
    assert_eq!(profile.locations.len(), 2);
}

#[test]
fn frames_of_interpreters_are_of_their_type() {
    let process = process(key(1), "/usr/bin/program");
    let types = [
        (Interpreter::Cpython, FrameType::Cpython, "[cpython]"),
        (Interpreter::Hotspot, FrameType::Jvm, "[jvm]"),
        (Interpreter::V8, FrameType::V8js, "[v8js]"),
    ];
    let locations = types.map(|(interpreter, ..)| {
        let frame = InterpretedFrame::new(interpreter, 0x7f00_0000_1230, 4, 5);
        LocationKey::interpreted(process.key, frame)
    });
    let profile = symbolizer().resolve(&window(&process, locations.to_vec(), &[]), &clocks());
    assert_eq!(profile.locations.len(), types.len());
    for (index, (_, frame_type, called)) in types.into_iter().enumerate() {
        let location = &profile.locations[index];
        assert_eq!(
            (name(&profile, index), location.frame_type),
            (called, frame_type)
        );
        assert_eq!(
            (location.kind, location.mapping),
            (LocationKind::Unnamed, None)
        );
        assert_eq!(location.address, 0x7f00_0000_1230);
    }
}

#[test]
fn a_thread_serves_windows_and_ends_with_its_last_handle() {
    let (thread, handle) =
        SymbolizerThread::spawn(SymbolizeConfig::default(), Default::default()).unwrap();
    let process = process(key(1), "/sbin/init");
    let unmapped = LocationKey::Unmapped(process.key, VirtualAddress(5));
    handle.prefetch(vec![LocatedFrame {
        key: unmapped,
        executable: None,
        kernel_code: None,
    }]);
    let pending = handle
        .resolve(window(&process, vec![unmapped], &[]), clocks())
        .unwrap();
    let profile = pending.wait().unwrap();
    assert_eq!(name(&profile, 0), "[unknown]");
    assert_eq!(profile.start, UnixTime(1_001_000));
    drop(handle);
    thread.join().unwrap();
}
