//! Programs whose files lie about what is in them: each a real one with sections of a few megabytes that announce
//! billions of items. They run as any other.

pub mod call_frames;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Abbreviations of DWARF 4: a unit with code and lines, a function with a name and code, an inlined call without anything, a
/// function with ranges, an inlined call with code.
const ABBREVIATIONS: &[u8] = b"\
    \x01\x11\x01\x11\x01\x12\x07\x10\x17\0\0\
    \x02\x2e\x01\x03\x08\x11\x01\x12\x07\0\0\
    \x03\x1d\x00\0\0\
    \x04\x2e\x00\x55\x17\0\0\
    \x05\x1d\x01\x11\x01\x12\x07\0\0";

/// A kind of lie: its name, and its sections.
type Lie = (&'static str, Vec<(&'static str, Vec<u8>)>);

/// Writes one program for each kind of lie about `program` and its function `function`.
///
/// # Panics
///
/// When binutils fail, or it has no such function.
#[must_use]
pub fn programs(program: &Path, function: &str, directory: &Path) -> Vec<PathBuf> {
    let code = Code::of(program, function);
    let write = |(kind, sections): Lie| {
        let result = directory.join(kind);
        let mut command = Command::new("objcopy");
        command.arg("--strip-debug");
        let mut parts = Vec::new();
        for (name, content) in sections {
            let part = directory.join(format!("{kind}{name}"));
            fs::write(&part, content).expect("there is room");
            command.arg(format!("--add-section={name}={}", part.display()));
            parts.push(part);
        }
        command.arg(program).arg(&result);
        let status = command.status().expect("objcopy is there");
        assert!(status.success(), "{command:?}");
        for part in parts {
            fs::remove_file(part).expect("it was written");
        }
        result
    };
    code.lies().into_iter().map(write).collect()
}

/// Address and size of a function, as DWARF has them.
struct Code {
    range: Vec<u8>,
}

impl Code {
    fn of(program: &Path, function: &str) -> Self {
        let output = Command::new("nm").arg("-S").arg(program).output();
        let output = output.expect("nm is there").stdout;
        let text = String::from_utf8_lossy(&output);
        let line = text
            .lines()
            .find(|line| line.ends_with(&format!(" {function}")))
            .expect("the program has the function");
        let range = line.split(' ').take(2).flat_map(|number| {
            u64::from_str_radix(number, 16)
                .expect("a number")
                .to_le_bytes()
        });
        Self {
            range: range.collect(),
        }
    }

    fn unit(&self, entries: &[u8]) -> Vec<u8> {
        let body = [b"\x01", &self.range[..], b"\0\0\0\0", entries, b"\0"].concat();
        let length = (7 + body.len()) as u32;
        [&length.to_le_bytes()[..], b"\x04\0\0\0\0\0\x08", &body].concat()
    }

    fn function(&self, children: &[u8]) -> Vec<u8> {
        [b"\x02lie\0", &self.range[..], children, b"\0"].concat()
    }

    fn lies(&self) -> Vec<Lie> {
        let info = |entries: &[u8]| (".debug_info", self.unit(entries));
        let abbreviations = |more: &[u8]| (".debug_abbrev", [ABBREVIATIONS, more, b"\0"].concat());
        let plain = || abbreviations(b"");
        let call = [b"\x05", &self.range[..]].concat();
        let deep = [call.repeat(200_000), vec![0; 200_000]].concat();
        let wide = [&call[..], b"\0"].concat().repeat(400_000);
        let many =
            |count: usize| [b"\x06\x0b\0", &b"\xb7\x42\x19".repeat(count)[..], b"\0\0"].concat();
        let entries = [vec![6; 4_000_000], self.function(b"")].concat();
        let kinds: Vec<u8> = (6..30_000_u32)
            .flat_map(|code| {
                let code = [
                    code as u8 | 0x80,
                    (code >> 7) as u8 | 0x80,
                    (code >> 14) as u8,
                ];
                [&code[..], b"\x0b\0\0\0"].concat()
            })
            .collect();
        let tables: Vec<u8> = (0..100_000_u32)
            .flat_map(|number| {
                let mut unit = self.unit(b"");
                let table = number % 20_000 * 7 + ABBREVIATIONS.len() as u32;
                unit[6..10].copy_from_slice(&table.to_le_bytes());
                unit
            })
            .collect();
        let bases = [[0xff; 8], 1_u64.to_le_bytes()].concat();
        let listed = [self.function(b""), b"\x04\0\0\0\0".repeat(100_000)].concat();
        let mut set = b"\x1c\0\0\0\x02\0\x10\0\0\0\x08\0\0\0\0\0".to_vec();
        set.extend(&self.range);
        let with_lines = |files, instructions: &[u8]| {
            let lines = line_program(files, instructions);
            vec![plain(), info(&self.function(b"")), (".debug_line", lines)]
        };
        let compressed = |size: u64| [&b"ZLIB"[..], &size.to_be_bytes(), &[0; 4096]].concat();
        let mut table = b"\xf1\xff\xff\xff\0\0\x01\x08".to_vec();
        for number in [1_u64 << 40, 1 << 40, 0, 72, 72, 72, 72, 72] {
            table.extend(number.to_le_bytes());
        }
        vec![
            (
                "inlined",
                vec![plain(), info(&self.function(&vec![3; 4_000_000]))],
            ),
            ("deep", vec![plain(), info(&self.function(&deep))]),
            ("wide", vec![plain(), info(&self.function(&wide))]),
            (
                "attributes",
                vec![abbreviations(&many(1_000_000)), info(&entries)],
            ),
            ("allowed", vec![abbreviations(&many(250)), info(&entries)]),
            (
                "tables",
                vec![abbreviations(&kinds), (".debug_info", tables)],
            ),
            (
                "lists",
                vec![
                    plain(),
                    info(&listed),
                    (".debug_ranges", bases.repeat(1_000_000)),
                ],
            ),
            ("rows", with_lines(1, &b"\x06".repeat(8_000_000))),
            (
                "defined",
                with_lines(1, &b"\0\x06\x03f\0\0\0\0".repeat(1_000_000)),
            ),
            ("files", with_lines(1_000_000, b"")),
            (
                "sets",
                vec![
                    plain(),
                    info(&self.function(b"")),
                    (".debug_aranges", set.repeat(500_000)),
                ],
            ),
            (
                "zipped",
                vec![
                    (".zdebug_info", compressed(20 << 20)),
                    (".zdebug_abbrev", compressed(u64::MAX)),
                ],
            ),
            (
                "golang",
                vec![(".gopclntab", [table, vec![0; 4 << 20]].concat())],
            ),
        ]
    }
}

/// A line number program of version 4.
fn line_program(files: usize, instructions: &[u8]) -> Vec<u8> {
    let mut header = b"\x01\x01\x01\xfb\x0e\x0d\0\x01\x01\x01\x01\0\0\0\x01\0\0\x01\0".to_vec();
    header.extend(b"f\0\0\0\0".repeat(files));
    header.push(0);
    let length = (6 + header.len() + instructions.len()) as u32;
    let header_length = header.len() as u32;
    [
        &length.to_le_bytes()[..],
        b"\x04\0",
        &header_length.to_le_bytes(),
        &header,
        instructions,
    ]
    .concat()
}
