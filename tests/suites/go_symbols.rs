//! What the agent says about an address in a Go program is what the Go runtime itself says
//! (`runtime.CallersFrames`): of every address, for every version of Go, in every way that programs are built.
//!
//! By default three versions are built stripped, and the newest in most ways; `PROFILER_GO_MATRIX=full`
//! (`cargo xtask test --full`) builds every version in every way.

use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use profiler_agent::go::{LineTable, Steps, Version, is_go};
use profiler_agent::profile::window::WindowThread;
use profiler_agent::profile::{
    BootTime, ClockPair, ContextIndex, ElfAddress, Executable, ExecutableId, FileOffset, FrameType,
    LocationIndex, LocationKey, Losses, Occurrences, Process, ProcessKey, Profile, SampleKind,
    SamplePeriod, Segment, Stacks, ThreadIndex, ThreadName, UnixTime, Window, WindowSample,
};
use profiler_agent::symbolize::{SymbolizeConfig, Symbolizer};
use profiler_tests::debug_info::first_page;
use profiler_tests::go::program::{Variant, addr2line, build, build_for_arm64, say};
use profiler_tests::go::toolchain::{Toolchain, VERSIONS, full_matrix};
use profiler_tests::go::truth::{Frame, Truth};

/// Beside the newest version: the oldest, and the one in which the text starts at zero.
const BY_DEFAULT: [&str; 2] = ["1.21.13", "1.26.6"];
/// Of so many ranges one goes through the whole stage.
const STAGE_SHARE: usize = 8;

fn version_is_read(version: &'static str) {
    let variants: &[Variant] = if full_matrix() {
        &Variant::ALL
    } else if version == VERSIONS[VERSIONS.len() - 1] {
        &[
            Variant::Default,
            Variant::Stripped,
            Variant::Pie,
            Variant::Cgo,
            Variant::Shared,
            Variant::Sectionless,
        ]
    } else if BY_DEFAULT.contains(&version) {
        &[Variant::Stripped]
    } else {
        return;
    };
    let toolchain = Toolchain::get(version);
    for variant in variants {
        let program = build(&toolchain, *variant);
        let said = say(&program, *variant);
        let truth = Truth::parse(&said);
        let what = format!("Go {version}, {variant:?}");
        let compared = table_agrees(&what, &program, *variant, &truth);
        stage_agrees(&what, &program, &truth);
        println!("{what}: {compared} addresses");
    }
}

/// The line table says what the runtime says; the number of addresses.
fn table_agrees(what: &str, program: &Path, variant: Variant, truth: &Truth<'_>) -> u64 {
    let data = fs::read(program).expect("the program can be read");
    assert!(is_go(&data), "{what}: not taken for Go");
    let table = LineTable::find(&data).unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
    assert!(table.has_inline_trees(), "{what}: no inline trees");
    let version = Version::parse(what.replace("Go ", "go").split(',').next().expect("a word"));
    assert_eq!(table.layout().version, version, "{what}");
    let bias = truth.base.wrapping_sub(first_page(program));
    let text = (truth.text.0 - bias, truth.text.1 - bias);
    assert_eq!((table.start().0, table.end().0), text, "{what}: text");
    let first = table.function(0).and_then(|function| function.name());
    let first = String::from_utf8_lossy(first.expect("the first function has a name"));

    let (mut addresses, mut deepest, mut against) = (0, 0, Vec::new());
    for (range, expected) in truth.ranges() {
        addresses += range.end - range.start;
        deepest = deepest.max(expected.len());
        for address in samples(&range) {
            let address = ElfAddress(address - bias);
            let function = table.lookup(address);
            let found = function.map(|function| function.frames(address, &mut Steps(1 << 22)));
            let malformed = found.as_ref().and_then(|found| found.malformed);
            let found: Vec<(String, String, u32, u32)> = found
                .iter()
                .flat_map(|found| &found.frames)
                .map(|frame| {
                    (
                        printed(&String::from_utf8_lossy(frame.name)),
                        String::from_utf8_lossy(frame.file.unwrap_or_default()).into_owned(),
                        frame.line,
                        frame.start_line,
                    )
                })
                .collect();
            if malformed.is_some() || !same(&found, &expected, &first) {
                against.push(format!(
                    "{address}: {malformed:?} {found:?}, the runtime says {expected:?}"
                ));
            }
        }
    }
    assert!(
        against.is_empty(),
        "{what}: {} of {addresses} addresses:\n{}",
        against.len(),
        against[..against.len().min(12)].join("\n")
    );
    assert!(addresses >= 100_000, "{what}: {addresses} addresses");
    assert_eq!(deepest > 3, variant.inlines(), "{what}: {deepest} deep");
    addresses
}

/// Instructions of four bytes, and relocations of another kind.
#[test]
fn arm64_agrees_with_addr2line() {
    let toolchain = Toolchain::get(VERSIONS[VERSIONS.len() - 1]);
    let program = build_for_arm64(&toolchain);
    let data = fs::read(&program).expect("the program can be read");
    let table = LineTable::find(&data).expect("a line table");
    assert!(table.has_inline_trees());
    let addresses: Vec<u64> = (table.start().0..table.end().0).step_by(36).collect();
    assert!(addresses.len() > 10_000, "{} addresses", addresses.len());
    let mut inlined = 0;
    for (address, expected) in addresses
        .iter()
        .zip(addr2line(&toolchain, &program, &addresses))
    {
        let address = ElfAddress(*address);
        let function = table.lookup(address).expect("a function");
        // Of the linker's marks addr2line says what is at the start of all tables.
        if function.lines().next().is_none() {
            continue;
        }
        let found = function.frames(address, &mut Steps(1 << 22));
        assert_eq!(found.malformed, None);
        inlined += usize::from(found.frames.len() > 1);
        let innermost = found.frames[0];
        let file = String::from_utf8_lossy(innermost.file.unwrap_or(b"?"));
        let name = String::from_utf8_lossy(function.name().expect("a name"));
        let said = [name.into_owned(), format!("{file}:{}", innermost.line)];
        assert_eq!(said, expected, "{address}");
    }
    assert!(inlined > 1000, "{inlined} with inlined calls");
}

/// The first, the middle and the last address.
fn samples(range: &Range<u64>) -> [u64; 3] {
    let middle = range.start + (range.end - range.start) / 2;
    [range.start, middle, range.end - 1]
}

/// The stage names locations so, in a profile.
fn stage_agrees(what: &str, program: &Path, truth: &Truth<'_>) {
    let executable = executable(program);
    let bias = truth.base.wrapping_sub(first_page(program));
    let chosen: Vec<(FileOffset, Vec<Frame<'_>>)> = truth
        .ranges()
        .step_by(STAGE_SHARE)
        .map(|(range, expected)| (offset(&executable, range.start - bias), expected))
        .collect();
    let offsets: Vec<FileOffset> = chosen.iter().map(|(offset, _)| *offset).collect();
    // Alone on its stack a wrapper is shown, as CallersFrames shows it.
    let profile = resolve(&executable, &offsets);
    assert!(profile.losses.is_empty(), "{what}: {:?}", profile.losses);
    assert_eq!(profile.locations.len(), chosen.len(), "{what}");
    let first = truth_first(program);
    for (location, (offset, expected)) in profile.locations.iter().zip(&chosen) {
        let found: Vec<(String, String, u32, u32)> = location
            .lines
            .iter()
            .map(|line| {
                let function = &profile.functions[line.function.0 as usize];
                (
                    function.name.to_string(),
                    function.file.to_string(),
                    line.line,
                    function.start_line,
                )
            })
            .collect();
        // C code that Go's linker put among the functions: the symbol table may know more of it.
        let unknown = expected.iter().all(|frame| frame.line == 0);
        assert!(
            unknown || same(&found, expected, &first),
            "{what}: at {offset} {found:?}, the runtime says {expected:?}"
        );
        assert!(location.kind.is_named(), "{what}: {found:?}");
        assert!(
            location.frame_type == FrameType::Go || unknown,
            "{what}: {found:?} is {:?}",
            location.frame_type
        );
    }
}

fn same(found: &[(String, String, u32, u32)], expected: &[Frame<'_>], first: &str) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| {
            // The runtime takes the name at the start of the name table for none.
            let name = if expected.name.is_empty() {
                first
            } else {
                expected.name
            };
            let (line, start_line) = (expected.line, expected.start_line);
            *found == (name.to_owned(), expected.file.to_owned(), line, start_line)
        })
}

/// The name as the runtime prints it.
fn printed(name: &str) -> String {
    match (name.find('['), name.rfind(']')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}[...]{}", &name[..start], &name[end + 1..])
        }
        _ => name.to_owned(),
    }
}

fn truth_first(program: &Path) -> String {
    let data = fs::read(program).expect("the program can be read");
    let table = LineTable::find(&data).expect("a line table");
    let name = table.function(0).and_then(|function| function.name());
    printed(&String::from_utf8_lossy(name.expect("a name")))
}

/// The file as it would be handed to the stage, with the segments that `readelf` shows.
fn executable(program: &Path) -> Executable {
    let output = std::process::Command::new("readelf")
        .arg("-lW")
        .arg(program)
        .output()
        .expect("binutils are installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |text: &str| {
        u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a hexadecimal number")
    };
    let segments = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<&str>>())
        .filter(|words| words.first() == Some(&"LOAD") && words.contains(&"E"))
        .map(|words| Segment {
            offset: FileOffset(number(words[1])),
            address: ElfAddress(number(words[2])),
            length: number(words[4]),
        })
        .collect();
    let file = File::open(program).expect("the program can be opened");
    Executable {
        id: ExecutableId(1),
        path: "/program".into(),
        length: file.metadata().expect("it has a length").len(),
        file: Some(file),
        image: None,
        build_id: None,
        htl_hash: OnceLock::new(),
        segments,
        constants: Box::default(),
        root: None,
    }
}

fn offset(executable: &Executable, address: u64) -> FileOffset {
    let segment = executable
        .segments
        .iter()
        .find(|segment| address.wrapping_sub(segment.address.0) < segment.length)
        .expect("the address is in a segment");
    FileOffset(address - segment.address.0 + segment.offset.0)
}

/// A profile with every offset on a stack of its own.
fn resolve(executable: &Executable, offsets: &[FileOffset]) -> Profile {
    let process = ProcessKey {
        pid: 1,
        started: BootTime(0),
    };
    let mut stacks = Stacks::default();
    let samples = (0..offsets.len() as u32)
        .map(|index| WindowSample {
            thread: ThreadIndex(0),
            stack: stacks.push(&[LocationIndex(index)]),
            context: ContextIndex(0),
            occurrences: Occurrences::equal(1, vec![BootTime(1)]),
        })
        .collect();
    let again = Executable {
        file: executable
            .file
            .as_ref()
            .map(|file| file.try_clone().expect("a file can be cloned")),
        path: executable.path.clone(),
        image: None,
        htl_hash: OnceLock::new(),
        segments: executable.segments.clone(),
        constants: Box::default(),
        root: None,
        ..*executable
    };
    let window = Window {
        start: BootTime(0),
        end: BootTime(2),
        kind: SampleKind::on_cpu(SamplePeriod::from_hertz(99)),
        processes: vec![Arc::new(Process {
            key: process,
            parent: 1,
            comm: "program".into(),
            executable: "/program".into(),
            cgroup: "/".into(),
            container: None,
            kernel: false,
            resource: Arc::default(),
        })],
        threads: vec![WindowThread {
            process: 0,
            tid: 1,
            name: ThreadName::default(),
        }],
        contexts: vec![Arc::default()],
        locations: offsets
            .iter()
            .map(|offset| LocationKey::File(executable.id, *offset))
            .collect(),
        stacks,
        samples,
        executables: [(executable.id, Arc::new(again))].into_iter().collect(),
        kernel_code: std::iter::empty().collect(),
        outcomes: Vec::new(),
        losses: Losses::default(),
    };
    let clocks = ClockPair {
        boot: BootTime(0),
        unix: UnixTime(0),
    };
    Symbolizer::new(&SymbolizeConfig::default()).resolve(&window, &clocks)
}

macro_rules! versions {
    ($($name:ident: $index:literal,)*) => {
        $(
            #[test]
            fn $name() {
                version_is_read(VERSIONS[$index]);
            }
        )*

        #[test]
        fn every_version_has_its_test() {
            assert_eq!([$($index),*].len(), VERSIONS.len());
        }
    };
}

versions! {
    go_1_21: 0,
    go_1_22: 1,
    go_1_23: 2,
    go_1_24: 3,
    go_1_25_early: 4,
    go_1_25: 5,
    go_1_26: 6,
    go_1_27: 7,
}
