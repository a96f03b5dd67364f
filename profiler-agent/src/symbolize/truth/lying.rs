//! Debug information that announces more than it has: each of a few megabytes, each of a kind that a loop walks over.
//! The right value is the symbol table's name of the code, and a count that debug information was left out. Each took
//! minutes, or hundreds of megabytes, when the loop of its kind did not count.

use std::time::Duration;

use super::*;
use crate::profile::Degradation;

const SOURCE: &str = "volatile long x;\n__attribute__((noinline)) void burn(void) { for (int i = 0; i < 1000; i++) x += i; }\nint main(void) { burn(); return 0; }";

/// Abbreviations: a unit, a function, an inlined call without attributes, a function with ranges, an inlined call with a range.
const ABBREVIATIONS: &[u8] = b"\
    \x01\x11\x01\x11\x01\x12\x07\x10\x17\0\0\
    \x02\x2e\x01\x03\x08\x11\x01\x12\x07\0\0\
    \x03\x1d\x00\0\0\
    \x04\x2e\x00\x55\x17\0\0\
    \x05\x1d\x01\x11\x01\x12\x07\0\0";

struct Program {
    directory: tempfile::TempDir,
    file: PathBuf,
    address: u64,
    size: u64,
}

impl Program {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = compile(
            directory.path(),
            "burn.c",
            SOURCE,
            &["gcc", "-O1", "-no-pie"],
        );
        let symbols = run("nm", &["-S", file.to_str().unwrap()], directory.path());
        let line = symbols
            .lines()
            .find(|line| line.ends_with(" burn"))
            .unwrap();
        let mut numbers = line.split(' ').map(|n| u64::from_str_radix(n, 16));
        Self {
            address: numbers.next().unwrap().unwrap(),
            size: numbers.next().unwrap().unwrap(),
            directory,
            file,
        }
    }

    fn range(&self) -> Vec<u8> {
        [self.address.to_le_bytes(), self.size.to_le_bytes()].concat()
    }

    /// A unit of these entries, with its own.
    fn unit(&self, entries: &[u8]) -> Vec<u8> {
        let body = [b"\x01", &self.range()[..], b"\0\0\0\0", entries, b"\0"].concat();
        let mut unit = (7 + body.len() as u32).to_le_bytes().to_vec();
        unit.extend(b"\x04\0\0\0\0\0\x08");
        unit.extend(body);
        unit
    }

    /// The function's own entry with these children.
    fn function(&self, children: &[u8]) -> Vec<u8> {
        [b"\x02burn\0", &self.range()[..], children, b"\0"].concat()
    }

    /// What is said of the function with these sections added, and what of debug information was left out.
    fn check(&self, kind: &str, sections: &[(&str, Vec<u8>)]) -> u64 {
        let output = self.directory.path().join(kind);
        let mut arguments = Vec::new();
        for (name, content) in sections {
            let part = self.directory.path().join("part").join(name);
            std::fs::create_dir_all(part.parent().unwrap()).unwrap();
            std::fs::write(&part, content).unwrap();
            arguments.push(format!("--add-section={name}={}", part.display()));
        }
        arguments.extend([
            self.file.display().to_string(),
            output.display().to_string(),
        ]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run("objcopy", &arguments, self.directory.path());
        let program = executable(1, &output, "/burn", None);
        let offsets: Vec<FileOffset> = (self.address..self.address + self.size)
            .map(|address| {
                let segment = program.segments[0];
                FileOffset(address - segment.address.0 + segment.offset.0)
            })
            .collect();
        // Steps end the walk, whatever the machine's speed.
        let config = SymbolizeConfig {
            file_steps: 5_000_000,
            file_time: Duration::from_secs(600),
            window_time: Duration::from_secs(1_200),
            ..SymbolizeConfig::default()
        };
        let mut symbolizer = Symbolizer::new(&config);
        let profile = resolve(&mut symbolizer, &program, &offsets);
        for location in &profile.locations {
            let frames = frames(&profile, location);
            assert_eq!(frames.last().unwrap().0, "burn", "{kind}");
            assert!(location.kind.is_named() && frames.len() <= 513, "{kind}");
        }
        assert!(
            symbolizer.usage().index_bytes <= config.index_bytes,
            "{kind}"
        );
        profile.losses.of(Degradation::DebugInfoBudget)
    }
}

/// A line number program of version 4 with this many files and these instructions.
fn line_program(files: usize, instructions: &[u8]) -> Vec<u8> {
    let mut header = b"\x01\x01\x01\xfb\x0e\x0d\0\x01\x01\x01\x01\0\0\0\x01\0\0\x01\0".to_vec();
    header.extend(b"f\0\0\0\0".repeat(files));
    header.push(0);
    let mut program = ((6 + header.len() + instructions.len()) as u32)
        .to_le_bytes()
        .to_vec();
    program.extend(b"\x04\0");
    program.extend((header.len() as u32).to_le_bytes());
    program.extend(header);
    program.extend(instructions);
    program
}

#[test]
fn what_lies_about_its_size_costs_no_more_than_its_budget() {
    let program = Program::new();
    let abbreviations = |more: &[u8]| (".debug_abbrev", [ABBREVIATIONS, more, b"\0"].concat());
    let info = |entries: &[u8]| (".debug_info", program.unit(entries));

    // Within the budget, and nothing is kept of it.
    let calls = program.function(&vec![3; 2_000_000]);
    assert_eq!(
        program.check("inlined", &[abbreviations(b""), info(&calls)]),
        0
    );

    let covering = [b"\x05", &program.range()[..]].concat().repeat(200_000);
    let deep = [program.function(&[&covering[..], &vec![0; 200_000]].concat())].concat();
    assert_eq!(program.check("deep", &[abbreviations(b""), info(&deep)]), 1);

    let flat = [b"\x05", &program.range()[..], b"\0"]
        .concat()
        .repeat(400_000);
    let flat = program.function(&flat);
    assert_eq!(program.check("wide", &[abbreviations(b""), info(&flat)]), 1);

    // One attribute more than any entry has; each takes no space.
    let mut many = b"\x06\x0b\0".to_vec();
    many.extend(b"\xb7\x42\x19".repeat(1_000_000));
    many.extend(b"\0\0");
    let entries = [vec![6; 2_000_000], program.function(b"")].concat();
    assert_eq!(
        program.check("attributes", &[abbreviations(&many), info(&entries)]),
        1
    );
    // As many as an entry may have.
    let mut many = b"\x06\x0b\0".to_vec();
    many.extend(b"\xb7\x42\x19".repeat(250));
    many.extend(b"\0\0");
    assert_eq!(
        program.check("allowed", &[abbreviations(&many), info(&entries)]),
        1
    );

    // Units that share a table of 30,000 kinds: but for the sharing, each parses it again.
    let kinds: Vec<u8> = (6..30_000_u32)
        .flat_map(|code| {
            [
                0x80 | code as u8,
                0x80 | (code >> 7) as u8,
                (code >> 14) as u8,
                0x0b,
                0,
                0,
                0,
            ]
        })
        .collect();
    let units = program.unit(b"").repeat(100_000);
    let shared = [(".debug_info", units), abbreviations(&kinds)];
    assert_eq!(program.check("units", &shared), 0);
    // Units with overlapping tables: each begins one kind later.
    let units: Vec<u8> = (0..100_000_u32)
        .flat_map(|number| {
            let mut unit = program.unit(b"");
            unit[6..10]
                .copy_from_slice(&(number % 20_000 * 7 + ABBREVIATIONS.len() as u32).to_le_bytes());
            unit
        })
        .collect();
    let own = [(".debug_info", units), abbreviations(&kinds)];
    assert_eq!(program.check("tables", &own), 1);

    // Each function refers to one list of a million items that are no ranges.
    let base = [[0xff; 8], 1_u64.to_le_bytes()].concat();
    let entries = [program.function(b""), b"\x04\0\0\0\0".repeat(100_000)].concat();
    let lists = [
        abbreviations(b""),
        info(&entries),
        (".debug_ranges", base.repeat(1_000_000)),
    ];
    assert_eq!(program.check("lists", &lists), 1);
    let ranges = [
        abbreviations(b""),
        info(&entries),
        (".debug_ranges", program.range().repeat(1_000)),
    ];
    assert_eq!(program.check("ranges", &ranges), 1);

    let lines = |files, instructions: &[u8]| {
        [
            abbreviations(b""),
            info(&program.function(b"")),
            (".debug_line", line_program(files, instructions)),
        ]
    };
    // Instructions that make no row, and files that are defined under way.
    assert_eq!(
        program.check("rows", &lines(1, &b"\x06".repeat(8_000_000))),
        1
    );
    assert_eq!(
        program.check(
            "defined",
            &lines(1, &b"\0\x06\x03f\0\0\0\0".repeat(1_000_000))
        ),
        0
    );
    assert_eq!(program.check("files", &lines(1_000_000, b"")), 1);

    // Sets of addresses: each of one unit that is not there.
    let mut set = b"\x1c\0\0\0\x02\0\x10\0\0\0\x08\0\0\0\0\0".to_vec();
    set.extend(program.range());
    let sets = [
        abbreviations(b""),
        info(&program.function(b"")),
        (".debug_aranges", set.repeat(1_000_000)),
    ];
    program.check("sets", &sets);
}
