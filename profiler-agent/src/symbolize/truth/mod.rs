//! The whole stage against what independent tools say of real programs.

mod budget;
mod debug_files;
mod hostile;
mod inlines;
mod live;
mod lying;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hashbrown::HashMap;
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Object as _, ObjectSection as _, elf};

use super::{SymbolizeConfig, Symbolizer};
use crate::profile::window::WindowThread;
use crate::profile::{
    BootTime, BuildId, ClockPair, ContextIndex, ElfAddress, Executable, ExecutableId, FileOffset,
    Location, LocationIndex, LocationKey, Losses, Occurrences, Process, ProcessKey, Profile,
    SampleKind, SamplePeriod, Segment, Stacks, ThreadIndex, ThreadName, UnixTime, Window,
    WindowSample,
};

/// Runs a tool; its output. Panics with its words when it fails.
fn run(tool: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}"));
    assert!(
        output.status.success(),
        "{tool} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The file as the process stage would hand it over, seen at `seen` below `root`.
fn executable(id: u32, file: &Path, seen: &str, root: Option<&Path>) -> Arc<Executable> {
    let data = std::fs::read(file).unwrap();
    let parsed = ElfFile64::<object::Endianness>::parse(&*data).unwrap();
    let endian = parsed.endian();
    let segments = parsed
        .elf_header()
        .program_headers(endian, &*data)
        .unwrap()
        .iter()
        .filter(|header| {
            header.p_type(endian) == elf::PT_LOAD && header.p_flags(endian).0 & elf::PF_X.0 != 0
        })
        .map(|header| Segment {
            offset: FileOffset(header.p_offset(endian)),
            address: ElfAddress(header.p_vaddr(endian)),
            length: header.p_filesz(endian),
        })
        .collect();
    Arc::new(Executable {
        id: ExecutableId(id),
        path: seen.into(),
        file: Some(File::open(file).unwrap()),
        image: None,
        length: data.len() as u64,
        build_id: parsed.build_id().unwrap().and_then(BuildId::new),
        htl_hash: OnceLock::new(),
        segments,
        constants: Box::default(),
        root: root.map(|root| File::open(root).unwrap()),
    })
}

/// File offsets of about `count` addresses, spread over the file's `.text`.
fn text_offsets(file: &Path, count: u64) -> Vec<FileOffset> {
    let data = std::fs::read(file).unwrap();
    let parsed = ElfFile64::<object::Endianness>::parse(&*data).unwrap();
    let text = parsed.section_by_name(".text").unwrap();
    let (start, length) = text.file_range().unwrap();
    let step = (length / count).max(1);
    (0..length)
        .step_by(step as usize)
        .map(|within| FileOffset(start + within))
        .collect()
}

fn process(key: ProcessKey, executable: &str) -> Arc<Process> {
    Arc::new(Process {
        key,
        parent: 1,
        comm: "test".into(),
        executable: executable.into(),
        cgroup: "/".into(),
        container: None,
        kernel: false,
        resource: Arc::default(),
    })
}

/// A window with one sample whose stack holds every location once.
fn window(
    process: &Arc<Process>,
    locations: Vec<LocationKey>,
    files: &[Arc<Executable>],
) -> Window {
    let mut stacks = Stacks::default();
    let all: Vec<LocationIndex> = (0..locations.len() as u32).map(LocationIndex).collect();
    let stack = stacks.push(&all);
    Window {
        start: BootTime(1_000),
        end: BootTime(2_000),
        kind: SampleKind::on_cpu(SamplePeriod::from_hertz(99)),
        processes: vec![Arc::clone(process)],
        threads: vec![WindowThread {
            process: 0,
            tid: 1,
            name: ThreadName::default(),
        }],
        locations,
        stacks,
        contexts: vec![Arc::default()],
        samples: vec![WindowSample {
            thread: ThreadIndex(0),
            stack,
            context: ContextIndex(0),
            occurrences: Occurrences::equal(10_101_010, vec![BootTime(1_500)]),
        }],
        kernel_code: HashMap::new(),
        executables: files
            .iter()
            .map(|file| (file.id, Arc::clone(file)))
            .collect::<HashMap<_, _>>(),
        outcomes: Vec::new(),
        losses: Losses::default(),
    }
}

fn clocks() -> ClockPair {
    ClockPair {
        boot: BootTime(0),
        unix: UnixTime(1_000_000),
    }
}

/// Names of offsets of one file.
fn resolve(symbolizer: &mut Symbolizer, file: &Arc<Executable>, offsets: &[FileOffset]) -> Profile {
    let keys = offsets
        .iter()
        .map(|offset| LocationKey::File(file.id, *offset))
        .collect();
    let owner = process(
        ProcessKey {
            pid: 1,
            started: BootTime(0),
        },
        &file.path,
    );
    symbolizer.resolve(&window(&owner, keys, std::slice::from_ref(file)), &clocks())
}

/// With all the time that a busy machine needs: what it finds is compared, not how long it takes.
fn symbolizer() -> Symbolizer {
    Symbolizer::new(&SymbolizeConfig {
        file_time: Duration::from_secs(600),
        window_time: Duration::from_secs(1_200),
        ..SymbolizeConfig::default()
    })
}

/// One function of a location as text: raw name, file, line.
type Frame = (String, String, u32);

fn frames(profile: &Profile, location: &Location) -> Vec<Frame> {
    location
        .lines
        .iter()
        .map(|line| {
            let function = &profile.functions[line.function.0 as usize];
            (
                function.system_name.to_string(),
                function.file.to_string(),
                line.line,
            )
        })
        .collect()
}

/// What addr2line of the GNU binutils says: per address, innermost inlined function first.
fn addr2line(file: &Path, addresses: &[ElfAddress]) -> Vec<Vec<Frame>> {
    let list = tempfile::NamedTempFile::new().unwrap();
    let text: String = addresses
        .iter()
        .map(|address| format!("{address}\n"))
        .collect();
    std::fs::write(list.path(), text).unwrap();
    let output = run(
        "sh",
        &[
            "-c",
            "addr2line -a -f -i -e \"$0\" < \"$1\"",
            file.to_str().unwrap(),
            list.path().to_str().unwrap(),
        ],
        Path::new("/"),
    );
    let mut found: Vec<Vec<Frame>> = Vec::new();
    let mut lines = output.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            found.push(Vec::new());
            continue;
        }
        let place = lines.next().unwrap();
        let place = place.split(" (discriminator").next().unwrap();
        let (path, number) = place.rsplit_once(':').unwrap();
        let frame = (
            line.to_owned(),
            path.to_owned(),
            number.parse().unwrap_or(0),
        );
        found.last_mut().unwrap().push(frame);
    }
    assert_eq!(found.len(), addresses.len());
    found
}

/// Compiles `source` (a file name and its text) with the compiler and arguments.
fn compile(directory: &Path, name: &str, source: &str, compiler: &[&str]) -> PathBuf {
    std::fs::write(directory.join(name), source).unwrap();
    let output = directory.join(format!("{name}.out"));
    let mut arguments: Vec<&str> = compiler[1..].to_vec();
    arguments.extend([name, "-o", output.to_str().unwrap()]);
    run(compiler[0], &arguments, directory);
    output
}
