//! Small Go programs as bytes: an ELF file of three segments with a line table, inline trees and
//! moduledata, in the layout of each version.

use crate::go::header::Format;

pub(super) const TEXT: u64 = 0x40_1000;
const TABLE: u64 = 0x40_2000;
const DATA: u64 = 0x40_6000;
const PAGE: usize = 0x1000;
/// Where the line table is in the file.
pub(super) const TABLE_OFFSET: usize = 2 * PAGE;

/// (delta of the value, quanta) pairs.
pub(super) type Pairs = &'static [(i32, u32)];

#[derive(Clone, Debug, Default)]
pub(super) struct FunctionSource {
    pub(super) name: &'static str,
    pub(super) length: u32,
    pub(super) start_line: i32,
    pub(super) id: u8,
    pub(super) flags: u8,
    pub(super) stack: Pairs,
    pub(super) files: Pairs,
    pub(super) lines: Pairs,
    pub(super) inlined: Pairs,
    /// Name, function id, parent address, start line.
    pub(super) calls: Vec<(&'static str, u8, i32, i32)>,
}

#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) format: Format,
    pub(super) functions: Vec<FunctionSource>,
    pub(super) files: Vec<&'static str>,
    /// The word of moduledata that says where funcdata starts.
    pub(super) gofunc: usize,
    /// Is the text's start in the header?
    pub(super) text_in_header: bool,
}

impl Program {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            functions: functions(),
            files: vec!["/src/main.go", "/src/small.go"],
            gofunc: if format == Format::Go118 { 38 } else { 40 },
            text_in_header: true,
        }
    }

    /// The file's bytes.
    pub(super) fn build(&self) -> Vec<u8> {
        let mut names = Strings::default();
        let mut pctab = vec![0];
        let mut funcdata = vec![0xee; 16];
        let functions = self.functions.iter();
        let parts: Vec<[u32; 6]> = functions
            .map(|function| {
                let mut table = |pairs| pc_table(&mut pctab, pairs);
                let tables = [
                    table(function.stack),
                    table(function.files),
                    table(function.lines),
                    table(function.inlined),
                ];
                let tree = if function.calls.is_empty() {
                    u32::MAX
                } else {
                    funcdata.len() as u32
                };
                for (name, id, parent, start_line) in &function.calls {
                    let name = names.add(name);
                    let entry = call(self.format, name, *id, *parent, *start_line);
                    funcdata.extend(entry);
                }
                let [stack, files, lines, inlined] = tables;
                [names.add(function.name), stack, files, lines, inlined, tree]
            })
            .collect();
        let mut files = Strings::default();
        let units: Vec<u8> = self
            .files
            .iter()
            .flat_map(|file| files.add(file).to_le_bytes())
            .collect();

        let header = if self.format == Format::Go116 { 64 } else { 72 };
        let mut offsets = Vec::new();
        let mut table = vec![0; header];
        for part in [&names.bytes, &units, &files.bytes, &pctab] {
            offsets.push(table.len() as u64);
            table.extend(part);
            table.resize(table.len().next_multiple_of(8), 0);
        }
        offsets.push(table.len() as u64);
        let length = self.records(&parts, table.len(), 0).len();
        let trees = TABLE + (table.len() + length) as u64;
        let records = self.records(&parts, table.len(), trees);
        table.extend(records);
        self.header(&mut table, &offsets);
        table.extend(&funcdata);
        self.file(&table, &module_data(self, &offsets, trees))
    }

    /// ftab and the functions' records, which start at `position` of the table.
    fn records(&self, parts: &[[u32; 6]], position: usize, trees: u64) -> Vec<u8> {
        let wide = self.format == Format::Go116;
        let mut ftab = Vec::new();
        let ftab_length = (parts.len() + 1) * self.format.entry_size();
        let mut records: Vec<u8> = Vec::new();
        let mut entry = 0;
        let mut push = |entry: u32, record: usize| {
            if wide {
                ftab.extend((TEXT + u64::from(entry)).to_le_bytes());
                ftab.extend((record as u64).to_le_bytes());
            } else {
                ftab.extend(entry.to_le_bytes());
                ftab.extend((record as u32).to_le_bytes());
            }
        };
        for (function, part) in self.functions.iter().zip(parts) {
            let [name, stack, files, lines, inlined, tree] = *part;
            push(entry, ftab_length + records.len());
            let mut record = Vec::new();
            if wide {
                record.extend((TEXT + u64::from(entry)).to_le_bytes());
            } else {
                record.extend(entry.to_le_bytes());
            }
            for number in [name, 0, 0, stack, files, lines, 3, 0] {
                record.extend(number.to_le_bytes());
            }
            if self.format == Format::Go120 {
                record.extend(function.start_line.to_le_bytes());
            }
            record.extend([function.id, function.flags, 0, 4]);
            for number in [0, 0, inlined] {
                record.extend(number.to_le_bytes());
            }
            if wide {
                record.resize(record.len().next_multiple_of(8), 0);
                let tree = if tree == u32::MAX {
                    0
                } else {
                    trees + u64::from(tree)
                };
                for address in [0, 0, 0, tree] {
                    record.extend(address.to_le_bytes());
                }
            } else {
                for offset in [u32::MAX, u32::MAX, u32::MAX, tree] {
                    record.extend(offset.to_le_bytes());
                }
            }
            records.extend(record);
            records.resize(records.len().next_multiple_of(8), 0);
            entry += function.length;
        }
        push(entry, 0);
        assert_eq!((position + ftab.len()) % 8, 0);
        ftab.extend(records);
        ftab
    }

    fn header(&self, table: &mut [u8], offsets: &[u64]) {
        let magic: u32 = match self.format {
            Format::Go116 => 0xffff_fffa,
            Format::Go118 => 0xffff_fff0,
            Format::Go120 => 0xffff_fff1,
        };
        let mut numbers = vec![self.functions.len() as u64, self.files.len() as u64];
        if self.format != Format::Go116 {
            numbers.push(if self.text_in_header { TEXT } else { 0 });
        }
        numbers.extend(offsets);
        table[..4].copy_from_slice(&magic.to_le_bytes());
        table[6..8].copy_from_slice(&[1, 8]);
        for (index, number) in numbers.iter().enumerate() {
            table[8 + 8 * index..][..8].copy_from_slice(&number.to_le_bytes());
        }
    }

    fn file(&self, table: &[u8], module: &[u8]) -> Vec<u8> {
        let mut file = vec![0; PAGE];
        file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        let mut put = |offset: usize, bytes: &[u8]| {
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(16, &[2, 0, 62, 0, 1, 0, 0, 0]);
        put(32, &64_u64.to_le_bytes());
        put(52, &[64, 0, 56, 0, 3, 0, 64, 0]);
        let data = TABLE_OFFSET + table.len().next_multiple_of(PAGE);
        let code: u32 = self.functions.iter().map(|function| function.length).sum();
        let segments = [
            (5_u32, PAGE as u64, TEXT, u64::from(code) + 0x10),
            (4, TABLE_OFFSET as u64, TABLE, table.len() as u64),
            (6, data as u64, DATA, module.len() as u64),
        ];
        for (index, (flags, offset, address, length)) in segments.into_iter().enumerate() {
            let place = 64 + 56 * index;
            put(place, &1_u32.to_le_bytes());
            put(place + 4, &flags.to_le_bytes());
            let numbers = [offset, address, address, length, length, PAGE as u64];
            for (field, number) in numbers.iter().enumerate() {
                put(place + 8 + 8 * field, &number.to_le_bytes());
            }
        }
        file.resize(TABLE_OFFSET, 0xcc);
        file.extend(table);
        file.resize(data, 0);
        file.extend(module);
        file
    }
}

/// Four functions: one with two calls inlined into each other, a wrapper with the wrapped function
/// inlined, an assembly function, and the start of all.
fn functions() -> Vec<FunctionSource> {
    let file: Pairs = &[(1, 64)];
    vec![
        FunctionSource {
            name: "runtime.goexit",
            length: 16,
            id: 8,
            flags: 5,
            files: &[(1, 16)],
            lines: &[(10, 16)],
            stack: &[(1, 16)],
            ..FunctionSource::default()
        },
        FunctionSource {
            name: "main.main",
            length: 64,
            start_line: 3,
            // 0 up to 4, 24 up to 60, 0 to the end.
            stack: &[(1, 4), (24, 56), (-24, 4)],
            // small.go from 16 to 32.
            files: &[(1, 16), (1, 16), (-1, 32)],
            // 4 up to 16, 21 up to 32, 6 to the end.
            lines: &[(5, 16), (17, 16), (-15, 32)],
            // Nothing up to 8, the outer call up to 16, the inner up to 32.
            inlined: &[(0, 8), (1, 8), (1, 16), (-2, 32)],
            calls: vec![("main.outer", 0, 4, 10), ("main.inner[int]", 0, 12, 20)],
            ..FunctionSource::default()
        },
        FunctionSource {
            name: "main.(*T).Get",
            length: 64,
            start_line: 1,
            id: 21,
            stack: file,
            files: file,
            lines: &[(2, 64)],
            inlined: &[(1, 32), (-1, 32)],
            calls: vec![("main.T.Get", 0, 40, 30)],
            ..FunctionSource::default()
        },
        FunctionSource {
            name: "main.C",
            length: 32,
            ..FunctionSource::default()
        },
    ]
}

#[derive(Default)]
struct Strings {
    bytes: Vec<u8>,
}

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let offset = self.bytes.len() as u32;
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
        offset
    }
}

/// Appends a table; 0 for none.
fn pc_table(pctab: &mut Vec<u8>, pairs: Pairs) -> u32 {
    if pairs.is_empty() {
        return 0;
    }
    let offset = pctab.len() as u32;
    for (delta, quanta) in pairs {
        varint(pctab, ((delta << 1) ^ (delta >> 31)).cast_unsigned());
        varint(pctab, *quanta);
    }
    pctab.push(0);
    offset
}

fn varint(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn call(format: Format, name: u32, id: u8, parent: i32, start_line: i32) -> Vec<u8> {
    let mut entry = if format == Format::Go120 {
        vec![id, 0, 0, 0]
    } else {
        let mut entry = vec![0xff, 0xff, id, 0];
        entry.extend([0; 8]);
        entry
    };
    entry.extend(name.to_le_bytes());
    entry.extend(parent.to_le_bytes());
    if format == Format::Go120 {
        entry.extend(start_line.to_le_bytes());
    }
    entry
}

fn module_data(program: &Program, offsets: &[u64], trees: u64) -> Vec<u8> {
    let code: u32 = program
        .functions
        .iter()
        .map(|function| function.length)
        .sum();
    let mut words = [0_u64; 64];
    words[0] = TABLE;
    for (slice, offset) in [(1, 0), (4, 1), (7, 2), (10, 3), (13, 4), (16, 4)] {
        words[slice] = TABLE + offsets[offset];
    }
    words[17] = program.functions.len() as u64 + 1;
    words[20] = TEXT;
    words[21] = TEXT + u64::from(code);
    words[22] = TEXT;
    words[program.gofunc] = trees;
    // A place that is none: read-only memory with something else.
    words[30] = TABLE;
    let mut bytes = vec![0; 32];
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes
}
